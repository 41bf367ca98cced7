"""From a table of votes to a board: what is read, how sure it is, ranks, and what is said."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reports.ratings import graph
from reports.ratings.ballots import read
from reports.ratings.board import Board, rate
from reports.ratings.bradley_terry import SCALE, fit
from reports.ratings.errors import NoVotesError, VotesError
from reports.ratings.ranks import critical_value, pair_errors, ranks, tied_ranks
from reports.ratings.resampling import (
    Spread,
    covariance,
    effective_clusters,
    resample,
    sandwich,
    spread,
    two_way,
)
from reports.ratings.win_rates import answers, win_rates
from reports.simulation import Design, Population, simulate

Array = NDArray[np.float64]
SIX = tuple(np.linspace(-0.7, 0.7, 6))


def table(votes: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Votes of five raters in turn on three prompts in turn."""
    frame = pd.DataFrame(votes, columns=["left", "right", "answer"])
    number = np.arange(len(frame))
    return frame.assign(
        rater=[f"r{n % 5}" for n in number], prompt_id=[f"p{n % 3}" for n in number]
    )


@pytest.fixture(scope="module")
def votes() -> pd.DataFrame:
    population = Population(SIX, taste=0.4, side=0.2, both_bad=0.05)
    return simulate(population, Design(votes=600, repeats=2, controls=2), seed=11)


@pytest.fixture(scope="module")
def board(votes: pd.DataFrame) -> Board:
    return rate(votes, orders=50, resamples=200)


# Reading


@pytest.mark.parametrize("column", ["left", "right", "answer", "rater", "prompt_id"])
def test_a_missing_column_is_named(votes: pd.DataFrame, column: str) -> None:
    with pytest.raises(VotesError, match=f"lack the column '{column}'"):
        read(votes.drop(columns=column))


@pytest.mark.parametrize("answer", ["bothbad", "Left", "draw", "", 1])
def test_an_unknown_answer_is_refused_by_its_row_and_never_a_tie(answer: object) -> None:
    frame = table([("A", "B", "left")] * 3).astype({"answer": object})
    frame.loc[1, "answer"] = answer
    with pytest.raises(VotesError, match=r"vote 1: unknown answer .*accepted: left, right, tie"):
        read(frame)


def test_empty_names_self_play_strange_kinds_and_strange_variants_are_refused() -> None:
    frame = table([("A", "B", "left"), ("B", "A", "tie")])
    with pytest.raises(VotesError, match="vote 1: 'B' stands on both sides"):
        read(frame.assign(left=["A", "B"], right=["B", "B"]))
    with pytest.raises(VotesError, match="vote 0: no value in 'rater'"):
        read(frame.assign(rater=[None, "r"]))
    with pytest.raises(VotesError, match="vote 1: unknown kind 'test'"):
        read(frame.assign(kind=["normal", "test"]))
    with pytest.raises(VotesError, match="'B', which is not in this study"):
        read(frame, variants=["A", "C"])


def test_controls_and_repeats_are_in_no_rating(votes: pd.DataFrame) -> None:
    assert len(read(votes)) == 600
    assert (votes["kind"] != "normal").sum() == 4 * 30


def test_counts_keep_sides_and_leave_both_bad_out() -> None:
    frame = table(
        [("A", "B", "left")] * 3
        + [("B", "A", "left")] * 2
        + [("A", "B", "right"), ("B", "A", "tie"), ("A", "B", "both_bad")]
    )
    counts = read(frame).counts()
    assert counts.tolist() == [[[0, 3], [2, 0]], [[0, 1], [0, 0]], [[0, 0], [1, 0]]]
    rates = win_rates(read(frame))
    assert rates.rate[0, 1] == pytest.approx(3.5 / 7)
    assert rates.wins.tolist() == [[0, 3], [3, 0]]
    assert rates.both_bad[0, 1] == 1
    counted = answers(read(frame))
    assert (counted.left_rate, counted.tie_rate, counted.both_bad_rate) == (5 / 6, 1 / 8, 1 / 8)


def test_nothing_to_rate_says_why() -> None:
    with pytest.raises(NoVotesError, match="there are no votes"):
        rate(table([("A", "B", "left")]).iloc[:0])
    with pytest.raises(VotesError, match="several questions"):
        rate(table([("A", "B", "left")] * 2).assign(question=["overall", "motion"]))


