"""The judge of the pocket world: one small network, four questions.

It sees single 96×96 frames, and windows of twelve frames three apart, of the cartoon world that the
pocket model was trained on (`bench/pocket/world.py`), where networks for real faces and hands have
no meaning. Per frame: who is it (an identity vector), is every part there, how damaged is the
picture, is anybody there, and what do hair and shirt look like. Per window: which action is it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 96
WINDOW, STRIDE = 12, 3
"""Frames of a window, and how far apart they are."""

IDENTITY = 18
PARTS = 6
SLOTS = {"length": 2, "hair": 5, "shirt": 8}
ACTIONS = 8
WIDTHS = (24, 48, 80, 96)
FEATURES = 96
WORST = 14
"""Cells, a tenth of a frame's 144, by which its damage is judged: a picture is as clear as its
worst part, and where there is nothing to see nothing is damaged."""


@dataclass(frozen=True)
class FrameAnswers:
    """What the judge says of frames [n]."""

    features: Tensor
    identity: Tensor
    """[n, 18], see `bench.pocket.world.Person.vector`."""
    missing: Tensor
    """[n, 6], logits: this part should be there and is not."""
    places: Tensor
    """[n, 6, H/8, W/8], logits: this part is here."""
    damage: Tensor
    """[n] in 0..1: 0 for a clean picture, 1 where a part is as bad as the worst trained on."""
    present: Tensor
    """[n], logit: somebody is there."""
    slots: dict[str, Tensor]
    """Slot of the caption to logits [n, words]."""

    def float(self) -> FrameAnswers:
        """The same in single precision."""
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "slots"}
        return FrameAnswers(
            **{name: number.float() for name, number in numbers.items()},
            slots={slot: logits.float() for slot, logits in self.slots.items()},
        )


class PocketJudge(nn.Module):
    """Four strided convolutions; heads over their last map, over places, and over windows.

    A hand is a few pixels, which the one vector per frame passes over: the parts are looked for in
    a map of an eighth of the frame's side, and a part counts as missing where the vector expects
    it and no place of the map shows it. Damage has a map of its own for the same reason: what
    is generated smears in places.
    """

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        previous = 3
        for width in WIDTHS:
            stages.append(
                nn.Sequential(
                    nn.Conv2d(previous, width, 4, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                )
            )
            previous = width
        self.fine = nn.Sequential(*stages[:-1])
        self.coarse = stages[-1]
        self.features = nn.Linear(previous * (SIDE // 16) ** 2, FEATURES)
        self.frame = nn.Linear(FEATURES, IDENTITY + PARTS + 1 + sum(SLOTS.values()))
        self.maps = nn.Sequential(
            nn.Conv2d(WIDTHS[-2] + WIDTHS[-1], 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, PARTS + 1, 1),
        )
        self.trust = nn.Parameter(torch.ones(PARTS))
        self.window = nn.Sequential(
            nn.Conv1d(FEATURES, 96, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(96, 96, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(96 * (WINDOW // 2), ACTIONS),
        )

    def frames(self, pixels: Tensor) -> FrameAnswers:
        """Judge frames [n, 3, H, W] in 0..1; other sizes are averaged or enlarged to 96×96."""
        if pixels.shape[-2:] != (SIDE, SIDE):
            pixels = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)
        fine = self.fine(2 * pixels - 1)
        coarse = self.coarse(fine)
        features = F.relu(self.features(coarse.flatten(1)))
        maps = self.maps(torch.cat([fine, F.interpolate(coarse, scale_factor=2.0)], 1))
        places, damage = maps[:, :PARTS], maps[:, PARTS].sigmoid().flatten(1)
        sizes = [IDENTITY, PARTS, 1, *SLOTS.values()]
        identity, expected, present, *slots = self.frame(features).split(sizes, 1)
        return FrameAnswers(
            features,
            identity,
            expected - self.trust * places.flatten(2).amax(2),
            places,
            damage.topk(WORST, 1).values.mean(1),
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
