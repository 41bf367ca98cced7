"""Groups of variants set against each other: matched, paired by cell, clustered by prompt.

Whether inverted sampling drifts less than vanilla is not a question about two variants, where a
study has several packings of each. Every variant of one group is set against those of the other
that are the same in all else; their differences are taken cell by cell (same prompt, same seed) and
averaged. Only where no two match are the groups' means compared, and the contrast says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from reports.analysis import Analysis, Entrant
from reports.columns import Column
from reports.ratings.bradley_terry import SCALE
from reports.ratings.win_rates import WinRates
from reports.statistics.clusters import Floats, Labels, t_quantile
from reports.statistics.paired import Difference, difference

TRAITS = ("sampler", "packing", "section", "tail", "discrete", "options")
"""What two variants must share to be matched, but for what is compared."""


def trait(entrant: Entrant, name: str) -> object:
    """A variant's value of one of `TRAITS`, comparable with others'."""
    if name == "options":
        return tuple(sorted((key, str(value)) for key, value in entrant.departures.items()))
    return getattr(entrant, name)


def matched(
    these: Sequence[Entrant], those: Sequence[Entrant], but: Sequence[str]
) -> list[tuple[Entrant, Entrant]]:
    """Pairs of one of each group that are equal in all of `TRAITS` except those in `but`."""
    shared = [name for name in TRAITS if name not in but]
    return [
        (one, other)
        for one in these
        for other in those
        if one is not other and all(trait(one, name) == trait(other, name) for name in shared)
    ]


@dataclass(frozen=True)
class Cells:
    """Values of chosen columns by variant, prompt and seed.

    `of[name]` is `[pairings, columns]`, NaN where a variant has no score; `prompt` `[pairings]`.
    """

    columns: tuple[Column, ...]
    of: dict[str, Floats]
    prompt: Labels

    def delta(self, one: Entrant, other: Entrant) -> Floats:
        """`[pairings, columns]` one minus the other, on the same prompts and seeds."""
        return self.of[one.name] - self.of[other.name]


def cells(analysis: Analysis, columns: Sequence[Column], *, standard: bool = False) -> Cells:
    """Arrange the study's values of `columns`.

    Args:
        analysis: the study.
        columns: measured columns.
        standard: divide by the standard deviation between videos of one variant, so that columns
            can be averaged; a column without spread is left out (NaN).
    """
    values = analysis.measured.pick(columns).values
    if standard:
        values = values / _spread(values, analysis.variant)
    number = int(analysis.pairing.max(initial=-1)) + 1
    prompt = np.zeros(number, dtype=np.int64)
    prompt[analysis.pairing] = analysis.prompt
    of = {}
    for entrant in analysis.variants:
        placed = np.full((number, len(columns)), np.nan)
        placed[analysis.pairing[entrant.rows]] = values[entrant.rows]
        of[entrant.name] = placed
    return Cells(tuple(columns), of, prompt)


def _spread(values: Floats, variant: Labels) -> Floats:
    """`[columns]` standard deviation around each variant's mean; NaN where there is none."""
    frame = pd.DataFrame(values)
    rest = (frame - frame.groupby(variant).transform("mean")).to_numpy()
    seen = np.isfinite(rest)
    # Each variant that has values has given one for its mean; the others have given none.
    means = pd.DataFrame(seen).groupby(variant).any().sum().to_numpy()
    freedom = seen.sum(axis=0) - means
    square = np.where(seen, rest, 0.0) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(square.sum(axis=0) / freedom)
    return np.where((freedom > 0) & (spread > 1e-12), spread, np.nan)


@dataclass(frozen=True)
class Contrast:
    """A difference between two groups of variants, and what it rests on.

    `variants` is how many variants took part: a further prompt costs so many videos a seed.
    """

    difference: Difference
    variants: int
    matched: bool


