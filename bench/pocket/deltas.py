"""What the pocket checkpoint is fine-tuned for, and what a training example of it looks like.

The paper's alternatives change how history is read, and each of its rows was trained that way.
These recipes do the same to the finished checkpoint: the layouts are those that the samplers ask
for, history is changed as `bench.history` changes it, and a low-rank delta is trained for it
(`bench.pocket.train_delta`). The alternatives' window of 16 frames at full length is itself new to
the checkpoint, so every one of their deltas sees it, and a plain window is trained to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.history import Discrete
from bench.pocket import layouts
from bench.pocket.layouts import Layout, Level

WINDOW: Final = "f16k1"
"""The alternatives' packing: 16 history frames at full length."""

CLEARED: Final = 0.2
"""Share of the window's examples whose history is nothing but noise: what history guidance steers
away from must be known to the model, as the empty prompt must for text."""


@dataclass(frozen=True)
class Delta:
    """One thing to fine-tune for."""

    what: str
    """For the card."""
    history: Literal["clean", "cleared", "forced", "discrete"] = "clean"
    """clean; cleared: replaced by noise in a share of examples; forced: noise of σ times the
    example's own level; discrete: coded."""
    trained: tuple[str, ...] = ()
    """What cells made with it need not call untrained."""
    sigma: float | None = None
    """σ_train of forced history; None draws it from 0..1."""
    causal: bool = False
    packings: tuple[str, ...] = (WINDOW,)
    orders: tuple[str, ...] = ("vanilla",)
    drop: bool = True
    """Whether history that does not exist is left out; else it is zero latents."""


DELTAS: Final[Mapping[str, Delta]] = {
    "window": Delta(
        "a sliding window of clean history; in a fifth of the examples it is noise alone",
        "cleared",
        trained=("guidance",),
        orders=("vanilla", "f1"),
    ),
    "causal": Delta("causal attention", trained=("causal",), causal=True),
    "forcing-random": Delta(
        "DiffusionForcing, σ_train drawn from 0..1", "forced", trained=("forcing",)
    ),
    "forcing-0.1": Delta("DiffusionForcing, σ_train = 0.1", "forced", ("forcing",), sigma=0.1),
    "discrete": Delta(
        "discretised history, packed, K = 128 or 256 by turns",
        "discrete",
        trained=("+D",),
        packings=("f16k4f2k2f1k1", "f8k8f4k4f2k2f1k1"),
        drop=False,
    ),
}
"""By the names that variants call them (`bench.variant.DELTAS`)."""


def draw(
    rng: np.random.Generator, delta: Delta, batch: int, clips: int, latents: int, section: int
) -> Layout:
    """One step's layout.

    Where missing history is left out, all examples of a step stand at the same place of their
    clips: they share RoPE indices, and so must share which frames exist.
    """
    order, packing = str(rng.choice(delta.orders)), str(rng.choice(delta.packings))
    if not delta.drop:
        return layouts.make(rng, order, packing, section, batch, clips, latents)
    one = layouts.make(rng, order, packing, section, 1, clips, latents)
    return replace(
        one,
        clips=rng.integers(clips, size=batch),
        target=one.target.repeat(batch, 0),
        levels=tuple(_existing(level, batch) for level in one.levels),
    )


def _existing(level: Level, batch: int) -> Level:
    """The frames of a level that exist, for a whole batch."""
    there = level.places[0] != layouts.ZERO
    return Level(level.kernel, level.places[:, there].repeat(batch, 0), level.indices[there])


def noise_levels(delta: Delta, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """How noisy the history of each example [n] is, 0..1, when its target is at `sigma` [n]."""
    drawn = torch.rand(len(sigma), generator=generator)
    if delta.history == "forced":
        return sigma * (drawn if delta.sigma is None else delta.sigma)
    if delta.history == "cleared":
        return (drawn < CLEARED).float()
    return torch.zeros_like(sigma)


def seen(
    latents: Tensor,
    places: NDArray[np.int64],
    levels: Tensor,
    generator: torch.Generator,
    codes: Tensor | None = None,
) -> Tensor:
    """Context latents [n, C, T, h, w] as a delta's sampling shows them.

    Only generated frames change (`places` [n, T] from 1 on): the input image and frames that do
    not exist stay as they are.
    """
    noise = torch.randn(latents.shape, generator=generator)
    changed = torch.lerp(latents, noise, levels.view(-1, 1, 1, 1, 1))
    if codes is not None:
        changed = Discrete(codes)(changed, [])
    made = torch.from_numpy(places > 0)[:, None, :, None, None]
    return torch.where(made, changed, latents)
