"""A small video autoencoder with the interface of diffusers' `AutoencoderKLHunyuanVideo`.

Hunyuan's compresses 8×8 pixels and 4 frames into one latent cell, and treats the first frame alone
(1 + 4k frames become 1 + k latent frames). It does not train on two cores; this one does, as it has
no temporal convolution: four frames are stacked as channels and every group of four is coded
alone (the first frame is repeated four times). Decoding is therefore exact per chunk: a chunk that
begins in the middle of a video gives the same pixels as the whole video does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

GROUP = 4
"""Frames coded into one latent frame."""


@dataclass(frozen=True)
class ExactLatents:
    """A distribution without spread: what `encode` found. Sampling it draws no random numbers."""

    mean: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return the mean; `generator` is accepted and left untouched."""
        del generator
        return self.mean

    def mode(self) -> Tensor:
        """Return the mean."""
        return self.mean


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, two 3×3 convolutions, identity at the start of training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        hidden: Tensor = self.second(F.silu(self.first(F.silu(self.norm(x)))))
        return x + hidden


class PocketAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Videos [B, 3, 1+4k, H, W] in −1..1 to latents [B, C, 1+k, H/8, W/8] and back."""

    decodes_alone = True
    """Every latent frame decodes alone, whatever its neighbours: none has to be decoded twice."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 32,
        fine_channels: int = 64,
        coarse_channels: int = 128,
        encoder_blocks: tuple[int, int] = (1, 2),
        decoder_blocks: tuple[int, int] = (2, 3),
        scaling_factor: float = 1.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.temporal_compression_ratio = GROUP
        self.spatial_compression_ratio = 8
        pixels = 3 * GROUP * 16
        fine, coarse = fine_channels, coarse_channels
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(pixels, fine, 3, padding=1),
            *(ResidualBlock(fine) for _ in range(encoder_blocks[0])),
            nn.PixelUnshuffle(2),
            nn.Conv2d(fine * 4, coarse, 1),
            *(ResidualBlock(coarse) for _ in range(encoder_blocks[1])),
            nn.GroupNorm(8, coarse),
            nn.SiLU(),
            nn.Conv2d(coarse, latent_channels, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, coarse, 3, padding=1),
            *(ResidualBlock(coarse) for _ in range(decoder_blocks[1])),
            nn.Conv2d(coarse, fine * 4, 1),
            nn.PixelShuffle(2),
            *(ResidualBlock(fine) for _ in range(decoder_blocks[0])),
            nn.GroupNorm(8, fine),
            nn.SiLU(),
            nn.Conv2d(fine, pixels, 3, padding=1),
            nn.PixelShuffle(4),
        )
        self.register_buffer("latents_mean", torch.zeros(latent_channels))
        self.register_buffer("latents_std", torch.ones(latent_channels))

    def encode_groups(self, groups: Tensor) -> Tensor:
        """Frames [N, 12, H, W] (four RGB frames stacked) to latents [N, C, H/8, W/8]."""
        z = self.encoder(groups)
        out: Tensor = (z - self.latents_mean[:, None, None]) / self.latents_std[:, None, None]
        return out

    def decode_groups(self, latents: Tensor) -> Tensor:
        """Invert `encode_groups`."""
        z = latents * self.latents_std[:, None, None] + self.latents_mean[:, None, None]
        out: Tensor = self.decoder(z)
        return out

    def encode(
        self, x: Tensor, return_dict: bool = True
    ) -> AutoencoderKLOutput | tuple[ExactLatents]:
        """Encode a video [B, 3, 1+4k, H, W], −1..1; ValueError when the frames are not 1+4k."""
        if x.shape[2] % GROUP != 1:
            raise ValueError(f"the autoencoder takes 1+4k frames, not {x.shape[2]}")
        batch = x.shape[0]
        padded = torch.cat([x[:, :, :1].expand(-1, -1, GROUP - 1, -1, -1), x], 2)
        groups = torch.unflatten(padded, 2, (-1, GROUP)).permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
        coded = self.encode_groups(groups.flatten(0, 1))
        z = torch.unflatten(coded, 0, (batch, -1)).transpose(1, 2)
        latents = ExactLatents(z)
        return AutoencoderKLOutput(latent_dist=latents) if return_dict else (latents,)

    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Decode latents [B, C, n, h, w] to 4n−3 frames: the first latent frame gives one."""
        batch = z.shape[0]
        groups = self.decode_groups(z.transpose(1, 2).flatten(0, 1))
        video = torch.unflatten(torch.unflatten(groups, 0, (batch, -1)), 2, (GROUP, 3))
        video = video.permute(0, 3, 1, 2, 4, 5).flatten(2, 3)[:, :, GROUP - 1 :]
        return DecoderOutput(sample=video) if return_dict else (video,)

    def forward(self, sample: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Encode and decode."""
        (latents,) = self.encode(sample, return_dict=False)
        return self.decode(latents.mode(), return_dict=return_dict)

    def enable_tiling(self, *_: object, **__: object) -> None:
        """Accepted for callers of Hunyuan's autoencoder; frames are small, nothing changes."""

    def disable_tiling(self) -> None:
        """Accepted for callers of Hunyuan's autoencoder; nothing changes."""

    def enable_slicing(self) -> None:
        """Accepted for callers of Hunyuan's autoencoder; nothing changes."""

    def disable_slicing(self) -> None:
        """Accepted for callers of Hunyuan's autoencoder; nothing changes."""