def _mean(parts: Sequence[Floats]) -> Floats:
    """Mean over what is there, elementwise; NaN where nothing is."""
    stack = np.stack(parts)
    seen = np.isfinite(stack)
    count = seen.sum(axis=0)
    total = np.where(seen, stack, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def contrast(
    table: Cells,
    these: Sequence[Entrant],
    those: Sequence[Entrant],
    but: Sequence[str],
    columns: Sequence[Column] | None = None,
) -> Contrast | None:
    """These minus those, averaged over matched pairs and over columns.

    Args:
        table: values by cell.
        these: one group of variants.
        those: the other.
        but: the traits that tell the groups apart.
        columns: which of the table's columns, by default all; several only make sense when
            the table is standardised.

    Returns: None where no cell has both.
    """
    if pairs := matched(these, those, but):
        return contrast_of(table, pairs, columns)
    if not these or not those:
        return None
    deltas = _mean([table.of[e.name] for e in these]) - _mean([table.of[e.name] for e in those])
    return _contrast(table, deltas, columns, len(these) + len(those), False)


def contrast_of(
    table: Cells,
    pairs: Sequence[tuple[Entrant, Entrant]],
    columns: Sequence[Column] | None = None,
) -> Contrast | None:
    """The first minus the second of each pair, averaged over pairs and columns."""
    deltas = _mean([table.delta(one, other) for one, other in pairs])
    used = {entrant.name for pair in pairs for entrant in pair}
    return _contrast(table, deltas, columns, len(used), True)


def _contrast(
    table: Cells,
    deltas: Floats,
    columns: Sequence[Column] | None,
    variants: int,
    matched_pairs: bool,
) -> Contrast | None:
    chosen = [table.columns.index(column) for column in columns or table.columns]
    values = _mean([deltas[:, place] for place in chosen])
    if not np.isfinite(values).any():
        return None
    return Contrast(difference(values, table.prompt), variants, matched_pairs)


@dataclass(frozen=True)
class Gap:
    """A mean squared standardised difference: an unbiased estimate, so it can be below 0.

    `without` is the same without each prompt that has values, by its number, for the jackknife.
    """

    value: float
    without: Mapping[int, float]
    pairs: int
    variants: int


def squared_gap(table: Cells, pairs: Sequence[tuple[Entrant, Entrant]]) -> Gap | None:
    """Mean over pairs and columns of (μ_one − μ_other)², chance taken off.

    With m_p a prompt's mean difference and n prompts, (Σm)² − Σm² counts only products of different
    prompts, whose chance parts are independent: divided by n(n−1) it estimates μ² without bias.

    Args:
        table: standardised values by cell.
        pairs: which variants are compared.
    """
    found = [_prompt_means(table.delta(one, other), table.prompt) for one, other in pairs]
    if not found:
        return None
    means = np.stack(found, axis=2)  # [prompts, columns, pairs]
    seen = np.isfinite(means)
    m = np.where(seen, means, 0.0)
    total, square, count = m.sum(axis=0), (m**2).sum(axis=0), seen.sum(axis=0)

    def unbiased(s: Floats, q: Floats, n: Floats) -> float:
        usable = n >= 2
        if not usable.any():
            return float("nan")
        return float(((s[usable] ** 2 - q[usable]) / (n[usable] * (n[usable] - 1))).mean())

    # A prompt without values is no part of the sample: it would narrow the interval.
    without = {
        p: unbiased(total - m[p], square - m[p] ** 2, (count - seen[p]).astype(np.float64))
        for p in np.flatnonzero(seen.any(axis=(1, 2))).tolist()
    }
    names = {entrant.name for pair in pairs for entrant in pair}
    value = unbiased(total, square, count.astype(np.float64))
    return Gap(value, without, len(pairs), len(names))


def _prompt_means(deltas: Floats, prompt: Labels) -> Floats:
    """`[prompts, columns]` mean of the finite values; NaN where a prompt has none."""
    frame = pd.DataFrame(deltas).groupby(prompt).mean()
    return frame.reindex(range(int(prompt.max(initial=-1)) + 1)).to_numpy(dtype=np.float64)


def gap_difference(one: Gap, other: Gap | None = None) -> Difference:
    """A gap, or how much larger one gap is than another, with its jackknife interval."""
    value = one.value - (other.value if other else 0.0)
    prompts = sorted({*one.without, *(other.without if other else ())})
    # A gap that has no values of a prompt stays what it is without it.
    without = np.array(
        [
            one.without.get(p, one.value) - (other.without.get(p, other.value) if other else 0.0)
            for p in prompts
        ]
    )
    number = len(prompts)
    if number < 3 or not np.isfinite(without).all():
        return Difference(value, np.nan, np.nan, np.nan, np.nan, one.pairs * number, number)
    error = float(np.sqrt((number - 1) / number * ((without - without.mean()) ** 2).sum()))
    half = t_quantile(0.975, number - 1) * error
    pairs = (one.pairs + (other.pairs if other else 0)) * number
    return Difference(value, value - half, value + half, error, np.nan, pairs, number)


def within(entrants: Sequence[Entrant], varied: str) -> list[tuple[Entrant, Entrant]]:
    """All pairs that differ in one trait and in no other."""
    rest = [name for name in TRAITS if name != varied]
    return [
        (one, other)
        for one, other in combinations(entrants, 2)
        if trait(one, varied) != trait(other, varied)
        and all(trait(one, name) == trait(other, name) for name in rest)
    ]


@dataclass(frozen=True)
class Rated:
    """A difference of human ratings in Elo points.

    `votes` are those on the variants compared that ratings use, each counted once; `matched` is
    whether the difference is one of matched pairs.
    """

    value: float
    error: float
    freedom: float
    votes: int
    matched: bool


def rated(
    analysis: Analysis, these: Sequence[Entrant], those: Sequence[Entrant], but: Sequence[str]
) -> Rated | None:
    """These minus those in Bradley-Terry ratings, averaged over matched pairs; where no two match,
    the groups' means.

    Returns: None without votes or intervals, or where the votes never link the two groups.
    """
    if analysis.human is None:
        return None
    for group in analysis.human.board.groups:
        here = {name: place for place, name in enumerate(group.variants)}
        one = [e for e in these if e.name in here]
        other = [e for e in those if e.name in here]
        if not one or not other or group.spread is None:
            continue
        alike = matched(one, other, but)
        pairs = alike or [(a, b) for a in one for b in other]
        weight = np.zeros(len(here))
        for a, b in pairs:
            weight[here[a.name]] += 1 / len(pairs)
            weight[here[b.name]] -= 1 / len(pairs)
        size = len(here)
        variance = weight @ group.spread.covariance[:size, :size] @ weight
        return Rated(
            float(SCALE * weight @ group.fit.theta),
            float(SCALE * np.sqrt(max(float(variance), 0.0))),
            group.spread.freedom,
            _votes_on(analysis.human.board.win_rates, {e.name for pair in pairs for e in pair}),
            bool(alike),
        )
    return None


def _votes_on(counted: WinRates, variants: Collection[str]) -> int:
    """Votes in ratings that show one of `variants`, or two."""
    shown = np.isin(counted.variants, list(variants))
    votes = np.triu(counted.wins + counted.wins.T + counted.ties)
    return int(votes[shown[:, None] | shown[None, :]].sum())
