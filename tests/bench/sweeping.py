"""A maker without a model, so that the study's machinery is tested alone.

Run as a program it sweeps a study, to be killed or to share the work:
`python sweeping.py STUDY PROMPTS BATCH SECONDS_PER_SECTION LOG`.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablations.variant import parse
from bench.progress import Lines
from bench.prompts import Prompt
from bench.signals import Stop
from bench.stages.generate import tidy
from bench.study import Study
from bench.sweep import Batch, Made, Maker, OnSection, Outcome, Request, Sweep, batches
from bench.variant import Variant

SECTIONS = 3
VARIANTS = [parse("td_f16k4f2k2f1k1_g9"), parse("f1k1_x_g9_f1k1f2k2f16k4_td")]


class Noise:
    """Videos of noise that depend on the request, and a little on its companions, as ours do."""

    def __init__(self, pause: float = 0.0, log: Path | None = None) -> None:
        self.pause = pause
        self.log = log

    def sections(self, variant: Variant, prompt: Prompt) -> int:
        return SECTIONS

    def describe(self, variant: Variant, prompt: Prompt) -> dict[str, Any]:
        return {"sampler": variant.sampler, "section": variant.section}

    def make(
        self, variant: Variant, requests: Sequence[Request], on_section: OnSection
    ) -> Sequence[Made | Exception]:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write("".join(f"{variant.name}/{r.prompt.id}_{r.seed}\n" for r in requests))
        videos = [self.video(variant, request, len(requests)) for request in requests]
        for number in range(1, SECTIONS + 1):
            time.sleep(self.pause)
            so_far = [video[: 4 * number] for video in videos]
            on_section(number, SECTIONS, lambda so_far=so_far: so_far)
        return [Made([video], {"tokens_per_section": [385] * SECTIONS}) for video in videos]

    def video(self, variant: Variant, request: Request, batch: int) -> np.ndarray:
        word = f"{variant.name} {request.prompt.id} {request.seed} {batch}"
        rng = np.random.default_rng(list(word.encode()))
        return rng.integers(0, 255, (4 * SECTIONS, 32, 32, 3), dtype=np.uint8)


def work_of(study: Study, prompts: int, batch: int, seeds: Sequence[int] = (0, 1)) -> list[Batch]:
    """Ask the study for two variants × prompts × seeds."""
    suite = [Prompt(f"p{number}", f"prompt {number}") for number in range(prompts)]
    study.ask([v.name for v in VARIANTS], [p.id for p in suite], list(seeds))
    return batches(study, VARIANTS, suite, list(seeds), batch)


def sweep(
    study: Study,
    work: Sequence[Batch],
    make: Callable[[], Maker] = Noise,
    stop: Stop | None = None,
    **options: Any,
) -> Outcome:
    """Run one sweep over the work in this process."""
    stop = stop or Stop()
    with stop.listening(), study.worker(lease=30) as worker:
        return Sweep(study, make, Lines(len(work), sys.stdout), stop, fps=16, **options).run(
            work, worker
        )


def main() -> None:
    """The program."""
    path, prompts, batch, pause, log = sys.argv[1:]
    study = Study.create(path, {"fps": 16})
    work = work_of(study, int(prompts), int(batch))
    sweep(study, work, lambda: Noise(float(pause), Path(log)))
    tidy(study)


if __name__ == "__main__":
    main()
