"""Who works on what: leases that many machines agree on without locks or a server.

The problem: thousands of processes, on machines that share nothing but a file system, take pieces
of work. No piece may be worked on twice at once; a piece whose worker died must be taken over.
Locks do not do it (`flock` and `fcntl` are off, local or stale on many network file systems), and
a server is one more thing to run. What every file system does give is one atomic operation, the
creation of a name: `link` either makes the name or says that it exists, decided by the file
server. All of this module rests on it.

- A **worker** is a file `STUDY/claims/worker@PROCESS-RANDOM`, which says who it is. A thread
  touches it every few seconds: the heartbeat.
- A **claim** is a hard link to the worker's file, named after the work and a generation:
  `generate@VARIANT@PROMPT_SEED@1`. Making it is one operation, and as it *is* the worker's file,
  one heartbeat keeps all of a worker's claims alive, and reading it says whose it is.
- A claim is **dead** when its process is known to be gone (same machine), or when its heartbeat
  is older than the lease. Age is read from the file server's clock on both sides (the claim's time
  against that of our own file, touched just now), so the clocks of the machines do not matter.
- A dead claim is **taken over** by making the next generation, `...@2`. Nothing is removed first,
  so of two workers that see the same dead claim exactly one gets the next name. (Removing and
  creating anew would let the second remove what the first has just created.)
  Whose turn it is, is therefore said by the last of the unbroken row of generations from 1.
  Who takes over also inherits what the dead worker left half done (`inherit`): nobody else may
  touch it before, and once the work itself is finished nobody would look at it again.
- A claim is **released** by removing its generations upwards, its own last. Whoever looks in
  between makes generation 1, finds a later one above it and judges that one first; and whoever
  gets a claim looks at the work again before starting, because it may be finished by now.
  A worker that wakes up after its lease finds its claim taken over, and removes nothing: the row
  is the new owner's, and a gap in it would give the work away a second time.

The trade-off: a lease cannot tell dead from slow. A worker that the system froze for longer than
its lease wakes up believing it holds its claims. Therefore `held` is asked before results are put
in place, and the result itself is put in place by `link` as well (bench.files.create_once), so
even then a cell has one record; what is lost is computing time. A short lease wastes work on
slow heartbeats, a long one lets dead work lie: the default of 90 s is six heartbeats, and more
than the time for which NFS clients cache attributes (60 s).

Where the file system has no hard links the claim is a copy made by exclusive creation, and the
heartbeat touches every copy: more operations, the same rules.
"""

import contextlib
import hashlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.processes import Process

HEARTBEAT = 15.0
"""Seconds between two heartbeats."""
LEASE = 90.0
"""Seconds without a heartbeat after which a worker of another machine counts as dead."""
NAME_LIMIT = 200
"""Characters of a work's name that a file name carries; file systems stop at 255."""


@dataclass(frozen=True)
class Claim:
    """A claim as found in the folder: whose it is and how long ago it gave a sign of life."""

    work: str
    generation: int
    process: Process | None
    about: dict[str, str]
    age: float
    alive: bool


