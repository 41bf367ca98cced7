"""ELO-K32 as the FramePack paper reports it, and how much of it is the order of the votes.

A vote moves both ratings at once (Elo 1978): with E = 1/(1 + 10^((R_right − R_left)/400)), and
S = 1, ½ or 0 for left, tie or right,

    R_left += K·(S − E),    R_right −= K·(S − E).

So the result depends on the order in which votes come, which says nothing about the variants. At
100 votes a variant the order alone moves a rating by some 40 points. The paper does not say in
which order it took its votes. We give the mean over shuffled orders as the rating, its standard
deviation over orders as `spread`, and the value for the order of voting as `recorded`; for ranks
and for intervals over raters see `reports.ratings`.

The paper does not say where ratings start either; they sum to K·initial whatever happens, so
another start shifts all alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import UserError
from reports.ratings.ballots import LEFT, TIE, Ballots, Codes, Floats, read, require_rated

INITIAL = 1000.0
K = 32.0
SCALE = 400.0
ORDERS = 1000
"""Orders averaged over: the mean is then known to 40/√1000, a little over one point."""

_AT_ONCE = 10_000_000
"""Shuffled votes held in memory at once."""


@dataclass(frozen=True)
class Elo:
    """Ratings of `variants` after all votes, averaged over shuffled orders.

    `rating`, `spread` (standard deviation over orders) and `recorded` (in the order of voting) are
    `[K]`. `both_bad` votes were left out.
    """

    variants: tuple[str, ...]
    rating: Floats
    spread: Floats
    recorded: Floats
    votes: int
    both_bad: int
    k: float
    initial: float
    scale: float
    orders: int
    seed: int


def sequence(
    left: Codes,
    right: Codes,
    score: Floats,
    order: NDArray[np.integer],
    size: int,
    *,
    k: float = K,
    initial: float = INITIAL,
    scale: float = SCALE,
) -> Floats:
    """Final ratings after the same votes in many orders, played side by side.

    Args:
        left: `[n]` variant on the left of each vote.
        right: `[n]` variant on the right.
        score: `[n]` 1 where left won, 0 where right won, ½ for a tie.
        order: `[n, m]` m orders: the vote that comes first, second, ...
        size: the number of variants.
        k: points at stake in a vote.
        initial: where ratings start.
        scale: points that make odds of ten to one.

    Returns:
        `[m, size]` ratings.
    """
    # One row of ratings an order, flattened, so that a vote of all orders is one gather.
    row = np.arange(order.shape[1]) * size
    ratings = np.zeros(order.shape[1] * size)
    tenfold = np.log(10.0) / scale
    for now in order:
        i, j = row + left[now], row + right[now]
        before_i, before_j = ratings[i], ratings[j]
        expected = 1.0 / (1.0 + np.exp(tenfold * (before_j - before_i)))
        change = k * (score[now] - expected)
        ratings[i] = before_i + change
        ratings[j] = before_j - change
    return np.asarray(initial + ratings.reshape(-1, size))


def elo(
    votes: pd.DataFrame | Ballots,
    *,
    k: float = K,
    initial: float = INITIAL,
    scale: float = SCALE,
    orders: int = ORDERS,
    seed: int = 0,
) -> Elo:
    """ELO of every variant, averaged over `orders` shuffled orders of the votes.

    Args:
        votes: a table of votes (`reports.ratings.ballots.read`), in the order of voting, or
            ballots already read.
        k: points at stake in a vote; the paper's 32.
        initial: where ratings start.
        scale: points that make odds of ten to one.
        orders: how many shuffled orders; at least 2.
        seed: of the shuffles.

    Raises:
        VotesError: the table cannot be read, or holds no vote to rate.
    """
    if orders < 2:
        raise UserError(f"orders={orders}: at least 2 are needed to see what the order does")
    if k <= 0:
        raise UserError(f"k={k}: points at stake must be more than 0")
    ballots = votes if isinstance(votes, Ballots) else read(votes)
    rated = require_rated(ballots)
    size, number = len(rated.variants), len(rated)
    score = np.where(rated.answer == LEFT, 1.0, np.where(rated.answer == TIE, 0.5, 0.0))

    def play(order: NDArray[np.integer]) -> Floats:
        return sequence(
            rated.left, rated.right, score, order, size, k=k, initial=initial, scale=scale
        )

    rng = np.random.default_rng(seed)
    at_once = max(1, min(orders, _AT_ONCE // number))
    as_voted = np.arange(number, dtype=np.int32)[:, None]
    finals = []
    for begin in range(0, orders, at_once):
        several = min(at_once, orders - begin)
        order = rng.permuted(np.tile(as_voted, (1, several)), axis=0)
        # The order of voting is played beside the first shuffled ones: a pass costs the same.
        finals.append(play(order if begin else np.hstack([as_voted, order])))
    recorded, final = np.split(np.concatenate(finals), [1])
    return Elo(
        variants=rated.variants,
        rating=final.mean(axis=0),
        spread=final.std(axis=0, ddof=1),
        recorded=recorded[0],
        votes=number,
        both_bad=len(ballots) - number,
        k=k,
        initial=initial,
        scale=scale,
        orders=orders,
        seed=seed,
    )
