"""From an effect and its interval to a verdict in words.

A claim says several things at once (best on *every* drift metric), its parts. It is supported when
each part's own 95 % interval lies on the claimed side: a conjunction needs no correction, since all
must be right. It is contradicted when one part's lies on the other side, at a confidence corrected
for the number of parts (Bonferroni), since any one would do. Between the two it is not decided.
So where there is no effect, a claim is left undecided in at least 95 of 100 studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats  # type: ignore[import-untyped, unused-ignore]

from bench.words import count
from reports.statistics.clusters import LEVEL
from reports.statistics.power import POWER, prompts_needed

Verdict = Literal["supported", "contradicted", "not decided"]

SUPPORTED: Verdict = "supported"
CONTRADICTED: Verdict = "contradicted"
UNDECIDED: Verdict = "not decided"

UNMATCHED = "group means: no two variants are alike in all else"
"""What is said of a difference that is not one of matched pairs."""

MANY_VOTES = 1e7
"""More votes than anybody will collect: the number itself would say nothing."""


@lru_cache(maxsize=4096)
def _quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t."""
    return float(stats.t.ppf(probability, freedom))


class Needs(NamedTuple):
    """How many videos (or votes) would decide, as a number and in words.

    `floor` is True where that is not known: the words then say what is needed for any interval.
    """

    number: float
    words: str
    floor: bool = False

    @property
    def sentence(self) -> str:
        """The words with what they are about."""
        if self.floor:
            return f"needs {self.words} before anything can be said"
        return f"{self.words} would decide it, the effect being what it seems"


@dataclass(frozen=True)
class Part:
    """One thing that a claim says, and what the study has to say to it.

    The hypothesis is that the effect is above `above` (or below `below`); `effect`, `low`, `high`
    are in `unit`. `counted` is how many videos (or votes) it rests on; `lacking` says what the
    study lacks when there is nothing to test. An `optional` part is told and does not count for
    the verdict.
    """

    hypothesis: str
    effect: float = np.nan
    low: float = np.nan
    high: float = np.nan
    unit: str = ""
    verdict: Verdict = UNDECIDED
    counted: int = 0
    lacking: str = ""
    optional: bool = False
    rests_on: Effect | None = None
    bound: float = 0.0
    alpha: float = 1 - LEVEL
    """What a verdict in the direction of the effect may err by: less where the part would
    contradict a claim of several parts."""

    @property
    def said(self) -> str:
        """The hypothesis, and whether it was tested on groups that differ in more than it says."""
        if self.rests_on is None or self.rests_on.matched:
            return self.hypothesis
        return f"{self.hypothesis} ({UNMATCHED})"

    @property
    def needs(self) -> Needs:
        """What would decide it; nothing where it is decided, or where more would not help."""
        if self.verdict != UNDECIDED or self.rests_on is None:
            return Needs(0.0, "")
        return _needs(self.rests_on, self.bound, self.alpha)

    @property
    def clear(self) -> float:
        """How far the effect is from the bound, in half-widths of the interval; small is weak."""
        half = (self.high - self.low) / 2
        return abs(self.effect - self.bound) / half if half > 0 else np.inf


@dataclass(frozen=True)
class Effect:
    """An estimate with its standard error, and how to say what more of it would cost.

    `units` prompts (or votes) were used, each costing `cost` videos (or votes) more. `p` is that
    of an exact test of no effect, where there is one: a verdict then needs it as well, since few
    prompts can be far from the normal distribution that the interval relies on. `matched` is False
    for a difference of groups' means: their variants differ in more than what is compared. Fewer
    prompts than `least` leave it without an interval.
    """

    value: float
    error: float
    freedom: float
    units: int
    cost: float
    unit: str
    of: Literal["videos", "votes"] = "videos"
    p: float = np.nan
    matched: bool = True
    least: Literal[2, 3] = 2

    def half(self, level: float) -> float:
        """Half of the interval's width."""
        if not self.freedom >= 1:
            return float("nan")
        return _quantile((1 + level) / 2, self.freedom) * self.error


