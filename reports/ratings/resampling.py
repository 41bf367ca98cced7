"""How sure ratings are when votes come in clusters: raters, prompts, or both.

Thirty votes of one rater are not thirty independent looks. Whole clusters are resampled with
replacement, the model is fitted to each resample, and the spread of those fits is the standard
error. A resample is a weighted sum of each cluster's counts, so the votes are not touched again.

The interval is estimate ± t·SE with G − 1 degrees of freedom. G is the *effective* number of
clusters, (Σn)²/Σn² for clusters of n votes: three raters who cast most of the votes are three,
whatever number of others cast one. Percentile intervals, which are often used here, know neither
this nor the factor √(G/(G−1)). Over 600 simulated studies of 300 votes they covered the truth in
90 % with 10 raters and 93 % with 30, and these in 95 and 96 %.

`both` answers for other raters *and* other prompts: V = V_rater + V_prompt − V_rater×prompt
(Cameron, Gelbach and Miller 2011), the last by the sandwich formula, never less than the larger of
the first two. `pigeonhole` resamples raters and prompts at once and multiplies their weights
(Owen 2007); where chance dominates, as it does with votes, its variance is up to three times too
large. It is there for comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from scipy import sparse, stats  # type: ignore[import-untyped, unused-ignore]

from reports.ratings import bradley_terry
from reports.ratings.ballots import Ballots, By, Codes, Floats
from reports.ratings.bradley_terry import GHOSTS, BradleyTerry, Fits
from reports.ratings.errors import VotesError

Clusters = Literal["rater", "prompt", "both", "pigeonhole"]

RESAMPLES = 1000
"""A standard error from 1,000 resamples is known to 2 %."""

LEVEL = 0.95

_DENSE = 20_000_000
"""Up to this many numbers, counts by cluster are one array; beyond, a sparse matrix."""


@dataclass(frozen=True)
class Spread:
    """How fits move under resampling.

    `covariance` is of (θ_1 … θ_K, γ), `[K+1, K+1]`, in natural-log units; `clusters` the number
    resampled (for two ways the smaller one) and `effective` what that number is worth.
    """

    by: Clusters
    covariance: Floats
    clusters: int
    effective: float
    resamples: int
    seed: int

    @property
    def freedom(self) -> float:
        """Degrees of freedom of t intervals."""
        return max(self.effective - 1.0, 1.0)

    def quantile(self, level: float = LEVEL) -> float:
        """t quantile of a two-sided interval."""
        return float(stats.t.ppf((1 + level) / 2, self.freedom))

    @property
    def error(self) -> Floats:
        """`[K]` standard errors of θ."""
        return np.asarray(np.sqrt(np.diag(self.covariance)[:-1]))

    @property
    def error_gamma(self) -> float:
        """Standard error of γ."""
        return float(np.sqrt(self.covariance[-1, -1]))


def multinomial(clusters: int, resamples: int, rng: np.random.Generator) -> Floats:
    """`[B, G]` how often each cluster was drawn in each resample."""
    drawn = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    return drawn.astype(np.float64)


def effective_clusters(sizes: Floats) -> float:
    """(Σn)²/Σn²: the number of equal clusters that would be as good."""
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def _weighted(ballots: Ballots, by: By, weights: Floats) -> Floats:
    """`[B, 3, K, K]` counts with every vote weighted as its cluster is."""
    size = len(ballots.variants)
    codes, groups = ballots.clusters(by)
    if groups * 3 * size**2 <= _DENSE:
        flat = weights @ ballots.counts_by(by)
    else:
        table = sparse.csr_array(
            (np.ones(len(ballots)), (codes, ballots.cell)), shape=(groups, 3 * size**2)
        )
        flat = cast(Floats, weights @ table)
    return np.asarray(flat).reshape(len(weights), 3, size, size)


def _used(ballots: Ballots) -> Ballots:
    """Without raters and prompts that have no rated vote: they are no cluster."""
    raters, rater = np.unique(ballots.rater, return_inverse=True)
    prompts, prompt = np.unique(ballots.prompt, return_inverse=True)
    return Ballots(
        ballots.variants,
        tuple(ballots.raters[r] for r in raters),
        tuple(ballots.prompts[p] for p in prompts),
        ballots.left,
        ballots.right,
        ballots.answer,
        rater.astype(np.int64),
        prompt.astype(np.int64),
    )


def _start(fit: BradleyTerry) -> Fits:
    return Fits(fit.theta[None], np.array([fit.gamma]), np.array([fit.eta]), 0)


def resample(
    ballots: Ballots,
    fit: BradleyTerry,
    *,
    by: Literal["rater", "prompt", "pigeonhole"] = "rater",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Fits:
    """The model of `fit` fitted to `resamples` resamples of whole clusters.

    Raises:
        VotesError: there is one cluster only, so that every resample is the same.
    """
    ballots = _used(ballots.rated)
    rng = np.random.default_rng(seed)
    ways: tuple[By, ...] = ("rater", "prompt") if by == "pigeonhole" else (by,)
    for way in ways:
        if ballots.clusters(way)[1] < 2:
            raise VotesError(f"one {way} only: intervals over {way}s need at least two")
    weights = [multinomial(ballots.clusters(way)[1], resamples, rng) for way in ways]
    if by == "pigeonhole":
        counts = _product_counts(ballots, weights[0], weights[1])
    else:
        counts = _weighted(ballots, by, weights[0])
    return bradley_terry.fit_many(
        counts, ties=fit.ties, position=fit.position, ghosts=fit.ghosts or GHOSTS, start=_start(fit)
    )


def _product_counts(ballots: Ballots, raters: Floats, prompts: Floats) -> Floats:
    size = len(ballots.variants)
    cell = ballots.cell
    counts = np.empty((len(raters), 3 * size**2))
    for b, (of_rater, of_prompt) in enumerate(zip(raters, prompts, strict=True)):
        weight = of_rater[ballots.rater] * of_prompt[ballots.prompt]
        counts[b] = np.bincount(cell, weights=weight, minlength=3 * size**2)
    return counts.reshape(-1, 3, size, size)


def covariance(fits: Fits) -> Floats:
    """`[K+1, K+1]` covariance of (θ, γ) over fits."""
    return np.atleast_2d(np.cov(np.column_stack([fits.theta, fits.gamma]), rowvar=False))


def sandwich(ballots: Ballots, fit: BradleyTerry, clusters: Codes) -> Floats:
    """`[K+1, K+1]` covariance of (θ, γ) by H⁻¹ (Σ_c s_c s_cᵀ) H⁻¹, s_c a cluster's score.

    Exact for many small clusters, which is what rater × prompt makes; no resampling.
    """
    ballots = ballots.rated
    size = len(ballots.variants)
    ghosts = fit.ghosts or GHOSTS
    model = bradley_terry.MODELS[fit.ties]
    eta = fit.eta if np.isfinite(fit.eta) else (-np.inf if fit.ties == "davidson" else 0.0)
    if fit.ties != "davidson" and eta <= 0:
        model = bradley_terry.half
    x = np.concatenate([fit.theta, [fit.gamma, eta]])
    _, information = bradley_terry.score_and_information(
        model, ballots.counts()[None], x[None], ghosts=ghosts
    )
    delta = fit.theta[ballots.left] - fit.theta[ballots.right] + fit.gamma
    left, right, tie = ((ballots.answer == code) * 1.0 for code in range(3))
    one = model(left, right, tie, delta, np.asarray(eta))
    number = int(clusters.max()) + 1
    score = np.zeros((number, size + 2))
    np.add.at(score, (clusters, ballots.left), one.delta)
    np.add.at(score, (clusters, ballots.right), -one.delta)
    np.add.at(score[:, size], clusters, one.delta)
    np.add.at(score[:, size + 1], clusters, one.eta)
    free = np.array([True] * size + [fit.position, information[0, -1, -1] > 0])
    h = information[0][np.ix_(free, free)]
    bread = np.zeros((size + 2, size + 2))
    bread[np.ix_(free, free)] = np.linalg.inv(h)
    whole = bread @ (score.T @ score) @ bread
    return _centred(whole[: size + 1, : size + 1])


def _centred(whole: Floats) -> Floats:
    """The covariance of (θ − mean θ, γ)."""
    size = len(whole) - 1
    centre = np.eye(size + 1)
    centre[:size, :size] -= 1 / size
    return np.asarray(centre @ whole @ centre.T)


def spread(
    ballots: Ballots,
    fit: BradleyTerry,
    *,
    by: Clusters = "rater",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Spread:
    """Standard errors and covariance of a fit.

    Args:
        ballots: the votes that `fit` was fitted to.
        fit: the fit to all of them.
        by: what else there could have been: other raters, other prompts, or both.
        resamples: how many resamples.
        seed: of the resampling.

    Raises:
        VotesError: there is one cluster only.
    """
    ballots = _used(ballots.rated)
    sizes = {
        way: np.bincount(ballots.clusters(way)[0]).astype(np.float64) for way in ("rater", "prompt")
    }
    ways: tuple[By, ...] = (by,) if by in ("rater", "prompt") else ("rater", "prompt")
    if by == "both":
        parts = [
            covariance(resample(ballots, fit, by=way, resamples=resamples, seed=seed))
            for way in ways
        ]
        pair = ballots.rater * len(ballots.prompts) + ballots.prompt
        _, pair = np.unique(pair, return_inverse=True)
        found = two_way(parts[0], parts[1], sandwich(ballots, fit, pair.astype(np.int64)))
    else:
        found = covariance(resample(ballots, fit, by=by, resamples=resamples, seed=seed))
    return Spread(
        by=by,
        covariance=found,
        clusters=min(len(sizes[way]) for way in ways),
        effective=min(effective_clusters(sizes[way]) for way in ways),
        resamples=resamples,
        seed=seed,
    )


def two_way(rater: Floats, prompt: Floats, pair: Floats) -> Floats:
    """V_rater + V_prompt − V_pair, made a covariance again, and no variance below either way's.

    The difference of estimates can have a negative direction; its negative eigenvalues become 0.
    """
    values, vectors = np.linalg.eigh(rater + prompt - pair)
    whole = (vectors * np.maximum(values, 0.0)) @ vectors.T
    least = np.maximum(np.diag(rater), np.diag(prompt))
    return np.asarray(whole + np.diag(np.maximum(0.0, least - np.diag(whole))))
