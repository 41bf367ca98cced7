"""VBench's rule for Dynamic, whatever computes the optical flow.

Every max(1, round(fps/8))-th frame is taken. A pair of neighbouring samples has the mean of its 5 %
longest flow vectors as its value; the video is dynamic when at least round(4·n/16) pairs exceed
6·short_side/256 pixels, n the number of sampled frames. Being a boolean, its drift is only 0 or 1,
and 0 wherever both segments have two samples, which are dynamic whatever they show; the pairs'
values stand beside it as `dynamic_magnitude`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from metrics.base import Chunk, Curve, Frames, Measurement, Reading, Values, VideoInfo
from metrics.errors import Undefined

SAMPLES_PER_SECOND = 8
FASTEST = 0.05
"""The share of flow vectors that stand for a pair."""
THRESHOLD_AT_256 = 6.0
"""Pixels between samples, for a short side of 256."""

Flow = Callable[[Frames, Frames], npt.NDArray[np.float32]]
"""Two frames uint8 [height, width, 3] to their flow, [height, width, 2] in pixels."""


def stride(fps: float) -> int:
    """Frames from one sample to the next."""
    return max(1, round(fps / SAMPLES_PER_SECOND))


def pair_magnitude(flow: npt.NDArray[np.float32]) -> float:
    """Mean length, in pixels, of the 5 % longest vectors of a flow [height, width, 2]."""
    length = np.hypot(flow[..., 0], flow[..., 1]).ravel()
    count = max(1, int(len(length) * FASTEST))
    return float(np.mean(np.partition(length, len(length) - count)[-count:], dtype=np.float64))


def threshold(width: int, height: int) -> float:
    """The magnitude, in pixels, that a moving pair exceeds."""
    return THRESHOLD_AT_256 * min(width, height) / 256.0


def is_dynamic(magnitudes: Values, limit: float) -> bool:
    """Whether enough of the n − 1 pairs exceed the limit.

    As in VBench the count is compared after each pair, so with no pair the answer is no, and with
    one pair (round(4·2/16) = 0 needed) it is yes whatever the pair shows.
    """
    samples = len(magnitudes) + 1
    needed = round(4 * (samples / 16.0))
    return len(magnitudes) > 0 and int(np.sum(magnitudes > limit)) >= needed


def starts_in_phase(first: int, video: VideoInfo) -> bool:
    """Whether a slice from frame `first` samples the frames that the whole video samples."""
    return first % stride(video.fps) == 0


class FlowPairs(Measurement):
    """Samples frames, and keeps one frame and one number a pair."""

    def __init__(self, video: VideoInfo, flow: Flow) -> None:
        self._flow = flow
        self._stride = stride(video.fps)
        self._limit = threshold(video.width, video.height)
        self._previous: Frames | None = None
        self._magnitudes: list[float] = []

    def update(self, chunk: Chunk) -> None:
        """Compare each sampled frame with the one sampled before."""
        skip = -chunk.first % self._stride
        for frame in chunk.frames[skip :: self._stride]:
            if self._previous is not None:
                self._magnitudes.append(pair_magnitude(self._flow(self._previous, frame)))
            # A copy: a view would keep the whole chunk alive.
            self._previous = frame.copy()

    def finish(self) -> Sequence[Reading]:
        """`dynamic` (0 or 1 a pair, the rule for the whole) and `dynamic_magnitude` (pixels)."""
        return flow_readings(np.asarray(self._magnitudes), self._stride, self._limit)


def flow_readings(magnitudes: Values, step: int, limit: float) -> list[Reading]:
    """Both readings of the magnitudes of pairs that lie `step` frames apart.

    Raises:
        Undefined: there is no pair.
    """
    if len(magnitudes) == 0:
        raise Undefined(f"needs two sampled frames, which are {step} frames apart")
    frames = np.arange(len(magnitudes), dtype=np.int64) * step
    moving = (magnitudes > limit).astype(np.float64)

    def rule(pairs: Values) -> float:
        return float(is_dynamic(pairs, 0.5))

    return [
        Reading("dynamic", Curve(frames, moving, step + 1, rule=rule)),
        Reading("dynamic_magnitude", Curve(frames, magnitudes, step + 1)),
    ]
