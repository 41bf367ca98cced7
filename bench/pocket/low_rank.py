"""Low-rank deltas on a transformer's weights: put on, trained, and written as diffusers' LoRA."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

ADAPTED: Final = re.compile(
    r"(single_)?transformer_blocks\.\d+\.(attn\.|ff\.|ff_context\.|proj_mlp$|proj_out$)"
    r"|clean_x_embedder\."
)
"""The weights that get a delta: attention and feed-forward of all blocks, and history's kernels."""


class LowRank(nn.Module):
    """W ↦ W + B·A: A [rank, inputs] is drawn, B [outputs, rank] begins at zero."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        inputs = weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, inputs) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(len(weight), rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight, of the same shape."""
        return weight + (self.up @ self.down).view_as(weight)


def adapt(transformer: nn.Module, rank: int, seed: int) -> dict[str, LowRank]:
    """Put low-rank deltas on a frozen transformer's weights; gives them by module name."""
    torch.manual_seed(seed)
    found: dict[str, LowRank] = {}
    for name, module in list(transformer.named_modules()):
        if isinstance(module, nn.Linear | nn.Conv3d) and ADAPTED.match(name):
            found[name] = LowRank(module.weight, rank)
            parametrize.register_parametrization(module, "weight", found[name])
    return found


def tensors(factors: Mapping[str, LowRank], transformer: nn.Module) -> dict[str, Tensor]:
    """The factors in bfloat16, under the names that diffusers gives a LoRA."""
    found = {}
    for name, factor in factors.items():
        weight: Any = transformer.get_submodule(name).weight
        down: Tensor = factor.down
        up: Tensor = factor.up
        if weight.dim() > 2:  # a convolution's factors are convolutions
            down = down.view(len(down), *weight.shape[1:])
            up = up.view(*up.shape, *[1] * (weight.dim() - 2))
        for side, tensor in (("A", down), ("B", up)):
            key = f"transformer.{name}.lora_{side}.weight"
            found[key] = tensor.detach().cpu().to(torch.bfloat16).contiguous()
    return found
