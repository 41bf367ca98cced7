"""Random weights and inputs by a fixed rule, so that golden outputs need no stored weights.

The rule: every entry of a state dict is drawn on its own from NumPy's PCG64, seeded with the first
eight bytes (little endian) of SHA-256 of `"{draw}|{name}|{d0}x{d1}x…"`. So a value depends on the
draw's label, the entry's name and its shape, not on the order of entries or on torch.

- Entries of two and more dimensions: normal, divided by √(elements per first index), × `gain`.
- One dimension, name ending in `weight` (norms, PReLU slopes): uniform in 0.25 … 1.
- Other one-dimensional entries (biases, embeddings): normal × 0.05.
- Zero dimensions: 0.5. Integer entries (index tables) keep their values.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch


def generator(label: str) -> np.random.Generator:
    """The generator that a label names."""
    seed = int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64(seed))


def draw(name: str, shape: Sequence[int], label: str, gain: float = 1.0) -> torch.Tensor:
    """One entry by the rule above."""
    rng = generator(f"{label}|{name}|{'x'.join(map(str, shape))}")
    if len(shape) == 0:
        values = np.float32(0.5)
    elif len(shape) == 1 and name.endswith("weight"):
        values = rng.uniform(0.25, 1.0, shape)
    elif len(shape) == 1:
        values = 0.05 * rng.standard_normal(shape)
    else:
        values = gain * rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.array(values, dtype=np.float32))


def drawn_state(
    state: Mapping[str, torch.Tensor], label: str, gain: float = 1.0
) -> dict[str, torch.Tensor]:
    """A state dict of the same names and shapes, drawn."""
    return {
        name: draw(name, tuple(state[name].shape), label, gain)
        if state[name].is_floating_point()
        else state[name].clone()
        for name in sorted(state)
    }


def textured_pair(label: str, height: int, width: int, shift: int = 3) -> torch.Tensor:
    """Two smooth random RGB frames in 0..1, the second moved by `shift` pixels: [2, 3, H, W]."""
    rng = generator(f"{label}|frames|{height}x{width}")
    coarse = torch.from_numpy(rng.uniform(0, 1, (1, 3, height // 8 + 2, width // 8 + 2)))
    smooth = torch.nn.functional.interpolate(
        coarse, (height + 2 * shift, width + 2 * shift), mode="bicubic", align_corners=False
    ).clamp(0, 1)
    first = smooth[..., shift : shift + height, shift : shift + width]
    second = smooth[..., :height, 2 * shift : 2 * shift + width]
    return torch.cat((first, second)).float()
