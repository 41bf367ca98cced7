"""The columns of the report's tables: one metric, one segment, one fingerprint each.

A fingerprint names the metric's back-end, weights and parameters. Two fingerprints of one metric
are two measurements, so they become two columns, never one mean; the heading then says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from metrics.base import MetricSpec
from metrics.catalogue import DRIFTS_IN_PAPER, PAPER, SPECS
from reports.results import Results
from reports.statistics.clusters import Floats

READINGS = ("", "exact", "curve")
"""Where a segment was read in two ways the tables take the first of these."""


@dataclass(frozen=True)
class Column:
    """What one column of a table shows.

    `scale` is 100 for metrics that print as percentages. An empty fingerprint marks a metric of
    the paper that this study has no score of: its column is there, and empty.
    """

    metric: str
    segment: str
    title: str
    backend: str = ""
    fingerprint: str = ""
    reading: str = ""
    higher_is_better: bool | None = True
    """None where neither way is better (a signed slope, a departure)."""
    scale: float = 100.0
    bounds: tuple[float | None, float | None] = (None, None)
    unit: str = ""

    @property
    def key(self) -> str:
        """A name for files: `clarity`, `clarity.drift`, with the fingerprint where it must be."""
        name = self.metric if self.segment == "all" else f"{self.metric}.{self.segment}"
        return name if "·" not in self.title else f"{name}@{self.fingerprint[:8]}"

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return "" if self.higher_is_better is None else "↑" if self.higher_is_better else "↓"


@dataclass(frozen=True)
class Measured:
    """Every score of a study as an array: rows are cells, columns are `columns`.

    values: `[cells, columns]` on the printed scale (percent where the column is one); NaN where
        there is no score.
    coverage: `[cells, columns]` share of frames where the metric is defined; NaN without a row.
    reasons: for each column, how often which reason stands in place of a score.
    """

    columns: tuple[Column, ...]
    values: Floats
    coverage: Floats
    reasons: tuple[dict[str, int], ...]

    def of(self, column: Column) -> Floats:
        """`[cells]` values of one column."""
        values: Floats = self.values[:, self.columns.index(column)]
        return values

    def pick(self, columns: Sequence[Column]) -> Measured:
        """The same with some of the columns."""
        places = [self.columns.index(column) for column in columns]
        return Measured(
            tuple(columns),
            self.values[:, places],
            self.coverage[:, places],
            tuple(self.reasons[place] for place in places),
        )


def spec_of(metric: str) -> MetricSpec:
    """The catalogue's entry, or a plain one for a quantity that it does not know."""
    known = SPECS.get(metric)
    return known or MetricSpec(
        metric, metric.replace("_", " ").capitalize(), "", percent=False, bounds=(-np.inf, np.inf)
    )


_TITLES = {
    "all": "{}",
    "drift": "Δ{}",
    "drift_signed": "Δ±{}",
    "start": "{} start",
    "end": "{} end",
    "slope": "{} slope",
    "joint": "{} at joints",
    "onset": "{} onset",
}


def measure(results: Results) -> Measured:
    """Arrange a study's scores by cell and column.

    Every measured (metric, segment, fingerprint, reading) is a column; the paper's columns come
    first and in its order, also those without a score.
    """
    scores = results.scores
    names = ["metric", "backend", "fingerprint", "segment", "reading"]
    number = scores.groupby(names, observed=True, sort=False).ngroup().to_numpy()
    first = scores.loc[~pd.Series(number).duplicated().to_numpy(), names].astype(str)
    kinds = [tuple(row) for row in first.itertuples(index=False)]
    count = len(kinds)

    shape = (len(results.cells), count)
    value, coverage = np.full(shape, np.nan), np.full(shape, np.nan)
    cell = scores["cell"].to_numpy()
    ok = (scores["status"] == "ok").to_numpy() & scores["value"].notna().to_numpy()
    value[cell[ok], number[ok]] = scores["value"].to_numpy()[ok]
    coverage[cell, number] = scores["coverage"].to_numpy()
    reasons = _reasons(scores, ok, number, count)

    kept = _kept(kinds, np.isfinite(value).any(axis=0))
    columns, places = _arrange(kinds, kept)
    scale = np.array([column.scale for column in columns])
    empty = np.full(shape[0], np.nan)
    values = [empty if place is None else value[:, place] for place in places]
    covered = [empty if place is None else coverage[:, place] for place in places]
    return Measured(
        columns,
        np.stack(values, axis=1) * scale,
        np.stack(covered, axis=1),
        tuple({} if place is None else reasons[place] for place in places),
    )


Kind = tuple[str, str, str, str, str]


