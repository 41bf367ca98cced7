"""SkyReels-V2 diffusion forcing: long videos by windows that overlap, latents passed on.

`td_f5k1_g20` is the published way: a window of 25 latent frames (97 pixel frames, 540p), of which
the first 5 are the last ones of the window before, at full length. The first window has no history
but the input image, so the first section is O − 1 latent frames longer than the others (O: history)
and a video has n·g + O latents.

A variant can change the overlap (the history), the new frames of a window (the section), noise on
the history (`+noise-0.02`: the pipeline's addnoise_condition of 20, mixed in afresh at every step,
the model told of it), blocks of causal attention (`+block-5`) and the diffusion steps by which a
block lags the one before it (`+lag-5`: the pipeline's ar_step).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from bench.errors import UserError
from bench.generators.clips import FULL, Clips, no_end_image
from bench.generators.options import read
from bench.generators.piped import Config as PipedConfig
from bench.generators.piped import Source
from bench.generators.whole import Call, Whole
from bench.plan import Context, Decode, Plan, Section
from bench.rollout import noise_seed
from bench.variant import MAX_SECTION, Variant

KIND: Final = "skyreels_v2"

CLIPS: Final = Clips(
    kind=KIND,
    options=("steps", "cfg", "shift", "noise", "block", "lag"),
    history=MAX_SECTION,
    trained=31,  # 121 frames at 720p; at 540p 25, 97 frames
)

TIMESTEPS: Final = 1000
"""Of the noise schedule: a noise level σ is told to the model as the timestep 1000·σ."""


@dataclass(frozen=True)
class Config(PipedConfig):
    """What `conf/generator/skyreels_v2` can say."""

    steps: int = 50
    cfg: float = 5.0
    shift: float | None = None
    """Flow shift; the checkpoint's own where not given."""
    fps: int = 24
    """What the model is told: 16, or 24 for any other number."""


