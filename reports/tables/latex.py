"""A table as LaTeX that can be printed: as wide as both columns of a page, and legible.

Width decides whether a table can be read on paper. So columns without any value are left out and
told below; intervals stand under their numbers where there is no room beside; long words wrap; and
what is still too wide or too long is cut into parts below one another, or over several pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from reports.tables.formats import DAGGER, notes_of, plain
from reports.tables.table import DASH, MINUS, Entry, Heading, Number, Row, Table

WIDTH = 504.0
"""Points of both columns together on letter paper; on a narrower page a table is scaled down."""
SHRINK = 1.25
"""So much wider than that a table may be before it is cut: it is scaled down to 6.4 points."""
LINES = 58
"""Lines of footnotesize on a page, beside caption and notes."""
LETTER, SMALL, GAP = 4.3, 3.6, 6.0
"""Points of a letter in footnotesize and in scriptsize, and between columns."""
LONG = 40
"""Letters of words that wrap."""

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
    "σ": r"$\sigma$",
    "½": r"$\frac{1}{2}$",
    "…": r"\dots{}",
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


@dataclass(frozen=True)
class _Line:
    """A row, and the title of the block that it opens."""

    title: str
    opens: bool
    row: Row


@dataclass(frozen=True)
class _Layout:
    """How a table is set: its columns, where intervals stand, and the points of words that wrap."""

    table: Table
    places: tuple[int, ...]
    beside: bool = False
    below: bool = False

    def column(self, place: int) -> list[Entry]:
        return [row.entries[place] for row in self.table.rows]

    def wraps(self, place: int) -> bool:
        """Whether a column holds words that are too long for one line."""
        return any(isinstance(one, str) and len(one) > LONG for one in self.column(place))

    @property
    def label_wraps(self) -> bool:
        """Names of variants never wrap; other labels do."""
        return not self.table.of_variants and any(len(r.label) > LONG for r in self.table.rows)

    @property
    def label(self) -> float:
        """Points of the first column."""
        if self.label_wraps:
            return self.wrapped
        return GAP + LETTER * max(map(len, (self.table.label, *(r.label for r in self.table.rows))))

    def width(self, place: int) -> float:
        """Points of a column."""
        if self.wraps(place):
            return self.wrapped
        wide = [LETTER * max(map(len, _halves(self.table.headings[place])))]
        for entry in self.column(place):
            own = LETTER * len(plain(entry))
            under = SMALL * len(entry.interval) if isinstance(entry, Number) else 0.0
            wide.append(own + under if self.beside else max(own, under if self.below else 0.0))
        return GAP + max(wide)

    @property
    def wrapped(self) -> float:
        """Points of a column that wraps: such columns share what the others leave."""
        number = sum(map(self.wraps, self.places)) + self.label_wraps
        fixed = sum(self.width(place) for place in self.places if not self.wraps(place))
        fixed += 0 if self.label_wraps else self.label
        return max(0.95 * WIDTH - fixed, 0.3 * WIDTH) / max(number, 1)

    @property
    def any_wraps(self) -> bool:
        return self.label_wraps or any(map(self.wraps, self.places))

    @property
    def total(self) -> float:
        """Points of the whole table."""
        return self.label + sum(map(self.width, self.places))

    def height(self, line: _Line) -> int:
        """Printed lines of a row, with the title above it."""
        words = [str(line.row.entries[place]) for place in self.places if self.wraps(place)]
        words += [line.row.label] if self.label_wraps else []
        letters = (self.wrapped - GAP) / LETTER if words else 1.0
        # Words break before the end of a line.
        tall = max([int(np.ceil(1.15 * len(word) / letters)) for word in words], default=1)
        return tall + bool(line.opens and line.title) + self.below


def to_latex(table: Table, *, intervals: bool = False) -> str:
    """Floats ready to paste: need the packages array, booktabs and graphicx."""
    places = tuple(place for place in range(len(table.headings)) if _filled(table, place))
    layout = _Layout(table, places)
    if intervals and table.has_intervals:
        beside = replace(layout, beside=True)
        layout = beside if beside.total <= WIDTH else replace(layout, below=True)
    lines = [
        _Line(block.title, number == 0, row)
        for block in table.blocks
        for number, row in enumerate(block.rows)
    ]
    floats: list[list[str]] = [[]]
    used = 0
    for part in _pages(layout, lines):
        high = 4 + sum(map(layout.height, part))
        for panel in _panels(layout):
            if floats[-1] and used + high > LINES:
                floats.append([])
                used = 0
            floats[-1].append(_tabular(panel, part))
            used += high
    notes = notes_of(table)
    if empty := [one.title for place, one in enumerate(table.headings) if place not in places]:
        notes.append(f"No values: {', '.join(empty)}.")
    parts = [r"% \usepackage{array,booktabs,graphicx}"]
    for number, texts in enumerate(floats):
        last = number == len(floats) - 1
        parts += _float(table, texts, notes if last else [], continued=number > 0)
    return "\n".join(parts) + "\n"


def _filled(table: Table, place: int) -> bool:
    """Whether a column says anything."""
    entries = [row.entries[place] for row in table.rows]
    return not entries or any(
        np.isfinite(entry.value) if isinstance(entry, Number) else entry not in ("", DASH)
        for entry in entries
    )


def _titled(heading: Heading) -> str:
    """A heading with its arrow."""
    return f"{heading.title}{heading.arrow}"


def _halves(heading: Heading) -> list[str]:
    """A heading in two lines, parted at the space nearest its middle, if it is long."""
    title = _titled(heading)
    spaces = [place for place, letter in enumerate(title) if letter == " "]
    if len(title) <= 12 or not spaces:
        return [title]
    middle = min(spaces, key=lambda place: abs(place - len(title) / 2))
    return [title[:middle], title[middle + 1 :]]


def _panels(layout: _Layout) -> list[_Layout]:
    """Columns that fit beside one another, of about the same width; words are never parted."""
    if layout.total <= WIDTH * SHRINK or layout.any_wraps:
        return [layout]
    wide = [layout.width(place) for place in layout.places]
    room = max(WIDTH * SHRINK - layout.label, 0.25 * WIDTH)
    share = sum(wide) / np.ceil(sum(wide) / room)
    panels: list[list[int]] = [[]]
    used = 0.0
    for place, one in zip(layout.places, wide, strict=True):
        # A column belongs where more than half of it is.
        if panels[-1] and used + one / 2 > share * len(panels):
            panels.append([])
        panels[-1].append(place)
        used += one
    return [replace(layout, places=tuple(panel)) for panel in panels]


def _pages(layout: _Layout, lines: list[_Line]) -> Iterator[list[_Line]]:
    """Rows that fit on one page."""
    page: list[_Line] = []
    used = 4
    for line in lines:
        high = layout.height(line)
        if page and used + high > LINES:
            yield page
            page, used = [], 4
        page.append(line)
        used += high
    yield page


def _tabular(layout: _Layout, lines: list[_Line]) -> str:
    """One part of a table."""
    table = layout.table
    wrapped = (layout.wrapped - GAP) / WIDTH if layout.any_wraps else 0.0
    paragraph = rf">{{\raggedright\arraybackslash}}p{{{wrapped:.3f}\linewidth}}"
    align, titles = [paragraph if layout.label_wraps else "l"], [latex_escape(table.label)]
    for place in layout.places:
        heading = table.headings[place]
        side = "r" if heading.numeric else "l"
        align.append(paragraph if layout.wraps(place) else side)
        halves = [_titled(heading)] if layout.wraps(place) else _halves(heading)
        title = r"\\".join(map(latex_escape, halves))
        titles.append(rf"\shortstack[{side}]{{{title}}}" if r"\\" in title else title)
    text = [rf"\begin{{tabular}}{{{''.join(align)}}}", r"\toprule", " & ".join(titles) + r" \\"]
    for number, line in enumerate(lines):
        if number == 0 or line.opens:
            text.append(r"\midrule")
            if line.title:
                across = r"p{0.96\linewidth}" if len(line.title) > 100 else "l"
                title = rf"\textit{{{latex_escape(line.title)}}}"
                text.append(rf"\multicolumn{{{len(align)}}}{{{across}}}{{{title}}} \\")
        entries = [line.row.entries[place] for place in layout.places]
        label = latex_escape(line.row.label)
        label = rf"\texttt{{{label}}}" if label and table.of_variants else label
        shown = [_latex(entry) for entry in entries]
        found = [_interval(entry) for entry in entries]
        if layout.beside:
            shown = [
                rf"{one}\,{other}" if other else one
                for one, other in zip(shown, found, strict=True)
            ]
        text.append(" & ".join([label, *shown]) + r" \\")
        if layout.below and any(found):
            text[-1] += "[-1pt]"
            text.append(" & ".join(["", *found]) + r" \\[1pt]")
    text += [r"\bottomrule", r"\end{tabular}"]
    if not layout.any_wraps:
        text.insert(0, r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%")
        text[-1] += "}"
    return "\n".join(text)


def _float(table: Table, texts: list[str], notes: list[str], *, continued: bool) -> list[str]:
    """One float: tabulars below one another, the notes below the last."""
    title = latex_escape(table.title)
    lines = [r"\begin{table*}[tp]", r"\centering"]
    if continued:
        lines += [r"\addtocounter{table}{-1}", rf"\caption{{{title} (continued).}}"]
    else:
        label = table.name.replace("_", "-")
        lines += [rf"\caption{{{title}.}}", rf"\label{{tab:{label}}}"]
    lines += [r"\footnotesize\setlength{\tabcolsep}{3pt}", "\n\\par\\medskip\n".join(texts)]
    if notes:
        told = " ".join(latex_escape(note) for note in notes)
        lines.append(rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize\raggedright {told}}}")
    return [*lines, r"\end{table*}"]


def _latex(entry: Entry) -> str:
    if not isinstance(entry, Number):
        return latex_escape(entry)
    if not np.isfinite(entry.value):
        return latex_escape(plain(entry))
    shown = latex_escape(entry.shown)
    if entry.mark:
        shown = rf"\{'textbf' if entry.mark == 'best' else 'underline'}{{{shown}}}"
    return shown + latex_escape(entry.stars + (DAGGER if entry.missing else ""))


def _interval(entry: Entry) -> str:
    """A number's interval, smaller; nothing where there is none."""
    if not isinstance(entry, Number) or not np.isfinite(entry.value) or not entry.interval:
        return ""
    return rf"{{\scriptsize {latex_escape(entry.interval)}}}"
