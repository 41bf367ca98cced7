"""Building the pocket checkpoint's nine components and the folder that diffusers loads.

`HunyuanVideoFramepackPipeline.from_pretrained(folder)` wants a transformer, an autoencoder, a
scheduler, two text encoders with tokenizers, and an image encoder with its processor. Only the
first two are trained. The text encoders are untrained networks over a closed vocabulary: the
pipeline reads LLaMA's third-last hidden state, which with two layers is the embedding table, so
every word is a fixed random vector that the transformer learns to read. SigLIP is an untrained
projection of the start image; the transformer is trained with exactly what the pipeline feeds it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, HunyuanVideoFramepackTransformer3DModel
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_framepack import (
    DEFAULT_PROMPT_TEMPLATE,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from bench.pocket import captions
from bench.pocket.autoencoder import PocketAutoencoder

TEXT_DIM = 64
IMAGE_DIM = 64
LATENT_CHANNELS = 32
SHIFT = 3.0
"""Flow shift of the scheduler, chosen for sections of 36 tokens per latent frame."""

SPECIAL = (
    "<|pad|>",
    "<|unk|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
PAD, UNKNOWN, BEGIN, EOT = 0, 1, 2, 5

TRANSFORMER: dict[str, Any] = {
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "num_attention_heads": 3,
    "attention_head_dim": 64,
    "num_layers": 2,
    "num_single_layers": 4,
    "num_refiner_layers": 1,
    "mlp_ratio": 4.0,
    "patch_size": 2,
    "patch_size_t": 1,
    "guidance_embeds": False,
    "text_embed_dim": TEXT_DIM,
    "pooled_projection_dim": TEXT_DIM,
    "rope_theta": 256.0,
    "rope_axes_dim": (24, 20, 20),
    "has_image_proj": True,
    "image_proj_dim": IMAGE_DIM,
    "has_clean_x_embedder": True,
}
"""The configuration of the committed transformer."""


def vocabulary() -> dict[str, int]:
    """Word to token id; special tokens first."""
    return {word: i for i, word in enumerate([*SPECIAL, *captions.words()])}


def _word_level() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary(), unk_token=SPECIAL[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def prompt_tokenizer() -> Any:
    """The tokenizer beside LLaMA.

    The pipeline wraps a prompt in Hunyuan's template and crops the template's first 95 tokens, a
    number that belongs to LLaMA's tokenizer. Ours splits the template into fewer, so it begins a
    text with as many begin tokens as are missing.
    """
    tokenizer = _word_level()
    template: dict[str, Any] = dict(DEFAULT_PROMPT_TEMPLATE)
    head = template["template"].split("{}")[0]
    missing = template["crop_start"] - len(tokenizer.encode(head).ids)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join([SPECIAL[BEGIN]] * missing + ["$A"]),
        special_tokens=[(SPECIAL[BEGIN], BEGIN)],
    )
    make: Any = PreTrainedTokenizerFast
    return make(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[PAD],
        unk_token=SPECIAL[UNKNOWN],
        bos_token=SPECIAL[BEGIN],
        eos_token=SPECIAL[EOT],
        padding_side="right",
        model_max_length=512,
    )


def clip_tokenizer() -> Any:
    """The tokenizer beside CLIP: the same words, a begin and an end token."""
    tokenizer = _word_level()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[BEGIN]} $A {SPECIAL[EOT]}",
        special_tokens=[(SPECIAL[BEGIN], BEGIN), (SPECIAL[EOT], EOT)],
    )
    make: Any = PreTrainedTokenizerFast
    return make(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[PAD],
        unk_token=SPECIAL[UNKNOWN],
        bos_token=SPECIAL[BEGIN],
        eos_token=SPECIAL[EOT],
        padding_side="right",
        model_max_length=77,
    )


def text_encoder() -> Any:
    """LLaMA of two layers; the hidden state −3 is the embedding table, of unit variance."""
    model = LlamaModel(
        LlamaConfig(
            vocab_size=len(vocabulary()),
            hidden_size=TEXT_DIM,
            intermediate_size=TEXT_DIM,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=512,
            pad_token_id=PAD,
            bos_token_id=BEGIN,
            eos_token_id=EOT,
        )
    )
    nn.init.normal_(model.embed_tokens.weight)
    return model


def clip_encoder() -> Any:
    """CLIP's text tower with one layer; its pooled output is the hidden state of the end token."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary()),
            hidden_size=TEXT_DIM,
            intermediate_size=TEXT_DIM,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            pad_token_id=PAD,
            bos_token_id=BEGIN,
            eos_token_id=EOT,
        )
    )


