"""Subject and background consistency (VBench): does every frame resemble the first and the last?

Per frame after the first: (max(0, cos to the previous frame) + max(0, cos to the first frame)) / 2
of its features; a video's score is the mean. Subject uses DINO ViT-B/16 on the whole frame, short
side 224; background uses CLIP ViT-B/32 on the centre square.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
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
from metrics.clip_frames import (
    clip_input,
    image_features,
    load_clip,
    normalise,
    resized_size,
)
from metrics.forward import Forwards, Item, frame_tensor, read_state, ready

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
FRAMES_PER_FORWARD = 8


def likeness(feature: Item, previous: Item, first: Item) -> float:
    """(max(0, cos to previous) + max(0, cos to first)) / 2 of unit vectors: 0..1."""
    to_previous = max(0.0, float(feature @ previous))
    to_first = max(0.0, float(feature @ first))
    return (to_previous + to_first) / 2


def dino_input(frame: Frames) -> npt.NDArray[np.float32]:
    """One frame as VBench gives it to DINO: short side 224, nothing cropped, bilinear.

    Args:
        frame: uint8 [height, width, 3].

    Returns:
        float32 [3, h, w], ImageNet-normalised.
    """
    from torch.nn import functional as F

    pixels = frame_tensor(frame).float()
    size = resized_size(*frame.shape[:2])
    if size != frame.shape[:2]:
        pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    values: npt.NDArray[np.float32] = normalise(pixels / 255, IMAGENET_MEAN, IMAGENET_STD)[
        0
    ].numpy()
    return values


def dino_features(network: Any, images: "Tensor") -> "Tensor":
    """The class token of a DINO ViT for images of any shape: [n, 3, h, w] to [n, width].

    timm carries the network. The position embedding is stretched as DINO's code does it (bicubic,
    by a scale factor 0.1 patches too large), which differs from timm's own way.
    """
    import torch
    from torch.nn import functional as F

    tokens = network.patch_embed.proj(images)
    rows, columns = tokens.shape[-2:]
    trained = network.pos_embed[:, 1:]
    side = round(math.sqrt(trained.shape[1]))
    if (rows, columns) != (side, side) or images.shape[-2] != images.shape[-1]:
        grid = trained.transpose(1, 2).unflatten(2, (side, side))
        factors = ((rows + 0.1) / side, (columns + 0.1) / side)
        grid = F.interpolate(grid, scale_factor=factors, mode="bicubic")
        trained = grid.flatten(2).transpose(1, 2)
    summary = (network.cls_token + network.pos_embed[:, :1]).expand(len(images), -1, -1)
    x = torch.cat((summary, tokens.flatten(2).transpose(1, 2) + trained), dim=1)
    for block in network.blocks:
        x = block(x)
    features: Tensor = network.norm(x)[:, 0]
    return features


class Resemblance(Measurement):
    """Keeps two feature vectors: the first frame's and the previous frame's."""

    def __init__(self, metric: str, prepare: Any, forwards: Forwards[int]) -> None:
        self._metric = metric
        self._prepare = prepare
        self._forwards = forwards
        self._first: Item | None = None
        self._previous: Item | None = None
        self._values: list[float] = []

    def update(self, chunk: Chunk) -> None:
        """Prepare every frame; forward whenever a group is full."""
        for offset, frame in enumerate(chunk.frames):
            self._take(self._forwards.put(chunk.first + offset, self._prepare(frame)))

    def _take(self, answers: Iterator[tuple[int, Item]]) -> None:
        for _, feature in answers:
            if self._first is None or self._previous is None:
                self._first = feature
            else:
                self._values.append(likeness(feature, self._previous, self._first))
            self._previous = feature

    def finish(self) -> Sequence[Reading]:
        """One item per frame after the first, counted from the frame before it."""
        self._take(self._forwards.rest())
        values = np.asarray(self._values, dtype=np.float64)
        return [Reading(self._metric, Curve(np.arange(len(values)), values, 2))]


class Consistency(Metric):
    """Likeness of every frame to the previous and the first."""

    uses = ()
    min_frames = 2
    span = 2

    def parameters(self) -> Mapping[str, Any]:
        """What changes the last digits."""
        return {"dtype": "float32", "group": FRAMES_PER_FORWARD}

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """In a slice another frame is the first."""
        return first == 0

    @abstractmethod
    def prepare(self, frame: Frames) -> Item:
        """What the network gets of a frame."""

    @abstractmethod
    def features(self, frames: Item, device: str) -> "Tensor":
        """Unit vectors [n, width] of [n, 3, h, w]."""

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A value per frame after the first, 0..1."""

        def vectors(frames: Item) -> Item:
            values: Item = self.features(frames, context.device).double().cpu().numpy()
            return values

        return Resemblance(self.metrics[0], self.prepare, Forwards(FRAMES_PER_FORWARD, vectors))


class DinoSubject(Consistency):
    """Subject consistency by DINO ViT-B/16."""

    backend = "dino-b16"
    metrics = ("subject_consistency",)
    weights = ("dino-vit-b-16",)
    modules = ("timm",)
    network: Any

    def load(self, device: str) -> None:
        """Build the ViT and read DINO's weights."""
        import timm

        network = timm.create_model("vit_base_patch16_224", num_classes=0)
        network.load_state_dict(read_state("dino-vit-b-16"))
        self.network = ready(network, device)

    def prepare(self, frame: Frames) -> Item:
        """Short side 224, bilinear."""
        return dino_input(frame)

    def features(self, frames: Item, device: str) -> "Tensor":
        """The normalised class token."""
        import torch
        from torch.nn import functional as F

        with torch.inference_mode():
            images = torch.from_numpy(frames).to(device)
            return F.normalize(dino_features(self.network, images), dim=-1)


class ClipBackground(Consistency):
    """Background consistency by CLIP ViT-B/32."""

    backend = "clip-b32"
    metrics = ("background_consistency",)
    weights = ("clip-vit-b-32",)
    modules = ("open_clip",)
    clip: Any

    def load(self, device: str) -> None:
        """Read CLIP."""
        self.clip = load_clip(self.weights[0], device)

    def prepare(self, frame: Frames) -> Item:
        """CLIP's square, on floats."""
        return clip_input(frame)

    def features(self, frames: Item, device: str) -> "Tensor":
        """CLIP's image features."""
        return image_features(self.clip, frames, device)
