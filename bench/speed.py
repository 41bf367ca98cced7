"""`make bench`, the generation part: what a step costs, and our time against diffusers' pipeline.

All claims are medians of paired ratios: runs take turns in one process, as a shared machine is
never equally fast twice. Single steps on a CPU are timed in CPU seconds, which neighbours change
less.

    python -m bench.speed                    # the pocket checkpoint, or a random one of its size
    python -m bench.speed --checkpoint DIR --height 96 --width 96
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.generators import framepack
from bench.generators.base import ContextFrames, Request
from bench.packing import KERNELS, Level, Packing
from bench.plan import Plan, Section
from bench.rollout import Rollout, noise_seed, rollout
from bench.samplers import plan
from bench.variant import Variant

POCKET = Path(__file__).parent / "pocket" / "checkpoint"
SECONDS = (5, 30, 60)
PUBLISHED = (Level(1, KERNELS[1]), Level(2, KERNELS[2]), Level(16, KERNELS[4]))
START = (Level(1, KERNELS[1]),)

PACKED = Variant("inverted", Packing(PUBLISHED, "td", START), 9, "f1k1_x_g9_f1k1f2k2f16k4_td")
FULL = Variant(
    "vanilla",
    Packing((Level(9999, KERNELS[1]),)),
    9,
    "td_f9999k1_g9+missing-drop",
    options={"missing": "drop"},
)

CAPTIONS = (
    "a man with short brown hair in a red shirt walks",
    "a woman with long black hair in a blue shirt waves",
    "a man with blond hair in a green shirt jumps",
    "a woman with red hair in a white shirt nods",
)


@dataclass(frozen=True)
class Claim:
    """One measured ratio and what it is held against."""

    what: str
    found: float
    most: float

    def __str__(self) -> str:
        verdict = "held" if self.found <= self.most else "NOT HELD"
        return f"{self.what}: {self.found:.3f} (at most {self.most:g}): {verdict}"


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    checkpoint: Path
    height: int
    width: int
    steps: int
    rounds: int
    sections: int = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status says whether all claims held."""
    parser = argparse.ArgumentParser(description="Measure the generator.")
    parser.add_argument("--checkpoint", type=Path, help="folder in diffusers' layout")
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8, help="diffusion steps per section")
    parser.add_argument("--rounds", type=int, default=3, help="paired repetitions")
    parser.add_argument("--skip-full", action="store_true", help="leave out full history's times")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        checkpoint = options.checkpoint or POCKET
        if not (checkpoint / "model_index.json").is_file():
            checkpoint = _random_checkpoint(
                Path(stack.enter_context(tempfile.TemporaryDirectory()))
            )
        setting = Setting(checkpoint, options.height, options.width, options.steps, options.rounds)
        claims = [*context_claims(setting, not options.skip_full), *pipeline_claims(setting)]
    print()
    for claim in claims:
        print(claim)
    return 0 if all(claim.found <= claim.most for claim in claims) else 1


def _random_checkpoint(folder: Path) -> Path:
    from bench.pocket.components import build_random

    print("no checkpoint: random weights of the pocket model's size")
    return build_random(folder / "random")


# A step's cost does not depend on the video's length


def context_claims(setting: Setting, with_full: bool) -> list[Claim]:
    """Tokens and seconds per step of each length's last section."""
    generator = _generator(setting, steps=2)
    claims = []
    print(f"{'variant':32} {'video':>6} {'tokens':>7} {'s/step':>9}")
    for variant, rounds in ((PACKED, 10 * setting.rounds), (FULL, 1)):
        if variant is FULL and not with_full:
            continue
        plans = {
            s: plan(variant, height=setting.height, width=setting.width, seconds=s) for s in SECONDS
        }
        run = {s: _section_runner(generator, variant, made) for s, made in plans.items()}
        run[SECONDS[0]]()
        clock = time.process_time if generator.device == "cpu" else time.perf_counter
        times = alternate([run[s] for s in SECONDS], rounds, clock)
        for seconds, taken in zip(SECONDS, times, strict=True):
            tokens = plans[seconds].sections[-1].tokens
            step = statistics.median(taken) / 2
            print(f"{variant.name:32} {seconds:>4} s {tokens:>7} {step:>9.4f}", flush=True)
        if variant is PACKED:
            short, long = (max(plans[s].tokens_per_section) for s in (SECONDS[0], SECONDS[-1]))
            paired = statistics.median(b / a for a, b in zip(times[0], times[-1], strict=True))
            claims = [
                Claim("packed context, tokens at 60 s / 5 s", long / short, 1),
                Claim("packed context, step time at 60 s / 5 s", paired, 1.05),
            ]
    return claims


