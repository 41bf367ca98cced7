"""Bradley-Terry ratings with ties and a position term, by penalised maximum likelihood.

Variant i on the left meets variant j on the right. With log-strengths θ, the advantage γ of being
on the left, and

    δ = θ_i − θ_j + γ,

three models say how likely the answers are:

- davidson (Davidson 1970): left : right : tie = e^{δ/2} : e^{−δ/2} : e^{η}. Among decided votes
  this is plain Bradley-Terry, so a rating difference is still the odds of winning. The default.
- rao_kupper (Rao and Kupper 1967): left if δ + logistic noise > η, right if < −η, else a tie.
- half: a tie is half a win for each. No model of ties, but what plain Bradley-Terry does.

The penalty is *ghost votes*: every variant has won and lost `ghosts`/2 votes against an opponent
of average strength; as many ghosts say that sides do not matter, and that equals tie half the
time. They keep every fit finite, resamples where a variant won everything included, and weigh as
half a vote against the hundreds that a variant has. With `ghosts=0` it is maximum likelihood,
which exists only if everyone lost somewhere.

All log-likelihoods are concave; Newton's steps are limited in length and converge in a handful.
Many weightings of the votes (resamples) are fitted at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reports.ratings import graph
from reports.ratings.ballots import TIE, Floats
from reports.ratings.errors import ConvergenceError, DisconnectedError, UnboundedError

Ties = Literal["davidson", "rao_kupper", "half"]

GHOSTS = 0.5
"""Ghost votes a variant: half a vote. Large enough to keep all-win resamples finite (a variant with
30 wins of 30 gets θ ≈ log 121, not infinity), too small to move a rating that has a hundred votes
by a tenth of its standard error."""

SCALE = 400 / np.log(10)
"""Elo points a unit of θ: a gap of 400 is odds of ten to one."""

TOLERANCE = 1e-10
RESAMPLE_TOLERANCE = 1e-6
"""Largest last step, in units of θ. A resample needs no more than a ten-thousandth of an Elo."""

LIMIT = 100
"""Newton steps; ten are many."""

LONGEST = 1.0
"""Longest step in any parameter: the curvature measured here says little about places beyond."""

_CHUNK = 64
"""Weightings fitted at once: their arrays stay in the processor's cache."""


class Slopes(NamedTuple):
    """First derivatives of a log-likelihood in δ and η, and negated second ones."""

    delta: Floats
    eta: Floats
    delta_delta: Floats
    delta_eta: Floats
    eta_eta: Floats


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def davidson(left: Floats, right: Floats, tie: Floats, delta: Floats, eta: Floats) -> Slopes:
    """`Σ left·log P(left) + right·log P(right) + tie·log P(tie)`, differentiated.

    P(left) = e^{δ/2}/Z, P(right) = e^{−δ/2}/Z, P(tie) = e^{η}/Z; Z = e^{δ/2} + e^{−δ/2} + e^{η}.
    """
    up = np.exp(0.5 * delta)
    down = 1 / up
    nu = np.exp(eta)
    votes = left + right + tie
    share = 1 / (up + down + nu)
    p_tie = nu * share
    edge = (up - down) * share
    return Slopes(
        0.5 * (left - right - votes * edge),
        tie - votes * p_tie,
        0.25 * votes * (1 - p_tie - edge**2),
        -0.5 * votes * p_tie * edge,
        votes * p_tie * (1 - p_tie),
    )


def rao_kupper(left: Floats, right: Floats, tie: Floats, delta: Floats, eta: Floats) -> Slopes:
    """As `davidson`, with P(left) = σ(δ−η), P(right) = σ(−δ−η) and their product for a tie, times
    e^{2η}−1.

    So log L = (left+tie)·log σ(δ−η) + (right+tie)·log σ(−δ−η) + tie·log(e^{2η}−1).
    """
    p_left, p_right = _sigmoid(delta - eta), _sigmoid(-delta - eta)
    up, down = (left + tie) * (1 - p_left), (right + tie) * (1 - p_right)
    up2, down2 = up * p_left, down * p_right
    grown = -1 / np.expm1(-2 * eta)  # e^{2η}/(e^{2η}−1)
    return Slopes(
        up - down,
        2 * tie * grown - up - down,
        up2 + down2,
        down2 - up2,
        up2 + down2 + 4 * tie * grown * (grown - 1),
    )


def half(left: Floats, right: Floats, tie: Floats, delta: Floats, eta: Floats) -> Slopes:
    """Plain Bradley-Terry, P(left) = σ(δ), a tie being half a win for each side."""
    votes = left + right + tie
    p_left = _sigmoid(delta)
    none = np.zeros_like(votes)
    return Slopes(
        left + 0.5 * tie - votes * p_left, none, votes * p_left * (1 - p_left), none, none
    )


