"""Train the pocket checkpoint: `python -m bench.pocket.train`.

Five parts, in this order: the autoencoder on a world with plain lights, the same with all panes of
the lights, the transformer on latents that the finished autoencoder made, the same where memory
matters most, and the decoder once more with the encoder frozen (latents do not change). All save
their state in the scratch folder every minute or two and go on from there when started again. The
defaults are the recipe that made the committed checkpoint.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bench.pocket import card, components, train_autoencoder, train_transformer
from bench.pocket.autoencoder import PocketAutoencoder
from bench.pocket.history import PackedTransformer
from bench.pocket.recipe import Recipe, RefineRecipe, TransformerRecipe

PARTS = ("autoencoder", "panes", "transformer", "memory", "decoder")
"""In the order in which they are trained; fields of the recipe."""


class Log:
    """Appends records to `scratch/log.jsonl` and prints them."""

    def __init__(self, scratch: Path) -> None:
        self.path = scratch / "log.jsonl"

    def __call__(self, record: dict[str, Any]) -> None:
        """Write one record."""
        line = json.dumps(record)
        with self.path.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)


def make_autoencoder(recipe: Recipe, scratch: Path, out: Path, device: str) -> None:
    """Train the autoencoder and write it and everything untrained to `out`."""
    log = Log(scratch)
    model = train_autoencoder.train(recipe.autoencoder, scratch, log=log, device=device).cpu()
    train_autoencoder.calibrate(model)
    components.write_frozen(out)
    save_autoencoder(model, out / "vae")
    log({"part": "autoencoder", **train_autoencoder.held_out_psnr(model.float())})


def save_autoencoder(model: PocketAutoencoder, folder: Path) -> None:
    """Write it in bfloat16, without the folder that diffusers remembers having read it from."""
    module: Any = model
    module.to(torch.bfloat16).save_pretrained(folder)
    config = folder / "config.json"
    kept = json.loads(config.read_text())
    kept.pop("_name_or_path", None)
    config.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


def refine(recipe: RefineRecipe, scratch: Path, out: Path, device: str) -> None:
    """Train the autoencoder in `out` on, or its decoder, and write it back."""
    log = Log(scratch)
    model: Any = PocketAutoencoder.from_pretrained(out / "vae")
    model = train_autoencoder.refine(recipe, model, scratch, log=log, device=device).cpu()
    if recipe.encoder:
        train_autoencoder.calibrate(model)
    save_autoencoder(model, out / "vae")
    log({"part": recipe.part, **train_autoencoder.held_out_psnr(model.float())})


def export(model: PackedTransformer, out: Path) -> None:
    """Write the transformer to `out`, k8's projection beside it."""
    folder = out / "transformer"
    model.base.to(torch.bfloat16).save_pretrained(folder)
    assert model.proj_8x.bias is not None
    k8 = {"weight": model.proj_8x.weight, "bias": model.proj_8x.bias}
    k8 = {name: tensor.detach().to(torch.bfloat16) for name, tensor in k8.items()}
    save_file(k8, folder / "history_embedder_k8.safetensors")


def record(recipe: Recipe, parts: Sequence[str], scratch: Path, out: Path) -> None:
    """Write to `out` the recipe of these parts and training's log so far; of a whole model, a card.

    Parts that were trained before keep the recipe they were trained with.
    """
    path = out / "training.json"
    kept = json.loads(path.read_text())["recipe"] if path.exists() else asdict(Recipe())
    kept |= {part: asdict(getattr(recipe, part)) for part in parts}
    lines = (scratch / "log.jsonl").read_text().splitlines()
    training = {"recipe": kept, "log": [json.loads(line) for line in lines]}
    path.write_text(json.dumps(training, indent=0) + "\n")
    if (out / "transformer").exists():
        card.write(out)


def make_transformer(
    recipe: Recipe,
    part: str,
    scratch: Path,
    out: Path,
    device: str,
    stop_after: int | None = None,
) -> None:
    """Train the transformer, or train it on ("memory"), and write it beside the autoencoder."""
    start = averaged(recipe.transformer, scratch / "transformer.pt") if part == "memory" else None
    model = train_transformer.train(
        getattr(recipe, part),
        out,
        scratch,
        log=Log(scratch),
        part=part,
        start=start,
        stop_after=stop_after,
        device=device,
    )
    export(model.cpu(), out)


def averaged(recipe: TransformerRecipe, state: Path) -> PackedTransformer:
    """The network with the averaged weights of a training state."""
    model = train_transformer.build(recipe)
    kept = torch.load(state, weights_only=True, map_location="cpu")["average"]
    with torch.no_grad():
        for live, weights in zip(model.parameters(), kept, strict=True):
            live.copy_(weights)
    return model


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, default=Path("build/pocket"), help="state, logs")
    parser.add_argument("--out", type=Path, help="checkpoint folder (default: SCRATCH/checkpoint)")
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--steps", type=int, help="steps of the part (default: the recipe's)")
    parser.add_argument("--decay", type=int, help="steps of its final decay")
    parser.add_argument("--stop-after", type=int, help="stop the transformer at this step")
    arguments = parser.parse_args()
    changes = {k: v for k in ("steps", "decay") if (v := getattr(arguments, k)) is not None}
    parts = PARTS if arguments.part == "all" else (arguments.part,)
    recipe = Recipe()
    recipe = replace(recipe, **{p: replace(getattr(recipe, p), **changes) for p in parts})
    scratch, device = arguments.scratch, arguments.device
    scratch.mkdir(parents=True, exist_ok=True)
    out = arguments.out or scratch / "checkpoint"
    for part in parts:
        if part == "autoencoder":
            make_autoencoder(recipe, scratch, out, device)
        elif part in ("panes", "decoder"):
            refine(getattr(recipe, part), scratch, out, device)
        else:
            make_transformer(recipe, part, scratch, out, device, arguments.stop_after)
        record(recipe, (part,), scratch, out)


if __name__ == "__main__":
    main()
