"""`make bench`, the generation part: what a step costs, our time against diffusers' pipeline, and
how soon a finished study is recognised.

All ratios are medians of paired ones: runs take turns in one process, as a shared machine is never
equally fast twice. Time on the clock and processor time are both printed; on a CPU single steps are
judged by processor time, which neighbours change less. The machine's load is printed at the start
and at the end: a claim on the clock that fails beside a load above the number of cores says little.

    python -m bench.speed                    # the pocket checkpoint, or a random one of its size
    python -m bench.speed --checkpoint DIR --height 96 --width 96
    python -m bench.speed --only study
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from bench.generators import framepack
from bench.generators.base import ContextFrames, Request
from bench.packing import KERNELS, Level, Packing
from bench.plan import Plan, Section
from bench.pocket import SIZE
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

PARTS = ("context", "pipeline", "study")

CELLS = 1000
"""Of the study that is recognised; ten prompts, so a hundred seeds."""

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


class Spent(NamedTuple):
    """Seconds of one run."""

    clock: float
    processor: float
    """Of all threads of this process together."""


def machine() -> str:
    """What measures, and how busy it is."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} cores, torch {torch.get_num_threads()} threads, load {load}"


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
    parser.add_argument("--height", type=int, default=SIZE)
    parser.add_argument("--width", type=int, default=SIZE)
    parser.add_argument("--steps", type=int, default=8, help="diffusion steps per section")
    parser.add_argument("--rounds", type=int, default=3, help="paired repetitions")
    parser.add_argument("--skip-full", action="store_true", help="leave out full history's times")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), metavar="PART")
    options = parser.parse_args(arguments)
    print(machine(), flush=True)
    claims: list[Claim] = []
    with ExitStack() as stack:
        checkpoint = options.checkpoint or POCKET
        if not (checkpoint / "model_index.json").is_file():
            checkpoint = _random_checkpoint(
                Path(stack.enter_context(tempfile.TemporaryDirectory()))
            )
        setting = Setting(checkpoint, options.height, options.width, options.steps, options.rounds)
        if "context" in options.only:
            claims += context_claims(setting, not options.skip_full)
        if "pipeline" in options.only:
            claims += pipeline_claims(setting)
        if "study" in options.only:
            claims += study_claims(setting)
    print(f"\n{machine()}")
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
    print(f"{'variant':32} {'video':>6} {'tokens':>7} {'s/step':>9} {'processor':>9}")
    for variant, rounds in ((PACKED, 30 * setting.rounds), (FULL, 1)):
        if variant is FULL and not with_full:
            continue
        plans = {
            s: plan(variant, height=setting.height, width=setting.width, seconds=s) for s in SECONDS
        }
        run = {s: _section_runner(generator, variant, made) for s, made in plans.items()}
        run[SECONDS[0]]()
        times = alternate([run[s] for s in SECONDS], rounds)
        for seconds, taken in zip(SECONDS, times, strict=True):
            tokens = plans[seconds].sections[-1].tokens
            clock, processor = (statistics.median(each) / 2 for each in zip(*taken, strict=True))
            print(
                f"{variant.name:32} {seconds:>4} s {tokens:>7} {clock:>9.4f} {processor:>9.4f}",
                flush=True,
            )
        if variant is PACKED:
            short, long = (max(plans[s].tokens_per_section) for s in (SECONDS[0], SECONDS[-1]))
            on_clock, of_processor = (
                statistics.median(b[which] / a[which] for a, b in zip(*times[::2], strict=True))
                for which in (0, 1)
            )
            print(f"60 s / 5 s: {on_clock:.3f} on the clock, {of_processor:.3f} of processor time")
            judged = of_processor if generator.device == "cpu" else on_clock
            claims = [
                Claim("packed context, tokens at 60 s / 5 s", long / short, 1),
                Claim("packed context, step time at 60 s / 5 s", judged, 1.05),
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
    seconds: dict[str, list[Spent]] = {"diffusers": [], "batch 8": [], "batch 1": []}
    for _ in range(setting.rounds):
        generator.forget()
        expected, alone = [], []
        spent = {"diffusers": Spent(0, 0), "batch 1": Spent(0, 0)}
        for request in requests:  # cell by cell, so that both meet the same moments of the machine
            theirs, video = timed(_pipeline_frames, pipe, setting, made, request)
            ours, results = timed(rollout, generator, PACKED, made, [request])
            expected.append(video)
            alone.append(_frames(results[0]))
            single.append(ours.clock / theirs.clock)
            spent["diffusers"] = _sum(spent["diffusers"], theirs)
            spent["batch 1"] = _sum(spent["batch 1"], ours)
        generator.forget()
        spent["batch 8"], results = timed(rollout, generator, PACKED, made, requests)
        together = [_frames(result) for result in results]
        batched.append(spent["batch 8"].clock / spent["diffusers"].clock)
        for name, taken in spent.items():
            seconds[name].append(taken)
    print(f"\n8 cells, {setting.sections} sections, {setting.steps} steps, {made.frames} frames")
    for name, times in seconds.items():
        clock, processor = (statistics.median(each) for each in zip(*times, strict=True))
        print(f"{name:10} {clock:8.2f} s on the clock, {processor:8.2f} s of processor", flush=True)
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


def _sum(one: Spent, other: Spent) -> Spent:
    return Spent(one.clock + other.clock, one.processor + other.processor)


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


def alternate(runs: Sequence[Callable[[], None]], rounds: int) -> list[list[Spent]]:
    """What each run took in each round; the runs take turns, and who begins changes."""
    times: list[list[Spent]] = [[] for _ in runs]
    for round_number in range(rounds):
        for place in range(len(runs)):
            which = (place + round_number) % len(runs)
            times[which].append(timed(runs[which])[0])
    return times


def timed(run: Callable[..., Any], *arguments: Any) -> tuple[Spent, Any]:
    """What one call took, and what it gave."""
    clock, processor = time.perf_counter(), time.process_time()
    result = run(*arguments)
    return Spent(time.perf_counter() - clock, time.process_time() - processor), result


# A finished study is recognised


def study_claims(setting: Setting) -> list[Claim]:
    """The whole command, from start to exit status, on a study whose thousand cells are done."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        settings = [
            f"study={study}",
            f"generator.checkpoint={setting.checkpoint}",
            "generator.steps=1",
            "video.seconds=1",
            "prompts.scenes=5",
        ]
        seeds = ",".join(map(str, range(CELLS // 10)))
        _command([*settings, "prompts.ids=[walk-00]", "seeds=0"], 0)  # one cell is really made
        command = [*settings, f"seeds=[{seeds}]"]
        _command([*command, "time_limit=0"], 75)  # all are asked for, and none is begun
        _finish(study)
        spent, answers = [], []
        for _ in range(2 * setting.rounds + 1):
            begun = time.perf_counter()
            answers.append(_command(command, 0))
            spent.append(time.perf_counter() - begun)
    told = f"all {CELLS} cells are finished"
    if not all(told in answer for answer in answers):
        raise RuntimeError(f"the study was not recognised: {answers[0]}")
    loaded = any("torch was imported" in answer for answer in answers)
    seconds = ", ".join(f"{each:.2f}" for each in spent)
    print(f"\na finished study of {CELLS} cells, the whole command: {seconds} s")
    return [
        Claim(
            "a finished study of 1,000 cells is recognised, seconds", statistics.median(spent), 2
        ),
        Claim("... and a model library is loaded for it", float(loaded), 0),
    ]


def _finish(study: Path) -> None:
    """Give every cell that was asked for the record of the one that was made."""
    from bench.study import Study

    opened = Study.open(study)
    made = next(cell for cell in opened.cells() if cell.status == "done")
    record = json.loads((made.folder / "cell.json").read_bytes())
    for key in opened.asked:
        cell = opened.cell(*key)
        cell.folder.mkdir(parents=True, exist_ok=True)
        own = {"variant": cell.variant, "prompt_id": cell.prompt_id, "seed": cell.seed}
        (cell.folder / "cell.json").write_text(json.dumps({**record, **own}), encoding="utf-8")
        if not cell.video.exists():
            os.link(made.video, cell.video)


def _command(arguments: Sequence[str], status: int) -> str:
    """What `python run_bench.py` printed; a note where it imported torch."""
    root = Path(__file__).parents[1]
    program = (
        "import runpy, sys\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally:\n    print('torch was imported' if 'torch' in sys.modules else '')"
    )
    program = f"import sys; sys.argv[0] = 'run_bench.py'; sys.path.insert(0, '.')\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    if done.returncode != status:
        raise RuntimeError(f"run_bench.py ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
