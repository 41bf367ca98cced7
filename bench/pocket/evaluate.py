"""Measure the pocket checkpoint: `python -m bench.pocket.evaluate`.

Prints, and writes into the checkpoint's card, what the model can do on scenes it was not trained
on: the autoencoder's PSNR, how far a section is from the rendered truth, whether memory is used,
whether captions are followed, and how much each sampler drifts. A contact sheet shows it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import stats  # type: ignore[import-untyped, unused-ignore]

from bench import samplers
from bench.generators.base import ContextFrames, Request
from bench.packing import KERNELS, Level, Packing
from bench.pocket import CHECKPOINT, FPS, SIZE, card, judged
from bench.pocket.captions import ACTIONS
from bench.pocket.latents import HELD_OUT, LatentStore
from bench.pocket.quick import QuickFramePack
from bench.pocket.recipe import TransformerRecipe
from bench.pocket.render import render
from bench.pocket.train_autoencoder import held_out_psnr
from bench.pocket.train_transformer import (
    HELD_OUT_CLIPS,
    even_levels,
    held_out_layouts,
    held_out_losses,
    restore,
    trained_levels,
)
from bench.pocket.world import PERIODS, Scene, sample_scene, with_action
from bench.rollout import Rollout, rollout
from bench.variant import Variant
from metrics.networks.pocket_judge import STRIDE, WINDOW

Frames = NDArray[np.uint8]

SCENES = 30_000_000
"""Seed of the first scene that videos are generated from; never trained on."""

STEPS, CFG = 8, 1.5
"""Diffusion steps and true guidance of every video here, and the suite's defaults."""

SAMPLERS = ("vanilla", "f1", "anti_drifting", "inverted")


def variant(sampler: str, section: int = 9) -> Variant:
    """The sampler with the released packing f16k4f2k2f1k1."""
    levels = tuple(Level(f, KERNELS[k]) for f, k in ((1, 1), (2, 2), (16, 4)))
    one = (Level(1, KERNELS[1]),)
    packing = Packing(
        levels,
        start=one if sampler in ("f1", "inverted") else (),
        ends=(one,) if sampler == "anti_drifting" else (),
    )
    return Variant(sampler, packing, section, name=sampler)


def scene_of(number: int, actions: Sequence[str] = tuple(ACTIONS)) -> Scene:
    """Evaluation scene `number`: actions in turn, done without end."""
    scene = sample_scene(SCENES + number)
    return with_action(scene, actions[number % len(actions)], "always")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % t interval."""
    x = np.asarray(values, np.float64)
    half = float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return float(x.mean()), half


def generate(
    generator: QuickFramePack,
    sampler: str,
    scenes: Sequence[Scene],
    sections: int,
    batch: int = 16,
) -> list[Frames]:
    """Videos [T, H, W, 3] of scenes."""
    asked = variant(sampler)
    plan = samplers.plan(asked, height=SIZE, width=SIZE, sections=sections, fps=FPS)
    requests = [
        Request(str(number), scene.caption, Image.fromarray(first_frame(scene)), seed=0)
        for number, scene in enumerate(scenes)
    ]
    videos = []
    for start in range(0, len(requests), batch):
        for made in rollout(generator, asked, plan, requests[start : start + batch]):
            if not isinstance(made, Rollout):
                raise made
            videos.append(np.concatenate(made.frames))
    return videos


def first_frame(scene: Scene) -> Frames:
    """The scene's first frame [H, W, 3]."""
    return np.asarray(render(scene, 1)[0].permute(1, 2, 0).contiguous())


