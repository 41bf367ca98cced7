"""Do 95 % intervals cover the truth? `python -m reports.coverage` simulates 1,000 studies a design.

A design is a population of simulated raters and a way of asking them; the truth is what the model
finds in infinitely many votes of infinitely many such raters (`Population.truth`). Covered is
counted over all variants, and over all differences of two. With 1,000 studies a coverage of 95 % is
known to ±0.7 % for one variant and better for their mean. The exit status is 1 when the coverage
of a design's ratings is not within 93 to 97 %.

    python -m reports.coverage [STUDIES] [PROCESSES]
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from reports.ratings import bradley_terry
from reports.ratings.ballots import Floats, read
from reports.ratings.ranks import pair_errors
from reports.ratings.resampling import Clusters, spread
from reports.simulation import Design, Population, simulate

STUDIES = 1000
BOUNDS = (0.93, 0.97)


@dataclass(frozen=True)
class Case:
    """A population, a way of asking it, and whose chance the intervals answer for."""

    name: str
    population: Population
    design: Design
    by: Clusters = "rater"
    resamples: int = 500


SIX = tuple(np.linspace(-0.7, 0.7, 6))
TWELVE = tuple(np.linspace(-0.9, 0.9, 12))

CASES = (
    Case("100 votes a variant, 30 raters", Population(SIX, taste=0.5, side=0.15), Design(30, 300)),
    Case("10 raters", Population(SIX, taste=0.5, side=0.15), Design(10, 300)),
    Case("no taste: votes independent", Population(SIX), Design(20, 300)),
    Case("strong taste, many votes", Population(SIX, taste=1.0), Design(40, 2400)),
    Case("unequal raters", Population(SIX, taste=0.5), Design(40, 600, heavy=1.0)),
    Case("12 variants, far apart", Population(TWELVE, taste=0.4, side=-0.2), Design(60, 900)),
    Case("over prompts", Population(SIX, suits=0.6), Design(40, 900, prompts=30), "prompt"),
    Case(
        "over raters and prompts",
        Population(SIX, taste=0.5, suits=0.5),
        Design(40, 900, prompts=40),
        "both",
    ),
)


def covered(case: Case, seed: int) -> tuple[Floats, Floats, bool]:
    """Of one study: which variants and which differences are covered, and whether γ = 0 is."""
    truth = case.population.truth()
    ballots = read(simulate(case.population, case.design, seed))
    fit = bradley_terry.fit(ballots.variants, ballots.counts())
    found = spread(ballots, fit, by=case.by, resamples=case.resamples, seed=seed)
    quantile, size = found.quantile(), len(truth)
    ratings = np.abs(fit.theta - truth) <= quantile * found.error
    gaps = (fit.theta - truth)[:, None] - (fit.theta - truth)[None, :]
    one, other = np.triu_indices(size, 1)
    pairs = np.abs(gaps) <= quantile * pair_errors(found.covariance[:size, :size])
    no_side = case.population.side == 0 and abs(fit.gamma) <= quantile * found.error_gamma
    return ratings.astype(np.float64), pairs[one, other].astype(np.float64), bool(no_side)


def coverage(case: Case, studies: int, processes: int) -> tuple[Floats, float, float]:
    """Coverage of each variant's rating, of differences, and of γ = 0 where nothing was planted."""
    case.population.truth()
    with ProcessPoolExecutor(processes) as pool:
        results = list(pool.map(partial(covered, case), range(studies), chunksize=20))
    ratings = np.mean([rating for rating, _, _ in results], axis=0)
    pairs = float(np.mean([pair.mean() for _, pair, _ in results]))
    none = float(np.mean([side for *_, side in results])) if not case.population.side else np.nan
    return np.asarray(ratings), pairs, none


def main() -> int:
    """Print a line a design; 0 when all are within bounds."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    within = True
    for case in CASES:
        ratings, pairs, none = coverage(case, studies, processes)
        within &= BOUNDS[0] <= ratings.mean() <= BOUNDS[1]
        side = "" if np.isnan(none) else f", no position bias {none:.1%}"
        print(
            f"{case.name}: ratings {ratings.mean():.1%} ({ratings.min():.1%} to "
            f"{ratings.max():.1%}), differences {pairs:.1%}{side}; {studies} simulated studies",
            flush=True,
        )
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
