"""A pipeline of diffusers that goes from section to section itself: one call makes one video.

SkyReels-V2 and Helios pass latents on, not pixels, so a call cannot be cut at the joints without
changing its bits. What happens inside is watched instead: when a section begins and ends, how many
tokens its model calls have, and whether its latents are finite.

Cells of a batch run one after the other: a video's bits never depend on its companions.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.generators.base import OnStep, Request
from bench.generators.piped import Piped
from bench.plan import Plan
from bench.rollout import (
    Frames,
    NonFiniteLatents,
    OnSection,
    Rollout,
    cure,
    describe,
    noise_seed,
)
from bench.variant import Variant

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Call:
    """One call of a pipeline: one video."""

    variant: Variant
    plan: Plan
    request: Request
    negative: str
    """What guidance steers away from."""
    rng: "torch.Generator"
    """Random numbers of the prompt's id and the seed."""
    callbacks: Mapping[str, Any]
    """Arguments of the pipeline that report its steps."""


class Whole(Piped):
    """Base of the kinds whose pipeline makes a long video in one call."""

    draws_on_device: ClassVar[bool] = False
    """Whether the pipeline needs random numbers of its own device; otherwise they are the CPU's,
    and the same on every machine."""

    @abstractmethod
    def call(self, call: Call) -> Any:
        """Call the pipeline once.

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
        """As `bench.rollout.rollout`: a plan of the kind's own `plan`, one call for each cell.

        Sections are counted over all cells of the batch, as they are made one cell after another.
        """
        self.use(variant)
        results: list[Rollout | Exception] = []
        total = len(plan.sections) * len(requests)
        for cell, request in enumerate(requests):
            before = cell * len(plan.sections)

            def ended(number: int, before: int = before) -> None:
                if on_section is not None:
                    on_section(before + number, total)

            try:
                results.append(self._video(variant, plan, request, ended, on_step))
            except NonFiniteLatents as failure:
                results.append(failure)
        return results

    def _video(
        self,
        variant: Variant,
        plan: Plan,
        request: Request,
        on_section: Callable[[int], None],
        on_step: OnStep | None,
    ) -> Rollout:
        import torch

        watch = Watch(self.pipe, on_section, on_step)
        seed = noise_seed(request.prompt_id, request.seed)
        device = self.device if self.draws_on_device else "cpu"
        try:
            with watch:
                frames = self.call(
                    Call(
                        variant,
                        plan,
                        request,
                        request.negative or self.config.negative,
                        torch.Generator(device).manual_seed(seed),
                        {"callback_on_step_end": watch.step},
                    )
                )
        except NonFiniteLatents as failure:
            raise NonFiniteLatents(
                f"{failure} of {len(plan.sections)} (prompt {request.prompt_id}, seed "
                f"{request.seed}); {cure(self.dtype)}"
            ) from None
        video = to_bytes(frames)
        record = describe(self, variant, plan) | {
            "generator": self.identity() | self.settings(variant),
            "tokens_per_section": watch.tokens,
            "section_seconds": [round(seconds, 4) for seconds in watch.seconds],
            "seconds_decode": round(watch.between, 4),
            "peak_memory_bytes": self.peak_memory(),
            "untrained": list(self._settings.untrained),
            "batch_size": 1,
        }
        return Rollout([video], record)

    @abstractmethod
    def settings(self, variant: Variant) -> dict[str, Any]:
        """What the pipeline is called with, for the record."""


class Watch:
    """What goes on inside a running pipeline, section by section.

    Args:
        pipe: the pipeline; its transformer has `blocks`, of which the first sees all tokens.
        on_section: called with the section's number, from 1, when it is denoised.
        on_step: called after every diffusion step.
    """

    def __init__(
        self, pipe: Any, on_section: Callable[[int], None], on_step: OnStep | None = None
    ) -> None:
        self.tokens: list[int] = []
        """Video tokens of one model call, for every section."""
        self.seconds: list[float] = []
        """Of every section's denoising."""
        self.between = 0.0
        """Seconds after a section's end: decoding."""
        self._pipe, self._on_section, self._on_step = pipe, on_section, on_step
        self._began: float | None = None
        self._ended: float | None = None

    def __enter__(self) -> "Watch":
        block = self._pipe.transformer.blocks[0]
        self._hook = block.register_forward_pre_hook(self._model_call)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()
        self._wait_over(time.perf_counter())

    def _model_call(self, block: Any, arguments: tuple[Any, ...]) -> None:
        """The first block is given all tokens of a model call."""
        if self._began is None:
            self._began = time.perf_counter()
            self._wait_over(self._began)
            self.tokens.append(int(arguments[0].shape[1]))

    def _wait_over(self, now: float) -> None:
        if self._ended is not None:
            self.between += now - self._ended
            self._ended = None

    def step(self, pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """A pipeline's `callback_on_step_end`.

        Raises:
            NonFiniteLatents: at the end of a section.
        """
        import torch

        del timestep
        if self._on_step is not None:
            self._on_step(step + 1, pipe.num_timesteps)
        if step + 1 == pipe.num_timesteps:
            number = len(self.seconds) + 1
            if not torch.isfinite(tensors["latents"]).all():
                raise NonFiniteLatents(f"latents are not finite after section {number}")
            self._ended = time.perf_counter()
            self.seconds.append(self._ended - (self._began or self._ended))
            self._began = None
            self._on_section(number)
        return {}


def to_bytes(frames: Any) -> Frames:
    """Floats in 0..1 to RGB bytes, rounded as diffusers rounds."""
    found: Frames = (np.asarray(frames) * 255).round().astype(np.uint8)
    return found
