"""A contact sheet of what the judges think worst and best, so that a person can disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from bench.pocket.captions import ACTIONS, HAIR, LENGTHS, SHIRTS
from bench.pocket.train_judge import WEIGHTS
from bench.pocket.world import Scene
from metrics.networks.pocket_judge import STRIDE, WINDOW, PocketJudge, identity_likeness

Frames = NDArray[np.uint8]

SHOWN = 6
"""Pictures per row."""


@dataclass(frozen=True)
class Judged:
    """One picture and what a judge gave it."""

    score: float
    picture: Frames
    note: str


def load() -> PocketJudge:
    """The shipped judge."""
    judge = PocketJudge()
    judge.load_state_dict(load_file(WEIGHTS))
    return judge.eval()


def by_frame(judge: PocketJudge, video: Frames, every: int = 6) -> dict[str, list[Judged]]:
    """Clarity and anatomy of every sixth frame [H, W, 3], identity of those after the first."""
    index = np.arange(0, len(video), every)
    frames = torch.from_numpy(video[index].copy()).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        answers = judge.frames(frames)
    whole = (1 - answers.missing.sigmoid()).prod(1)
    identity = identity_likeness(answers.identity, answers.identity[:1])
    there = answers.present.sigmoid() >= 0.5
    reference = video[0]
    found: dict[str, list[Judged]] = {"clarity": [], "anatomy": [], "identity": []}
    for slot, at in enumerate(index):
        frame, note = video[at], f"frame {at}"
        found["clarity"].append(Judged(float(1 - answers.damage[slot]), frame, note))
        if there[slot]:
            found["anatomy"].append(Judged(float(whole[slot]), frame, note))
        if there[slot] and slot:
            pair = np.concatenate([reference, frame], 1)
            found["identity"].append(Judged(float(identity[slot]), pair, f"frame 0, {note}"))
    return found


def by_window(judge: PocketJudge, video: Frames, scene: Scene) -> list[Judged]:
    """Semantic (geometric mean of the caption's probabilities) of windows, as four frames each."""
    who = scene.person
    wanted = {
        "length": LENGTHS.index(who.length),
        "hair": HAIR.index(who.hair_name),
        "shirt": SHIRTS.index(who.shirt_name),
    }
    found = []
    for start in range(0, len(video) - STRIDE * (WINDOW - 1), 36):
        index = start + STRIDE * np.arange(WINDOW)
        frames = torch.from_numpy(video[index].copy()).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            answers = judge.frames(frames)
            odds = judge.actions(answers.features[None]).log_softmax(1)[0]
            logs = [odds[list(ACTIONS).index(scene.action)]]
            logs += [
                answers.slots[slot].log_softmax(1)[:, word].mean() for slot, word in wanted.items()
            ]
        score = float(torch.stack(logs).mean().exp())
        four = [video[index[i]] for i in (0, 4, 8, 11)]
        mosaic = np.concatenate([np.concatenate(four[:2], 1), np.concatenate(four[2:], 1)])
        caption = f"{who.length} {who.hair_name}, {who.shirt_name}, {scene.action}"
        found.append(Judged(score, mosaic, caption))
    return found


def sheet(videos: Sequence[Frames], scenes: Sequence[Scene], path: Path) -> None:
    """Write the worst and the best of each judge, at most one picture per video and row."""
    from matplotlib.figure import Figure

    judge = load()
    per_video: dict[str, list[list[Judged]]] = {}
    for video, scene in zip(videos, scenes, strict=True):
        found = by_frame(judge, video) | {"semantic": by_window(judge, video, scene)}
        for name, items in found.items():
            if items:
                per_video.setdefault(name, []).append(items)
    figure = Figure(figsize=(2.1 * SHOWN, 2.1 * 2 * len(per_video)), dpi=80, layout="constrained")
    axes: Any = figure.subplots(2 * len(per_video), SHOWN)
    for row, (name, lists) in enumerate(per_video.items()):
        worst = sorted((min(items, key=_score) for items in lists), key=_score)[:SHOWN]
        best = sorted((max(items, key=_score) for items in lists), key=_score)[-SHOWN:][::-1]
        for half, chosen in (("worst", worst), ("best", best)):
            line = axes[2 * row + (half == "best")]
            line[0].set_ylabel(f"{name}\n{half}", fontsize=10)
            for axis, item in zip(line, chosen, strict=False):
                axis.imshow(item.picture, interpolation="nearest")
                axis.set_title(f"{item.score:.2f} · {item.note}", fontsize=7)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_frame_on(False)
    figure.savefig(path)


def _score(item: Judged) -> float:
    return item.score
