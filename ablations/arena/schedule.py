"""Which pair comes next: balanced over variants, pairs, prompts and sides, and never twice.

Votes are worth most when every variant has as many as every other, so a pair is built around the
variant that has the fewest: its partner is the variant met least often among those that are level
with it or one ahead. While raters have such pairs left, two variants differ by at most two votes; a
rater who has seen them all gets a partner further ahead rather than none. Pairs handed out
and not yet answered count as votes, so that raters who come at the same instant do not all get
the same pair, and the study ends at its target instead of beyond it; what nobody answers is given
back and handed out again.

Everything here is counting in memory; it knows nothing of clocks, disks or HTTP, and one replay
of the stored assignments rebuilds it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["normal", "repeat", "control"]
Side = Literal["", "left", "right"]

REPEAT_GAP = 3
"""Screens between a pair and its repetition: nearer, a rater remembers the answer."""
MAX_LEAD = 1
"""How many votes a partner may be ahead of the variant that has the fewest."""


@dataclass(frozen=True)
class Pair:
    """Two videos of one scene on their sides; `control_side` is the damaged one."""

    scene: int
    left: str
    right: str
    kind: Kind = "normal"
    control_side: Side = ""

    @property
    def variants(self) -> tuple[str, str]:
        """Both names in alphabetical order: what is compared, whatever the sides."""
        return (self.left, self.right) if self.left <= self.right else (self.right, self.left)

    @property
    def key(self) -> tuple[str, str, int]:
        """What no rater sees twice."""
        return (*self.variants, self.scene)


@dataclass
class Rater:
    """What one rater has been given so far."""

    seen: set[tuple[str, str, int]] = field(default_factory=set)
    lean: Counter[str] = field(default_factory=Counter)
    """Times on the left minus times on the right, by variant."""
    scenes: Counter[int] = field(default_factory=Counter)
    meetings: Counter[tuple[str, str]] = field(default_factory=Counter)
    given: list[Pair] = field(default_factory=list)
    """Screens in order, all kinds."""


class Schedule:
    """Counts of everything handed out, and the choice of the next pair.

    Args:
        clips: for each scene, the variants that have a video of it.
        target: votes that every variant shall reach.
        controls: (variant, scene) of the videos that have a damaged copy.
        length: screens of one rater, of which `control_screens` and `repeat_screens` are no
            ordinary pairs.
        seed: of the ties that chance breaks.
    """

    def __init__(
        self,
        clips: Sequence[Iterable[str]],
        *,
        target: int,
        length: int,
        controls: Sequence[tuple[str, int]] = (),
        control_screens: int = 0,
        repeat_screens: int = 0,
        seed: int = 0,
    ) -> None:
        self.target = target
        self.length = length
        self.load: Counter[str] = Counter()
        """Ordinary votes by variant, those still awaited included."""
        self.answered: Counter[str] = Counter()
        """Ordinary votes by variant that are stored."""
        self.raters: dict[str, Rater] = {}
        self._scenes: dict[tuple[str, str], list[int]] = {}
        """Scenes by variant pair."""
        for scene, variants in enumerate(clips):
            names = sorted(variants)
            for i, first in enumerate(names):
                for second in names[i + 1 :]:
                    self._scenes.setdefault((first, second), []).append(scene)
        self.variants = tuple(sorted({name for pair in self._scenes for name in pair}))
        self._controls = list(controls)
        self._control_screens = min(control_screens, len(self._controls))
        self._repeat_screens = repeat_screens
        special = self._control_screens + repeat_screens
        # All raters get as many screens: where there are few pairs, nobody's special ones are late.
        self._reach = min(length, sum(map(len, self._scenes.values())) + special)
        self._meetings: Counter[tuple[str, str]] = Counter()
        self._shown: Counter[tuple[str, str, int]] = Counter()
        self._scene_load: Counter[int] = Counter()
        self._lean: Counter[str] = Counter()
        self._pair_lean: Counter[tuple[str, str]] = Counter()
        self._control_load: Counter[tuple[str, int]] = Counter()
        self._control_lean = 0
        self._random = random.Random(seed)
        self._seed = seed

    @property
    def complete(self) -> bool:
        """Whether every variant has its votes."""
        return all(self.answered[name] >= self.target for name in self.variants)

    @property
    def open_slots(self) -> int:
        """Votes still to be handed out; two variants share each."""
        missing = sum(max(0, self.target - self.load[name]) for name in self.variants)
        return (missing + 1) // 2

    def rater(self, name: str) -> Rater:
        """The state of one rater, made when new."""
        return self.raters.setdefault(name, Rater())

    def screens(self, name: str) -> int:
        """How many screens a rater can get: fewer than `length` where there are few pairs."""
        left, special = sum(map(len, self._scenes.values())), self.kinds(name)
        for position in range(self.length):
            if position not in special:
                if not left:
                    return position
                left -= 1
        return self.length

    def next(self, name: str) -> Pair | None:
        """Choose the rater's next pair and count it as handed out; None when none is open."""
        rater = self.rater(name)
        position = len(rater.given)
        if position >= self.length or self.open_slots == 0:
            return None
        wanted = self.kinds(name).get(position, "normal")
        pair: Pair | None = None
        if wanted == "control":
            pair = self._control(rater)
        elif wanted == "repeat":
            pair = self._repeat(rater)
        pair = pair or self._ordinary(rater)
        if pair is not None:
            self.take(name, pair)
        return pair

    def take(self, name: str, pair: Pair) -> None:
        """Count a pair as handed out (also when replaying what is stored)."""
        rater = self.rater(name)
        rater.given.append(pair)
        rater.scenes[pair.scene] += 1
        self._count(rater, pair, +1)

    def give_back(self, name: str, pair: Pair) -> None:
        """Undo `take`: the pair was not answered. The rater keeps having seen it."""
        rater = self.rater(name)
        if pair in rater.given:
            rater.given.reverse()
            rater.given.remove(pair)
            rater.given.reverse()
        rater.scenes[pair.scene] -= 1
        self._count(rater, pair, -1)

    def answer(self, pair: Pair) -> None:
        """The vote on a pair is stored."""
        if pair.kind == "normal":
            self.answered[pair.left] += 1
            self.answered[pair.right] += 1

    def withdraw(self, variant: str, scene: int) -> None:
        """A video cannot be shown any more; no pair has it from now on."""
        for pair, scenes in self._scenes.items():
            if variant in pair and scene in scenes:
                scenes.remove(scene)
        self._controls = [video for video in self._controls if video != (variant, scene)]

    def wanted(self, pair: Pair) -> bool:
        """Whether a pair that was given back would still help to reach the target."""
        return pair.kind != "normal" or any(
            self.load[name] < self.target for name in (pair.left, pair.right)
        )

    def kinds(self, name: str) -> Mapping[int, Kind]:
        """The screens of a rater that are no ordinary pairs; the same after a restart."""
        dice = random.Random(f"{self._seed}:{name}")
        later = list(range(min(REPEAT_GAP, self._reach), self._reach))
        dice.shuffle(later)
        # Not before there is something to repeat.
        first = max(self._reach // 2, REPEAT_GAP + 1)
        half = [position for position in later if position >= first]
        repeats = half[: self._repeat_screens]
        controls = [p for p in later if p not in repeats][: self._control_screens]
        return {**dict.fromkeys(repeats, "repeat"), **dict.fromkeys(controls, "control")}

    def _count(self, rater: Rater, pair: Pair, step: int) -> None:
        if pair.kind == "control":
            self._control_load[pair.left, pair.scene] += step
            self._control_lean += step if pair.control_side == "left" else -step
            return
        for name, side in ((pair.left, step), (pair.right, -step)):
            rater.lean[name] += side
        if pair.kind == "repeat":
            return
        rater.seen.add(pair.key)
        rater.meetings[pair.variants] += step
        self._meetings[pair.variants] += step
        self._shown[pair.key] += step
        self._scene_load[pair.scene] += step
        self._pair_lean[pair.variants] += step if pair.left == pair.variants[0] else -step
        for name, side in ((pair.left, step), (pair.right, -step)):
            self.load[name] += step
            self._lean[name] += side

    def _ordinary(self, rater: Rater) -> Pair | None:
        names = list(self.variants)
        self._random.shuffle(names)
        names.sort(key=self.load.__getitem__)
        for name in names:
            if self.load[name] >= self.target:
                return None
            partners = [other for other in names if other != name]
            # Level with the fewest, or one ahead, if the rater has such a pair left; else any.
            near = [p for p in partners if self.load[p] <= self.load[name] + MAX_LEAD]
            for group in (near, partners):
                if found := self._best(rater, name, group):
                    return found
        return None

    def _best(self, rater: Rater, name: str, partners: list[str]) -> Pair | None:
        def rank(other: str) -> tuple[int, int, int]:
            pair = (name, other) if name < other else (other, name)
            return (self._meetings[pair], rater.meetings[pair], self.load[other])

        for other in sorted(partners, key=rank):
            pair = (name, other) if name < other else (other, name)
            scene = self._scene(rater, pair)
            if scene is not None:
                left, right = self._sides(rater, pair)
                return Pair(scene, left, right)
        return None

    def _scene(self, rater: Rater, pair: tuple[str, str]) -> int | None:
        """The scene this rater has seen least, then the one shown least."""
        first, second = pair
        unseen = [
            scene
            for scene in self._scenes.get(pair, ())
            if (first, second, scene) not in rater.seen
        ]
        if not unseen:
            return None
        dice = self._random.random
        return min(
            unseen,
            key=lambda scene: (
                rater.scenes[scene],
                self._shown[first, second, scene],
                self._scene_load[scene],
                dice(),
            ),
        )

    def _sides(self, rater: Rater, pair: tuple[str, str]) -> tuple[str, str]:
        """Put on the left what has been there too seldom: overall, for the rater, in the pair."""
        first, second = pair
        tilt = (
            2 * (self._lean[first] - self._lean[second])
            + 2 * (rater.lean[first] - rater.lean[second])
            + self._pair_lean[pair]
        )
        if tilt == 0:
            tilt = self._random.choice((-1, 1))
        return (second, first) if tilt > 0 else (first, second)

    def _control(self, rater: Rater) -> Pair | None:
        used = {(p.left, p.scene) for p in rater.given if p.kind == "control"}
        fresh = [video for video in self._controls if video not in used]
        if not fresh:
            return None
        dice = self._random.random
        variant, scene = min(fresh, key=lambda video: (self._control_load[video], dice()))
        lean = self._control_lean or self._random.choice((-1, 1))
        return Pair(scene, variant, variant, "control", "right" if lean > 0 else "left")

    def _repeat(self, rater: Rater) -> Pair | None:
        """An ordinary pair of some screens ago with its sides swapped: habit is not agreement."""
        repeated = {p.key for p in rater.given if p.kind == "repeat"}
        earlier = [
            p
            for p in rater.given[: -REPEAT_GAP or None]
            if p.kind == "normal" and p.key not in repeated
        ]
        if not earlier:
            return None
        pair = self._random.choice(earlier)
        return Pair(pair.scene, pair.right, pair.left, "repeat")
