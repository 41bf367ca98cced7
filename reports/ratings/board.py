"""One study's votes, rated: a row a variant, and everything a reader needs to doubt it.

Where the comparison graph falls apart, each connected group is rated on its own and the notes say
so: a difference between groups would come from the penalty and not from any vote. A variant that
never lost (or never won) has a rating that only the ghost votes keep finite; its interval is open
on that side, and its other bound is where so long a run of wins would be improbable.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.words import count
from reports.elo import INITIAL, ORDERS, Elo, K, elo
from reports.ratings import bradley_terry, graph
from reports.ratings.agreement import Agreement, agreement
from reports.ratings.ballots import Ballots, Codes, Floats, read, require_rated
from reports.ratings.bradley_terry import GHOSTS, SCALE, BradleyTerry, Ties
from reports.ratings.errors import VotesError
from reports.ratings.ranks import Ranks, ranks, tied_ranks
from reports.ratings.raters import RaterRecord, rater_records
from reports.ratings.resampling import LEVEL, RESAMPLES, Clusters, Spread, spread
from reports.ratings.win_rates import Answers, Position, WinRates, answers, win_rates

FEW_VOTES = 100
"""Assessments a variant that the paper asks for; with fewer, a note says so."""

FEW_CLUSTERS = 10
"""Below this many raters (or prompts) intervals rest on too few to judge their spread by."""


@dataclass(frozen=True)
class Row:
    """One variant. Ratings are on the Elo scale; ranks count within the variant's group.

    `votes` are all its assessments: wins, losses, ties and both-bad ones, which no rating uses.
    `rating` is Bradley-Terry's, with its interval `low`..`high` (±inf where votes set no bound,
    NaN where there are too few raters for any); `best`..`worst` is where the true rank lies.
    `elo` is ELO-K32 averaged over vote orders, `elo_spread` its standard deviation over orders,
    `elo_rank` the paper's rank with its ±K/2 tie rule.
    """

    variant: str
    group: int
    votes: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    rating: float
    low: float
    high: float
    rank: int
    best: int
    worst: int
    elo: float
    elo_spread: float
    elo_recorded: float
    elo_rank: int


@dataclass(frozen=True)
class Group:
    """What was fitted to one connected group of variants; `spread` is None with one cluster."""

    variants: tuple[str, ...]
    elo: Elo
    fit: BradleyTerry
    spread: Spread | None
    ranks: Ranks | None
    position: Position


@dataclass(frozen=True)
class Board:
    """All ratings of one question's votes, best first, with their parameters and warnings.

    `notes` are sentences for the reader. `position` is that of the largest group.
    """

    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    answers: Answers
    win_rates: WinRates
    agreement: Agreement
    raters: tuple[RaterRecord, ...]
    notes: tuple[str, ...]
    by: Clusters
    ties: Ties
    ghosts: float
    k: float
    initial: float
    level: float
    simulated: bool

    @property
    def position(self) -> Position:
        """The pull of the left side."""
        return self.groups[0].position

    @property
    def flagged(self) -> tuple[RaterRecord, ...]:
        """Raters to be doubted."""
        return tuple(record for record in self.raters if record.flags)

    def table(self) -> pd.DataFrame:
        """`rows` as a table."""
        return pd.DataFrame([vars(row) for row in self.rows])


def rate(
    votes: pd.DataFrame,
    *,
    variants: Sequence[str] | None = None,
    without: Collection[str] = (),
    by: Clusters = "rater",
    ties: Ties = "davidson",
    position: bool = True,
    ghosts: float = GHOSTS,
    k: float = K,
    initial: float = INITIAL,
    orders: int = ORDERS,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Board:
    """Rate the variants of one question's votes.

    Args:
        votes: the arena's table (`reports.ratings.ballots.read`), rows in the order of voting.
        variants: the study's variants, to catch names that are none.
        without: raters to leave out (flagged ones, say); they are left out of everything.
        by: whose chance the intervals answer for: other raters, other prompts, or both.
        ties: the model of ties.
        position: whether to fit, and so remove, the advantage of the left side.
        ghosts: ghost votes a variant, the penalty.
        k: ELO points at stake in a vote.
        initial: ELO start, and the mean of both ratings.
        orders: vote orders that ELO is averaged over.
        resamples: of clusters, for the intervals.
        level: confidence.
        seed: of orders and resamples.

    Raises:
        VotesError: the votes cannot be read, or are on more than one question.
        NoVotesError: none is left to rate.
    """
    if "question" in votes.columns and votes["question"].nunique() > 1:
        asked = ", ".join(sorted(map(str, votes["question"].unique())))
        raise VotesError(f"votes answer several questions ({asked}); rate one at a time")
    votes = votes[~votes["rater"].isin(list(without))] if len(without) else votes
    ballots = read(votes, variants=variants)
    rated = require_rated(ballots)
    rates = win_rates(ballots)
    parts = graph.groups(rated.counts())
    compared = [part for part in parts if len(part) > 1]
    notes = _graph_notes(rated.variants, parts)

    groups: list[Group] = []
    rows: list[Row] = []
    for number, part in enumerate(compared):
        inside = _restricted(ballots, part)
        group, said = _rate_group(
            inside, by, ties, position, ghosts, k, initial, orders, resamples, level, seed
        )
        groups.append(group)
        notes += said
        rows += _rows(group, number, part, rates, level, inside.counts())
    records = rater_records(votes, _restricted(ballots, compared[0]), groups[0].fit)
    notes += _notes(rows, groups[0], records, answers(ballots))
    return Board(
        rows=tuple(sorted(rows, key=lambda row: (row.group, -row.rating, row.variant))),
        groups=tuple(groups),
        answers=answers(ballots),
        win_rates=rates,
        agreement=agreement(ballots, videos=_videos(votes), level=level, seed=seed),
        raters=records,
        notes=tuple(notes),
        by=by,
        ties=ties,
        ghosts=ghosts,
        k=k,
        initial=initial,
        level=level,
        simulated="simulated" in votes.columns and bool(votes["simulated"].any()),
    )


def _videos(votes: pd.DataFrame) -> Codes | None:
    """The seed of each normal vote, as codes."""
    if "seed" not in votes.columns:
        return None
    normal = votes[votes["kind"] == "normal"] if "kind" in votes.columns else votes
    return pd.factorize(normal["seed"])[0].astype(np.int64)


def _restricted(ballots: Ballots, part: Sequence[int]) -> Ballots:
    """Votes among the variants of `part`, which alone keep names and get new codes."""
    code = np.full(len(ballots.variants), -1, dtype=np.int64)
    code[list(part)] = np.arange(len(part))
    inside = ballots.where((code[ballots.left] >= 0) & (code[ballots.right] >= 0))
    return replace(
        inside,
        variants=tuple(ballots.variants[one] for one in part),
        left=code[inside.left],
        right=code[inside.right],
    )


def _rate_group(
    ballots: Ballots,
    by: Clusters,
    ties: Ties,
    position: bool,
    ghosts: float,
    k: float,
    initial: float,
    orders: int,
    resamples: int,
    level: float,
    seed: int,
) -> tuple[Group, list[str]]:
    fit = bradley_terry.fit(
        ballots.variants, ballots.counts(), ties=ties, position=position, ghosts=ghosts
    )
    notes = []
    found: Spread | None = None
    try:
        found = spread(ballots, fit, by=by, resamples=resamples, seed=seed)
    except VotesError as error:
        notes.append(f"No intervals: {error}.")
    if found is not None and found.effective < FEW_CLUSTERS:
        notes.append(
            f"Intervals rest on {found.clusters} clusters that are worth {found.effective:.1f} "
            "equal ones: too few to judge their spread by."
        )
    half = found.quantile(level) * found.error_gamma if found and position else np.nan
    group = Group(
        variants=ballots.variants,
        elo=elo(ballots, k=k, initial=initial, orders=orders, seed=seed),
        fit=fit,
        spread=found,
        ranks=None if found is None else ranks(fit.theta, found, level=level),
        position=Position(fit.gamma, fit.gamma - half, fit.gamma + half),
    )
    if fit.unbounded_above:
        notes.append(_unbounded(fit.unbounded_above, "lost to", "upper", "lower"))
    if fit.unbounded_below:
        notes.append(_unbounded(fit.unbounded_below, "won against", "lower", "upper"))
    return group, notes


def _rows(
    group: Group,
    number: int,
    part: Sequence[int],
    rates: WinRates,
    level: float,
    counts: Floats,
) -> list[Row]:
    """The group's rows, in the order of its variants."""
    fit, size = group.fit, len(group.variants)
    center = group.elo.initial
    rating = fit.ratings(center)
    half = (
        SCALE * group.spread.quantile(level) * group.spread.error
        if group.spread is not None
        else np.full(size, np.nan)
    )
    low, high = rating - half, rating + half
    ranking = group.ranks
    best = ranking.best.copy() if ranking else np.ones(size, dtype=np.int64)
    worst = ranking.worst.copy() if ranking else np.full(size, size)
    for names, won in ((fit.unbounded_above, True), (fit.unbounded_below, False)):
        inside = np.array([name in names for name in group.variants])
        if not names or group.spread is None:
            continue
        luck = rating + SCALE * _run_shift(fit, counts, ~inside, level, won=won)
        if won:
            low[inside] = np.minimum(low, luck)[inside]
            high[inside] = np.inf
        else:
            high[inside] = np.maximum(high, luck)[inside]
            low[inside] = -np.inf
    elo_ranks = tied_ranks(group.elo.rating, group.elo.k / 2)
    point = tied_ranks(fit.theta, 0.0)
    return [
        Row(
            variant=name,
            group=number,
            votes=int(
                (rates.wins[at] + rates.wins[:, at] + rates.ties[at] + rates.both_bad[at]).sum()
            ),
            wins=int(rates.wins[at].sum()),
            losses=int(rates.wins[:, at].sum()),
            ties=int(rates.ties[at].sum()),
            both_bad=int(rates.both_bad[at].sum()),
            rating=float(rating[k]),
            low=float(low[k]),
            high=float(high[k]),
            rank=int(point[k]),
            best=int(best[k]),
            worst=int(worst[k]),
            elo=float(group.elo.rating[k]),
            elo_spread=float(group.elo.spread[k]),
            elo_recorded=float(group.elo.recorded[k]),
            elo_rank=int(elo_ranks[k]),
        )
        for k, (name, at) in enumerate(zip(group.variants, part, strict=True))
    ]


