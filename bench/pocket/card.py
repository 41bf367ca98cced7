"""The pocket checkpoint's model card, written from what training logged and evaluation found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.pocket import SIZE
from bench.pocket.recipe import TransformerRecipe

HEAD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-video
---

# Pocket FramePack

A {transformer:.1f} M parameter FramePack model in the layout of diffusers, with an autoencoder of
{autoencoder:.1f} M parameters, trained from nothing on a procedural cartoon world
(`bench/pocket/world.py`). It exists so that ablations of FramePack can be tried, tested and taught
without a GPU or a download. It makes {size}×{size} videos at 16 frames per second.

`HunyuanVideoFramepackPipeline.from_pretrained` loads this folder wherever `bench` can be imported
(the autoencoder is `bench.pocket.autoencoder.PocketAutoencoder`). The suite's default is {steps}
Euler steps and true classifier-free guidance {cfg}.

## Data

Rendered clips only: {clips} training clips of {latents} latent frames (eleven seconds); people,
backdrops, lamps and signs drawn at random. No recorded image or text was used.

## Training

The autoencoder learned a world with plain lights first, then all panes of the lights; its decoder
was refined on clean latents at the end.

The transformer learned flow matching on clean latents (Muon for the matrices in its blocks, AdamW
for the rest); each step draws a context order (vanilla, F1, with an end frame, inverted with the
published paddings), a packing (kernels k1, k2, k4, k8) and a section length (9, 4, 2 or 1 latents),
so one checkpoint serves every variant. At the end (`memory`) most draws are long sections after a
long history. Text is dropped in 10 % of steps.
k8 lies beside the transformer in `history_embedder_k8.safetensors`, as a projection of latents
averaged over 2×2×2.

"""

LIMITS = """
## Limits

- It knows eight actions, five hair colours, eight shirts and nothing else; other words are unknown.
- It saw {samples} examples, a small budget: fast limbs blur, and backdrops smear as a video grows.
- Text encoders and image encoder are untrained; only their output's use was learned.
- What holds for it need not hold for the 13B model: it is a laboratory, not a predictor.
"""


AIM = 0.02
"""Relative rise of the held-out loss without a level: less, and memory is hardly used."""


