"""OpenAI CLIP's image features, as VBench computes them.

VBench's transform differs from CLIP's own: it resizes tensors without antialiasing. Given floats
(Aesthetic, background consistency) bicubic overshoot survives; given uint8 (ViCLIP) the resized
frame is rounded and clamped. Features are float32; VBench on a GPU uses float16, about 1e-3 off.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metrics import weights
from metrics.base import Frames
from metrics.forward import frame_tensor, ready

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def resized_size(height: int, width: int, side: int = SIDE) -> tuple[int, int]:
    """Height and width with the shorter side at `side`, the longer one rounded down."""
    short, long = min(height, width), max(height, width)
    scaled = int(side * long / short)
    return (scaled, side) if height >= width else (side, scaled)


def centre_crop(x: "Tensor", side: int = SIDE) -> "Tensor":
    """The middle side × side of [..., H, W]; a half pixel goes to the even side."""
    height, width = x.shape[-2:]
    top, left = round((height - side) / 2), round((width - side) / 2)
    return x[..., top : top + side, left : left + side]


def normalise(x: "Tensor", mean: tuple[float, ...], std: tuple[float, ...]) -> "Tensor":
    """(x − mean) / std per channel of [n, 3, H, W]."""
    centre, spread = x.new_tensor(mean).view(3, 1, 1), x.new_tensor(std).view(3, 1, 1)
    return (x - centre) / spread


def clip_input(frame: Frames, rounded: bool = False) -> npt.NDArray[np.float32]:
    """One frame as CLIP sees it under VBench.

    Args:
        frame: uint8 [height, width, 3].
        rounded: back to uint8 after resizing, as VBench does for ViCLIP.

    Returns:
        float32 [3, 224, 224].
    """
    from torch.nn import functional as F

    pixels = frame_tensor(frame).float()
    size = resized_size(*frame.shape[:2])
    if size != frame.shape[:2]:
        pixels = F.interpolate(pixels, size=size, mode="bicubic", align_corners=False)
        if rounded:
            pixels = pixels.clamp(0, 255).round()
    values: npt.NDArray[np.float32] = normalise(centre_crop(pixels) / 255, MEAN, STD)[0].numpy()
    return values


def load_clip(weight: str, device: str) -> Any:
    """OpenAI's published CLIP in float32, by open_clip (QuickGELU included)."""
    from open_clip import load_openai_model  # type: ignore[import-untyped]

    path = weights.get(weight)
    return ready(load_openai_model(str(path), precision="fp32", device="cpu"), device)


def image_features(clip: Any, frames: npt.NDArray[Any], device: str) -> "Tensor":
    """[n, 3, 224, 224] to unit vectors [n, embedding] on the device."""
    import torch
    from torch.nn import functional as F

    with torch.inference_mode():
        features = clip.encode_image(torch.from_numpy(frames).to(device)).float()
        return F.normalize(features, dim=-1)


def text_features(clip: Any, prompt: str, device: str) -> "Tensor":
    """A prompt (cut at CLIP's 77 tokens) to a unit vector [embedding]."""
    import torch
    from open_clip import SimpleTokenizer
    from torch.nn import functional as F

    with torch.inference_mode():
        tokens = SimpleTokenizer()([prompt]).to(device)
        return F.normalize(clip.encode_text(tokens).float(), dim=-1)[0]
