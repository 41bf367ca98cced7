"""ELO-K32: the paper's sequential update, and what the order of votes does to it."""

import evalica
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from reports.elo import Elo, elo, sequence
from reports.ratings.ballots import read
from reports.ratings.errors import NoVotesError
from reports.simulation import Design, Population, simulate

VOTES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 4), st.sampled_from(["left", "right", "tie"])),
    min_size=1,
    max_size=60,
)


def table(votes: list[tuple[str, str, str]]) -> pd.DataFrame:
    """A table of votes by one rater on one prompt."""
    frame = pd.DataFrame(votes, columns=["left", "right", "answer"])
    return frame.assign(rater="r", prompt_id="p")


def elo_naive(votes: pd.DataFrame, k: float = 32.0, initial: float = 1000.0) -> dict[str, float]:
    """The formula, vote by vote."""
    rating = dict.fromkeys(sorted({*votes["left"], *votes["right"]}), initial)
    for left, right, answer in votes[["left", "right", "answer"]].itertuples(index=False):
        expected = 1 / (1 + 10 ** ((rating[right] - rating[left]) / 400))
        score = {"left": 1.0, "tie": 0.5, "right": 0.0}[answer]
        rating[left] += k * (score - expected)
        rating[right] -= k * (score - expected)
    return rating


def recorded(result: Elo) -> dict[str, float]:
    return dict(zip(result.variants, result.recorded, strict=True))


@pytest.fixture(scope="module")
def votes() -> pd.DataFrame:
    return simulate(Population((-0.5, 0.0, 0.2, 0.6)), Design(votes=400), seed=1)


@pytest.mark.parametrize(("k", "initial"), [(32.0, 1000.0), (4.0, 1200.0)])
def test_elo_in_voting_order_equals_evalica(votes: pd.DataFrame, k: float, initial: float) -> None:
    winners = votes["answer"].map(
        {"left": evalica.Winner.X, "right": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    )
    theirs = evalica.elo(
        votes["left"].tolist(), votes["right"].tolist(), winners.tolist(), k=k, initial=initial
    )
    ours = elo(votes, k=k, initial=initial, orders=2)
    for name, rating in recorded(ours).items():
        assert rating == pytest.approx(theirs.scores[name], abs=1e-6)


@given(VOTES)
@settings(max_examples=60, deadline=None)
def test_elo_in_voting_order_equals_the_formula(drawn: list[tuple[int, int, str]]) -> None:
    votes = table([(f"v{i}", f"v{(i + d) % 5}", answer) for i, d, answer in drawn])
    assert recorded(elo(votes, orders=2)) == pytest.approx(elo_naive(votes), abs=1e-9)


def test_every_order_is_played_as_if_alone(votes: pd.DataFrame) -> None:
    ballots = read(votes)
    score = np.where(ballots.answer == 0, 1.0, np.where(ballots.answer == 2, 0.5, 0.0))
    orders = np.stack([np.random.default_rng(s).permutation(len(votes)) for s in range(5)], axis=1)
    together = sequence(ballots.left, ballots.right, score, orders, 4)
    for column, ratings in zip(orders.T, together, strict=True):
        alone = elo_naive(votes.iloc[column])
        assert dict(zip(ballots.variants, ratings, strict=True)) == pytest.approx(alone, abs=1e-9)


def test_mean_and_spread_are_over_shuffled_orders(votes: pd.DataFrame) -> None:
    result = elo(votes, orders=800, seed=3)
    rng = np.random.default_rng(9)
    finals = pd.DataFrame([elo_naive(votes.iloc[rng.permutation(len(votes))]) for _ in range(100)])[
        list(result.variants)
    ]
    error = finals.std() / np.sqrt(100) + result.spread / np.sqrt(800)
    assert (np.abs(finals.mean() - result.rating) < 4 * error).all()
    assert result.spread == pytest.approx(finals.std().to_numpy(), rel=0.25)


def test_at_a_hundred_votes_a_variant_the_order_alone_moves_ratings_by_tens() -> None:
    skills = tuple(np.linspace(-0.6, 0.6, 10))
    result = elo(simulate(Population(skills), Design(votes=500), seed=2))
    assert 25 < result.spread.mean() < 55


def test_points_are_handed_over_never_made(votes: pd.DataFrame) -> None:
    result = elo(votes, orders=10)
    assert result.rating.mean() == pytest.approx(1000.0, abs=1e-9)
    assert result.recorded.mean() == pytest.approx(1000.0, abs=1e-9)


def test_another_start_shifts_all_alike(votes: pd.DataFrame) -> None:
    low, high = elo(votes, initial=0.0, orders=5), elo(votes, initial=1500.0, orders=5)
    assert high.rating - low.rating == pytest.approx(np.full(4, 1500.0), abs=1e-9)


def test_the_same_seed_gives_the_same_ratings(votes: pd.DataFrame) -> None:
    assert (
        elo(votes, orders=5, seed=7).rating.tolist() == elo(votes, orders=5, seed=7).rating.tolist()
    )


def test_both_bad_is_counted_and_moves_nothing(votes: pd.DataFrame) -> None:
    more = table([("A", "B", "both_bad")] * 50)
    more = more.assign(kind="normal")
    with_bad = elo(pd.concat([votes, more], ignore_index=True), orders=2)
    assert with_bad.both_bad == 50
    assert with_bad.votes == len(votes)
    assert recorded(with_bad) == recorded(elo(votes, orders=2))


def test_only_both_bad_is_nothing_to_rate() -> None:
    with pytest.raises(NoVotesError, match="all 3 votes say both bad"):
        elo(table([("A", "B", "both_bad")] * 3))


@pytest.mark.parametrize(("name", "value"), [("orders", 1), ("k", 0.0)])
def test_a_senseless_setting_is_named(votes: pd.DataFrame, name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name}="):
        elo(votes, **{name: value})  # type: ignore[arg-type]
