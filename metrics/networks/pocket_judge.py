"""The judge of the pocket world: one small network, four questions.

It sees single 64×64 frames, and windows of twelve frames three apart, of the cartoon world that the
pocket model was trained on (`bench/pocket/world.py`), where networks for real faces and hands have
no meaning. Per frame: who is it (an identity vector), is every part there, how damaged is the
picture, is anybody there, and what do hair and shirt look like. Per window: which action is it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 64
WINDOW, STRIDE = 12, 3
"""Frames of a window, and how far apart they are."""

IDENTITY = 18
PARTS = 6
SLOTS = {"length": 2, "hair": 5, "shirt": 8}
ACTIONS = 8
WIDTHS = (20, 40, 80, 96)
FEATURES = 96


@dataclass(frozen=True)
class FrameAnswers:
    """What the judge says of frames [n]."""

    features: Tensor
    identity: Tensor
    """[n, 18], see `bench.pocket.world.Person.vector`."""
    missing: Tensor
    """[n, 6], logits: this part should be there and is not."""
    damage: Tensor
    """[n], 0 for a clean picture, 1 for the worst that was trained."""
    present: Tensor
    """[n], logit: somebody is there."""
    slots: dict[str, Tensor]
    """Slot of the caption to logits [n, words]."""


class PocketJudge(nn.Module):
    """Four strided convolutions, a 4×4 map read by linear heads, and a head over windows."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 3
        for width in WIDTHS:
            layers += [
                nn.Conv2d(previous, width, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            previous = width
        self.trunk = nn.Sequential(*layers)
        self.features = nn.Linear(previous * 16, FEATURES)
        self.frame = nn.Linear(FEATURES, IDENTITY + PARTS + 2 + sum(SLOTS.values()))
        self.window = nn.Sequential(
            nn.Conv1d(FEATURES, 96, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(96, 96, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(96 * (WINDOW // 2), ACTIONS),
        )

    def frames(self, pixels: Tensor) -> FrameAnswers:
        """Judge frames [n, 3, H, W] in 0..1; other sizes are averaged or enlarged to 64×64."""
        if pixels.shape[-2:] != (SIDE, SIDE):
            pixels = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)
        features = F.relu(self.features(self.trunk(2 * pixels - 1).flatten(1)))
        sizes = [IDENTITY, PARTS, 1, 1, *SLOTS.values()]
        identity, missing, damage, present, *slots = self.frame(features).split(sizes, 1)
        return FrameAnswers(
            features,
            identity,
            missing,
            damage[:, 0],
            present[:, 0],
            dict(zip(SLOTS, slots, strict=True)),
        )

    def actions(self, features: Tensor) -> Tensor:
        """Logits [b, 8] of windows of frame features [b, 12, 96]."""
        out: Tensor = self.window(features.transpose(1, 2))
        return out


def identity_likeness(found: Tensor, reference: Tensor) -> Tensor:
    """exp(−|a − b|² / 2) of identity vectors: near 1 for the same person, near 0 for another."""
    return torch.exp(-(found - reference).square().sum(-1) / 2)
