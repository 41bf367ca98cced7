"""A cluster on paper: a million cells on 512 workers that fail, and what would break first.

`python -m bench.cluster_simulation [--cells N] [--workers W] ...` plays the rules of bench.sweep
and bench.claims as discrete events. Every worker begins with its own stretch of the study, then
goes on through the others' stretches; it looks at each cell it passes (one small read), claims
what nobody has, and makes it. Workers die at random, lose the cell at hand, leave a claim behind
that is dead after the lease, and come back after a while, as SLURM requeues them; time limits end
jobs cleanly between cells.

What it leaves out: it takes the file server to be as fast at any load, and then says what load
that would have been. The numbers of file operations are those of this code, read off its source.
"""

import argparse
import heapq
import random
from dataclasses import dataclass, field

LOOK = 1
"""Operations to look at a cell: open of cell.json (the read comes with it)."""
CLAIM = 3
"""Link, look for a later generation, look at the cell again."""
MAKE = 14
"""Folder, sweep of it, video (create, write, flush, rename, flush of the folder), record (create,
write, flush, link, unlink, flush of the folder), removal of a preview."""
RELEASE = 1
"""Unlink of the claim; asking whether it is still held is part of `CLAIM`'s looks."""
HEARTBEAT = 15.0
"""Seconds between two touches of a worker's file."""


@dataclass(frozen=True)
class Cluster:
    """What is played. Times in seconds."""

    cells: int = 1_000_000
    workers: int = 512
    cell: float = 120.0
    """Mean time to make a cell."""
    spread: float = 0.2
    """Standard deviation of a cell's time, as a share of the mean."""
    load: float = 180.0
    """Time to start a job and load the model."""
    look: float = 0.0005
    """Time to look at one cell on the shared file system."""
    limit: float = 8 * 3600.0
    """Time limit of a job."""
    lifetime: float = 48 * 3600.0
    """Mean time between two deaths of a worker."""
    away: float = 300.0
    """Time until a dead worker's job runs again."""
    lease: float = 90.0
    seed: int = 0


@dataclass
class Account:
    """Where the time of all workers went, in seconds, and what the file system did."""

    making: float = 0.0
    lost: float = 0.0
    """Work on cells that a death threw away."""
    loading: float = 0.0
    looking: float = 0.0
    away: float = 0.0
    waiting: float = 0.0
    """At the end, with nothing left to claim."""
    operations: float = 0.0
    deaths: int = 0
    end: float = 0.0
    looks: float = 0.0
    finished: int = 0


@dataclass
class _Worker:
    number: int
    stretch: int
    """Where it is; its own stretch first."""
    passed: int = 0
    """Stretches that it has gone through."""
    at: int = 0
    """Cells of the present stretch that it has looked at."""
    job_ends: float = 0.0
    dies: float = 0.0


@dataclass
class _Stretch:
    size: int
    next: int = 0
    """The first cell that nobody has claimed."""
    orphans: list[float] = field(default_factory=list)
    """When the claims of dead workers run out."""


def play(cluster: Cluster) -> Account:
    """Play until all cells are made."""
    rng = random.Random(cluster.seed)
    share, extra = divmod(cluster.cells, cluster.workers)
    stretches = [_Stretch(share + (number < extra)) for number in range(cluster.workers)]
    account = Account()
    events: list[tuple[float, int]] = []
    workers = [_Worker(number, number) for number in range(cluster.workers)]
    for worker in workers:
        _begin(worker, 0.0, cluster, account, rng)
        heapq.heappush(events, (cluster.load, worker.number))
    while events and account.finished < cluster.cells:
        now, number = heapq.heappop(events)
        worker = workers[number]
        if now > worker.job_ends:
            _begin(worker, now, cluster, account, rng)
            heapq.heappush(events, (now + cluster.load, number))
            continue
        after = _step(worker, now, stretches, cluster, account, rng)
        if after is None:
            orphans = [each for stretch in stretches for each in stretch.orphans]
            if orphans:
                worker.passed, worker.at = 0, 0
                heapq.heappush(events, (max(now, min(orphans)) + 2.0, number))
            continue
        heapq.heappush(events, (after, number))
    busy = account.making + account.lost + account.loading + account.looking + account.away
    account.waiting = max(cluster.workers * account.end - busy, 0.0)
    account.operations += cluster.workers * account.end / HEARTBEAT
    return account


