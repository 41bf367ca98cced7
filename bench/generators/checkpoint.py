"""Load a checkpoint in diffusers' layout, and say in one line what is wrong with it.

A checkpoint is a folder or a hub id with nine components. The 13B checkpoints are published in
parts: the transformer and the image encoder may come from other places than the rest.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    HunyuanVideoFramepackPipeline,
    HunyuanVideoFramepackTransformer3DModel,
)
from diffusers.utils import logging as diffusers_logging
from transformers import SiglipImageProcessor, SiglipVisionModel
from transformers.utils import logging as transformers_logging

from bench.errors import UserError
from bench.pocket import autoencoder  # diffusers loads our class only once imported

COMPONENTS: Final = (
    "transformer",
    "vae",
    "scheduler",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "image_encoder",
    "feature_extractor",
)
"""What a FramePack checkpoint consists of."""

DTYPES: Final[Mapping[str, torch.dtype]] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

WHOLE: Final = 64 * 1024**2
"""Files up to this size go into a digest whole; of larger ones size, begin and end."""

EDGE: Final = 1024**2


def load_pipeline(
    checkpoint: str,
    dtype: torch.dtype,
    other_dtype: torch.dtype,
    *,
    transformer: str | None = None,
    image_encoder: str | None = None,
    offline: bool = False,
) -> Any:
    """All nine components, on the CPU.

    Args:
        checkpoint: folder or hub id.
        dtype: of the transformer.
        other_dtype: of the autoencoder and the encoders.
        transformer: another folder or hub id for the transformer.
        image_encoder: another folder or hub id with `image_encoder` and `feature_extractor`.
        offline: never touch the network.

    Raises:
        UserError: a component is missing or cannot be read.
    """
    parts: dict[str, Any] = {}
    replaced = []
    if transformer:
        parts["transformer"] = load_transformer(transformer, dtype, offline=offline)
        replaced.append("transformer")
    if image_encoder:
        parts |= _load_image_encoder(image_encoder, other_dtype, offline)
        replaced += ["image_encoder", "feature_extractor"]
    check_folder(checkpoint, replaced)
    try:
        pipeline: Any = HunyuanVideoFramepackPipeline
        return pipeline.from_pretrained(
            checkpoint,
            dtype={"transformer": dtype, "default": other_dtype},
            local_files_only=offline,
            **parts,
        )
    except Exception as error:
        raise unusable("generator.checkpoint", checkpoint, error) from error


def load_transformer(
    source: str,
    dtype: torch.dtype,
    *,
    key: str = "generator.transformer",
    offline: bool = False,
) -> Any:
    """A transformer from a folder or hub id, which may be a whole checkpoint's.

    Args:
        source: folder or hub id.
        dtype: of its weights.
        key: where the configuration names it.
        offline: never touch the network.

    Raises:
        UserError: it cannot be read.
    """
    inner = (Path(source) / "transformer").is_dir()
    try:
        model: Any = HunyuanVideoFramepackTransformer3DModel
        return model.from_pretrained(
            source,
            subfolder="transformer" if inner else None,
            dtype=dtype,
            local_files_only=offline,
        )
    except Exception as error:
        raise unusable(key, source, error) from error


def load_autoencoder(source: str, dtype: torch.dtype) -> Any:
    """A checkpoint's autoencoder alone, of the class that its config.json names.

    Raises:
        UserError: it cannot be read.
    """
    try:
        named: Any = AutoencoderKLHunyuanVideo
        name = named.load_config(source, subfolder="vae")["_class_name"]
        kind: Any = getattr(diffusers, name, None) or getattr(autoencoder, name)
        return kind.from_pretrained(source, subfolder="vae", dtype=dtype)
    except Exception as error:
        raise unusable("checkpoint", source, error) from error


def _load_image_encoder(source: str, dtype: torch.dtype, offline: bool) -> dict[str, Any]:
    try:
        return {
            "image_encoder": SiglipVisionModel.from_pretrained(
                source, subfolder="image_encoder", dtype=dtype, local_files_only=offline
            ),
            "feature_extractor": SiglipImageProcessor.from_pretrained(
                source, subfolder="feature_extractor", local_files_only=offline
            ),
        }
    except Exception as error:
        raise unusable("generator.image_encoder", source, error) from error


def check_folder(
    checkpoint: str, replaced: Sequence[str] = (), needed: Sequence[str] = COMPONENTS
) -> None:
    """Check that a local folder has every component; a hub id is left to the hub.

    Args:
        checkpoint: folder or hub id.
        replaced: components that come from elsewhere.
        needed: all components.

    Raises:
        UserError: it does not; names the first missing component.
    """
    folder = Path(checkpoint)
    if not folder.exists():
        if checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") != 1:
            raise UserError(f"generator.checkpoint: {checkpoint}: no such folder")
        return
    index = folder / "model_index.json"
    if not index.is_file():
        raise UserError(f"generator.checkpoint: {checkpoint}: model_index.json is missing")
    try:
        named = json.loads(index.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"generator.checkpoint: {index}: not JSON ({error})") from None
    for component in needed:
        if component in replaced:
            continue
        inside = folder / component
        if component not in named or not inside.is_dir() or not any(inside.iterdir()):
            raise UserError(
                f"generator.checkpoint: {checkpoint}: component {component} is missing; "
                f"needed are {', '.join(needed)}"
            )


def digest(folder: Path) -> str:
    """16 hex digits that change when a file does that loading the folder reads.

    Of a pipeline that is `model_index.json` and what lies in its components' folders; cards and
    pictures beside them are no part of the model.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if (index := folder / "model_index.json").is_file():
        files = [path for path in files if path == index or path.parent != folder]
    total = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        total.update(f"{file.relative_to(folder).as_posix()}\0{size}\0".encode())
        with file.open("rb") as opened:
            if size <= WHOLE:
                total.update(opened.read())
            else:
                total.update(opened.read(EDGE))
                opened.seek(-EDGE, 2)
                total.update(opened.read())
    return total.hexdigest()[:16]


def quiet() -> None:
    """Silence notices that say nothing about the user's choices."""
    for name in (
        "diffusers.pipelines.pipeline_utils",
        "diffusers.schedulers.scheduling_flow_match_euler_discrete",
        "transformers.tokenization_utils_base",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
    silent: tuple[Any, ...] = (diffusers_logging, transformers_logging)
    for library in silent:
        library.disable_progress_bar()


def unusable(key: str, source: str, error: Exception) -> UserError:
    """What to say of a checkpoint that a library could not load, in one line."""
    line = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{key}: {source} cannot be loaded: {line[:300]}")
