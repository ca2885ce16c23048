"""Owns what Ctrl-C and SIGTERM do to a run: the first ends it in good order, the second leaves at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPING = "stopping: no more is started, what is under way is waited for; once more Ctrl-C leaves at once"


@contextmanager
def heeded(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Within it the first signal is only remembered, which the function that it gives tells; the next one raises
    KeyboardInterrupt, as without it."""
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if len(heard) > 1:
            raise KeyboardInterrupt
        say(STOPPING)

    before = {number: signal.signal(number, hear) for number in SIGNALS}
    try:
        yield lambda: bool(heard)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
