"""Wan image-to-video in a loop: every section starts from the last frame made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.generators.clips import Clips
from bench.generators.looped import Clip, Looped
from bench.generators.options import read
from bench.generators.piped import Config, Source

CLIPS = Clips(kind="wan_i2v", options=("steps", "cfg", "shift"), trained=21)

plan = CLIPS.plan

SOURCE = Source("diffusers.WanImageToVideoPipeline", "WanTransformer3DModel", ("ftfy",))


@dataclass(frozen=True)
class WanConfig(Config):
    """What conf/generator/wan_*.yaml can say."""

    shift: float | None = None
    """Flow shift; null is the checkpoint's scheduler."""


def build(options: Mapping[str, Any]) -> "WanI2V":
    """The generator of a configuration.

    Raises:
        UserError: an option is unknown or wrong, or the checkpoint cannot be loaded.
    """
    return WanI2V(read(WanConfig, options))


class WanI2V(Looped):
    """WanImageToVideoPipeline, clip by clip."""

    clips: ClassVar[Clips] = CLIPS
    source: ClassVar[Source] = SOURCE

    def call(self, clip: Clip) -> Any:
        """One clip from one image, and to another where the kind has one."""
        return self.pipe(
            image=clip.history[-1],
            last_image=clip.last,
            prompt=clip.text,
            negative_prompt=clip.negative,
            height=clip.height,
            width=clip.width,
            num_frames=clip.frames,
            num_inference_steps=int(self.values["steps"]),
            guidance_scale=float(self.values["cfg"]),
            generator=clip.rng,
            output_type="np",
            **clip.callbacks,
        ).frames[0]
