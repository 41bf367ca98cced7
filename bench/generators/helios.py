"""Helios, the packed successor: FramePack's history (16, 2, 1) and anchor, chunk by chunk.

Its context is that of F1 sampling, with the same RoPE axis: the start frame, 16 latent frames with
kernel k4, 2 with k2, the newest with k1, and a chunk of 9, so `f1k1_x_td_f16k4f2k2f1k1_g9`. Two
things differ. The input image is an anchor but no frame of the video: position 0 of the plan is the
last latent of a still clip of the image. And every chunk of g latents is decoded alone, to 4·g − 3
frames: there is no blending at the joints.

A variant can change the three history sizes and the chunk. Diffusers sorts the sizes, the largest
to k4, and cannot run without the anchor.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final

from bench import samplers
from bench.errors import UserError
from bench.generators.base import Settings
from bench.generators.clips import Clips, no_end_image
from bench.generators.options import read
from bench.generators.piped import Config as PipedConfig
from bench.generators.piped import Source
from bench.generators.whole import Call, Whole
from bench.packing import KERNELS, Level
from bench.plan import Decode, Plan
from bench.variant import Variant

KIND: Final = "helios"

OPTIONS: Final = ("steps", "cfg")

LEVELS: Final = (KERNELS[1], KERNELS[2], KERNELS[4])
"""One memory patch each: short, mid, long."""

TRAINED: Final = {"packing": "f16k4f2k2f1k1", "section": "g9"}

TEMPORAL: Final = 4


@dataclass(frozen=True)
class Config(PipedConfig):
    """What `conf/generator/helios` can say."""

    steps: int = 50
    cfg: float = 5.0
    image_noise: bool = True
    """Mix noise of σ 0.111 to 0.135 into the input image's latents, as published."""


def build(options: Mapping[str, Any]) -> "Helios":
    """The generator of a configuration.

    Raises:
        UserError: an option is unknown or wrong, or the checkpoint cannot be loaded.
    """
    return Helios(read(Config, options))


@dataclass(frozen=True)
class Chunks(Plan):
    """A plan whose chunks are decoded one by one, the input image not among the frames."""

    @property
    def chunk(self) -> int:
        """Pixel frames of one chunk."""
        return (self.section - 1) * self.temporal + 1

    @property
    def frames(self) -> int:
        """Pixel frames of the video: the pipeline cuts them to one more than a multiple of 4."""
        every = len(self.sections) * self.chunk
        return (every - 1) // self.temporal * self.temporal + 1

    @property
    def section_starts(self) -> list[int]:
        """The first pixel frame of every chunk."""
        return [number * self.chunk for number in range(len(self.sections))]


def plan(
    variant: Variant,
    *,
    height: int,
    width: int,
    seconds: float | None = None,
    sections: int | None = None,
    fps: float = 24.0,
    end_image: bool = False,
) -> Plan:
    """The chunks of one video; arguments as of `bench.samplers.plan`.

    Raises:
        UserError: the variant is not possible, or the size is not a multiple of 16.
    """
    check(variant)
    if end_image:
        raise no_end_image(variant, KIND)
    made = variant.section
    if sections is None:
        sections = max(round((seconds or 0.0) * fps / ((made - 1) * TEMPORAL + 1)), 1)
    f1 = samplers.plan(variant, height=height, width=width, sections=sections, temporal=TEMPORAL)
    values = {item.name: getattr(f1, item.name) for item in fields(f1)}
    values["decodes"] = tuple(
        Decode(number, section.target[0], made, 0, "append" if number else "whole")
        for number, section in enumerate(f1.sections)
    )
    return Chunks(**values)


def check(variant: Variant) -> None:
    """Refuse what Helios has no notion of.

    Raises:
        UserError: names the first such thing, and what is possible.
    """
    if wrong := _impossible(variant):
        raise UserError(
            f"{variant.name}: generator {KIND} has no {wrong}; possible are names like "
            "f1k1_x_td_f16k4f2k2f1k1_g9 (any section length; three levels k4, k2, k1, none larger "
            f"than the one before it) with the options {', '.join(OPTIONS)}"
        )


def _impossible(variant: Variant) -> str:
    packing = variant.packing
    sizes = [level.frames for level in packing.levels]
    if variant.sampler != "f1":
        return f"{variant.sampler} sampling"
    if packing.start != (Level(1, KERNELS[1]),):
        return f"anchor {''.join(map(str, packing.start))}"
    if tuple(level.kernel for level in packing.levels) != LEVELS or sizes != sorted(sizes):
        return f"packing {''.join(map(str, reversed(packing.levels)))}"
    if packing.tail != "td":
        return f"tail {packing.tail}"
    if variant.discrete is not None:
        return "+D"
    unknown = [key for key in variant.options if key not in OPTIONS]
    return f"option {unknown[0]}" if unknown else ""


def untrained(variant: Variant) -> tuple[str, ...]:
    """History sizes and chunks other than the published ones."""
    packing = "".join(map(str, reversed(variant.packing.levels)))
    found = {packing: TRAINED["packing"], f"g{variant.section}": TRAINED["section"]}
    return tuple(name for name, seen in found.items() if name != seen)


class Helios(Whole):
    """Helios-Base from an image."""

    clips: ClassVar[Clips] = Clips(kind=KIND, options=OPTIONS)
    source: ClassVar[Source] = Source(
        "diffusers.HeliosPipeline", "HeliosTransformer3DModel", packages=("ftfy",)
    )
    draws_on_device: ClassVar[bool] = True  # the level of the image's noise is drawn there

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.image_noise = config.image_noise
        stages = self.pipe.scheduler.config.get("stages", 1)
        if stages != 1:
            raise UserError(
                f"generator.checkpoint: {config.checkpoint}: a pyramid of {stages} stages "
                "(Helios-Mid, Helios-Distilled); possible is Helios-Base, which has one"
            )

    def check(self, variant: Variant) -> None:
        """Refuse what Helios has no notion of."""
        check(variant)

    def use(self, variant: Variant) -> Settings:
        """Get ready for a variant and fill in the defaults."""
        self._settings = replace(super().use(variant), untrained=untrained(variant))
        return self._settings

    def settings(self, variant: Variant) -> dict[str, Any]:
        """The pipeline's arguments."""
        values = self.values
        return {
            "steps": int(values["steps"]),
            "cfg": float(values["cfg"]),
            "history_sizes": [level.frames for level in reversed(variant.packing.levels)],
            "num_latent_frames_per_chunk": variant.section,
            "image_noise": self.image_noise,
        }

    def call(self, call: Call) -> Any:
        """One video."""
        asked = self.settings(call.variant)
        request, plan = call.request, call.plan
        return self.pipe(
            prompt=request.text,
            negative_prompt=call.negative,
            image=request.image,
            height=plan.height,
            width=plan.width,
            num_frames=len(plan.sections) * ((plan.section - 1) * TEMPORAL + 1),
            num_inference_steps=asked["steps"],
            guidance_scale=asked["cfg"],
            generator=call.rng,
            output_type="np",
            add_noise_to_image_latents=asked["image_noise"],
            history_sizes=asked["history_sizes"],
            num_latent_frames_per_chunk=asked["num_latent_frames_per_chunk"],
            **call.callbacks,
        ).frames[0]
