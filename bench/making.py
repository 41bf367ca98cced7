"""Between the study and the generators: requests go in, videos and record fields come out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import generators
from bench.plan import Plan
from bench.prompts import Prompt
from bench.sweep import Made, Maker, OnSection, Request
from bench.variant import Variant

ROOT = Path(__file__).parents[1]
"""The installation's folder: shipped checkpoints are named relative to it."""

Size = tuple[int, int]
"""Height and width in pixels."""


class Shape(NamedTuple):
    """What prompts must have in common to be made by one plan."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    end_image: bool
    """Whether the prompt says what the video ends with."""


def plans(
    cfg: Mapping[str, Any], variants: Sequence[Variant], shapes: Iterable[Shape]
) -> dict[tuple[str, Shape], Plan]:
    """The plan of every variant for every shape, made before anything else: errors come first.

    Raises:
        UserError: a variant that cannot be planned for some shape, or has no codebook for its +D.
    """
    video = cfg["video"]
    for variant in variants:
        generators.check(cfg["generator"], variant)
    return {
        (variant.name, shape): generators.plan(
            cfg["generator"],
            variant,
            seconds=video["seconds"],
            fps=video["fps"],
            **shape._asdict(),
        )
        for shape in dict.fromkeys(shapes)
        for variant in variants
    }


class FromPlans:
    """Makes videos by rolling out plans with one generator."""

    def __init__(
        self,
        build: Callable[[], Any],
        made: Mapping[tuple[str, Shape], Plan],
        shape_of: Callable[[Prompt], Shape],
    ) -> None:
        self._plans = made
        self._shape_of = shape_of
        self._generator = build()

    def sections(self, variant: Variant, prompt: Prompt) -> int:
        """How many sections the prompt's video has."""
        return len(self._plan(variant, prompt).sections)

    def describe(self, variant: Variant, prompt: Prompt) -> dict[str, Any]:
        """Fields of the record that are known before anything is made."""
        plan = self._plan(variant, prompt)
        return {
            "plan_digest": plan.digest,
            "sampler": variant.sampler,
            "section": variant.section,
            "discrete": variant.discrete,
            "latents": plan.latents,
            "section_starts": plan.section_starts,
        }

    def make(
        self, variant: Variant, requests: Sequence[Request], on_section: OnSection
    ) -> Sequence[Made | Exception]:
        """Videos of the requests; an exception for one that failed alone."""
        from bench import rollout
        from bench.generators import base

        plan = self._plan(variant, requests[0].prompt)
        asked = [
            base.Request(
                prompt_id=request.prompt.id,
                text=request.prompt.text,
                image=_image(request.prompt.image, plan.height, plan.width),
                seed=request.seed,
                negative=request.prompt.negative,
                last_image=_image(request.prompt.end_image, plan.height, plan.width)
                if plan.end_image
                else None,
            )
            for request in requests
        ]
        results = rollout.rollout(self._generator, variant, plan, asked, on_section=on_section)
        return [
            result if isinstance(result, Exception) else Made(result.frames, result.record)
            for result in results
        ]

    def _plan(self, variant: Variant, prompt: Prompt) -> Plan:
        return self._plans[variant.name, self._shape_of(prompt)]


def maker(
    cfg: Mapping[str, Any],
    variants: Sequence[Variant],
    prompts: Sequence[Prompt],
    shape_of: Callable[[Prompt], Shape],
) -> Callable[[], Maker]:
    """Something that builds the maker when the first cell needs it; plans are checked now.

    Raises:
        UserError: a variant that cannot be planned, or has no codebook for its +D.
    """
    made = plans(cfg, variants, map(shape_of, prompts))

    def build() -> Maker:
        if cfg["threads"]:
            import torch

            torch.set_num_threads(cfg["threads"])
        return FromPlans(lambda: generators.build(generator_options(cfg)), made, shape_of)

    return build


def generator_options(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The generator's group with what the command line says for all of the program."""
    options = dict(cfg["generator"])
    if cfg["device"] is not None:
        options["device"] = cfg["device"]
    if cfg["offline"]:
        options["offline"] = True
    checkpoint = Path(str(options.get("checkpoint")))
    if not checkpoint.exists() and (ROOT / checkpoint).exists():
        options["checkpoint"] = str(ROOT / checkpoint)  # the pocket model, from any folder
    return options


def _image(path: Path | None, height: int, width: int) -> Any:
    """A prompt's image; black where the prompt has none."""
    from PIL import Image

    if path is None:
        return Image.new("RGB", (width, height))
    with Image.open(path) as image:
        return image.convert("RGB")


def shapes(video: Mapping[str, Any]) -> Callable[[Prompt], Shape]:
    """The shape of a prompt's video: as large as configured, or as the published bucket nearest to
    its image."""
    known: dict[Path, Size] = {}

    def size_of(prompt: Prompt) -> Size:
        if video["height"] and video["width"]:
            return video["height"], video["width"]
        if prompt.image is None:
            return bucket(*DEFAULT_SIZE)
        if prompt.image not in known:
            from PIL import Image

            with Image.open(prompt.image) as image:
                known[prompt.image] = bucket(image.height, image.width)
        return known[prompt.image]

    return lambda prompt: Shape(*size_of(prompt), prompt.end_image is not None)


DEFAULT_SIZE: Size = (480, 832)
BUCKETS: tuple[Size, ...] = (
    (416, 960),
    (448, 864),
    (480, 832),
    (512, 768),
    (544, 704),
    (576, 672),
    (608, 640),
    (640, 608),
    (672, 576),
    (704, 544),
    (768, 512),
    (832, 480),
    (864, 448),
    (960, 416),
)
"""The released code's sizes (height, width) around 640."""


def bucket(height: int, width: int) -> Size:
    """The published size whose shape is nearest to an image's: least |h·W − w·H|."""
    return min(BUCKETS, key=lambda size: abs(height * size[1] - width * size[0]))
