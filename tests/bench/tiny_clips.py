"""Tiny random image-to-video checkpoints in the published layout, all components, made offline."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLLTXVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoImageToVideoPipeline,
    HunyuanVideoTransformer3DModel,
    LTXConditionPipeline,
    LTXVideoTransformer3DModel,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_image2video import (
    DEFAULT_PROMPT_TEMPLATE,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from bench.pocket import components
from tests.bench.tiny_wan import LATENT_CHANNELS, TEXT_DIM, WORDS, shared

SPECIAL = (
    "<pad>",
    "<unk>",
    "<begin>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<image>",
)
PAD, BEGIN, IMAGE = 0, 2, 6


def template_tokenizer() -> Any:
    """Of Hunyuan's template: its image token stands where LLaMA's tokenizer has it, sixth."""
    template: dict[str, Any] = dict(DEFAULT_PROMPT_TEMPLATE)
    said = pre_tokenizers.Whitespace().pre_tokenize_str(template["template"])
    words = list(dict.fromkeys([*SPECIAL, *WORDS, *(word for word, _ in said)]))
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<begin> <begin> $A", special_tokens=[("<begin>", BEGIN)]
    )
    make: Any = PreTrainedTokenizerFast
    return make(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", padding_side="right"
    )


def llava(words: int) -> Any:
    """LLaMA that sees an image as 576 tokens, as the published one does: 24 x 24 patches."""
    vision = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=24,
        patch_size=1,
        projection_dim=8,
    )
    text = LlamaConfig(
        vocab_size=words,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=2048,
        pad_token_id=PAD,
        bos_token_id=BEGIN,
        eos_token_id=5,
    )
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=IMAGE,
            pad_token_id=PAD,
            image_seq_length=576,
            vision_feature_layer=-2,
        )
    )


def build_hunyuan(folder: Path, condition: str = "token_replace", seed: int = 0) -> Path:
    """HunyuanVideo I2V."""
    torch.manual_seed(seed)
    tokenizer = template_tokenizer()
    extra = LATENT_CHANNELS + 1 if condition == "latent_concat" else 0
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=LATENT_CHANNELS + extra,
        out_channels=LATENT_CHANNELS,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        guidance_embeds=True,
        text_embed_dim=16,
        pooled_projection_dim=components.TEXT_DIM,
        rope_axes_dim=(4, 4, 4),
        image_condition_type=condition,
    )
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=LATENT_CHANNELS,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        norm_num_groups=4,
    )
    pipe = HunyuanVideoImageToVideoPipeline(
        text_encoder=llava(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=components.clip_encoder(),
        tokenizer_2=components.clip_tokenizer(),
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}
        ),
    )
    pipe.save_pretrained(folder)
    return folder


def build_wan(folder: Path, last: bool = False, seed: int = 0) -> Path:
    """Wan 2.1 I2V; with `last`, FLF2V, whose position embedding is for two images."""
    parts = shared(seed)
    patches = 2 * 2 + 1
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=2 * LATENT_CHANNELS + 4,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_DIM,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        image_dim=8,
        added_kv_proj_dim=24,
        pos_embed_seq_len=2 * patches if last else None,
    )
    encoder = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=8,
            patch_size=4,
            projection_dim=8,
        )
    )
    pipe = WanImageToVideoPipeline(
        transformer=transformer,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        image_encoder=encoder,
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}
        ),
        **parts,
    )
    pipe.save_pretrained(folder)
    return folder


def build_wan22(folder: Path, seed: int = 0) -> Path:
    """Wan 2.2 I2V: two transformers for high and low noise, no image encoder."""
    parts = shared(seed)
    transformers = [
        WanTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=2 * LATENT_CHANNELS + 4,
            out_channels=LATENT_CHANNELS,
            text_dim=TEXT_DIM,
            freq_dim=16,
            ffn_dim=16,
            num_layers=1,
        )
        for _ in range(2)
    ]
    pipe = WanImageToVideoPipeline(
        transformer=transformers[0],
        transformer_2=transformers[1],
        boundary_ratio=0.9,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        **parts,
    )
    pipe.save_pretrained(folder)
    return folder


def build_ltx(folder: Path, seed: int = 0, dynamic: bool = False) -> Path:
    """LTX-Video, with the published compression (32, 8) and a denoising decoder."""
    parts = shared(seed)
    channels = 4
    vae = AutoencoderKLLTXVideo(
        latent_channels=channels,
        block_out_channels=(4, 4, 4, 4),
        decoder_block_out_channels=(4, 4, 4, 4),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        timestep_conditioning=True,
    )
    transformer = LTXVideoTransformer3DModel(
        in_channels=channels,
        out_channels=channels,
        num_attention_heads=2,
        attention_head_dim=12,
        cross_attention_dim=24,
        num_layers=1,
        caption_channels=TEXT_DIM,
    )
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(WORDS), d_model=TEXT_DIM, d_kv=8, d_ff=16, num_layers=1, num_heads=2
        )
    )
    pipe = LTXConditionPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=dynamic),
        vae=vae,
        text_encoder=encoder,
        tokenizer=parts["tokenizer"],
        transformer=transformer,
    )
    pipe.save_pretrained(folder)
    return folder
