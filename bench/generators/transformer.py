"""The FramePack transformer on any context: missing levels, further kernels, tails, TeaCache.

`PackedTransformer` has the weights and modules of diffusers' class and another forward. What does
not change between the steps of a section (context tokens, RoPE phases) is computed once; what does
not change between sections, seeds and batches (refined text tokens of a timestep) is kept. Where
both forwards can be run they give the same bits, which a test asserts.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import HunyuanVideoFramepackTransformer3DModel
from torch import Tensor

from bench.generators.base import ContextFrames
from bench.generators.projections import Projection, pad_to
from bench.generators.teacache import TeaCache
from bench.packing import KERNELS, TAIL_POOL, Kernel

Rope = tuple[Tensor, Tensor]
"""Cosines and sines [tokens, head size]."""

KEPT_TEXT = 256 * 1024**2
"""Bytes of refined text tokens that are kept: all of a small model's, few of a large one's."""


@dataclass(frozen=True)
class TextInputs:
    """One prompt and image as the model reads them; batch size 1."""

    key: str
    """Identifies the prompt and image among all that are seen."""
    embeds: Tensor
    """[1, words, D]"""
    mask: Tensor
    """[1, words]"""
    pooled: Tensor
    """[1, P]"""
    image: Tensor
    """[1, image tokens, I]"""


class TextTokens:
    """Refined text and image tokens [1, n, inner], kept by prompt and timestep."""

    def __init__(self, limit: int = KEPT_TEXT) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[str, float], Tensor] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, float]) -> Tensor | None:
        """The tokens, or None where they were never made or had to go."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: tuple[str, float], tokens: Tensor) -> None:
        """Keep tokens; those unused for longest go first."""
        self._kept[key] = tokens
        self._bytes += tokens.nbytes
        while self._bytes > self._limit and self._kept:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes


@dataclass
class SectionState:
    """What is fixed while one section is denoised."""

    contexts: Sequence[ContextFrames]
    target_indices: Sequence[int]
    texts: TextTokens
    projections: dict[Kernel, Projection] = field(default_factory=dict)
    """Projections that the checkpoint's class does not have."""
    causal: bool = False
    """Whether no token reads tokens of later frames; the target's frames read each other."""
    packed: tuple[Tensor | None, Rope] | None = None
    """Context tokens [B, n, inner] (None without contexts) and the phases of the whole sequence."""


Base: Any = HunyuanVideoFramepackTransformer3DModel