def _section_runner(
    generator: framepack.FramePack, variant: Variant, made: Plan
) -> Callable[[], None]:
    """Denoises the plan's last section with random context."""
    section: Section = made.sections[-1]
    height, width = made.grid

    def latents(frames: int) -> torch.Tensor:
        return torch.randn(1, generator.channels, frames, height, width).to(generator.device)

    contexts = [
        ContextFrames(c.kernel, latents(len(c.frames)), c.indices, c.pool) for c in section.contexts
    ]
    request = _requests(made)[0]
    noise = latents(len(section.target))

    def run() -> None:
        generator.use(variant, made.kernels)
        condition = generator.condition(request, made.height, made.width)
        with torch.inference_mode():
            done = generator.denoise([condition], contexts, section.target_indices, noise)
            done.latents.sum().item()
        assert done.tokens == section.tokens

    return run


# Our time against diffusers' pipeline


def pipeline_claims(setting: Setting) -> list[Claim]:
    """Eight cells (4 prompts × 2 seeds): batched, and one by one, against the pipeline."""
    from diffusers import HunyuanVideoFramepackPipeline

    loader: Any = HunyuanVideoFramepackPipeline
    pipe = loader.from_pretrained(setting.checkpoint, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    generator = _generator(setting, steps=setting.steps)
    made = plan(PACKED, height=setting.height, width=setting.width, sections=setting.sections)
    requests = _requests(made)
    single: list[float] = []
    batched: list[float] = []
    seconds: dict[str, list[float]] = {"diffusers": [], "batch 8": [], "batch 1": []}
    for _ in range(setting.rounds):
        generator.forget()
        expected, alone = [], []
        spent = {"diffusers": 0.0, "batch 1": 0.0}
        for request in requests:  # cell by cell, so that both meet the same moments of the machine
            theirs, video = timed(_pipeline_frames, pipe, setting, made, request)
            ours, results = timed(rollout, generator, PACKED, made, [request])
            expected.append(video)
            alone.append(_frames(results[0]))
            single.append(ours / theirs)
            spent["diffusers"] += theirs
            spent["batch 1"] += ours
        generator.forget()
        spent["batch 8"], results = timed(rollout, generator, PACKED, made, requests)
        together = [_frames(result) for result in results]
        batched.append(spent["batch 8"] / spent["diffusers"])
        for name, taken in spent.items():
            seconds[name].append(taken)
    print(f"\n8 cells, {setting.sections} sections, {setting.steps} steps, {made.frames} frames")
    for name, times in seconds.items():
        print(f"{name:10} {statistics.median(times):8.2f} s", flush=True)
    same = all(map(np.array_equal, alone, expected))
    apart = max(
        int(np.abs(one.astype(int) - other).max())
        for one, other in zip(together, expected, strict=True)
    )
    print(f"batch 1: {'the same frames' if same else 'OTHER FRAMES'}; "
          f"batch 8: at most {apart}/255 apart")  # fmt: skip
    return [
        Claim("8 cells in one batch / diffusers' pipeline", statistics.median(batched), 0.9),
        Claim("a cell alone / diffusers' pipeline", statistics.median(single), 1.0),
        Claim("batch 1: frames that differ from the pipeline's", float(not same), 0.0),
    ]


def _pipeline_frames(pipe: Any, setting: Setting, made: Plan, request: Request) -> Any:
    seed = noise_seed(request.prompt_id, request.seed)
    images = pipe(
        image=request.image,
        prompt=request.text,
        height=made.height,
        width=made.width,
        num_frames=setting.sections * (4 * made.section - 3),
        latent_window_size=made.section,
        num_inference_steps=setting.steps,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(seed),
        sampling_type="inverted_anti_drifting",
        output_type="pil",
    ).frames[0]
    return np.stack([np.asarray(image) for image in images])


def _frames(result: Rollout | Exception) -> Any:
    if isinstance(result, Exception):
        raise result
    return np.concatenate(result.frames)


def _generator(setting: Setting, steps: int) -> framepack.FramePack:
    return framepack.build(
        {
            "checkpoint": str(setting.checkpoint),
            "dtype": "float32",
            "steps": steps,
            "guidance": 1.0,
            "offline": True,
        }
    )


def _requests(made: Plan) -> list[Request]:
    rng = np.random.default_rng(0)
    size = (made.height, made.width, 3)
    images = [Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)) for _ in CAPTIONS]
    return [
        Request(f"prompt-{number}", caption, image, seed)
        for number, (caption, image) in enumerate(zip(CAPTIONS, images, strict=True))
        for seed in (0, 1)
    ]


def alternate(
    runs: Sequence[Callable[[], None]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Seconds of each run in each round; the runs take turns, and who begins changes."""
    times: list[list[float]] = [[] for _ in runs]
    for round_number in range(rounds):
        for place in range(len(runs)):
            which = (place + round_number) % len(runs)
            started = clock()
            runs[which]()
            times[which].append(clock() - started)
    return times


def timed(run: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds of one call, and what it gave."""
    started = time.perf_counter()
    result = run(*arguments)
    return time.perf_counter() - started, result


if __name__ == "__main__":
    sys.exit(main())
