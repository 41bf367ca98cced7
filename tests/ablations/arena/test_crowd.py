"""A crowd at once, and a server that is killed under it: short forms of `load.py`.

Nothing here asserts how fast it goes; `python -m tests.ablations.arena.load` measures that.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.ablations.arena import studies
from tests.ablations.arena.crowd import Record, gather
from tests.ablations.arena.load import check
from tests.ablations.arena.serving import Server
from tests.ports import free_port

HASTE = (0.0, 0.05)


def test_a_crowd_ends_at_the_target_with_every_vote_kept_once(
    study: Path, database: str | None
) -> None:
    settings = {"database": database, "votes_per_variant": 40, "page_rate": 1000}
    server = Server(study, free_port(), {**settings, "expire_minutes": 1})
    server.start()
    try:
        record = asyncio.run(gather(server.port, 30, think=HASTE, spread=0.5))
    finally:
        server.stop()
    result = check(study, database, record)
    assert result["lost"] == result["double"] == result["never_acknowledged"] == 0
    assert result["seen_twice"] == 0
    # Six variants of three scenes give a rater 45 pairs: nobody runs out before the target.
    assert (result["least"], result["most"]) == (40, 40)
    assert result["votes"] == len(record.acknowledged)
    assert set(record.statuses) == {303}
    assert record.finished == 30


def test_what_was_acknowledged_survives_kills(study: Path, database: str | None) -> None:
    settings = {"database": database, "votes_per_variant": 10_000, "page_rate": 1000}
    server = Server(study, free_port(), {**settings, "pairs_per_rater": 45})

    async def scenario() -> Record:
        stop, record = asyncio.Event(), Record()
        crowd = gather(server.port, 12, think=HASTE, spread=0.2, stop=stop, record=record)
        going = asyncio.create_task(crowd)

        async def more_votes() -> None:
            """However slow the machine is, there is something to lose."""
            wanted = len(record.acknowledged) + 6
            while len(record.acknowledged) < wanted and not going.done():
                await asyncio.sleep(0.01)

        dice = random.Random(0)
        for _ in range(2):
            await more_votes()
            await asyncio.sleep(dice.uniform(0.0, 0.5))  # not always right after a vote
            server.kill()
            await asyncio.to_thread(server.start)
        await more_votes()
        stop.set()
        return await going

    server.start()
    try:
        record = asyncio.run(scenario())
    finally:
        server.stop()
    result = check(study, database, record)
    assert result["acknowledged"] > 10
    assert result["lost"] == result["double"] == 0
    assert result["most"] - result["least"] <= 2 + 24  # two pairs a rater are on the way


def test_names_of_the_crowds_study_are_those_of_the_study(study: Path) -> None:
    assert {path.name for path in (study / "cells").iterdir()} == set(studies.NAMES)
