"""Join decoded pieces into one video: linear blends at the joints, bytes for what is finished.

Only the frames that the next piece will be blended with are kept as floats; all others become
bytes at once, so that an hour of video costs its bytes and not four times as much.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.plan import Decode

if TYPE_CHECKING:
    import torch

Frames = NDArray[np.uint8]


class Assembly:
    """One video that grows at its end or at its start."""

    def __init__(self) -> None:
        self.finished: list[Frames] = []
        """Chunks in the order made; for videos that grow at their start, last chunk first."""
        self._edge: torch.Tensor | None = None
        self._prepending = False

    def add(
        self, decode: Decode, pixels: "torch.Tensor", next_overlap: int, *, short: bool = False
    ) -> None:
        """Join one decoded piece.

        Args:
            decode: where it goes.
            pixels: [3, T, H, W] in −1..1.
            next_overlap: how many frames the next piece will be blended with; 0 after the last.
            short: only one frame of the piece is there already, because decoding the rest again
                would give the same pixels: those that are there are blended with themselves.
        """
        import torch

        if decode.side == "prepend":
            self._prepending = True
        if self._edge is not None:
            overlap = 1 if short else decode.overlap
            if self._prepending:
                joined = blend(self._edge if short else pixels[:, -overlap:], self._edge)
                pixels = torch.cat([pixels[:, :-overlap], joined], dim=1)
            else:
                joined = blend(self._edge, self._edge if short else pixels[:, :overlap])
                pixels = torch.cat([joined, pixels[:, overlap:]], dim=1)
        count = pixels.shape[1]
        grows_at_start = self._prepending or (decode.side == "whole" and decode.first > 0)
        if grows_at_start:
            self._edge = pixels[:, :next_overlap].clone()
            done = pixels[:, next_overlap:]
        else:
            self._edge = pixels[:, count - next_overlap :].clone()
            done = pixels[:, : count - next_overlap]
        self._prepending = grows_at_start
        if done.shape[1]:
            self.finished.append(to_bytes(done))

    def chunks(self) -> list[Frames]:
        """The video so far, in order."""
        finished = self.finished[::-1] if self._prepending else list(self.finished)
        if self._edge is None or self._edge.shape[1] == 0:
            return finished
        edge = to_bytes(self._edge)
        return [edge, *finished] if self._prepending else [*finished, edge]

    def so_far(self) -> Frames:
        """The video so far as one array [T, H, W, 3]; no frames before the first piece."""
        chunks = self.chunks()
        return np.concatenate(chunks) if chunks else np.zeros((0, 1, 1, 3), np.uint8)


def blend(earlier: "torch.Tensor", later: "torch.Tensor") -> "torch.Tensor":
    """A linear passage from one piece to the next: weights 1 … 0 on the earlier frames."""
    import torch

    frames = earlier.shape[1]
    weights = torch.linspace(1, 0, frames, dtype=earlier.dtype, device=earlier.device)
    weights = weights.view(1, -1, 1, 1)
    return weights * earlier + (1 - weights) * later


def to_bytes(pixels: "torch.Tensor") -> Frames:
    """[3, T, H, W] in −1..1 to RGB bytes [T, H, W, 3], rounded as diffusers rounds."""
    unit = (pixels * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).cpu().float()
    found: Frames = (unit.numpy() * 255).round().astype(np.uint8)
    return found
