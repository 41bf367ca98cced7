"""What `stage=report` prints, at a terminal's width and in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from reports.report import Written
from reports.summary import show
from reports.tables.table import Number


def printed(report: Written, width: int, *, terminal: bool = True) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    show(report, console if terminal else Console(file=out))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_terminal_cuts_no_number_and_no_heading(report: Written, width: int) -> None:
    lines = printed(report, width)
    table = report.tables["samplers"]
    body = lines[: next(i for i, line in enumerate(lines) if line.startswith("  "))]
    assert all(len(line) <= width for line in body)
    words = [word for line in body for word in line.split()]
    for heading in table.headings:
        for word in f"{heading.title}{heading.arrow}".split():
            assert word in words
    for row in table.rows:
        said = [line for line in body if line.startswith(f"{row.label} ")]
        own = [word for line in said for word in line.split()[1:]]
        assert len(said) > 1 or width >= 120
        assert own == [e.shown if isinstance(e, Number) else e for e in row.entries]


def test_a_terminal_narrower_than_a_row_breaks_the_name_and_no_number(report: Written) -> None:
    lines = printed(report, 26)
    words = [word for line in lines for word in line.split()]
    row = report.tables["samplers"].rows[0]
    for entry in row.entries:
        assert (entry.shown if isinstance(entry, Number) else entry) in words
    assert "td_f16k4f2k2f1k1" in words  # a part of each name


def test_a_pipe_gets_one_wide_table(report: Written) -> None:
    lines = printed(report, 80, terminal=False)
    table = report.tables["samplers"]
    (head,) = [line for line in lines if line.startswith(table.label)]
    assert all(f"{h.title}{h.arrow}" in head for h in table.headings)
