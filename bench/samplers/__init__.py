"""Samplers: in which order sections are made and what each of them sees.

A sampler is a function from an `Order` to the sections of a plan. It knows nothing of models.
"""

from collections.abc import Callable

from bench import decoding
from bench.errors import UserError
from bench.plan import Plan, Section
from bench.samplers import anti_drifting, endpoints, f1, inverted, vanilla
from bench.samplers.order import Order
from bench.variant import Variant

SAMPLERS: dict[str, Callable[[Order], list[Section]]] = {
    "vanilla": vanilla.sections,
    "f1": f1.sections,
    "anti_drifting": anti_drifting.sections,
    "inverted": inverted.sections,
    "endpoints": endpoints.sections,
}
"""Every sampler by the name that variants carry."""

TAKES_END_IMAGE = frozenset({"inverted", "anti_drifting", "endpoints"})
"""Samplers that can be told what the video ends with."""

FORWARD_ONLY = frozenset({"vanilla", "f1"})
"""Samplers whose context lies before the target."""


def plan(
    variant: Variant,
    *,
    height: int,
    width: int,
    seconds: float | None = None,
    sections: int | None = None,
    fps: float = 30.0,
    spatial: int = 8,
    temporal: int = 4,
    end_image: bool = False,
) -> Plan:
    """The plan of one video.

    Args:
        variant: what is under test.
        height: pixels, a multiple of 16 (two latent positions) at Hunyuan's compression.
        width: pixels, likewise.
        seconds: how long the video should be; the published rule rounds it to whole sections.
        sections: the number of sections, instead of `seconds`.
        fps: pixel frames per second.
        spatial: pixels per latent position.
        temporal: pixel frames per latent frame.
        end_image: an end image is given.

    Raises:
        UserError: neither or both of seconds and sections, an unknown sampler, a size that does
            not divide, or an end image for a sampler that cannot take one.
    """
    if (seconds is None) == (sections is None):
        raise UserError("plan: give either seconds or sections")
    if variant.sampler not in SAMPLERS:
        known = ", ".join(SAMPLERS)
        raise UserError(f"{variant.name}: no sampler {variant.sampler!r}; samplers are {known}")
    if end_image and variant.sampler not in TAKES_END_IMAGE:
        takers = ", ".join(sorted(TAKES_END_IMAGE))
        raise UserError(f"{variant.name}: an end image needs one of the samplers {takers}")
    if variant.option("attention", "full") == "causal" and variant.sampler not in FORWARD_ONLY:
        raise UserError(
            f"{variant.name}: causal attention needs a sampler whose context lies before the "
            f"target: {', '.join(sorted(FORWARD_ONLY))}"
        )
    for key, pixels in (("height", height), ("width", width)):
        if pixels < 1 or pixels % (2 * spatial):
            raise UserError(f"video.{key}: {pixels} is not a multiple of {2 * spatial} pixels")
    count = (
        sections
        if sections is not None
        else section_count(seconds or 0.0, variant.section, fps, temporal)
    )
    if count < 1:
        raise UserError(f"plan: {count} sections; at least 1 is needed")
    order = Order(variant, count, (height // spatial, width // spatial), end_image)
    made = tuple(SAMPLERS[variant.sampler](order))
    schedule = decoding.inverted if variant.sampler == "inverted" else decoding.forward
    return Plan(
        sampler=variant.sampler,
        height=height,
        width=width,
        section=variant.section,
        sections=made,
        latents=order.end,
        decodes=schedule(made, temporal),
        temporal=temporal,
        spatial=spatial,
        end_image=end_image,
    )


def section_count(seconds: float, section: int, fps: float = 30.0, temporal: int = 4) -> int:
    """n = max(round(seconds·fps / (4·w)), 1), as the published code rounds.

    Example:
        >>> [section_count(seconds, 9) for seconds in (5, 30, 60)]
        [4, 25, 50]
    """
    return max(round(seconds * fps / (temporal * section)), 1)
