"""A tiny random checkpoint in the published layout: all nine components, made offline.

The classes are the published ones: AutoencoderKLHunyuanVideo, a transformer with distilled
guidance, LLaMA, CLIP, SigLIP, and a scheduler with dynamic shifting.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoFramepackPipeline,
    HunyuanVideoFramepackTransformer3DModel,
)
from PIL import Image

from bench.pocket import components

LATENT_CHANNELS = 4


def build_tiny(folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint and give its folder."""
    torch.manual_seed(seed)
    transformer = HunyuanVideoFramepackTransformer3DModel(
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        patch_size=2,
        patch_size_t=1,
        guidance_embeds=True,
        text_embed_dim=components.TEXT_DIM,
        pooled_projection_dim=components.TEXT_DIM,
        rope_axes_dim=(4, 4, 4),
        has_image_proj=True,
        image_proj_dim=components.IMAGE_DIM,
        has_clean_x_embedder=True,
    )
    vae = AutoencoderKLHunyuanVideo(
        in_channels=3,
        out_channels=3,
        latent_channels=LATENT_CHANNELS,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        norm_num_groups=4,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
        mid_block_add_attention=True,
    )
    pipe = HunyuanVideoFramepackPipeline(
        text_encoder=components.text_encoder(),
        tokenizer=components.prompt_tokenizer(),
        transformer=transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        text_encoder_2=components.clip_encoder(),
        tokenizer_2=components.clip_tokenizer(),
        image_encoder=components.image_encoder(),
        feature_extractor=components.SiglipImageProcessor(size={"height": 32, "width": 32}),
    )
    pipe.save_pretrained(folder)
    return folder


def picture(seed: int = 0, height: int = 40, width: int = 56) -> Image.Image:
    """A random image; not of the video's size, so that resizing is exercised."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
