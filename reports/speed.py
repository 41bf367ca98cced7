"""What ratings cost: `python -m reports.speed`, a part of `make bench`.

Two sizes, each with a ceiling on two cores: Bradley-Terry with 1,000 resamples of 200 raters at
100,000 votes on 20 variants, from the table of votes to standard errors; and ELO over 1,000 orders
of 10,000 votes. Other work on the machine only ever adds time, so the best of some repeats counts.
The exit status is 1 when a ceiling is exceeded.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from reports.elo import elo
from reports.ratings import bradley_terry
from reports.ratings.ballots import read
from reports.ratings.resampling import spread
from reports.simulation import Design, Population, simulate

REPEATS = 7


def best_of(work: Callable[[], object], repeats: int = REPEATS) -> tuple[float, float]:
    """The shortest wall-clock seconds and the shortest processor seconds of some repeats."""
    walls, processors = [], []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return min(walls), min(processors)


def main() -> int:
    """Measure and print; 0 when both are within their ceilings."""
    population = Population(tuple(np.linspace(-0.5, 0.5, 20)), taste=0.3, side=0.1)
    many = simulate(population, Design(raters=200, votes=100_000, prompts=100), seed=0)
    few = simulate(population, Design(raters=200, votes=10_000, prompts=100), seed=0)

    def bradley_terry_with_intervals() -> None:
        ballots = read(many)
        fit = bradley_terry.fit(ballots.variants, ballots.counts())
        spread(ballots, fit, by="rater", resamples=1000)

    ballots = read(many)
    fit = bradley_terry.fit(ballots.variants, ballots.counts())
    within = True
    for what, ceiling, work in (
        (
            "Bradley-Terry, 1000 resamples of 200 raters, 100,000 votes, 20 variants",
            0.5,
            lambda: spread(ballots, fit, by="rater", resamples=1000),
        ),
        ("the same, reading the table of votes first", 0.5, bradley_terry_with_intervals),
        ("ELO, 1000 orders of 10,000 votes", 2.0, lambda: elo(few, orders=1000)),
    ):
        wall, processor = best_of(work)
        within &= wall <= ceiling
        print(f"{what}: {wall:.2f} s ({processor:.2f} s processor), ceiling {ceiling} s")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
