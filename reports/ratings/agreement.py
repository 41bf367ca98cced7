"""Do raters agree: Krippendorff's alpha, and how consistent one rater is when asked again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.ratings.ballots import BOTH_BAD, LEFT, RIGHT, TIE, Ballots, Codes, Floats

RESAMPLES = 1000


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha over units that at least two raters judged.

    1 is full agreement, 0 what chance gives, below 0 disagreement. NaN, with `reason`, when no
    unit was judged twice or all answers are the same. `low` and `high` resample units.
    """

    alpha: float
    low: float
    high: float
    units: int
    answers: int
    reason: str


def krippendorff(table: Floats) -> float:
    """α = 1 − D_o/D_e for nominal values (Krippendorff 2011).

    Args:
        table: `[units, values]` how many raters gave each unit each value.

    With n_u raters of a unit, n_uc of them saying c, n_c and n the sums over units with n_u ≥ 2:
    D_o = Σ_u (n_u² − Σ_c n_uc²) / (n_u − 1) / n and D_e = (n² − Σ_c n_c²) / (n (n − 1)).
    """
    return float(_alphas(table, table, np.ones((1, len(table))))[0])


def _alphas(table: Floats, pool: Floats, weights: Floats) -> Floats:
    """α with units weighted, `[B]` for weights `[B, units]`; D_e is taken from `pool`."""
    raters = table.sum(axis=1)
    weights = weights * (raters >= 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        split = np.where(raters >= 2, (raters**2 - (table**2).sum(axis=1)) / (raters - 1), 0.0)
        total = weights @ raters
        observed = weights @ split / total
        expected = (total**2 - ((weights @ pool) ** 2).sum(axis=1)) / (total * (total - 1))
        alpha = np.where(expected > 0, 1 - observed / expected, np.nan)
    return np.asarray(alpha, dtype=np.float64)


def _preferred(ballots: Ballots) -> tuple[Codes, Codes]:
    """The smaller and larger variant of each vote's pair."""
    return np.minimum(ballots.left, ballots.right), np.maximum(ballots.left, ballots.right)


def said(ballots: Ballots) -> Codes:
    """`[n]` what was said of the pair, whatever the sides: 0 the smaller variant, 1 the larger,
    2 tie, 3 both bad."""
    flipped = (ballots.left > ballots.right) & (ballots.answer <= RIGHT)
    return np.where(flipped, LEFT + RIGHT - ballots.answer, ballots.answer)


def agreement(
    ballots: Ballots,
    *,
    videos: NDArray[np.int64] | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Alpha of the answers; a unit is a pair of variants on one prompt (and seed).

    Args:
        ballots: normal votes; both bad is an answer like others here.
        videos: `[n]` the seed of each vote, where a prompt has more than one.
        resamples: of units, for the interval.
        level: of the interval.
        seed: of the resampling.
    """
    low, high = _preferred(ballots)
    seeds = np.zeros(len(ballots), dtype=np.int64) if videos is None else videos
    keys = np.stack([low, high, ballots.prompt, seeds])
    _, unit = np.unique(keys, axis=1, return_inverse=True)
    unit = unit.reshape(-1)
    units = int(unit.max(initial=-1)) + 1
    table = np.zeros((units, BOTH_BAD + 1))
    np.add.at(table, (unit, said(ballots)), 1.0)
    table = table[table.sum(axis=1) >= 2]
    if not len(table):
        return Agreement(np.nan, np.nan, np.nan, 0, 0, "no pair of videos was judged twice")
    # Which of a pair is called the first is arbitrary: by chance, either is preferred as often.
    pool = table.copy()
    pool[:, :TIE] = table[:, :TIE].mean(axis=1, keepdims=True)
    alpha = float(_alphas(table, pool, np.ones((1, len(table))))[0])
    reason = "" if np.isfinite(alpha) else "all answers are the same"
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), size=resamples)
    alphas = _alphas(table, pool, drawn.astype(np.float64))
    alphas = alphas[np.isfinite(alphas)]
    tail = 100 * (1 - level) / 2
    bounds = np.percentile(alphas, [tail, 100 - tail]) if len(alphas) > 1 else (np.nan, np.nan)
    return Agreement(
        alpha, float(bounds[0]), float(bounds[1]), len(table), int(table.sum()), reason
    )


def repeats(votes: pd.DataFrame) -> pd.DataFrame:
    """Each repeat beside what the rater first said of the same two videos.

    Args:
        votes: the arena's table, with `kind`; rows in the order of voting.

    Returns:
        One row a repeat that has a first vote: rater, left, right (as shown again), answer,
        first (the first answer, turned to the sides as shown again), same (bool).
    """
    columns = ["rater", "left", "right", "answer", "first", "same"]
    if "kind" not in votes.columns or not (votes["kind"] == "repeat").any():
        return pd.DataFrame({name: [] for name in columns})
    seed = votes["seed"] if "seed" in votes.columns else pd.Series(0, index=votes.index)
    turned = votes["left"] > votes["right"]
    keyed = votes.assign(
        one=votes["left"].where(~turned, votes["right"]),
        other=votes["right"].where(~turned, votes["left"]),
        video=seed,
        turned=turned,
    )
    key = ["rater", "prompt_id", "video", "one", "other"]
    first = keyed[keyed["kind"] == "normal"].drop_duplicates(key)
    again = keyed[keyed["kind"] == "repeat"]
    both = again.merge(first[[*key, "answer", "turned"]], on=key, suffixes=("", "_first"))
    swap = {"left": "right", "right": "left"}
    turned_back = both["answer_first"].map(lambda answer: swap.get(answer, answer))
    as_shown = both["answer_first"].where(both["turned"] == both["turned_first"], turned_back)
    both = both.assign(first=as_shown, same=as_shown == both["answer"])
    return both[columns]
