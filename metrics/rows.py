"""From what measurements read to the rows that are stored."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metrics import drift
from metrics.base import Curve, Reading
from metrics.errors import MetricError, Undefined
from metrics.store import How, ScoreRow, Segment, Status


@dataclass(frozen=True)
class Labels:
    """What all rows of one metric of one video share."""

    metric: str
    backend: str
    fingerprint: str
    inputs: str
    video_sha256: str
    frames: int
    fps: float
    device: str
    note: str = ""
    """What the video suffers from (truncated); stands in `reason` even where there is a value."""

    def row(
        self,
        segment: Segment,
        how: How,
        value: float | None,
        coverage: float = 0.0,
        status: Status = "ok",
        reason: str = "",
    ) -> ScoreRow:
        """One row; a value that is no finite number becomes an undefined one."""
        if status == "ok" and (value is None or not np.isfinite(value)):
            status, reason, value = "undefined", reason or "the metric gave no number", None
        return ScoreRow(
            metric=self.metric,
            backend=self.backend,
            fingerprint=self.fingerprint,
            segment=segment,
            reading=how,
            value=value,
            coverage=coverage,
            status=status,
            reason=reason or self.note,
            video_sha256=self.video_sha256,
            frames=self.frames,
            fps=self.fps,
            device=self.device,
            inputs=self.inputs,
        )

    def absent(self, status: Status, reason: str) -> list[ScoreRow]:
        """The row of a metric that has no score at all."""
        return [self.row("all", "exact", None, status=status, reason=reason)]


@dataclass(frozen=True)
class Slices:
    """The start and the end of a video, in frames."""

    length: int
    frames: int

    @property
    def start(self) -> tuple[int, int]:
        """[first, stop) of the start segment."""
        return 0, self.length

    @property
    def end(self) -> tuple[int, int]:
        """[first, stop) of the end segment."""
        return self.frames - self.length, self.frames


def measured_rows(
    labels: Labels,
    whole: Reading,
    slices: Slices,
    exact: dict[str, Reading | MetricError],
    section_starts: tuple[int, ...],
    fraction: float,
) -> list[ScoreRow]:
    """All rows of one metric: the score, its segments in both readings, and its drift.

    `exact` holds the readings of "start" and "end" where they were measured by themselves; a
    segment that is not in it is a slice of the curve, which then is exact.
    """
    rows = [_row(labels, "all", "exact", whole.score, whole.covered())]
    curve = whole.curve
    ways: tuple[How, ...] = ("exact", "curve")
    ends_of_video: tuple[tuple[Segment, tuple[int, int]], ...] = (
        ("start", slices.start),
        ("end", slices.end),
    )
    for how in ways:
        ends: list[float | None] = []
        for segment, (first, stop) in ends_of_video:
            part = curve.between(first, stop)
            again = exact.get(segment) if how == "exact" else None
            row = _segment_row(labels, segment, how, part, again)
            rows.append(row)
            ends.append(row.value)
        start, end = ends
        coverage = min(row.coverage for row in rows[-2:])
        if start is None or end is None:
            why = next(row.reason for row in rows[-2:] if row.value is None)
            rows.append(labels.row("drift", how, None, coverage, "undefined", why))
            rows.append(labels.row("drift_signed", how, None, coverage, "undefined", why))
        else:
            rows.append(labels.row("drift", how, abs(start - end), coverage))
            rows.append(labels.row("drift_signed", how, end - start, coverage))
    fps, frames, at_least = labels.fps, labels.frames, slices.length
    more: list[tuple[Segment, Callable[[], float]]] = [
        ("slope", lambda: drift.slope(curve, fps)),
        ("joint", lambda: drift.joint(curve, section_starts)),
        ("onset", lambda: drift.onset(curve, frames, fraction, at_least)),
    ]
    rows += [_row(labels, segment, "curve", value, curve.coverage()) for segment, value in more]
    return rows


def _segment_row(
    labels: Labels, segment: Segment, how: How, part: Curve, again: Reading | MetricError | None
) -> ScoreRow:
    if isinstance(again, MetricError):
        return labels.row(segment, how, None, 0.0, status_of(again), str(again))
    if again is not None:
        return _row(labels, segment, how, again.score, again.covered())
    return _row(labels, segment, how, part.summary, part.coverage())


def _row(
    labels: Labels, segment: Segment, how: How, value: Callable[[], float], coverage: float
) -> ScoreRow:
    try:
        return labels.row(segment, how, value(), coverage)
    except Undefined as error:
        return labels.row(segment, how, None, coverage, "undefined", str(error))


def status_of(error: MetricError) -> Status:
    """The status that a row carries for an error."""
    if error.status == "unavailable":
        return "unavailable"
    return "undefined" if error.status == "undefined" else "failed"
