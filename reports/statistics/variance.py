"""How much of a metric's variance goes with sampler, packing, section, prompt and seed.

The paper says that within one sampling approach packings differ little: the sampling dominates. The
shares here let a study confirm or refute that. They are built as follows.

- Models are least-squares fits with one constant per level of each factor.
- A factor's share: the sum of squares that is lost when that factor alone is left out of a model
  of sampler, packing, section and prompt, less what as many constants would fit by chance
  (constants × residual variance), of the total. In a balanced sweep this is the classical ω².
  Sweeps are seldom balanced (a packing is tried with one sampler only), and then part of the
  variance goes with several factors at once; it is told as *shared*, and given to none.
- What is nested enters afterwards: what else tells variants apart (tail, discretisation, options
  and combinations) after sampler, packing and section; the seed after the prompt, since a seed's
  noise is another one under another prompt. What remains is variant × prompt and chance.
- Taking chance off can leave less than nothing: such a share is 0, and rest is what the others
  leave. Factors that hide one another seem to explain more one by one than together (shared would
  be below 0): their shares are scaled down to what they explain together. So every share lies
  between 0 and 1, in every resample too, and all add up to 1.
- Intervals resample whole prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from reports.statistics.clusters import LEVEL, Floats, Labels

RESAMPLES = 400
"""Resamples of the prompts: percentiles at 2.5 % rest on ten draws at either side."""

Design = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A factor's share of the variance, 0 to 1, with its interval over prompts."""

    factor: str
    share: float
    low: float
    high: float
    levels: int


@dataclass(frozen=True)
class Variance:
    """The shares of one metric, in a fixed order, and what stands in their way.

    `confounded` names factors whose levels this sweep never varied apart: what goes with either is
    shared. `missing` says why a factor has no share.
    """

    shares: tuple[Share, ...]
    confounded: tuple[tuple[str, str], ...]
    missing: Mapping[str, str]
    videos: int
    prompts: int


@dataclass(frozen=True)
class _Sums:
    """What least squares needs to know of each prompt's videos: `[prompts, ...]` arrays.

    With V variants: gram `[C, V, V]`, moment `[C, V]`, square `[C]`, constants `[C]` (how many
    means were taken out), for one way of taking means out (none, prompt, seed within prompt).
    """

    gram: Floats
    moment: Floats
    square: Floats
    constants: Floats


def _sums(values: Floats, variant: Labels, prompt: Labels, group: Labels | None) -> _Sums:
    """Centre within `group` (nested in prompt), then sum within prompt; None does not centre."""
    prompts, variants = int(prompt.max()) + 1, int(variant.max()) + 1
    if group is None:
        count = np.zeros((prompts, variants))
        moment = np.zeros((prompts, variants))
        np.add.at(count, (prompt, variant), 1.0)
        np.add.at(moment, (prompt, variant), values)
        gram = np.einsum("cv,vw->cvw", count, np.eye(variants))
        square = np.bincount(prompt, weights=values**2, minlength=prompts) * 1.0
        return _Sums(gram, moment, square, np.zeros(prompts))
    groups = int(group.max()) + 1
    owner = np.zeros(groups, dtype=np.int64)
    owner[group] = prompt
    count = np.zeros((groups, variants))
    total = np.zeros((groups, variants))
    np.add.at(count, (group, variant), 1.0)
    np.add.at(total, (group, variant), values)
    size, sum_ = count.sum(axis=1), total.sum(axis=1)
    share = count / size[:, None]
    gram = np.zeros((prompts, variants, variants))
    for start in range(0, groups, 256):
        part = slice(start, start + 256)
        block = np.einsum("gv,vw->gvw", count[part], np.eye(variants))
        block -= np.einsum("gv,gw->gvw", share[part], count[part])
        np.add.at(gram, owner[part], block)
    moment = np.zeros((prompts, variants))
    np.add.at(moment, owner, total - share * sum_[:, None])
    square = np.bincount(prompt, weights=values**2, minlength=prompts) * 1.0
    square -= np.bincount(owner, weights=sum_**2 / size, minlength=prompts)
    return _Sums(gram, moment, square, np.bincount(owner, minlength=prompts) * 1.0)


