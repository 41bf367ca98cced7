"""LTX-Video: the first section from an image, the others as extensions of the last frames made.

A history of one latent frame (`td_f1k1_g12`) passes on one image; one of n latents passes on the
last 8·(n − 1) + 1 frames as a video, from which motion goes on. Both stand at the start of the clip
and are held there; the model's own noise on held frames is its `image_cond_noise_scale`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.errors import UserError
from bench.generators.clips import Clips
from bench.generators.looped import Clip, Looped
from bench.generators.options import read
from bench.generators.piped import Config, Source

CLIPS = Clips(
    kind="ltx",
    options=("steps", "cfg", "noise"),
    history=12,
    spatial=32,
    temporal=8,
    patch=1,
    trained=33,
)

plan = CLIPS.plan


@dataclass(frozen=True)
class LTXConfig(Config):
    """What conf/generator/ltx.yaml can say."""

    noise: float = 0.15
    """Noise on the frames that a clip begins with, times the square of the time (1 … 0)."""
    rescale: float = 0.0
    """Guidance rescale."""
    decode_timestep: float = 0.05
    """For autoencoders that also denoise."""
    decode_noise: float = 0.025
    """Noise that such an autoencoder is given."""
    frame_rate: int = 24
    """Frames per second that the model is told; give `video.fps` the same."""


def build(options: Mapping[str, Any]) -> "LTX":
    """The generator of a configuration.

    Raises:
        UserError: an option is unknown or wrong, or the checkpoint cannot be loaded.
    """
    return LTX(read(LTXConfig, options))


class LTX(Looped):
    """LTXConditionPipeline, clip by clip."""

    clips: ClassVar[Clips] = CLIPS
    source: ClassVar[Source] = Source(
        "diffusers.LTXConditionPipeline", "LTXVideoTransformer3DModel", ("sentencepiece",)
    )
    config: LTXConfig

    def __init__(self, config: LTXConfig) -> None:
        super().__init__(config)
        if self.pipe.scheduler.config.get("use_dynamic_shifting"):
            raise UserError(
                f"generator.checkpoint: {config.checkpoint}: its scheduler shifts by the clip's "
                "size, which LTXConditionPipeline cannot; take Lightricks/LTX-Video-0.9.5"
            )

    def call(self, clip: Clip) -> Any:
        """One clip from an image or from the last frames of a video."""
        from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

        seen: dict[str, Any] = {"video": list(clip.history)}
        if len(clip.history) == 1:
            seen = {"image": clip.history[0]}
        config = self.config
        return self.pipe(
            conditions=[LTXVideoCondition(**seen, frame_index=0)],
            prompt=clip.text,
            negative_prompt=clip.negative,
            height=clip.height,
            width=clip.width,
            num_frames=clip.frames,
            frame_rate=config.frame_rate,
            num_inference_steps=int(self.values["steps"]),
            guidance_scale=float(self.values["cfg"]),
            guidance_rescale=config.rescale,
            image_cond_noise_scale=float(self.values["noise"]),
            decode_timestep=config.decode_timestep,
            decode_noise_scale=config.decode_noise,
            generator=clip.rng,
            output_type="np",
            **clip.callbacks,
        ).frames[0]
