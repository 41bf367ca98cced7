"""What a person sees while cells are made: bars on a terminal, one line per section in a log."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.cell import CellError, Key

PIPE_WIDTH = 1000
"""Characters: no path or command is longer, so none is broken for who copies or searches it."""


def console() -> Console:
    """For tables: as wide as the terminal, and never folding a line elsewhere."""
    shown = Console(highlight=False)
    return shown if shown.is_terminal else Console(width=PIPE_WIDTH, highlight=False)


class Display(Protocol):
    """Where the making of cells is shown."""

    def __enter__(self) -> "Display": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def begin(self, keys: Sequence[Key], sections: int) -> None:
        """A batch of cells begins; each of its videos has so many sections."""

    def section(self, number: int, sections: int) -> None:
        """Section `number` (from 1) of the batch is done."""

    def made(self, key: Key) -> None:
        """A cell is finished."""

    def failed(self, key: Key, error: CellError) -> None:
        """A cell has failed."""

    def elsewhere(self, count: int) -> None:
        """Other processes have finished so many cells that this one had before it."""

    def note(self, text: str) -> None:
        """Something to say in a line of its own."""


def display(total: int, stream: TextIO | None = None) -> Display:
    """Bars where the stream is a terminal, plain lines elsewhere.

    Args:
        total: cells that are to be made.
        stream: standard output where it is not given.
    """
    stream = stream or sys.stdout
    return Bars(total, stream) if stream.isatty() else Lines(total, stream)


class _Quiet:
    """What both displays have in common: a context that leaves nothing behind."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return


class Lines(_Quiet):
    """One line for each section, flushed at once, for logs."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._done = 0
        self._stream = stream
        self._began = self._last = time.monotonic()
        self._title = ""

    def __enter__(self) -> "Lines":
        return self

    def begin(self, keys: Sequence[Key], sections: int) -> None:
        """Remember what the following lines are about."""
        more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        self._title = f"{keys[0].path}{more}"
        self._last = time.monotonic()

    def section(self, number: int, sections: int) -> None:
        """One line."""
        now = time.monotonic()
        self.note(f"{self._title}: section {number}/{sections}, {now - self._last:.1f} s")
        self._last = now

    def made(self, key: Key) -> None:
        """One line, with the time left at this pace."""
        self._done += 1
        left = (time.monotonic() - self._began) / self._done * (self._total - self._done)
        self.note(f"{key.path}: done, {_clock(left)} left")

    def failed(self, key: Key, error: CellError) -> None:
        """One line."""
        self._done += 1
        self.note(f"{key.path}: failed, {error.kind}: {error.message}")

    def elsewhere(self, count: int) -> None:
        """Count them as done."""
        self._total -= count

    def note(self, text: str) -> None:
        """One line."""
        print(f"[{self._done}/{self._total}] {text}", file=self._stream, flush=True)


class Bars(_Quiet):
    """One bar for the cells, one for the sections of the cell at hand, with the time left."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._cells = self._bars.add_task("cells", total=total)
        self._sections: TaskID = self._bars.add_task("sections", total=None)

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def begin(self, keys: Sequence[Key], sections: int) -> None:
        """Start the sections' bar anew."""
        self._bars.reset(self._sections, total=sections, description=keys[0].path)

    def section(self, number: int, sections: int) -> None:
        """Move the sections' bar."""
        self._bars.update(self._sections, completed=number, total=sections)

    def made(self, key: Key) -> None:
        """Move the cells' bar."""
        self._bars.advance(self._cells)

    def failed(self, key: Key, error: CellError) -> None:
        """Move the cells' bar and say why above it."""
        self._bars.advance(self._cells)
        self.note(f"{key.path}: failed, {error.kind}: {error.message}")

    def elsewhere(self, count: int) -> None:
        """Shorten the cells' bar."""
        self._total -= count
        self._bars.update(self._cells, total=self._total)

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._bars.console.print(text, markup=False, highlight=False)


def _clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
