"""The model of votes: equal to others' fits, to its formulas, and to the truth it was given."""

import json
from pathlib import Path

import evalica
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from reports.ratings import bradley_terry
from reports.ratings.ballots import read
from reports.ratings.bradley_terry import MODELS, SCALE, Ties, fit, fit_many
from reports.ratings.errors import ConvergenceError, DisconnectedError, UnboundedError
from reports.simulation import Design, Population, simulate

Array = NDArray[np.float64]
GOLDEN = json.loads((Path(__file__).parent / "golden" / "arenakit.json").read_text())


@pytest.fixture(scope="module")
def votes() -> pd.DataFrame:
    population = Population((-0.6, -0.2, 0.0, 0.2, 0.6), taste=0.3, side=0.2, threshold=0.4)
    return simulate(population, Design(votes=600), seed=4)


def winners(votes: pd.DataFrame) -> list[evalica.Winner]:
    names = {"left": evalica.Winner.X, "right": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    return votes["answer"].map(names).tolist()


def centred_log(scores: "pd.Series[float]", names: tuple[str, ...]) -> Array:
    theta = np.log(scores[list(names)].to_numpy(dtype=np.float64))
    return theta - theta.mean()


def test_plain_bradley_terry_equals_evalica(votes: pd.DataFrame) -> None:
    theirs = evalica.bradley_terry(
        votes["left"], votes["right"], winners(votes), tolerance=1e-13, limit=100_000
    )
    ballots = read(votes)
    ours = fit(ballots.variants, ballots.counts(), ties="half", position=False, ghosts=0.0)
    assert ours.theta == pytest.approx(centred_log(theirs.scores, ours.variants), abs=1e-6)


def test_davidson_equals_evalicas_newman(votes: pd.DataFrame) -> None:
    """Newman's v is half of e^η: he writes the tie's weight as 2v√(π_i π_j)."""
    theirs = evalica.newman(
        votes["left"], votes["right"], winners(votes), tolerance=1e-13, limit=100_000
    )
    ballots = read(votes)
    ours = fit(ballots.variants, ballots.counts(), position=False, ghosts=0.0)
    assert ours.theta == pytest.approx(centred_log(theirs.scores, ours.variants), abs=1e-6)
    assert np.exp(ours.eta) == pytest.approx(2 * theirs.v, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "ties", "position"),
    [("half", "half", False), ("half_position", "half", True), ("rao_kupper", "rao_kupper", False)],
)
def test_fits_equal_arenakits(name: str, ties: Ties, position: bool) -> None:
    counts = np.array(GOLDEN["counts"], dtype=np.float64)
    ours = fit(tuple(GOLDEN["variants"]), counts, ties=ties, position=position, ghosts=0.0)
    theirs = GOLDEN[name]
    assert ours.theta == pytest.approx(theirs["scores"], abs=1e-6)
    if position:
        assert ours.gamma == pytest.approx(theirs["order_log"], abs=1e-6)
    if ties == "rao_kupper":
        assert np.exp(ours.eta) == pytest.approx(theirs["tie_theta"], abs=1e-6)


def test_dropped_ties_equal_arenakits() -> None:
    counts = np.array(GOLDEN["counts"], dtype=np.float64)
    counts[2] = 0.0
    ours = fit(tuple(GOLDEN["variants"]), counts, position=False, ghosts=0.0)
    assert ours.theta == pytest.approx(GOLDEN["drop"]["scores"], abs=1e-6)


def test_weighted_raters_equal_arenakits() -> None:
    counts = np.array(GOLDEN["resampled_counts"], dtype=np.float64)
    ours = fit_many(counts, ties="half", position=False, ghosts=0.0, tolerance=1e-10)
    assert ours.theta == pytest.approx(np.array(GOLDEN["resampled"]), abs=1e-6)


def log_likelihood(ties: Ties, counts: Array, x: Array, ghosts: float) -> float:
    """The penalised log-likelihood, pair by pair; x is θ, γ, η."""

    def chances(delta: float, eta: float) -> tuple[float, float, float]:
        if ties == "davidson":
            z = np.exp(delta / 2) + np.exp(-delta / 2) + np.exp(eta)
            return np.exp(delta / 2) / z, np.exp(-delta / 2) / z, np.exp(eta) / z
        left = 1 / (1 + np.exp(eta - delta))
        right = 1 / (1 + np.exp(eta + delta))
        return left, right, 1 - left - right

    size = counts.shape[-1]
    theta, gamma, eta = x[:size], x[size], x[size + 1]
    total = 0.0
    for i in range(size):
        for j in range(size):
            p = chances(theta[i] - theta[j] + gamma, eta)
            if i != j and ties == "half":
                p_left = 1 / (1 + np.exp(-(theta[i] - theta[j] + gamma)))
                won = counts[0, i, j] + counts[2, i, j] / 2
                lost = counts[1, i, j] + counts[2, i, j] / 2
                total += won * np.log(p_left) + lost * np.log(1 - p_left)
            elif i != j:
                total += sum(counts[o, i, j] * np.log(p[o]) for o in range(3))
    # Ghosts: half won and half lost against average; sides alike; equals tie half the time.
    for parameter in x[: size + 1]:
        total -= ghosts / 2 * (np.logaddexp(0, -parameter) + np.logaddexp(0, parameter))
    if ties != "half":
        p = chances(0.0, eta)
        total += ghosts * (np.log(p[0]) / 4 + np.log(p[1]) / 4 + np.log(p[2]) / 2)
    return float(total)