def build(options: Mapping[str, Any]) -> "SkyReelsV2":
    """The generator of a configuration.

    Raises:
        UserError: an option is unknown or wrong, or the checkpoint cannot be loaded.
    """
    return SkyReelsV2(read(Config, options))


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
    """The windows of one video; arguments as of `bench.samplers.plan`.

    Raises:
        UserError: the variant is not possible, or the size is not a multiple of 16.
    """
    check(variant)
    CLIPS.check_size(height, width)
    if end_image:
        raise no_end_image(variant, KIND)
    overlap, made = variant.packing.history, variant.section
    if sections is None:
        latents = (seconds or 0.0) * fps / CLIPS.temporal
        sections = max(round((latents - (overlap - 1)) / made), 1)
    tokens = (height // CLIPS.side) * (width // CLIPS.side)
    windows = tuple(_window(number, overlap, made, tokens) for number in range(sections))
    latents = overlap + sections * made
    return Plan(
        sampler=variant.sampler,
        height=height,
        width=width,
        section=made,
        sections=windows,
        latents=latents,
        decodes=(Decode(sections - 1, 0, latents, 0, "whole"),),
        temporal=CLIPS.temporal,
        spatial=CLIPS.spatial,
    )


def _window(number: int, overlap: int, made: int, tokens: int) -> Section:
    """One window: the history (at first the input image alone), then what is made."""
    first = number * made
    seen = overlap if number else 1
    window = overlap + made
    return Section(
        target=tuple(range(first + seen, first + window)),
        target_indices=tuple(range(seen, window)),
        contexts=(
            Context(FULL, tuple(range(first, first + seen)), tuple(range(seen)), seen * tokens),
        ),
        target_tokens=(window - seen) * tokens,
    )


def check(variant: Variant) -> None:
    """Refuse what SkyReels-V2 has no notion of.

    Raises:
        UserError: names the first such thing, and what is possible.
    """
    CLIPS.check(variant)
    if "method" in variant.options:
        raise UserError(
            f"{variant.name}: generator {KIND} has no option method, it passes latents on, not a "
            f"frame; possible are {', '.join(CLIPS.options)}"
        )
    check_blocks(variant)
    noise_step(variant)


def check_blocks(variant: Variant) -> int:
    """The causal block size; 1 is full attention.

    Raises:
        UserError: history and window are not whole blocks; the pipeline would leave the rest of a
            window as noise, or cut the history.
    """
    block = int(variant.option("block", 1))
    overlap, made = variant.packing.history, variant.section
    for name, frames in (("f", overlap), ("g", made)):
        if frames % block:
            raise UserError(
                f"{variant.name}: {name}{frames} is not a whole number of causal blocks of "
                f"{block} latent frames; possible are multiples of {block}, such as "
                f"td_f{block}k1_g{4 * block}+block-{block}"
            )
    return block


def noise_step(variant: Variant) -> int:
    """The timestep that history is noised to, 1000·σ.

    Raises:
        UserError: it is not a whole timestep, or above 1000.
    """
    sigma = float(variant.option("noise", 0.0))
    step = round(sigma * TIMESTEPS)
    if abs(step - sigma * TIMESTEPS) > 1e-6 or step > TIMESTEPS:
        raise UserError(
            f"{variant.name}: generator {KIND} has noise in thousandths from 0 to 1 "
            f"(0.02 is the published addnoise_condition of 20), not {sigma:g}"
        )
    return step


class SkyReelsV2(Whole):
    """SkyReels-V2 diffusion forcing from an image."""

    clips: ClassVar[Clips] = CLIPS
    source: ClassVar[Source] = Source(
        "diffusers.SkyReelsV2DiffusionForcingImageToVideoPipeline",
        "SkyReelsV2Transformer3DModel",
        packages=("ftfy",),
    )

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.fps = config.fps
        self.pipe.generate_timestep_matrix = held(self.pipe.generate_timestep_matrix)

    def check(self, variant: Variant) -> None:
        """Refuse what SkyReels-V2 has no notion of."""
        check(variant)

    def settings(self, variant: Variant) -> dict[str, Any]:
        """The pipeline's arguments and the flow shift."""
        overlap, window = variant.packing.history, variant.packing.history + variant.section
        values = self.values
        return {
            "steps": int(values["steps"]),
            "cfg": float(values["cfg"]),
            "shift": self.pipe.scheduler.config.get("flow_shift"),
            "fps": self.fps,
            "overlap_history": CLIPS.frames(overlap),
            "base_num_frames": CLIPS.frames(window),
            "addnoise_condition": noise_step(variant),
            "causal_block_size": check_blocks(variant),
            "ar_step": int(variant.option("lag", 0)),
        }

    def call(self, call: Call) -> Any:
        """One video."""
        import torch

        asked = self.settings(call.variant)
        request, plan = call.request, call.plan
        devices = [self.device] if self.device.startswith("cuda") else []
        # The pipeline draws the noise on the history from the global random numbers.
        with torch.random.fork_rng(devices):
            torch.manual_seed(noise_seed(request.prompt_id, request.seed, "history"))
            return self.pipe(
                image=request.image,
                prompt=request.text,
                negative_prompt=call.negative,
                height=plan.height,
                width=plan.width,
                num_frames=plan.frames,
                num_inference_steps=asked["steps"],
                guidance_scale=asked["cfg"],
                generator=call.rng,
                output_type="np",
                **{key: asked[key] for key in PASSED_ON},
                **call.callbacks,
            ).frames[0]


PASSED_ON: Final = (
    "fps",
    "overlap_history",
    "base_num_frames",
    "addnoise_condition",
    "causal_block_size",
    "ar_step",
)
"""Settings that are arguments of the pipeline under the same name."""


def held(make: Any) -> Any:
    """A pipeline's `generate_timestep_matrix` that never denoises frames which are there already.

    Diffusers counts them in whole causal blocks, so that with blocks of more than one frame the
    input image, a single latent, would be denoised with its block as if it were noise, and lost.
    Without such blocks the matrices are the same.
    """

    def matrix(frames: int, steps: Any, base: int, lag: int, ready: int, block: int) -> Any:
        times, index, update, valid = make(frames, steps, base, lag, ready, block)
        times[:, :ready] = 0
        update[:, :ready] = False
        return times, index, update, valid

    return matrix
