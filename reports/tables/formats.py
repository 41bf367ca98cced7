"""Tables as CSV, Markdown and LaTeX, each in two forms: the numbers, and with their intervals."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np

from bench.files import atomic_write
from reports.tables.table import DASH, MINUS, Entry, Number, Table

DAGGER = "†"
"""Stands at a number that fewer videos carry than were made."""
DAGGER_NOTE = f"{DAGGER} fewer videos than were made; see the coverage table."


def write(table: Table, folder: Path) -> list[Path]:
    """Write all forms of a table; the forms with intervals are called `NAME_intervals`."""
    files = {
        f"{table.name}.csv": to_csv(table),
        f"{table.name}.md": to_markdown(table),
        f"{table.name}.tex": to_latex(table),
    }
    if table.has_intervals:
        files |= {
            f"{table.name}_intervals.csv": to_csv(table, intervals=True),
            f"{table.name}_intervals.md": to_markdown(table, intervals=True),
            f"{table.name}_intervals.tex": to_latex(table, intervals=True),
        }
    for name, text in files.items():
        atomic_write(folder / name, text)
    return [folder / name for name in files]


def to_csv(table: Table, *, intervals: bool = False) -> str:
    """Full-precision numbers for machines; nothing where there is none.

    With intervals a column `KEY` is followed by `KEY_low`, `KEY_high` and `KEY_missing`. The block
    a row stands in is the second column.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = [table.label.lower(), "block"]
    for heading in table.headings:
        header.append(heading.key)
        if intervals and heading.numeric:
            header += [f"{heading.key}_{part}" for part in ("low", "high", "missing")]
    writer.writerow(header)
    for block in table.blocks:
        for row in block.rows:
            fields: list[object] = [row.label, block.title]
            for heading, entry in zip(table.headings, row.entries, strict=True):
                if not isinstance(entry, Number):
                    fields += [entry, *([""] * 3 if intervals and heading.numeric else [])]
                    continue
                fields.append(_full(entry.value))
                if intervals and heading.numeric:
                    fields += [_full(entry.low), _full(entry.high), entry.missing]
            writer.writerow(fields)
    return out.getvalue()


def _full(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))


def plain(entry: Entry, *, intervals: bool = False) -> str:
    """An entry as a reader sees it, without bold or underline."""
    if not isinstance(entry, Number):
        return entry
    if not np.isfinite(entry.value):
        return f"{DASH} ({entry.missing} missing)" if entry.missing else DASH
    text = entry.shown + entry.stars + (DAGGER if entry.missing else "")
    return f"{text} {entry.interval}".rstrip() if intervals else text


def notes_of(table: Table) -> list[str]:
    """The notes below a table, with the dagger's explanation where a dagger stands."""
    daggers = any(
        isinstance(entry, Number) and entry.missing and np.isfinite(entry.value)
        for row in table.rows
        for entry in row.entries
    )
    return [*table.notes, *([DAGGER_NOTE] if daggers else [])]


def to_markdown(table: Table, *, intervals: bool = False) -> str:
    """A Markdown table: best bold, second underlined, block titles as rows in italics."""
    titles = [table.label, *(f"{h.title} {h.arrow}".strip() for h in table.headings)]
    lines = [f"**{table.title}**", "", _row(titles)]
    lines.append(_row(["---", *("---:" if h.numeric else "---" for h in table.headings)]))
    for block in table.blocks:
        if block.title:
            lines.append(_row([f"*{block.title}*", *[""] * len(table.headings)]))
        for row in block.rows:
            shown = [_markdown(entry, intervals) for entry in row.entries]
            lines.append(_row([f"`{row.label}`" if row.label else "", *shown]))
    notes = notes_of(table)
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def _row(fields: list[str]) -> str:
    return (
        "| " + " | ".join(field.replace("|", "\\|").replace("\n", " ") for field in fields) + " |"
    )


def _markdown(entry: Entry, intervals: bool) -> str:
    text = plain(entry, intervals=intervals)
    if not isinstance(entry, Number) or not entry.mark:
        return text
    shown = entry.shown
    marked = f"**{shown}**" if entry.mark == "best" else f"<u>{shown}</u>"
    return text.replace(shown, marked, 1)


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "$": r"\$",
    "^": r"\^{}",
    "~": r"\~{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "Δ": r"$\Delta$",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "ρ": r"$\rho$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "²": r"$^2$",
    "∞": r"$\infty$",
    DASH: "--",
    MINUS: r"$-$",
    DAGGER: r"$^\dagger$",
    "\u202f": r"\,",
}


def latex_escape(text: str) -> str:
    """Words as LaTeX; characters that the common fonts lack become a question mark."""
    escaped = "".join(_LATEX.get(character, character) for character in text)
    # Latin letters with accents are in T1; what is beyond would stop pdflatex.
    return re.sub(r"[^\x00-\u017f]", "?", escaped)


def to_latex(table: Table, *, intervals: bool = False) -> str:
    """A booktabs table, ready to paste: needs the packages booktabs and graphicx."""
    align = "l" + "".join("r" if heading.numeric else "l" for heading in table.headings)
    titles = [table.label, *(f"{h.title}{h.arrow}" for h in table.headings)]
    lines = [
        r"% \usepackage{booktabs,graphicx}",
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{latex_escape(table.title)}.}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        " & ".join(latex_escape(title) for title in titles) + r" \\",
    ]
    for block in table.blocks:
        lines.append(r"\midrule")
        if block.title:
            span = len(table.headings) + 1
            lines.append(
                rf"\multicolumn{{{span}}}{{l}}{{\textit{{{latex_escape(block.title)}}}}} \\"
            )
        for row in block.rows:
            shown = [_latex(entry, intervals) for entry in row.entries]
            label = rf"\texttt{{{latex_escape(row.label)}}}" if row.label else ""
            lines.append(" & ".join([label, *shown]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    if notes := notes_of(table):
        told = " ".join(latex_escape(note) for note in notes)
        lines.append(rf"\par\smallskip{{\footnotesize {told}\par}}")
    lines.append(r"\end{table*}")
    return "\n".join(lines) + "\n"


def _latex(entry: Entry, intervals: bool) -> str:
    if not isinstance(entry, Number):
        return latex_escape(entry)
    if not np.isfinite(entry.value):
        return latex_escape(plain(entry))
    shown = latex_escape(entry.shown)
    if entry.mark:
        shown = rf"\{'textbf' if entry.mark == 'best' else 'underline'}{{{shown}}}"
    shown += latex_escape(entry.stars + (DAGGER if entry.missing else ""))
    if intervals and entry.interval:
        shown += rf"\,{{\scriptsize {latex_escape(entry.interval)}}}"
    return shown
