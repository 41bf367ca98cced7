"""Training clips as latents: rendered and encoded when first asked for, kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import HunyuanVideoFramepackPipeline
from numpy.typing import NDArray
from torch import Tensor

from bench.pocket import SIZE
from bench.pocket.render import render
from bench.pocket.world import sample_scene

TRAINING = 10_000_000
HELD_OUT = 20_000_000


def quiet_pipeline(folder: Path, **components: Any) -> Any:
    """Load a checkpoint folder with diffusers' own pipeline, without its progress bars."""
    loader: Any = HunyuanVideoFramepackPipeline
    pipeline = loader.from_pretrained(folder, **components)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class LatentStore:
    """Latents [clips, latents, C, h, w] (float16) and conditions of clips `first`, `first` + 1, …

    What a clip is depends on its number and the checkpoint only, so the order in which clips are
    asked for does not matter and a short rerun encodes no more than it needs. Conditions come from
    the pipeline's own encoders: text and pooled embeddings of the caption, image embedding of the
    first frame. With a `folder` everything is kept there.
    """

    def __init__(
        self,
        checkpoint: Path,
        clips: int,
        latents: int,
        first: int = TRAINING,
        folder: Path | None = None,
    ) -> None:
        self.pipeline = quiet_pipeline(checkpoint, transformer=None)
        self.clips, self.length, self.first = clips, latents, first
        channels = self.pipeline.vae.config.latent_channels
        side = SIZE // 8
        shape = (clips, latents, channels, side, side)
        self.latents: NDArray[np.float16]
        self.done: NDArray[np.bool_]
        if folder is None:
            self.latents, self.done = np.zeros(shape, np.float16), np.zeros(clips, np.bool_)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{first}-{clips}x{latents}"
            self.latents = self._map(folder / f"{name}.latents", shape, np.float16)
            self.done = self._map(folder / f"{name}.done", (clips,), np.bool_)
        self._conditions: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self.empty = self._prompts([""])

    @staticmethod
    def _map(path: Path, shape: tuple[int, ...], kind: type[Any]) -> Any:
        mode: Any = "r+" if path.exists() else "w+"
        return np.memmap(path, kind, mode, shape=shape)

    def _prompts(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """Text embeddings [n, words, D] without padding, and pooled embeddings [n, D]."""
        with torch.no_grad():
            text, pooled, mask = self.pipeline.encode_prompt(prompts)
        words = int(mask.sum(1).max())
        return text[:, :words].float(), pooled.float()

    def fill(self, clips: NDArray[np.int64]) -> None:
        """Render and encode those clips that are not there yet."""
        for clip in np.unique(clips):
            if self.done[clip]:
                continue
            video = render(sample_scene(self.first + int(clip)), 4 * self.length - 3)
            pixels = video.transpose(0, 1)[None].float() / 127.5 - 1
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                z = self.pipeline.vae.encode(pixels).latent_dist.mode()[0]
            self.latents[clip] = z.transpose(0, 1).float().numpy().astype(np.float16)
            self.done[clip] = True

    def conditions(self, clips: NDArray[np.int64], empty: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Text [n, words, D], pooled [n, D] and image [n, 1, D] embeddings of clips."""
        for clip in map(int, np.unique(clips)):
            if clip not in self._conditions:
                scene = sample_scene(self.first + clip)
                frame = render(scene, 1).float() / 127.5 - 1
                with torch.no_grad():
                    image = self.pipeline.encode_image(frame)[0].float()
                text, pooled = self._prompts([scene.caption])
                self._conditions[clip] = text[0], pooled[0], image
        found = [self._conditions[int(clip)] for clip in clips]
        text, pooled, image = (torch.stack(part) for part in zip(*found, strict=True))
        if empty:
            text, pooled = (part.expand(len(clips), *part.shape[1:]) for part in self.empty)
        return text, pooled, image

    def at(self, clips: NDArray[np.int64], places: NDArray[np.int64]) -> Tensor:
        """Latents [n, C, T, h, w] at `places` [n, T] of `clips` [n]; zeros where a place is −1."""
        found = self.latents[clips[:, None], np.maximum(places, 0)]
        z = torch.from_numpy(found.astype(np.float32))
        z[torch.from_numpy(places < 0)] = 0
        return z.transpose(1, 2)
