"""Differences to a baseline on the same prompts and seeds, and how surprising they are.

A cell's noise depends on its prompt and seed and not on its variant, so two variants are compared
cell by cell. Under the hypothesis that two variants do not differ, the sign of a prompt's
difference is a coin toss; the test flips the signs of whole prompts (never of single videos, which
are not independent) and asks how often the mean difference gets as large as the one seen. With few
prompts all sign patterns are listed; with many, a fixed number is drawn with a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from reports.statistics.clusters import LEVEL, Floats, Labels, jackknife_error, t_quantile

EXACT_UP_TO = 13
"""Up to this many prompts all 2^C sign patterns are listed (8192); beyond, patterns are drawn."""

DRAWS = 9_999
"""Drawn patterns: the smallest p is 1e-4, and a p of 0.05 is known to ±0.004."""


@dataclass(frozen=True)
class Difference:
    """Variant minus baseline over the cells that both have.

    `p` is two-sided, from flipping the signs of prompts; NaN with fewer than two prompts.
    """

    value: float
    low: float
    high: float
    error: float
    p: float
    pairs: int
    prompts: int


@lru_cache(maxsize=8)
def sign_patterns(prompts: int) -> Floats:
    """`[patterns, prompts]` of ±1, the identity first. Half of all patterns when listed exactly:
    a pattern and its opposite give the same two-sided statistic."""
    if prompts <= EXACT_UP_TO:
        numbers = np.arange(2 ** max(prompts - 1, 0))
        bits = (numbers[:, None] >> np.arange(prompts)) & 1
        return 1.0 - 2.0 * bits
    generator = np.random.default_rng(20250417)
    signs = 1.0 - 2.0 * generator.integers(0, 2, size=(DRAWS + 1, prompts))
    signs[0] = 1.0
    return signs


def sign_flip_p(sums: Floats) -> float:
    """Two-sided p of Σsums under independent sign flips of its terms.

    Args:
        sums: `[C]` a prompt's summed differences.

    The identity counts among the patterns, so p is never 0 and the test is valid at every size
    (Phipson and Smyth 2010).
    """
    if len(sums) < 2:
        return np.nan
    return float(sign_flip_ps(sums[:, None])[0])


def sign_flip_ps(sums: Floats) -> Floats:
    """`sign_flip_p` of every column of `sums` `[C, m]`, with one set of patterns for all."""
    patterns = sign_patterns(len(sums))
    seen = np.abs(sums.sum(axis=0))
    # A flip that reproduces the sum up to rounding is as extreme as what was seen.
    tolerance = 1e-9 * np.abs(sums).sum(axis=0)
    extreme = np.zeros(sums.shape[1])
    for start in range(0, len(patterns), 2048):
        extreme += (np.abs(patterns[start : start + 2048] @ sums) >= seen - tolerance).sum(axis=0)
    return np.asarray(extreme / len(patterns), dtype=np.float64)


def difference(deltas: Floats, clusters: Labels, *, level: float = LEVEL) -> Difference:
    """Mean of paired differences, its interval clustered by prompt, and its sign-flip p.

    Args:
        deltas: `[n]` variant minus baseline, one a cell; NaN where either is missing.
        clusters: `[n]` number of each cell's prompt.
        level: confidence of the interval.
    """
    return differences(deltas[:, None], clusters, level=level)[0]


def differences(deltas: Floats, clusters: Labels, *, level: float = LEVEL) -> list[Difference]:
    """`difference` of every column of `deltas` `[n, m]`."""
    size = int(clusters.max(initial=-1)) + 1
    seen = np.isfinite(deltas)
    filled = np.where(seen, deltas, 0.0)
    sums = np.zeros((size, deltas.shape[1]))
    counts = np.zeros((size, deltas.shape[1]))
    np.add.at(sums, clusters, filled)
    np.add.at(counts, clusters, seen)
    prompts = (counts > 0).sum(axis=0)
    ps = np.full(deltas.shape[1], np.nan)
    # Columns with the same prompts share their sign patterns.
    for rows in {column.tobytes() for column in (counts > 0).T}:
        used = np.frombuffer(rows, dtype=bool)
        columns = np.flatnonzero(((counts > 0) == used[:, None]).all(axis=0))
        if used.sum() >= 2:
            ps[columns] = sign_flip_ps(sums[np.ix_(used, columns)])
    results = []
    for column in range(deltas.shape[1]):
        used = counts[:, column] > 0
        total, number = sums[used, column], counts[used, column]
        if not used.any():
            results.append(Difference(np.nan, np.nan, np.nan, np.nan, np.nan, 0, 0))
            continue
        mean = float(total.sum() / number.sum())
        error = jackknife_error(total, number)
        half = (
            t_quantile((1 + level) / 2, int(prompts[column]) - 1) * error
            if prompts[column] >= 2
            else np.nan
        )
        results.append(
            Difference(
                mean,
                mean - half,
                mean + half,
                error,
                float(ps[column]),
                int(number.sum()),
                int(prompts[column]),
            )
        )
    return results


def holm(ps: Floats) -> Floats:
    """Holm's step-down adjustment (1979): the k-th smallest of m becomes max over j ≤ k of
    (m − j + 1)·p₍j₎, at most 1. NaNs stay and are not counted."""
    adjusted = np.full(len(ps), np.nan)
    tested = np.flatnonzero(np.isfinite(ps))
    order = tested[np.argsort(ps[tested], kind="stable")]
    running = 0.0
    for place, index in enumerate(order):
        running = max(running, (len(order) - place) * float(ps[index]))
        adjusted[index] = min(1.0, running)
    return adjusted
