"""The FramePack transformer with any context levels, written for training speed.

The weights are those of diffusers' `HunyuanVideoFramepackTransformer3DModel`; this module runs them
on contexts its forward does not take (missing levels, k8) and faster on a CPU: patches by reshape
and matrix product instead of Conv3d, attention with few passes over memory. A test holds both
forwards against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn

Rope = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Context:
    """Clean frames [B, C, T, H, W] seen through one kernel, and their RoPE indices [T]."""

    kernel: int
    latents: Tensor
    indices: Tensor


class UnshiftedAttention(torch.autograd.Function):
    """softmax(q kᵀ) v for [n, tokens, D], without subtracting the row's maximum.

    Queries and keys are RMS-normalised, so no exponent is large; leaving the maximum out, and
    dividing after the second product, spares four passes over the attention matrix. On two cores a
    training step spends more time on such passes than on products.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Keep the unnormalised weights for the backward pass."""
        with torch.autocast(q.device.type, enabled=False):
            p = torch.bmm(q, k.transpose(1, 2)).exp_()
            z = p.sum(-1, keepdim=True, dtype=torch.float32)
            out = (torch.bmm(p, v) / z).to(v.dtype)
        ctx.save_for_backward(q, k, v, p, out, z)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """dS = P ∘ (dO vᵀ − Σ dO ∘ O), with dO divided by the row sums once."""
        q, k, v, p, out, z = ctx.saved_tensors
        with torch.autocast(q.device.type, enabled=False):
            g = (gradients[0] / z).to(v.dtype)
            inner = (g.float() * out.float()).sum(-1, keepdim=True).to(v.dtype)
            dv = torch.bmm(p.transpose(1, 2), g)
            ds = torch.bmm(g, v.transpose(1, 2)).sub_(inner).mul_(p)
            return torch.bmm(ds, k), torch.bmm(ds.transpose(1, 2), q), dv


class PlainAttention:
    """Diffusers' joint attention for this model, without a mask: every caption is equally long."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """Attend over latent tokens, then text tokens; RoPE touches the former only."""
        text = encoder_hidden_states.shape[1]
        joint = attn.add_q_proj is None
        x = torch.cat([hidden_states, encoder_hidden_states], 1) if joint else hidden_states

        def heads(t: Tensor) -> Tensor:
            return t.view(*t.shape[:2], attn.heads, -1)

        q, k, v = (heads(project(x)) for project in (attn.to_q, attn.to_k, attn.to_v))
        q, k = attn.norm_q(q), attn.norm_k(k)
        length = hidden_states.shape[1]
        rotate: Any = apply_rotary_emb
        q, k = (
            torch.cat(
                [rotate(t[:, :length], image_rotary_emb, sequence_dim=1), t[:, length:]],
                1,
            )
            for t in (q, k)
        )
        if not joint:
            added = [
                heads(project(encoder_hidden_states))
                for project in (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
            ]
            q = torch.cat([q, attn.norm_added_q(added[0])], 1)
            k = torch.cat([k, attn.norm_added_k(added[1])], 1)
            v = torch.cat([v, added[2]], 1)
        q = q * q.shape[-1] ** -0.5
        b, h = v.shape[0], v.shape[2]
        q, k, v = (t.to(v.dtype).transpose(1, 2).flatten(0, 1) for t in (q, k, v))
        attend: Any = UnshiftedAttention.apply
        out = attend(q, k, v).view(b, h, q.shape[1], -1).transpose(1, 2).flatten(2, 3)
        latent_out, text_out = out[:, :-text], out[:, -text:]
        if getattr(attn, "to_out", None) is not None:
            latent_out = attn.to_out[1](attn.to_out[0](latent_out))
        if getattr(attn, "to_add_out", None) is not None:
            text_out = attn.to_add_out(text_out)
        return latent_out, text_out


def patches(latents: Tensor, kernel: tuple[int, int, int]) -> Tensor:
    """[B, C, T, H, W], padded by repetition to the kernel, to [B, tokens, C·kt·kh·kw]."""
    kt, kh, kw = kernel
    t, h, w = latents.shape[2:]
    extra = (0, -w % kw, 0, -h % kh, 0, -t % kt)
    x = F.pad(latents, extra, mode="replicate") if any(extra) else latents
    b, c, t, h, w = x.shape
    x = x.view(b, c, t // kt, kt, h // kh, kh, w // kw, kw)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(b, -1, c * kt * kh * kw)


class PackedTransformer(nn.Module):
    """A FramePack transformer that takes any list of context levels.

    k8 (8, 16, 16) is the average over 2×2×2 latent cells followed by a projection of k4's shape, as
    a full kernel would have more weights than the rest of the model; tiling it and dividing by 8
    gives the equivalent full kernel.
    """

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base
        embed = base.clean_x_embedder
        self.proj_8x = nn.Conv3d(embed.proj_4x.in_channels, embed.proj_4x.out_channels, (4, 8, 8))
        with torch.no_grad():
            self.proj_8x.weight.copy_(embed.proj_4x.weight)
            assert self.proj_8x.bias is not None
            self.proj_8x.bias.copy_(embed.proj_4x.bias)

    def use_plain_attention(self) -> None:
        """Replace the attention of every block by `PlainAttention`."""
        for block in [*self.base.transformer_blocks, *self.base.single_transformer_blocks]:
            block.attn.set_processor(PlainAttention())

    def _embed(self, latents: Tensor, kernel: int) -> Tensor:
        embed = self.base.clean_x_embedder
        if kernel == 8:
            t, h, w = latents.shape[2:]
            padded = F.pad(latents, (0, -w % 16, 0, -h % 16, 0, -t % 8), mode="replicate")
            return self._embed_with(self.proj_8x, F.avg_pool3d(padded, 2))
        return self._embed_with(
            {1: embed.proj, 2: embed.proj_2x, 4: embed.proj_4x}[kernel], latents
        )

    @staticmethod
    def _embed_with(projection: nn.Conv3d, latents: Tensor) -> Tensor:
        kt, kh, kw = projection.weight.shape[2:]
        found = patches(latents, (kt, kh, kw))
        return F.linear(found, projection.weight.flatten(1), projection.bias)

    def _rope(self, indices: Tensor, kernel: int, height: int, width: int) -> Rope:
        rope: Rope = self.base.rope(indices, height, width, indices.device)
        if kernel == 1:
            return rope
        cells = (height // 2, width // 2)
        pooled: Rope = self.base._pad_rotary_emb(rope, *cells, (kernel, kernel, kernel))
        return pooled

    def forward(
        self,
        noisy: Tensor,
        sigma: Tensor,
        text: Tensor,
        pooled: Tensor,
        image: Tensor,
        indices: Tensor,
        contexts: Sequence[Context],
    ) -> Tensor:
        """Predict the velocity (noise − clean) of `noisy` [B, C, g, H, W].

        sigma [B] in 0..1; text [B, words, D]; pooled [B, D]; image [B, 1, D]; indices [g].
        Levels with fewer frames than zero tokens are left out by the caller.
        """
        base = self.base
        b, _, g, height, width = noisy.shape
        hidden = [self._embed(c.latents, c.kernel) for c in contexts]
        ropes = [self._rope(c.indices, c.kernel, height, width) for c in contexts]
        hidden.append(self._embed_with(base.x_embedder.proj, noisy))
        ropes.append(self._rope(indices, 1, height, width))
        x = torch.cat(hidden, 1)
        rope = torch.cat([r[0] for r in ropes]), torch.cat([r[1] for r in ropes])
        time = sigma * 1000
        temb, _ = base.time_text_embed(time, pooled, None)
        words = base.context_embedder(text, time, text.new_ones(text.shape[:2], dtype=torch.long))
        words = torch.cat([base.image_projection(image), words], 1)
        blocks: list[Any] = [*base.transformer_blocks, *base.single_transformer_blocks]
        for block in blocks:
            x, words = block(x, words, temb, None, rope)
        cells = g * (height // 2) * (width // 2)
        out = base.proj_out(base.norm_out(x[:, -cells:], temb))
        out = out.reshape(b, g, height // 2, width // 2, -1, 2, 2)
        video: Tensor = out.permute(0, 4, 1, 2, 5, 3, 6).reshape(b, -1, g, height, width)
        return video
