"""What `stage=report` prints: the main table in short, what is missing, and where the page is."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from reports.report import Written
from reports.tables.table import Number

STYLES = {"best": "bold", "second": "underline", "": ""}


def show(written: Written, console: Console | None = None) -> None:
    """Print the summary; without a terminal, plain text of any width."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=200, highlight=False)
    table = written.tables["samplers"]
    # Columns that nobody measured would only take room.
    kept = [
        place
        for place, heading in enumerate(table.headings)
        if not heading.numeric
        or any(
            isinstance(entry := row.entries[place], Number) and entry.shown != "–"
            for row in table.rows
        )
    ]
    shown = Shown(box=None, pad_edge=False, header_style="", title_justify="left")
    shown.add_column(table.label, no_wrap=True, overflow="fold")
    for place in kept:
        heading = table.headings[place]
        shown.add_column(
            f"{heading.title}{heading.arrow}", justify="right" if heading.numeric else "left"
        )
    for block in table.blocks:
        shown.add_row(Text(block.title, style="italic dim"))
        for row in block.rows:
            cells = [_cell(row.entries[place]) for place in kept]
            shown.add_row(Text(row.label), *cells)
    console.print(shown)
    console.print()
    for note in written.analysis.notes:
        console.print(f"  {note}", style="dim", markup=False, highlight=False)
    console.print(f"report: {written.page}", markup=False, highlight=False, soft_wrap=True)


def _cell(entry: Number | str) -> Text:
    if isinstance(entry, str):
        return Text(entry)
    return Text(entry.shown, style=STYLES[entry.mark])
