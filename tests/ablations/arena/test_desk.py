"""The desk hands out, takes in and refuses; clocks, restarts and full disks do not confuse it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ablations.arena import schema
from ablations.arena.clock import Clock
from ablations.arena.desk import Desk
from ablations.arena.seats import Finished, Refused, Screen, Waiting
from ablations.arena.server import Arena
from ablations.arena.store import StorageError
from ablations.arena.votes import load
from tests.ablations.arena.conftest import Hand, Open, Visitor

Visit = Callable[[Arena], Visitor]
NOT_WATCHED = (None, None)


def go(scenario: Any) -> Any:
    return asyncio.run(scenario)


async def shown(desk: Desk, rater: str) -> Screen:
    await desk.join(rater)
    screen = await desk.screen(rater)
    assert isinstance(screen, Screen)
    return screen


def test_the_same_pair_stays_until_it_is_answered(open_arena: Open, clock: Hand) -> None:
    desk = open_arena().desk

    async def scenario() -> None:
        first = await shown(desk, "r")
        clock.seconds += 1
        assert (await shown(desk, "r")).seal == first.seal
        await desk.vote("r", first.seal, "tie", NOT_WATCHED)
        second = await shown(desk, "r")
        assert second.assignment is first.upcoming
        assert (second.number, second.total) == (2, 30)

    go(scenario())


@pytest.mark.parametrize(
    ("attempt", "status", "reason"),
    [
        ("replayed", 409, "answered already"),
        ("early", 403, "had not played"),
        ("other rater's", 403, "somebody else"),
        ("tampered", 403, "does not belong"),
        ("empty", 403, "does not belong"),
        ("another secret's", 403, "does not belong"),
        ("never handed out", 403, "not given to you"),
        ("unknown answer", 400, "none of left"),
        ("without a seat", 403, "have not started"),
    ],
)
def test_a_vote_that_was_not_asked_for_is_refused(
    open_arena: Open, clock: Hand, attempt: str, status: int, reason: str
) -> None:
    from ablations.arena.seals import Seals, Shown

    desk = open_arena().desk

    async def scenario() -> None:
        seal = (await shown(desk, "r")).seal
        other = (await shown(desk, "s")).seal
        clock.seconds += 0.4 if attempt == "early" else 5
        rater, answer = "r", "left"
        if attempt == "replayed":
            await desk.vote("r", seal, "left", NOT_WATCHED)
        elif attempt == "other rater's":
            seal = other
        elif attempt == "tampered":
            seal = seal[:-2] + ("AA" if not seal.endswith("AA") else "BB")
        elif attempt == "empty":
            seal = ""
        elif attempt == "another secret's":
            named = desk.seals.read_pair(seal)
            assert named is not None
            seal = Seals("another").pair(named)
        elif attempt == "never handed out":
            seal = desk.seals.pair(Shown("nothing", "r", clock.seconds - 50))
        elif attempt == "unknown answer":
            answer = "left' OR 1=1 --"
        elif attempt == "without a seat":
            rater = "t"
            seal = desk.seals.pair(Shown("nothing", "t", clock.seconds - 50))
        before = len(desk.store.read(select(schema.votes)))
        with pytest.raises(Refused, match=reason) as caught:
            await desk.vote(rater, seal, answer, NOT_WATCHED)
        assert caught.value.status == status
        assert len(desk.store.read(select(schema.votes))) == before

    go(scenario())


def test_a_pair_shown_twice_at_once_takes_one_vote(open_arena: Open, clock: Hand) -> None:
    desk = open_arena().desk

    async def scenario() -> list[Any]:
        seal = (await shown(desk, "r")).seal
        clock.seconds += 5
        votes = [desk.vote("r", seal, answer, NOT_WATCHED) for answer in schema.ANSWERS]
        return list(await asyncio.gather(*votes, return_exceptions=True))

    outcomes = go(scenario())
    assert outcomes[0] is None
    assert all(isinstance(o, Refused) and o.status == 409 for o in outcomes[1:])
    assert len(desk.store.read(select(schema.votes))) == 1


def test_what_the_page_says_was_watched_stays_within_what_the_clock_allows(
    study: Path, open_arena: Open, clock: Hand
) -> None:
    desk = open_arena().desk

    async def scenario() -> None:
        for watched in ((1.5, 1e9), (-3.0, float("nan")), (None, 0.0)):
            seal = (await shown(desk, "r")).seal
            clock.seconds += 5
            await desk.vote("r", seal, "tie", watched)

    go(scenario())
    table = load(study)
    assert table["watched_left"][0] == 1.5
    assert table["watched_right"][0] == 5.0
    assert table["watched_left"].isna().sum() == 2
    assert table["watched_right"].isna().sum() == 1


def test_a_clock_set_back_neither_stops_raters_nor_reorders_votes(
    study: Path, open_arena: Open, clock: Hand
) -> None:
    wall = Hand()
    wall.seconds = 2e9
    desk = open_arena().desk
    desk.clock = Clock(wall=wall, steady=clock)

    async def one(rater: str) -> None:
        seal = (await shown(desk, rater)).seal
        clock.seconds += 5
        wall.seconds -= 3600
        await desk.vote(rater, seal, "tie", NOT_WATCHED)

    go(one("r"))
    go(one("s"))
    # The machine starts again with its clock set back by hours.
    arena = open_arena()
    desk = arena.desk
    desk.clock = Clock(arena.store.latest(), wall=wall, steady=clock)
    go(one("t"))
    table = load(study)
    assert table["voted_at"].is_monotonic_increasing
    assert (table["seconds"] == 5).all()


def test_an_unanswered_pair_goes_to_somebody_else_and_the_study_ends_at_its_target(
    open_arena: Open, clock: Hand
) -> None:
    desk = open_arena(votes_per_variant=2, expire_minutes=1, control_videos=0).desk

    async def answer(rater: str) -> None:
        while isinstance(screen := await desk.screen(rater), Screen):
            clock.seconds += 2
            await desk.vote(rater, screen.seal, "left", NOT_WATCHED)

    async def scenario() -> None:
        await desk.join("gone")
        lost = await desk.screen("gone")
        assert isinstance(lost, Screen)
        await desk.join("here")
        await answer("here")
        # Everything else is answered; the last pair is still with the one who left.
        assert isinstance(await desk.screen("here"), Waiting)
        clock.seconds += 61
        await answer("here")
        assert isinstance(await desk.screen("here"), Finished)
        assert set(desk.schedule.answered.values()) == {2}
        # Who comes back late is told, and the study has not one vote more than it wanted.
        with pytest.raises(Refused, match="waited so long") as caught:
            await desk.vote("gone", lost.seal, "left", NOT_WATCHED)
        assert caught.value.status == 409
        assert isinstance(await desk.screen("gone"), Finished)

    go(scenario())
    assert len(desk.store.read(select(schema.votes))) == 6


def test_who_comes_back_late_goes_on_with_the_same_pair_while_it_is_wanted(
    open_arena: Open, clock: Hand
) -> None:
    desk = open_arena(expire_minutes=1).desk

    async def scenario() -> None:
        first = await shown(desk, "r")
        clock.seconds += 3600
        await shown(desk, "s")  # somebody else, so that the desk looks at its clock
        assert first.assignment.given_back
        again = await shown(desk, "r")
        assert again.assignment is first.assignment
        await desk.vote("r", first.seal, "left", NOT_WATCHED)

    go(scenario())


def test_a_restart_forgets_nothing(study: Path, open_arena: Open, clock: Hand) -> None:
    async def some(desk: Desk) -> dict[str, str]:
        for rater in ("r", "s", "t"):
            for _ in range(4):
                seal = (await shown(desk, rater)).seal
                clock.seconds += 2
                await desk.vote(rater, seal, "left", NOT_WATCHED)
        return {rater: (await shown(desk, rater)).seal for rater in ("r", "s", "t")}

    before = open_arena().desk
    seals = go(some(before))
    after = open_arena().desk
    assert after.schedule.answered == before.schedule.answered
    assert after.schedule.load == before.schedule.load
    assert after.votes == before.votes
    for rater, seal in seals.items():
        held = [assignment.name for assignment in after.seats[rater].held]
        assert held == [assignment.name for assignment in before.seats[rater].held]
        assert after.seats[rater].answered == 4
        # The page that was on the screen all the while is still good.
        clock.seconds += 2
        go(after.vote(rater, seal, "right", NOT_WATCHED))
        with pytest.raises(Refused, match="answered already"):
            go(after.vote(rater, seal, "right", NOT_WATCHED))
    assert len(load(study)) == 15


def test_a_vote_that_could_not_be_stored_can_be_sent_again(
    study: Path, open_arena: Open, clock: Hand
) -> None:
    arena = open_arena()
    desk = arena.desk

    def pragma(text: str) -> Any:
        return arena.store.write(lambda c: c.exec_driver_sql(f"PRAGMA {text}").scalar()).result()

    async def fill() -> tuple[str, str]:
        for number in range(400):
            rater = f"rater-{number % 20}"
            seal = (await shown(desk, rater)).seal
            clock.seconds += 2
            if number == 20:
                pragma(f"max_page_count={pragma('page_count')}")
            try:
                await desk.vote(rater, seal, "left", NOT_WATCHED)
            except StorageError:
                return rater, seal
        raise AssertionError("the disk never filled")

    async def again(rater: str, seal: str) -> None:
        await desk.vote(rater, seal, "left", NOT_WATCHED)
        assert isinstance(await desk.screen(rater), Screen)

    rater, seal = go(fill())
    stored = len(load(study))
    load_before = dict(desk.schedule.load)
    with pytest.raises(StorageError):
        go(again(rater, seal))
    assert dict(desk.schedule.load) == load_before
    pragma("max_page_count=1000000")
    go(again(rater, seal))
    assert len(load(study)) == stored + 1


def test_a_copy_that_disappears_while_serving_is_taken_out(
    open_arena: Open, clock: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    desk = open_arena().desk

    async def scenario() -> None:
        first = await shown(desk, "r")
        desk.clips(first.assignment.pair)[0].path.unlink()
        second = await shown(desk, "r")
        assert second.assignment is not first.assignment
        assert all(clip.path.exists() for clip in desk.clips(second.assignment.pair))

    go(scenario())
    assert "is gone" in caplog.text


def test_another_question_is_asked_and_counted_by_itself(
    study: Path, open_arena: Open, clock: Hand
) -> None:
    async def one(desk: Desk) -> None:
        seal = (await shown(desk, "r")).seal
        clock.seconds += 2
        await desk.vote("r", seal, "left", NOT_WATCHED)

    go(one(open_arena().desk))
    desk = open_arena(question="motion").desk
    assert sum(desk.schedule.answered.values()) == 0
    go(one(desk))
    assert list(load(study)["question"]) == ["overall", "motion"]
