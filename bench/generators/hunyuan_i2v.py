"""HunyuanVideo image-to-video in a loop: every section starts from the last frame made.

Weights with `image_condition_type: token_replace` (16 channels) are needed: the first latent of
their clips is the image. Clips of the older 33-channel weights begin four frames after it, so that
a loop of them would leave four frames out at every joint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.errors import UserError
from bench.generators.clips import Clips
from bench.generators.looped import Clip, Looped
from bench.generators.options import read
from bench.generators.piped import Config, Source

CLIPS = Clips(kind="hunyuan_i2v", options=("steps", "guidance", "cfg", "shift"), trained=33)

plan = CLIPS.plan


@dataclass(frozen=True)
class HunyuanConfig(Config):
    """What conf/generator/hunyuan_i2v.yaml can say."""

    guidance: float = 6.0
    """Distilled guidance, embedded."""
    shift: float | None = None
    """Flow shift; null is the checkpoint's scheduler."""


def build(options: Mapping[str, Any]) -> "HunyuanI2V":
    """The generator of a configuration.

    Raises:
        UserError: an option is unknown or wrong, or the checkpoint cannot be loaded.
    """
    return HunyuanI2V(read(HunyuanConfig, options))


class HunyuanI2V(Looped):
    """HunyuanVideoImageToVideoPipeline, clip by clip."""

    clips: ClassVar[Clips] = CLIPS
    source: ClassVar[Source] = Source(
        "diffusers.HunyuanVideoImageToVideoPipeline", "HunyuanVideoTransformer3DModel"
    )

    def __init__(self, config: HunyuanConfig) -> None:
        super().__init__(config)
        way = self.pipe.transformer.config.image_condition_type
        if way != "token_replace":
            raise UserError(
                f"generator.checkpoint: {config.checkpoint}: its image_condition_type is {way}, "
                "whose clips do not begin with their image; token_replace is needed, as in "
                "hunyuanvideo-community/HunyuanVideo-I2V"
            )

    def call(self, clip: Clip) -> Any:
        """One clip from one image."""
        values = self.values
        cfg = float(values["cfg"])
        return self.pipe(
            image=clip.history[-1],
            prompt=clip.text,
            negative_prompt=clip.negative if cfg > 1 else None,
            height=clip.height,
            width=clip.width,
            num_frames=clip.frames,
            num_inference_steps=int(values["steps"]),
            guidance_scale=float(values["guidance"]),
            true_cfg_scale=cfg,
            generator=clip.rng,
            output_type="np",
            **clip.callbacks,
        ).frames[0]
