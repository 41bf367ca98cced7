"""One video to score, and what was found out about it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from metrics import store
from metrics.errors import UserError
from metrics.store import How, ScoreRow, Segment

if TYPE_CHECKING:
    import pandas as pd


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
    """What was found out about one video."""

    rows: tuple[ScoreRow, ...]
    curves: "pd.DataFrame" = field(repr=False)
    """The columns of curves.parquet."""

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
