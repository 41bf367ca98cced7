"""Dynamic by dense inverse search (Kroeger et al., ECCV 2016), OpenCV's own optical flow.

No weights: end-point errors on known shifts are 0.01 to 0.17 pixels. The rule on top of the flow is
VBench's; only the flow differs from the paper's RAFT.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from metrics.base import Frames, Measurement, Metric, ScoringContext, VideoInfo
from metrics.dynamic_degree import FlowPairs, starts_in_phase, stride
from metrics.errors import Undefined

SMALLEST = 16
"""Pixels; the search works on patches of 8 at half size."""

PRESETS = ("ultrafast", "fast", "medium")


class DisFlow(Metric):
    """Dynamic and its magnitude, from flow on grey frames at full resolution."""

    backend = "dis"
    protocol = 2
    metrics = ("dynamic", "dynamic_magnitude")
    uses = ()
    span = 2
    max_pixels = 8192 * 4608

    def __init__(self, preset: str = "medium") -> None:
        """`preset` is OpenCV's: ultrafast, fast or medium."""
        if preset not in PRESETS:
            raise TypeError(f"preset is {preset!r}; known: {', '.join(PRESETS)}")
        self.preset = preset

    def parameters(self) -> Mapping[str, Any]:
        """The preset decides patch stride and iterations."""
        return {"preset": self.preset}

    def frames_needed(self, video: VideoInfo) -> int:
        """Two samples."""
        return stride(video.fps) + 1

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """Sampling starts anew in a slice; the curve agrees where the phase does."""
        return starts_in_phase(first, video)

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A flow object of its own: OpenCV's keeps buffers between calls."""
        import cv2

        if min(video.width, video.height) < SMALLEST:
            raise Undefined(f"needs frames of at least {SMALLEST}×{SMALLEST} pixels")
        flow = cv2.DISOpticalFlow.create(PRESETS.index(self.preset))

        def between(first: Frames, second: Frames) -> npt.NDArray[np.float32]:
            grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
            # OpenCV's stubs do not know that None asks for a new array.
            found: npt.NDArray[np.float32] = flow.calc(grey[0], grey[1], None)  # type: ignore[call-overload]
            return found

        return FlowPairs(video, between)
