"""Fine-tune the pocket checkpoint for one method: `python -m bench.pocket.train_delta NAME`.

Writes NAME.safetensors (a LoRA in diffusers' layout, 1.2 MB) and NAME.json (recipe, log,
held-out losses) to `--out`, and the folder's card. A few minutes are enough: only the low-rank
factors learn, the checkpoint stays as it is, and the loader puts its bits back.

Everything drawn in a step depends on seed and step, so `--steps N` repeats a training; `--minutes`
chooses N from the time of the first steps. Encoded clips are shared between deltas, and with the
checkpoint's own training where `--scratch` names its folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.codebook import digest as codes_digest
from bench.errors import UserError
from bench.generators.base import ContextFrames
from bench.generators.checkpoint import digest
from bench.generators.deltas import SPLIT
from bench.generators.transformer import causal_mask, token_times
from bench.packing import KERNELS
from bench.pocket import CHECKPOINT, delta_card
from bench.pocket.deltas import DELTAS, Delta, draw, noise_levels, seen
from bench.pocket.history import Context
from bench.pocket.latents import HELD_OUT, TRAINING, LatentStore
from bench.pocket.layouts import Layout
from bench.pocket.low_rank import adapt, tensors
from bench.pocket.recipe import TransformerRecipe, rate
from bench.pocket.train_transformer import drawn_levels, even_levels, restore

Log = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class DeltaRecipe:
    """How every delta is trained."""

    seed: int = 0
    rank: int = 16
    """Of the factors: a sixteenth of the weights' width; more did not fit ten minutes better."""
    steps: int = 600
    """At most; fewer where the minutes are over before."""
    batch: int = 8
    section: int = 9
    warmup: int = 20
    learning_rate: float = 2e-3
    clips: int = 160
    """Training clips; `main` takes all of the checkpoint's own training where those are encoded."""
    latents: int = TransformerRecipe.latents
    held_out: int = 32
    """Held-out examples that the loss is read on, before and after."""
    codes: tuple[int, ...] = (128, 256)
    """Sizes of the codebooks that a discretised history is coded with, one a step."""


class Masked:
    """An attention processor with a mask that is set once a step, for all blocks."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.mask: Tensor | None = None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """The inner processor's attention, under the mask."""
        found: tuple[Tensor, Tensor] = self.inner(
            attn, hidden_states, encoder_hidden_states, self.mask, image_rotary_emb
        )
        return found


def context_frames(layout: Layout, latents: Sequence[Tensor]) -> list[ContextFrames]:
    """The layout's contexts as generators know them: what the causal mask is made of."""
    return [
        ContextFrames(KERNELS[level.kernel], z, tuple(level.indices.tolist()))
        for level, z in zip(layout.levels, latents, strict=True)
        if z.shape[2]
    ]