def _run_shift(
    fit: BradleyTerry, counts: Floats, outside: NDArray[np.bool_], level: float, *, won: bool
) -> float:
    """How far θ of the variants that are not `outside` could be lower (higher) together before
    their having only won (lost) against those outside had probability below (1 − level)/2.

    Resampling cannot tell: no resample contains a loss either.
    """
    met = (counts + counts.swapaxes(1, 2)).sum(axis=0)[np.ix_(~outside, outside)]
    gap = fit.theta[~outside][:, None] - fit.theta[outside][None, :]
    tail = np.log((1 - level) / 2)

    def run(shift: float) -> float:
        ahead = gap + shift if won else -(gap + shift)
        return float(-(met * np.logaddexp(0.0, -ahead)).sum())

    low, high = -40.0, 40.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        # A run of wins gets likelier as θ grows, one of losses less likely.
        if (run(middle) < tail) == won:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _unbounded(names: Sequence[str], never: str, side: str, end: str) -> str:
    return (
        f"{_listed(names)} never {never} the others: the votes set no {side} bound, the penalty "
        f"holds the rating, and the interval's {end} end is where such a run would be improbable."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _graph_notes(variants: tuple[str, ...], parts: list[list[int]]) -> list[str]:
    notes = []
    alone = [variants[part[0]] for part in parts if len(part) == 1]
    compared = [part for part in parts if len(part) > 1]
    if alone:
        notes.append(f"Not rated, since no vote compares them: {_listed(alone)}.")
    if len(compared) > 1:
        told = "; ".join(_listed([variants[k] for k in part]) for part in compared)
        notes.append(
            f"The variants fall into {len(compared)} groups never compared with each other, even "
            f"through third ones: {told}. Ratings and ranks hold within a group only."
        )
    return notes


def _notes(
    rows: list[Row], group: Group, records: tuple[RaterRecord, ...], counted: Answers
) -> list[str]:
    notes = []
    if few := [row for row in rows if row.votes < FEW_VOTES]:
        least = min(few, key=lambda row: row.votes)
        notes.append(
            f"{len(few)} of {len(rows)} variants have fewer than the {FEW_VOTES} assessments that "
            f"the paper asks for ({least.variant}: {least.votes})."
        )
    if group.position.found:
        side = "left" if group.position.gamma > 0 else "right"
        won = max(group.position.preference, 1 - group.position.preference)
        notes.append(
            f"The {side} side wins {won:.0%} of decided votes between equals; ratings are "
            "corrected for it."
        )
    if counted.both_bad:
        notes.append(
            f"{counted.both_bad} of {count(counted.votes, 'vote')} said both bad; "
            "they are in no rating."
        )
    for record in records:
        if record.flags:
            notes.append(f"Rater {record.rater} is flagged: {_listed(record.flags)}.")
    return notes
