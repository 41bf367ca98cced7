"""What all kinds of generators read from their YAML in the same way, with one-line errors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from bench.errors import UserError
from bench.generators.flow import read_shift
from metrics.sets import DEVICE

OFFLOADS: Final = ("none", "model", "sequential")

DTYPES: Final = ("float32", "bfloat16", "float16")

POSITIVE: Final = ("steps", "shift", "fps", "frame_rate")
"""Options that are numbers above 0; all other numbers may be 0."""

NUMBERS: Final = (*POSITIVE, "guidance", "cfg", "teacache", "noise", "rescale")
"""Options that are numbers whatever the kind."""

WORDS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    NoneType: "null",
    Mapping: "a mapping",
    Sequence: "a list",
}
"""What an option's type is called."""

C = TypeVar("C")


def read(config: type[C], options: Mapping[str, Any]) -> C:
    """A generator's configuration from its YAML.

    Args:
        config: a dataclass with at least `checkpoint` and `offload`.
        options: a group of `conf/generator`, without `kind`.

    Raises:
        UserError: an option is unknown or of the wrong type, the checkpoint is not named, offload
            is no such word, or a number is one that no kind can use.
    """
    known = [item.name for item in fields(config)]  # type: ignore[arg-type]
    if unknown := [key for key in options if key not in known]:
        raise UserError(
            f"generator.{unknown[0]}: no such option; options are {', '.join(sorted(known))}"
        )
    if not options.get("checkpoint"):
        raise UserError("generator.checkpoint: give a folder or a hub id in diffusers' layout")
    for key, kind in get_type_hints(config).items():
        if key in options:
            _check_type(key, options[key], kind)
    check_numbers(options)
    made: Any = config(**options)
    if made.offload not in OFFLOADS:
        raise UserError(f"generator.offload: {made.offload!r} is not one of {', '.join(OFFLOADS)}")
    return made  # type: ignore[no-any-return]


def check_numbers(options: Mapping[str, Any]) -> None:
    """Refuse numbers that no kind of generator can use; this needs no model and no torch.

    Args:
        options: a group of `conf/generator`.

    Raises:
        UserError: names the first option that is no number where one is needed, infinite, negative,
            or zero where it may not be.
    """
    for key, value in options.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if key == "shift" and not is_number:
            try:
                read_shift(value)
            except UserError as error:
                raise UserError(f"generator.{error}") from None
        elif key in NUMBERS and not is_number:
            raise UserError(f"generator.{key}: {value!r} is not a number")
        elif key in POSITIVE and not 0 < value < math.inf:
            raise UserError(f"generator.{key}: {value} is not a positive number")
        elif is_number and not 0 <= value < math.inf:
            raise UserError(f"generator.{key}: {value} is not a number from 0 on")


def _check_type(key: str, value: Any, kind: Any) -> None:
    """Refuse a value that is not of its option's type, or of one of its types."""
    union = get_origin(kind) is UnionType
    kinds = [get_origin(part) or part for part in (get_args(kind) if union else (kind,))]
    fits = isinstance(value, (*kinds, int) if float in kinds else tuple(kinds))
    if isinstance(value, bool):
        fits = bool in kinds  # a bool is an int to Python, not to a user
    if not fits:
        expected = " or ".join(WORDS[part] for part in kinds)
        raise UserError(f"generator.{key}: {value!r} is not {expected}")


def device_name(asked: str | None) -> str:
    """The device: as asked, or cuda where there is one.

    Raises:
        UserError: there is no such device.
    """
    import torch

    if asked and not DEVICE.fullmatch(asked):
        raise UserError(f"generator.device: {asked}: give cpu, cuda or cuda:N; null chooses")
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
    """Put a pipeline's components on the device, all at once or as they are needed.

    On a CPU they are where they would be offloaded to.
    """
    if device == "cpu" or offload == "none":
        pipe.to(device)
    elif offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_sequential_cpu_offload(device=device)
