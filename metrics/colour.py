"""Colour, contrast and cast, from the mean and spread of CIE L*a*b* in each frame.

No weights. Long generated videos often keep their shapes and lose their colours: a cast creeps in,
contrast rises or fades (FramePack issue 535). Per frame and channel the mean μ and the standard
deviation σ are taken.

- colour: 1 − W/100, W the 2-Wasserstein distance between the normal distributions (μ, σ) of the
  frame and of the reference, W² = Σ (μ − μ_ref)² + (σ − σ_ref)². The reference is the input image,
  else the first frame.
- contrast: σ of L* / 50: 0 for a flat frame, 1 for half black, half white.
- cast: the length of (μ_a, μ_b), 0 for a frame that is grey on average; lower is better.
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

Moments = npt.NDArray[np.float64]
"""[6]: the means, then the standard deviations, of L*, a*, b*."""


def lab_moments(frame: Frames) -> Moments:
    """Mean and standard deviation of L* (0..100), a* and b* of a frame uint8 [h, w, 3]."""
    import cv2

    lab = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB)
    mean, deviation = cv2.meanStdDev(lab)
    # OpenCV stores L* × 255/100, a* + 128 and b* + 128 in 8 bits.
    scale = np.array([100 / 255, 1.0, 1.0])
    offset = np.array([0.0, 128.0, 128.0])
    return np.concatenate(((mean.ravel() - offset) * scale, deviation.ravel() * scale))


def colour_distance(moments: Moments, reference: Moments) -> float:
    """W, in units of ΔE: the 2-Wasserstein distance of the two normal distributions."""
    return float(np.sqrt(np.sum((moments - reference) ** 2)))


class LabMoments(Metric):
    """Colour against the reference; contrast and cast of each frame by itself."""

    backend = "lab-moments"
    metrics = ("colour", "contrast", "cast")
    uses = ("reference",)

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """The reference stays the whole video's: a slice is read off the curve."""
        return True

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """Takes the input image's moments where there is one."""
        reference = None if context.reference is None else lab_moments(context.reference)
        return _Moments(reference)


class _Moments(Measurement):
    def __init__(self, reference: Moments | None) -> None:
        self._reference = reference
        self._moments: list[Moments] = []

    def update(self, chunk: Chunk) -> None:
        self._moments += [lab_moments(frame) for frame in chunk.frames]

    def finish(self) -> Sequence[Reading]:
        moments = np.stack(self._moments)
        reference = moments[0] if self._reference is None else self._reference
        colour = [1.0 - colour_distance(each, reference) / 100.0 for each in moments]
        curves = {
            "colour": np.asarray(colour),
            "contrast": moments[:, 3] / 50.0,
            "cast": np.hypot(moments[:, 1], moments[:, 2]),
        }
        frames = np.arange(len(moments))
        return [Reading(name, Curve(frames, values)) for name, values in curves.items()]
