"""Run a plan: denoise a batch of cells of one variant section by section, decode, join."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.assembly import Assembly
from bench.distortion import Watched
from bench.errors import UserError
from bench.generators.base import ContextFrames, Generator, OnStep, Request, RollsOut
from bench.history import Noisy, Treatment, untouched
from bench.plan import Context, Plan, Section
from bench.similarity import most_similar
from bench.variant import Variant

if TYPE_CHECKING:
    from bench.history import Treatment

Frames = NDArray[np.uint8]
"""RGB pixels [T, H, W, 3]."""


@dataclass(frozen=True)
class Rollout:
    """One finished video."""

    frames: list[Frames]
    """The video in order, in chunks [n, H, W, 3]; all chunks together have the plan's frames."""
    record: dict[str, Any]
    """Fields of the cell's record: those of `describe`, and generator, tokens_per_section,
    section_seconds, seconds_decode, peak_memory_bytes, untrained, history."""


ORDER_WEIGHTS: dict[str, float | None] = {"time": None, "similarity": 0.0, "hybrid": 1.0}
"""λ of time in each order of the history; None: time alone, nothing is compared."""


class NonFiniteLatents(RuntimeError):
    """The model gave NaN or infinite latents: the video of this cell cannot go on."""


def cure(dtype: str) -> str:
    """What may help against values that are not finite."""
    if dtype != "float32":
        return f"try generator.dtype=float32 instead of {dtype}, or lower guidance"
    return "dtype is float32 already: lower guidance, or look at the checkpoint's weights"


class OnSection(Protocol):
    """What is called after each section."""

    def __call__(
        self, number: int, sections: int, frames: Callable[[], Sequence[Frames]] | None = None
    ) -> None:
        """Section `number` (from 1, in the order made) of `sections` is done.

        `frames()` gives, for every request, the video [T, H, W, 3] as far as it is decoded.
        """


def rollout(
    generator: Generator | RollsOut,
    variant: Variant,
    plan: Plan,
    requests: Sequence[Request],
    *,
    on_section: OnSection | None = None,
    on_step: OnStep | None = None,
) -> list[Rollout | Exception]:
    """Make the videos of several requests as one batch.

    Args:
        generator: from `bench.generators.build`.
        variant: what is under test.
        plan: from `bench.generators.plan(config, variant, ...)`, the same for all requests.
        requests: cells; noise depends on their prompt id and seed, never on the variant or on
            the batch.
        on_section: called after each section.
        on_step: called after each diffusion step of each section.

    Returns:
        One result per request, in their order; an exception for a request that failed alone
        (its latents are not finite).

    Raises:
        UserError: the variant cannot be made by this generator, or a request lacks its end image.
        torch.OutOfMemoryError: the device's memory does not hold the batch.
    """
    if isinstance(generator, RollsOut):
        return generator.rollout(variant, plan, requests, on_section=on_section, on_step=on_step)
    if variant.option("method", "packed") == "repeat":
        from bench.repeat import rollout_repeated

        make = rollout_repeated
    else:
        make = rollout_packed
    return make(generator, variant, plan, requests, on_section=on_section, on_step=on_step)


def rollout_packed(
    generator: Generator,
    variant: Variant,
    plan: Plan,
    requests: Sequence[Request],
    *,
    on_section: OnSection | None = None,
    on_step: OnStep | None = None,
) -> list[Rollout | Exception]:
    """The rollout of a plan as it stands; see `rollout`."""
    import torch

    check_ends(variant, plan, requests)
    settings = generator.use(variant, plan.kernels)
    chosen = generator.history_treatment(variant)
    watched = None if chosen is untouched else Watched(chosen, len(requests))
    treatment = watched or chosen
    tokens: list[int] = []
    seconds: list[float] = []
    seconds_decode = 0.0
    with torch.inference_mode():
        order = str(variant.option("order", "time"))
        batch = _Batch(generator, plan, requests, treatment, ORDER_WEIGHTS[order])
        batch.noised = any(
            float(variant.option(key, 0.0)) > 0 for key in ("history_guidance", "forcing")
        )
        for number in range(len(plan.sections)):
            started = time.perf_counter()
            tokens.append(batch.denoise(number, on_step))
            denoised = time.perf_counter()
            batch.decode(number)
            seconds.append(round(denoised - started, 4))
            seconds_decode += time.perf_counter() - denoised
            if all(batch.failures):
                break
            if on_section is not None:
                on_section(number + 1, len(plan.sections), batch.so_far)
    record = describe(generator, variant, plan) | {
        "generator": generator.identity() | settings.values,
        "tokens_per_section": tokens,
        "section_seconds": seconds,
        "seconds_decode": round(seconds_decode, 4),
        "peak_memory_bytes": generator.peak_memory(),
        "untrained": list(settings.untrained),
    }
    return [
        failure
        or Rollout(video.chunks(), record | {"history": watched.told(cell) if watched else None})
        for cell, (failure, video) in enumerate(zip(batch.failures, batch.videos, strict=True))
    ]


