"""How much context a past frame may cost: kernels, levels, tails and the geometric law.

Pure arithmetic: no torch, no model. A latent frame of h × w positions costs L_f = h·w/4 tokens at
full length (kernel k1, one token per 1×2×2 latent positions). A level packs its frames with one
larger kernel; the cost of a whole history then no longer depends on the length of the video.

Source: "Frame Context Packing and Drift Prevention in Next-Frame-Prediction Video Diffusion
Models", arXiv 2504.12626, section 3.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from bench.errors import UserError

Tail = Literal["td", "ta", "tc"]

TAILS: dict[str, str] = {"td": "deleted", "ta": "appended", "tc": "compressed"}
"""What happens to frames that are older than the packed history."""

MOST_FRAMES = 2**18
"""Of one level: an hour at 240 frames a second, four frames in each latent one, has fewer."""

TAIL_POOL = 32
"""Side, in latent positions, of the square that one token of an appended tail frame averages."""


class Kernel(NamedTuple):
    """What one context token covers, in latent positions: (time, height, width)."""

    time: int
    height: int
    width: int

    @property
    def name(self) -> str:
        """`k4` for the paper's kernels (k, 2k, 2k), `k1x4x4` for others."""
        if self == cube(self.time):
            return f"k{self.time}"
        return f"k{self.time}x{self.height}x{self.width}"

    @property
    def pool(self) -> tuple[int, int, int]:
        """The kernel in base patches (1,2,2): the shape over which RoPE phases are averaged."""
        return self.time, self.height // 2, self.width // 2

    @property
    def rate(self) -> int:
        """Base patches per token: 1 for k1, 8 for k2, 64 for k4, 512 for k8, 4096 for k16."""
        return math.prod(self.pool)

    def tokens(self, frames: int, height: int, width: int) -> int:
        """Tokens of `frames` latent frames of height × width positions, borders padded up."""
        return (
            math.ceil(frames / self.time)
            * math.ceil(height / self.height)
            * math.ceil(width / self.width)
        )


def cube(k: int) -> Kernel:
    """The paper's kernel kT = (T, 2T, 2T)."""
    return Kernel(k, 2 * k, 2 * k)


KERNELS: dict[int, Kernel] = {k: cube(k) for k in (1, 2, 4, 8, 16)}
"""The kernels that the naming grammar knows."""


@dataclass(frozen=True)
class Level:
    """`frames` neighbouring latent frames that are packed with one kernel."""

    frames: int
    kernel: Kernel

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= MOST_FRAMES:
            raise UserError(f"level {self}: the number of frames must be 1 to {MOST_FRAMES}")
        if self.frames % self.kernel.time:
            raise UserError(
                f"level {self}: {self.kernel.name} packs {self.kernel.time} latent frames into "
                f"one, so the number of frames must be a multiple of {self.kernel.time}"
            )

    def __str__(self) -> str:
        return f"f{self.frames}{self.kernel.name}"


@dataclass(frozen=True)
class Packing:
    """Which frames of the context are seen at which length."""

    levels: tuple[Level, ...]
    """The history beside the target, nearest (most important) level first."""

    tail: Tail = "td"
    """What happens to frames beyond the last level."""

    start: tuple[Level, ...] = ()
    """The permanent anchor: the video's first frames, always seen. Empty for pure vanilla."""

    ends: tuple[tuple[Level, ...], ...] = ()
    """Endpoints made ahead of their time, nearest first: one group of levels for each."""

    def __post_init__(self) -> None:
        if not self.levels:
            raise UserError("packing: at least one history level (such as f1k1) is needed")
        if self.tail not in TAILS:
            raise UserError(f"packing.tail: {self.tail!r} is not one of {', '.join(TAILS)}")

    @property
    def history(self) -> int:
        """Latent frames that the levels hold."""
        return sum(level.frames for level in self.levels)

    @property
    def kernels(self) -> frozenset[Kernel]:
        """Every kernel that the context uses; the last level's also packs the tail."""
        groups = (self.levels, self.start, *self.ends)
        return frozenset(level.kernel for group in groups for level in group)

    def tokens(self, height: int, width: int) -> int:
        """Exact tokens of the history levels at a latent size, padding included, tail excluded."""
        return level_tokens(self.levels, height, width)


