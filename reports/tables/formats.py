"""Tables as CSV and Markdown, each in two forms: the numbers, and with their intervals."""

from __future__ import annotations

import csv
import io

import numpy as np

from reports.tables.table import DASH, Entry, Number, Table

DAGGER = "†"
"""Stands at a number that fewer videos carry than were made."""
DAGGER_NOTE = f"{DAGGER} fewer videos than were made; see the coverage table."


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
            code = "`" if row.label and table.of_variants else ""
            lines.append(_row([f"{code}{row.label}{code}", *shown]))
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
