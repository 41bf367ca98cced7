"""Raters: agreement, repeats, controls, influence, and one flag a defect."""

from typing import get_args

import evalica
import numpy as np
import pandas as pd
import pytest

from reports.ratings.agreement import agreement, krippendorff, repeats
from reports.ratings.ballots import read
from reports.ratings.board import rate
from reports.ratings.bradley_terry import SCALE, fit
from reports.ratings.raters import RaterRecord, rater_records
from reports.simulation import Defect, Design, Population, simulate

SIX = tuple(np.linspace(-1.2, 1.2, 6))


def records(votes: pd.DataFrame) -> dict[str, RaterRecord]:
    ballots = read(votes)
    found = rater_records(votes, ballots, fit(ballots.variants, ballots.counts()))
    return {record.rater: record for record in found}


# Agreement


def test_alpha_is_krippendorffs_published_example() -> None:
    """Krippendorff (2011), section C: four observers, nominal data with gaps, α = 0.743."""
    answers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units = np.zeros((12, 5))
    for rater in answers:
        for unit, value in enumerate(rater):
            if value is not None:
                units[unit, value - 1] += 1
    assert krippendorff(units) == pytest.approx(0.743, abs=5e-4)


@pytest.mark.parametrize("seed", range(5))
def test_alpha_equals_evalicas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ratings = rng.integers(0, 4, (30, 6)).astype(np.float64)
    ratings[:, 1] = ratings[:, 0]
    ratings[rng.random((30, 6)) < 0.4] = np.nan
    theirs = evalica.alpha(pd.DataFrame(ratings.T), distance="nominal")
    ours = krippendorff(np.stack([(ratings == value).sum(axis=1) for value in range(4)], axis=1))
    assert ours == pytest.approx(theirs.alpha, abs=1e-9)


def test_agreement_does_not_depend_on_sides() -> None:
    votes = simulate(Population(SIX), Design(votes=800, prompts=5), seed=0)
    turned = votes.copy()
    half = np.arange(len(votes)) % 2 == 0
    turned.loc[half, ["left", "right"]] = votes.loc[half, ["right", "left"]].to_numpy()
    swap = {"left": "right", "right": "left"}
    turned.loc[half, "answer"] = votes.loc[half, "answer"].replace(swap)
    one, other = agreement(read(votes)), agreement(read(turned))
    assert one.alpha == pytest.approx(other.alpha)
    assert one.low < one.alpha < one.high
    assert 0.1 < one.alpha < 0.7


def test_coin_tossers_agree_by_chance_only() -> None:
    design = Design(votes=900, prompts=4, defects={"random": 30})
    found = agreement(read(simulate(Population(SIX), design, seed=1)))
    assert abs(found.alpha) < 0.06


def test_nothing_judged_twice_has_no_alpha_and_says_why() -> None:
    votes = simulate(Population(SIX), Design(votes=30, prompts=30), seed=0)
    found = agreement(read(votes))
    assert np.isnan(found.alpha)
    assert found.reason == "no pair of videos was judged twice"


# Repeats and controls


def test_repeats_are_turned_to_the_sides_shown() -> None:
    rows = [
        ("r", "p", "A", "B", "left", "normal"),
        ("r", "p", "B", "A", "right", "repeat"),  # A both times
        ("r", "p", "C", "A", "tie", "normal"),
        ("r", "p", "C", "A", "left", "repeat"),
        ("s", "p", "B", "A", "left", "repeat"),  # never asked a first time
    ]
    names = ["rater", "prompt_id", "left", "right", "answer", "kind"]
    found = repeats(pd.DataFrame(rows, columns=names))
    assert found[["first", "same"]].to_numpy().tolist() == [["right", True], ["tie", False]]


def test_controls_and_repeats_are_counted() -> None:
    design = Design(raters=10, votes=400, repeats=5, controls=4, defects={"careless": 1})
    found = records(simulate(Population(SIX), design, seed=2))
    careless = found["simulated-careless-1"]
    assert careless.controls == 4
    assert careless.controls_failed >= 2
    honest = [record for name, record in found.items() if "rater" in name]
    assert sum(record.controls_failed for record in honest) <= 2
    assert all(record.repeats == 5 for record in honest)
    assert sum(record.repeats_same for record in honest) > 0.7 * 45


# Flags


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("defect", get_args(Defect))
def test_each_planted_defect_raises_exactly_its_own_flag(defect: Defect, seed: int) -> None:
    design = Design(raters=20, votes=1000, repeats=12, controls=12, defects={defect: 1})
    votes = simulate(Population(SIX, taste=0.3, side=0.1), design, seed)
    flags = {name: record.flags for name, record in records(votes).items() if record.flags}
    assert flags == {f"simulated-{defect}-1": (defect,)}


def test_two_defects_of_one_rater_are_both_said() -> None:
    design = Design(raters=20, votes=1000, defects={"one_sided": 1})
    votes = simulate(Population(SIX), design, seed=3)
    votes.loc[votes["rater"] == "simulated-one_sided-1", "seconds"] = 0.8
    assert records(votes)["simulated-one_sided-1"].flags == ("one_sided", "fast")


@pytest.mark.parametrize("taste", [0.0, 0.6])
def test_honest_raters_are_not_doubted(taste: float) -> None:
    """25 studies of 20 raters; on average at most one study in twenty may doubt anyone."""
    doubted = 0
    for seed in range(25):
        design = Design(raters=20, votes=500, repeats=3, controls=3)
        found = records(simulate(Population(SIX, taste=taste, side=0.2), design, seed))
        doubted += any(record.flags for record in found.values())
    assert doubted <= 2


def test_a_handful_of_votes_convicts_nobody() -> None:
    design = Design(raters=100, votes=300, defects={"random": 1, "one_sided": 1, "contrary": 1})
    found = records(simulate(Population(SIX), design, seed=4))
    assert not any(record.flags for record in found.values())


def test_plain_votes_without_times_or_kinds_are_enough() -> None:
    votes = simulate(Population(SIX), Design(votes=300), seed=5)
    found = records(votes[["left", "right", "answer", "rater", "prompt_id"]])
    assert all(np.isnan(record.seconds) for record in found.values())


# Influence


def test_influence_is_what_leaving_the_rater_out_does() -> None:
    votes = simulate(Population(SIX, taste=0.5), Design(raters=12, votes=600, heavy=0.8), seed=6)
    ballots = read(votes)
    whole = fit(ballots.variants, ballots.counts())
    for name, record in records(votes).items():
        rest = read(votes[votes["rater"] != name], variants=ballots.variants)
        moved = SCALE * (fit(rest.variants, rest.counts()).theta - whole.theta)
        assert record.influence == pytest.approx(np.abs(moved).max(), rel=0.08, abs=0.3)


def test_flagged_raters_are_in_the_boards_notes() -> None:
    design = Design(raters=15, votes=900, defects={"contrary": 1})
    board = rate(simulate(Population(SIX), design, seed=7), orders=2, resamples=50)
    assert [record.rater for record in board.flagged] == ["simulated-contrary-1"]
    assert "Rater simulated-contrary-1 is flagged: contrary." in board.notes
