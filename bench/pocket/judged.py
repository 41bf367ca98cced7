"""A contact sheet of what the judges think worst and best, so that a person can disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.pocket import FPS, SIZE
from bench.pocket.world import Scene
from metrics.base import Chunk, Curve, ScoringContext, VideoInfo
from metrics.judges import PocketCaption, PocketFrames
from metrics.networks.pocket_judge import STRIDE

Frames = NDArray[np.uint8]

SHOWN = 6
"""Pictures per row."""

EVERY = 6
"""Of the judges of single frames, every sixth frame is a candidate."""

ROWS = ("clarity", "anatomy", "identity", "semantic")


@dataclass(frozen=True)
class Judged:
    """One picture and what a judge gave it."""

    score: float
    picture: Frames
    note: str


def judges() -> list[PocketFrames | PocketCaption]:
    """The judges of the metric set `pocket`, with their weights."""
    both: list[PocketFrames | PocketCaption] = [PocketFrames(), PocketCaption()]
    for judge in both:
        judge.load("cpu")
    return both


def curves(
    judges: Sequence[PocketFrames | PocketCaption], video: Frames, scene: Scene
) -> dict[str, Curve]:
    """What the judges say of a video [T, H, W, 3] that began with the scene's first frame."""
    info = VideoInfo(Path("video"), len(video), FPS, SIZE, SIZE)
    context = ScoringContext(prompt=scene.caption, reference=video[0])
    found: dict[str, Curve] = {}
    for judge in judges:
        measurement = judge.begin(info, context)
        measurement.update(Chunk(video, 0))
        found |= {reading.metric: reading.curve for reading in measurement.finish()}
    return found


def candidates(metric: str, curve: Curve, video: Frames, scene: Scene) -> list[Judged]:
    """A picture of every defined item of the curve; the first frame is never among them."""
    found = []
    for at, score in zip(curve.frames.tolist(), curve.values.tolist(), strict=True):
        if np.isnan(score) or (metric != "semantic" and (at == 0 or at % EVERY)):
            continue
        picture, note = video[at], f"frame {at}"
        if metric == "identity":
            picture, note = np.concatenate([video[0], video[at]], 1), f"frame 0, frame {at}"
        elif metric == "semantic":
            four = [video[at + STRIDE * i] for i in (0, 4, 8, 11)]
            picture = np.concatenate([np.concatenate(four[:2], 1), np.concatenate(four[2:], 1)])
            who = scene.person
            note = f"{who.length} {who.hair_name}, {who.shirt_name}, {scene.action}"
        found.append(Judged(score, picture, note))
    return found


def sheet(videos: Sequence[Frames], scenes: Sequence[Scene], path: Path) -> None:
    """Write the worst and the best of each judge, at most one picture per video and row."""
    from matplotlib.figure import Figure

    asked = judges()
    lists: dict[str, list[list[Judged]]] = {name: [] for name in ROWS}
    for video, scene in zip(videos, scenes, strict=True):
        for name, curve in curves(asked, video, scene).items():
            if items := candidates(name, curve, video, scene):
                lists[name].append(items)
    figure = Figure(figsize=(2.1 * SHOWN, 2.1 * 2 * len(ROWS)), dpi=80, layout="constrained")
    axes: Any = figure.subplots(2 * len(ROWS), SHOWN)
    for row, name in enumerate(ROWS):
        worst = sorted((min(items, key=_score) for items in lists[name]), key=_score)[:SHOWN]
        best = sorted((max(items, key=_score) for items in lists[name]), key=_score)[-SHOWN:][::-1]
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