Likelihood = Callable[[Floats, Floats, Floats, Floats, Floats], Slopes]

MODELS: dict[str, Likelihood] = {"davidson": davidson, "rao_kupper": rao_kupper, "half": half}


@dataclass(frozen=True)
class Fits:
    """B fits of K variants: θ `[B, K]` centred on 0, γ `[B]`, η `[B]`, in natural-log units.

    γ is 0 where no position term was asked for; η is −inf (davidson), 0 (rao_kupper) or NaN (half)
    where no tie gave it a value.
    """

    theta: Floats
    gamma: Floats
    eta: Floats
    steps: int


def score_and_information(
    model: Likelihood, counts: Floats, x: Floats, *, ghosts: float
) -> tuple[Floats, Floats]:
    """Gradient `[B, K+2]` and negated Hessian `[B, K+2, K+2]` of the penalised log-likelihood.

    Args:
        model: one of `MODELS`.
        counts: `[B, 3, K, K]` left won, right won, tie; i on the left, j on the right.
        x: `[B, K+2]` θ, γ, η.
        ghosts: ghost votes a variant.
    """
    size = counts.shape[-1]
    theta, gamma, eta = x[:, :size], x[:, size], x[:, size + 1]
    delta = theta[:, :, None] - theta[:, None, :] + gamma[:, None, None]
    cells = model(counts[:, 0], counts[:, 1], counts[:, 2], delta, eta[:, None, None])

    gradient = np.zeros_like(x)
    gradient[:, :size] = cells.delta.sum(axis=2) - cells.delta.sum(axis=1)
    gradient[:, size] = cells.delta.sum(axis=(1, 2))
    gradient[:, size + 1] = cells.eta.sum(axis=(1, 2))

    information = np.zeros((len(x), size + 2, size + 2))
    both = cells.delta_delta + cells.delta_delta.swapaxes(1, 2)
    information[:, :size, :size] = -both
    each = np.arange(size)
    information[:, each, each] += both.sum(axis=2)
    for at, part in ((size, cells.delta_delta), (size + 1, cells.delta_eta)):
        border = part.sum(axis=2) - part.sum(axis=1)
        information[:, :size, at] = information[:, at, :size] = border
    information[:, size, size] = cells.delta_delta.sum(axis=(1, 2))
    information[:, size, size + 1] = cells.delta_eta.sum(axis=(1, 2))
    information[:, size + 1, size] = information[:, size, size + 1]
    information[:, size + 1, size + 1] = cells.eta_eta.sum(axis=(1, 2))

    if ghosts:
        p = _sigmoid(x[:, : size + 1])
        gradient[:, : size + 1] += ghosts * (0.5 - p)
        each = np.arange(size + 1)
        information[:, each, each] += ghosts * p * (1 - p)
        quarter = np.full(len(x), ghosts / 4)
        equals = model(quarter, quarter, 2 * quarter, np.zeros(len(x)), eta)
        gradient[:, size + 1] += equals.eta
        information[:, size + 1, size + 1] += equals.eta_eta
    return gradient, information


