"""LoRA weights merged into a transformer, and taken out again without a trace.

A LoRA changes a weight W to W + s·B·A. The weights that it changes are kept aside, so that the next
variant has the checkpoint's own bits.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import HunyuanVideoFramepackPipeline
from torch import Tensor, nn

from bench.errors import UserError


class Lora:
    """One LoRA file in any layout that diffusers reads for HunyuanVideo.

    `name` is its key in the generator's configuration: `loras.NAME`, `deltas.NAME`.
    """

    def __init__(self, name: str, source: str, *, offline: bool = False) -> None:
        try:
            state: Mapping[str, Tensor] = HunyuanVideoFramepackPipeline.lora_state_dict(
                source, local_files_only=offline
            )
        except Exception as error:
            line = " ".join(str(error).split())
            raise UserError(f"generator.{name}: {source} cannot be loaded: {line[:300]}") from error
        self.name = name
        self.deltas = low_rank_deltas(state)
        if not self.deltas:
            raise UserError(f"generator.{name}: {source} has no LoRA weights of a transformer")
        self._original: dict[str, Tensor] = {}

    @torch.no_grad()
    def merge(self, transformer: nn.Module) -> None:
        """Add the LoRA to the weights.

        Raises:
            UserError: it is for another model.
        """
        for module, (down, up, scale) in self.deltas.items():
            try:
                weight: Any = transformer.get_submodule(module).weight
                delta = (up.float().flatten(1) @ down.float().flatten(1)) * scale
                changed = weight.float() + delta.view_as(weight).to(weight.device)
            except (AttributeError, RuntimeError):
                self.remove(transformer)
                raise UserError(
                    f"generator.{self.name}: its weights for {module} do not fit the model"
                ) from None
            self._original[module] = weight.detach().to("cpu", copy=True)
            weight.copy_(changed)

    @torch.no_grad()
    def remove(self, transformer: nn.Module) -> None:
        """Put the original weights back."""
        for module, weight in self._original.items():
            own = transformer.get_submodule(module).weight
            assert isinstance(own, Tensor)
            own.copy_(weight)
        self._original.clear()


def low_rank_deltas(state: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Module name → (A, B, scale) from names such as `transformer.X.lora_A.weight`.

    The scale is alpha / rank where the file has an alpha, else 1.
    """
    found = {}
    for key, down in state.items():
        if not key.startswith("transformer.") or not key.endswith(".lora_A.weight"):
            continue
        stem = key.removesuffix(".lora_A.weight")
        alpha = state.get(f"{stem}.alpha")
        scale = float(alpha) / down.shape[0] if alpha is not None else 1.0
        up = state[f"{stem}.lora_B.weight"]
        found[stem.removeprefix("transformer.")] = (down, up, scale)
    return found
