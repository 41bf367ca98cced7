"""Semantic: does the video show what its prompt says?

`viclip` is VBench's overall consistency: the cosine of ViCLIP's embeddings of prompt and video, the
video being 8 frames from the middles of 8 equal parts. Raw cosines lie at 0.2 to 0.3; only VBench's
leaderboard divides by 0.364. The curve has an item per second, each from 8 frames of its own; a
shorter video has one.

`clip-mean` looks at every frame alone: the mean cosine of CLIP ViT-L/14.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metrics.base import (
    Chunk,
    Curve,
    Measurement,
    Metric,
    Reading,
    ScoringContext,
    VideoInfo,
)
from metrics.clip_frames import clip_input, image_features, load_clip, text_features
from metrics.errors import Undefined
from metrics.forward import Forwards, FrameForwards, Item, read_state, ready

if TYPE_CHECKING:
    from metrics.networks.viclip import ViCLIP

CLIP_FRAMES = 8
CLIPS_PER_FORWARD = 2
FRAMES_PER_FORWARD = 16


def middle_frames(frames: int, count: int = CLIP_FRAMES) -> list[int]:
    """The frames that stand for a video: the middle of each of `count` equal parts.

    Bounds are linspace(0, frames, count + 1) rounded down; a part [lo, hi) gives
    (lo + hi − 1) // 2. A video of fewer frames gives them all, the last one repeated.
    """
    parts = min(count, frames)
    bounds = np.linspace(0, frames, parts + 1).astype(int)
    chosen = [int(low + high - 1) // 2 for low, high in pairwise(bounds)]
    return chosen + [chosen[-1]] * (count - parts)


class ClipCosines(Measurement):
    """Collects the whole video's 8 frames, and 8 frames of every second for the curve."""

    def __init__(self, video: VideoInfo, cosine: Any) -> None:
        """`cosine` maps [n, 8, 3, 224, 224] to the prompt's cosine with each clip, [n]."""
        self._window = min(video.frames, max(CLIP_FRAMES, round(video.fps)))
        self._windows = video.frames // self._window
        self._whole = middle_frames(video.frames)
        self._part = middle_frames(self._window)
        self._wanted = set(self._whole)
        self._cosine = cosine
        self._forwards: Forwards[int] = Forwards(CLIPS_PER_FORWARD, cosine)
        self._kept: dict[int, Item] = {}
        self._clip: dict[int, Item] = {}
        self._values: list[float] = []

    def update(self, chunk: Chunk) -> None:
        """Keep what is needed of the chunk's frames."""
        for offset, frame in enumerate(chunk.frames):
            index = chunk.first + offset
            window, place = divmod(index, self._window)
            in_curve = window < self._windows and place in self._part
            if not in_curve and index not in self._wanted:
                continue
            prepared = clip_input(frame, rounded=True)
            if index in self._wanted:
                self._kept[index] = prepared
            if in_curve:
                self._clip[place] = prepared
                if place == self._part[-1]:
                    clip = np.stack([self._clip[at] for at in self._part])
                    self._clip = {}
                    self._take(self._forwards.put(window, clip))

    def _take(self, answers: Any) -> None:
        self._values += [float(value) for _, value in answers]

    def finish(self) -> Sequence[Reading]:
        """The cosine of the 8 frames, and the curve by seconds."""
        missing = self._wanted - set(self._kept)
        if missing:
            raise Undefined(f"frame {min(missing)} was announced and did not come")
        self._take(self._forwards.rest())
        whole = np.stack([self._kept[index] for index in self._whole])
        value = float(self._cosine(np.stack([whole] * CLIPS_PER_FORWARD))[0])
        starts = np.arange(len(self._values), dtype=np.int64) * self._window
        curve = Curve(starts, np.asarray(self._values, dtype=np.float64), self._window)
        return [Reading("semantic", curve, value, coverage=1.0)]


class ViClip(Metric):
    """VBench's: ViCLIP-L, trained on InternVid-10M-FLT."""

    backend = "viclip"
    metrics = ("semantic",)
    uses = ("prompt",)
    needs = ("prompt",)
    weights = ("viclip-l-internvid-10m-flt",)
    modules = ("open_clip",)
    span = CLIP_FRAMES
    network: "ViCLIP"

    def parameters(self) -> Mapping[str, Any]:
        """What changes the cosine."""
        return {"frames": CLIP_FRAMES, "dtype": "float32", "group": CLIPS_PER_FORWARD}

    def load(self, device: str) -> None:
        """Build ViCLIP and read its weights."""
        from metrics.networks.viclip import ViCLIP

        network = ViCLIP()
        network.load_state_dict(read_state(self.weights[0], "model"))
        ready(network, device)
        self.network = network

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """The 8 frames are chosen anew in every slice."""
        return False

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """The cosine with the prompt, −1..1."""
        import torch

        from metrics.networks.viclip import tokenize

        device = context.device
        with torch.inference_mode():
            prompt = self.network.encode_text(tokenize([context.prompt or ""]).to(device))[0]

        def cosine(clips: npt.NDArray[Any]) -> npt.NDArray[Any]:
            with torch.inference_mode():
                videos = self.network.encode_video(torch.from_numpy(clips).to(device))
                values: npt.NDArray[Any] = (videos @ prompt).double().cpu().numpy()
            return values

        return ClipCosines(video, cosine)


class ClipMean(Metric):
    """The mean over frames of CLIP ViT-L/14's cosine with the prompt."""

    backend = "clip-mean"
    metrics = ("semantic",)
    uses = ("prompt",)
    needs = ("prompt",)
    weights = ("clip-vit-l-14",)
    modules = ("open_clip",)
    clip: Any

    def parameters(self) -> Mapping[str, Any]:
        """What changes the last digits."""
        return {"dtype": "float32", "group": FRAMES_PER_FORWARD}

    def load(self, device: str) -> None:
        """Read CLIP."""
        self.clip = load_clip(self.weights[0], device)

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A cosine per frame, −1..1."""
        device = context.device
        prompt = text_features(self.clip, context.prompt or "", device)

        def cosine(frames: npt.NDArray[Any]) -> npt.NDArray[Any]:
            features = image_features(self.clip, frames, device)
            values: npt.NDArray[Any] = (features @ prompt).double().cpu().numpy()
            return values

        return FrameForwards("semantic", clip_input, cosine, FRAMES_PER_FORWARD)