def _begin(
    worker: _Worker, now: float, cluster: Cluster, account: Account, rng: random.Random
) -> None:
    """A job starts: it loads the model and begins at its own stretch."""
    worker.stretch, worker.passed, worker.at = worker.number, 0, 0
    worker.job_ends = now + cluster.limit
    worker.dies = now + cluster.load + rng.expovariate(1 / cluster.lifetime)
    account.loading += cluster.load


def _step(
    worker: _Worker,
    now: float,
    stretches: list[_Stretch],
    cluster: Cluster,
    account: Account,
    rng: random.Random,
) -> float | None:
    """Find one cell and make it; gives when the worker is free again, None where none is left."""
    looked = 0
    while worker.passed < len(stretches):
        stretch = stretches[worker.stretch]
        ripe = [each for each in stretch.orphans if each <= now]
        if ripe or stretch.next < stretch.size:
            break
        looked += stretch.size - worker.at
        worker.passed += 1
        worker.stretch, worker.at = (worker.stretch + 1) % len(stretches), 0
    else:
        _look(looked, cluster, account)
        return None
    if ripe:
        stretch.orphans.remove(ripe[0])
    else:
        looked += max(stretch.next - worker.at, 0) + 1
        stretch.next += 1
        worker.at = stretch.next
    begin = now + _look(looked, cluster, account)
    account.operations += CLAIM
    seconds = max(rng.gauss(cluster.cell, cluster.spread * cluster.cell), 1.0)
    if begin + seconds > worker.dies:
        return _die(worker, begin, stretch, cluster, account, rng)
    account.operations += MAKE + RELEASE
    account.making += seconds
    account.finished += 1
    account.end = max(account.end, begin + seconds)
    return begin + seconds


def _look(cells: int, cluster: Cluster, account: Account) -> float:
    """Look at so many cells; gives how long it takes."""
    account.operations += LOOK * cells
    account.looks += cells
    account.looking += cells * cluster.look
    return cells * cluster.look


def _die(
    worker: _Worker,
    begin: float,
    stretch: _Stretch,
    cluster: Cluster,
    account: Account,
    rng: random.Random,
) -> float:
    """The worker dies with a cell at hand; gives when its next job is ready."""
    died = max(worker.dies, begin)
    account.deaths += 1
    account.lost += died - begin
    account.away += cluster.away
    stretch.orphans.append(died + cluster.lease)
    _begin(worker, died + cluster.away, cluster, account, rng)
    return died + cluster.away + cluster.load


def report(cluster: Cluster, account: Account) -> str:
    """The account as a table, and what would break first."""
    whole = account.end * cluster.workers
    rows = [
        ("making cells", account.making),
        ("work thrown away by deaths", account.lost),
        ("loading models", account.loading),
        ("looking at cells", account.looking),
        ("dead, waiting for the queue", account.away),
        ("idle at the end", account.waiting),
    ]
    ideal = cluster.cells * cluster.cell / cluster.workers
    rate = account.operations / account.end
    lines = [
        f"{cluster.cells:,} cells of {cluster.cell:g} s on {cluster.workers} workers, "
        f"{account.deaths:,} deaths",
        f"{account.end / 3600:.1f} h; without failures, loading and looking {ideal / 3600:.1f} h",
        *(f"  {name:<30}{seconds / whole:8.3%}" for name, seconds in rows),
        f"{account.operations / cluster.cells:.0f} file operations per cell, of which "
        f"{account.looks / cluster.cells:.0f} are looks at others' cells; {rate:,.0f} per second",
        "what breaks first: " + _limit(cluster, account),
    ]
    return "\n".join(lines)


def _limit(cluster: Cluster, account: Account) -> str:
    """Which resource runs out first as the cluster grows."""
    looks = account.looks / account.operations
    if looks > 0.5:
        return (
            f"the file server's metadata: {looks:.0%} of all operations are workers passing "
            f"cells that others have made. Split the study (a variant each) beyond "
            f"{cluster.cells:,} cells."
        )
    return "the queue: more time goes into loading models than into the study's own upkeep."


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    defaults = Cluster()
    for name in Cluster.__dataclass_fields__:
        value = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value}")
    cluster = Cluster(**vars(parser.parse_args()))
    print(report(cluster, play(cluster)))


if __name__ == "__main__":
    main()
