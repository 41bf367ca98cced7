"""Training the pocket autoencoder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.pocket.autoencoder import GROUP, PocketAutoencoder
from bench.pocket.recipe import AutoencoderRecipe, RefineRecipe, rate
from bench.pocket.render import render
from bench.pocket.world import sample_scene

TRAINING = 1_000_000
"""Seed of the first training scene."""
HELD_OUT = 5_000_000
"""Seed of the first held-out scene."""


class FramePool:
    """Short pieces of training clips, drawn when first asked for; uint8 [frames, 3, H, W]."""

    def __init__(self, recipe: AutoencoderRecipe) -> None:
        self.recipe = recipe
        self._clips: dict[int, Tensor] = {}

    def clip(self, index: int) -> Tensor:
        """Piece number `index`."""
        if index not in self._clips:
            seed = TRAINING + index
            first = int(np.random.default_rng(seed).integers(0, 140))
            self._clips[index] = render(
                sample_scene(seed, self.recipe.plain), self.recipe.clip_frames, first
            )
        return self._clips[index]

    def batch(self, step: int) -> Tensor:
        """The groups [batch, 12, H, W] of a step, in −1..1; they depend on seed and step only."""
        r = self.recipe
        rng = np.random.default_rng([r.seed, step])
        groups = []
        for index in rng.integers(r.clips, size=r.batch):
            start = int(rng.integers(r.clip_frames - GROUP + 1))
            piece = self.clip(int(index))[start : start + GROUP]
            still = rng.random() < r.still
            groups.append(piece[:1].expand(GROUP, -1, -1, -1) if still else piece)
        return torch.stack(groups).flatten(1, 2).float() / 127.5 - 1


def reconstruction_loss(found: Tensor, truth: Tensor) -> Tensor:
    """L1 + 5·MSE + half the L1 of horizontal and of vertical gradients."""
    error = found - truth
    return (
        error.abs().mean()
        + 5 * error.square().mean()
        + 0.5 * error.diff(dim=-1).abs().mean()
        + 0.5 * error.diff(dim=-2).abs().mean()
    )


def held_out_psnr(model: Any, clips: int = 24, frames: int = 33) -> dict[str, float]:
    """Mean PSNR in dB over held-out clips, of all frames and of the first frame."""
    every, first = [], []
    with torch.no_grad():
        for seed in range(HELD_OUT, HELD_OUT + clips):
            video = render(sample_scene(seed), frames).transpose(0, 1)[None].float() / 127.5 - 1
            found = model(video).sample.clamp(-1, 1)
            error = ((found - video) / 2).square().mean(dim=(0, 1, 3, 4))
            every.append(float(-10 * error.mean().log10()))
            first.append(float(-10 * error[0].log10()))
    return {"psnr": float(np.mean(every)), "psnr_first_frame": float(np.mean(first))}


def build(recipe: AutoencoderRecipe) -> Any:
    """The untrained network of the recipe's seed."""
    torch.manual_seed(recipe.seed)
    model = PocketAutoencoder()
    model.encoder.to(memory_format=torch.channels_last)
    model.decoder.to(memory_format=torch.channels_last)
    return model


