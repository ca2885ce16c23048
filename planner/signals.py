"""Owns what a process that takes scheduled looks hears: SIGTERM and Ctrl-C end it, SIGHUP has it read its settings."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from planner.clock import Clock

SLICE = 1.0
"""Seconds that are slept at once: so late a signal is heeded."""


class Signals:
    """The first signal to end is remembered, so that what is under way ends in good order; the next leaves at once."""

    def __init__(self, clock: Clock, on_end: Callable[[], None] = lambda: None) -> None:
        """`on_end` is called when the end is asked for first."""
        self._clock, self._on_end = clock, on_end
        self._told_at: float | None = None
        self._reload = False

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Within it signals are heard. What was ignored stays so, as in a job in the background of a shell."""
        handlers = {signal.SIGTERM: self._end, signal.SIGINT: self._end, signal.SIGHUP: self._again}
        wanted = {number: handler for number, handler in handlers.items() if signal.getsignal(number) != signal.SIG_IGN}
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def ending(self) -> bool:
        """Whether the end was asked for."""
        return self._told_at is not None

    def for_seconds(self) -> float:
        """Since when it was; 0 if it was not."""
        return 0.0 if self._told_at is None else self._clock.now() - self._told_at

    @contextlib.contextmanager
    def heeded(self) -> Iterator[Callable[[], bool]]:
        """For `Site.heed`: who carries out a run asks whether it is to end."""
        yield self.ending

    def reload(self) -> bool:
        """Whether the settings are to be read again; asked once it is not."""
        wanted, self._reload = self._reload, False
        return wanted

    def _end(self, number: int, frame: FrameType | None) -> None:
        if self._told_at is not None:
            raise KeyboardInterrupt
        self._told_at = self._clock.now()
        self._on_end()

    def _again(self, number: int, frame: FrameType | None) -> None:
        self._reload = True


class Pulse:
    """A clock that shows signs of life while it waits; KeyboardInterrupt when it waited too long since the end was
    asked for."""

    def __init__(self, clock: Clock, signals: Signals, grace: float, alive: Callable[[], None]) -> None:
        self._clock, self._signals, self._grace, self._alive = clock, signals, grace, alive

    def now(self) -> float:
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        until = self.now() + seconds
        while (left := until - self.now()) > 0:
            self._alive()
            if self._signals.ending() and self._signals.for_seconds() > self._grace:
                raise KeyboardInterrupt
            self._clock.sleep(min(left, SLICE))
