"""The RoPE time axis of one section: blocks placed one after the other, gaps between them.

Every section counts from 0. A block is a run of frames with one kernel, or the target. A gap is
skipped indices: frames that exist in time but are not seen.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal

from bench.packing import (
    Kernel,
    Level,
    Tail,
    appended_tail_tokens,
    compressed_tail_tokens,
    frame_tokens,
)
from bench.plan import Context, Section


@dataclass
class Axis:
    """Builds one `Section` from blocks placed in time order.

    Args:
        grid: latent height and width.
        made: positions that exist; any other becomes a zero latent or, with `drop`, is left out.
        drop: leave missing frames out instead of attending to zero latents.
    """

    grid: tuple[int, int]
    made: AbstractSet[int]
    drop: bool = False
    at: int = 0
    contexts: list[Context] = field(default_factory=list)
    target: tuple[int, ...] = ()
    target_indices: tuple[int, ...] = ()

    def skip(self, frames: int) -> None:
        """Leave a gap of that many indices; a negative number is no gap."""
        self.at += max(frames, 0)

    def place_target(self, positions: Sequence[int]) -> None:
        """The frames that this section makes."""
        self.target = tuple(positions)
        self.target_indices = self._advance(len(positions))

    def place(self, positions: Sequence[int], level: Level) -> None:
        """One level: as many positions as it has frames, in time order."""
        self._add(positions, level.kernel)

    def place_tail(self, positions: Sequence[int], tail: Tail, kernel: Kernel) -> None:
        """The frames beyond the last level: deleted, appended or compressed to one token."""
        if tail == "td":
            return  # not even looked through: a long video's tails are long
        existing = [position for position in positions if position in self.made]
        self._add(existing, kernel, "append" if tail == "ta" else "compress")

    def section(self) -> Section:
        """The finished section: contexts in token order, largest kernel first, target last."""
        tails = [context for context in self.contexts if context.pool]
        levels = [context for context in self.contexts if not context.pool]
        kernels = sorted({c.kernel for c in levels}, key=lambda kernel: (-kernel.rate, kernel))
        ordered = [c for kernel in kernels for c in self._joined(levels, kernel)]
        height, width = self.grid
        return Section(
            self.target,
            self.target_indices,
            (*tails, *ordered),
            len(self.target) * frame_tokens(height, width),
        )

    def _joined(self, contexts: Sequence[Context], kernel: Kernel) -> list[Context]:
        """Contexts of one kernel; kernels that do not reach over time share one tensor."""
        found = [context for context in contexts if context.kernel == kernel]
        if kernel.time > 1 or len(found) < 2:
            return found
        frames = tuple(frame for context in found for frame in context.frames)
        indices = tuple(index for context in found for index in context.indices)
        return [Context(kernel, frames, indices, sum(context.tokens for context in found))]

    def _add(
        self,
        positions: Sequence[int],
        kernel: Kernel,
        pool: Literal["", "append", "compress"] = "",
    ) -> None:
        indices = self._advance(len(positions))
        seen = [
            (position if position in self.made else None, index)
            for position, index in zip(positions, indices, strict=True)
            if position in self.made or not self.drop
        ]
        if not seen:
            return
        height, width = self.grid
        if pool == "append":
            tokens = appended_tail_tokens(len(seen), height, width)
        elif pool == "compress":
            tokens = compressed_tail_tokens(len(seen))
        else:
            tokens = kernel.tokens(len(seen), height, width)
        frames, kept = zip(*seen, strict=True)
        self.contexts.append(Context(kernel, frames, kept, tokens, pool))

    def _advance(self, frames: int) -> tuple[int, ...]:
        indices = tuple(range(self.at, self.at + frames))
        self.at += frames
        return indices
