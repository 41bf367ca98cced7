"""Clarity by MUSIQ trained on SPAQ: VBench's imaging quality.

Ke et al., "MUSIQ: Multi-scale Image Quality Transformer" (ICCV 2021), as pyiqa carries it; plain
`musiq` there is another checkpoint (KonIQ). The opinion score of a frame, 0..100, divided by 100;
a video's is the mean over its frames.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metrics.base import Frames, Measurement, Metric, ScoringContext, VideoInfo
from metrics.forward import FrameForwards, frame_tensor, read_state, ready

if TYPE_CHECKING:
    import torch

LONG_SIDE = 512
FRAMES_PER_FORWARD = 8


def musiq_input(frame: Frames) -> npt.NDArray[np.float32]:
    """One frame as VBench gives it to MUSIQ: at most 512 pixels long, never enlarged.

    Args:
        frame: uint8 [height, width, 3].

    Returns:
        float32 [3, h, w] in 0..1, bilinear without antialiasing.
    """
    from torch.nn import functional as F

    pixels = frame_tensor(frame).float()
    height, width = frame.shape[:2]
    if max(height, width) > LONG_SIDE:
        scale = LONG_SIDE / max(height, width)
        size = (max(1, int(scale * height)), max(1, int(scale * width)))
        pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    values: npt.NDArray[np.float32] = (pixels[0] / 255).numpy()
    return values


class MusiqSpaq(Metric):
    """Clarity by pyiqa's musiq-spaq."""

    backend = "musiq-spaq"
    metrics = ("clarity",)
    uses = ()
    weights = ("musiq-spaq",)
    modules = ("pyiqa",)
    network: "torch.nn.Module"

    def parameters(self) -> Mapping[str, Any]:
        """The rule that the frames are resized by."""
        return {"long_side": LONG_SIDE, "dtype": "float32", "group": FRAMES_PER_FORWARD}

    def load(self, device: str) -> None:
        """Build MUSIQ and read the SPAQ checkpoint."""
        from pyiqa.archs.musiq_arch import MUSIQ  # type: ignore[import-untyped]

        network = MUSIQ(pretrained=False)
        network.load_state_dict(read_state("musiq-spaq"))
        self.network = ready(network, device)

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A value per frame, 0..1."""
        import torch

        device = context.device

        def opinion(frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
            with torch.inference_mode():
                scores = self.network(torch.from_numpy(frames).to(device))
            values: npt.NDArray[Any] = scores.double().reshape(-1).cpu().numpy() / 100
            return values

        return FrameForwards("clarity", musiq_input, opinion, FRAMES_PER_FORWARD)
