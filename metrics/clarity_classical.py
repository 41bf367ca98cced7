"""Clarity without weights: sharpness × cleanness × wholeness.

Natural-scene-statistics models (BRISQUE, NIQE, PIQE; see metrics/clarity_natural.py) call a soft
frame *better* when light noise is added to it, and generated video is soft. Here the three damages
are estimated apart, each by a classical estimator that the other two hardly move:

- sharpness = r / (r + 0.05), r = E(½,1) / E(1,4) · √(1 − c). E(a,b) is the energy of the band
  between Gaussian blurs of a and b pixels. Natural images have about as much energy in every octave
  (Field 1987), so the first factor is high for any sharp content, whatever its contrast, and falls
  with blur. c is the coherence of the finer band's gradients (Förstner and Gülch 1987): 0 where
  no direction prevails, 1 where motion has smeared all but those across it. The noise's own share
  is subtracted from both.
- cleanness = 1 / (1 + σ/5), σ the noise's standard deviation in grey levels, by Immerkær's mask
  (1996) in the flattest tenth of the frame's blocks, where there is little else (a quarter holds
  texture wherever little of a frame is flat), and by single pixels that stand out of their
  surroundings, which the flattest blocks may have none of.
- wholeness = 1 / (1 + β/2), β how much the steps between 8×8 blocks exceed their neighbours, in
  units of the mean step (after Wang, Bovik and Evans 2000), for the grid position where it is most.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from metrics.base import Frames, Measurement, Metric, PerFrame, ScoringContext, VideoInfo

Grey = npt.NDArray[np.float32]
"""Luma, 0..255, float32 [height, width]."""

FINE = (0.5, 1.0)
COARSE = (1.0, 4.0)
HALF_SHARP = 0.05
"""Band ratio of a frame blurred by about one pixel: sharpness ½."""
HALF_CLEAN = 5.0
"""Grey levels of noise at which it is plain to see."""
HALF_WHOLE = 2.0
"""Block steps of twice the mean step more than their neighbours: the block grid dominates."""
BLOCK = 8
MIN_SIDE = 2 * BLOCK

IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=np.uint8)
"""A pixel's neighbours without itself."""
NORMAL_MEAN = math.sqrt(2 / math.pi)
"""Mean of |x| for a standard normal x."""
FLATTEST = 0.1
ROUNDING = 1 / 12
"""Variance, in grey levels², of rounding to whole numbers: white noise that any frame has."""
TINY = 1e-6


@cache
def noise_gain(inner: float, outer: float) -> float:
    """The share of white noise's variance that the band between two blurs lets through."""
    return float(np.sum((_kernel(inner) - _kernel(outer)) ** 2))


@cache
def gradient_gain(inner: float, outer: float) -> float:
    """The same of a gradient of that band along one axis."""
    along, _ = _gradients(np.pad(_kernel(inner) - _kernel(outer), 1))
    return float(np.sum(along**2))


