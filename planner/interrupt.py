"""Owns what Ctrl-C, SIGTERM and SIGHUP do to a run: the first ends it in good order, the second leaves at once."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STDERR = 2
STOPPING = b"stopping: no more is started, what is under way is waited for; once more Ctrl-C leaves at once\n"


@contextlib.contextmanager
def heeded() -> Iterator[Callable[[], bool]]:
    """Within it the first signal is only remembered, which the function that it gives tells; the next one raises
    KeyboardInterrupt."""
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if len(heard) > 1:
            raise KeyboardInterrupt
        with contextlib.suppress(OSError):  # not print: the signal may have come in the middle of one
            os.write(STDERR, STOPPING)

    # What is ignored stays so, as in a job in the background of a shell that Ctrl-C is not for.
    before = {number: signal.signal(number, hear) for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield lambda: bool(heard)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
