"""What all kinds of generators read from their YAML in the same way, with one-line errors."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from bench.errors import UserError

OFFLOADS: Final = ("none", "model", "sequential")

DTYPES: Final = ("float32", "bfloat16", "float16")

C = TypeVar("C")


def read(config: type[C], options: Mapping[str, Any]) -> C:
    """A generator's configuration from its YAML.

    Args:
        config: a dataclass with at least `checkpoint` and `offload`.
        options: a group of `conf/generator`, without `kind`.

    Raises:
        UserError: an option is unknown, the checkpoint is not named, or offload is no such word.
    """
    known = [item.name for item in fields(config)]  # type: ignore[arg-type]
    if unknown := [key for key in options if key not in known]:
        raise UserError(
            f"generator.{unknown[0]}: no such option; options are {', '.join(sorted(known))}"
        )
    if not options.get("checkpoint"):
        raise UserError("generator.checkpoint: give a folder or a hub id in diffusers' layout")
    made: Any = config(**options)
    if made.offload not in OFFLOADS:
        raise UserError(f"generator.offload: {made.offload!r} is not one of {', '.join(OFFLOADS)}")
    return made  # type: ignore[no-any-return]


def device_name(asked: str | None) -> str:
    """The device: as asked, or cuda where there is one.

    Raises:
        UserError: a CUDA device is asked for and there is none.
    """
    import torch

    if asked and asked.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"generator.device: {asked}: there is no CUDA device")
    return asked or ("cuda" if torch.cuda.is_available() else "cpu")


def dtype_name(key: str, name: str, device: str) -> str:
    """A type's name; auto is float32 on a CPU and bfloat16 elsewhere.

    Raises:
        UserError: there is no such type.
    """
    if name == "auto":
        return "float32" if device == "cpu" else "bfloat16"
    if name not in DTYPES:
        raise UserError(f"generator.{key}: {name!r} is not one of auto, {', '.join(DTYPES)}")
    return name


def place(pipe: Any, offload: str, device: str) -> None:
    """Put a pipeline's components on the device, all at once or as they are needed."""
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)