def frame_tokens(height: int, width: int) -> int:
    """L_f: tokens of one latent frame of height × width positions at full length."""
    return KERNELS[1].tokens(1, height, width)


def level_tokens(levels: Sequence[Level], height: int, width: int) -> int:
    """Exact tokens of some levels at a latent size of height × width positions."""
    return sum(level.kernel.tokens(level.frames, height, width) for level in levels)


def relative_cost(levels: Sequence[Level]) -> Fraction:
    """Σ f/rate: the cost of a packing in units of L_f, without padding."""
    return sum((Fraction(level.frames, level.kernel.rate) for level in levels), Fraction(0))


def appended_tail_tokens(frames: int, height: int, width: int) -> int:
    """Tokens of `ta`: every tail frame is pooled by (1,32,32); the context grows with the video."""
    return Kernel(1, TAIL_POOL, TAIL_POOL).tokens(frames, height, width)


def compressed_tail_tokens(frames: int) -> int:
    """Tokens of `tc`: one global average over the whole tail, so one token as soon as it exists."""
    return min(frames, 1)


# The geometric law (equations 2 to 4 of the paper)


def frame_length(index: int, full: float, rate: float = 2.0) -> float:
    """φ(F_i) = L_f / λ^i: the tokens that frame F_i gets, F_0 being the most important."""
    return full / rate**index


def context_length(targets: int, history: int, full: float, rate: float = 2.0) -> float:
    """L = S·L_f + L_f·(1 − λ^−T)/(1 − λ^−1): tokens of S target and T history frames."""
    return targets * full + full * (1 - rate**-history) / (1 - 1 / rate)


def context_limit(targets: int, full: float, rate: float = 2.0) -> float:
    """(S + λ/(λ−1))·L_f: what the context length tends to as the video grows; (S+2)·L_f at 2."""
    if rate <= 1:
        raise UserError(f"rate: {rate} has no limit; the compression rate λ must be above 1")
    return (targets + rate / (rate - 1)) * full


# Importance layouts (figure 1 of the paper): level lists, nearest first


def by_time(count: int = 4) -> tuple[Level, ...]:
    """(a) One frame per level, each level 4 times shorter than the one before it."""
    return tuple(Level(1, Kernel(1, 2 * 2**i, 2 * 2**i)) for i in range(count))


def repeated_levels(count: int = 3, repeat: int = 3) -> tuple[Level, ...]:
    """(b) Powers of 4, each level repeated for `repeat` frames."""
    return tuple(Level(repeat, Kernel(1, 2 * 2**i, 2 * 2**i)) for i in range(count))


def temporal_kernels() -> tuple[Level, ...]:
    """(c) Several frames in one tensor: the released f16k4f2k2f1k1."""
    return Level(1, KERNELS[1]), Level(2, KERNELS[2]), Level(16, KERNELS[4])


def important_start(levels: Sequence[Level] | None = None) -> tuple[Level, ...]:
    """(d) The oldest frame of the history keeps its full length too."""
    return (*(temporal_kernels() if levels is None else levels), Level(1, KERNELS[1]))


def symmetric(levels: Sequence[Level] | None = None) -> tuple[Level, ...]:
    """(e) Start and end equally important: the levels, then the same levels mirrored."""
    near = tuple(temporal_kernels() if levels is None else levels)
    return near + near[::-1]


LAYOUTS: dict[str, Callable[[], tuple[Level, ...]]] = {
    "a": by_time,
    "b": repeated_levels,
    "c": temporal_kernels,
    "d": important_start,
    "e": symmetric,
}
"""The importance layouts by their letter in the paper's figure."""
