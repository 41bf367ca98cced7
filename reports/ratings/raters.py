"""Each rater's record: what it shows, whether it should be doubted, and what hangs on it.

Doubts are stories about how a rater answers, and a story is believed only if it explains the
rater's whole record (votes, control pairs, repeats) far better than the story of an honest rater
does. Stories exclude each other, so one defect raises one flag: a coin tosser fails controls and
contradicts himself as well, but "random" says all of that at once and fits better than "careless"
or "fickle".

With L the likelihood of a record, an honest rater's L(story)/L(honest) exceeds c with probability
at most 1/c (its mean is 1: Markov). With c = stories · raters / FALSE_ALARM, the chance that any
honest rater of a study is doubted is at most FALSE_ALARM, however many votes there are. Few votes
cannot reach c, so nobody is doubted on a handful.

What honest raters answer is read off the ratings without the rater in question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.ratings import bradley_terry
from reports.ratings.agreement import repeats
from reports.ratings.ballots import LEFT, RIGHT, TIE, Ballots, Floats
from reports.ratings.bradley_terry import GHOSTS, SCALE, BradleyTerry, Fits

FALSE_ALARM = 0.05
"""Chance, at most, that any honest rater of a study is doubted."""

RESOLUTE = 0.95
"""Share of answers that follow the story, for stories of one answer: slips of the hand happen."""

INTACT = 0.98
"""Share of control pairs that an honest rater gets right: the damage is glaring."""

FAST = 0.25
"""A vote is fast if made in less than this part of the usual time (the median over raters of their
medians). Who has watched both videos, as the page demands, cannot be four times quicker."""

OFTEN_FAST = 0.5
"""A rater is flagged fast if more than this share of the votes is."""

STORIES: Mapping[str, str] = {
    "one_sided": "answers one side, whatever is shown",
    "undecided": "calls nearly everything a tie",
    "contrary": "prefers what others find worse: took the question the wrong way round",
    "random": "answers have nothing to do with the videos",
    "careless": "fails control pairs, though votes are sound",
    "fickle": "contradicts first answers on repeats, though votes are sound",
}
"""Flags that exclude each other. `fast` is apart: it is about time, not answers."""


@dataclass(frozen=True)
class RaterRecord:
    """One rater. Rates are 0..1, NaN where there was nothing to count.

    `agreement` is the share of left-or-right votes for the variant that the others rate higher,
    `expected` what an honest rater would reach; `influence` how far the most moved rating would
    move without this rater, in Elo points (one Newton step), and `moves` which one that is.
    """

    rater: str
    votes: int
    left_rate: float
    tie_rate: float
    both_bad_rate: float
    agreement: float
    expected: float
    controls: int
    controls_failed: int
    repeats: int
    repeats_same: int
    seconds: float
    fast_rate: float
    influence: float
    moves: str
    flags: tuple[str, ...]


def leave_one_out(ballots: Ballots, fit: BradleyTerry) -> Fits:
    """Ratings without each rater in turn, by one Newton step from the fit to all.

    At the fit the gradient without rater r is minus that of r's votes, and the step takes θ to
    θ − H₍r₎⁻¹ s_r, with an error of second order in r's share of the votes.
    """
    size = len(ballots.variants)
    table = ballots.counts_by("rater")
    without = (table.sum(axis=0) - table).reshape(-1, 3, size, size)
    # Rounding must not leave −0 counts.
    return bradley_terry.fit_many(
        np.maximum(without, 0.0),
        ties=fit.ties,
        position=fit.position,
        ghosts=fit.ghosts or GHOSTS,
        start=Fits(fit.theta[None], np.array([fit.gamma]), np.array([fit.eta]), 0),
        limit=1,
        settle=False,
    )


def _honest(theta: Floats, gamma: Floats, tie_share: float, ballots: Ballots) -> Floats:
    """`[n, 3]` chance of left, right, tie, from the ratings without the vote's rater."""
    own = ballots.rater
    delta = theta[own, ballots.left] - theta[own, ballots.right] + gamma[own]
    left = 1 / (1 + np.exp(-delta))
    # Ties as often as in the study; who wins otherwise is what the ratings say.
    chances = [(1 - tie_share) * left, (1 - tie_share) * (1 - left), np.full(len(own), tie_share)]
    return np.stack(chances, axis=1)


