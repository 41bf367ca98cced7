"""Who was preferred to whom, how often; answers by kind; and the pull of a side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reports.ratings.ballots import BOTH_BAD, LEFT, RIGHT, TIE, Ballots, Codes, Floats


@dataclass(frozen=True)
class WinRates:
    """`rate[i, j]`: share of the votes on i and j that i got, a tie being half; NaN if none.

    `wins[i, j]`, `ties[i, j]`, `both_bad[i, j]` are the numbers behind it; the last two are
    symmetric, and both-bad votes are in no rate.
    """

    variants: tuple[str, ...]
    rate: Floats
    wins: Codes
    ties: Codes
    both_bad: Codes


def win_rates(ballots: Ballots) -> WinRates:
    """The matrix of win rates."""
    size = len(ballots.variants)
    flat = np.bincount(ballots.cell, minlength=4 * size * size).reshape(4, size, size)
    wins = flat[LEFT] + flat[RIGHT].T
    ties = flat[TIE] + flat[TIE].T
    met = wins + wins.T + ties
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(met > 0, (wins + 0.5 * ties) / met, np.nan)
    return WinRates(ballots.variants, rate, wins, ties, flat[BOTH_BAD] + flat[BOTH_BAD].T)


@dataclass(frozen=True)
class Answers:
    """How many votes said what; shares are of all votes, both-bad ones included."""

    votes: int
    left: int
    right: int
    tie: int
    both_bad: int

    @property
    def tie_rate(self) -> float:
        """Share of ties, 0..1."""
        return self.tie / self.votes if self.votes else float("nan")

    @property
    def both_bad_rate(self) -> float:
        """Share of "both bad", 0..1."""
        return self.both_bad / self.votes if self.votes else float("nan")

    @property
    def left_rate(self) -> float:
        """Share of left among left and right; ½ where sides do not matter and are balanced."""
        decided = self.left + self.right
        return self.left / decided if decided else float("nan")


def answers(ballots: Ballots) -> Answers:
    """Count the answers."""
    left, right, tie, both_bad = np.bincount(ballots.answer, minlength=4).tolist()
    return Answers(len(ballots), left, right, tie, both_bad)


@dataclass(frozen=True)
class Position:
    """The advantage of the left side: γ in log-odds with its interval, and as a win rate.

    `preference` is how often the left one wins between equals, of decided votes; `found` says
    that the interval excludes 0. Ratings are free of it, since it is part of the model.
    """

    gamma: float
    low: float
    high: float

    @property
    def preference(self) -> float:
        """σ(γ), 0..1."""
        return float(1 / (1 + np.exp(-self.gamma)))

    @property
    def found(self) -> bool:
        """Whether 0 is outside the interval."""
        return bool(self.low > 0 or self.high < 0)