# Resampling


def test_resampling_raters_equals_fitting_their_votes_anew() -> None:
    frame = simulate(Population(SIX), Design(raters=6, votes=240), seed=1)
    ballots = read(frame)
    whole = fit(ballots.variants, ballots.counts())
    fits = resample(ballots, whole, resamples=40, seed=5)
    drawn = np.random.default_rng(5).multinomial(6, np.full(6, 1 / 6), size=40)
    for b in (0, 17, 39):
        again = pd.concat(
            [
                frame[frame["rater"] == r]
                for r, n in zip(ballots.raters, drawn[b], strict=True)
                for _ in range(n)
            ]
        )
        counts = read(again, variants=ballots.variants).counts()
        assert fits.theta[b] == pytest.approx(fit(ballots.variants, counts).theta, abs=1e-5)


def test_pigeonhole_weights_multiply() -> None:
    frame = simulate(Population(SIX), Design(raters=5, votes=200, prompts=7), seed=1)
    ballots = read(frame)
    whole = fit(ballots.variants, ballots.counts())
    fits = resample(ballots, whole, by="pigeonhole", resamples=3, seed=2)
    rng = np.random.default_rng(2)
    raters = rng.multinomial(5, np.full(5, 1 / 5), size=3)
    prompts = rng.multinomial(7, np.full(7, 1 / 7), size=3)
    times = raters[1][ballots.rater] * prompts[1][ballots.prompt]
    again = frame.loc[np.repeat(frame.index, times)]
    counts = read(again, variants=ballots.variants).counts()
    assert fits.theta[1] == pytest.approx(fit(ballots.variants, counts).theta, abs=1e-5)


def test_sandwich_and_bootstrap_agree_on_many_small_clusters() -> None:
    frame = simulate(Population(SIX, taste=0.3), Design(raters=300, votes=3000), seed=3)
    ballots = read(frame)
    whole = fit(ballots.variants, ballots.counts())
    by_formula = np.sqrt(np.diag(sandwich(ballots, whole, ballots.rater)))
    by_resampling = np.sqrt(np.diag(covariance(resample(ballots, whole, seed=1))))
    assert by_formula == pytest.approx(by_resampling, rel=0.12)


def test_effective_clusters_count_heavy_raters_only() -> None:
    assert effective_clusters(np.array([10.0, 10.0, 10.0])) == pytest.approx(3.0)
    assert effective_clusters(np.array([500.0, 500.0, 500.0] + [1.0] * 30)) < 3.2


def test_tastes_of_raters_widen_intervals_over_raters_and_not_over_prompts() -> None:
    frame = simulate(Population(SIX, taste=1.2), Design(raters=20, votes=2000, prompts=40), seed=4)
    ballots = read(frame)
    whole = fit(ballots.variants, ballots.counts())
    errors = {by: spread(ballots, whole, by=by).error.mean() for by in ("rater", "prompt", "both")}
    assert errors["rater"] > 1.6 * errors["prompt"]
    assert errors["rater"] <= errors["both"] < 1.15 * errors["rater"]


def test_two_ways_never_say_less_than_either() -> None:
    rater, prompt = np.diag([2.0, 1.0]), np.diag([1.0, 1.0])
    assert np.diag(two_way(rater, prompt, np.diag([4.0, 0.5]))) == pytest.approx([2.0, 1.5])


def test_one_rater_gives_ratings_without_intervals() -> None:
    frame = simulate(Population((0.0, 0.5)), Design(raters=1, votes=60), seed=0)
    board = rate(frame, orders=2)
    assert all(np.isnan([row.low, row.high]).all() for row in board.rows)
    assert any("No intervals: one rater only" in note for note in board.notes)


# Coverage. The full thousand studies and other designs: `python -m reports.coverage`.


def test_intervals_over_raters_cover_the_truth_in_93_to_97_percent_of_studies() -> None:
    population = Population(SIX, taste=0.5, side=0.15)
    truth = population.truth()
    covered = []
    for seed in range(200):
        ballots = read(simulate(population, Design(raters=25, votes=300), seed))
        found = fit(ballots.variants, ballots.counts())
        error = spread(ballots, found, resamples=300, seed=seed)
        covered.append(np.abs(found.theta - truth) <= error.quantile() * error.error)
    # 200 studies of six variants know a coverage of 95 % to about ±1 %.
    assert 0.93 <= np.mean(covered) <= 0.97


