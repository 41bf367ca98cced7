"""How two orders of the variants agree, and which variants no other beats on both of two counts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from scipy import special  # type: ignore[import-untyped, unused-ignore]

from reports.statistics.clusters import Floats

EXACT_UP_TO = 7
"""Up to this many variants all orders are listed for the p (5040)."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ between two readings of the same variants, with a two-sided permutation p.

    NaN with fewer than three variants, or when one reading is the same for all.
    """

    rho: float
    low: float
    high: float
    p: float
    variants: int


def mid_ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def spearman(one: Floats, other: Floats) -> float:
    """Pearson's correlation of the mid-ranks."""
    a, b = mid_ranks(one), mid_ranks(other)
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else np.nan


def rank_correlation(one: Floats, other: Floats, *, level: float = 0.95) -> RankCorrelation:
    """Spearman's ρ over variants where both readings exist.

    The interval is Fisher's z with Bonett and Wright's (2000) variance (1 + ρ²/2)/(n − 3), so it
    needs four variants; with as few variants as an ablation has it is wide, and says so.
    """
    both = np.isfinite(one) & np.isfinite(other)
    one, other = one[both], other[both]
    number = int(both.sum())
    rho = spearman(one, other) if number >= 3 else np.nan
    if not np.isfinite(rho):
        return RankCorrelation(np.nan, np.nan, np.nan, np.nan, number)
    low = high = np.nan
    if number >= 4:
        clipped = np.clip(rho, -0.999999, 0.999999)
        half = special.ndtri((1 + level) / 2) * np.sqrt((1 + rho**2 / 2) / (number - 3))
        low, high = np.tanh(np.arctanh(clipped) - half), np.tanh(np.arctanh(clipped) + half)
    return RankCorrelation(rho, float(low), float(high), _permutation_p(one, other), number)


def _permutation_p(one: Floats, other: Floats) -> float:
    a, b = mid_ranks(one), mid_ranks(other)
    a, b = a - a.mean(), b - b.mean()
    seen = abs(a @ b)
    if len(a) <= EXACT_UP_TO:
        orders = np.array(list(permutations(range(len(a)))))
        assert len(orders) == factorial(len(a))
    else:
        generator = np.random.default_rng(20250417)
        orders = np.argsort(generator.random((9_999, len(a))), axis=1)
        orders = np.vstack([np.arange(len(a)), orders])
    return float((np.abs(b[orders] @ a) >= seen - 1e-9).mean())


def pareto_front(gain: Floats, loss: Floats) -> list[int]:
    """Indices of the points that no other point beats: none has at least as much `gain` and at most
    as much `loss`, with one of them strictly better. In order of rising gain; NaNs never stand."""
    front = []
    for i in range(len(gain)):
        if not (np.isfinite(gain[i]) and np.isfinite(loss[i])):
            continue
        as_good = (gain >= gain[i]) & (loss <= loss[i])
        better = as_good & ((gain > gain[i]) | (loss < loss[i]))
        if not better.any():
            front.append(i)
    return sorted(front, key=lambda i: (gain[i], loss[i]))
