"""Train the pocket world's judge: `python -m bench.pocket.train_judge`.

The truth is rendered, so the judge learns from what is known of every frame: who it is, which part
was left out, how badly the picture was damaged, which action the caption says.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.pocket import SIZE, judge_card
from bench.pocket.captions import ACTIONS, HAIR, LENGTHS, SHIRTS
from bench.pocket.render import render
from bench.pocket.world import PARTS, Array, Scene, sample_scene, truth, with_action
from metrics.networks.pocket_judge import STRIDE, WINDOW, FrameAnswers, PocketJudge

WEIGHTS = Path(__file__).parents[2] / "metrics" / "networks" / "pocket_judge.safetensors"
TRAINING, HELD_OUT = 40_000_000, 45_000_000
SEED = 0
CLIP = 56
"""Frames of a training clip: room for windows of 34 frames to start in many places."""


@dataclass(frozen=True)
class Clip:
    """A rendered clip, perhaps with a part missing."""

    scene: Scene
    frames: Tensor
    """uint8 [CLIP, 3, H, W]."""
    first: int
    missing: str


def clip(seed: int) -> Clip:
    """Training clip: any action without end, any place in time, every second one with a fault."""
    rng = np.random.default_rng([31, seed])
    scene = with_action(sample_scene(seed), str(rng.choice(list(ACTIONS))), "always")
    missing = str(rng.choice(PARTS)) if rng.random() < 0.5 else ""
    first = int(rng.integers(0, 110)) if rng.random() < 0.7 else 0
    hidden = frozenset({missing} - {""})
    return Clip(scene, render(scene, CLIP, first, hidden), first, missing)


DAMAGES = ("blur", "smear", "noise", "blocks", "double contours")
REGIONS = ("frame", "person", "box")
"""What is damaged: everything, the person, or a box anywhere of half the sides or more."""

REACH = 14
"""Pixels from the centre of a part to where the person ends."""


def damage(frames: Tensor, degree: float, kind: str) -> Tensor:
    """Damage frames [n, 3, H, W] in 0..1 everywhere; the degree is 0..1."""
    match kind:
        case "blur":
            sigma = 0.3 + 1.7 * degree
            x = torch.arange(-5, 6, dtype=torch.float32)
            row = torch.exp(-x.square() / (2 * sigma**2))
            row = row / row.sum()
            kernel = (row[:, None] * row)[None, None].expand(3, 1, -1, -1)
            return F.conv2d(F.pad(frames, (5, 5, 5, 5), mode="replicate"), kernel, groups=3)
        case "smear":
            reach = 1 + round(6 * degree)
            padded = F.pad(frames, (reach, reach, 0, 0), mode="replicate")
            return F.avg_pool2d(padded, (1, 2 * reach + 1), stride=1)
        case "noise":
            return (frames + 0.15 * degree * torch.randn_like(frames)).clamp(0, 1)
        case "blocks":
            coarse = F.avg_pool2d(frames, 4).repeat_interleave(4, -1).repeat_interleave(4, -2)
            return torch.lerp(frames, coarse, degree)
        case _:
            aside = int(torch.randint(3, 13, (1,))) * (1 - 2 * int(torch.randint(2, (1,))))
            return torch.lerp(frames, frames.roll(aside, -1), 0.5 * degree)


def region(kind: str, parts: Array, visible: NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
    """Where to damage n frames: a mask [n, 1, SIZE, SIZE] in 0..1 with soft edges.

    `parts` [n, 6, 2] (x, y in pixels) and `visible` [n, 6] say where the person is.
    """
    low, high = np.zeros((len(parts), 2)), np.full((len(parts), 2), float(SIZE))
    if kind == "person":
        seen, there = visible[..., None], visible.any(1, keepdims=True)
        low = np.where(there, np.where(seen, parts, np.inf).min(1) - REACH, low)
        high = np.where(there, np.where(seen, parts, -np.inf).max(1) + REACH, high)
    elif kind == "box":
        sides = rng.uniform(SIZE / 2, SIZE, 2)
        low[:] = rng.uniform(0, SIZE - sides)
        high = low + sides
    axis = np.arange(SIZE) + 0.5
    inside = (axis >= low[..., None]) & (axis < high[..., None])
    mask = torch.from_numpy(inside[:, 1, :, None] & inside[:, 0, None, :]).float()[:, None]
    return F.avg_pool2d(F.pad(mask, (4, 4, 4, 4), mode="replicate"), 9, stride=1)


def damage_part(frames: Tensor, degree: float, kind: str, where: Tensor) -> Tensor:
    """Damage frames [n, 3, H, W] where the mask [n, 1, H, W] says."""
    return torch.lerp(frames, damage(frames, degree, kind), where.expand_as(frames))


@dataclass(frozen=True)
class Batch:
    """Windows [b, 12, 3, H, W] and their truth, per window or per frame."""

    frames: Tensor
    identity: Tensor
    missing: Tensor
    places: Tensor
    """[b, 12, 6, H/8, W/8], 1 where a part's centre is, falling to 0 over a cell."""
    damage: Tensor
    present: Tensor
    slots: dict[str, Tensor]
    action: Tensor


