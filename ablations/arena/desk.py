"""The desk: hands pairs to raters, takes votes in, refuses what was not asked for.

It knows nothing of HTTP. What it has handed out is in memory, for speed, and in the database, for
restarts; the database is written first, so that a rater is told "stored" only when it is. If a
write fails, memory goes back to what it was and the rater may simply send the vote again.

A rater holds at most two pairs: the one on the screen and the one to be preloaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from ablations.arena import schema
from ablations.arena.clock import Clock
from ablations.arena.gallery import Clip, Gallery
from ablations.arena.schedule import Pair, Schedule
from ablations.arena.seals import Seals, Shown, fresh
from ablations.arena.seats import Assignment, Finished, Refused, Screen, Seat, Waiting, pair_id
from ablations.arena.settings import Settings
from ablations.arena.store import Duplicate, Store, Write, insert

log = logging.getLogger("framepack_bench.arena")

SWEEP_SECONDS = 2.0
"""How often expired pairs are looked for."""


class Desk:
    """One arena's state, restored from its store.

    All methods run on one event loop; only the store's writes leave it.
    """

    def __init__(
        self, gallery: Gallery, store: Store, settings: Settings, seals: Seals, clock: Clock
    ) -> None:
        self.gallery = gallery
        self.store = store
        self.settings = settings
        self.seals = seals
        self.clock = clock
        self.seats: dict[str, Seat] = {}
        self.assignments: dict[str, Assignment] = {}
        """Open and given back ones, by name."""
        self.answered: set[str] = set()
        """Names of assignments that have their vote."""
        self.votes: Counter[str] = Counter()
        """Stored votes of this question by kind."""
        self._scene = {(s.prompt_id, s.seed): i for i, s in enumerate(gallery.scenes)}
        self._swept = 0.0
        self.schedule = Schedule(
            [gallery.variants_of(scene) for scene in range(len(gallery.scenes))],
            target=settings.votes_per_variant,
            length=settings.pairs_per_rater,
            controls=sorted(gallery.damaged),
            control_screens=settings.controls_per_rater,
            repeat_screens=settings.repeats_per_rater,
            seed=settings.seed,
        )
        self._restore()

    # Coming and going

    async def join(self, rater: str, invitation: str | None = None) -> None:
        """Give a rater a seat; joining twice is joining once."""
        if rater in self.seats:
            return
        row = {"rater": rater, "joined_at": self._now(), "invitation": invitation}
        with contextlib.suppress(Duplicate):
            await self._write(insert("raters", [row]))
        self.seats.setdefault(rater, Seat(rater))

    async def invite(self, labels: Sequence[str]) -> list[str]:
        """Make invitations; the names returned go into links."""
        made = [(fresh(), label.strip()[:200]) for label in labels]
        rows = [
            {"invitation": name, "label": label, "made_at": self._now()} for name, label in made
        ]
        await self._write(insert("invitations", rows))
        return [name for name, _ in made]

    async def accept(self, invitation: str) -> str:
        """The rater that an invitation seats: the same one on every device."""
        query = select(schema.invitations.c.invitation).where(
            schema.invitations.c.invitation == invitation
        )
        if not await asyncio.to_thread(self.store.read, query):
            raise Refused(403, "This invitation is not known here.")
        rater = self.seals.digest("rater", invitation)
        await self.join(rater, invitation)
        return rater

    # Showing

    async def screen(self, rater: str) -> Screen | Waiting | Finished:
        """What the rater sees now: the same pair until it is answered."""
        seat = self._seat(rater)
        async with seat.lock:
            self._sweep()
            await self._hand_out(seat)
            while seat.held and (gone := self._gone(seat.held[0].pair)):
                self._drop(seat, seat.held[0], gone)
                await self._hand_out(seat)
            if not seat.held:
                return self._nothing_left(seat)
            now = self.clock.now()
            current = seat.held[0]
            if current.shown_at is None:
                current.shown_at = now
            for assignment in seat.held:
                assignment.touched = now
            left, right = self.clips(current.pair)
            return Screen(
                assignment=current,
                seal=self.seals.pair(Shown(current.name, rater, current.shown_at)),
                number=seat.answered + 1,
                total=max(self.total(rater), seat.answered + 1),
                scene=self.gallery.scenes[current.pair.scene],
                seconds=max(left.seconds, right.seconds),
                upcoming=seat.held[1] if len(seat.held) > 1 else None,
            )

    def total(self, rater: str) -> int:
        """How many pairs a rater can get in all, as the pages tell."""
        # A video that is gone has taken its pairs along, answered ones too.
        answered = self.seats[rater].answered if rater in self.seats else 0
        return max(self.schedule.screens(rater), answered)

    def clips(self, pair: Pair) -> tuple[Clip, Clip]:
        """The two videos of a pair, left and right."""
        clips = []
        for side, variant in (("left", pair.left), ("right", pair.right)):
            shelf = self.gallery.damaged if side == pair.control_side else self.gallery.clips
            clips.append(shelf[variant, pair.scene])
        return clips[0], clips[1]

    def held(self, rater: str, name: str) -> Pair:
        """A pair whose files this rater may fetch.

        Raises:
            Refused: it is nobody's or another rater's.
        """
        assignment = self.assignments.get(name)
        if assignment is None or assignment.rater != rater:
            raise Refused(404, "There is no such file.")
        return assignment.pair

    # Voting

    async def vote(
        self, rater: str, seal: str, answer: str, watched: tuple[float | None, float | None]
    ) -> None:
        """Take a vote; when this returns, it is on disk.

        Args:
            rater: who sends it.
            seal: what came with the pair's page.
            answer: left, right, tie or both_bad.
            watched: seconds that each side played, as the page reports them.

        Raises:
            Refused: not handed out, somebody else's, answered already, too early, or no answer.
            StorageError: not stored; the same vote may be sent again.
        """
        shown = self.seals.read_pair(seal)
        if shown is None:
            raise Refused(403, "This vote does not belong to a pair that was shown here.")
        if shown.rater != rater:
            raise Refused(403, "This pair was shown to somebody else.")
        if answer not in schema.ANSWERS:
            raise Refused(400, "The answer was none of left, right, tie and both bad.")
        seat = self._seat(rater)
        async with seat.lock:
            assignment = self._answerable(seat, shown)
            now = self.clock.now()
            left, right = self.clips(assignment.pair)
            if now - shown.shown_at < max(left.seconds, right.seconds):
                raise Refused(403, "The videos had not played to their end yet.")
            row = self._vote_row(assignment, shown.shown_at, now, answer, watched)
            seat.held.remove(assignment)
            seat.answered += 1
            rows = self._fill(seat)
            try:
                await self._write(insert("votes", [row]) + insert("assignments", rows))
            except Exception as error:
                seat.answered -= 1
                self._undo(seat, rows)
                seat.held.insert(0, assignment)
                if isinstance(error, Duplicate):
                    self._close(seat, assignment)
                    raise Refused(409, "This pair has been answered already.") from error
                raise
            self._close(seat, assignment)
            self.schedule.answer(assignment.pair)
            self.votes[assignment.pair.kind] += 1

    def finished(self, rater: str) -> bool:
        """Whether a rater has answered all there was to ask, however little that was.

        After every vote a seat is filled again while there is anything for it, so one that answered
        and holds nothing has come to its end.
        """
        seat = self._seat(rater)
        waits = any(self.schedule.wanted(lapsed.pair) for lapsed in seat.lapsed)
        return seat.answered > 0 and not seat.held and not waits

    # What the admin page shows

    def awaited(self) -> int:
        """Pairs handed out and not answered."""
        return sum(len(seat.held) for seat in self.seats.values())

    # Inside

    def _seat(self, rater: str) -> Seat:
        seat = self.seats.get(rater)
        if seat is None:
            raise Refused(403, "You have not started yet, or the study was set up anew.")
        return seat

    def _answerable(self, seat: Seat, shown: Shown) -> Assignment:
        if shown.assignment in self.answered:
            raise Refused(409, "This pair has been answered already.")
        assignment = self.assignments.get(shown.assignment)
        if assignment is None or assignment.rater != seat.rater:
            raise Refused(403, "This pair was not given to you.")
        if assignment.given_back:
            if not self.schedule.wanted(assignment.pair):
                raise Refused(409, "This pair waited so long that others have answered it.")
            self._take_again(seat, assignment)
        return assignment

    def _fill(self, seat: Seat) -> list[Mapping[str, Any]]:
        """Give the seat its current pair and, while plenty are left, the next; the new rows."""
        rows: list[Mapping[str, Any]] = []
        wanted = 2 if self.schedule.open_slots > len(self.seats) else 1
        while len(seat.held) < wanted:
            if seat.lapsed and not seat.held:
                lapsed = seat.lapsed[0]
                if self.schedule.wanted(lapsed.pair):
                    self._take_again(seat, lapsed)
                    continue
                seat.lapsed.pop(0)
                continue
            if seat.answered + len(seat.held) >= self.settings.pairs_per_rater:
                break
            pair = self.schedule.next(seat.rater)
            if pair is None:
                break
            now = self.clock.now()
            assignment = Assignment(fresh(), seat.rater, pair, now, now)
            self.assignments[assignment.name] = assignment
            seat.held.append(assignment)
            rows.append(self._row(assignment))
        return rows

    async def _hand_out(self, seat: Seat) -> None:
        """Fill the seat and store what it got."""
        rows = self._fill(seat)
        if not rows:
            return
        try:
            await self._write(insert("assignments", rows))
        except Exception:
            self._undo(seat, rows)
            raise

    def _gone(self, pair: Pair) -> list[tuple[str, int]]:
        """The videos of a pair whose copies are no longer there."""
        return [
            (variant, pair.scene)
            for variant, clip in zip((pair.left, pair.right), self.clips(pair), strict=True)
            if not clip.path.is_file()
        ]

    def _drop(self, seat: Seat, assignment: Assignment, gone: list[tuple[str, int]]) -> None:
        """Take a pair off the screen that cannot be shown, and its videos out of the arena."""
        for variant, scene in gone:
            log.error("the copy of %s, scene %d, is gone; it is not shown any more", variant, scene)
            self.schedule.withdraw(variant, scene)
        seat.held.remove(assignment)
        del self.assignments[assignment.name]
        self.schedule.give_back(seat.rater, assignment.pair)
        self._store_given_back([assignment.name])

    def _undo(self, seat: Seat, rows: list[Mapping[str, Any]]) -> None:
        """Take back pairs whose rows were not stored."""
        for row in rows:
            assignment = self.assignments.pop(row["assignment"])
            seat.held.remove(assignment)
            self.schedule.give_back(seat.rater, assignment.pair)

    def _close(self, seat: Seat, assignment: Assignment) -> None:
        self.answered.add(assignment.name)
        self.assignments.pop(assignment.name, None)
        if assignment in seat.held:
            seat.held.remove(assignment)

    def _take_again(self, seat: Seat, assignment: Assignment) -> None:
        assignment.given_back = False
        assignment.touched = self.clock.now()
        if assignment in seat.lapsed:
            seat.lapsed.remove(assignment)
        seat.held.insert(0, assignment)
        self.schedule.take(seat.rater, assignment.pair)

    def _nothing_left(self, seat: Seat) -> Waiting | Finished:
        own_end = seat.answered >= self.settings.pairs_per_rater
        if own_end or self.schedule.complete or self.schedule.open_slots > 0:
            return Finished(seat.answered)
        return Waiting(seat.answered)

    def _sweep(self) -> None:
        """Take pairs back that nobody answered for too long."""
        now = self.clock.now()
        if now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        limit = now - self.settings.expire_minutes * 60
        expired = [a for seat in self.seats.values() for a in seat.held if a.touched < limit]
        for assignment in expired:
            seat = self.seats[assignment.rater]
            if seat.lock.locked() and assignment in seat.held[:1]:
                continue  # its rater is at the desk this very moment
            assignment.given_back = True
            seat.held.remove(assignment)
            seat.lapsed.append(assignment)
            self.schedule.give_back(seat.rater, assignment.pair)
        if expired:
            self._store_given_back([a.name for a in expired if a.given_back])

    def _store_given_back(self, names: list[str]) -> None:
        statement = (
            update(schema.assignments)
            .where(schema.assignments.c.assignment.in_(names))
            .values(given_back=1)
        )
        # Nobody waits for this: after a crash they just expire once more.
        self.store.write(lambda connection: connection.execute(statement))

    def _row(self, assignment: Assignment) -> Mapping[str, Any]:
        pair = assignment.pair
        scene = self.gallery.scenes[pair.scene]
        return {
            "assignment": assignment.name,
            "rater": assignment.rater,
            "pair_id": pair_id(pair, scene),
            "question": self.settings.question,
            "prompt_id": scene.prompt_id,
            "seed": scene.seed,
            "left": pair.left,
            "right": pair.right,
            "kind": pair.kind,
            "control_side": pair.control_side,
            "assigned_at": schema.iso(assignment.assigned_at),
            "given_back": 0,
        }

    def _vote_row(
        self,
        assignment: Assignment,
        shown_at: float,
        now: float,
        answer: str,
        watched: tuple[float | None, float | None],
    ) -> Mapping[str, Any]:
        row = dict(self._row(assignment))
        for key in ("assigned_at", "given_back"):
            del row[key]
        seconds = now - shown_at
        return {
            **row,
            "vote_id": fresh(),
            "answer": answer,
            "shown_at": schema.iso(shown_at),
            "voted_at": schema.iso(now),
            "seconds": round(seconds, 3),
            "watched_left": _plausible(watched[0], seconds),
            "watched_right": _plausible(watched[1], seconds),
            "source": "arena",
        }

    async def _write(self, write: Write) -> Any:
        return await asyncio.wrap_future(self.store.write(write))

    def _now(self) -> str:
        return schema.iso(self.clock.now())

    def _restore(self) -> None:
        """Replay what is stored: seats, open pairs, counts."""
        for row in self.store.read(select(schema.raters.c.rater)):
            self.seats[row.rater] = Seat(row.rater)
        now = self.clock.now()
        votes = self.store.read(
            select(schema.votes)
            .where(schema.votes.c.question == self.settings.question)
            .order_by(schema.votes.c.number)
        )
        answered = {row.assignment for row in votes if row.assignment}
        self.answered |= answered
        assigned = self.store.read(
            select(schema.assignments)
            .where(schema.assignments.c.question == self.settings.question)
            .order_by(schema.assignments.c.number)
        )
        for row, pair in self._known(assigned):
            seat = self.seats.setdefault(row.rater, Seat(row.rater))
            if row.assignment in answered:
                self.schedule.take(row.rater, pair)
                continue
            moment = schema.unix(row.assigned_at)
            assignment = Assignment(row.assignment, row.rater, pair, moment, now)
            self.assignments[row.assignment] = assignment
            self.schedule.take(row.rater, pair)
            if row.given_back:
                assignment.given_back = True
                self.schedule.give_back(row.rater, pair)
                seat.lapsed.append(assignment)
            else:
                seat.held.append(assignment)
        for row in votes:
            self.votes[row.kind] += 1
            if row.assignment and row.rater in self.seats:
                self.seats[row.rater].answered += 1
        for row, pair in self._known(votes):
            if row.assignment is None:  # imported
                self.schedule.take(row.rater, pair)
            self.schedule.answer(pair)

    def _known(self, rows: Sequence[Any]) -> Iterator[tuple[Any, Pair]]:
        """The rows whose videos can still be shown."""
        for row in rows:
            scene = self._scene.get((row.prompt_id, row.seed))
            if scene is None:
                continue
            pair = Pair(scene, row.left, row.right, row.kind, row.control_side)
            try:
                self.clips(pair)
            except KeyError:
                continue
            yield row, pair


def _plausible(seconds: float | None, elapsed: float) -> float | None:
    """Seconds watched as the page says, within what the clock allows."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return None
    return round(min(seconds, elapsed), 3)
