"""What `stage=report` prints: the main table in short, what is missing, and where the page is."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from reports.report import Written
from reports.tables.table import Heading, Number, Row, Table

STYLES = {"best": "bold", "second": "underline", "": ""}

GAP = 2
"""Spaces between columns."""

PIPED = 200
"""Least width of what goes to a file or to another program."""


def show(written: Written, console: Console | None = None) -> None:
    """Print the summary, no wider than the terminal; without one, plain text of any width."""
    console = console or Console()
    table = written.tables["samplers"]
    kept = [place for place in range(len(table.headings)) if _filled(table, place)]
    if console.is_terminal:
        for part in parted(table, kept, console.width):
            console.print(_shown(table, part, _label_wide(table)))
            console.print()
    else:
        titles = max(len(block.title) for block in table.blocks)
        wide = max(PIPED, titles + _wide(table, kept))
        console = Console(file=console.file, width=wide, highlight=False)
        console.print(_shown(table, kept))
        console.print()
    for note in written.analysis.notes:
        console.print(f"  {note}", style="dim", markup=False, highlight=False)
    console.print(f"report: {written.page}", markup=False, highlight=False, soft_wrap=True)


def parted(table: Table, kept: list[int], width: int) -> list[list[int]]:
    """The columns that are `kept`, in parts that fit beside the rows' labels: half a number is
    another number."""
    parts: list[list[int]] = [[]]
    for place in kept:
        if parts[-1] and _wide(table, [*parts[-1], place]) > width:
            parts.append([])
        parts[-1].append(place)
    return parts


def _wide(table: Table, places: list[int]) -> int:
    return _label_wide(table) + sum(GAP + _column_wide(table, place) for place in places)


def _label_wide(table: Table) -> int:
    return max(len(table.label), *(len(row.label) for row in table.rows), 0)


def _column_wide(table: Table, place: int) -> int:
    return max(len(_title(table.headings[place])), *(len(_text(r, place)) for r in table.rows), 0)


def _filled(table: Table, place: int) -> bool:
    """Columns that nobody measured would only take room."""
    if not table.headings[place].numeric:
        return True
    entries = [row.entries[place] for row in table.rows]
    return any(isinstance(entry, Number) and entry.shown != "–" for entry in entries)


def _shown(table: Table, places: list[int], label_wide: int | None = None) -> Shown:
    shown = Shown(box=None, pad_edge=False, header_style="", padding=(0, GAP, 0, 0))
    # Labels and titles may go over two lines, and numbers never.
    shown.add_column(table.label, overflow="fold", max_width=label_wide)
    for place in places:
        heading = table.headings[place]
        shown.add_column(
            _title(heading), justify="right" if heading.numeric else "left", no_wrap=True
        )
    for block in table.blocks:
        shown.add_row(Text(block.title, style="italic dim"))
        for row in block.rows:
            cells = [Text(_text(row, place), style=_style(row, place)) for place in places]
            shown.add_row(Text(row.label), *cells)
    return shown


def _title(heading: Heading) -> str:
    return f"{heading.title}{heading.arrow}"


def _text(row: Row, place: int) -> str:
    entry = row.entries[place]
    return entry if isinstance(entry, str) else entry.shown


def _style(row: Row, place: int) -> str:
    entry = row.entries[place]
    return "" if isinstance(entry, str) else STYLES[entry.mark]
