"""One video to score, and what was found out about it."""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from metrics import store
from metrics.errors import UserError
from metrics.store import How, ScoreRow, Segment

if TYPE_CHECKING:
    import pandas as pd


REASON = 60
"""Characters of a reason that are printed."""


@dataclass(frozen=True)
class Job:
    """One video to score, and where its scores go."""

    video: Path
    folder: Path
    """Gets scores.parquet and curves.parquet."""
    prompt: str | None = None
    reference: Path | None = None
    """The input image."""
    section_starts: tuple[int, ...] = ()
    name: str = ""
    """For messages; the video's path when empty."""
    claimed: bool = False
    """Nobody else writes to the folder meanwhile (a study's claim): it needs no lock."""

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.name or str(self.video)


@dataclass(frozen=True)
class Scores:
    """What was found out about one video.

    Printed, it is a line per metric: the numbers of `value(METRIC)` and `value(METRIC, "drift")`,
    or why there are none. `scores` and `curves` have everything.

        walk.mp4: 120 frames
        clarity   0.549  Δ 0.051
        semantic  unavailable: needs CLIP weights
    """

    rows: tuple[ScoreRow, ...]
    curves: "pd.DataFrame"
    """The columns of curves.parquet."""
    video: str = ""
    """What messages call the video."""

    def __repr__(self) -> str:
        whole = [row for row in self.rows if row.segment == "all"]
        width = max((len(row.metric) for row in whole), default=0)
        frames = max((row.frames for row in whole), default=0)
        lines = [f"{self.video or 'a video'}: {frames} frames"]
        for row in whole:
            reason = f"{row.status}: {row.reason}" if row.value is None else row.reason
            parts = [] if row.value is None else [f"{row.value:.3f}"]
            if row.value is not None and (drift := self._drift(row)) is not None:
                parts.append(f"Δ {drift:.3f}")
            parts.append(textwrap.shorten(reason, REASON, placeholder=" …"))
            lines.append(f"{row.metric:{width}}  {'  '.join(filter(None, parts))}")
        return "\n".join(lines)

    def _drift(self, whole: ScoreRow) -> float | None:
        """The drift that goes with a row of the whole video."""
        for how in ("exact", "curve"):
            for row in self.rows:
                same = (row.metric, row.backend) == (whole.metric, whole.backend)
                if same and (row.segment, row.reading) == ("drift", how) and row.value is not None:
                    return row.value
        return None

    @property
    def scores(self) -> "pd.DataFrame":
        """The columns of scores.parquet."""
        return store.scores_frame(self.rows)

    def value(self, metric: str, segment: str = "all", reading: str | None = None) -> float | None:
        """One number; None where none was measured. Segments are read exactly where that exists.

        Raises:
            UserError: the metric was not asked for, or there is no such segment or reading.
        """
        metrics = list(dict.fromkeys(row.metric for row in self.rows))
        for kind, name, there in (
            ("metric", metric, metrics),
            ("segment", segment, get_args(Segment)),
            ("reading", "" if reading is None else reading, get_args(How)),
        ):
            if name not in there:
                known = ", ".join(filter(None, there))
                raise UserError(f"{kind} {name!r} is not among these scores (there are: {known})")
        found = [row for row in self.rows if row.metric == metric and row.segment == segment]
        wanted = [reading] if reading is not None else ["exact", "curve", ""]
        for how in wanted:
            for row in found:
                if row.reading == how:
                    return row.value
        return None

    def row(self, metric: str, segment: str = "all") -> ScoreRow:
        """The first row of a metric's segment. Raises `KeyError` where there is none."""
        for row in self.rows:
            if row.metric == metric and row.segment == segment:
                return row
        raise KeyError((metric, segment))

    @property
    def failed(self) -> list[ScoreRow]:
        """Rows that a run should answer for: the video or a metric failed."""
        return [row for row in self.rows if row.status == "failed"]

    @property
    def failure(self) -> str:
        """The first reason why the video, or a metric of it, failed; "" where none did."""
        return next(
            (failure(row.metric, row.reason, read=row.frames > 0) for row in self.failed), ""
        )


def failure(metric: str, reason: str, *, read: bool) -> str:
    """A failed row in words: it names its metric where the video itself was read."""
    return f"{metric}: {reason}" if read else reason
