"""Training the pocket transformer: flow matching on randomly drawn contexts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import HunyuanVideoFramepackTransformer3DModel
from safetensors.torch import load_file
from torch import Tensor

from bench.pocket import components, layouts
from bench.pocket.history import Context, PackedTransformer
from bench.pocket.latents import HELD_OUT, LatentStore
from bench.pocket.layouts import Layout
from bench.pocket.recipe import TransformerRecipe, rate

HELD_OUT_CLIPS = 64
CHECKS = (("vanilla", 9), ("inverted", 9))
"""Context orders and sections whose held-out loss is followed."""


def build(recipe: TransformerRecipe) -> PackedTransformer:
    """The untrained network of the recipe's seed."""
    torch.manual_seed(recipe.seed)
    return PackedTransformer(components.transformer())


def predict(
    model: PackedTransformer,
    store: LatentStore,
    layout: Layout,
    noisy: Tensor,
    sigma: Tensor,
    without: frozenset[int] = frozenset(),
) -> Tensor:
    """The model's velocity for a layout; levels whose kernel is in `without` are zeroed."""
    text, pooled, image = store.conditions(layout.clips, layout.empty_prompt)
    device = noisy.device
    contexts = []
    for level in layout.levels:
        clean = store.at(layout.clips, level.places)
        if level.kernel in without:
            clean = torch.zeros_like(clean)
        indices = torch.from_numpy(level.indices).to(device)
        contexts.append(Context(level.kernel, clean.to(device), indices))
    indices = torch.from_numpy(layout.target_indices).to(device)
    inputs = (text.to(device), pooled.to(device), image.to(device))
    out: Tensor = model(noisy, sigma, *inputs, indices, contexts)
    return out


def flow_loss(
    model: PackedTransformer,
    store: LatentStore,
    layout: Layout,
    sigma: Tensor,
    generator: torch.Generator,
    device: str = "cpu",
    without: frozenset[int] = frozenset(),
) -> Tensor:
    """‖v − (ε − x)‖² per example [n] at x_σ = (1−σ)x + σε."""
    clean = store.at(layout.clips, layout.target)
    noise = torch.randn(clean.shape, generator=generator)
    s = sigma.view(-1, 1, 1, 1, 1)
    noisy = ((1 - s) * clean + s * noise).to(device)
    with torch.autocast(device.split(":")[0], torch.bfloat16):
        v = predict(model, store, layout, noisy, sigma.to(device), without)
    return (v.float() - (noise - clean).to(device)).square().flatten(1).mean(1)


def held_out_layouts(
    g: int, order: str, batches: int, latents: int, batch: int = 32, least: int = 0
) -> list[Layout]:
    """Fixed layouts over the held-out clips, with the full packing."""
    rng = np.random.default_rng([77, g])
    return [
        layouts.make(rng, order, "f16k4f2k2f1k1", g, batch, HELD_OUT_CLIPS, latents, least=least)
        for _ in range(batches)
    ]


def drawn_levels(recipe: TransformerRecipe, normal: Tensor) -> Tensor:
    """σ = sigmoid(mean + spread · normal), as training draws them of standard normal numbers."""
    return torch.sigmoid(recipe.sigma_mean + recipe.sigma_spread * normal)


def even_levels(count: int) -> Tensor:
    """Noise levels spread evenly over 0.02..0.98, [count]."""
    return torch.linspace(0.02, 0.98, count)


def trained_levels(count: int) -> Tensor:
    """Noise levels as training draws them, [count]: even quantiles of their distribution."""
    normal = torch.special.ndtri((torch.arange(count) + 0.5) / count)
    return drawn_levels(TransformerRecipe(), normal)


def held_out_losses(
    model: PackedTransformer,
    store: LatentStore,
    order: str,
    g: int,
    batches: int = 2,
    without: frozenset[int] = frozenset(),
    device: str = "cpu",
    least: int = 0,
    levels: Callable[[int], Tensor] = even_levels,
) -> Tensor:
    """Losses of held-out examples, [batches, examples of a batch]; the same noise every time.

    `levels` gives the noise levels of a batch, lowest first.
    """
    generator = torch.Generator().manual_seed(1)
    losses = []
    with torch.no_grad():
        for layout in held_out_layouts(g, order, batches, store.length, least=least):
            store.fill(layout.clips)
            sigma = levels(len(layout.clips))
            losses.append(flow_loss(model, store, layout, sigma, generator, device, without))
    return torch.stack(losses)


class Average:
    """Exponential moving average of a model's parameters."""

    def __init__(self, model: torch.nn.Module, most: float) -> None:
        self.most = most
        self.live = list(model.parameters())
        self.kept = [p.detach().clone() for p in self.live]

    def update(self, step: int) -> None:
        """Move towards the live parameters; faster in the beginning."""
        keep = min(self.most, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self.kept, [p.detach() for p in self.live], 1 - keep)

    def swap(self) -> None:
        """Exchange live and averaged parameters."""
        with torch.no_grad():
            for live, kept in zip(self.live, self.kept, strict=True):
                held = live.detach().clone()
                live.copy_(kept)
                kept.copy_(held)