@pytest.mark.parametrize("ties", list(MODELS))
@pytest.mark.parametrize("ghosts", [0.5, 5.0])
def test_the_fit_is_the_maximum_of_the_formula(
    votes: pd.DataFrame, ties: Ties, ghosts: float
) -> None:
    ballots = read(votes.head(80))
    counts = ballots.counts()
    start = np.array([0.0] * 6 + [0.5])
    bounds = [(-5, 5)] * 6 + [(0.01, 5) if ties == "rao_kupper" else (-5, 5)]
    best = optimize.minimize(
        lambda x: -log_likelihood(ties, counts, x, ghosts),
        start,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000},
    ).x
    ours = fit(ballots.variants, counts, ties=ties, ghosts=ghosts)
    assert ours.theta == pytest.approx(best[:5] - best[:5].mean(), abs=2e-5)
    assert ours.gamma == pytest.approx(best[5], abs=2e-5)
    if ties != "half":
        assert ours.eta == pytest.approx(best[6], abs=2e-5)


@pytest.mark.parametrize("ties", ["davidson", "rao_kupper"])
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_slopes_are_the_derivatives(ties: Ties, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, (1, 3, 3, 3)).astype(np.float64)
    counts[..., range(3), range(3)] = 0.0
    x = np.append(rng.normal(0, 1, 4), rng.uniform(0.2, 1.5))
    gradient, information = bradley_terry.score_and_information(
        MODELS[ties], counts, x[None], ghosts=0.5
    )
    step = 1e-5

    def moved(k: int, by: float) -> Array:
        return x + by * np.eye(5)[k]

    for k in range(5):
        up, down = (log_likelihood(ties, counts[0], moved(k, s), 0.5) for s in (step, -step))
        assert gradient[0, k] == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-4)
        slopes = [
            bradley_terry.score_and_information(
                MODELS[ties], counts, moved(k, s)[None], ghosts=0.5
            )[0][0]
            for s in (step, -step)
        ]
        assert information[0, k] == pytest.approx(
            -(slopes[0] - slopes[1]) / (2 * step), rel=1e-4, abs=1e-4
        )


def test_many_fits_at_once_equal_each_alone(votes: pd.DataFrame) -> None:
    ballots = read(votes)
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, (130, len(ballots.raters))).astype(np.float64)
    counts = (weights @ ballots.counts_by("rater")).reshape(-1, 3, 5, 5)
    together = fit_many(counts, tolerance=1e-10)
    for b in (0, 63, 64, 129):
        alone = fit_many(counts[b : b + 1], tolerance=1e-10)
        assert together.theta[b] == pytest.approx(alone.theta[0], abs=1e-9)
        assert together.eta[b] == pytest.approx(alone.eta[0], abs=1e-9)


def test_weights_count_votes_again() -> None:
    votes = simulate(Population((-0.3, 0.0, 0.3)), Design(raters=4, votes=80), seed=0)
    ballots = read(votes)
    weights = np.array([2.0, 0.0, 1.0, 3.0])
    counts = (weights @ ballots.counts_by("rater")).reshape(3, 3, 3)
    again = pd.concat(
        [
            votes[votes["rater"] == rater]
            for rater, times in zip(ballots.raters, weights, strict=True)
            for _ in range(int(times))
        ]
    )
    assert counts.tolist() == read(again, variants=ballots.variants).counts().tolist()


def test_planted_skills_are_found() -> None:
    skills = np.array([-0.7, -0.2, 0.1, 0.8])
    votes = simulate(Population(tuple(skills), threshold=0.5), Design(votes=20_000), seed=5)
    ballots = read(votes)
    found = fit(ballots.variants, ballots.counts(), ties="rao_kupper")
    assert found.theta == pytest.approx(skills - skills.mean(), abs=0.06)
    assert found.eta == pytest.approx(0.5, abs=0.03)


