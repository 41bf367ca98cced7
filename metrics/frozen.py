"""Change: the share of frames that differ from the frame before.

No weights. A video that froze scores perfectly on quality and on smoothness; this is the metric
that sees it. A frame counts as changed when the mean absolute luma difference over its 5 % most
changed blocks of 16×16 pixels exceeds one grey level: a coding of identical frames stays below,
sensor noise and the smallest of motions lie above.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metrics.base import (
    Chunk,
    Curve,
    Measurement,
    Metric,
    Reading,
    ScoringContext,
    VideoInfo,
)

BLOCK = 16
MOST_CHANGED = 0.05
GREY_LEVELS = 1.0


def block_change(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> float:
    """Mean absolute difference, in grey levels, over the most changed blocks of two luma frames."""
    import cv2

    difference = cv2.absdiff(first, second).astype(np.float32)
    height, width = difference.shape
    blocks = cv2.resize(
        difference,
        (max(1, width // BLOCK), max(1, height // BLOCK)),
        interpolation=cv2.INTER_AREA,
    ).ravel()
    count = max(1, int(len(blocks) * MOST_CHANGED))
    return float(np.mean(np.sort(blocks)[-count:]))


class FrameDifference(Metric):
    """1 for a pair of neighbouring frames that differ, 0 for a frozen one."""

    backend = "frame-difference"
    metrics = ("change",)
    uses = ()
    min_frames = 2
    span = 2

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """A pair depends on its two frames only."""
        return True

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """Remembers one luma frame."""
        return _Changes()


class _Changes(Measurement):
    def __init__(self) -> None:
        self._previous: npt.NDArray[np.uint8] | None = None
        self._values: list[float] = []

    def update(self, chunk: Chunk) -> None:
        import cv2

        for frame in chunk.frames:
            luma = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
            if self._previous is not None:
                changed = block_change(self._previous, luma) > GREY_LEVELS
                self._values.append(float(changed))
            self._previous = luma

    def finish(self) -> Sequence[Reading]:
        values = np.asarray(self._values)
        return [Reading("change", Curve(np.arange(len(values)), values, span=2))]
