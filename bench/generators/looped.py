"""A pipeline of diffusers in a loop: every section is one call that continues the last frames.

The frames that are passed on are **bytes**, as a user would pass on the frames of a finished
video: what a section begins with can be seen in the video, and the loop can be repeated by hand
from its files. Passing on floats would hide an error of at most half a grey level in 255, which is
far below that of the autoencoder, which every frame passes twice.

Every section draws its noise from the prompt's id, the seed and the section's number, and from
nothing else. Cells of a batch run one after the other: pipelines take one image per call, and
a clip's bits would depend on its companions.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.generators.base import OnStep, Request
from bench.generators.piped import Config, Piped
from bench.plan import Plan
from bench.rollout import (
    Frames,
    NonFiniteLatents,
    OnSection,
    Rollout,
    check_ends,
    cure,
    describe,
    noise_seed,
)
from bench.variant import Variant

if TYPE_CHECKING:
    import torch
    from PIL import Image


@dataclass(frozen=True)
class Clip:
    """One call of a pipeline."""

    text: str
    negative: str
    history: "Sequence[Image.Image]"
    """The frames it begins with, in time order; one image of any size in the first section."""
    last: "Image.Image | None"
    """The frame it is led to, for kinds that take one."""
    frames: int
    """Pixel frames of the clip, its history included."""
    height: int
    width: int
    rng: "torch.Generator"
    callbacks: Mapping[str, Any]
    """Arguments of the pipeline that report its steps."""


@dataclass
class Made:
    """One video as far as it is made."""

    chunks: list[Frames] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Of every section, decoding excluded."""
    decoding: float = 0.0
    failure: Exception | None = None

    def so_far(self) -> Frames:
        """All frames; none before the first section."""
        return np.concatenate(self.chunks) if self.chunks else np.zeros((0, 1, 1, 3), np.uint8)


class Looped(Piped, ABC):
    """Base of the kinds that make videos clip by clip."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._decoding = 0.0
        """Seconds spent in the decoder so far."""
        decode = self.pipe.vae.decode

        def timed(*latents: Any, **how: Any) -> Any:
            started = time.perf_counter()
            try:
                return decode(*latents, **how)
            finally:
                self._decoding += time.perf_counter() - started

        self.pipe.vae.decode = timed

    def identity(self) -> dict[str, Any]:
        """Checkpoint, digest of its weights, types, and what goes from section to section."""
        return super().identity() | {"passed_on": "bytes"}

    @abstractmethod
    def call(self, clip: Clip) -> Any:
        """Call the pipeline for one clip.

        Returns:
            Frames [T, H, W, 3], floats in 0..1.
        """

    def rollout(
        self,
        variant: Variant,
        plan: Plan,
        requests: Sequence[Request],
        *,
        on_section: OnSection | None = None,
        on_step: OnStep | None = None,
    ) -> list[Rollout | Exception]:
        """As `bench.rollout.rollout`: a plan of `Clips.plan`, section by section."""
        check_ends(variant, plan, requests)
        settings = self.use(variant)
        made = [Made() for _ in requests]
        for number in range(len(plan.sections)):
            for video, request in zip(made, requests, strict=True):
                if video.failure is None:
                    self._add_section(plan, number, request, video, on_step)
            if all(video.failure for video in made):
                break
            if on_section is not None:
                on_section(number + 1, len(plan.sections), lambda: [v.so_far() for v in made])
        record = describe(self, variant, plan) | {
            "generator": self.identity()
            | settings.values
            | {"overlap_frames": self.clips.frames(variant.packing.history)},
            "tokens_per_section": plan.tokens_per_section,
            "peak_memory_bytes": self.peak_memory(),
            "untrained": list(settings.untrained),
            "batch_size": 1,
        }
        return [
            video.failure
            or Rollout(
                video.chunks,
                record
                | {
                    "section_seconds": [round(seconds, 4) for seconds in video.seconds],
                    "seconds_decode": round(video.decoding, 4),
                },
            )
            for video in made
        ]

    def _add_section(
        self, plan: Plan, number: int, request: Request, video: "Made", on_step: OnStep | None
    ) -> None:
        """Make one section of one video, or note that it failed."""
        started, self._decoding = time.perf_counter(), 0.0
        try:
            video.chunks.append(self._section(plan, number, request, video.chunks, on_step))
        except NonFiniteLatents as failure:
            video.failure = failure
        video.seconds.append(time.perf_counter() - started - self._decoding)
        video.decoding += self._decoding

    def _section(
        self,
        plan: Plan,
        number: int,
        request: Request,
        video: Sequence[Frames],
        on_step: OnStep | None,
    ) -> Frames:
        """The new frames of one section, the input image's place included in the first."""
        import torch
        from PIL import Image

        section = plan.sections[number]
        seen = len(section.contexts[0].frames)
        overlap = self.clips.frames(seen)
        history = [request.image]
        if number:
            history = [Image.fromarray(frame) for frame in _newest(video, overlap)]
        steps = int(self.values["steps"])
        stream = f"section {number}" if number else ""
        seed = noise_seed(request.prompt_id, request.seed, stream)
        frames = self.call(
            Clip(
                text=request.text,
                negative=request.negative or self.config.negative,
                history=history,
                last=(request.last_image or request.image) if self.clips.end else None,
                frames=self.clips.frames(seen + len(section.target)),
                height=plan.height,
                width=plan.width,
                rng=torch.Generator().manual_seed(seed),
                callbacks=_callbacks(on_step, steps),
            )
        )
        pixels = np.asarray(frames)
        if not np.isfinite(pixels).all():
            raise NonFiniteLatents(
                f"pixels are not finite after section {number + 1} of {len(plan.sections)} "
                f"(prompt {request.prompt_id}, seed {request.seed}); {cure(self.dtype)}"
            )
        found: Frames = (pixels * 255).round().astype(np.uint8)
        return found[overlap:] if number else found


def _callbacks(on_step: OnStep | None, steps: int) -> dict[str, Any]:
    """A pipeline's arguments that report every step."""
    if on_step is None:
        return {}

    def after(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1, steps)
        return {}

    return {"callback_on_step_end": after}


def _newest(video: Sequence[Frames], count: int) -> Frames:
    """The last frames of a video in chunks."""
    chunks: list[Frames] = []
    for chunk in reversed(video):
        if sum(map(len, chunks)) >= count:
            break
        chunks.insert(0, chunk)
    return np.concatenate(chunks)[-count:]