def _mostly(answer: int) -> Floats:
    """`[3]` one answer with RESOLUTE, the others equally."""
    chance = np.full(3, (1 - RESOLUTE) / 2)
    chance[answer] = RESOLUTE
    return chance


@dataclass(frozen=True)
class _Evidence:
    """One rater's answered screens as codes 0..2, with what an honest rater would have said."""

    answer: Floats
    honest: Floats
    control_answer: Floats
    control_intact: Floats
    repeat_answer: Floats
    repeat_first: Floats


def _log(chance: Floats, answer: Floats) -> float:
    return float(np.log(chance[np.arange(len(answer)), answer.astype(np.int64)]).sum())


def _rows(chance: Floats, number: int) -> Floats:
    return np.ones((number, 1)) * chance


def _log_ratios(seen: _Evidence, tie_share: float, same_share: float) -> dict[str, float]:
    """log L(story)/L(honest) of every story."""
    coin = np.array([(1 - tie_share) / 2, (1 - tie_share) / 2, tie_share])
    third = np.full(3, 1 / 3)
    votes, controls, again = len(seen.answer), len(seen.control_answer), len(seen.repeat_answer)

    # Chances by screen: an honest rater prefers the intact video and mostly repeats an answer.
    intact = np.full((controls, 3), (1 - INTACT) / 2)
    intact[np.arange(controls), seen.control_intact.astype(np.int64)] = INTACT
    damaged = intact[:, [1, 0, 2]]
    repeated = np.full((again, 3), (1 - same_share) / 2)
    repeated[np.arange(again), seen.repeat_first.astype(np.int64)] = same_share

    def total(on_votes: Floats, on_controls: Floats, on_repeats: Floats) -> float:
        return (
            _log(on_votes, seen.answer)
            + _log(on_controls, seen.control_answer)
            + _log(on_repeats, seen.repeat_answer)
        )

    def always(chance: Floats) -> float:
        return total(_rows(chance, votes), _rows(chance, controls), _rows(chance, again))

    honest = total(seen.honest, intact, repeated)
    stories = {
        # Either side with even odds beforehand.
        "one_sided": np.logaddexp(always(_mostly(LEFT)), always(_mostly(RIGHT))) - np.log(2),
        "undecided": always(_mostly(TIE)),
        "contrary": total(seen.honest[:, [1, 0, 2]], damaged, repeated),
        "random": always(coin),
        "careless": total(seen.honest, _rows(third, controls), repeated),
        "fickle": total(seen.honest, intact, _rows(third, again)),
    }
    return {name: float(value - honest) for name, value in stories.items()}


def doubt(ratios: Mapping[str, float], raters: int) -> str:
    """The story believed, or "" when none beats honesty by the margin for `raters` raters."""
    name = max(ratios, key=lambda story: ratios[story])
    return name if ratios[name] > np.log(len(STORIES) * raters / FALSE_ALARM) else ""


_CODE = {"left": LEFT, "right": RIGHT, "tie": TIE}


def _coded(answers: pd.Series) -> Floats:
    return np.array([_CODE[answer] for answer in answers], dtype=np.float64)


def _by_rater(votes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(name): part for name, part in votes.groupby("rater")}


def _times(votes: pd.DataFrame) -> dict[str, Floats]:
    """Seconds of each rater's normal votes; empty where they were not recorded."""
    if "seconds" not in votes.columns:
        return {}
    normal = votes[votes["kind"] == "normal"] if "kind" in votes.columns else votes
    timed = normal[normal["seconds"].notna()]
    return {
        name: part["seconds"].to_numpy(dtype=np.float64) for name, part in _by_rater(timed).items()
    }


