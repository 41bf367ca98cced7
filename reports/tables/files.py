"""A table's files: every format, with intervals and without."""

from __future__ import annotations

from pathlib import Path

from bench.files import atomic_write
from reports.tables.formats import to_csv, to_markdown
from reports.tables.latex import to_latex
from reports.tables.table import Table


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
