"""Read the tensors of a published checkpoint, and nothing else.

Training code saves what it has at hand: configurations, optimizers, NumPy scalars. torch's own
`weights_only` refuses such files, and its alternative runs whatever code a file asks for. Here a
file's tensors and plain containers are built, and every other object becomes an inert stand-in, so
that no file can run code and every published file can be read.
"""

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrics.errors import Unavailable

if TYPE_CHECKING:
    from torch import Tensor

_HARMLESS = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
}
_TORCH_BUILDERS = (
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_parameter",
    "_rebuild_parameter_with_state",
)


class Inert:
    """Stands where a file has an object that is not ours to build; takes anything, does nothing."""

    def __init__(self, *arguments: Any, **options: Any) -> None: ...

    def __call__(self, *arguments: Any, **options: Any) -> "Inert":
        """Files that build an object by calling what another call gave get this one."""
        return self

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def __hash__(self) -> int:
        return id(self)

    def append(self, item: Any) -> None:
        """Pickle fills list-like objects with it."""

    def extend(self, items: Any) -> None:
        """The same, many at once."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        import torch

        if (module, name) in _HARMLESS:
            return _HARMLESS[module, name]
        if module == "torch._utils" and name in _TORCH_BUILDERS:
            return getattr(torch._utils, name)
        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        # Storages are looked up by torch's own reader before it asks here.
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return super().find_class(module, name)
        return Inert


class _TensorsOnly:
    """What `torch.load` needs of a pickle module."""

    __name__ = "tensors_only"
    Unpickler = _Unpickler

    @staticmethod
    def load(file: Any, **options: Any) -> Any:
        """Older files begin with a few pickles of plain values."""
        return _Unpickler(file, **options).load()


def read_checkpoint(path: Path) -> Any:
    """The content of a `.pth`, `.pkl` or `.safetensors` file on the CPU.

    Raises:
        Unavailable: it is no such file.
    """
    from safetensors import SafetensorError

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        import torch

        return torch.load(path, map_location="cpu", pickle_module=_TensorsOnly, weights_only=False)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        EOFError,
        RuntimeError,
        ValueError,
        KeyError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unavailable(f"{path.name} cannot be read as a checkpoint: {reason}") from None


def state_dict(path: Path, key: str = "") -> "dict[str, Tensor]":
    """The tensors by name, without the `module.` that parallel training puts before them.

    Args:
        path: the file.
        key: the entry of a larger checkpoint that holds the state dict; "" for the file itself.

    Raises:
        Unavailable: the file has no such state dict.
    """
    import torch

    content = read_checkpoint(path)
    state = content.get(key) if key and isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not all(
        isinstance(v, torch.Tensor) for v in state.values()
    ):
        raise Unavailable(f"{path.name} has no state dict{f' under {key!r}' if key else ''}")
    return {str(name).removeprefix("module."): value for name, value in state.items()}
