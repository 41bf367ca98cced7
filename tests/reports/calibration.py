"""Do the statistics keep their promises? Simulated studies by the thousand.

`python -m tests.reports.calibration` prints, and asserts, that studies of one variant against
itself find a difference 5 times in 100 (± 1.5) and that intervals cover the truth 93 to 97 times.
The tests run the same functions on fewer studies.
"""

from __future__ import annotations

import numpy as np

from reports.statistics import detectable, difference, differences, estimate, holm
from reports.statistics.clusters import Floats

PROMPTS = 12
SEEDS = 2


def interval_coverage(kind: str, *, studies: int, prompts: int = 20, seed: int = 1) -> float:
    """Share of simulated studies whose interval contains the true mean.

    normal: prompt effect plus noise. drift: its absolute value, skewed as drifts are. boolean: a
    share of dynamic videos that varies over prompts. unequal: between 1 and 5 videos a prompt.
    """
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(studies):
        videos = rng.integers(1, 6, prompts) if kind == "unequal" else np.full(prompts, SEEDS)
        clusters = np.repeat(np.arange(prompts), videos)
        noise = rng.normal(size=len(clusters))
        easy = rng.normal(size=prompts)[clusters]
        bounds: tuple[float | None, float | None] = (None, None)
        if kind == "boolean":
            chance = rng.beta(3, 1, prompts)[clusters]
            values = (rng.random(len(clusters)) < chance).astype(np.float64)
            truth, bounds = 0.75, (0.0, 1.0)
        elif kind == "drift":
            values = np.abs(0.5 * easy + noise)
            truth, bounds = float(np.sqrt(1.25 * 2 / np.pi)), (0.0, None)
        else:
            values, truth = easy + noise, 0.0
        one = estimate(values, clusters, bounds=bounds)
        hits += one.low <= truth <= one.high
    return hits / studies


def _study(rng: np.random.Generator, variants: int, shift: float = 0.0) -> tuple[Floats, Floats]:
    """Cells × variants whose only differences are chance; prompts react to variants differently."""
    clusters = np.repeat(np.arange(PROMPTS), SEEDS)
    easy = rng.normal(size=PROMPTS)[clusters, None]
    likes = rng.normal(0, 0.5, (PROMPTS, variants))[clusters]
    # Noise of a long tail, as drifts have.
    noise = rng.exponential(1.0, (len(clusters), variants))
    values = easy + likes + noise
    values[:, 1:] += shift
    return values, clusters


def aa_share(*, studies: int, seed: int = 2) -> dict[str, float]:
    """Shares of A/A studies that find something at 5 %.

    single: one variant against the same variant. family: five against the same baseline, any of
    them after Holm. covered: intervals of the difference that contain 0.
    """
    rng = np.random.default_rng(seed)
    single = family = covered = 0
    for _ in range(studies):
        values, clusters = _study(rng, 6)
        deltas = values[:, 1:] - values[:, :1]
        found = differences(deltas, clusters)
        single += found[0].p < 0.05
        covered += found[0].low <= 0 <= found[0].high
        family += bool((holm(np.array([one.p for one in found])) < 0.05).any())
    return {"single": single / studies, "family": family / studies, "covered": covered / studies}


def power_at(*, studies: int, seed: int = 3) -> float:
    """How often a difference as large as the detectable one is found."""
    rng = np.random.default_rng(seed)
    prompts = 20
    # A paired difference with unit spread between prompts: its standard error is 1/√prompts.
    shift = detectable(1 / np.sqrt(prompts), prompts)
    found = 0
    for _ in range(studies):
        deltas = rng.normal(shift, 1.0, prompts)
        found += difference(deltas, np.arange(prompts)).p < 0.05
    return found / studies


def main() -> None:
    """Run everything at full size."""
    for kind in ("normal", "drift", "boolean", "unequal"):
        for prompts in (8, 20, 60):
            share = interval_coverage(kind, studies=4000, prompts=prompts)
            print(f"intervals, {kind}, {prompts} prompts: {100 * share:.1f} % cover")
    shares = aa_share(studies=4000)
    print("A/A: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items()))
    print(f"power at the detectable difference: {100 * power_at(studies=4000):.1f} %")
    assert abs(shares["single"] - 0.05) <= 0.015, shares
    assert 0.93 <= shares["covered"] <= 0.97, shares


if __name__ == "__main__":
    main()
