"""Wan image-to-video in a loop: every section starts from the last frame made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.errors import UserError
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

    def __init__(self, config: WanConfig) -> None:
        super().__init__(config)
        own = self.pipe.transformer.config if self.pipe.transformer is not None else None
        if own is None or own.image_dim is None:
            return  # without image embeddings one checkpoint takes one image as well as two
        pair = own.pos_embed_seq_len is not None
        if pair != self.clips.end:
            made = ("first-last frame", "wan_flf2v") if pair else ("image-to-video", "wan_i2v")
            raise UserError(
                f"generator.checkpoint: {config.checkpoint}: it was trained for {made[0]}; "
                f"give it to generator {made[1]}, or {self.clips.kind} another one"
            )

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
