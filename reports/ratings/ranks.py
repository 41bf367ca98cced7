"""Ranks: the paper's rule, and one that knows how sure the ratings are.

The paper is said to call two variants tied when their ELO differs by no more than K/2 = 16 points.
Sixteen points are half of one vote, whatever the number of votes; with a hundred votes a variant,
chance alone separates equals by more.

The other rule compares every pair of variants at once. A variant is *better* than another when the
interval of their difference excludes 0, the intervals being so wide that with `level` probability
none of all pairs is wrong (max-t over pairs: Hothorn, Bretz and Westfall 2008). Then its true rank
lies between 1 + (number better than it) and K − (number it is better than), for all variants
jointly with at least that probability (Klein, Wright and Wieczorek 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.ratings.ballots import Codes, Floats
from reports.ratings.resampling import LEVEL, Spread

DRAWS = 20_000
"""Draws for the critical value: its own error is then half a percent."""


def tied_ranks(ratings: Floats, within: float) -> Codes:
    """`[K]` rank 1 + how many are better by more than `within` points; equals share a rank."""
    ahead = ratings[None, :] - ratings[:, None] > within
    return np.asarray(1 + ahead.sum(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Ranks:
    """Rank by rating, and from where to where the true rank lies; `[K]` each.

    `better[i, j]` says that i is better than j beyond `level` doubt, all pairs at once; `critical`
    is how many standard errors that takes.
    """

    rank: Codes
    best: Codes
    worst: Codes
    better: NDArray[np.bool_]
    critical: float
    level: float


def pair_errors(covariance: Floats) -> Floats:
    """`[K, K]` standard errors of θ_i − θ_j."""
    variance = np.diag(covariance)
    gap = variance[:, None] + variance[None, :] - 2 * covariance
    return np.asarray(np.sqrt(np.maximum(gap, 0.0)))


def critical_value(
    covariance: Floats, freedom: float, level: float = LEVEL, seed: int = 0
) -> float:
    """The `level` quantile of max over pairs of |t_i − t_j| / SE_ij, t multivariate Student.

    Args:
        covariance: `[K, K]` of θ.
        freedom: degrees of freedom of the standard errors.
        level: joint confidence.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    error = pair_errors(covariance)
    one, other = np.triu_indices(len(covariance), 1)
    usable = error[one, other] > 1e-9
    one, other = one[usable], other[usable]
    if not len(one):
        return float("inf")
    largest = np.empty(DRAWS)
    for part in np.array_split(np.arange(DRAWS), 20):
        z = rng.normal(size=(len(part), len(covariance))) @ root.T
        t = z / np.sqrt(rng.chisquare(freedom, len(part)) / freedom)[:, None]
        largest[part] = (np.abs(t[:, one] - t[:, other]) / error[one, other]).max(axis=1)
    return float(np.quantile(largest, level))


def ranks(theta: Floats, spread: Spread, *, level: float = LEVEL) -> Ranks:
    """Ranks of ratings θ `[K]` with what is known of their errors."""
    size = len(theta)
    covariance = spread.covariance[:size, :size]
    critical = critical_value(covariance, spread.freedom, level) if size > 1 else float("inf")
    error = pair_errors(covariance)
    gap = theta[:, None] - theta[None, :]
    with np.errstate(invalid="ignore"):
        better = np.asarray((gap > critical * error) & (error > 0))
    return Ranks(
        rank=tied_ranks(theta, 0.0),
        best=np.asarray(1 + better.sum(axis=0), dtype=np.int64),
        worst=np.asarray(size - better.sum(axis=1), dtype=np.int64),
        better=better,
        critical=critical,
        level=level,
    )
