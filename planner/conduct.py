"""Owns how a run is conducted: lock, journal, gate, hooks, signals and display around what carries it out."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from planner import apply, watch
from planner.assumptions import check_assumptions
from planner.clock import RealClock
from planner.errors import Exit, Locked, UsageError
from planner.hooks import HookRunner
from planner.interrupt import heeded
from planner.plan import Migration, Plan
from planner.run import Kind, RunRecord, RunState, Step
from planner.runs import Runs, unsettled
from planner.session import Session
from planner.times import Hours, until

LOOK = 0.5
"""Seconds between two looks at a process that was asked to end."""
SUPERSEDED = "another run was begun"
ENDED = (Step.DONE, Step.FAILED, Step.SKIPPED)
"""Steps of migrations that need nothing more."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run, and the code with which its process ends."""

    record: RunRecord
    exit_code: int


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster, by its name, and the runs of this machine."""

    session: Session
    runs: Runs
    cluster: str

    @property
    def now(self) -> Callable[[], float]:
        """Unix seconds; in a demo, time goes as fast as its clock."""
        clock = self.session.clock
        if isinstance(clock, RealClock):
            return time.time
        offset = time.time() - clock.now()
        return lambda: offset + clock.now()


class Times:
    """When migrations may be started."""

    def __init__(self, site: Site) -> None:
        settings, self._site = site.session.apply, site
        now = datetime.fromtimestamp(site.now(), UTC).astimezone()
        self._hours = Hours(settings.window)
        self._until = None if settings.deadline is None else until(settings.deadline, now)
        if self._until and self._hours.opens(now) >= self._until:
            raise UsageError(f"the deadline {settings.deadline} is over before the window {settings.window[0]} begins")

    def may_start(self, at: float) -> bool:
        """Whether this is an hour to start migrations at."""
        moment = datetime.fromtimestamp(at, UTC).astimezone()
        return self._hours.open(moment) and (self._until is None or moment < self._until)

    def wait(self, say: Callable[[str], None]) -> None:
        """Wait for a window."""
        now = self._site.now
        opens = self._hours.opens(datetime.fromtimestamp(now(), UTC).astimezone())
        if now() < opens.timestamp():
            say(f"waiting until {opens:%Y-%m-%d %H:%M}, when the window begins")
        while now() < opens.timestamp():
            self._site.session.clock.sleep(min(60.0, max(0.0, opens.timestamp() - now())))


@contextmanager
def at_work(site: Site) -> Iterator["Work"]:
    """Wait for a window, then hold the lock of the cluster. Locked when another process has it."""
    times = Times(site)
    times.wait(say)
    with site.runs.lock(site.cluster):
        yield Work(site, times)


class Work:
    """What is done with a run while nobody else does anything to its cluster."""

    def __init__(self, site: Site, times: Times) -> None:
        self._site, self._times = site, times
        self.journal = site.runs.journal

    def begin(self, plan: Plan, kind: Kind = "apply", of: int | None = None) -> int:
        """A new run of a plan that still holds. Runs that were left open and have nothing under way are closed."""
        site, session = self._site, self._site.session
        while (left := self.journal.unfinished(site.cluster)) is not None:
            if guests := unsettled(left):
                raise Locked(
                    f"run {left.id} was interrupted, and {guests[0]} may still be on its way: "
                    f"`proxlb-plan resume {left.id}` or `proxlb-plan abort {left.id}` finds out"
                )
            self._close(left, SUPERSEDED)
        check_assumptions(plan, session.cluster(), session.settings)
        return self.journal.begin(plan, site.cluster, site.now(), kind, of)

    def carry_out(self, run: int) -> Ended:
        """All of a run that is left. KeyboardInterrupt when a person does not wait for what is under way."""
        site, session, record = self._site, self._site.session, self.journal.run(run)
        ended = [entry.number for entry in record.entries if entry.step in ENDED]
        hooks = HookRunner(session.apply.hooks, record.plan, run, site.cluster, os.environ, say)
        with heeded() as stopped, watch.watching(record.plan.migrations, ended, session.clock) as display:
            applier = apply.Applier(
                self.journal, run, session.writable(), clock=session.clock, now=site.now, gate=_Open(),
                settings=session.apply, watch=display, hooks=hooks, stop=stopped, may_start=self._times.may_start,
            )  # fmt: skip
            record = applier.carry_out()
            interrupted = stopped() and record.state is RunState.STOPPED
        if record.of is not None and record.state is RunState.DONE:
            self.journal.end(record.of, RunState.ROLLED_BACK, site.now(), f"by run {run}")
        return Ended(record, Exit.INTERRUPTED if interrupted else apply.exit_code(record, applier.error))

    def settle(self, record: RunRecord) -> RunRecord:
        """Find out from the cluster what became of what was under way; it may be so still."""
        return record

    def reopen(self, record: RunRecord) -> int:
        """A run that goes on."""
        self.journal.reopen(record.id, self._site.now())
        return record.id

    def abort(self, record: RunRecord) -> RunRecord:
        """Settle a run as far as possible, and end it for good."""
        self._close(self.settle(record), "aborted")
        return self.journal.run(record.id)

    def _close(self, record: RunRecord, why: str) -> None:
        """Leave out what was not started, and end a run for good."""
        for entry in record.entries:
            if entry.step is Step.PLANNED:
                self.journal.record(record.id, entry.number, Step.SKIPPED, self._site.now(), note=why)
        self.journal.end(record.id, RunState.ABORTED, self._site.now(), why)


def stopped(site: Site, record: RunRecord) -> RunRecord:
    """Ask a run that is alive to end, and wait until it has."""
    if not site.runs.is_alive(record):
        return record
    site.runs.journal.ask_to_stop(record.id)
    say(f"run {record.id} (process {site.runs.holder(site.cluster)}) was asked to end: what is under way ends first")
    while site.runs.is_alive(record):
        site.session.clock.sleep(LOOK)
    return site.runs.journal.run(record.id)


class _Open:
    def check(self, migration: Migration, under_way: Sequence[Migration]) -> None: ...


def say(line: str) -> None:
    """Tell whoever looks, not whatever reads stdout."""
    print(line, file=sys.stderr, flush=True)
