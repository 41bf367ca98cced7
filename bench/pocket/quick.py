"""The suite's FramePack generator with a faster denoiser, for measuring a checkpoint on a CPU.

Plans, contexts, noise, schedule and decoding are the generator's own; only the network runs in
bfloat16 through `bench.pocket.history`, some four times as fast. Frames therefore differ from the
generator's in the last digits, and measurements made with this are not about single pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.generators.base import ContextFrames, Denoised, OnStep
from bench.generators.conditions import Condition
from bench.generators.framepack import FramePack
from bench.generators.framepack_config import Config
from bench.generators.transformer import TextInputs
from bench.pocket.history import Context
from bench.pocket.train_transformer import restore


class QuickFramePack(FramePack):
    """A pocket checkpoint with plain attention in bfloat16; no options but steps and guidance."""

    def __init__(self, checkpoint: Path, steps: int, cfg: float) -> None:
        super().__init__(
            Config(
                checkpoint=str(checkpoint),
                dtype="float32",
                device="cpu",
                decode_batch=8,
                steps=steps,
                cfg=cfg,
                offline=True,
            )
        )
        self.quick = restore(checkpoint)

    def denoise(
        self,
        conditions: Sequence[Condition],
        contexts: Sequence[ContextFrames],
        target_indices: Sequence[int],
        noise: Tensor,
        on_step: OnStep | None = None,
        unguided: Sequence[ContextFrames] | None = None,
    ) -> Denoised:
        """One section by flow matching with Euler steps and true guidance."""
        values = self._settings.values
        steps, cfg = int(values["steps"]), float(values["cfg"])
        scheduler, timesteps = self._schedule(noise, steps)
        seen = [Context(c.kernel.time, c.latents, torch.tensor(c.indices)) for c in contexts]
        indices = torch.tensor(list(target_indices))
        sides = [batched([c.positive for c in conditions])]
        if cfg > 1:
            sides.append(batched([c.negative for c in conditions if c.negative is not None]))
        latents = noise
        for now in timesteps:
            sigma = (now / 1000).expand(len(conditions))
            with torch.autocast("cpu", torch.bfloat16):
                found = [self.quick(latents, sigma, *side, indices, seen).float() for side in sides]
            velocity = found[-1] + cfg * (found[0] - found[-1]) if cfg > 1 else found[0]
            latents = scheduler.step(velocity, now, latents, return_dict=False)[0]
        return Denoised(latents, 0)


def batched(texts: Sequence[TextInputs]) -> tuple[Tensor, Tensor, Tensor]:
    """Text [b, words, D] without padding, pooled [b, P] and image [b, n, I] embeddings."""
    words = {int(text.mask.sum()) for text in texts}
    if len(words) != 1:
        raise ValueError(f"captions of one batch must be equally long, not {sorted(words)} words")
    length = words.pop()
    return (
        torch.cat([text.embeds[:, :length] for text in texts]),
        torch.cat([text.pooled for text in texts]),
        torch.cat([text.image for text in texts]),
    )
