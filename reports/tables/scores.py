"""The paper's tables: variants in rows, metrics and their drifts in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from ablations.tables import method_of
from reports.analysis import Analysis, Entrant
from reports.columns import Column, other_columns, spec_of
from reports.tables.evidence import PARTED
from reports.tables.table import Block, Entry, Heading, Number, Row, Table, ranked

MADE = Heading("made", "Videos", numeric=False)
HUMAN = (Heading("elo", "ELO", "higher"), Heading("rank", "Rank", "lower"))

INTERVALS = "Intervals are 95 %, clustered by prompt."


def heading(column: Column) -> Heading:
    """A score's heading."""
    better = {True: "higher", False: "lower", None: None}[column.higher_is_better]
    return Heading(column.key, column.title, better)  # type: ignore[arg-type]


def number(analysis: Analysis, entrant: Entrant, column: Column) -> Number:
    """A variant's mean in a column, with its interval and how many videos it lacks."""
    one = analysis.estimate(entrant, column)
    digits = 2 if column.scale == 100.0 else 3
    return Number(one.value, one.low, one.high, digits, missing=missing(entrant, one.videos))


def missing(entrant: Entrant, videos: int) -> int:
    """Videos to tell the reader of: those made but without a value, or all where none has one.

    What was not made shows in the column of videos, and would mark every number of a row.
    """
    return entrant.made - videos if videos else entrant.asked


def human(analysis: Analysis, entrant: Entrant) -> tuple[Number, Number]:
    """A variant's ELO and rank; dashes where no votes compare it with most others."""
    rated = analysis.human.comparable(entrant.name) if analysis.human is not None else None
    if rated is None:
        return Number(np.nan, digits=0), Number(np.nan, digits=0)
    return (
        Number(rated.elo, digits=0),
        Number(float(rated.elo_rank), digits=0),
    )


def made(entrant: Entrant) -> str:
    """How many of a variant's videos are there."""
    return f"{entrant.made}/{entrant.asked}"


def row(
    analysis: Analysis, entrant: Entrant, columns: Sequence[Column], *, votes: bool = True
) -> Row:
    """A variant's row: scores, ELO, rank and how many videos there are."""
    entries: list[Entry] = [number(analysis, entrant, column) for column in columns]
    if votes:
        entries += human(analysis, entrant)
    return Row(entrant.name, (*entries, made(entrant)))


def headings(columns: Iterable[Column], *, votes: bool = True) -> tuple[Heading, ...]:
    """The headings to `row`."""
    return (*map(heading, columns), *(HUMAN if votes else ()), MADE)


def by_sampler(analysis: Analysis) -> Table:
    """All variants, in blocks by how they sample, in the paper's order."""
    blocks = [
        Block(block.title, tuple(row(analysis, entrant, analysis.paper) for entrant in group))
        for block, group in groupby(analysis.variants, key=lambda entrant: entrant.block)
    ]
    columns = headings(analysis.paper)
    table = Table("samplers", "Variants by sampling approach", "Variant", columns, tuple(blocks))
    return ranked(_noted(analysis, table, analysis.scored))


def by_packing(analysis: Analysis) -> Table | None:
    """The same rows in blocks by packing; None where there is one packing only."""
    packings = list(dict.fromkeys(entrant.packing for entrant in analysis.variants))
    if len(packings) < 2:
        return None
    blocks = [
        Block(
            packing or "unknown packing",
            tuple(
                row(analysis, entrant, analysis.paper)
                for entrant in analysis.variants
                if entrant.packing == packing
            ),
        )
        for packing in packings
    ]
    columns = headings(analysis.paper)
    table = Table("packings", "Variants by packing", "Variant", columns, tuple(blocks))
    return ranked(_noted(analysis, table, analysis.scored))


def alternatives(analysis: Analysis) -> Table | None:
    """Other methods, with FramePack's variants below; None where there are no other methods."""
    others = [entrant for entrant in analysis.variants if entrant.block.id == "alternative"]
    if not others:
        return None
    packed = [entrant for entrant in analysis.variants if entrant not in others]
    named = []
    for entrant in others:
        title = method_of(entrant.sampler, entrant.packing, entrant.options)
        one = row(analysis, entrant, analysis.paper)
        named.append(Row(f"{title}: {one.label}", one.entries))
    blocks = [Block("Alternatives", tuple(named))]
    if packed:
        rows = tuple(row(analysis, entrant, analysis.paper) for entrant in packed)
        blocks.append(Block("FramePack", rows))
    columns = headings(analysis.paper)
    table = Table("alternatives", "Alternative methods", "Method", columns, tuple(blocks))
    return ranked(_noted(analysis, table, analysis.scored))


def others(analysis: Analysis) -> Table | None:
    """Everything else that was measured; None where there is nothing."""
    columns = [c for c in other_columns(analysis.measured) if _has(analysis, c)]
    if not columns:
        return None
    rows = tuple(row(analysis, entrant, columns, votes=False) for entrant in analysis.variants)
    table = Table(
        "more_metrics",
        "Further metrics and drift measures",
        "Variant",
        headings(columns, votes=False),
        (Block("", rows),),
        ("Δ± is end minus start, with its sign; slopes are per second.",),
    )
    return ranked(_noted(analysis, table, columns))


def _has(analysis: Analysis, column: Column) -> bool:
    return bool(np.isfinite(analysis.measured.of(column)).any())


def _noted(analysis: Analysis, table: Table, columns: Sequence[Column]) -> Table:
    """The table with notes on what it shows: its scales, intervals, votes and these columns."""
    notes = [
        *table.notes,
        "Percent scale; Δ is |start − end| over the first and last 15 % of each video, averaged "
        "over videos.",
    ]
    if table.has_intervals:
        notes.append(INTERVALS)
    if analysis.human is not None and set(HUMAN) <= set(table.headings):
        notes.append("ELO and rank: see the table of ratings.")
        if analysis.human.parted:
            notes.append(PARTED)
    # A metric's drift and slope are measured as it is: each is named once.
    judges = dict.fromkeys(f"{spec_of(c.metric).title} {c.backend}" for c in columns)
    if judges:
        notes.append(f"Measured by: {', '.join(judges)}.")
    readings = {c.reading for c in columns if c.segment == "drift"} - {""}
    if len(readings) == 1:
        how = {
            "exact": "as if each end had been a video of its own",
            "curve": "from slices of the curve over the whole video",
        }
        (reading,) = readings
        notes.append(f"Ends are read {how.get(reading, reading)}.")
    return replace(table, notes=tuple(notes))
