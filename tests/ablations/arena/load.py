"""The full loads, whose short forms the tests run; prints what was measured.

python -m tests.ablations.arena.load crowd [--postgres]   200 raters at once, to the target
python -m tests.ablations.arena.load kills [--postgres]   SIGKILL 20 times under that load
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ablations.arena.seals import Seals
from ablations.arena.votes import load
from tests.ablations.arena import postgres, studies
from tests.ablations.arena.crowd import Record, gather
from tests.ablations.arena.serving import Server
from tests.ports import free_port


@contextlib.contextmanager
def database(use_postgres: bool) -> Iterator[str | None]:
    if not use_postgres:
        yield None
        return
    binaries = postgres.programs()
    assert binaries is not None, "PostgreSQL is not installed"
    with postgres.cluster(binaries) as url:
        yield url


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def check(study: Path, url: str | None, record: Record) -> dict[str, float]:
    """Compare what raters were told with what is stored."""
    table = load(url or study)
    seals = Seals((study / ".arena" / "secret").read_text())
    from sqlalchemy import select

    from ablations.arena import schema
    from ablations.arena.store import engine_of, url_of

    engine = engine_of(url_of(study, url))
    with engine.connect() as connection:
        stored = [row[0] for row in connection.execute(select(schema.votes.c.assignment))]
    engine.dispose()
    told = [shown.assignment for s in record.acknowledged if (shown := seals.read_pair(s))]
    again = [shown.assignment for s in record.settled if (shown := seals.read_pair(s))]
    normal = table[table["kind"] == "normal"]
    each = [
        int((normal["left"] == name).sum() + (normal["right"] == name).sum())
        for name in studies.NAMES
    ]
    lean = max(
        abs(int((normal["left"] == name).sum() - (normal["right"] == name).sum()))
        for name in studies.NAMES
    )
    pairs = normal.groupby("rater")["pair_id"]
    return {
        "votes": len(table),
        "acknowledged": len(told),
        "lost": len((set(told) | set(again)) - set(stored)),
        "double": len(stored) - len(set(stored)) + len(told) - len(set(told)),
        "never_acknowledged": len(set(stored) - set(told) - set(again)),
        "seen_twice": int((pairs.count() - pairs.nunique()).sum()),
        "least": min(each),
        "most": max(each),
        "lean": lean,
    }


def crowd(args: argparse.Namespace) -> None:
    with database(args.postgres) as url, tempfile.TemporaryDirectory() as folder:
        study, server = _server(Path(folder), url, args.target, args.pairs)
        server.start()
        try:
            start = time.perf_counter()
            record = asyncio.run(gather(server.port, args.raters))
            seconds = time.perf_counter() - start
        finally:
            server.stop()
        result = check(study, url, record)
        _print(args, record, result, seconds)


def kills(args: argparse.Namespace) -> None:
    with database(args.postgres) as url, tempfile.TemporaryDirectory() as folder:
        study, server = _server(Path(folder), url, 1_000_000, 1000)
        server.start()
        start = time.perf_counter()
        try:
            record = asyncio.run(_killed(server, args.raters, args.kills))
        finally:
            server.stop()
        result = check(study, url, record)
        _print(args, record, result, time.perf_counter() - start)


async def _killed(server: Server, raters: int, times: int) -> Record:
    stop = asyncio.Event()
    going = asyncio.create_task(gather(server.port, raters, stop=stop))
    dice = random.Random(1)
    for _ in range(times):
        await asyncio.sleep(dice.uniform(2.0, 4.0))
        server.kill()
        await asyncio.to_thread(server.start)
    await asyncio.sleep(3)
    stop.set()
    return await going


def _server(folder: Path, url: str | None, target: int, pairs: int) -> tuple[Path, Server]:
    prompts = [f"walk-{number:02d}" for number in range(20)]
    study = studies.make(folder / "study", prompts=prompts, seeds=range(4), seconds=0.4)
    arena = {
        "database": url,
        "votes_per_variant": target,
        "pairs_per_rater": pairs,
        "controls_per_rater": 2,
        "repeats_per_rater": 2,
    }
    return study, Server(study, free_port(), arena)


def _print(
    args: argparse.Namespace, record: Record, result: dict[str, float], seconds: float
) -> None:
    name = "postgresql" if args.postgres else "sqlite"
    print(f"{args.what} on {name}: {args.raters} raters, {seconds:.1f} s")
    late = record.latencies
    print(
        f"  vote ms: p50 {1e3 * statistics.median(late):.1f}, "
        f"p95 {1e3 * quantile(late, 0.95):.1f}, "
        f"p99 {1e3 * quantile(late, 0.99):.1f}, max {1e3 * max(late):.1f} ({len(late)} votes); "
        f"page p99 {1e3 * quantile(record.page_latencies, 0.99):.1f}"
    )
    print(f"  {result}")
    print(f"  breaks {record.breaks}, finished {record.finished}, answers {dict(record.statuses)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("crowd", "kills"))
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--target", type=int, default=1000, help="votes per variant")
    parser.add_argument("--pairs", type=int, default=30, help="screens per rater")
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    {"crowd": crowd, "kills": kills}[arguments.what](arguments)