def train(
    recipe: AutoencoderRecipe,
    scratch: Path,
    *,
    log: Callable[[dict[str, Any]], None],
    stop_after: int | None = None,
    device: str = "cpu",
    fast: bool = True,
) -> Any:
    """Train (or go on training) to the recipe's steps and return the averaged network.

    State is saved to `scratch/autoencoder.pt` every minute; `stop_after` ends early after so many
    steps. `log` is called with a record for every step that is worth one. `fast` compiles the
    network, which takes a minute and nearly halves a step.
    """
    model: Any = build(recipe)
    model, pool = model.to(device), FramePool(recipe)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=recipe.weight_decay
    )
    step, path = 0, scratch / "autoencoder.pt"
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average, step = state["average"], state["step"]
    end = recipe.steps if stop_after is None else min(recipe.steps, stop_after)
    if fast:
        model.encoder.compile()
        model.decoder.compile()
    saved = started = time.monotonic()
    while step < end:
        for group in optimiser.param_groups:
            factor = rate(step, recipe.steps, recipe.warmup, recipe.decay)
            group["lr"] = recipe.learning_rate * factor
        truth = pool.batch(step).to(device, memory_format=torch.channels_last)
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            z = model.encoder(truth)
            found = model.decoder(z + recipe.noise * torch.randn_like(z))
        loss = reconstruction_loss(found.float(), truth) + 1e-3 * z.float().square().mean()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        keep = min(recipe.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in model.state_dict().items():
                average[key].lerp_(value, 1 - keep)
        if step < 20 or step % 100 == 0:
            seconds = time.monotonic() - started
            log({"part": "autoencoder", "step": step, "loss": loss.item(), "seconds": seconds})
        step += 1
        if time.monotonic() - saved > 60 or step == end:
            saved = time.monotonic()
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**state, "average": average, "step": step}, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
    model.load_state_dict(average)
    return model.to(memory_format=torch.contiguous_format)


def refine(
    recipe: RefineRecipe,
    model: Any,
    scratch: Path,
    *,
    log: Callable[[dict[str, Any]], None],
    device: str = "cpu",
) -> Any:
    """Train on with every pane of the lights; without the encoder, latents stay what they are.

    The state is saved to `scratch/PART.pt` every minute, as `train` does.
    """
    pool = FramePool(replace(AutoencoderRecipe(), seed=recipe.seed, plain=False))
    model = model.to(device).float()
    trained = [model.encoder, model.decoder] if recipe.encoder else [model.decoder]
    for part in (model.encoder, model.decoder):
        part.to(memory_format=torch.channels_last)
    live = [p for part in trained for p in part.parameters()]
    average = [p.detach().clone() for p in live]
    optimiser = torch.optim.AdamW(live, betas=(0.9, 0.95), weight_decay=1e-3, fused=True)
    step, path = 0, scratch / f"{recipe.part}.pt"
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=device)
        with torch.no_grad():
            for parameter, kept in zip(live, state["live"], strict=True):
                parameter.copy_(kept)
        optimiser.load_state_dict(state["optimiser"])
        average, step = state["average"], state["step"]
    model.encoder.compile()
    model.decoder.compile()
    saved = started = time.monotonic()
    while step < recipe.steps:
        for group in optimiser.param_groups:
            factor = rate(step, recipe.steps, recipe.warmup, recipe.decay)
            group["lr"] = recipe.learning_rate * factor
        truth = pool.batch(step).to(device, memory_format=torch.channels_last)
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            with torch.set_grad_enabled(recipe.encoder):
                z = model.encode_groups(truth)
            found = model.decode_groups(z + recipe.noise * torch.randn_like(z))
        loss = reconstruction_loss(found.float(), truth)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(live, 1.0)
        optimiser.step()
        keep = min(recipe.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, [p.detach() for p in live], 1 - keep)
        if step < 20 or step % 100 == 0:
            seconds = time.monotonic() - started
            log({"part": recipe.part, "step": step, "loss": loss.item(), "seconds": seconds})
        step += 1
        if time.monotonic() - saved > 60 or step == recipe.steps:
            saved = time.monotonic()
            state = {"live": live, "optimiser": optimiser.state_dict(), "average": average}
            torch.save({**state, "step": step}, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
    with torch.no_grad():
        for parameter, kept in zip(live, average, strict=True):
            parameter.copy_(kept)
    return model.to(memory_format=torch.contiguous_format)


def calibrate(model: Any, clips: int = 100) -> None:
    """Measure the latents' mean and standard deviation, so that they have unit variance."""
    with torch.no_grad():
        model.latents_mean.zero_()
        model.latents_std.fill_(1)
        latents = []
        for seed in range(TRAINING, TRAINING + clips):
            video = render(sample_scene(seed), 33).transpose(0, 1)[None].float() / 127.5 - 1
            latents.append(model.encode(video).latent_dist.mode())
        z = torch.cat(latents).transpose(0, 1).flatten(1)
        model.latents_mean.copy_(z.mean(1))
        model.latents_std.copy_(z.std(1))
