"""Repeating image-to-video: every section is a new video that begins with the last frame.

The first of the alternatives that the paper compares with (its Table 2). Nothing but one decoded
frame passes from section to section: the past is forgotten, and errors of decoding and encoding
pile up.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.generators.base import Generator, OnStep, Request
from bench.plan import Decode, Plan
from bench.rollout import Frames, OnSection, Rollout, noise_seed, rollout_packed
from bench.variant import Variant


def rollout_repeated(
    generator: Generator,
    variant: Variant,
    plan: Plan,
    requests: Sequence[Request],
    *,
    on_section: OnSection | None = None,
    on_step: OnStep | None = None,
) -> list[Rollout | Exception]:
    """As `bench.rollout.rollout`, by one image-to-video run for each section.

    Raises:
        UserError: the variant's sampler is not vanilla, which alone goes from frame to frame.
    """
    if plan.sampler != "vanilla":
        raise UserError(f"{variant.name}: method-repeat needs a vanilla name, such as td_f1k1_g9")
    alone = _first_section(plan)
    videos: list[list[Frames]] = [[] for _ in requests]
    failures: list[Exception | None] = [None] * len(requests)
    records: list[dict[str, Any]] = []
    asked = list(requests)
    for number in range(len(plan.sections)):
        alive = [cell for cell, failure in enumerate(failures) if failure is None]
        if not alive:
            break
        made = rollout_packed(
            generator, variant, alone, [asked[cell] for cell in alive], on_step=on_step
        )
        for cell, result in zip(alive, made, strict=True):
            if isinstance(result, Exception):
                failures[cell] = result
                continue
            frames = np.concatenate(result.frames)
            videos[cell].append(frames[1:] if number else frames)
            asked[cell] = _continued(requests[cell], frames[-1], number + 1)
        records += [result.record for result in made if isinstance(result, Rollout)][:1]
        if on_section is not None:
            on_section(number + 1, len(plan.sections), _so_far(videos))
    record = _joined(records, plan) if records else {}
    return [
        failure or Rollout(video, record) for failure, video in zip(failures, videos, strict=True)
    ]


def _first_section(plan: Plan) -> Plan:
    """The plan of one section alone."""
    latents = plan.section + 1
    whole = (Decode(0, 0, latents, 0, "whole"),)
    return replace(plan, sections=plan.sections[:1], latents=latents, decodes=whole)


def _continued(request: Request, last: Frames, section: int) -> Request:
    """The next section's request: the last frame is its image, its noise is its own."""
    from PIL import Image

    seed = noise_seed(request.prompt_id, request.seed, f"section {section}")
    return replace(request, image=Image.fromarray(last), seed=seed)


def _so_far(videos: list[list[Frames]]) -> Callable[[], Sequence[Frames]]:
    return lambda: [
        np.concatenate(video) if video else np.zeros((0, 1, 1, 3), np.uint8) for video in videos
    ]


def _joined(records: list[dict[str, Any]], plan: Plan) -> dict[str, Any]:
    """One record of all sections."""
    peaks = [record["peak_memory_bytes"] for record in records]
    return records[0] | {
        "plan_digest": plan.digest,
        "latents": plan.latents,
        "section_starts": plan.section_starts,
        "tokens_per_section": [n for record in records for n in record["tokens_per_section"]],
        "section_seconds": [s for record in records for s in record["section_seconds"]],
        "seconds_decode": round(sum(record["seconds_decode"] for record in records), 4),
        "peak_memory_bytes": None if None in peaks else max(peaks),
    }
