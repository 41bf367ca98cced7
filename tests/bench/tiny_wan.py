"""Tiny random checkpoints of the Wan family in the published layout, made offline.

SkyReels-V2 and Helios share Wan's autoencoder (AutoencoderKLWan), text encoder (UMT5) and T5
tokenizer; they differ in transformer and scheduler.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    HeliosPipeline,
    HeliosScheduler,
    HeliosTransformer3DModel,
    SkyReelsV2DiffusionForcingPipeline,
    SkyReelsV2Transformer3DModel,
    UniPCMultistepScheduler,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

TEXT_DIM = 16
LATENT_CHANNELS = 4
WORDS = ("<pad>", "</s>", "<unk>", "a", "person", "walks", "runs", "blurred")


def shared(seed: int = 0) -> dict[str, Any]:
    """Autoencoder, text encoder and tokenizer."""
    torch.manual_seed(seed)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    make: Any = PreTrainedTokenizerFast
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 0.7, 1.0, 2.0],
    )
    encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(WORDS),
            d_model=TEXT_DIM,
            d_kv=8,
            d_ff=16,
            num_layers=1,
            num_heads=2,
            pad_token_id=0,
            eos_token_id=1,
        )
    )
    return {
        "vae": vae,
        "text_encoder": encoder,
        "tokenizer": make(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"),
    }


def build_skyreels(folder: Path, seed: int = 0) -> Path:
    """SkyReels-V2 diffusion forcing."""
    parts = shared(seed)
    transformer = SkyReelsV2Transformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_DIM,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        inject_sample_info=True,
    )
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0
    )
    pipe = SkyReelsV2DiffusionForcingPipeline(transformer=transformer, scheduler=scheduler, **parts)
    pipe.save_pretrained(folder)
    return folder


def build_helios(folder: Path, seed: int = 0) -> Path:
    """Helios-Base."""
    parts = shared(seed)
    transformer = HeliosTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_DIM,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        rope_dim=(4, 4, 4),
    )
    scheduler = HeliosScheduler(stage_range=[0, 1], stages=1, use_dynamic_shifting=True)
    pipe = HeliosPipeline(transformer=transformer, scheduler=scheduler, **parts)
    pipe.save_pretrained(folder)
    return folder