def fit_many(
    counts: Floats,
    *,
    ties: Ties = "davidson",
    position: bool = True,
    ghosts: float = GHOSTS,
    start: Fits | None = None,
    tolerance: float = RESAMPLE_TOLERANCE,
    limit: int = LIMIT,
    settle: bool = True,
) -> Fits:
    """Fit every weighting of the votes.

    Args:
        counts: `[B, 3, K, K]` weighted counts.
        ties: the model of ties.
        position: whether to fit γ.
        ghosts: ghost votes a variant; 0 asks for plain maximum likelihood, and the caller sees to
            it that it exists.
        start: one fit to start from.
        tolerance: largest last step.
        limit: number of steps at most.
        settle: with False, the state after `limit` steps is good enough (one-step estimates).

    Raises:
        ConvergenceError: steps were still longer than `tolerance` after `limit` of them.
    """
    size = counts.shape[-1]
    tied = bool(counts[:, TIE].any()) and ties != "half"
    first = {"davidson": -1.0, "rao_kupper": 0.5, "half": 0.0}[ties]
    if not tied:
        first = {"davidson": -np.inf, "rao_kupper": 0.0, "half": 0.0}[ties]
    model = MODELS[ties] if tied or ties == "davidson" else half
    free = np.array([True] * size + [position, tied])

    x = np.zeros((len(counts), size + 2))
    x[:, size + 1] = first
    if start is not None:
        x[:, :size], x[:, size] = start.theta[0], start.gamma[0]
        if tied and np.isfinite(start.eta[0]):
            x[:, size + 1] = start.eta[0]
    steps = 0
    for begin in range(0, len(counts), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        x[rows], taken, moved = _newton(
            model, counts[rows], x[rows], free, ghosts, tolerance, limit
        )
        if settle and moved > tolerance:
            raise ConvergenceError(f"still moving by {moved:.1e} after {taken} steps")
        steps = max(steps, taken)
    theta = x[:, :size] - x[:, :size].mean(axis=1, keepdims=True)
    eta = np.full(len(x), np.nan) if ties == "half" else x[:, size + 1]
    return Fits(theta, x[:, size], eta, steps)


def _newton(
    model: Likelihood,
    counts: Floats,
    x: Floats,
    free: NDArray[np.bool_],
    ghosts: float,
    tolerance: float,
    limit: int,
) -> tuple[Floats, int, float]:
    """The parameters, the steps taken and the length of the last one."""
    size = counts.shape[-1]
    x = x.copy()
    going = np.arange(len(x))
    length = np.full(len(x), np.inf)
    fixed = np.flatnonzero(~free)
    taken = 0
    while taken < limit and len(going):
        taken += 1
        gradient, information = score_and_information(model, counts[going], x[going], ghosts=ghosts)
        if not ghosts:
            # Only differences are determined; this pins the mean where it is.
            information[:, :size, :size] += 1.0
        gradient[:, fixed] = 0.0
        information[:, fixed, :] = 0.0
        information[:, :, fixed] = 0.0
        information[:, fixed, fixed] = 1.0
        step = np.linalg.solve(information, gradient[:, :, None])[:, :, 0]
        reach = np.abs(step).max(axis=1)
        step *= np.minimum(1.0, LONGEST / np.maximum(reach, 1e-300))[:, None]
        if model is rao_kupper:
            # The threshold is positive; halving it at most keeps it so.
            step[:, size + 1] = np.maximum(step[:, size + 1], -0.5 * x[going, size + 1])
        x[going] += step
        length[going] = reach
        going = going[reach > tolerance]
    return x, taken, float(length.max())


@dataclass(frozen=True)
class BradleyTerry:
    """One fit: `theta[k]` of `variants[k]` (mean 0), γ, η, and how it was made.

    `ratings` are on the Elo scale around `initial`. `unbounded_above` and `unbounded_below` name
    variants whose rating only the ghost votes keep finite.
    """

    variants: tuple[str, ...]
    theta: Floats
    gamma: float
    eta: float
    votes: float
    ties: Ties
    position: bool
    ghosts: float
    steps: int
    unbounded_above: tuple[str, ...]
    unbounded_below: tuple[str, ...]

    def ratings(self, initial: float = 1000.0) -> Floats:
        """`[K]` on the Elo scale: `initial` + θ·400/ln 10."""
        return np.asarray(initial + SCALE * self.theta)


def fit(
    variants: tuple[str, ...],
    counts: Floats,
    *,
    ties: Ties = "davidson",
    position: bool = True,
    ghosts: float = GHOSTS,
) -> BradleyTerry:
    """Fit one table of counts.

    Args:
        variants: names of the K variants.
        counts: `[3, K, K]` left won, right won, tie; i on the left, j on the right.
        ties: the model of ties.
        position: whether to fit the advantage of the left side.
        ghosts: ghost votes a variant (the penalty); 0 is maximum likelihood.

    Raises:
        DisconnectedError: some variants were never compared with others, not even through third.
        UnboundedError: `ghosts` is 0 and no finite maximum exists.
        ConvergenceError: it did not settle.
    """
    if len(parts := graph.groups(counts)) > 1:
        one, other = (", ".join(variants[k] for k in part) for part in parts[:2])
        raise DisconnectedError(f"never compared, not even through others: {one} with {other}")
    above, below = graph.unbounded(counts)
    if not ghosts and (above or below):
        named = ", ".join(variants[k] for k in above or below)
        said = "never lost" if above else "never won"
        raise UnboundedError(f"no finite rating without ghost votes: {named} {said}")
    many = fit_many(counts[None], ties=ties, position=position, ghosts=ghosts, tolerance=TOLERANCE)
    return BradleyTerry(
        variants=variants,
        theta=many.theta[0],
        gamma=float(many.gamma[0]),
        eta=float(many.eta[0]),
        votes=float(counts.sum()),
        ties=ties,
        position=position,
        ghosts=ghosts,
        steps=many.steps,
        unbounded_above=tuple(variants[k] for k in above),
        unbounded_below=tuple(variants[k] for k in below),
    )