def places(centres: Tensor, there: Tensor) -> Tensor:
    """Maps [n, 6, SIZE/8, SIZE/8]: exp(−d²) of the distance in cells to a part that is there."""
    axis = 8 * torch.arange(SIZE // 8) + 4.0
    dx = ((centres[..., :1] - axis) / 8).square()
    dy = ((centres[..., 1:] - axis) / 8).square()
    return torch.exp(-(dy[..., :, None] + dx[..., None, :])) * there[..., None, None]


def windows(clips: list[Clip], rng: np.random.Generator) -> Batch:
    """One window from each clip, half of them damaged."""
    frames, missing, where, present, degrees = [], [], [], [], []
    for item in clips:
        start = int(rng.integers(CLIP - STRIDE * (WINDOW - 1)))
        index = start + STRIDE * np.arange(WINDOW)
        picture = item.frames[index].float() / 255
        degree = float(rng.random()) if rng.random() < 0.5 else 0.0
        true = truth(item.scene, CLIP, item.first)
        visible = true.visible[index]
        if degree:
            mask = region(str(rng.choice(REGIONS)), true.parts[index], visible, rng)
            picture = damage_part(picture, degree, str(rng.choice(DAMAGES)), mask)
        frames.append(picture)
        gone = np.asarray([part == item.missing for part in PARTS])
        there = torch.from_numpy(visible & ~gone).float()
        where.append(places(torch.from_numpy(true.parts[index]), there))
        missing.append(torch.from_numpy(visible & gone).float())
        present.append(torch.from_numpy(visible.sum(1) >= 4).float())
        degrees.append(degree)
    people = [item.scene.person for item in clips]
    return Batch(
        frames=torch.stack(frames),
        identity=torch.from_numpy(np.stack([p.vector() for p in people])),
        missing=torch.stack(missing),
        places=torch.stack(where),
        damage=torch.tensor(degrees),
        present=torch.stack(present),
        slots={
            "length": torch.tensor([LENGTHS.index(p.length) for p in people]),
            "hair": torch.tensor([HAIR.index(p.hair_name) for p in people]),
            "shirt": torch.tensor([SHIRTS.index(p.shirt_name) for p in people]),
        },
        action=torch.tensor([list(ACTIONS).index(item.scene.action) for item in clips]),
    )


def loss_of(judge: PocketJudge, b: Batch) -> tuple[Tensor, FrameAnswers, Tensor]:
    """The sum of all heads' losses; absent people count for `present` alone."""
    n, w = b.frames.shape[:2]
    with torch.autocast("cpu", torch.bfloat16):
        pixels = b.frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        answers = judge.frames(pixels).float()
        action = judge.actions(answers.features.view(n, w, -1)).float()
    there = b.present.flatten()
    weight = there / there.sum().clamp(min=1)

    def each(x: Tensor) -> Tensor:
        return x.repeat_interleave(w, 0)

    identity = (answers.identity - each(b.identity)).square().mean(1)
    missing = F.binary_cross_entropy_with_logits(
        answers.missing, b.missing.flatten(0, 1), reduction="none"
    ).mean(1)
    found = F.binary_cross_entropy_with_logits(answers.places, b.places.flatten(0, 1))
    names = sum(
        F.cross_entropy(answers.slots[slot], each(b.slots[slot]), reduction="none")
        for slot in b.slots
    )
    total = (weight * (4 * identity + 4 * missing + 0.2 * names)).sum()
    total = total + 30 * found + 4 * (answers.damage - each(b.damage)).square().mean()
    total = total + F.binary_cross_entropy_with_logits(answers.present, there)
    total = total + F.cross_entropy(action, b.action)
    return total, answers, action


def train(clips: int, steps: int, batch: int, seed: int) -> PocketJudge:
    """Train from nothing."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    judge: Any = PocketJudge().to(memory_format=torch.channels_last)
    pool: dict[int, Clip] = {}
    optimiser = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps, pct_start=0.15)
    started = time.monotonic()
    for step in range(steps):
        chosen = [int(c) for c in rng.integers(clips, size=batch)]
        for index in chosen:
            if index not in pool:
                pool[index] = clip(TRAINING + index)
        loss, _, action = loss_of(judge, b := windows([pool[c] for c in chosen], rng))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            right = float((action.argmax(1) == b.action).float().mean())
            record = {"step": step, "loss": loss.item(), "action": right}
            print(json.dumps(record | {"seconds": round(time.monotonic() - started)}), flush=True)
    trained: PocketJudge = judge.to(memory_format=torch.contiguous_format).eval()
    return trained


def auc(good: Tensor, bad: Tensor) -> float:
    """The probability that a good one scores above a bad one."""
    wins = (good[:, None] > bad).float() + 0.5 * (good[:, None] == bad).float()
    return float(wins.mean())


def measure(judge: PocketJudge, clips: int = 160) -> dict[str, Any]:
    """AUC of every judge on held-out clips with planted faults, and the action accuracy."""
    from metrics.networks.pocket_judge import identity_likeness

    rng = np.random.default_rng(1)
    whole, broken = [], []
    people, others, right, wrong, clean, hits = [], [], [], [], [], []
    damaged: dict[str, list[Tensor]] = {where: [] for where in REGIONS}
    torch.manual_seed(1)
    with torch.no_grad():
        for number in range(clips):
            scene = with_action(
                sample_scene(HELD_OUT + number), list(ACTIONS)[number % 8], "always"
            )
            first = int(rng.integers(0, 60))
            index = STRIDE * np.arange(WINDOW)
            frames = render(scene, CLIP, first)[index].float() / 255
            true = truth(scene, CLIP, first)
            visible = true.visible[index]
            seen = torch.from_numpy(visible.all(1))
            answers = judge.frames(frames)
            odds = judge.actions(answers.features[None]).softmax(1)[0]
            hits.append(float(odds.argmax() == number % 8))
            right.append(odds[number % 8])
            wrong.append(odds[(number + 1 + int(rng.integers(7))) % 8])
            clean.append(-answers.damage.mean())
            degree, kind = 0.3 + 0.7 * float(rng.random()), DAMAGES[number % len(DAMAGES)]
            for where, hurt in damaged.items():
                mask = region(where, true.parts[index], visible, rng)
                worse = damage_part(frames, degree, kind, mask)
                hurt.append(-judge.frames(worse).damage.mean())
            if seen.sum() < 4:
                continue
            vectors = answers.identity[seen]
            own = torch.from_numpy(scene.person.vector())
            stranger = torch.from_numpy(sample_scene(HELD_OUT + 10_000 + number).person.vector())
            people.append(identity_likeness(vectors, own).mean())
            others.append(identity_likeness(vectors, stranger).mean())
            part = PARTS[number % 6]
            faulty = render(scene, CLIP, first, frozenset({part}))[index].float() / 255
            whole.append(-answers.missing[seen].amax(1).mean())
            broken.append(-judge.frames(faulty[seen]).missing.amax(1).mean())
    stack = torch.stack
    return {
        "clips": clips,
        "action_accuracy": float(np.mean(hits)),
        "auc": {
            "identity": auc(stack(people), stack(others)),
            "anatomy": auc(stack(whole), stack(broken)),
            "semantic": auc(stack(right), stack(wrong)),
            "clarity": auc(stack(clean), torch.cat([stack(hurt) for hurt in damaged.values()])),
        },
        "clarity_auc": {name: auc(stack(clean), stack(hurt)) for name, hurt in damaged.items()},
    }


def main() -> None:
    """Read the command line, train, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1200)
    parser.add_argument("--steps", type=int, default=1100)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--measure", action="store_true", help="weights that are there, untrained")
    arguments = parser.parse_args()
    recipe = {"clips": arguments.clips, "steps": arguments.steps, "batch": arguments.batch}
    if arguments.measure:
        recipe = json.loads(arguments.out.with_suffix(".json").read_text())["recipe"]
        judge = PocketJudge()
        judge.load_state_dict(load_file(arguments.out))
        judge.eval()
    else:
        judge = train(**recipe, seed=SEED)
        save_file(judge.state_dict(), arguments.out)
        recipe["seed"] = SEED
    found = {"recipe": recipe, **measure(judge)}
    print(json.dumps(found))
    judge_card.write(arguments.out, sum(p.numel() for p in judge.parameters()), found)


if __name__ == "__main__":
    main()