def image_encoder() -> Any:
    """SigLIP whose single patch is the whole image at 32×32: one image token."""
    return SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=IMAGE_DIM,
            intermediate_size=IMAGE_DIM,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=32,
            patch_size=32,
        )
    )


def transformer(**changes: Any) -> Any:
    """The transformer, initialised for training.

    The history kernels begin as the k1 kernel tiled and averaged (÷8, ÷64), as FramePack's were;
    the modulation is scaled down and the output projection is zero, which diffusers' default
    initialisation leaves out.
    """
    make: Any = HunyuanVideoFramepackTransformer3DModel
    model = make(**{**TRANSFORMER, **changes})
    embed = model.clean_x_embedder
    with torch.no_grad():
        base, bias = model.x_embedder.proj.weight, model.x_embedder.proj.bias
        embed.proj.weight.copy_(base)
        embed.proj_2x.weight.copy_(base.repeat(1, 1, 2, 2, 2) / 8)
        embed.proj_4x.weight.copy_(base.repeat(1, 1, 4, 4, 4) / 64)
        for projection in (embed.proj, embed.proj_2x, embed.proj_4x):
            projection.bias.copy_(bias)
        for name, parameter in model.named_parameters():
            if "norm" in name and "linear" in name:
                parameter.mul_(0.1 if name.endswith("weight") else 0.0)
        model.proj_out.weight.zero_()
        model.proj_out.bias.zero_()
    return model


def scheduler() -> Any:
    """Euler flow matching with a static shift; the pipeline's mu is for dynamic shifts only."""
    make: Any = FlowMatchEulerDiscreteScheduler
    return make(shift=SHIFT)


INDEX: dict[str, Any] = {
    "_class_name": "HunyuanVideoFramepackPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": ["transformers", "SiglipImageProcessor"],
    "image_encoder": ["transformers", "SiglipVisionModel"],
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "LlamaModel"],
    "text_encoder_2": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    "tokenizer_2": ["transformers", "PreTrainedTokenizerFast"],
    "transformer": ["diffusers", "HunyuanVideoFramepackTransformer3DModel"],
    "vae": ["bench.pocket.autoencoder", "PocketAutoencoder"],
}


def write_frozen(folder: Path, seed: int = 0) -> None:
    """Write everything that is not trained: index, scheduler, text and image encoders."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
    scheduler().save_pretrained(folder / "scheduler")
    prompt_tokenizer().save_pretrained(folder / "tokenizer")
    clip_tokenizer().save_pretrained(folder / "tokenizer_2")
    text_encoder().to(torch.bfloat16).save_pretrained(folder / "text_encoder")
    clip_encoder().to(torch.bfloat16).save_pretrained(folder / "text_encoder_2")
    image_encoder().to(torch.bfloat16).save_pretrained(folder / "image_encoder")
    processor = SiglipImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder / "feature_extractor")


def build_random(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a complete checkpoint with untrained weights, for tests; `changes` as `transformer`.

    The output projection is random here (a zero one would make every video its own noise).
    """
    write_frozen(folder, seed)
    model = transformer(**changes)
    nn.init.normal_(model.proj_out.weight, std=0.02)
    model.save_pretrained(folder / "transformer")
    PocketAutoencoder(fine_channels=16, coarse_channels=16).save_pretrained(folder / "vae")
    return folder