class PackedTransformer(Base):  # type: ignore[misc]
    """Diffusers' FramePack transformer with contexts as a list."""

    def forward(
        self,
        noisy: Tensor,
        timestep: Tensor,
        conditions: Sequence[TextInputs],
        guidance: Tensor,
        state: SectionState,
        teacache: TeaCache | None = None,
    ) -> Tensor:
        """Predict the velocity of `noisy` [B, C, S, h, w] at `timestep` [B]."""
        batch, _, frames, height, width = noisy.shape
        p = self.config.patch_size
        rows, columns = height // p, width // p
        target = frames * rows * columns
        hidden = self.x_embedder(noisy)
        context, rope = self._packed(state, height, width)
        if context is not None:
            hidden = torch.cat([context, hidden], dim=1)

        pooled = torch.cat([condition.pooled for condition in conditions])
        temb, _ = self.time_text_embed(timestep, pooled, guidance)
        text, mask = self._text(conditions, timestep, hidden, state.texts)

        if state.causal:
            times = token_times(state.contexts, state.target_indices, rows, columns)
            causal = causal_mask(times.to(hidden.device), text.shape[1])
            mask = causal if mask is None else causal & mask

        def run(cells: list[int] | None) -> Tensor:
            if cells is None:
                return self._blocks(hidden, text, temb, mask, rope)[:, -target:]
            chosen = mask if mask is None or len(mask) == 1 else mask[cells]
            return self._blocks(hidden[cells], text[cells], temb[cells], chosen, rope)[:, -target:]

        if teacache is None:
            out = run(None)
        else:
            modulated = self.transformer_blocks[0].norm1(hidden, emb=temb)[0]
            out = teacache.apply(modulated, hidden[:, -target:], run)
        out = self.proj_out(self.norm_out(out, temb))
        out = out.reshape(batch, frames, rows, columns, -1, p, p)
        velocity: Tensor = out.permute(0, 4, 1, 2, 5, 3, 6).reshape(
            batch, -1, frames, height, width
        )
        return velocity

    def _blocks(
        self, hidden: Tensor, text: Tensor, temb: Tensor, mask: Tensor | None, rope: Rope
    ) -> Tensor:
        for block in (*self.transformer_blocks, *self.single_transformer_blocks):
            hidden, text = block(hidden, text, temb, mask, rope)
        return hidden

    def _text(
        self,
        conditions: Sequence[TextInputs],
        timestep: Tensor,
        hidden: Tensor,
        kept: TextTokens,
    ) -> tuple[Tensor, Tensor | None]:
        """Image and text tokens of every cell [B, n, inner], and a mask where lengths differ.

        Each prompt is refined alone, so that it reads the same in any batch.
        """
        now = float(timestep[0])
        tokens = []
        for condition in conditions:
            found = kept.get((condition.key, now))
            if found is None:
                found = self._refined(condition, timestep[:1])
                kept.put((condition.key, now), found)
            tokens.append(found)
        lengths = [found.shape[1] for found in tokens]
        longest = max(lengths)
        text = torch.cat([F.pad(t, (0, 0, 0, longest - t.shape[1])) for t in tokens])
        if len(set(lengths)) == 1:
            return text, None
        mask = torch.ones(
            len(tokens), hidden.shape[1] + longest, dtype=torch.bool, device=hidden.device
        )
        for cell, length in enumerate(lengths):
            mask[cell, hidden.shape[1] + length :] = False
        return text, mask[:, None, None, :]

    def _refined(self, condition: TextInputs, timestep: Tensor) -> Tensor:
        refined = self.context_embedder(condition.embeds, timestep, condition.mask)
        image = self.image_projection(condition.image)
        words = int(condition.mask.sum(dim=1, dtype=torch.int)[0])
        return torch.cat([image, refined], dim=1)[:, : image.shape[1] + words]

    # Contexts

    def _packed(self, state: SectionState, height: int, width: int) -> tuple[Tensor | None, Rope]:
        """Context tokens, and the phases of contexts and target."""
        if state.packed is None:
            tokens = [self._embed(context, state.projections) for context in state.contexts]
            ropes = [self._pooled_phases(c, height, width) for c in state.contexts]
            ropes.append(self._phases(state.target_indices, height, width))
            cosines, sines = zip(*ropes, strict=True)
            state.packed = (
                torch.cat(tokens, dim=1) if tokens else None,
                (torch.cat(cosines), torch.cat(sines)),
            )
        return state.packed

    def _embed(self, context: ContextFrames, extra: dict[Kernel, Projection]) -> Tensor:
        """One context's tokens [B, n, inner]."""
        embedder = self.clean_x_embedder
        own = {
            KERNELS[1]: embedder.proj,
            KERNELS[2]: embedder.proj_2x,
            KERNELS[4]: embedder.proj_4x,
        }
        latents = context.latents.to(self.dtype)
        projection: Any = own.get(context.kernel) or extra[context.kernel]
        if context.pool:
            return _embed_pooled(latents, context.pool, projection.weight, projection.bias)
        padded = pad_to(latents, tuple(context.kernel))
        tokens: Tensor = projection(padded).flatten(2).transpose(1, 2)
        return tokens

    def _phases(self, indices: Sequence[int], height: int, width: int) -> Rope:
        frames = torch.tensor(list(indices))
        rope: Rope = self.rope(frames, height, width, self.x_embedder.proj.weight.device)
        return rope

    def _pooled_phases(self, context: ContextFrames, height: int, width: int) -> Rope:
        """Full-resolution phases, average-pooled with the context's kernel."""
        cosines, sines = self._phases(context.indices, height, width)
        if context.pool == "compress":
            return cosines.mean(0, keepdim=True), sines.mean(0, keepdim=True)
        pool = context.kernel.pool
        if context.pool == "append":
            pool = (1, TAIL_POOL // 2, TAIL_POOL // 2)
        if pool == (1, 1, 1):
            return cosines, sines
        p = self.config.patch_size
        pooled: Rope = self._pad_rotary_emb((cosines, sines), height // p, width // p, pool)
        return pooled


def token_times(
    contexts: Sequence[ContextFrames], target_indices: Sequence[int], rows: int, columns: int
) -> Tensor:
    """The latest frame index that each latent token covers; all target tokens have the last one."""
    times = []
    for context in contexts:
        steps = context.indices
        if context.pool == "compress":
            times.append(torch.tensor([max(steps)]))
            continue
        reach, high, wide = (
            (1, TAIL_POOL // 2, TAIL_POOL // 2) if context.pool else context.kernel.pool
        )
        groups = [max(steps[i : i + reach]) for i in range(0, len(steps), reach)]
        cells = -(-rows // high) * -(-columns // wide)
        times.append(torch.tensor(groups).repeat_interleave(cells))
    target = torch.full((len(target_indices) * rows * columns,), max(target_indices))
    return torch.cat([*times, target])


def causal_mask(times: Tensor, text: int) -> Tensor:
    """Who may read whom [1, 1, n + text, n + text], latent tokens first, then text.

    A latent token reads latents that are not later than itself, and all text; text reads text, or
    later frames would reach earlier ones through it.
    """
    n = len(times)
    mask = torch.zeros(n + text, n + text, dtype=torch.bool, device=times.device)
    mask[:n, :n] = times[:, None] >= times[None, :]
    mask[:, n:] = True
    return mask[None, None]


def _embed_pooled(latents: Tensor, pool: str, weight: Tensor, bias: Tensor) -> Tensor:
    """Tokens of a tail: every pooled value fills one patch of the nearest kernel."""
    if pool == "append":
        kernel = (1, TAIL_POOL, TAIL_POOL)
        values = F.avg_pool3d(pad_to(latents, kernel), kernel)
    else:
        values = latents.mean(dim=(2, 3, 4), keepdim=True)
    return F.linear(values.flatten(2).transpose(1, 2), weight.sum(dim=(2, 3, 4)), bias)
