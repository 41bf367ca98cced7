"""Time that never goes backwards, because what a rater watched is measured with it."""

from __future__ import annotations

import time
from collections.abc import Callable


def _steady() -> float:
    """Seconds since some start; goes on while the machine sleeps, where the system can say so."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class Clock:
    """Unix time, set once and then driven by a steady counter.

    Args:
        not_before: the last moment on record: a machine whose clock was set back between two runs
            must not stamp votes before those it has.
        wall: what the machine's clock says (replaced in tests).
        steady: a counter that only goes forward (replaced in tests).
    """

    def __init__(
        self,
        not_before: float = 0.0,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = _steady,
    ) -> None:
        self._steady = steady
        self._offset = max(wall(), not_before) - steady()

    def now(self) -> float:
        """Unix time in seconds."""
        return self._offset + self._steady()