def test_a_planted_position_bias_is_found_and_removed() -> None:
    """A stands left nine times in ten, which flatters it unless sides are in the model."""
    population = Population((0.0, 0.0, 0.0), side=0.8)
    votes = simulate(population, Design(votes=30_000), seed=6)
    rng = np.random.default_rng(0)
    votes = votes[(votes["right"] != "A") | (rng.random(len(votes)) < 0.1)]
    ballots = read(votes)
    with_sides = fit(ballots.variants, ballots.counts(), ties="rao_kupper")
    without = fit(ballots.variants, ballots.counts(), ties="rao_kupper", position=False)
    assert with_sides.gamma == pytest.approx(0.8, abs=0.06)
    assert with_sides.theta == pytest.approx(np.zeros(3), abs=0.08)
    assert without.theta[0] > 0.25


def test_sides_exchanged_change_the_sign_of_the_bias_alone(votes: pd.DataFrame) -> None:
    mirrored = votes.assign(
        left=votes["right"],
        right=votes["left"],
        answer=votes["answer"].replace({"left": "right", "right": "left"}),
    )
    one, other = (fit(b.variants, b.counts()) for b in (read(votes), read(mirrored)))
    assert other.theta == pytest.approx(one.theta, abs=1e-8)
    assert other.gamma == pytest.approx(-one.gamma, abs=1e-8)


def test_a_gap_of_400_is_odds_of_ten_to_one() -> None:
    counts = np.zeros((3, 2, 2))
    counts[0, 0, 1] = counts[1, 1, 0] = 500.0
    counts[1, 0, 1] = counts[0, 1, 0] = 50.0
    ratings = fit(("A", "B"), counts, ghosts=0.0).ratings(1000.0)
    assert ratings == pytest.approx([1200.0, 800.0], abs=1e-6)


def wins(*pairs: tuple[int, int], size: int) -> Array:
    """Counts with ten wins of the first over the second of each pair, five on either side."""
    counts = np.zeros((3, size, size))
    for i, j in pairs:
        counts[0, i, j] += 5.0
        counts[1, j, i] += 5.0
    return counts


def test_who_wins_everything_has_a_finite_rating_and_is_named() -> None:
    counts = wins((0, 1), (0, 2), (1, 2), (2, 1), size=3)
    found = fit(("A", "B", "C"), counts)
    assert np.isfinite(found.theta).all()
    assert found.unbounded_above == ("A",)
    assert found.unbounded_below == ()
    last = fit(("A", "B", "C"), wins((0, 1), (1, 0), (0, 2), (1, 2), size=3))
    assert (last.unbounded_above, last.unbounded_below) == ((), ("C",))
    only = fit(("A", "B"), wins((0, 1), size=2))
    assert (only.unbounded_above, only.unbounded_below) == (("A",), ("B",))
    assert found.theta[0] > found.theta[1] + 2


def test_who_wins_everything_has_no_maximum_likelihood() -> None:
    with pytest.raises(UnboundedError, match="A never lost"):
        fit(("A", "B", "C"), wins((0, 1), (0, 2), (1, 2), (2, 1), size=3), ghosts=0.0)


def test_who_never_met_cannot_be_compared() -> None:
    with pytest.raises(DisconnectedError, match=r"never compared.*: A, B with C, D"):
        fit(("A", "B", "C", "D"), wins((0, 1), (1, 0), (2, 3), (3, 2), size=4))


def test_a_fit_that_does_not_settle_says_so() -> None:
    with pytest.raises(ConvergenceError, match="after 1 steps"):
        fit_many(wins((0, 1), (1, 0), (0, 1), size=2)[None], limit=1)


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(MODELS)))
@settings(max_examples=60, deadline=None)
def test_any_connected_votes_can_be_fitted(seed: int, ties: Ties) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 7))
    counts = rng.integers(0, 40, (3, size, size)) * (rng.random((3, size, size)) < 0.3) * 1.0
    counts[int(rng.integers(0, 3)), range(size - 1), range(1, size)] += 1.0
    counts[:, range(size), range(size)] = 0.0
    found = fit(tuple("ABCDEFG"[:size]), counts, ties=ties)
    assert np.isfinite(found.theta).all()
    assert abs(found.theta.sum()) < 1e-9
    assert np.abs(found.theta).max() * SCALE < 4000


def test_no_ties_is_plain_bradley_terry() -> None:
    counts = wins((0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (0, 1), size=3)
    fits = {ties: fit(("A", "B", "C"), counts, ties=ties).theta for ties in MODELS}  # type: ignore[arg-type]
    assert fits["davidson"] == pytest.approx(fits["half"], abs=1e-9)
    assert fits["rao_kupper"] == pytest.approx(fits["half"], abs=1e-9)