class Trainer:
    """One model, one delta, and the clips it sees."""

    def __init__(
        self,
        name: str,
        recipe: DeltaRecipe,
        checkpoint: Path,
        *,
        folder: Path | None = None,
        codebooks: Mapping[int, Path] | None = None,
        device: str = "cpu",
    ) -> None:
        self.delta: Delta = DELTAS[name]
        self.recipe, self.device = recipe, device
        self.model = restore(checkpoint).requires_grad_(False)
        self.factors = adapt(self.model.base, recipe.rank, recipe.seed)
        self.model.to(device)
        self.masked: list[Masked] = []
        if self.delta.causal:
            self._mask_attention()
        self.store = LatentStore(checkpoint, recipe.clips, recipe.latents, folder=folder)
        self.held = LatentStore(checkpoint, recipe.held_out, recipe.latents, HELD_OUT)
        self.codes: list[Tensor] = []
        self.codebooks: list[str] = []
        if self.delta.history == "discrete":
            scale = float(self.store.pipeline.vae.config.scaling_factor)
            books = [self._codes(k, codebooks or {}) for k in recipe.codes]
            self.codes = [codes / scale for codes in books]
            self.codebooks = [codes_digest(codes) for codes in books]

    def _codes(self, k: int, codebooks: Mapping[int, Path]) -> Tensor:
        path = codebooks.get(k, CHECKPOINT.parent / "codebooks" / f"codes-{k}.safetensors")
        if not path.is_file():
            raise UserError(f"codebook of K = {k}: {path}: no such file")
        return load_file(path)["codes"]

    def _mask_attention(self) -> None:
        """Diffusers' own attention, which takes a mask; the plain one for training takes none."""
        from diffusers.models.transformers.transformer_hunyuan_video import (
            HunyuanVideoAttnProcessor2_0,
        )

        base = self.model.base
        make: Any = HunyuanVideoAttnProcessor2_0
        for block in (*base.transformer_blocks, *base.single_transformer_blocks):
            self.masked.append(Masked(make()))
            block.attn.set_processor(self.masked[-1])

    def loss(
        self, store: LatentStore, layout: Layout, sigma: Tensor, generator: torch.Generator
    ) -> Tensor:
        """‖v − (ε − x)‖² per example at x_σ = (1−σ)x + σε, its history seen through the delta."""
        clean = store.at(layout.clips, layout.target)
        noise = torch.randn(clean.shape, generator=generator)
        s = sigma.view(-1, 1, 1, 1, 1)
        noisy = ((1 - s) * clean + s * noise).to(self.device)
        levels = noise_levels(self.delta, sigma, generator)
        codes = None
        if self.codes:
            turn = int(torch.randint(len(self.codes), (1,), generator=generator))
            codes = self.codes[turn]
        history = [
            seen(store.at(layout.clips, level.places), level.places, levels, generator, codes)
            for level in layout.levels
        ]
        device = self.device
        text, pooled, image = (
            part.to(device) for part in store.conditions(layout.clips, layout.empty_prompt)
        )
        contexts = [
            Context(c.kernel.time, c.latents.to(device), torch.tensor(c.indices, device=device))
            for c in context_frames(layout, history)
        ]
        if self.masked:
            rows, columns = clean.shape[3] // 2, clean.shape[4] // 2
            frames = context_frames(layout, history)
            times = token_times(frames, layout.target_indices.tolist(), rows, columns)
            mask = causal_mask(times.to(device), text.shape[1] + image.shape[1])
            for processor in self.masked:
                processor.mask = mask
        indices = torch.from_numpy(layout.target_indices).to(device)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            v = self.model(noisy, sigma.to(device), text, pooled, image, indices, contexts)
        error: Tensor = v.float() - (noise - clean).to(device)
        return error.square().flatten(1).mean(1)

    def layout(self, step: int) -> Layout:
        """The layout of a step."""
        rng = np.random.default_rng([self.recipe.seed, step])
        r = self.recipe
        return draw(rng, self.delta, r.batch, r.clips, r.latents, r.section)

    def held_out_loss(self) -> float:
        """Mean loss on the same held-out examples, noise levels and noise every time."""
        generator = torch.Generator().manual_seed(1)
        rng = np.random.default_rng([77, self.recipe.section])
        r, found = self.recipe, []
        with torch.no_grad():
            for _ in range(max(r.held_out // r.batch, 1)):
                layout = draw(rng, self.delta, r.batch, r.held_out, r.latents, r.section)
                self.held.fill(layout.clips)
                sigma = even_levels(len(layout.clips))
                found.append(self.loss(self.held, layout, sigma, generator))
        return float(torch.cat(found).mean())

    def step(self, number: int) -> Tensor:
        """The loss of one training step."""
        layout = self.layout(number)
        self.store.fill(layout.clips)
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + number)
        normal = torch.randn(len(layout.clips), generator=generator)
        sigma = drawn_levels(TransformerRecipe(), normal)
        return self.loss(self.store, layout, sigma, generator).mean()


MEASURED = 5
"""First steps by whose time the number of steps is chosen, without the very first, a slow one."""


def train(trainer: Trainer, *, log: Log, minutes: float | None = None) -> int:
    """Train to the recipe's steps, or to as many as fit into `minutes`; gives their number.

    Clips that are not encoded yet are so first, outside the minutes.
    """
    recipe = trainer.recipe
    trainer.store.fill(np.arange(recipe.clips))
    factors = [p for factor in trainer.factors.values() for p in factor.parameters()]
    optimiser = torch.optim.AdamW(factors, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    steps, number, recent = recipe.steps, 0, []
    started = time.monotonic()
    while number < steps:
        if number == 1:
            started = time.monotonic()
        if number == MEASURED and minutes is not None:
            each = (time.monotonic() - started) / (MEASURED - 1)
            steps = max(MEASURED + 1, min(recipe.steps, round(60 * minutes / each)))
        for group in optimiser.param_groups:
            factor = rate(number, steps, recipe.warmup, max(steps // 2, 1))
            group["lr"] = recipe.learning_rate * factor
        loss = trainer.step(number)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(factors, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        recent.append(float(loss.detach()))
        number += 1
        if number <= MEASURED or number % 50 == 0 or number == steps:
            mean = float(np.mean(recent[-50:])) if number > MEASURED else recent[-1]
            log({"step": number, "loss": mean, "seconds": time.monotonic() - started})
    return number


def run(
    name: str,
    recipe: DeltaRecipe,
    checkpoint: Path,
    out: Path,
    *,
    folder: Path | None = None,
    codebooks: Mapping[int, Path] | None = None,
    minutes: float | None = None,
    device: str = "cpu",
) -> Path:
    """Train one delta and write its file, its record and the folder's card.

    Raises:
        UserError: a codebook is missing.
    """
    trainer = Trainer(name, recipe, checkpoint, folder=folder, codebooks=codebooks, device=device)
    records: list[dict[str, Any]] = []

    def log(record: dict[str, Any]) -> None:
        records.append(record)
        print(json.dumps({"delta": name, **record}), flush=True)

    before = trainer.held_out_loss()
    log({"held_out": before})
    began = time.monotonic()
    steps = train(trainer, log=log, minutes=minutes)
    seconds = time.monotonic() - began
    after = trainer.held_out_loss()
    log({"held_out": after})
    about = {
        "base": digest(checkpoint / "transformer"),
        "trained": SPLIT.join(trainer.delta.trained),
        "steps": str(steps),
    }
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{name}.safetensors"
    save_file(tensors(trainer.factors, trainer.model.base), file, about)
    record = {
        "delta": asdict(trainer.delta),
        "recipe": asdict(recipe) | {"steps": steps},
        "base": about["base"],
        "codebooks": trainer.codebooks,
        "parameters": sum(p.numel() for f in trainer.factors.values() for p in f.parameters()),
        "seconds": round(seconds, 1),
        "held_out_before": before,
        "held_out_after": after,
        "log": records,
    }
    (out / f"{name}.json").write_text(json.dumps(record, indent=0) + "\n")
    delta_card.write(out)
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("delta", nargs="+", choices=[*DELTAS, "all"])
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--out", type=Path, default=CHECKPOINT.parent / "deltas")
    parser.add_argument("--scratch", type=Path, default=Path("build/pocket"), help="latents")
    parser.add_argument("--minutes", type=float, default=10.0, help="training time of each delta")
    parser.add_argument("--steps", type=int, help="exactly so many steps, instead of minutes")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args(arguments)
    folder = options.scratch / "latents"
    recipe = DeltaRecipe() if options.steps is None else DeltaRecipe(steps=options.steps)
    own = TransformerRecipe()
    if (folder / f"{TRAINING}-{own.clips}x{own.latents}.done").is_file():
        recipe = replace(recipe, clips=own.clips)
    names = list(DELTAS) if "all" in options.delta else options.delta
    try:
        for name in names:
            run(
                name,
                recipe,
                options.checkpoint,
                options.out,
                folder=folder,
                minutes=options.minutes if options.steps is None else None,
                device=options.device,
            )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