def check_ends(variant: Variant, plan: Plan, requests: Sequence[Request]) -> None:
    """Check that the requests have end images if and only if the plan does.

    Raises:
        UserError: one does not; names it.
    """
    for request in requests:
        if (request.last_image is not None) != plan.end_image:
            lacks = "needs an end image" if plan.end_image else "takes no end image"
            raise UserError(f"{variant.name}: the plan {lacks}, unlike prompt {request.prompt_id}")


VERSIONS = ("torch", "diffusers", "transformers", "av")
"""Packages whose version may change a video's bytes; av carries the encoder."""


def describe(generator: Generator | RollsOut, variant: Variant, plan: Plan) -> dict[str, Any]:
    """The record's fields that are known before anything is made."""
    return {
        "plan_digest": plan.digest,
        "sampler": variant.sampler,
        "packing": "".join(map(str, reversed(variant.packing.levels))),
        "section": variant.section,
        "tail": variant.packing.tail,
        "discrete": variant.discrete,
        "options": dict(variant.options),
        "generator": generator.identity(),
        "latents": plan.latents,
        "section_starts": plan.section_starts,
        "device": generator.device,
        "dtype": generator.dtype,
        "versions": {name: version(name) for name in VERSIONS},
    }


def noise_seed(prompt_id: str, seed: int, stream: str = "") -> int:
    """The seed of a cell's random numbers: of its prompt and seed, and of nothing else."""
    digest = hashlib.sha256(f"{prompt_id}\0{seed}\0{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class _Batch:
    """Cells that are denoised together: their latents, random numbers and videos."""

    def __init__(
        self,
        generator: Generator,
        plan: Plan,
        requests: Sequence[Request],
        treatment: Treatment,
        time_weight: float | None = None,
    ) -> None:
        import torch

        self.time_weight = time_weight
        self.noised = False
        """Whether the contexts with fully noised history are needed too."""
        self.generator, self.plan, self.requests = generator, plan, requests
        self.treatment = treatment
        self.videos = [Assembly() for _ in requests]
        self.failures: list[Exception | None] = [None] * len(requests)
        self.rngs, self.treatment_rngs = (
            [
                torch.Generator().manual_seed(noise_seed(r.prompt_id, r.seed, stream))
                for r in requests
            ]
            for stream in ("", "history")
        )
        self.conditions = [generator.condition(r, plan.height, plan.width) for r in requests]
        first_last = [
            generator.image_latents(condition, rng)
            for condition, rng in zip(self.conditions, self.rngs, strict=True)
        ]
        first = torch.cat([latents for latents, _ in first_last])
        # One past the last generated latent stands the end image, or zeros that nobody asks for.
        self.latents = first.new_zeros(
            (len(requests), first.shape[1], plan.latents + 1, *first.shape[3:])
        )
        self.latents[:, :, :1] = first
        for cell, (_, last) in enumerate(first_last):
            if last is not None:
                self.latents[cell, :, -1:] = last[0]

    def denoise(self, number: int, on_step: OnStep | None) -> int:
        """Make section `number`; gives the video tokens of one model call."""
        import torch

        section = self.plan.sections[number]
        self._arrange(section)
        shape = (1, self.generator.channels, len(section.target), *self.latents.shape[3:])
        noise = torch.cat([torch.randn(shape, generator=rng) for rng in self.rngs])
        done = self.generator.denoise(
            self.conditions,
            [self._frames(context, self.treatment) for context in section.contexts],
            section.target_indices,
            noise.to(self.latents.device),
            on_step,
            [self._frames(context, Noisy(1.0)) for context in section.contexts]
            if self.noised
            else None,
        )
        finite = torch.isfinite(done.latents).flatten(1).all(1).tolist()
        for cell, fine in enumerate(finite):
            if not fine and self.failures[cell] is None:
                request = self.requests[cell]
                self.failures[cell] = NonFiniteLatents(
                    f"latents are not finite after section {number + 1} of "
                    f"{len(self.plan.sections)} (prompt {request.prompt_id}, seed {request.seed}); "
                    f"{cure(self.generator.dtype)}"
                )
        self.latents[:, :, section.target[0] : section.target[-1] + 1] = done.latents
        return done.tokens

    def _arrange(self, section: Section) -> None:
        """Which frame stands in which history place: itself, or by similarity to the newest.

        Places keep their RoPE indices, as all cells of a batch share one layout. Only generated
        frames move, all of those on the history's side of the target are candidates.
        """
        import torch

        self.sources = torch.arange(self.latents.shape[2]).repeat(len(self.requests), 1)
        if self.time_weight is None:
            return
        seen = {frame for context in section.contexts for frame in context.frames if frame}
        first, last = section.target[0], section.target[-1]
        near_first: list[int] = []
        candidates: list[int] = []
        if self.plan.sampler == "inverted":
            candidates = list(range(last + 1, self.plan.latents))
            near_first = [frame for frame in candidates if frame in seen]
        elif first > 1 and first - 1 in seen:
            candidates = list(range(first - 1, 0, -1))
            near_first = [frame for frame in candidates if frame in seen]
        if not near_first:
            return
        distances = [abs(frame - candidates[0]) for frame in candidates]
        for cell in range(len(self.requests)):
            frames = self.latents[cell, :, candidates].movedim(0, 1).cpu().numpy()
            order = most_similar(frames, distances, self.time_weight)
            chosen = torch.tensor([candidates[i] for i in order[: len(near_first)]])
            self.sources[cell, near_first] = chosen

    def _frames(self, context: Context, treatment: Treatment) -> ContextFrames:
        """A context's latents: zeros where a frame does not exist, generated frames treated."""
        import torch

        shape = list(self.latents.shape)
        shape[2] = len(context.frames)
        latents = self.latents.new_zeros(shape)
        real = [(i, frame) for i, frame in enumerate(context.frames) if frame is not None]
        if real:
            slots, frames = (torch.tensor(list(part)) for part in zip(*real, strict=True))
            for cell, sources in enumerate(self.sources):
                latents[cell, :, slots] = self.latents[cell, :, sources[frames]]
        made = [i for i, frame in real if 0 < frame < self.plan.latents]
        if made:
            latents[:, :, made] = treatment(latents[:, :, made], self.treatment_rngs)
        return ContextFrames(context.kernel, latents, context.indices, context.pool)

    def decode(self, number: int) -> None:
        """Decode what section `number` has completed."""
        decodes = self.plan.decodes
        for index, decode in enumerate(decodes):
            if decode.after != number:
                continue
            next_overlap = decodes[index + 1].overlap if index + 1 < len(decodes) else 0
            alive = [cell for cell, failure in enumerate(self.failures) if failure is None]
            if not alive:
                return
            # One cell alone keeps the published schedule, and with it diffusers' bits: those of a
            # convolution depend on how many latents it is given.
            once = self.generator.decodes_alone and len(self.requests) > 1
            short = once and decode.side != "whole"
            piece = decode.short(self.plan.section) if short else decode
            latents = self.latents[alive, :, piece.first : piece.first + piece.count]
            for cell, pixels in zip(alive, self.generator.decode(latents), strict=True):
                self.videos[cell].add(decode, pixels, next_overlap, short=short)

    def so_far(self) -> list[Frames]:
        """Every cell's video as far as it is decoded."""
        return [video.so_far() for video in self.videos]
