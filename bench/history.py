"""What may happen to clean history latents before they are packed.

A treatment changes what a section sees of the past without changing the plan: noise on the history
(DiffusionForcing-like), or a discrete codebook (+D). It is applied to generated frames only: the
input image and an end image are given and carry no accumulated error.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from bench.errors import UserError

if TYPE_CHECKING:
    import torch

    from bench.generators.base import ContextFrames


class Treatment(Protocol):
    """One way to change what is seen of the past."""

    def __call__(
        self, latents: "torch.Tensor", rngs: "Sequence[torch.Generator]"
    ) -> "torch.Tensor":
        """Changed latents of the same shape.

        Args:
            latents: generated frames [batch, channels, frames, h, w].
            rngs: the random numbers of every cell, of a stream apart from the sections' noise.
        """


def untouched(latents: "torch.Tensor", rngs: "Sequence[torch.Generator]") -> "torch.Tensor":
    """The identity: plain sampling."""
    del rngs
    return latents


class Noisy:
    """Noise mixed into the history: (1 − σ)·x + σ·noise, the flow-matching path's point at σ."""

    def __init__(self, sigma: float) -> None:
        if not 0 <= sigma <= 1:
            raise UserError(f"option noise: σ is 0 to 1, not {sigma}")
        self.sigma = sigma

    def __call__(
        self, latents: "torch.Tensor", rngs: "Sequence[torch.Generator]"
    ) -> "torch.Tensor":
        """Fresh noise for every cell and section."""
        import torch

        shape = latents.shape[1:]
        noise = torch.stack([torch.randn(shape, generator=rng) for rng in rngs]).to(latents)
        return (1 - self.sigma) * latents + self.sigma * noise


def at_level(
    clean: "Sequence[ContextFrames]", noised: "Sequence[ContextFrames]", level: float
) -> "list[ContextFrames]":
    """Contexts at a noise level: (1 − level)·x + level·ε.

    DiffusionForcing ties history's noise to the diffusion step: at the step's own level t it is
    σ·t. The noise ε is drawn once a section, so a frame walks along one path while it is seen.

    Args:
        clean: contexts with x.
        noised: the same contexts with ε in place of generated frames; given frames stand in both,
            and come back bit for bit.
        level: 0..1; at 0 everything comes back bit for bit.
    """
    import torch

    return [
        replace(one, latents=torch.lerp(one.latents, other.latents, level))
        for one, other in zip(clean, noised, strict=True)
    ]


class Discrete:
    """+D: every latent pixel becomes its nearest code.

    Args:
        codes: codebook Ω [K, channels], from K-means over latent pixels.
    """

    def __init__(self, codes: "torch.Tensor") -> None:
        self.codes = codes

    def __call__(
        self, latents: "torch.Tensor", rngs: "Sequence[torch.Generator]"
    ) -> "torch.Tensor":
        """Every pixel's nearest code; ties go to the first."""
        import torch

        del rngs
        codes = self.codes.to(latents)
        pixels = latents.movedim(1, -1)
        flat = pixels.reshape(-1, pixels.shape[-1])
        nearest = torch.cat(
            [torch.cdist(part, codes).argmin(1) for part in torch.split(flat, 1 << 16)]
        )
        return codes[nearest].view_as(pixels).movedim(-1, 1)
