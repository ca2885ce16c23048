"""Owns how a run is conducted: lock, journal, gate, hooks, signals and display around what carries it out."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from planner import apply, resume, returns, watch
from planner.clock import Clock, RealClock
from planner.errors import Exit, Locked, UsageError
from planner.gate import Gate
from planner.hooks import HookRunner
from planner.interrupt import heeded
from planner.plan import Plan
from planner.policy import Hooks
from planner.run import Entry, Kind, RunRecord, RunState, Step
from planner.runs import OPEN, UNSETTLED, Runs, unsettled
from planner.session import Session
from planner.times import Hours, until
from planner.watch import say

LOOK = 0.5
"""Seconds between two looks at a process that was asked to end."""
KEPT = 366 * 24 * 3600.0
"""Seconds for which runs that are over are remembered."""
SUPERSEDED, ABORTED = "another run was begun", "aborted"
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
    now: Callable[[], float]
    """Unix seconds."""


def wall(clock: Clock) -> Callable[[], float]:
    """Unix seconds; in a demo, time goes as fast as its clock."""
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
        yield Work(site, times.may_start, site.session.apply.hooks)


@contextmanager
def ending(site: Site) -> Iterator["Work"]:
    """Hold the lock of the cluster to end a run: nothing is started, and no hook is told."""
    with site.runs.lock(site.cluster):
        yield Work(site, lambda now: False, Hooks())


class Work:
    """What is done with a run while nobody else does anything to its cluster."""

    def __init__(self, site: Site, may_start: Callable[[float], bool], hooks: Hooks) -> None:
        self._site, self._may_start, self._hooks = site, may_start, hooks
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
            self.leave_out(left.id, SUPERSEDED)
            self.journal.end(left.id, RunState.ABORTED, site.now(), SUPERSEDED)
        now = site.now()
        self.journal.prune(now - KEPT)
        moved = self.journal.moved(site.cluster, now - returns.memory(session.apply)) if kind == "apply" else ()
        self._gate(plan).before_run(now, moved=moved)
        return self.journal.begin(plan, site.cluster, now, kind, of)

    def carry_out(self, run: int) -> Ended:
        """All of a run that is left. KeyboardInterrupt when a person does not wait for what is under way."""
        site, session, record = self._site, self._site.session, self.journal.run(run)
        ended = [entry.number for entry in record.entries if entry.step in ENDED]
        hooks = HookRunner(self._hooks, record.plan, run, site.cluster, os.environ, say)
        with heeded() as stopped, watch.watching(record.plan.migrations, ended, session.clock) as display:
            applier = apply.Applier(
                self.journal, run, session.writable(), clock=session.clock, now=site.now, gate=self._gate(record.plan),
                settings=session.apply, watch=display, hooks=hooks, stop=stopped, may_start=self._may_start,
            )  # fmt: skip
            record = applier.carry_out()
            interrupted = stopped() and record.state is RunState.STOPPED
        return Ended(record, Exit.INTERRUPTED if interrupted else apply.exit_code(record, applier.error))

    def settle(self, record: RunRecord) -> RunRecord:
        """Find out from the cluster what became of what was under way, and say so; it may be so still."""
        session, open_ones = self._site.session, [entry for entry in record.entries if entry.step in UNSETTLED]
        result = resume.reconcile(
            self.journal, record.id, session.writable(), clock=session.clock, now=self._site.now, say=_once(say)
        )
        now = {entry.number: entry for entry in result.entries}
        for entry in open_ones:
            say(f"{watch.named(entry.migration)} {_became(now[entry.number])}")
        return result

    def reopen(self, record: RunRecord) -> int:
        """A run that goes on, if its plan still holds; what failed is tried again."""
        now = self._site.now()
        done = [entry.migration for entry in record.entries if entry.step is Step.DONE]
        under_way = resume.on_either_end(record)
        known = [entry.upid for entry in record.entries if entry.upid]
        self._gate(record.plan).before_run(now, known=known, done=done, under_way=under_way)
        resume.again(self.journal, record.id, self._site.session.writable(), self._site.now)
        self.journal.reopen(record.id, now)
        return record.id

    def abort(self, record: RunRecord) -> Ended:
        """Settle a run, wait for what is under way still, and end it for good."""
        record = self.settle(record)
        if _under_way(record):
            self.journal.reopen(record.id, self._site.now())
            self.journal.ask_to_stop(record.id)
            ended = self.carry_out(record.id)
            record = ended.record
            if ended.exit_code == Exit.INTERRUPTED:
                return ended
        if record.state in OPEN and not _under_way(record):
            self.journal.end(record.id, RunState.ABORTED, self._site.now(), ABORTED)
        record = self.leave_out(record.id, ABORTED)
        return Ended(record, Exit.PARTLY_APPLIED if unsettled(record) else Exit.OK)

    def leave_out(self, run: int, why: str) -> RunRecord:
        """What was not started is not going to be."""
        for entry in self.journal.run(run).entries:
            if entry.step is Step.PLANNED:
                self.journal.record(run, entry.number, Step.SKIPPED, self._site.now(), note=why)
        return self.journal.run(run)

    def _gate(self, plan: Plan) -> Gate:
        """Who says whether this plan may be carried out, measuring what it measured."""
        session = self._site.session
        policy, me = session.judging(plan).policy, session.connected.connection.identity if session.connected else ""
        return Gate(session.writable(), plan, policy, session.settings, session.apply, clock=session.clock, me=me)


def stopped(runs: Runs, record: RunRecord, clock: Clock) -> RunRecord:
    """A run, which is asked to end if it is alive, and waited for until it has."""
    if runs.is_alive(record):
        runs.journal.ask_to_stop(record.id)
        say(
            f"run {record.id} (process {runs.holder(record.cluster)}) was asked to end: what is under way ends first; "
            f"Ctrl-C leaves it to that"
        )
    while runs.is_alive(runs.journal.run(record.id)):
        clock.sleep(LOOK)
    return runs.journal.run(record.id)


def _under_way(record: RunRecord) -> bool:
    """Whether something of it still is, as far as is known."""
    return any(entry.step in (Step.CHECKED, Step.STARTED) for entry in record.entries)


def _became(entry: Entry) -> str:
    """What has become of a migration that was under way, in words."""
    words = {Step.STARTED: f"is still on its way to {entry.migration.target} (task {entry.upid})",
             Step.DONE: f"is on {entry.migration.target}", Step.PLANNED: f"is on {entry.migration.source}"}  # fmt: skip
    return f"{words.get(entry.step, entry.step.value)}{f': {entry.note}' if entry.note else ''}"


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Says nothing twice in a row."""
    last = [""]

    def said(line: str) -> None:
        if line != last[0]:
            say(line)
        last[0] = line

    return said