def memory_gate(checkpoint: Path, batches: int = 8) -> dict[str, Any]:
    """Held-out loss of each context order, and its relative rise without a level's content.

    `trained` has the noise levels that training draws, `even` has levels spread evenly: more than
    half of that loss is of low noise, where a target shows itself and what is left cannot be known.
    `all` stands for every example of the four orders together. Examples have at least two sections
    of history: zeroing what is zero anyway says nothing.
    """
    model = restore(checkpoint)
    store = LatentStore(checkpoint, HELD_OUT_CLIPS, TransformerRecipe().latents, HELD_OUT)
    found: dict[str, Any] = {}
    for name, levels in (("trained", trained_levels), ("even", even_levels)):
        losses: dict[str, dict[int, Losses]] = {"all": {kernel: [] for kernel in ZEROED}}
        for order, _ in TransformerRecipe().orders:
            layouts = held_out_layouts(9, order, batches, store.length, least=2)
            clips = np.concatenate([layout.clips for layout in layouts])
            losses[order] = {}
            for kernel in ZEROED:
                each = held_out_losses(
                    model, store, order, 9, batches, frozenset({kernel}), least=2, levels=levels
                )
                losses[order][kernel] = list(
                    zip(clips.tolist(), each.flatten().tolist(), strict=True)
                )
                losses["all"][kernel] += losses[order][kernel]
        found[name] = {
            order: {"loss": float(np.mean([loss for _, loss in by[0]]))}
            | {f"without_k{kernel}": rise(by[kernel], by[0]) for kernel in ZEROED if kernel}
            for order, by in losses.items()
        }
    return found


Losses = list[tuple[int, float]]
"""The clip and the loss of each example."""

ZEROED = (0, 1, 2, 4)
"""Kernels whose content is zeroed; no level has the kernel 0, so nothing is."""


def rise(without: Losses, full: Losses) -> tuple[float, float]:
    """Σ without / Σ full − 1, and half the width of its 95 % interval, by the jackknife over clips.

    Examples of one clip are alike: clips are left out whole.
    """
    clips = np.asarray([clip for clip, _ in full])
    numerator, denominator = (np.asarray([loss for _, loss in x]) for x in (without, full))
    left_out = [
        numerator[clips != clip].sum() / denominator[clips != clip].sum()
        for clip in np.unique(clips)
    ]
    n = len(left_out)
    error = math.sqrt((n - 1) * np.var(left_out))
    return float(numerator.sum() / denominator.sum() - 1), float(stats.t.ppf(0.975, n - 1) * error)


def prediction_error(generator: QuickFramePack, count: int = 32) -> dict[str, Any]:
    """PSNR by horizon of a section predicted after true history, against standing still.

    The history is the clip's first 19 latents, so most of what comes next can be known. `first`
    repeats the video's first frame, `newest` the last frame of the history.
    """
    known = 19
    asked = variant("f1")
    plan = samplers.plan(asked, height=SIZE, width=SIZE, sections=4, fps=FPS)
    section = plan.sections[2]
    scenes = [sample_scene(SCENES + 10_000 + number) for number in range(count)]
    vae = generator.pipe.vae
    generator.use(asked, plan.kernels)
    begin = section.target[0]
    frames = 4 * (begin + 9) - 3
    squared: dict[str, list[NDArray[np.float64]]] = {"model": [], "first": [], "newest": []}
    with torch.inference_mode():
        videos = torch.stack([render(scene, frames) for scene in scenes]).transpose(1, 2)
        pixels = videos.float() / 127.5 - 1
        latents = torch.cat([vae.encode(clip[None]).latent_dist.mode() for clip in pixels])
        contexts = []
        for context in section.contexts:
            z = torch.zeros(count, latents.shape[1], len(context.frames), *latents.shape[3:])
            for slot, place in enumerate(context.frames):
                if place is not None:
                    z[:, :, slot] = latents[:, :, place]
            contexts.append(ContextFrames(context.kernel, z, context.indices))
        conditions = [
            generator.condition(
                Request(str(i), scene.caption, Image.fromarray(first_frame(scene)), 0), SIZE, SIZE
            )
            for i, scene in enumerate(scenes)
        ]
        rng = torch.Generator().manual_seed(0)
        noise = torch.randn(count, latents.shape[1], 9, *latents.shape[3:], generator=rng)
        made = generator.denoise(conditions, contexts, section.target_indices, noise).latents
        joined = torch.cat([latents[:, :, begin - 1 : begin], made], 2)
        found = torch.cat([vae.decode(z[None]).sample for z in joined])[:, :, 1:].clamp(-1, 1)
    truth = pixels[:, :, -36:]
    stills = {"first": pixels[:, :, :1], "newest": pixels[:, :, 4 * begin - 4 : 4 * begin - 3]}
    for name, guess in ({"model": found} | stills).items():
        error = ((guess - truth) / 2).square().mean(dim=(1, 3, 4))
        squared[name] = [np.asarray(error.view(-1, 9, 4).mean(-1), np.float64)]
    assert begin == known
    return {
        name: [round(float(v), 2) for v in -10 * np.log10(parts[0].mean(0))]
        for name, parts in squared.items()
    }