def _verdict(effect: Effect, bound: float, sign: float, parts: int) -> Verdict:
    gap = sign * (effect.value - bound)
    if not np.isfinite(effect.error) or not np.isfinite(gap):
        return UNDECIDED
    p = effect.p if bound == 0 and np.isfinite(effect.p) else 0.0
    if gap > effect.half(LEVEL) and p < 1 - LEVEL:
        return SUPPORTED
    if -gap > effect.half(1 - (1 - LEVEL) / parts) and p < (1 - LEVEL) / parts:
        return CONTRADICTED
    return UNDECIDED


def _needs(effect: Effect, bound: float, alpha: float) -> Needs:
    """How many would decide in four of five studies, the effect being what it seems.

    Where a sign-flip test has to agree, its smallest p with n prompts, 2^(1−n), must be below
    alpha.
    """
    gap = abs(effect.value - bound)
    if not np.isfinite(effect.error):
        if effect.of == "votes":
            return Needs(np.inf, "votes of two raters or more", floor=True)
        least = {2: "two", 3: "three"}[effect.least]
        words = f"at least {least} prompts on which all that is compared has scores"
        return Needs(np.inf, words, floor=True)
    if effect.error == 0 or gap == 0:
        return Needs(np.inf, "")
    if effect.of == "votes":
        reach = effect.half(1 - alpha) + stats.norm.ppf(POWER) * effect.error
        votes = effect.units * (reach / gap) ** 2
        if votes > MANY_VOTES:
            return Needs(np.inf, "more than ten million votes")
        return Needs(votes, f"about {_counted(votes, 'vote')}")
    prompts = prompts_needed(effect.error, effect.units, gap, alpha=alpha)
    if prompts is None:
        return Needs(np.inf, "more than a million prompts")
    if bound == 0 and np.isfinite(effect.p):
        prompts = max(prompts, int(np.floor(1 - np.log2(alpha))) + 1)
    videos = prompts * effect.cost
    return Needs(videos, f"about {_counted(videos, 'video')} ({count(prompts, 'prompt')})")


def _round(number: float) -> str:
    """Two significant digits, rounded up: the number is an estimate."""
    if number < 100:
        return str(int(np.ceil(number)))
    size = 10 ** (int(np.floor(np.log10(number))) - 1)
    return f"{int(np.ceil(number / size)) * size:,}".replace(",", "\u202f")


def _counted(number: float, noun: str) -> str:
    return f"{_round(number)} {noun}" + ("" if _round(number) == "1" else "s")


@dataclass(frozen=True)
class Question:
    """A part before it is known how many others the claim has.

    The hypothesis is that the effect is above `above`, or, where that is None, below `below`.
    Without an effect, `lacking` says what the study would need.
    """

    hypothesis: str
    effect: Effect | None
    above: float | None = None
    below: float = 0.0
    lacking: str = ""
    optional: bool = False


def _part(test: Question, among: int) -> Part:
    """Judge one part of a claim with `among` deciding ones."""
    effect = test.effect
    if effect is None or not np.isfinite(effect.value):
        lacking = test.lacking or "more videos: these few leave the effect undefined"
        return Part(test.hypothesis, lacking=lacking, optional=test.optional)
    bound, sign = (test.below, -1.0) if test.above is None else (test.above, 1.0)
    parts = 1 if test.optional else max(among, 1)
    verdict = _verdict(effect, bound, sign, parts)
    against = sign * (effect.value - bound) < 0
    half = effect.half(LEVEL)
    return Part(
        test.hypothesis,
        effect.value,
        effect.value - half,
        effect.value + half,
        effect.unit,
        verdict,
        counted=round(effect.units * effect.cost),
        optional=test.optional,
        rests_on=effect,
        bound=bound,
        alpha=(1 - LEVEL) / (parts if against else 1),
    )


def settle(tests: Sequence[Question]) -> tuple[Verdict, tuple[Part, ...]]:
    """The claim's verdict and its parts."""
    among = sum(not test.optional and test.effect is not None for test in tests)
    parts = tuple(_part(test, among) for test in tests)
    deciding = [part.verdict for part in parts if not part.optional]
    if CONTRADICTED in deciding:
        return CONTRADICTED, parts
    if deciding and all(verdict == SUPPORTED for verdict in deciding):
        return SUPPORTED, parts
    return UNDECIDED, parts
