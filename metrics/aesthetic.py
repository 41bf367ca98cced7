"""Aesthetic: what people would say of a frame's beauty, read from CLIP's features.

CLIP ViT-L/14 (OpenAI) features of a frame, normalised, through LAION's head, divided by 10. VBench
uses the *linear* head; the well-known five-layer one ("improved aesthetic predictor", pyiqa's
`laion_aes`) gives other numbers and has its own name here. A video's score is the mean over frames.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from metrics.base import Measurement, Metric, ScoringContext, VideoInfo
from metrics.clip_frames import clip_input, image_features, load_clip
from metrics.forward import FrameForwards, read_state, ready

if TYPE_CHECKING:
    import torch

FRAMES_PER_FORWARD = 16
EMBEDDING = 768


class LaionHead(Metric):
    """What both heads share: CLIP ViT-L/14 over every frame."""

    metrics = ("aesthetic",)
    uses = ()
    modules = ("open_clip",)
    clip: Any
    head: "torch.nn.Module"

    def parameters(self) -> Mapping[str, Any]:
        """What changes the last digits."""
        return {"dtype": "float32", "group": FRAMES_PER_FORWARD}

    @abstractmethod
    def build_head(self) -> "torch.nn.Module":
        """The head with its published names, weights not yet read."""

    def load(self, device: str) -> None:
        """Read CLIP and the head."""
        head = self.build_head()
        head.load_state_dict(read_state(self.weights[1]))
        self.head = ready(head, device)
        self.clip = load_clip(self.weights[0], device)

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A value per frame, about 0.3 to 0.8."""
        import torch

        device = context.device

        def beauty(frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
            with torch.inference_mode():
                scores = self.head(image_features(self.clip, frames, device))
            values: npt.NDArray[Any] = scores.double().squeeze(-1).cpu().numpy() / 10
            return values

        return FrameForwards("aesthetic", clip_input, beauty, FRAMES_PER_FORWARD)


class LaionLinear(LaionHead):
    """VBench's: one linear layer."""

    backend = "laion-linear"
    weights = ("clip-vit-l-14", "laion-linear-l-14")

    def build_head(self) -> "torch.nn.Module":
        """768 features to one number."""
        from torch import nn

        return nn.Linear(EMBEDDING, 1)


class LaionMlp(LaionHead):
    """The improved predictor: five linear layers without activations between them."""

    backend = "laion-mlp"
    weights = ("clip-vit-l-14", "laion-mlp-l-14")

    def build_head(self) -> "torch.nn.Module":
        """Under the published names `layers.0` to `layers.7`; dropout rests in inference."""
        from torch import nn

        layers = nn.Sequential(
            nn.Linear(EMBEDDING, 1024),
            nn.Dropout(0.2),
            nn.Linear(1024, 128),
            nn.Dropout(0.2),
            nn.Linear(128, 64),
            nn.Dropout(0.1),
            nn.Linear(64, 16),
            nn.Linear(16, 1),
        )
        head = nn.Sequential()
        head.add_module("layers", layers)
        return head
