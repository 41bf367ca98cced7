"""Means and their intervals when videos of one prompt resemble each other.

Two videos of one prompt are not two independent looks at a variant: an easy prompt is easy for
both. Intervals therefore treat the *prompt* as the unit that was sampled. The variance is the
delete-one-prompt jackknife, which for equal numbers of videos a prompt is exactly the classical
interval over prompt means, and which errs on the wide side when the numbers differ.

A boolean score (Dynamic) that is the same in every video has no spread to measure, and a t
interval would claim certainty. Booleans get Wilson's interval with the number of videos reduced to
what their clustering leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped, unused-ignore]

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

LEVEL = 0.95
"""Confidence of every interval that the report prints."""


@dataclass(frozen=True)
class Estimate:
    """A mean over videos with its interval.

    `low` and `high` are NaN when fewer than two prompts were scored: one prompt says nothing about
    others. `error` is the standard error of the mean.
    """

    value: float
    low: float
    high: float
    error: float
    videos: int
    prompts: int


EMPTY = Estimate(np.nan, np.nan, np.nan, np.nan, 0, 0)


@lru_cache(maxsize=4096)
def t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t; cached, since a report asks for the same few again and again."""
    return float(special.stdtrit(freedom, probability))


def cluster_sums(values: Floats, clusters: Labels) -> tuple[Floats, Floats]:
    """Sum and number of the finite values in each cluster that has any.

    Args:
        values: `[n]` scores, NaN where there is none.
        clusters: `[n]` cluster number of each, 0 or more.
    """
    seen = np.isfinite(values)
    size = int(clusters.max(initial=-1)) + 1
    counts = np.bincount(clusters[seen], minlength=size) * 1.0
    sums = np.bincount(clusters[seen], weights=values[seen], minlength=size) * 1.0
    used = counts > 0
    return sums[used], counts[used]


def jackknife_error(sums: Floats, counts: Floats) -> float:
    """Standard error of Σsums/Σcounts when whole clusters were sampled.

    With θ the mean, θ₍c₎ the mean without cluster c and C clusters,
    SE² = (C−1)/C · Σ_c (θ₍c₎ − θ)² (Efron and Stein 1981).
    """
    number = len(sums)
    if number < 2:
        return np.nan
    total, size = sums.sum(), counts.sum()
    without = (total - sums) / (size - counts)
    return float(np.sqrt((number - 1) / number * np.sum((without - total / size) ** 2)))


def wilson(share: float, trials: float, quantile: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion seen in `trials` independent trials."""
    q2 = quantile**2
    middle = (share + q2 / (2 * trials)) / (1 + q2 / trials)
    half = quantile * np.sqrt(share * (1 - share) / trials + q2 / (4 * trials**2))
    half /= 1 + q2 / trials
    # Rounding must not leave 1.0 outside the interval of a share of 1.
    low = 0.0 if share == 0 else max(0.0, float(middle - half))
    high = 1.0 if share == 1 else min(1.0, float(middle + half))
    return low, high


def effective_trials(share: float, error: float, videos: int, prompts: int) -> float:
    """How many independent videos would give the same standard error: p(1−p)/SE².

    Never more than there are videos; when all agree there is no spread to judge by, and only the
    prompts count.
    """
    if error <= 0:
        return float(prompts)
    return float(np.clip(share * (1 - share) / error**2, 1.0, videos))


def estimate(
    values: Floats,
    clusters: Labels,
    *,
    level: float = LEVEL,
    bounds: tuple[float | None, float | None] = (None, None),
) -> Estimate:
    """Mean over videos with an interval clustered by prompt.

    Args:
        values: `[n]` scores of videos; NaN where there is no score (left out, never counted as 0).
        clusters: `[n]` number of each video's prompt.
        level: confidence, 0..1.
        bounds: the metric's possible range; the interval never leaves it.
    """
    sums, counts = cluster_sums(values, clusters)
    prompts, videos = len(sums), int(counts.sum())
    if videos == 0:
        return EMPTY
    mean = float(sums.sum() / counts.sum())
    error = jackknife_error(sums, counts)
    if prompts < 2:
        return Estimate(mean, np.nan, np.nan, error, videos, prompts)
    if bounds == (0.0, 1.0) and is_boolean(values):
        trials = effective_trials(mean, error, videos, prompts)
        # With Student's quantile the interval would be too wide: few trials already widen it.
        low, high = wilson(mean, trials, float(special.ndtri((1 + level) / 2)))
    else:
        quantile = t_quantile((1 + level) / 2, prompts - 1)
        low, high = mean - quantile * error, mean + quantile * error
    low = low if bounds[0] is None else max(low, bounds[0])
    high = high if bounds[1] is None else min(high, bounds[1])
    return Estimate(mean, low, high, error, videos, prompts)


def is_boolean(values: Floats) -> bool:
    """Whether every finite value is 0 or 1."""
    seen = values[np.isfinite(values)]
    return bool(((seen == 0.0) | (seen == 1.0)).all())
