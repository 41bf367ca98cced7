"""ViCLIP: a video and a sentence into one space, where agreement is a cosine.

Wang et al., "InternVid: A Large-scale Video-Text Dataset for Multimodal Understanding and
Generation" (ICLR 2024). CLIP's ViT-L/14 whose image encoder attends over the patches of all frames
at once (one class token per video, a learnt embedding per time step) and whose text encoder reads
at most 32 tokens.

`load_state_dict` takes the `model` entry of the published `ViClip-InternVid-10M-FLT.pth`. Smaller
sizes exist for tests only.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """What the shapes of a weight file follow from; the defaults are the published model's."""

    resolution: int = 224
    patch: int = 14
    frames: int = 8
    vision_width: int = 1024
    vision_layers: int = 24
    text_width: int = 768
    text_layers: int = 12
    words: int = 49408
    tokens: int = 32
    embedding: int = 768
    head_width: int = 64


PUBLISHED = Size()


class QuickGELU(nn.Module):
    """x · σ(1.702 x): OpenAI CLIP's activation. Exact GELU gives other features."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x * torch.sigmoid(1.702 * x)


class ResidualBlock(nn.Module):
    """Attention, then a two-layer perceptron, each on a normalised copy and added back."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[tokens, B, width] to the same; `mask` [tokens, tokens] is added to the attention."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """A stack of residual blocks."""

    def __init__(self, width: int, layers: int, head_width: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(
            ResidualBlock(width, width // head_width) for _ in range(layers)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[tokens, B, width] to the same."""
        for block in self.resblocks:
            x = block(x, mask)
        return x


class VideoEncoder(nn.Module):
    """Frames to one embedding."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.vision_width
        patches = (size.resolution // size.patch) ** 2
        kernel = (1, size.patch, size.patch)
        self.conv1 = nn.Conv3d(3, width, kernel, kernel, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(patches + 1, width))
        self.temporal_positional_embedding = nn.Parameter(torch.zeros(1, size.frames, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, size.vision_layers, size.head_width)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, size.embedding))

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, 3, H, W], CLIP-normalised, T = 8 (or 1), to [B, embedding], not normalised."""
        patches = self.conv1(frames.transpose(1, 2))  # [B, width, T, rows, columns]
        tokens = patches.flatten(3).permute(0, 2, 3, 1) + self.positional_embedding[1:]
        moments: Tensor = self.temporal_positional_embedding
        if frames.shape[1] == 1:
            moments = moments.mean(dim=1, keepdim=True)
        tokens = (tokens + moments[:, :, None]).transpose(1, 2).flatten(1, 2)  # time runs fastest
        summary = self.class_embedding + self.positional_embedding[0]
        x = torch.cat((summary.expand(len(tokens), 1, -1), tokens), dim=1)
        x = self.transformer(self.ln_pre(x).transpose(0, 1))
        return self.ln_post(x[0]) @ self.proj  # type: ignore[no-any-return]


class TextEncoder(nn.Module):
    """Tokens to one embedding, read off at the end-of-text token."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.text_width
        self.transformer = Transformer(width, size.text_layers, size.head_width)
        self.token_embedding = nn.Embedding(size.words, width)
        self.positional_embedding = nn.Parameter(torch.zeros(size.tokens, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, size.embedding))

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, 32] token ids, padded with zeros, to [B, embedding], not normalised."""
        count = tokens.shape[1]
        future = torch.full((count, count), float("-inf"), device=tokens.device).triu(1)
        x = self.token_embedding(tokens) + self.positional_embedding[:count]
        x = self.transformer(x.transpose(0, 1), future).transpose(0, 1)
        end = tokens.argmax(dim=-1)  # the end-of-text token has the highest id
        rows = torch.arange(len(tokens), device=tokens.device)
        return self.ln_final(x)[rows, end] @ self.text_projection  # type: ignore[no-any-return]


class ViCLIP(nn.Module):
    """Both encoders and the training temperature, under the published names."""

    def __init__(self, size: Size = PUBLISHED) -> None:
        super().__init__()
        self.vision_encoder = VideoEncoder(size)
        self.text_encoder = TextEncoder(size)
        self.temp = nn.Parameter(torch.ones(()) / 100)

    def encode_video(self, frames: Tensor) -> Tensor:
        """[B, T, 3, 224, 224], CLIP-normalised, to unit vectors [B, 768]."""
        return nn.functional.normalize(self.vision_encoder(frames).float(), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """[B, 32] token ids to unit vectors [B, 768]."""
        return nn.functional.normalize(self.text_encoder(tokens).float(), dim=-1)


def tokenize(texts: list[str], context: int = PUBLISHED.tokens) -> Tensor:
    """CLIP's byte-pair tokens: [n, context] int64, cut to `context` with the end token kept.

    The vocabulary is CLIP's, which open_clip carries. Special tokens written out in a prompt are
    read as plain text.
    """
    from open_clip import SimpleTokenizer  # type: ignore[import-untyped]

    tokens: Tensor = SimpleTokenizer(context_length=context)(texts)
    return tokens
