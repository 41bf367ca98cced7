"""Time on the clock and time of the processor, side by side."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """Seconds."""

    clock: float = 0.0
    processor: float = 0.0
    """Of all threads together."""

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.clock + other.clock, self.processor + other.processor)


class Clock:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._clock, self._processor = time.perf_counter(), time.process_time()

    def spent(self) -> Spent:
        """Since then."""
        return Spent(time.perf_counter() - self._clock, time.process_time() - self._processor)