class Worker:
    """One process's presence in a folder of claims; use it as a context manager.

    Entering begins the heartbeat; leaving releases all claims and removes the worker's file.

    Args:
        folder: the folder of claims, made where it does not exist.
        lease: seconds without a heartbeat after which others count as dead.
        about: what readers of a claim should know (host, SLURM job, ...).
        inherit: called with the file name of every dead worker's claim that this one has taken
            over; it cleans up behind the dead one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lease: float = LEASE,
        about: dict[str, str] | None = None,
        inherit: Callable[[str], None] = lambda claim: None,
    ) -> None:
        self.folder = folder
        self.lease = lease
        self.name = f"worker@{Process.current()}-{secrets.token_hex(3)}"
        self.about = {"host": socket.gethostname(), **(about or {})}
        self._inherit = inherit
        self._file = folder / self.name
        self._held: dict[str, int] = {}
        self._copies: set[Path] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Worker":
        self._sign()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release(list(self._held))
        for claim in read_claims(self.folder, self.lease):
            # Ours still, if we were interrupted between making or removing it and noting that.
            self._remove(claim.work, claim.generation)
        self._bury()
        self._stop.set()
        self._thread.join()
        self._file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()  # succeeds for the last worker only

    def claim(self, work: Iterable[str]) -> bool:
        """Take all of these pieces of work, or none of them."""
        taken: list[str] = []
        for name in work:
            generation = 0 if name in self._held else self._take(file_name(name))
            if not generation:
                self.release(taken)
                return False
            self._held[name] = generation
            taken.append(name)
        return True

    def held(self, work: str) -> bool:
        """Whether the claim is still ours: nobody has made a later generation of it."""
        generation = self._held.get(work)
        return generation is not None and self._ours(file_name(work), generation)

    def release(self, work: Iterable[str]) -> None:
        """Give claims back, whether the work is done or not."""
        for name in list(work):
            self._remove(file_name(name), self._held.pop(name, 0))

    def _ours(self, stem: str, generation: int) -> bool:
        """Whether a row of generations ends with this one, and it is our claim, not a later one's
        of the same name."""
        try:
            content = (self.folder / f"{stem}@{generation}").read_text("utf-8")
        except FileNotFoundError:
            return False
        return self.name in content and not (self.folder / f"{stem}@{generation + 1}").exists()

    def _remove(self, stem: str, generation: int) -> None:
        """Remove a row of generations that ends with ours."""
        row = [self.folder / f"{stem}@{number}" for number in range(1, generation + 1)]
        self._copies.difference_update(row)
        for path in row if self._ours(stem, generation) else ():
            path.unlink(missing_ok=True)

    def _sign(self) -> None:
        """Write our file, which all claims are links to."""
        content = json.dumps({"process": self.name, **self.about})
        while not self._file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            # Another worker, the last so far, may remove the empty folder just now.
            with contextlib.suppress(FileNotFoundError):
                self._file.write_text(content, "utf-8")

    def _now(self) -> float:
        """The file server's time: our file, touched and looked at.

        A machine that was suspended for long finds its file buried, and signs anew.
        """
        try:
            os.utime(self._file)
        except FileNotFoundError:
            self._sign()
        return self._file.stat().st_mtime

    def _take(self, stem: str) -> int:
        """Make the first free generation above dead ones; 0 where the work is somebody's."""
        made: list[Path] = []
        generation = 1
        while True:
            path = self.folder / f"{stem}@{generation}"
            above = self.folder / f"{stem}@{generation + 1}"
            if self._link(path):
                if not above.exists():
                    if generation > 1:
                        self._inherit(stem)
                    return generation
                made.append(path)  # somebody died, or is, in the middle of a release
            elif self._lives(path) and not above.exists():
                for mine in made:
                    mine.unlink(missing_ok=True)
                return 0
            generation += 1

    def _lives(self, path: Path) -> bool:
        """Whether a claim is to be respected; one that vanishes as we look is: look again later."""
        claim = _read(path, self.lease, self._now())
        return claim is None or claim.alive

    def _link(self, path: Path) -> bool:
        """Make a claim's name; False where it exists."""
        try:
            os.link(self._file, path)
        except FileNotFoundError:  # others have buried us
            self._sign()
            return self._link(path)
        except FileExistsError:
            # The answer to an earlier try may have been lost on the network: is it our own file?
            with contextlib.suppress(FileNotFoundError):
                return path.samefile(self._file)
            return False
        except OSError:
            return self._copy(path)
        return True

    def _copy(self, path: Path) -> bool:
        """The same on a file system without hard links."""
        try:
            with path.open("xb") as file:
                file.write(self._file.read_bytes())
        except FileExistsError:
            return False
        self._copies.add(path)
        return True

    def _beat(self) -> None:
        """Touch our file until told to stop; a beat that fails is made up for by the next."""
        while not self._stop.wait(min(HEARTBEAT, self.lease / 6)):
            for path in [self._file, *self._copies]:
                with contextlib.suppress(OSError):
                    os.utime(path)

    def _bury(self) -> None:
        """Remove what dead workers left: their claims, by taking them over, and their files.

        A worker that died between finishing a cell and releasing it leaves a claim on work that
        nobody will ever claim again.
        """
        now = self._now()
        for claim in read_claims(self.folder, self.lease, now):
            if not claim.alive:
                self._remove(claim.work, self._take(claim.work))
        for path in self.folder.glob("worker@*"):
            with contextlib.suppress(FileNotFoundError):
                process = Process.parse(path.name)
                gone = process.alive() if process else None
                if gone is False or (gone is None and now - path.stat().st_mtime > 10 * self.lease):
                    path.unlink()


def file_name(work: str) -> str:
    """The file name of a piece of work, without the generation: safe, short and unambiguous."""
    name = work.replace("/", "@")
    if len(name) <= NAME_LIMIT:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: NAME_LIMIT - 17]}~{digest}"


def read_claims(folder: Path, lease: float = LEASE, now: float | None = None) -> list[Claim]:
    """The latest generation of every claim in a folder.

    Args:
        folder: the folder of claims; it need not exist.
        lease: seconds without a heartbeat after which a claim counts as dead.
        now: the file server's time; the local clock where it is not given (good for looking).
    """
    latest: dict[str, int] = {}
    for name in _names(folder):
        work, _, generation = name.rpartition("@")
        if generation.isdecimal() and not name.startswith("worker@"):
            latest[work] = max(latest.get(work, 0), int(generation))
    clock = time.time() if now is None else now
    paths = (folder / f"{work}@{generation}" for work, generation in sorted(latest.items()))
    return [claim for path in paths if (claim := _read(path, lease, clock)) is not None]


def _read(path: Path, lease: float, now: float) -> Claim | None:
    """One claim; None where it is gone."""
    try:
        # Opening asks the server anew; a plain stat may be answered from the client's cache.
        with path.open("rb") as file:
            content = file.read()
            seen = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        about = json.loads(content)
    except json.JSONDecodeError:
        about = {}  # a copy that is being written
    work, _, generation = path.name.rpartition("@")
    process = Process.parse(about.pop("process", ""))
    gone = process is not None and process.alive() is False
    age = now - seen
    return Claim(work, int(generation), process, about, age, not gone and age <= lease)


def _names(folder: Path) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name
