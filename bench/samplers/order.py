"""What every sampler is given, and the two shapes that a section's context can have."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from bench.packing import KERNELS, Level
from bench.plan import Section
from bench.samplers.axis import Axis
from bench.variant import Variant

RELEASED_GAP: Final = 3
"""The published code never leaves a gap of more than three sections."""

START: Final = (Level(1, KERNELS[1]),)
"""The anchor of sections made backwards where the packing names none: the input image, f1k1."""


@dataclass(frozen=True)
class Order:
    """One video to plan."""

    variant: Variant
    count: int
    """Number of sections n; the video has n·w + 1 latents."""
    grid: tuple[int, int]
    """Latent height and width."""
    end_image: bool = False

    @property
    def window(self) -> int:
        """w: latent frames per section."""
        return self.variant.section

    @property
    def end(self) -> int:
        """The position one past the last latent, where an end image stands."""
        return self.count * self.window + 1

    def target(self, section: int) -> range:
        """Positions of a section, counted from 0 in time order."""
        first = 1 + section * self.window
        return range(first, first + self.window)

    @property
    def exact(self) -> bool:
        """Whether gaps have their true length instead of the published cap."""
        return self.variant.option("padding", "released") == "exact"

    def gap(self, frames: int) -> int:
        """A gap of that many latents, shortened by the published rule unless exact is asked."""
        return frames if self.exact else min(frames, RELEASED_GAP * self.window)

    def axis(self, made: AbstractSet[int]) -> Axis:
        """An empty axis on which the frames made so far can be placed."""
        drop = self.variant.option("missing", "zeros") == "drop"
        return Axis(self.grid, made, drop)


def paddings(count: int, exact: bool = False) -> list[int]:
    """Sections between start and target for every section made backwards.

    The published rule is n−1 … 0, but [3] + [2]·(n−3) + [1, 0] for n > 4 (n = 5: 3, 2, 2, 1, 0).
    """
    if exact or count <= 4:
        return list(reversed(range(count)))
    return [3, *[2] * (count - 3), 1, 0]


def forward_section(
    order: Order,
    target: range,
    made: AbstractSet[int],
    ends: Sequence[int] = (),
) -> Section:
    """[start] [gap] [tail] [levels, oldest to newest] [target] ([gap] [end])*.

    Args:
        order: the video.
        target: positions that are made.
        made: positions that exist.
        ends: first positions of the endpoints ahead, nearest first.
    """
    packing = order.variant.packing
    axis = order.axis(made)
    anchored = sum(level.frames for level in packing.start)
    at = 0
    for level in packing.start:
        axis.place(range(at, at + level.frames), level)
        at += level.frames
    oldest = target.start - packing.history
    tail = range(anchored, max(oldest, anchored))
    if packing.tail == "td" and order.exact and anchored:
        axis.skip(len(tail))
    axis.place_tail(tail, packing.tail, packing.levels[-1].kernel)
    at = oldest
    for level in reversed(packing.levels):
        axis.place(range(at, at + level.frames), level)
        at += level.frames
    axis.place_target(target)
    reached = target.stop
    for first, levels in zip(ends, packing.ends, strict=False):
        axis.skip(order.gap(first - reached))
        for level in levels:
            axis.place(range(first, first + level.frames), level)
            first += level.frames
        reached = max(reached, first)
    return axis.section()


def backward_section(
    order: Order,
    target: range,
    made: AbstractSet[int],
    padding: int,
    end_image: bool = False,
) -> Section:
    """[start] [gap] [target] [levels, nearest to farthest] [tail].

    Args:
        order: the video.
        target: positions that are made.
        made: positions that exist; those after the target are its (future) history.
        padding: the gap, in sections.
        end_image: show the end image right after the target, as its nearest history frame.
    """
    packing = order.variant.packing
    axis = order.axis({*made, order.end} if end_image else made)
    at = 0
    for level in packing.start or START:
        axis.place(range(at, at + level.frames), level)
        at += level.frames
    axis.skip(padding * order.window)
    axis.place_target(target)
    at = order.end if end_image else target.stop
    for level in packing.levels:
        axis.place(range(at, at + level.frames), level)
        at += level.frames
    axis.place_tail(range(at, order.end), packing.tail, packing.levels[-1].kernel)
    return axis.section()
