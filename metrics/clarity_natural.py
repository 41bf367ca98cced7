"""Clarity by natural scene statistics: BRISQUE, NIQE and PIQE, computed by pyiqa.

All three give a badness of about 0..100 without a reference; Clarity is 1 − badness/100, unclamped.
BRISQUE's support vectors and NIQE's pristine statistics come from PyPI packages (pyiqa would fetch
its own copies from a model hub); PIQE needs none. docs/metrics.md compares them with the set's
default: they are blind to light noise on soft frames.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metrics import weights
from metrics.base import Frames, Measurement, Metric, PerFrame, ScoringContext, VideoInfo
from metrics.errors import Undefined

if TYPE_CHECKING:
    from torch import Tensor

Badness = Callable[["Tensor"], "Tensor"]
"""RGB [1, 3, height, width] in 0..1 to a number of about 0..100."""


class _NaturalClarity(Metric):
    """One frame a forward: these models spend their time outside of networks."""

    metrics = ("clarity",)
    uses = ()
    max_pixels = 4096 * 2304
    min_side: int

    def __init__(self) -> None:
        self._badness: Badness | None = None

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """Frame by frame."""
        import torch

        if min(video.width, video.height) < self.min_side:
            raise Undefined(f"needs frames of at least {self.min_side}×{self.min_side} pixels")
        badness = self._badness
        assert badness is not None, "load() comes first"

        def clarity(frame: Frames) -> float:
            image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
            with torch.inference_mode():
                return 1.0 - float(badness(image).reshape(-1)[0]) / 100.0

        return PerFrame("clarity", clarity)


class Piqe(_NaturalClarity):
    """Perception-based blocks (Venkatanath et al., NCC 2015)."""

    backend = "piqe"
    min_side = 32

    def load(self, device: str) -> None:
        """Nothing but code."""
        from pyiqa.archs.piqe_arch import piqe  # type: ignore[import-untyped]

        self._badness = lambda image: piqe(image)[0]


class Brisque(_NaturalClarity):
    """Spatial statistics and a support vector machine (Mittal, Moorthy and Bovik, TIP 2012)."""

    backend = "brisque"
    weights = ("brisque-svm",)
    min_side = 32

    def load(self, device: str) -> None:
        """Read libsvm's text file: gamma, rho, and one support vector a line."""
        import torch
        from pyiqa.archs.brisque_arch import brisque  # type: ignore[import-untyped]

        gamma, rho, coefficients, vectors = read_svm(weights.get("brisque-svm"))
        coefficient, vector = torch.tensor(coefficients)[:, None], torch.tensor(vectors)
        self._badness = lambda image: brisque(
            image, sv_coef=coefficient, sv=vector, gamma=gamma, rho=rho
        )


def read_svm(path: Path) -> tuple[float, float, list[float], list[list[float]]]:
    """Gamma, rho, coefficients and support vectors of a libsvm regression model."""
    head, body = path.read_text(encoding="ascii").split("\nSV\n")
    values = dict(line.split(" ", 1) for line in head.splitlines())
    lines = [line.split() for line in body.splitlines() if line.strip()]
    vectors = [[float(word.split(":")[1]) for word in line[1:]] for line in lines]
    return (
        float(values["gamma"]),
        float(values["rho"]),
        [float(line[0]) for line in lines],
        vectors,
    )


class Niqe(_NaturalClarity):
    """Distance to pristine images' statistics (Mittal, Soundararajan and Bovik, SPL 2013)."""

    backend = "niqe"
    weights = ("niqe-image-params",)
    min_side = 192

    def load(self, device: str) -> None:
        """Read the pristine mean and covariance, 36 features."""
        import scipy.io  # type: ignore[import-untyped]
        import torch
        from pyiqa.archs.niqe_arch import calculate_niqe  # type: ignore[import-untyped]

        pristine = scipy.io.loadmat(weights.get("niqe-image-params"))
        mean = torch.from_numpy(np.ravel(pristine["pop_mu"]).astype(np.float64))
        covariance = torch.from_numpy(np.asarray(pristine["pop_cov"], dtype=np.float64))
        self._badness = lambda image: calculate_niqe(
            image, mu_pris_param=mean, cov_pris_param=covariance
        )