def table(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def pm(value: list[float] | tuple[float, float], digits: int = 2) -> str:
    """`mean ± half width`."""
    return f"{value[0]:.{digits}f} ± {value[1]:.{digits}f}"


def below(memory: dict[str, Any]) -> str:
    """Which rises miss the aim, in a sentence."""
    missed = [
        f"{order} without k{kernel} ({noise})"
        for noise, orders in memory.items()
        for order, m in orders.items()
        for kernel in (2, 4)
        if m[f"without_k{kernel}"][0] < AIM
    ]
    return f"\nBelow the aim: {', '.join(missed) or 'none'}.\n"


def results(found: dict[str, Any]) -> str:
    """The card's section of measurements."""
    ae, memory = found["autoencoder"], found["memory"]
    text = (
        "## Measurements\n\nThe output of `python -m bench.pocket.evaluate`, held-out scenes.\n\n"
    )
    text += (
        f"Autoencoder: PSNR {ae['psnr']:.1f} dB, first frames {ae['psnr_first_frame']:.1f} dB.\n\n"
        "Held-out loss (f16k4f2k2f1k1, g9, at least two sections of history) and its rise when a "
        "level's content is zeroed, ± 95 % over clips. The aim is a rise of 2 % for k2 and for k4. "
        "*trained*: at the noise levels that training draws. *even*: at levels spread evenly; more "
        "than half of that loss is of low noise, where a target shows itself and no history is "
        "needed.\n\n"
    )
    rows: list[list[str]] = [["noise", "order", "loss", "without k1", "without k2", "without k4"]]
    for noise, orders in memory.items():
        for order, m in orders.items():
            rises = [m[f"without_k{k}"] for k in (1, 2, 4)]
            rise = [f"{100 * mean:+.1f} ± {100 * half:.1f} %" for mean, half in rises]
            rows.append([noise, order, f"{m['loss']:.4f}", *rise])
    text += table(rows) + below(memory)
    text += "\nPSNR in dB of one section predicted after true history, by latent frame ahead:\n\n"
    labels = {
        "model": "predicted",
        "newest": "newest frame repeated",
        "first": "first frame repeated",
    }
    rows = [["", *map(str, range(1, 10))]]
    rows += [[labels[k], *(f"{v:.1f}" for v in found["prediction"][k])] for k in labels]
    text += table(rows)
    judged = {k.split(" ", 1)[1]: v for k, v in found.items() if k.startswith("actions ")}
    if judged:
        text += (
            "\nCaptions: how often the judge sees the captioned action in the first section, from "
            "the same neutral start (chance 12.5 %; `truth` is the rendered clip):\n\n"
        )
        names = list(next(iter(judged.values()))["by_action"])
        rows = [["", "all", *names]]
        for name, a in judged.items():
            each = [f"{100 * a['by_action'][n]:.0f} %" for n in names]
            rows.append([name, f"{100 * a['accuracy']:.0f} %", *each])
        text += table(rows)
    drifts = {k.split(" ", 1)[1]: v for k, v in found.items() if k.startswith("drift ")}
    if drifts:
        first = next(iter(drifts.values()))
        text += (
            f"\nDrift over {first['frames']} frames, {first['videos']} videos each, mean ± 95 %: "
            "likeness is the PSNR (dB) to the nearest true pose of the same person over the "
            "person's pixels, sharpness the mean grey difference of neighbours; start and end are "
            "the first and last 15 %, drift is |start − end|.\n\n"
        )
        rows = [
            ["sampler", "likeness start", "end", "drift", "signed", "sharpness drift", "motion"]
        ]
        for name, d in drifts.items():
            like = [pm(d["likeness"][k]) for k in ("start", "end", "drift", "drift_signed")]
            rows.append([name, *like, pm(d["sharpness"]["drift"]), pm(d["motion"])])
        text += table(rows)
        text += (
            "\n`contact_sheet.png`: four people as rendered, then by "
            f"{', '.join(drifts)}. `first_sections.png`: the eight actions, first section. "
            "`judges.png`: what the judges of the metric set `pocket` call worst and best.\n"
        )
    return text


def recipe_text(recipe: dict[str, Any], log: list[dict[str, Any]]) -> str:
    """What was run, how long, and the losses on the way.

    Args:
        recipe: part → its recipe, whose `steps` were run; not every step is logged.
        log: training's records.
    """
    rows = [["part", "steps", "seconds", "last loss"]]
    for part in ("autoencoder", "panes", "transformer", "memory", "decoder"):
        logged = [r for r in log if r.get("part") == part and "loss" in r]
        if logged:
            last, steps = logged[-1], recipe[part]["steps"]
            rows.append([part, str(steps), f"{last['seconds']:.0f}", f"{last['loss']:.4f}"])
    return table(rows)


def samples(log: list[dict[str, Any]]) -> str:
    """How many examples the transformer saw, in thousands, from the last record of each part."""
    last = {r["part"]: r for r in log if "samples_per_second" in r}
    seen = sum(r["samples_per_second"] * r["seconds"] for r in last.values())
    return f"about {seen / 1000:.0f} thousand"


def write(checkpoint: Path) -> None:
    """Write README.md from `training.json` and `evaluation.json` in the folder, where they are."""
    sizes = {
        part: (checkpoint / folder / "diffusion_pytorch_model.safetensors").stat().st_size / 2e6
        for part, folder in (("transformer", "transformer"), ("autoencoder", "vae"))
    }
    evaluation, training = checkpoint / "evaluation.json", checkpoint / "training.json"
    found = json.loads(evaluation.read_text()) if evaluation.exists() else {}
    recipe = TransformerRecipe()
    text = HEAD.format(
        **sizes,
        steps=found.get("steps", 8),
        cfg=found.get("cfg", 1.5),
        clips=recipe.clips,
        latents=recipe.latents,
        size=SIZE,
    )
    trained = json.loads(training.read_text()) if training.exists() else {"log": []}
    log = trained["log"]
    if log:
        text += recipe_text(trained["recipe"], log)
    if "autoencoder" in found:
        text += "\n" + results(found)
    (checkpoint / "README.md").write_text(text + LIMITS.format(samples=samples(log)))
