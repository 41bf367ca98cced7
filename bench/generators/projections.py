"""Projections for kernels that the published class does not have: k8, k16 and flat ones.

The paper initialises a kernel's projection from the pretrained k1 projection, repeated over the
kernel and divided by the number of copies; kernels beyond (8,16,16) first downsample by 2×2×2.
Such a projection was never trained, and cells made with it say so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from bench.packing import KERNELS, Kernel

LARGEST: Final = KERNELS[8]
"""The largest kernel with its own projection."""

PUBLISHED: Final = (KERNELS[1], KERNELS[2], KERNELS[4])
"""Kernels that the class has, trained."""


@dataclass(frozen=True)
class Projection:
    """A strided convolution [inner, C, t, h, w] after averaging over cubes of `down` positions."""

    weight: Tensor
    bias: Tensor
    down: int = 1

    def __call__(self, latents: Tensor) -> Tensor:
        """Latents padded to the whole kernel [B, C, T, h, w] to [B, inner, T', h', w']."""
        if self.down > 1:
            latents = F.avg_pool3d(latents, self.down)
        return F.conv3d(latents, self.weight, self.bias, stride=self.weight.shape[2:])


def pad_to(latents: Tensor, kernel: Sequence[int]) -> Tensor:
    """Repeat border values until every side of [B, C, T, h, w] divides by the kernel."""
    sides = latents.shape[2:]
    missing = [-side % step for side, step in zip(sides, kernel, strict=True)]
    if not any(missing):
        return latents
    t, h, w = missing
    return F.pad(latents, (0, w, 0, h, 0, t), mode="replicate")


def repeated(kernel: Kernel, weight: Tensor, bias: Tensor) -> Projection:
    """The paper's initialisation of a kernel from k1's weight [inner, C, 1, 2, 2]."""
    down = 1
    while kernel.rate > LARGEST.rate:
        kernel = Kernel(max(kernel.time // 2, 1), kernel.height // 2, kernel.width // 2)
        down *= 2
    copies = kernel.time, kernel.height // 2, kernel.width // 2
    return Projection(weight.repeat(1, 1, *copies) / kernel.rate, bias, down)


def trained_projections(folder: Path | None) -> dict[Kernel, tuple[Tensor, Tensor]]:
    """Weights and biases of further kernels that lie beside a transformer's weights.

    Read from `history_embedder_k8.safetensors` (tensors `weight` and `bias`), and k16 likewise.
    """
    found = {}
    for k in (8, 16):
        if folder is not None and (file := folder / f"history_embedder_k{k}.safetensors").is_file():
            tensors = load_file(file)
            found[KERNELS[k]] = (tensors["weight"], tensors["bias"])
    return found


def make_projections(
    kernels: Iterable[Kernel],
    base: tuple[Tensor, Tensor],
    trained: dict[Kernel, tuple[Tensor, Tensor]],
) -> tuple[dict[Kernel, Projection], tuple[str, ...]]:
    """Projections of all kernels that the class lacks, and the names of the untrained ones.

    A trained weight may be smaller than its kernel by a power of two in every direction: then the
    latents are downsampled first.

    Args:
        kernels: kernels that a plan uses.
        base: k1's weight and bias, on the device and in the type that is wanted.
        trained: from `trained_projections`.
    """
    made: dict[Kernel, Projection] = {}
    untrained = []
    for kernel in sorted(set(kernels) - set(PUBLISHED)):
        if kernel in trained:
            weight, bias = (tensor.to(base[0]) for tensor in trained[kernel])
            made[kernel] = Projection(weight, bias, kernel.height // weight.shape[3])
        elif kernel == KERNELS[16] and LARGEST in trained:
            weight, bias = (tensor.to(base[0]) for tensor in trained[LARGEST])
            made[kernel] = Projection(weight, bias, kernel.height // weight.shape[3])
            untrained.append(kernel.name)
        else:
            made[kernel] = repeated(kernel, *base)
            untrained.append(kernel.name)
    return made, tuple(untrained)
