"""What stands between the desk and a rater: seats, the pairs held there, and what they see."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field

from ablations.arena.gallery import Scene
from ablations.arena.schedule import Pair


class Refused(Exception):
    """A vote or a visit that the desk does not take; `status` is HTTP's word for it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(eq=False)
class Assignment:
    """One pair handed to one rater, once."""

    name: str
    rater: str
    pair: Pair
    assigned_at: float
    touched: float
    """When its rater was last seen with it: it expires from then on."""
    shown_at: float | None = None
    given_back: bool = False


@dataclass(eq=False)
class Seat:
    """One rater at the desk."""

    rater: str
    held: list[Assignment] = field(default_factory=list)
    """On the screen, then to be preloaded."""
    lapsed: list[Assignment] = field(default_factory=list)
    """Expired pairs; the rater gets them again if they are still wanted."""
    answered: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True)
class Screen:
    """What a rater sees next."""

    assignment: Assignment
    seal: str
    number: int
    total: int
    scene: Scene
    seconds: float
    """Before this much time no vote is taken: the longer clip's duration."""
    upcoming: Assignment | None


@dataclass(frozen=True)
class Waiting:
    """All pairs that are left are with other raters just now."""

    answered: int


@dataclass(frozen=True)
class Finished:
    """Nothing more to ask this rater."""

    answered: int


def pair_id(pair: Pair, scene: Scene) -> str:
    """The name of two videos, whatever their sides: a repeated pair has the same."""
    first, second = pair.variants
    text = "\n".join((scene.prompt_id, str(scene.seed), first, second))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
