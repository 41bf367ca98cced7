"""TeaCache: skip a step's blocks where their input has hardly changed since the last one.

The relative change of the first block's modulated input, rescaled by a polynomial that was fitted
to the model, is added up; while the sum is below the threshold, the last computed residual is used
again. The first and the last step are always computed. Every cell of a batch decides for itself.

Source: "Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model", arXiv 2411.19108.
"""

from collections.abc import Callable, Sequence
from typing import Final

from torch import Tensor

HUNYUAN_CURVE: Final = (733.226126, -401.131952, 67.5869174, -3.149879, 0.0961237896)
"""Rescaling polynomial of the 13B HunyuanVideo, highest power first."""


class TeaCache:
    """The cache of one section (and one side of classifier-free guidance)."""

    def __init__(
        self, threshold: float, steps: int, curve: Sequence[float] = HUNYUAN_CURVE
    ) -> None:
        self.threshold = threshold
        self.steps = steps
        self.curve = tuple(curve)
        self.step = 0
        self.computed: list[int] = []
        """For every step, how many cells were computed."""
        self._sum: list[float] = []
        self._previous: Tensor | None = None
        self._residual: Tensor | None = None

    def apply(
        self, modulated: Tensor, hidden: Tensor, run: Callable[[list[int] | None], Tensor]
    ) -> Tensor:
        """The blocks' output for one step.

        Args:
            modulated: the first block's modulated input [B, n, inner].
            hidden: the target's tokens before the blocks [B, target, inner].
            run: runs the blocks on some cells (None: all) and gives their target's tokens.
        """
        due = self._due(modulated)
        self._previous = modulated
        self.step += 1
        self.computed.append(len(due))
        if self._residual is None or len(due) == len(hidden):
            out = run(None)
            self._residual = out - hidden
            return out
        if due:
            self._residual = self._residual.clone()
            self._residual[due] = run(due) - hidden[due]
        return hidden + self._residual

    def _due(self, modulated: Tensor) -> list[int]:
        """Cells whose change has added up to the threshold."""
        cells = list(range(len(modulated)))
        if self._previous is None or self.step in (0, self.steps - 1):
            self._sum = [0.0] * len(cells)
            return cells
        change = (modulated - self._previous).abs().flatten(1).mean(1)
        relative = (change / self._previous.abs().flatten(1).mean(1)).tolist()
        due = []
        for cell in cells:
            self._sum[cell] += polynomial(self.curve, relative[cell])
            if self._sum[cell] >= self.threshold:
                self._sum[cell] = 0.0
                due.append(cell)
        return due


def polynomial(coefficients: Sequence[float], x: float) -> float:
    """Σ c_i · x^i, highest power first."""
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value
