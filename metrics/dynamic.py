"""Dynamic by RAFT: VBench's dynamic degree, and the magnitude that it is a threshold of.

Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow" (ECCV 2020), 20
iterations at full resolution, by torchvision, whose C_T_V1 weights are the port of the original
`raft-things`. The rule on the flow is in `metrics.dynamic_degree`.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metrics.base import (
    Chunk,
    Frames,
    Measurement,
    Metric,
    Reading,
    ScoringContext,
    VideoInfo,
)
from metrics.dynamic_degree import (
    flow_readings,
    pair_magnitude,
    starts_in_phase,
    stride,
    threshold,
)
from metrics.forward import (
    Forwards,
    Item,
    at_once,
    centred_padding,
    read_state,
    ready,
    whole_frames,
)

if TYPE_CHECKING:
    import torch

ITERATIONS = 20
MULTIPLE = 8
PIXELS_AT_ONCE = 4 * 640 * 360
PAIRS_AT_ONCE = 4


class SampledPairs(Measurement):
    """Sampled frames in pairs to the network; one number a pair is kept."""

    def __init__(self, video: VideoInfo, forwards: Forwards[int]) -> None:
        self._forwards = forwards
        self._stride = stride(video.fps)
        self._limit = threshold(video.width, video.height)
        self._previous: Frames | None = None
        self._magnitudes: list[float] = []

    def update(self, chunk: Chunk) -> None:
        """Pair each sampled frame with the one sampled before."""
        skip = -chunk.first % self._stride
        for offset in range(skip, len(chunk), self._stride):
            frame = chunk.frames[offset].copy()
            if self._previous is not None:
                pair = np.stack((self._previous, frame))
                self._take(self._forwards.put(chunk.first + offset, pair))
            self._previous = frame

    def _take(self, answers: Iterator[tuple[int, Item]]) -> None:
        self._magnitudes += [float(magnitude) for _, magnitude in answers]

    def finish(self) -> Sequence[Reading]:
        """`dynamic` and `dynamic_magnitude`. Raises `Undefined` for fewer than two samples."""
        self._take(self._forwards.rest())
        return flow_readings(np.asarray(self._magnitudes), self._stride, self._limit)


def with_own_correlation(network: "torch.nn.Module") -> "torch.nn.Module":
    """The same network, weights shared, that can run beside itself.

    torchvision's RAFT keeps a pair's correlation pyramid in the module from the first iteration to
    the last: of two forwards at once, each would look up the other's.
    """
    own = copy(network)
    own._modules = {**network._modules, "corr_block": copy(network._modules["corr_block"])}
    return own


class RaftLarge(Metric):
    """VBench's Dynamic and its magnitude in pixels."""

    backend = "raft-large"
    metrics = ("dynamic", "dynamic_magnitude")
    protocol = 3
    uses = ()
    weights = ("raft-large-c-t-v1",)
    modules = ("torchvision",)
    max_pixels = 1920 * 1088
    span = 2
    network: "torch.nn.Module"

    def parameters(self) -> Mapping[str, Any]:
        """What changes the flow."""
        return {
            "iterations": ITERATIONS,
            "dtype": "float32",
            "group_pixels": PIXELS_AT_ONCE,
        }

    def load(self, device: str) -> None:
        """Build RAFT and read its weights."""
        from torchvision.models.optical_flow import raft_large  # type: ignore[import-untyped]

        network = raft_large(weights=None)
        network.load_state_dict(read_state("raft-large-c-t-v1"))
        self.network = ready(network, device)

    def frames_needed(self, video: VideoInfo) -> int:
        """Two samples."""
        return stride(video.fps) + 1

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """Sampling starts anew in a slice; the curve agrees where the phase does."""
        return starts_in_phase(first, video)

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A magnitude per pair of sampled frames."""
        import torch
        from torch.nn import functional as F

        device = context.device
        padding = centred_padding(video.height, video.width, MULTIPLE)

        def magnitudes(pairs: npt.NDArray[Any]) -> npt.NDArray[Any]:
            """uint8 [n, 2, H, W, 3] to [n] pixels."""
            with torch.inference_mode():
                frames = torch.from_numpy(pairs).to(device).permute(1, 0, 4, 2, 3).float()
                # The margin is measured with the frame, as VBench does.
                first, second = (F.pad(one, padding, mode="replicate") for one in frames)
                flows = with_own_correlation(self.network)(
                    first / 255.0 * 2 - 1, second / 255.0 * 2 - 1, num_flow_updates=ITERATIONS
                )[-1]
                fields = flows.permute(0, 2, 3, 1).cpu().numpy()
            return np.asarray([pair_magnitude(field) for field in fields])

        pairs = at_once(video.height * video.width, PIXELS_AT_ONCE, PAIRS_AT_ONCE)
        return SampledPairs(video, whole_frames(magnitudes, pairs, device))
