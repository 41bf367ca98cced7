"""A table as data: headings, blocks of rows, numbers with intervals. Formats print it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Mark = Literal["", "best", "second"]


@dataclass(frozen=True)
class Number:
    """A number in a table.

    NaN prints as a dash. `missing` counts videos that have no value and could have one.
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    digits: int = 2
    missing: int = 0
    mark: Mark = ""
    sign: bool = False
    """Print a plus before positive numbers (differences)."""
    stars: str = ""
    """What follows the number: `*` where a difference stands after correction."""

    @property
    def shown(self) -> str:
        """The number as printed, without its interval; a dash where there is none."""
        return text_of(self.value, self.digits, self.sign)

    @property
    def interval(self) -> str:
        """`[low, high]`, or nothing where it is not known; ∞ where there is no bound."""
        if np.isnan(self.low) or np.isnan(self.high) or np.isinf([self.low, self.high]).all():
            return ""
        low, high = (
            text_of(value, self.digits, self.sign) if np.isfinite(value) else UNBOUNDED[value > 0]
            for value in (self.low, self.high)
        )
        return f"[{low}, {high}]"


DASH = "–"
MINUS = "−"
UNBOUNDED = (f"{MINUS}∞", "∞")
"""The ends of an interval that is open below, and above."""


def text_of(value: float, digits: int, sign: bool = False) -> str:
    """A number with a fixed number of decimals and a true minus; a dash for NaN."""
    if not np.isfinite(value):
        return DASH
    # Ratings of four digits are read as one word; longer numbers need their thousands.
    group = "," if abs(value) >= 10_000 else ""
    text = f"{value:{'+' if sign else ''}{group}.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS).replace(",", "\u202f")


Entry = Number | str
"""A cell of a table: a number or words."""


@dataclass(frozen=True)
class Heading:
    """A column's heading. `better` is which way wins; None where nothing is ranked."""

    key: str
    title: str
    better: Literal["higher", "lower"] | None = None
    numeric: bool = True

    @property
    def arrow(self) -> str:
        """The arrow behind the title."""
        return {"higher": "↑", "lower": "↓", None: ""}[self.better]


@dataclass(frozen=True)
class Row:
    """A row: what it is called and its entries, one a heading."""

    label: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Block:
    """Rows under one title; the title may be empty."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table that every format can print.

    name: the files' name. label: the heading of the first column. notes: what stands below.
    printed: what paper shows instead, where all rows would fill many pages.
    """

    name: str
    title: str
    label: str
    headings: tuple[Heading, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    printed: Table | None = None

    @property
    def rows(self) -> list[Row]:
        """All rows, blocks after one another."""
        return [row for block in self.blocks for row in block.rows]

    @property
    def of_variants(self) -> bool:
        """Whether rows are called by variants' names, which are set in the type of code."""
        return self.label in ("Variant", "Method")

    @property
    def has_intervals(self) -> bool:
        """Whether any number has an interval, so that the second form says more."""
        return any(
            isinstance(entry, Number) and entry.interval
            for row in self.rows
            for entry in row.entries
        )


def ranked(table: Table, *, apart: bool = False) -> Table:
    """Mark the best and the second best number of every column that has a direction.

    Numbers that print alike are alike: they share the mark. A column of one number, or of numbers
    that all print alike, has no best. Blocks are ranked together, or each `apart`.
    """
    if apart:
        blocks = tuple(ranked(replace(table, blocks=(one,))).blocks[0] for one in table.blocks)
        return replace(table, blocks=blocks)
    marks: list[dict[str, Mark]] = []
    for place, heading in enumerate(table.headings):
        shown: dict[str, float] = {}
        for row in table.rows:
            entry = row.entries[place]
            if isinstance(entry, Number) and np.isfinite(entry.value):
                shown.setdefault(entry.shown, entry.value)
        order = sorted(shown, key=lambda text: shown[text], reverse=heading.better == "higher")
        ranks: dict[str, Mark] = {}
        if heading.better and len(order) > 1:
            ranks = {order[0]: "best", order[1]: "second"}
        marks.append(ranks)

    def marked(entries: Sequence[Entry]) -> tuple[Entry, ...]:
        return tuple(
            replace(entry, mark=marks[place].get(entry.shown, ""))
            if isinstance(entry, Number)
            else entry
            for place, entry in enumerate(entries)
        )

    blocks = tuple(
        Block(block.title, tuple(Row(row.label, marked(row.entries)) for row in block.rows))
        for block in table.blocks
    )
    return replace(table, blocks=blocks)
