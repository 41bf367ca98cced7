"""How much a treatment changes the history that sections see: read while a video is made.

+D is lossy by design. K = 1 leaves one colour of history, a large K none changed; what lies between
is told by the PSNR of coded history, and by how many colours (latent pixels) are left of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.history import Discrete, Treatment

if TYPE_CHECKING:
    import torch


def psnr(mse: float, peak: float) -> float:
    """10·log₁₀(peak²/mse) in dB; infinite where nothing changed."""
    if mse == 0:
        return math.inf
    return 10 * math.log10(peak**2 / mse) if peak > 0 else -math.inf


class Watched:
    """A treatment, and for every cell of a batch what it did to all history treated so far."""

    def __init__(self, treatment: Treatment, cells: int) -> None:
        self.treatment = treatment
        self._squared, self._values = [0.0] * cells, [0] * cells
        self._low, self._high = [math.inf] * cells, [-math.inf] * cells
        self._colours: list[torch.Tensor | None] = [None] * cells

    def __call__(self, latents: torch.Tensor, rngs: Sequence[torch.Generator]) -> torch.Tensor:
        """The treatment's own answer."""
        import torch

        changed = self.treatment(latents, rngs)
        for cell, (before, after) in enumerate(zip(latents, changed, strict=True)):
            self._squared[cell] += float((after - before).double().square().sum())
            self._values[cell] += before.numel()
            self._low[cell] = min(self._low[cell], float(before.min()))
            self._high[cell] = max(self._high[cell], float(before.max()))
            if isinstance(self.treatment, Discrete):
                pixels = after.movedim(0, -1).flatten(0, -2)
                known = self._colours[cell]
                both = pixels if known is None else torch.cat([known, pixels])
                different: torch.Tensor = torch.unique(both, dim=0)
                self._colours[cell] = different
        return changed

    def told(self, cell: int) -> dict[str, float] | None:
        """What a record says of a cell's history; None where no history was treated.

        mse: mean squared change of a latent value. peak: range of the untreated values, which
        makes it a PSNR. colours: different latent pixels left, with +D.
        """
        if not self._values[cell]:
            return None
        found: dict[str, float] = {
            "mse": self._squared[cell] / self._values[cell],
            "peak": self._high[cell] - self._low[cell],
        }
        colours = self._colours[cell]
        return found if colours is None else found | {"colours": len(colours)}
