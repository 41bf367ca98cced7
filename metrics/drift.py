"""How a metric changes from the start of a video to its end.

The FramePack paper's drift is Δ_M(V) = |M(V_start) − M(V_end)|, V_start the first and V_end the
last 15 % of frames. Two readings of M on a segment exist: `exact`, as if the segment were a video
of its own, and `curve`, a slice of the whole video's curve. They agree wherever an item of the
curve depends on its own frames only.

The other measures say what two segments cannot: `slope` is the trend over the whole curve, `joint`
what happens where sections meet, `onset` what happens right after the start (a first frame that was
given differs from all that was generated).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metrics.base import Curve
from metrics.errors import Undefined

FRACTION = 0.15
"""The paper's share of frames for the start and the end."""

MAX_SLOPE_ITEMS = 500
"""Theil-Sen looks at all pairs; longer curves are thinned evenly to this many items."""


def segment_length(frames: int, fraction: float = FRACTION, at_least: int = 1) -> int:
    """Frames in the start (or end) segment: max(1, int(fraction · N)), never more than N.

    `at_least` is what a metric needs to mean anything: 4 frames for interpolation.
    """
    return min(frames, max(1, int(fraction * frames), at_least))


def slope(curve: Curve, fps: float) -> float:
    """The curve's trend per second: the median slope over all pairs of items (Theil-Sen).

    Robust: up to 29 % of the items may be outliers.

    Raises:
        Undefined: fewer than two items are defined.
    """
    defined = np.flatnonzero(np.isfinite(curve.values))
    if len(defined) < 2:
        raise Undefined("a slope needs two defined items")
    if len(defined) > MAX_SLOPE_ITEMS:
        defined = defined[np.linspace(0, len(defined) - 1, MAX_SLOPE_ITEMS).round().astype(int)]
    time = curve.frames[defined] / fps
    values = curve.values[defined]
    later, earlier = np.tril_indices(len(defined), -1)
    return float(np.median((values[later] - values[earlier]) / (time[later] - time[earlier])))


def joints(section_starts: Sequence[int]) -> npt.NDArray[np.int64]:
    """Where sections meet: their first frames in order, without the first section's.

    What the first section meets is the start, or the given image at frame 0: `onset` asks for that.

    Example:
        >>> joints([0, 10, 19]).tolist(), joints([1, 10, 19]).tolist()
        ([10, 19], [10, 19])
    """
    return np.unique(np.asarray(section_starts, dtype=np.int64))[1:]


def joint(curve: Curve, section_starts: Sequence[int]) -> float:
    """The section-boundary jump: mean |step| at joints minus mean |step| elsewhere.

    A step lies between neighbouring items; it is at a joint when the later item is the first to
    see a frame of the new section.

    Args:
        curve: the metric over the whole video.
        section_starts: the first frame of every section, the first one's too.

    Raises:
        Undefined: there is no joint, or no step on one of the two sides of the comparison.
    """
    meetings = joints(section_starts)
    if len(meetings) == 0:
        raise Undefined("no section boundary is known")
    steps = np.abs(np.diff(curve.values))
    last_seen = curve.frames + curve.span - 1
    crossed = np.searchsorted(meetings, last_seen, side="right")
    at_joint = np.diff(crossed) > 0
    finite = np.isfinite(steps)
    if not (finite & at_joint).any() or not (finite & ~at_joint).any():
        raise Undefined("no step at a section boundary, or none elsewhere, is defined")
    return float(steps[finite & at_joint].mean() - steps[finite & ~at_joint].mean())


def onset(curve: Curve, frames: int, fraction: float = FRACTION, at_least: int = 1) -> float:
    """Start-of-video drift: |M(first n frames) − M(next n frames)|, n as in `segment_length`.

    Raises:
        Undefined: the video is shorter than 2n, or a part has no defined item.
    """
    length = segment_length(frames, fraction, at_least)
    if 2 * length > frames:
        raise Undefined("too short for a start and what follows it")
    first = curve.between(0, length).summary()
    following = curve.between(length, 2 * length).summary()
    return abs(first - following)


def later(curve: Curve, frames: int, fraction: float = FRACTION, at_least: int = 1) -> float:
    """What `onset` is to be compared with: the mean |M(n frames) − M(next n)| after the start.

    A video whose start alone drifts (a given first frame, then generated ones) has an onset above
    this; one that changes evenly has not.

    Raises:
        Undefined: the video is shorter than 3n, or no two neighbouring parts are defined.
    """
    length = segment_length(frames, fraction, at_least)
    values = []
    for first in range(length, frames - 2 * length + 1, length):
        try:
            one, other = (
                curve.between(start, start + length).summary() for start in (first, first + length)
            )
        except Undefined:
            continue
        values.append(abs(one - other))
    if not values:
        raise Undefined("too short for anything after the start")
    return float(np.mean(values))
