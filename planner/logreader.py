"""Owns the reading of a task log that grows: each line is asked for once."""

import re

from planner import tasklog
from planner.errors import PlannerError
from planner.sight import Sight

EVERY = 5.0
"""Seconds between two readings."""
KEPT = 50
"""Newest lines that are kept as they are; of those before them only what counts."""

VARIES = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d |^\d\d:\d\d:\d\d |, [^,]*/s$| in (?:\d+[dhms] ?)+")
"""What changes in what is said again and again although nothing gets on: times, and how fast it was lately."""


class LogReader:
    """What the log of one migration has said so far."""

    def __init__(self) -> None:
        self._upid = ""
        self._lines: list[str] = []
        self._read, self._next = 0, 0.0
        self._heard: set[str] = set()
        self.changed: float | None = None
        """When it last said something new: that a task still waits, again and again, is not."""

    def read(self, sight: Sight, upid: str, now: float) -> tasklog.Progress | None:
        """How far it is; None when there is nothing new, or it cannot be read."""
        if upid != self._upid:
            self._upid, self._lines, self._read, self._next = upid, [], 0, now
        if now < self._next:
            return None
        self._next = now + EVERY
        try:
            fresh = sight.log(upid, self._read)
        except PlannerError:
            return None  # whether the task gets on is found out elsewhere
        self._read += len(fresh)
        if len(self._lines) > 2 * KEPT:
            self._lines = [*tasklog.essence(self._lines[:-KEPT]), *self._lines[-KEPT:]]
        self._lines += fresh
        if not self._heard.issuperset(said := {VARIES.sub("", line) for line in fresh}):
            self.changed = now
            self._heard |= said
        return tasklog.progress(self._lines) if fresh else None