def _gradients(band: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Central differences along x and y, per pixel, without the border."""
    return (
        (band[1:-1, 2:] - band[1:-1, :-2]) / 2,
        (band[2:, 1:-1] - band[:-2, 1:-1]) / 2,
    )


def _kernel(sigma: float) -> npt.NDArray[np.float64]:
    import cv2

    line = cv2.getGaussianKernel(41, sigma)
    return np.asarray(line @ line.T, dtype=np.float64)


def _blur(grey: Grey, sigma: float) -> Grey:
    import cv2

    return np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma), dtype=np.float32)


def noise_level(grey: Grey) -> float:
    """σ of additive noise in grey levels: what all pixels have, and what a few have.

    The first is estimated in the flattest tenth of 16×16 blocks: there Immerkær's estimate is the
    mean absolute response of his mask, rescaled.
    """
    import cv2

    response = np.abs(cv2.filter2D(grey, -1, IMMERKAER)[1:-1, 1:-1])
    height, width = response.shape
    blocks = cv2.resize(
        response,
        (max(1, width // (2 * BLOCK)), max(1, height // (2 * BLOCK))),
        interpolation=cv2.INTER_AREA,
    )
    flat = float(np.quantile(blocks, FLATTEST))
    everywhere = flat / NORMAL_MEAN / float(np.linalg.norm(IMMERKAER))
    return math.sqrt(everywhere**2 + impulses(grey))


def impulses(grey: Grey) -> float:
    """Variance, in grey levels², by how much further single pixels lie from all their eight
    neighbours than those from each other: in pictures next to none, in noise of few pixels (salt
    and pepper) most of it."""
    import cv2

    highest, lowest = (change(grey, AROUND)[1:-1, 1:-1] for change in (cv2.dilate, cv2.erode))
    inner = grey[1:-1, 1:-1]
    beyond = np.maximum(inner - highest, lowest - inner) - (highest - lowest)
    return float(np.mean(np.maximum(beyond, 0) ** 2, dtype=np.float64))


def band_ratio(grey: Grey, sigma: float) -> float:
    """r = E(fine) / E(coarse), both without the energy of white noise of that σ."""
    blurred = {width: _blur(grey, width) for width in {*FINE, *COARSE}}

    def energy(inner: float, outer: float) -> float:
        band = blurred[inner] - blurred[outer]
        of_noise = max(sigma**2, ROUNDING) * noise_gain(inner, outer)
        return max(float(np.mean(band * band, dtype=np.float64)) - of_noise, TINY)

    return energy(*FINE) / energy(*COARSE)


def coherence(grey: Grey, sigma: float) -> float:
    """c = (λ₁ − λ₂) / (λ₁ + λ₂) of the mean gradient tensor of the finer band, without the share of
    white noise of that σ; where noise is most of it, over the noise, so that c fades to 0."""
    x, y = _gradients(_blur(grey, FINE[0]) - _blur(grey, FINE[1]))
    xx, yy, xy = (float(np.mean(a * b, dtype=np.float64)) for a, b in ((x, x), (y, y), (x, y)))
    of_noise = 2 * max(sigma**2, ROUNDING) * gradient_gain(*FINE)
    return min(1.0, math.hypot(xx - yy, 2 * xy) / max(xx + yy - of_noise, of_noise))


def block_steps(grey: Grey) -> float:
    """β: by how many mean steps the steps of an 8×8 grid exceed those beside them."""
    found = []
    for lines in (grey, grey.T):
        steps = np.abs(np.diff(lines, axis=1))
        excess = np.mean(steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2, axis=0)
        phases = [float(np.mean(excess[phase::BLOCK])) for phase in range(BLOCK)]
        found.append(max(0.0, *phases) / (float(np.mean(steps)) + TINY))
    return float(np.mean(found))


def clarity(frame: Frames) -> float:
    """Sharpness × cleanness × wholeness of a frame uint8 [height, width, 3]; 0..1.

    NaN for a frame smaller than 16 pixels, or without any structure to judge (a flat colour).
    """
    import cv2

    if min(frame.shape[:2]) < MIN_SIDE:
        return float("nan")
    grey = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    if np.ptp(grey) == 0:
        return float("nan")
    sigma, beta = noise_level(grey), block_steps(grey)
    ratio = band_ratio(grey, sigma) * math.sqrt(1 - coherence(grey, sigma))
    sharpness = ratio / (ratio + HALF_SHARP)
    cleanness = 1 / (1 + sigma / HALF_CLEAN)
    wholeness = 1 / (1 + beta / HALF_WHOLE)
    return sharpness * cleanness * wholeness


class ClassicalClarity(Metric):
    """Clarity of each frame by itself."""

    backend = "classical"
    protocol = 2
    metrics = ("clarity",)
    uses = ()

    def parameters(self) -> Mapping[str, Any]:
        """The constants of the formula."""
        return {"half": [HALF_SHARP, HALF_CLEAN, HALF_WHOLE], "bands": [FINE, COARSE]}

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """Frame by frame."""
        return PerFrame("clarity", clarity)