def make_optimisers(
    model: PackedTransformer, recipe: TransformerRecipe
) -> tuple[torch.optim.Optimizer, ...]:
    """Muon (Jordan 2024) for the matrices inside the blocks, AdamW for everything else."""
    inside = ("transformer_blocks.", "refiner_blocks.")
    matrices: list[Tensor] = []
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "norm" not in name and any(part in name for part in inside):
            matrices.append(parameter)
        else:
            (decayed if parameter.dim() > 1 else others).append(parameter)
    hidden = {"params": matrices, "peak": recipe.matrix_rate, "weight_decay": recipe.weight_decay}
    groups = [
        {"params": decayed, "peak": recipe.learning_rate, "weight_decay": recipe.weight_decay},
        {"params": others, "peak": recipe.learning_rate, "weight_decay": 0.0},
    ]
    return (
        torch.optim.Muon([hidden], adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True),
    )


def train(
    recipe: TransformerRecipe,
    checkpoint: Path,
    scratch: Path,
    *,
    log: Callable[[dict[str, Any]], None],
    part: str = "transformer",
    start: PackedTransformer | None = None,
    stop_after: int | None = None,
    device: str = "cpu",
    fast: bool = True,
    check_every: float = 900,
) -> PackedTransformer:
    """Train (or go on training) to the recipe's steps and return the averaged network.

    It begins with `start`, or untrained. Everything drawn in a step depends on seed and step only.
    State is saved to `scratch/PART.pt` every two minutes; `stop_after` ends early after so many
    steps. `fast` compiles the blocks, which pays after a few hundred steps.
    """
    model = (start or build(recipe)).to(device)
    model.use_plain_attention()
    folder = scratch / "latents" if fast else None
    store = LatentStore(checkpoint, recipe.clips, recipe.latents, folder=folder)
    held = LatentStore(checkpoint, HELD_OUT_CLIPS, recipe.latents, HELD_OUT, folder)
    average = Average(model, recipe.ema)
    optimisers = make_optimisers(model, recipe)
    step, path, before = 0, scratch / f"{part}.pt", 0.0
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        for optimiser, kept in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        average.kept, step, before = state["average"], state["step"], state["seconds"]
    if fast:
        for block in [*model.base.transformer_blocks, *model.base.single_transformer_blocks]:
            block.compile(dynamic=True)
    saved = checked = started = time.monotonic()
    recent: list[float] = []
    samples = 0
    steps, decay = recipe.steps, recipe.decay
    while step < (steps if stop_after is None else min(steps, stop_after)):
        rng = np.random.default_rng([recipe.seed, step])
        layout = layouts.draw(rng, recipe)
        store.fill(layout.clips)
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        normal = torch.randn(len(layout.clips), generator=generator)
        sigma = drawn_levels(recipe, normal)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * rate(step, steps, recipe.warmup, decay)
        loss = flow_loss(model, store, layout, sigma, generator, device).mean()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        average.update(step)
        recent.append(loss.item())
        samples += len(layout.clips)
        step += 1
        now = time.monotonic()
        seconds = before + now - started
        if step <= 20 or step % 100 == 0:
            rate_now = samples / (now - started)
            mean = float(np.mean(recent[-100:])) if step > 20 else recent[-1]
            record = {"part": part, "step": step, "loss": mean, "seconds": seconds}
            log({**record, "samples_per_second": rate_now})
        last = step >= steps
        if now - checked > check_every or last:
            checked = now
            average.swap()
            for order, g in CHECKS:
                full = float(held_out_losses(model, held, order, g, 1, device=device).mean())
                record = {"part": "held out", "of": part, "step": step, "order": order, "g": g}
                record["loss"] = full
                for kernel in (2, 4):
                    without = frozenset({kernel})
                    zeroed = held_out_losses(model, held, order, g, 1, without, device)
                    record[f"without_k{kernel}"] = float(zeroed.mean()) / full - 1
                log(record)
            average.swap()
        if now - saved > 120 or last or step == stop_after:
            saved = now
            state = {"model": model.state_dict(), "average": average.kept}
            state |= {"optimisers": [o.state_dict() for o in optimisers]}
            state |= {"step": step, "seconds": seconds}
            torch.save(state, path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
    average.swap()
    return model


def restore(checkpoint: Path) -> PackedTransformer:
    """The network of a checkpoint folder, in float32, ready for `predict`."""
    folder = checkpoint / "transformer"
    loader: Any = HunyuanVideoFramepackTransformer3DModel
    base = loader.from_pretrained(folder)
    model = PackedTransformer(base)
    kernel = load_file(folder / "history_embedder_k8.safetensors")
    with torch.no_grad():
        model.proj_8x.weight.copy_(kernel["weight"])
        assert model.proj_8x.bias is not None
        model.proj_8x.bias.copy_(kernel["bias"])
    model.use_plain_attention()
    return model.eval()
