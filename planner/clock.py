"""Owns time: everything that waits takes a clock as an argument."""

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since some moment, and waiting."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class RealClock:
    """The clock on the wall."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FastClock:
    """A clock that runs `speed` times as fast; with no speed it jumps without waiting."""

    def __init__(self, speed: float | None = None) -> None:
        self._now, self._speed = 0.0, speed

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        if self._speed:
            time.sleep(seconds / self._speed)
        self._now += seconds
