"""How a run is asked to stop, and how it answers.

- Ctrl-C (SIGINT) and SIGTERM drop what is at hand: claims are given back and temporary files go,
  finished cells stay. A second Ctrl-C ends the process where it stands; the next run cleans up.
- SIGUSR1 is SLURM's warning that the time limit is near (`--signal=B:USR1@SECONDS`): no new cell
  is begun, and the one at hand may use the time that is left.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

MARGIN = 10.0
"""Seconds before the announced end at which the cell at hand is dropped."""


class Stopped(BaseException):
    """The run was asked to stop; not an `Exception`, so that no cell takes it for its failure."""


class Stop:
    """Whether the run is to go on.

    Args:
        time_limit: seconds after which no new cell is begun; None for no limit.
        grace: seconds between SIGUSR1 and the end.
    """

    def __init__(self, time_limit: float | None = None, grace: float = 120.0) -> None:
        self._no_more_after = None if time_limit is None else time.monotonic() + time_limit
        self._drop_after: float | None = None
        self._grace = grace
        self.warned = False
        """Whether SIGUSR1 came."""

    @property
    def soon(self) -> bool:
        """Begin no new cell."""
        if self.warned:
            return True
        return self._no_more_after is not None and time.monotonic() > self._no_more_after

    def check(self) -> None:
        """Called between sections: raises `Stopped` when the time for the cell at hand is over."""
        if self._drop_after is not None and time.monotonic() > self._drop_after:
            raise Stopped("the time limit is reached")

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Answer signals meanwhile; does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        old = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, self._terminate),
            signal.SIGUSR1: signal.signal(signal.SIGUSR1, self._warn),
        }
        try:
            yield self
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: cleaning up has begun
        raise Stopped("SIGTERM")

    def _warn(self, number: int, frame: FrameType | None) -> None:
        self.warned = True
        self._drop_after = time.monotonic() + max(self._grace - MARGIN, 0.0)
