"""Tables on questions that readers of the paper asked: endings, and drift at the start.

Both are read off curves, a value per frame, of up to `MOST_CELLS` videos a variant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from metrics import drift
from metrics.base import Curve
from metrics.departure import TOLERANCE, reach
from metrics.errors import Undefined
from reports.analysis import Analysis, Entrant
from reports.columns import Column
from reports.statistics.clusters import Floats, estimate
from reports.tables.scores import MADE, made, missing
from reports.tables.table import Block, Heading, Number, Row, Table, ranked

MOST_CELLS = 32
"""Videos a variant, spread evenly over its cells."""

STARTING = ("contrast", "colour", "clarity")
"""Whose drift at the start is told: contrast, as a reader saw it; what the input image decides; and
the paper's first metric."""


def endings(analysis: Analysis) -> Table | None:
    """How far videos go from their first frame, and what they lose; None without departures."""
    departure, clarity = (_column(analysis, metric) for metric in ("departure", "clarity"))
    if departure is None or clarity is None:
        return None
    curves = _curves(analysis, (departure, clarity))

    def reached(of: Mapping[Column, tuple[Curve, int]]) -> float:
        (departures, frames), (quality, _) = of[departure], of[clarity]
        return reach(departures, quality, frames)

    def at_end(of: Mapping[Column, tuple[Curve, int]]) -> float:
        curve, frames = of[departure]
        return curve.between(frames - drift.segment_length(frames), frames).summary()

    def lost(of: Mapping[Column, tuple[Curve, int]]) -> float:
        curve, frames = of[clarity]
        length = drift.segment_length(frames)
        end = curve.between(frames - length, frames).summary()
        return clarity.scale * (end - curve.between(0, length).summary())

    rows = tuple(
        Row(
            entrant.name,
            (
                _number(analysis, entrant, curves, at_end, 1),
                _number(analysis, entrant, curves, lost, 2, sign=True),
                _number(analysis, entrant, curves, reached, 1),
                made(entrant),
            ),
        )
        for entrant in analysis.variants
    )
    headings = (
        Heading("departure.end", "Departure at the end, ΔE"),
        Heading("clarity.drift_signed", f"{clarity.title}, end − start"),
        Heading("reach", "Reach, ΔE", "higher"),
        MADE,
    )
    notes = (
        "Departure is the mean colour distance between the end's layout and the first frame's; "
        f"reach is the largest departure before {clarity.title} falls {100 * TOLERANCE:g} points "
        "below the start's for the first time: how far a video may end from its first frame while "
        "quality holds.",
    )
    return ranked(Table("endings", "Endings", "Variant", headings, (Block("", rows),), notes))


def onset(analysis: Analysis) -> Table | None:
    """Drift at the start against drift later on; None where contrast was not measured."""
    columns = [column for metric in STARTING if (column := _column(analysis, metric))]
    if not columns or columns[0].metric != STARTING[0]:
        return None
    curves = _curves(analysis, columns)
    columns = [column for column in columns if any(column in of for of in curves.values())]

    def first(column: Column) -> Callable[[Mapping[Column, tuple[Curve, int]]], float]:
        return lambda of: column.scale * drift.onset(*of[column])

    def excess(column: Column) -> Callable[[Mapping[Column, tuple[Curve, int]]], float]:
        return lambda of: column.scale * (drift.onset(*of[column]) - drift.later(*of[column]))

    rows = tuple(
        Row(
            entrant.name,
            (
                *(
                    _number(analysis, entrant, curves, of(column), 2, sign=of is excess)
                    for column in columns
                    for of in (first, excess)
                ),
                made(entrant),
            ),
        )
        for entrant in analysis.variants
    )
    headings = [
        heading
        for column in columns
        for heading in (
            Heading(f"{column.metric}.onset", f"{column.title} onset", "lower"),
            Heading(f"{column.metric}.excess", f"{column.title} onset − later"),
        )
    ]
    notes = (
        "Onset is the difference between the first 15 % of a video and the next 15 %; later is the "
        "mean of the same difference between all following parts. Where onset − later is above "
        "zero, the start drifts more than the rest.",
    )
    return ranked(
        Table(
            "onset",
            "Drift at the start",
            "Variant",
            (*headings, MADE),
            (Block("", rows),),
            notes,
        )
    )


def _column(analysis: Analysis, metric: str) -> Column | None:
    """The first column of a metric over the whole video that has values."""
    for column in analysis.measured.columns:
        if (column.metric, column.segment) == (metric, "all") and column.fingerprint:
            return column
    return None


Curves = dict[int, dict[Column, tuple[Curve, int]]]
"""By cell and column: the curve and the video's frames."""


def _curves(analysis: Analysis, columns: list[Column] | tuple[Column, ...]) -> Curves:
    """The curves of some cells of every variant."""
    done = (analysis.cells["state"] == "done").to_numpy()
    chosen: list[int] = []
    for entrant in analysis.variants:
        rows = entrant.rows[done[entrant.rows]]
        if len(rows):
            places = np.unique(np.linspace(0, len(rows) - 1, MOST_CELLS).round().astype(int))
            chosen += [int(row) for row in rows[places]]
    found: Curves = {}
    if not chosen or not columns:
        return found
    table = analysis.results.curves(chosen)
    frames = analysis.cells["frames"].to_numpy()
    for column in columns:
        own = (table["metric"] == column.metric) & (table["fingerprint"] == column.fingerprint)
        for name, part in table[own].groupby("cell", sort=False):
            cell = int(str(name))
            found.setdefault(cell, {})[column] = (_curve(part), int(frames[cell]))
    return found


def _curve(rows: pd.DataFrame) -> Curve:
    return Curve(
        rows["frame"].to_numpy(dtype=np.int64),
        rows["value"].to_numpy(dtype=np.float64),
        int(rows["span"].iloc[0]),
    )


def _number(
    analysis: Analysis,
    entrant: Entrant,
    curves: Curves,
    read: Callable[[Mapping[Column, tuple[Curve, int]]], float],
    digits: int,
    *,
    sign: bool = False,
) -> Number:
    """A reading's mean over a variant's videos."""
    values: Floats = np.full(len(entrant.rows), np.nan)
    for place, row in enumerate(entrant.rows):
        if int(row) in curves:
            try:
                values[place] = read(curves[int(row)])
            except (Undefined, KeyError):
                continue
    one = estimate(values, analysis.prompt[entrant.rows])
    lacking = missing(entrant, one.videos) if entrant.made <= MOST_CELLS else 0
    return Number(one.value, one.low, one.high, digits, lacking, sign=sign)
