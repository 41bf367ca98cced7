"""Departure: how far a frame's layout is from the first frame's, and how far quality lets it go.

No weights. Image-to-video models like to stay where they start; whether a person can walk out of
the room is asked by how unlike the first frame the end may become *while quality holds*.

- departure, per frame: both frames are averaged over a grid of 8×8 cells, turned to CIE L*a*b*, and
  each has its mean colour taken away; the mean distance (ΔE) of the cells is the departure. So a
  colour cast, a change of light or of contrast everywhere is hardly one (that is drift), and blur,
  noise or a shift of a few pixels is none; a person who leaves, or a backdrop that moves, is. 0 for
  the first frame.
- reach, per video: windows as long as the start segment (15 % of the frames) go through the video.
  Quality holds while a window's mean is not more than a tolerance below that of the first window;
  the reach is the largest departure of a window until it fails for the first time. A video that
  stands still and one that falls apart at once both reach 0.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metrics.base import (
    Chunk,
    Curve,
    Frames,
    Measurement,
    Metric,
    Reading,
    ScoringContext,
    VideoInfo,
)
from metrics.drift import FRACTION, segment_length
from metrics.errors import Undefined

GRID = 8
"""Cells along each side: of a person who fills a third of the frame, several cells are covered."""

TOLERANCE = 0.05
"""How much of a metric on a 0..1 scale may be lost while quality still holds: five points, about
the start-end contrasts that the paper prints."""

STRIDES = 4
"""Windows begin this many times in a window's length."""

Layout = npt.NDArray[np.float64]
"""[cells, 3]: L*a*b* of each cell, less the frame's mean."""


def layout(frame: Frames) -> Layout:
    """The layout of a frame uint8 [h, w, 3]."""
    import cv2

    cells = cv2.resize(frame, (GRID, GRID), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cells.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    found: Layout = (lab - lab.mean(axis=0)).astype(np.float64)
    return found


def departure(now: Layout, first: Layout) -> float:
    """Mean distance of the cells, in ΔE."""
    return float(np.linalg.norm(now - first, axis=1).mean())


def reach(
    departures: Curve,
    quality: Curve,
    frames: int,
    *,
    tolerance: float = TOLERANCE,
    fraction: float = FRACTION,
) -> float:
    """The largest departure (ΔE) until quality fails for the first time.

    Args:
        departures: of the video.
        quality: a metric on a 0..1 scale where higher is better, of the same video.
        frames: how many the video has.
        tolerance: how far a window's quality may lie below the first one's.
        fraction: a window's share of the video.

    Raises:
        Undefined: the quality of the first window is not defined.
    """
    length = segment_length(frames, fraction)
    least = quality.between(0, length).summary() - tolerance
    farthest = 0.0
    starts = range(0, frames - length, max(1, length // STRIDES))
    for start in (*starts, frames - length):
        try:
            holds = quality.between(start, start + length).summary() >= least
        except Undefined:
            continue  # nothing to see there says nothing about quality
        if not holds:
            break
        farthest = max(farthest, departures.between(start, start + length).summary())
    return farthest


class GridDeparture(Metric):
    """Departure of each frame from the video's first."""

    backend = "grid-departure"
    metrics = ("departure",)
    uses = ()

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """The first frame stays the whole video's: a slice is read off the curve."""
        return True

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """Keeps the first frame's layout."""
        return _Departures()


class _Departures(Measurement):
    def __init__(self) -> None:
        self._first: Layout | None = None
        self._values: list[float] = []

    def update(self, chunk: Chunk) -> None:
        for frame in chunk.frames:
            now = layout(frame)
            if self._first is None:
                self._first = now
            self._values.append(departure(now, self._first))

    def finish(self) -> Sequence[Reading]:
        values = np.asarray(self._values)
        return [Reading("departure", Curve(np.arange(len(values)), values))]