def _independent(columns: Design) -> Design:
    """A maximal set of linearly independent columns, the first of every dependent set."""
    kept: list[int] = []
    basis = np.empty((0, len(columns)))
    for place, column in enumerate(columns.T):
        # Twice is enough (Kahan): the second pass removes what rounding left of the first.
        rest = column - basis.T @ (basis @ column)
        rest = rest - basis.T @ (basis @ rest)
        length = float(np.linalg.norm(rest))
        if length > 1e-9 * max(float(np.linalg.norm(column)), 1e-300):
            kept.append(place)
            basis = np.vstack([basis, rest / length])
    return columns[:, kept]


def _indicators(levels: Labels) -> Design:
    """`[V, k]` one column a level."""
    return np.asarray(levels[:, None] == np.unique(levels), dtype=np.float64)


@dataclass(frozen=True)
class _Fit:
    """Least squares in every resample: `[B]` residual sum of squares and number of constants."""

    rest: Floats
    constants: Floats


class _Fits:
    """Fits of any set of factors, for the prompts as they are and for every resample."""

    def __init__(self, sums: Mapping[str, _Sums], weights: Floats, factors: Mapping[str, Labels]):
        self.factors = factors
        # weights: [B, C], how often each prompt is in each resample.
        self.sums = {
            within: (
                np.tensordot(weights, part.gram, axes=1),
                weights @ part.moment,
                weights @ part.square,
                weights @ part.constants,
            )
            for within, part in sums.items()
        }
        gram, moment, square, _ = self.sums["nothing"]
        self.size = gram.sum(axis=(1, 2))
        total = square - moment.sum(axis=1) ** 2 / self.size
        # Few prompts: a resample may hold videos that all score the same. It says nothing of
        # shares (and its total is a rounding error; the values come standardised).
        self.total = np.where(total > 1e-9 * self.size, total, np.nan)

    def fit(self, factors: tuple[str, ...], within: str) -> _Fit:
        """A constant per level of `factors`, and one per group of `within` (or one in all)."""
        gram, moment, square, groups = self.sums[within]
        variants = gram.shape[1]
        blocks = [np.ones((variants, 1)), *(_indicators(self.factors[name]) for name in factors)]
        design = _independent(np.hstack(blocks))
        if within != "nothing":
            # The overall constant went out with the means.
            design = _independent(design - design.mean(axis=0))
        rest = square
        if design.shape[1]:
            a = np.einsum("vi,bvw,wj->bij", design, gram, design, optimize=True)
            b = moment @ design
            # A resample may lack what tells two levels apart; the ridge keeps it solvable.
            ridge = 1e-12 * np.trace(a, axis1=1, axis2=2)[:, None, None] + 1e-300
            solved = np.linalg.solve(a + ridge * np.eye(a.shape[1]), b[:, :, None])[:, :, 0]
            rest = rest - (b * solved).sum(axis=1)
        return _Fit(np.maximum(rest, 0.0), groups + design.shape[1])

    def gain(self, small: _Fit, large: _Fit, noise: Floats) -> Floats:
        """`[B]` share of the total that `large` explains beyond `small`, less its chance part."""
        by_chance = (large.constants - small.constants) * noise
        return np.asarray((small.rest - large.rest - by_chance) / self.total)

    def noise(self, fit: _Fit) -> Floats:
        """`[B]` residual variance; NaN where a fit has as many constants as there are videos."""
        freedom = self.size - fit.constants
        return np.asarray(np.where(freedom >= 1, fit.rest / np.maximum(freedom, 1), np.nan))


