"""Motion smoothness: how well a dropped frame follows from its neighbours (VBench).

Keep frames 0, 2, 4, …; interpolate the middle of each neighbouring two; compare it with the frame
that was dropped there: (255 − mean |difference| of 8-bit values) / 255. An item of the curve is
such a triplet. A frozen video is perfectly smooth; jitter, flicker and jumps are not.

VBench shrinks frames when a GPU's memory is small. That would make a score depend on the machine,
so frames keep their size here, and frames too large for the network's correlation volume are told
to be so.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metrics.base import (
    Chunk,
    Curve,
    Frames,
    Measurement,
    Metric,
    Reading,
    ScoringContext,
    VideoInfo,
)
from metrics.forward import (
    Forwards,
    at_once,
    centred_padding,
    read_state,
    ready,
    whole_frames,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TRIPLET = 3
MIN_FRAMES = 4
PIXELS_AT_ONCE = 4 * 640 * 360
PAIRS_AT_ONCE = 4


def smoothness(middle: Frames, dropped: Frames) -> float:
    """(255 − mean |a − b|) / 255 of two 8-bit frames: 0..1, 1 where they are equal."""
    difference = np.abs(middle.astype(np.int16) - dropped.astype(np.int16))
    return float((255.0 - difference.mean(dtype=np.float64)) / 255.0)


class Triplets(Measurement):
    """Even frames wait in pairs for the network; the odd one between them is what it must find."""

    def __init__(self, forwards: Forwards[tuple[int, Frames]]) -> None:
        """`forwards` maps a pair, uint8 [2, H, W, 3], to the frame between, uint8 [H, W, 3]."""
        self._forwards = forwards
        self._even: Frames | None = None
        self._odd: Frames | None = None
        self._first: list[int] = []
        self._values: list[float] = []

    def update(self, chunk: Chunk) -> None:
        """Take the next frames."""
        for offset, frame in enumerate(chunk.frames):
            index = chunk.first + offset
            if index % 2:
                self._odd = frame.copy()
                continue
            if self._even is not None and self._odd is not None:
                key = (index - 2, self._odd)
                self._take(self._forwards.put(key, np.stack((self._even, frame))))
            self._even = frame.copy()

    def _take(self, answers: Any) -> None:
        for (first, dropped), middle in answers:
            self._first.append(first)
            self._values.append(smoothness(middle, dropped))

    def finish(self) -> Sequence[Reading]:
        """One item per triplet, at its first frame."""
        self._take(self._forwards.rest())
        curve = Curve(np.asarray(self._first, np.int64), np.asarray(self._values), TRIPLET)
        return [Reading("motion", curve)]


class Interpolation(Metric):
    """Motion smoothness by a network that finds the frame between two."""

    metrics = ("motion",)
    uses = ()
    protocol = 2
    min_frames = MIN_FRAMES
    span = TRIPLET
    network: "torch.nn.Module"

    @abstractmethod
    def build(self) -> "torch.nn.Module":
        """The network with its published weights."""

    @abstractmethod
    def padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Pixels to add left, right, above and below."""

    @abstractmethod
    def pad(self, frames: "Tensor", padding: tuple[int, int, int, int]) -> "Tensor":
        """[n, 3, H, W] with the padding."""

    def parameters(self) -> Mapping[str, Any]:
        """What changes the last digits."""
        return {"time": 0.5, "dtype": "float32", "group_pixels": PIXELS_AT_ONCE}

    def load(self, device: str) -> None:
        """Build the network and read its weights."""
        self.network = ready(self.build(), device)

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """Triplets of a slice are those of the video where the slice starts on an even frame."""
        return first % 2 == 0

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A value per triplet, 0..1."""
        import torch

        device = context.device
        height, width = video.height, video.width
        sides = self.padding(height, width)
        left, _, top, _ = sides

        def middles(pairs: npt.NDArray[Any]) -> npt.NDArray[Any]:
            """uint8 [n, 2, H, W, 3] to the frames between, uint8 [n, H, W, 3]."""
            with torch.inference_mode():
                frames = torch.from_numpy(pairs).to(device).permute(0, 1, 4, 2, 3) / 255.0
                padded = self.pad(frames.flatten(0, 1), sides).unflatten(0, (len(pairs), 2))  # type: ignore[no-untyped-call]
                middle = self.network(padded[:, 0].contiguous(), padded[:, 1].contiguous())
                middle = middle[..., top : top + height, left : left + width]
                # 8 bits by cutting, not rounding, as the reference does.
                values: npt.NDArray[Any] = (
                    (middle * 255.0).clamp(0, 255).permute(0, 2, 3, 1).cpu().numpy()
                )
            return values.astype(np.uint8)

        pairs = at_once(height * width, PIXELS_AT_ONCE, PAIRS_AT_ONCE)
        return Triplets(whole_frames(middles, pairs, device))


class AmtS(Interpolation):
    """VBench's: AMT-S, frames padded by replication to multiples of 16."""

    backend = "amt-s"
    weights = ("amt-s",)
    max_pixels = 1920 * 1088
    """The all-pairs correlation takes 11 GB there and grows with the square."""

    def build(self) -> "torch.nn.Module":
        """AMT-S from the published checkpoint."""
        from metrics.networks.amt import AMTSmall

        network = AMTSmall()
        network.load_state_dict(read_state("amt-s", "state_dict"))
        return network

    def padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Half on each side, the odd pixel right or below."""
        from metrics.networks.amt import MULTIPLE

        return centred_padding(height, width, MULTIPLE)

    def pad(self, frames: "Tensor", padding: tuple[int, int, int, int]) -> "Tensor":
        """The border's pixels repeated."""
        from torch.nn import functional as F

        return F.pad(frames, padding, mode="replicate")


def laid_out(network: "torch.nn.Module", device: str) -> "torch.nn.Module":
    """On a CPU with channels last, as its convolutions are faster so; else as it is."""
    import torch

    return network.to(memory_format=torch.channels_last) if device == "cpu" else network


class Rife(Interpolation):
    """RIFE HDv3: faster, and its weights come from the Python package index."""

    backend = "rife"
    weights = ("rife",)
    protocol = 3
    max_pixels = 4096 * 2304

    def load(self, device: str) -> None:
        """Build the network and read its weights."""
        super().load(device)
        self.network = laid_out(self.network, device)

    def build(self) -> "torch.nn.Module":
        """RIFE from the published file, without its training-time teacher."""
        from metrics.networks.rife import RIFE, published_state

        network = RIFE()
        network.load_state_dict(published_state(read_state("rife")))
        return network

    def padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Right and below, to multiples of 128."""
        from metrics.networks.rife import MULTIPLE

        return 0, -width % MULTIPLE, 0, -height % MULTIPLE

    def pad(self, frames: "Tensor", padding: tuple[int, int, int, int]) -> "Tensor":
        """With zeros, as the published program does."""
        from torch.nn import functional as F

        return F.pad(frames, padding)
