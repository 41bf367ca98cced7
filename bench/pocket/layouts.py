"""Drawing training examples: which latent frames are context, which are target, and their indices.

A step has one layout, because RoPE indices are shared by a batch; the clips and the places in them
differ. The layouts are those that samplers ask for later: history then target (vanilla), the same
with the start frame at index 0 (F1), the same with an end frame behind a gap (anti-drifting), and
start frame, gap, target, future (inverted, with the published paddings).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.pocket.recipe import TransformerRecipe

ZERO = -1
"""The place of a context frame that does not exist: a zero latent, attended like any other."""

FIRST = 0.3
"""Least share of examples whose target follows the start frame: where the caption decides."""


@dataclass(frozen=True)
class Level:
    """One level of context: `places` [batch, frames] in the clip, `indices` [frames] for RoPE."""

    kernel: int
    places: NDArray[np.int64]
    indices: NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """What one training step sees."""

    order: str
    packing: str
    clips: NDArray[np.int64]
    target: NDArray[np.int64]
    """Places [batch, g]."""
    target_indices: NDArray[np.int64]
    levels: tuple[Level, ...]
    empty_prompt: bool


def parse_packing(name: str) -> tuple[tuple[int, int], ...]:
    """`f16k4f2k2f1k1` to ((16, 4), (2, 2), (1, 1)): frames and kernel, oldest first."""
    return tuple((int(f), int(k)) for f, k in re.findall(r"f(\d+)k(\d+)", name))


def padding(before: int, after: int, published: bool) -> int:
    """Inverted sampling's gap, in sections, of the section with so many before and after it.

    The released code counts down to 0, but uses [3] + [2]·(n−3) + [1, 0] for n > 4 sections.
    """
    if not published or before < 2:
        return before
    return 2 if after else 3


def draw(rng: np.random.Generator, recipe: TransformerRecipe) -> Layout:
    """Draw the layout of one step."""

    def choose(table: tuple[tuple[str, float], ...]) -> str:
        names, shares = zip(*table, strict=True)
        return str(rng.choice(names, p=np.asarray(shares) / sum(shares)))

    order, packing = choose(recipe.orders), choose(recipe.packings)
    shares = np.asarray([s for _, _, s in recipe.sections])
    g, batch, _ = recipe.sections[rng.choice(len(shares), p=shares / shares.sum())]
    return make(rng, order, packing, g, batch, recipe.clips, recipe.latents, recipe.text_dropout)


def make(
    rng: np.random.Generator,
    order: str,
    packing: str,
    g: int,
    batch: int,
    clips: int,
    latents: int,
    text_dropout: float = 0.0,
    least: int = 0,
) -> Layout:
    """Draw clips and places for a given order, packing and section.

    Every example has at least `least` sections of history (of future, where that is the context).
    """
    levels = parse_packing(packing)
    build = _inverted if order == "inverted" else _forward
    target, indices, context = build(rng, order, levels, g, batch, latents, least)
    return Layout(
        order=order,
        packing=packing,
        clips=rng.integers(clips, size=batch),
        target=target,
        target_indices=indices,
        levels=tuple(context),
        empty_prompt=bool(rng.random() < text_dropout),
    )


Places = NDArray[np.int64]


def _forward(
    rng: np.random.Generator,
    order: str,
    packing: tuple[tuple[int, int], ...],
    g: int,
    batch: int,
    latents: int,
    least: int,
) -> tuple[Places, Places, list[Level]]:
    """Vanilla, F1 and anti-drifting: the history lies before the target."""
    sections = (latents - 1) // g
    section = rng.integers(least, sections, size=batch)
    if not least:
        section[rng.random(batch) < FIRST] = 0
    begin = 1 + section * g
    gap = g * int(rng.integers(0, 4)) if order == "end" else 0
    context: list[Level] = []
    index = 1 if order == "f1" else 0
    size = sum(frames for frames, _ in packing)
    history = begin[:, None] - np.arange(size, 0, -1)
    history = np.maximum(history, ZERO)
    used = 0
    for frames, kernel in packing:
        places, indices = history[:, used : used + frames], np.arange(frames) + index + used
        used += frames
        if kernel == 1 and order == "f1":
            places = np.concatenate([np.zeros((batch, 1), np.int64), places], 1)
            indices = np.concatenate([[0], indices])
        context.append(Level(kernel, places, indices))
    first = index + size
    if order == "end":
        anchor = np.minimum(begin + g + gap, latents - 1)[:, None]
        newest_level = context[-1]
        context[-1] = Level(
            newest_level.kernel,
            np.concatenate([newest_level.places, anchor], 1),
            np.concatenate([newest_level.indices, [first + g + gap]]),
        )
    return begin[:, None] + np.arange(g), first + np.arange(g), context


def _inverted(
    rng: np.random.Generator,
    order: str,
    packing: tuple[tuple[int, int], ...],
    g: int,
    batch: int,
    latents: int,
    least: int,
) -> tuple[Places, Places, list[Level]]:
    """Start frame, gap, target, then the future with the nearest first."""
    del order
    room = (latents - 1) // g
    before_all = int(rng.integers(room - least)) if rng.random() > FIRST else 0
    published = bool(rng.random() < 0.6)
    # One gap for the batch; how much of the future exists differs from clip to clip.
    after = rng.integers(least, room - before_all, size=batch)
    if published and before_all >= 2 and not least:
        after = np.maximum(after, 1) if room - before_all > 1 and rng.random() < 0.7 else after * 0
    gap = g * padding(min(before_all, 3), int(after.max()), published)
    before = np.full(batch, before_all)
    if published and before_all >= 2:
        # From the third section on the published gap no longer says how far the start is.
        before = rng.integers(2, np.maximum(room - after, 3), size=batch)
        before = np.minimum(before, room - 1 - after)
    begin = 1 + before * g
    context: list[Level] = []
    used = 0
    for frames, kernel in reversed(packing):
        offsets = np.arange(used, used + frames)
        places = begin[:, None] + g + offsets
        places = np.where(offsets < (after * g)[:, None], places, ZERO)
        places = np.where(places < latents, places, ZERO)
        indices = 1 + gap + g + offsets
        used += frames
        if kernel == 1:
            places = np.concatenate([np.zeros((batch, 1), np.int64), places], 1)
            indices = np.concatenate([[0], indices])
        context.append(Level(kernel, places, indices))
    return begin[:, None] + np.arange(g), 1 + gap + np.arange(g), context