def variance_shares(
    values: Floats,
    *,
    variant: Labels,
    prompt: Labels,
    seed: Labels,
    factors: Mapping[str, Labels],
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Variance:
    """Shares of the variance of one metric over the videos of a sweep.

    Args:
        values: `[n]` scores, NaN where there is none.
        variant: `[n]` variant number of each video.
        prompt: `[n]` prompt number.
        seed: `[n]` seed (its meaning is within the prompt).
        factors: for each factor of the variants (sampler, packing, section) the level of every
            variant, `[V]`, indexed by variant number.
        resamples: how often the prompts are resampled for the intervals.
        level: confidence of the intervals.
    """
    seen = np.isfinite(values)
    values = values[seen]
    _, prompt = np.unique(prompt[seen], return_inverse=True)
    used, variant = np.unique(variant[seen], return_inverse=True)
    factors = {
        name: np.unique(levels[used], return_inverse=True)[1] for name, levels in factors.items()
    }
    prompts = int(prompt.max(initial=-1)) + 1
    _, draw = np.unique(np.stack([prompt, seed[seen]]), axis=1, return_inverse=True)
    missing = {name: "one level only" for name, of in factors.items() if len(set(of)) < 2}
    varied = tuple(name for name in factors if name not in missing)
    if len(values) < 3 or np.ptp(values) == 0:
        reason = "fewer than three videos" if len(values) < 3 else "all videos score the same"
        names = (*factors, "prompt", "seed")
        return Variance((), (), dict.fromkeys(names, reason), len(values), prompts)
    if prompts < 2:
        missing["prompt"] = "one prompt only"
    values = (values - values.mean()) / values.std()
    sums = {
        "nothing": _sums(values, variant, prompt, None),
        "prompt": _sums(values, variant, prompt, prompt),
        "seed": _sums(values, variant, prompt, draw.reshape(-1)),
    }
    weights = np.ones((1, prompts))
    if prompts >= 2 and resamples:
        generator = np.random.default_rng(20250417)
        drawn = generator.multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples)
        weights = np.vstack([weights, drawn])
    fits = _Fits(sums, weights, {**factors, "variant": np.arange(len(used))})

    base = "prompt" if prompts >= 2 else "nothing"
    nothing, mains, whole = (
        fits.fit((), "nothing"),
        fits.fit(varied, base),
        fits.fit(("variant",), base),
    )
    noise = fits.noise(whole)
    parts: dict[str, Floats] = {}
    for name in varied:
        without = fits.fit(tuple(other for other in varied if other != name), base)
        parts[name] = fits.gain(without, mains, noise)
    if prompts >= 2:
        parts["prompt"] = fits.gain(fits.fit(varied, "nothing"), mains, noise)
    if len(parts) > 1:
        parts["shared"] = fits.gain(nothing, mains, noise) - np.sum(list(parts.values()), axis=0)
    if (whole.constants > mains.constants).any():
        parts["other of variant"] = fits.gain(mains, whole, noise)
    drawn_twice = int(draw.max()) + 1 > prompts
    with_seed = fits.fit(("variant",), "seed")
    seed_noise = fits.noise(with_seed)
    if drawn_twice and np.isfinite(seed_noise[0]):
        parts["seed"] = fits.gain(whole, with_seed, seed_noise)
    else:
        missing["seed"] = "too few videos" if drawn_twice else "one seed a prompt"
    if not parts:
        return Variance((), (), missing, len(values), prompts)
    parts = _between_0_and_1(parts)

    levels = {**{name: len(set(of)) for name, of in factors.items()}}
    levels |= {"prompt": prompts, "seed": int(draw.max()) + 1, "other of variant": len(used)}
    tail = 100 * (1 - level) / 2
    shares = []
    for name, drawn_shares in parts.items():
        spread = drawn_shares[1:][np.isfinite(drawn_shares[1:])]
        low, high = np.percentile(spread, [tail, 100 - tail]) if len(spread) else (np.nan, np.nan)
        shares.append(
            Share(name, float(drawn_shares[0]), float(low), float(high), levels.get(name, 0))
        )
    confounded = tuple(
        (one, other)
        for one, other in combinations(varied, 2)
        if _confounded(factors[one], factors[other])
    )
    return Variance(tuple(shares), confounded, missing, len(values), prompts)


NESTED = ("other of variant", "seed")
"""What enters after the factors that may share."""


def _between_0_and_1(parts: Mapping[str, Floats]) -> dict[str, Floats]:
    """The estimates of all parts as shares of one whole, with the rest.

    The factors' shares, with shared, cannot exceed what the factors explain together; what is
    nested comes on top of that; so their sum never exceeds 1 and rest is never below 0.
    """
    kept = {name: np.maximum(part, 0.0) for name, part in parts.items()}
    if "shared" in parts:
        factors = [name for name in parts if name not in ("shared", *NESTED)]
        alone = np.sum([kept[name] for name in factors], axis=0)
        together = np.maximum(alone + np.minimum(parts["shared"], 0.0), 0.0)
        scale = np.where(alone > 0, together / np.where(alone > 0, alone, 1.0), 1.0)
        kept |= {name: kept[name] * scale for name in factors}
    # Rounding may leave a rest of -1e-16.
    return {**kept, "rest": np.maximum(1 - np.sum(list(kept.values()), axis=0), 0.0)}


def _confounded(one: Labels, other: Labels) -> bool:
    """Whether the two factors' constants are not linearly independent over these variants."""
    both = np.hstack([_indicators(one), _indicators(other)])
    rank = int(np.linalg.matrix_rank(both))
    return rank < len(set(one)) + len(set(other)) - 1