# Ranks


def test_within_sixteen_points_ranks_are_shared() -> None:
    assert tied_ranks(np.array([1232.0, 1220.0, 1217.0, 1203.0]), 16.0).tolist() == [1, 1, 1, 3]
    assert tied_ranks(np.array([1000.0, 1016.0]), 16.0).tolist() == [1, 1]
    assert tied_ranks(np.array([1000.0, 1016.1]), 16.0).tolist() == [2, 1]


def test_the_critical_value_is_tukeys_for_equal_independent_errors() -> None:
    """For the studentised range q of 5 means, max |t_ij| has quantile q/√2: 3.858/√2."""
    assert critical_value(np.eye(5), 1e6) == pytest.approx(3.858 / np.sqrt(2), rel=0.015)


def test_rank_limits_count_certain_betters(board: Board) -> None:
    group = board.groups[0]
    assert group.ranks is not None and group.spread is not None
    theta, error = group.fit.theta, pair_errors(group.spread.covariance[:6, :6])
    for k, row in ((group.variants.index(row.variant), row) for row in board.rows):
        above = [
            j for j in range(6) if theta[j] - theta[k] > group.ranks.critical * error[j, k] > 0
        ]
        below = [
            j for j in range(6) if theta[k] - theta[j] > group.ranks.critical * error[j, k] > 0
        ]
        assert (row.best, row.worst) == (1 + len(above), 6 - len(below))
        assert row.best <= row.rank <= row.worst


def test_equals_share_all_ranks() -> None:
    even = Spread("rater", 0.04 * np.eye(5), 30, 30.0, 1000, 0)
    found = ranks(np.array([0.1, 0.0, -0.1, 0.05]), even)
    assert found.best.tolist() == [1] * 4
    assert found.worst.tolist() == [4] * 4


def test_true_ranks_lie_in_their_limits_jointly() -> None:
    population = Population((-0.6, -0.3, 0.0, 0.0, 0.5), taste=0.3)
    truth = population.truth()
    lowest = 1 + (truth[None, :] > truth[:, None] + 1e-2).sum(axis=1)
    highest = 5 - (truth[None, :] < truth[:, None] - 1e-2).sum(axis=1)
    right = 0
    for seed in range(40):
        ballots = read(simulate(population, Design(votes=600), seed))
        found = fit(ballots.variants, ballots.counts())
        limits = ranks(found.theta, spread(ballots, found, resamples=300, seed=seed))
        # Equals truly have every rank of their tie.
        right += bool(((limits.best <= lowest) & (highest <= limits.worst)).all())
    assert right >= 36


# The board


def test_the_board_is_sorted_and_complete(board: Board, votes: pd.DataFrame) -> None:
    ratings = [row.rating for row in board.rows]
    assert ratings == sorted(ratings, reverse=True)
    assert sum(row.votes for row in board.rows) == 2 * 600
    for row in board.rows:
        assert row.votes == row.wins + row.losses + row.ties + row.both_bad
        assert row.low < row.rating < row.high
    assert np.mean(ratings) == pytest.approx(1000.0)
    assert board.simulated
    assert set(board.table().columns) >= {"variant", "rating", "low", "high", "elo", "elo_spread"}
    assert any("said both bad; they are in no rating" in note for note in board.notes)


def test_the_same_votes_give_the_same_board(votes: pd.DataFrame, board: Board) -> None:
    assert rate(votes, orders=50, resamples=200).rows == board.rows


def test_rated_with_both_kinds_of_chance_and_without_a_rater(votes: pd.DataFrame) -> None:
    board = rate(votes, by="both", without=["simulated-rater-1"], orders=2, resamples=50)
    assert "simulated-rater-1" not in {record.rater for record in board.raters}
    assert board.answers.votes == 580


