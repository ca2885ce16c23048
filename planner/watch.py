"""Owns what is seen of a run while it goes on: bars where a person looks at a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from planner.amounts import copied, duration, gib
from planner.plan import Migration
from planner.tasklog import Progress

if TYPE_CHECKING:
    from rich.console import Console

    from planner.clock import Clock
    from planner.run import Step

__all__ = ["Bars", "Lines", "Progress", "Watch", "named", "watching"]

EVERY = 30.0
"""Seconds between two plain lines about one migration."""


class Watch(Protocol):
    """Who is told what happens in a run, as it happens."""

    def started(self, migration: Migration, upid: str) -> None:
        """Its task is under way; in a resumed run it may have been so for long."""

    def progress(self, migration: Migration, progress: Progress) -> None:
        """How far it is."""

    def ended(self, migration: Migration, step: "Step", note: str) -> None:
        """What has become of it, whether it was started or not."""

    def waiting(self, text: str) -> None:
        """Why nothing is started for now."""

    def tick(self, seconds_left: float | None) -> None:
        """Time passes; how much is left of the run, as expected."""


@contextmanager
def watching(migrations: Iterable[Migration], ended: Iterable[int], clock: "Clock") -> Iterator[Watch]:
    """Bars on stderr when that is a terminal, else lines. `ended`: numbers of the migrations that need nothing more."""
    from rich.console import Console

    migrations, ended = tuple(migrations), frozenset(ended)
    console = Console(file=cast(TextIO, Calm(sys.stderr)), highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        with Bars(migrations, ended, console) as bars:
            yield bars
    else:
        yield Lines(migrations, ended, clock, say)


def say(line: str) -> None:
    """Tell whoever looks, not whatever reads stdout; a run goes on when nobody does any more."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class Calm:
    """A stream for a console: a run goes on when its terminal is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def named(migration: Migration) -> str:
    """The guest of a migration as people know it."""
    return f"guest {migration.vmid} ({migration.name})" if migration.name else f"guest {migration.vmid}"


def _size(migration: Migration) -> int:
    """MiB that it copies; never nothing, so that each counts in the whole."""
    return max(1, migration.memory_mib + migration.local_disk_mib)


def _outcome(migration: Migration, step: "Step", note: str) -> str:
    if step.value == "done":
        return f"{named(migration)} is on {migration.target}{f' ({note})' if note else ''}"
    if note.startswith(f"guest {migration.vmid} "):
        return f"{step.value}: {note}"
    return f"{named(migration)} {step.value}{f': {note}' if note else ''}"


class Lines:
    """A line when a migration starts and ends, and now and then how far it is."""

    def __init__(
        self, migrations: tuple[Migration, ...], ended: frozenset[int], clock: "Clock", say: Callable[[str], None]
    ) -> None:
        self._clock, self._say = clock, say
        self._all, self._ended = len(migrations), set(ended)
        self._said: dict[int, float] = {}
        self._reason = ""
        self._left: float | None = None

    def started(self, migration: Migration, upid: str) -> None:
        self._reason = ""
        self._said[migration.number] = self._clock.now()
        self._say(f"{named(migration)}: {migration.source} -> {migration.target}, {gib(_size(migration))}")

    def progress(self, migration: Migration, progress: Progress) -> None:
        now = self._clock.now()
        if now - self._said.setdefault(migration.number, now) < EVERY:
            return
        self._said[migration.number] = now
        speed = "" if progress.mib_per_second is None else f", {progress.mib_per_second:.0f} MiB/s"
        self._say(f"{named(migration)}: {copied(progress.done_mib, progress.total_mib)}{speed}")

    def ended(self, migration: Migration, step: "Step", note: str) -> None:
        self._reason = ""
        self._ended.add(migration.number)
        left = "" if self._left is None or len(self._ended) == self._all else f", about {duration(self._left)} left"
        self._say(f"{_outcome(migration, step, note)} [{len(self._ended)} of {self._all}{left}]")

    def waiting(self, text: str) -> None:
        if text != self._reason:
            self._say(text)
        self._reason = text

    def tick(self, seconds_left: float | None) -> None:
        self._left = seconds_left


class Bars:
    """A bar for each migration that is under way, and one for the whole run."""

    def __init__(self, migrations: tuple[Migration, ...], ended: frozenset[int], console: "Console") -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Display

        self._sizes = {migration.number: _size(migration) for migration in migrations}
        self._parts = {number: float(self._sizes[number]) for number in ended if number in self._sizes}
        self._ended = set(self._parts)
        self._tasks: dict[int, Any] = {}
        self._reason = ""
        self._display = Display(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[what]}"),
            console=console, transient=True,
        )  # fmt: skip
        self._whole = self._display.add_task("the whole run", total=sum(self._sizes.values()) or 1, what="")

    def __enter__(self) -> "Bars":
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()

    def started(self, migration: Migration, upid: str) -> None:
        self._reason = ""
        if migration.number not in self._tasks:
            about = f"{migration.vmid} {migration.name}  {migration.source} -> {migration.target}"
            self._tasks[migration.number] = self._display.add_task(about, total=None, what="")

    def progress(self, migration: Migration, progress: Progress) -> None:
        self.started(migration, "")
        speed = "" if progress.mib_per_second is None else f"  {progress.mib_per_second:.0f} MiB/s"
        what = f"{copied(progress.done_mib, progress.total_mib)}{speed}"
        total, done = progress.total_mib or None, progress.done_mib
        self._display.update(self._tasks[migration.number], total=total, completed=done, what=what)
        share = min(1.0, done / total) if total else 0.0
        self._parts[migration.number] = share * self._sizes.get(migration.number, 0)

    def ended(self, migration: Migration, step: "Step", note: str) -> None:
        self._reason = ""
        if (task := self._tasks.pop(migration.number, None)) is not None:
            self._display.remove_task(task)
        self._ended.add(migration.number)
        self._parts[migration.number] = float(self._sizes.get(migration.number, 0))
        if step.value != "done" or note:  # the rest is in the report, which follows
            style = "red" if step.value in ("failed", "unknown") else "yellow"
            self._display.console.print(_outcome(migration, step, note), style=style, markup=False, soft_wrap=True)

    def waiting(self, text: str) -> None:
        self._reason = text

    def tick(self, seconds_left: float | None) -> None:
        left = f", about {duration(seconds_left)} left" if seconds_left else ""
        reason = f"; {self._reason}" if self._reason else ""
        what = f"{len(self._ended)} of {len(self._sizes)}{left}{reason}"
        self._display.update(self._whole, completed=sum(self._parts.values()), what=what)