def _reasons(
    scores: pd.DataFrame, ok: np.ndarray[tuple[int], np.dtype[np.bool_]], number: object, count: int
) -> list[dict[str, int]]:
    """How often each reason stands in place of a value, by column."""
    absent = scores.loc[~ok, ["status", "reason"]].assign(number=np.asarray(number)[~ok])
    found: list[dict[str, int]] = [{} for _ in range(count)]
    if len(absent):
        keys = [absent[name].astype(str) for name in ("status", "reason")]
        sizes = absent.groupby([absent["number"], *keys]).size().reset_index(name="times")
        told = sizes["status"] + np.where(sizes["reason"] == "", "", ": ") + sizes["reason"]
        for place, reason, times in zip(sizes["number"], told, sizes["times"], strict=True):
            found[place][reason] = times
    return found


def _kept(kinds: Sequence[Kind], measured: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[int]:
    """Columns worth having: those with a value, or, of a metric and segment without any, one."""
    having = {(kind[0], kind[3]) for kind, has in zip(kinds, measured, strict=True) if has}
    kept, lone = [], set()
    for place, (kind, has) in enumerate(zip(kinds, measured, strict=True)):
        what = (kind[0], kind[3])
        if has:
            kept.append(place)
        elif what not in having and what not in lone:
            lone.add(what)
            kept.append(place)
    return kept


def _arrange(
    kinds: Sequence[Kind], kept: Sequence[int]
) -> tuple[tuple[Column, ...], list[int | None]]:
    """Columns in the tables' order, and for each the number of its kind (None: never scored)."""
    wanted = [(metric, "all") for metric in PAPER]
    wanted += [(metric, "drift") for metric in DRIFTS_IN_PAPER]
    found = dict.fromkeys((kinds[place][0], kinds[place][3]) for place in kept)
    segments = list(_TITLES)
    order = {name: place for place, name in enumerate([*PAPER, *SPECS])}
    rest = sorted(
        (what for what in found if what not in wanted),
        key=lambda what: (
            segments.index(what[1]) if what[1] in segments else len(segments),
            order.get(what[0], len(order)),
            what[0],
        ),
    )
    columns: list[Column] = []
    places: list[int | None] = []
    for metric, segment in [*wanted, *rest]:
        same = [place for place in kept if (kinds[place][0], kinds[place][3]) == (metric, segment)]
        if not same:
            columns.append(_column(metric, segment, ("", "", ""), 1, 1))
            places.append(None)
        # A curve reading beside an exact one of the same fingerprint is the same quantity: the
        # tables take the exact one, and load() still has both.
        same.sort(key=lambda place: (kinds[place][1], kinds[place][2], _reading(kinds[place][4])))
        fingerprints = list(dict.fromkeys((kinds[place][1], kinds[place][2]) for place in same))
        backends = {backend for backend, _ in fingerprints}
        for backend, fingerprint in fingerprints:
            place = next(p for p in same if kinds[p][1:3] == (backend, fingerprint))
            kind = (backend, fingerprint, kinds[place][4])
            columns.append(_column(metric, segment, kind, len(fingerprints), len(backends)))
            places.append(place)
    return tuple(columns), places


def _reading(reading: str) -> int:
    return READINGS.index(reading) if reading in READINGS else len(READINGS)


def _column(
    metric: str, segment: str, kind: tuple[str, str, str], fingerprints: int, backends: int
) -> Column:
    """A column's heading, direction and scale from the catalogue."""
    spec = spec_of(metric)
    backend, fingerprint, reading = kind
    title = _TITLES.get(segment, "{} " + segment).format(spec.title)
    if fingerprints > 1:
        name = backend if backends == fingerprints else f"{backend} {fingerprint[:4]}"
        title = f"{title} · {name}"
    scale = 100.0 if spec.percent else 1.0
    low, high = (scale * bound if np.isfinite(bound) else None for bound in spec.bounds)
    if segment == "drift":
        low, high = 0.0, None if low is None or high is None else high - low
    elif segment not in ("all", "start", "end"):
        low = high = None
    better: bool | None = False
    if segment in ("all", "start", "end"):
        better = spec.higher_is_better
    elif segment in ("drift_signed", "slope") or spec.higher_is_better is None:
        better = None
    unit = "%" if spec.percent else spec.unit
    return Column(
        metric, segment, title, backend, fingerprint, reading, better, scale, (low, high), unit
    )


def paper_columns(measured: Measured) -> list[Column]:
    """The columns of the paper's tables, in its order; twice where there are two fingerprints."""
    chosen = [c for c in measured.columns if c.metric in PAPER and c.segment == "all"]
    chosen += [c for c in measured.columns if c.metric in DRIFTS_IN_PAPER and c.segment == "drift"]
    return chosen


def other_columns(measured: Measured) -> list[Column]:
    """Everything measured beyond the paper's columns, except the two ends that drift compares."""
    known = set(paper_columns(measured))
    return [c for c in measured.columns if c not in known and c.segment not in ("start", "end")]