def rater_records(
    votes: pd.DataFrame, ballots: Ballots, fit: BradleyTerry
) -> tuple[RaterRecord, ...]:
    """Every rater's record, in the order of `ballots.raters`.

    Args:
        votes: the whole table; `kind`, `control_side` and `seconds` are used where they are there.
        ballots: its normal votes.
        fit: the ratings from them.
    """
    rated = ballots.rated
    without = leave_one_out(rated, fit)
    moved = SCALE * (without.theta - fit.theta)
    tie_share = (float((rated.answer == TIE).sum()) + 1) / (len(rated) + 3)
    honest = _honest(without.theta, without.gamma, tie_share, rated)

    again = repeats(votes)
    again = again[again["answer"].isin(_CODE) & again["first"].isin(_CODE)]
    same_share = (float(again["same"].sum()) + 3) / (len(again) + 4)
    controls = pd.DataFrame({name: [] for name in ("rater", "answer", "control_side")})
    if {"kind", "control_side"} <= set(votes.columns):
        controls = votes[(votes["kind"] == "control") & votes["answer"].isin(_CODE)]

    times = _times(votes)
    limit = FAST * float(np.median([np.median(of) for of in times.values()])) if times else np.nan
    controls_of, repeats_of = _by_rater(controls), _by_rater(again)

    records = []
    for code, name in enumerate(ballots.raters):
        mine = ballots.answer[ballots.rater == code]
        of_rated = rated.rater == code
        answer, chance = rated.answer[of_rated], honest[of_rated]
        my_controls = controls_of.get(name, controls.iloc[:0])
        my_repeats = repeats_of.get(name, again.iloc[:0])
        shown = _coded(my_controls["answer"])
        broken = _coded(my_controls["control_side"])
        seen = _Evidence(
            answer=answer.astype(np.float64),
            honest=chance,
            control_answer=shown,
            control_intact=LEFT + RIGHT - broken,
            repeat_answer=_coded(my_repeats["answer"]),
            repeat_first=_coded(my_repeats["first"]),
        )
        story = doubt(_log_ratios(seen, tie_share, same_share), len(ballots.raters))
        mine_took = times.get(name, np.zeros(0))
        fast_rate = _share(mine_took < limit)
        flags = ((story,) if story else ()) + (("fast",) if fast_rate > OFTEN_FAST else ())
        decided = answer != TIE
        favoured = np.where(chance[:, LEFT] >= chance[:, RIGHT], LEFT, RIGHT)
        likely = np.maximum(chance[:, LEFT], chance[:, RIGHT]) / (1 - tie_share)
        most = int(np.abs(moved[code]).argmax())
        records.append(
            RaterRecord(
                rater=name,
                votes=len(mine),
                left_rate=_share(mine == LEFT, mine <= RIGHT),
                tie_rate=_share(mine == TIE),
                both_bad_rate=_share(mine > TIE),
                agreement=_share(answer == favoured, decided),
                expected=float(likely[decided].mean()) if decided.any() else float("nan"),
                controls=len(seen.control_answer),
                controls_failed=int((seen.control_answer != seen.control_intact).sum()),
                repeats=len(my_repeats),
                repeats_same=int(my_repeats["same"].sum()),
                seconds=float(np.median(mine_took)) if len(mine_took) else float("nan"),
                fast_rate=fast_rate,
                influence=float(np.abs(moved[code]).max()),
                moves=ballots.variants[most],
                flags=flags,
            )
        )
    return tuple(records)


def _share(what: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> float:
    """Share of true in `what`, counted where `among` is true; NaN of nothing."""
    counted = what if among is None else what[among]
    return float(counted.mean()) if len(counted) else float("nan")