def truth_poses(scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of the scene over two repetitions of its action, and where the person is in them.

    Returns:
        Frames [n, 3, H, W] and masks [n, 1, H, W], float.
    """
    count = int(FPS * (1 + 2 * PERIODS[scene.action] / scene.speed))
    frames = render(scene, count)
    masks = (frames != render(scene, count, hidden=frozenset({"person"}))).any(1, keepdim=True)
    keep = torch.arange(0, count, 2)
    return frames[keep].float() / 255, masks[keep].float()


def nearest(video: Frames, scene: Scene, every: int = 4) -> NDArray[np.float64]:
    """PSNR in dB of every fourth frame to the nearest true pose, over the person's pixels.

    The backdrop and the lights are the generator's own choice; the person is not.
    """
    truth, masks = truth_poses(scene)
    frames = torch.from_numpy(video[::every].copy()).permute(0, 3, 1, 2).float() / 255
    weights, area = masks.flatten(1), 3 * masks.flatten(1).sum(1)
    known = truth.flatten(2)
    heavy = weights[:, None].expand_as(known).flatten(1)
    error = (
        (frames.flatten(1).square() @ heavy.T)
        - 2 * (frames.flatten(1) @ (heavy * known.flatten(1)).T)
        + (heavy * known.flatten(1).square()).sum(1)
    ).clamp(min=0) / area
    enough = area > 3 * 60
    return np.asarray(-10 * torch.log10(error[:, enough].min(1).values + 1e-6), np.float64)


def sharpness(video: Frames, every: int = 4) -> NDArray[np.float64]:
    """Mean absolute horizontal and vertical difference of grey levels, per frame."""
    grey = video[::every].astype(np.float64).mean(-1)
    across, down = np.abs(np.diff(grey, axis=2)), np.abs(np.diff(grey, axis=1))
    return np.asarray(across.mean((1, 2)) + down.mean((1, 2)))


def followed(videos: Sequence[Frames], scenes: Sequence[Scene]) -> dict[str, Any]:
    """How often the judge sees the captioned action in the first section (chance 1/8)."""
    judge = judged.judges()[0].network
    index = STRIDE * np.arange(WINDOW) + 3
    seen = []
    with torch.inference_mode():
        for video in videos:
            frames = torch.from_numpy(video[index].copy()).permute(0, 3, 1, 2).float() / 255
            seen.append(int(judge.actions(judge.frames(frames).features[None]).argmax()))
    names = list(ACTIONS)
    hits = [names[s] == scene.action for s, scene in zip(seen, scenes, strict=True)]
    by_action = {
        name: round(
            float(np.mean([h for h, s in zip(hits, scenes, strict=True) if s.action == name])), 2
        )
        for name in names
    }
    return {"videos": len(videos), "accuracy": float(np.mean(hits)), "by_action": by_action}


def start_end(curve: NDArray[np.float64], share: float = 0.15) -> tuple[float, float]:
    """Means of the first and the last 15 % of a curve."""
    n = max(1, round(len(curve) * share))
    return float(curve[:n].mean()), float(curve[-n:].mean())


def drift(videos: Sequence[Frames], scenes: Sequence[Scene]) -> dict[str, Any]:
    """Start, end and start − end of likeness (dB) and sharpness, with 95 % intervals."""
    found: dict[str, Any] = {"videos": len(videos), "frames": len(videos[0])}
    curves: dict[str, Callable[[Frames, Scene], NDArray[np.float64]]] = {
        "likeness": lambda video, scene: nearest(video, scene),
        "sharpness": lambda video, _: sharpness(video),
    }
    for name, curve in curves.items():
        pairs = [start_end(curve(v, s)) for v, s in zip(videos, scenes, strict=True)]
        found[name] = {
            "start": interval([a for a, _ in pairs]),
            "end": interval([b for _, b in pairs]),
            "drift": interval([abs(a - b) for a, b in pairs]),
            "drift_signed": interval([a - b for a, b in pairs]),
        }
    motion = [float(np.abs(np.diff(v.astype(np.float32), axis=0)).mean()) for v in videos]
    found["motion"] = interval(motion)
    return found


def contact_sheet(rows: Sequence[Frames], path: Path, columns: int = 16) -> None:
    """One row per video, evenly spread frames, twice as large."""
    lines = [
        np.concatenate([v[i] for i in np.linspace(0, len(v) - 1, columns).round().astype(int)], 1)
        for v in rows
    ]
    sheet = np.concatenate(lines)
    Image.fromarray(sheet.repeat(2, 0).repeat(2, 1)).save(path, optimize=True)


def evaluate(
    checkpoint: Path, videos: int, sections: int, log: Callable[[str], None]
) -> dict[str, Any]:
    """Everything; `videos` per sampler, of `sections` × 9 latents."""
    started = time.monotonic()
    found: dict[str, Any] = {"steps": STEPS, "cfg": CFG}

    def note(key: str, value: Any) -> None:
        found[key] = value
        log(json.dumps({key: value, "seconds": round(time.monotonic() - started)}))

    generator = QuickFramePack(checkpoint, STEPS, CFG)
    note("autoencoder", held_out_psnr(generator.pipe.vae))
    note("memory", memory_gate(checkpoint))
    note("prediction", prediction_error(generator))
    # People who leave have no likeness while they are away: they count for captions only.
    moving = [action for action in ACTIONS if action != "leave"]
    scenes = [scene_of(number, moving) for number in range(videos)]
    leaving = [scene_of(videos + number, ["leave"]) for number in range(max(1, videos // 7))]
    acting = scenes + leaving
    truths = [np.asarray(render(s, 37).permute(0, 2, 3, 1)) for s in acting]
    rows = [np.asarray(render(s, 36 * sections + 1).permute(0, 2, 3, 1)) for s in scenes[:4]]
    first: list[Frames] = []
    shown_to_judges: list[Frames] = []
    for sampler in SAMPLERS:
        made = generate(generator, sampler, scenes, sections)
        note(f"drift {sampler}", drift(made, scenes))
        rows.extend(made[:4])
        shown_to_judges.extend(made)
        contact_sheet(rows, checkpoint / "contact_sheet.png")
        if sampler == "vanilla":
            first = [video[:37] for video in made] + generate(generator, sampler, leaving, 1)
            shown = [*first[: len(moving)], first[-1]]
            contact_sheet(shown, checkpoint / "first_sections.png", 12)
    judged.sheet(shown_to_judges, scenes * len(SAMPLERS), checkpoint / "judges.png")
    note("actions truth", followed(truths, acting))
    note("actions vanilla", followed(first, acting))
    return found


def main() -> None:
    """Read the command line, measure, write the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--videos", type=int, default=64, help="videos per sampler")
    parser.add_argument("--sections", type=int, default=4, help="sections of nine latents each")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    found = evaluate(
        arguments.checkpoint,
        arguments.videos,
        arguments.sections,
        lambda line: print(line, flush=True),
    )
    (arguments.checkpoint / "evaluation.json").write_text(json.dumps(found, indent=1) + "\n")
    card.write(arguments.checkpoint)


if __name__ == "__main__":
    main()
