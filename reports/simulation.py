"""Simulated raters, to test the ratings on votes whose truth is known.

Nothing made here may enter a report without the word *simulated*: the table of votes carries a
column `simulated`, and every rater's name starts with that word.

A rater r shown variant i on the left and j on the right, of prompt p, feels

    d = skill_i − skill_j + taste_ri − taste_rj + suits_pi − suits_pj + side + noise,

with logistic noise of unit scale, answers tie when |d| is below a threshold, and otherwise the
better side. `taste` is the rater's own opinion of each variant and `suits` what a prompt does for
it; they make votes of one rater, or of one prompt, resemble each other, which is what clustered
intervals are for.

With tastes there is no variant skill that every vote obeys. What a study estimates, and what
`Population.truth` returns, are the ratings that the model would find in infinitely many votes of
infinitely many such raters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

from reports.ratings import bradley_terry
from reports.ratings.ballots import Floats

Defect = Literal["one_sided", "undecided", "contrary", "random", "careless", "fickle", "fast"]
"""What can be wrong with a planted rater.

- one_sided: answers left, whatever is shown.
- undecided: calls everything a tie.
- contrary: understood the question the wrong way round.
- random: tosses a coin.
- careless: prefers the damaged copy in four of five control pairs, otherwise honest.
- fickle: answers repeats the other way, otherwise honest.
- fast: honest, but answers before anyone can have looked.
"""

START = pd.Timestamp("2025-01-01", tz="UTC")


@dataclass(frozen=True)
class Population:
    """Raters that votes are drawn from; strengths are in natural-log units (173.7 Elo each).

    `skills` are the variants' strengths; `taste` and `suits` the standard deviations over raters
    and over prompts; `side` the advantage of the left; `threshold` half the width of "no
    difference"; `both_bad` the share of votes that say so whatever is shown.
    """

    skills: tuple[float, ...]
    taste: float = 0.0
    suits: float = 0.0
    side: float = 0.0
    threshold: float = 0.3
    both_bad: float = 0.0

    @property
    def variants(self) -> tuple[str, ...]:
        """Names, `A`, `B`, … in the order of `skills`."""
        return tuple(
            f"{chr(ord('A') + k // 26 - 1) if k >= 26 else ''}{chr(ord('A') + k % 26)}"
            for k in range(len(self.skills))
        )

    def truth(self, *, ties: bradley_terry.Ties = "davidson", position: bool = True) -> Floats:
        """`[K]` θ, mean 0, of the model fitted to infinitely many votes of every ordered pair."""
        return _truth(self, ties, position)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))


@lru_cache(maxsize=256)
def _truth(population: Population, ties: bradley_terry.Ties, position: bool) -> Floats:
    """Expected counts over a large crowd, antithetic in tastes, fitted without ghosts."""
    skills = np.array(population.skills)
    spread = np.hypot(population.taste, population.suits)
    crowd = np.random.default_rng(20250417).normal(0.0, 1.0, (20_000 if spread else 1, len(skills)))
    crowd = np.concatenate([crowd, -crowd]) * spread
    counts = np.zeros((3, len(skills), len(skills)))
    for part in np.array_split(crowd, max(1, len(crowd) // 2_000)):
        felt = skills + part
        delta = felt[:, :, None] - felt[:, None, :] + population.side
        left = _sigmoid(delta - population.threshold)
        right = _sigmoid(-delta - population.threshold)
        counts += np.stack([left.sum(0), right.sum(0), (1 - left - right).sum(0)])
    counts[:, np.arange(len(skills)), np.arange(len(skills))] = 0.0
    counts /= counts.sum()
    if not population.threshold:
        counts[2] = 0.0
    many = bradley_terry.fit_many(
        counts[None], ties=ties, position=position, ghosts=0.0, tolerance=1e-9
    )
    return np.asarray(many.theta[0])


@dataclass(frozen=True)
class Design:
    """How many of what: votes are spread over raters, balanced over pairs and sides.

    `heavy` makes raters unequal: their numbers of votes are log-normal with that σ.
    `repeats` and `controls` are asked of every rater on top.
    """

    raters: int = 30
    votes: int = 600
    prompts: int = 30
    heavy: float = 0.0
    repeats: int = 0
    controls: int = 0
    defects: Mapping[Defect, int] = field(default_factory=dict)


def simulate(population: Population, design: Design, seed: int) -> pd.DataFrame:
    """Votes of one study, in the columns of the arena's votes, plus `simulated` (always True).

    Raters with a defect come first; their names say which (`simulated-random-1`).

    Args:
        population: what raters are like.
        design: how many raters, votes, prompts.
        seed: every number drawn follows from it.
    """
    rng = np.random.default_rng(seed)
    size, raters = len(population.skills), design.raters
    planted = [str(kind) for kind, number in design.defects.items() for _ in range(number)]
    defect = np.array(planted + [""] * (raters - len(planted)), dtype=object)
    names = np.array([f"simulated-{kind or 'rater'}-{r + 1}" for r, kind in enumerate(defect)])
    share = rng.lognormal(0.0, design.heavy, raters)
    busy = rng.multinomial(design.votes, share / share.sum()) if design.heavy else None
    rater = (
        np.repeat(np.arange(raters), busy) if busy is not None else np.arange(design.votes) % raters
    )
    rng.shuffle(rater)

    # Every ordered pair equally often, in random order: what a balancing arena gives.
    one, other = np.nonzero(~np.eye(size, dtype=bool))
    order = np.concatenate(
        [rng.permutation(len(one)) for _ in range(-(-design.votes // len(one)))]
    )[: design.votes]
    left, right = one[order], other[order]
    prompt = rng.permutation(np.arange(design.votes) % design.prompts)
    kind = np.full(design.votes, "normal", dtype=object)
    source = np.arange(design.votes)

    if design.repeats:
        again = np.concatenate(
            [rng.permutation(np.flatnonzero(rater == r))[: design.repeats] for r in range(raters)]
        )
        # A repeat is shown with sides swapped, so that it cannot be answered from memory of a side.
        left, right = np.append(left, right[again]), np.append(right, left[again])
        rater, prompt = np.append(rater, rater[again]), np.append(prompt, prompt[again])
        kind = np.append(kind, np.full(len(again), "repeat", dtype=object))
        source = np.append(source, again)
    if design.controls:
        who = np.repeat(np.arange(raters), design.controls)
        shown = rng.integers(0, size, len(who))
        left, right = np.append(left, shown), np.append(right, shown)
        rater = np.append(rater, who)
        prompt = np.append(prompt, rng.integers(0, design.prompts, len(who)))
        kind = np.append(kind, np.full(len(who), "control", dtype=object))
        source = np.append(source, np.arange(len(source), len(source) + len(who)))
    total = len(left)
    damaged = np.where(kind == "control", rng.integers(0, 2, total), -1)

    felt = np.array(population.skills) + rng.normal(0, 1, (raters, size)) * population.taste
    suits = rng.normal(0, 1, (design.prompts, size)) * population.suits
    delta = felt[rater, left] - felt[rater, right] + suits[prompt, left] - suits[prompt, right]
    delta = delta + population.side
    # The damaged side of a control is as bad as a rater can see.
    delta = np.where(damaged == 0, -6.0, np.where(damaged == 1, 6.0, delta))
    kinds = defect[rater]
    delta = np.where(kinds == "contrary", -delta, delta)
    noise = rng.logistic(size=total)
    # Asked again, an honest rater mostly repeats what was said: half of the noise stays.
    noise = np.where(kind == "repeat", -0.8 * noise[source] + 0.2 * noise, noise)
    d = delta + noise
    answer = np.where(np.abs(d) < population.threshold, 2, np.where(d > 0, 0, 1))
    toss = rng.integers(0, 2, total)
    answer = np.where(kinds == "random", toss, answer)
    worse = np.where(rng.random(total) < 0.8, damaged, 1 - damaged)
    answer = np.where((kinds == "careless") & (kind == "control"), worse, answer)
    fickle = (kinds == "fickle") & (kind == "repeat")
    answer = np.where(fickle, np.where(answer[source] == 2, toss, answer[source]), answer)
    answer = np.where(kinds == "one_sided", 0, answer)
    answer = np.where(kinds == "undecided", 2, answer)
    bad = (rng.random(total) < population.both_bad) & (kind == "normal")
    answer = np.where(bad & (kinds == ""), 3, answer)
    seconds = rng.lognormal(np.log(14.0), 0.35, total) + 6.0
    seconds = np.where(kinds == "fast", rng.lognormal(np.log(1.0), 0.2, total), seconds)

    variants = np.array(population.variants)
    # Controls and repeats are scattered among the rest.
    place = np.argsort(
        np.append(
            np.arange(design.votes) * 1.0,
            rng.uniform(design.votes / 2, design.votes, total - design.votes),
        ),
        kind="stable",
    )
    voted = START + pd.to_timedelta(np.cumsum(seconds[place]), unit="s")
    return pd.DataFrame(
        {
            "vote_id": np.arange(total),
            "prompt_id": np.array([f"p{p:03d}" for p in range(design.prompts)])[prompt[place]],
            "seed": 0,
            "left": variants[left[place]],
            "right": variants[right[place]],
            "answer": np.array(["left", "right", "tie", "both_bad"])[answer[place]],
            "rater": names[rater[place]],
            "kind": kind[place],
            "control_side": np.array(["", "left", "right"])[damaged[place] + 1],
            "voted_at": voted,
            "seconds": seconds[place],
            "simulated": True,
        }
    )