def test_groups_that_never_met_are_rated_apart_and_it_is_said() -> None:
    one = simulate(Population((0.0, 0.5, 1.0)), Design(votes=300), seed=0)
    names = {"A": "X", "B": "Y", "C": "Z"}
    other = simulate(Population((0.0, 0.4)), Design(votes=100), seed=1)
    other = other.replace({"left": names, "right": names})
    board = rate(
        pd.concat([one, other], ignore_index=True), variants=[*"ABCXY", "W"], orders=5, resamples=50
    )
    assert [row.group for row in board.rows] == [0, 0, 0, 1, 1]
    assert {row.rank for row in board.rows if row.group == 1} == {1, 2}
    assert any("A, B, C; X, Y" in note and "within a group only" in note for note in board.notes)
    assert any("no vote compares them: W" in note for note in board.notes)


def test_who_never_lost_has_an_open_interval_that_starts_where_luck_ends() -> None:
    pairs = itertools.product([("B", "C"), ("C", "B")], ["left", "right", "left"])
    frame = table(
        [("A", other, "left") for other in "BC" for _ in range(6)]
        + [(left, right, answer) for (left, right), answer in pairs for _ in range(3)]
    )
    board = rate(frame, orders=5, resamples=100, position=False)
    first = board.rows[0]
    assert first.variant == "A"
    assert first.high == np.inf
    theta = (first.low - board.initial) / SCALE
    others = board.groups[0].fit.theta[1:]
    luck = np.prod([(1 / (1 + np.exp(other - theta))) ** 6 for other in others])
    assert luck == pytest.approx(0.025, rel=0.01)
    assert any("A never lost to the others" in note for note in board.notes)


def test_planted_position_bias_is_found_and_not_where_there_is_none() -> None:
    found = {}
    for side in (0.0, 0.5):
        frame = simulate(Population(SIX, side=side), Design(votes=1500), seed=12)
        found[side] = rate(frame, orders=2, resamples=300)
    assert not found[0.0].position.found
    assert found[0.5].position.found
    assert 0.58 < found[0.5].position.preference < 0.68
    assert any("left side wins" in note for note in found[0.5].notes)


def test_few_votes_are_said(board: Board) -> None:
    frame = simulate(Population((0.0, 0.3, 0.5)), Design(raters=6, votes=90), seed=0)
    notes = rate(frame, orders=2, resamples=50).notes
    assert any("fewer than the 100 assessments" in note for note in notes)
    assert any("too few to judge their spread by" in note for note in notes)
    assert not any("fewer than" in note for note in board.notes)


def test_groups_and_bounds_of_a_graph() -> None:
    counts = np.zeros((3, 5, 5))
    counts[0, 0, 1] = counts[1, 3, 2] = 1.0
    assert graph.groups(counts) == [[0, 1], [2, 3], [4]]
    counts[2, 1, 2] = 1.0
    assert graph.groups(counts) == [[0, 1, 2, 3], [4]]
    assert graph.unbounded(counts[:, :4, :4]) == ([0], [3])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_any_votes_give_a_board_or_one_clear_sentence(seed: int) -> None:
    """Few votes, few raters, holes in the graph, runs of wins: never a crash, never NaN ratings."""
    rng = np.random.default_rng(seed)
    number, size = int(rng.integers(1, 40)), int(rng.integers(2, 7))
    left = rng.integers(0, size, number)
    frame = pd.DataFrame(
        {
            "left": [f"v{k}" for k in left],
            "right": [f"v{k}" for k in (left + rng.integers(1, size, number)) % size],
            "answer": rng.choice(
                ["left", "right", "tie", "both_bad"], number, p=rng.dirichlet([1] * 4)
            ),
            "rater": [f"r{r}" for r in rng.integers(0, int(rng.integers(1, 6)), number)],
            "prompt_id": [f"p{p}" for p in rng.integers(0, int(rng.integers(1, 6)), number)],
            "kind": rng.choice(["normal", "repeat"], number, p=[0.9, 0.1]),
            "seconds": rng.lognormal(2, 1, number),
        }
    )
    by = ("rater", "prompt", "both", "pigeonhole")[seed % 4]
    try:
        board = rate(frame, by=by, orders=2, resamples=30)  # type: ignore[arg-type]
    except NoVotesError as error:
        assert "\n" not in str(error)
        return
    for row in board.rows:
        assert np.isfinite([row.rating, row.elo]).all()
        assert np.isnan(row.low) or row.low <= row.rating <= row.high
        assert 1 <= row.best <= row.rank <= row.worst
