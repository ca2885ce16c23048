"""Owns how a run is conducted: lock, journal, gate, hooks, signals and display around what carries it out."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from planner import apply, patience, resume, returns, runs, watch
from planner.clock import Clock
from planner.errors import Exit, Locked, PlannerError, StalePlan, UsageError
from planner.gate import Gate
from planner.hooks import HookRunner
from planner.plan import Plan
from planner.run import Entry, Kind, Moved, RunRecord, RunState, Step
from planner.runs import OPEN, UNSETTLED, Runs, unsettled
from planner.site import Site, wall
from planner.times import Hours, until
from planner.watch import say

__all__ = ["Ended", "Site", "Times", "Work", "at_work", "ending", "stopped", "wall"]

LOOK = 0.5
"""Seconds between two looks at a process that was asked to end."""
KEPT = 366 * 24 * 3600.0
"""Seconds for which runs that are over are remembered."""
ABORTED = "aborted"
ENDED = (Step.DONE, Step.FAILED, Step.SKIPPED)
"""Steps of migrations that need nothing more."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run, and the code with which its process ends."""

    record: RunRecord
    exit_code: int
    error: PlannerError | None = None
    """What ended it, or the first thing in it that failed or was not as planned."""


class Times:
    """When migrations may be started."""

    def __init__(self, site: Site) -> None:
        settings, self._site = site.session.apply, site
        now = datetime.fromtimestamp(site.now(), UTC).astimezone()
        self._hours = Hours(settings.hours)
        self._until = None if settings.deadline is None else until(settings.deadline, now)
        if self._until and self._hours.opens(now) >= self._until:
            raise UsageError(f"the deadline {settings.deadline} is over before the hours {settings.hours[0]} begin")

    def may_start(self, at: float) -> bool:
        """Whether this is an hour to start migrations at."""
        moment = datetime.fromtimestamp(at, UTC).astimezone()
        return self._hours.open(moment) and (self._until is None or moment < self._until)

    def wait(self, say: Callable[[str], None]) -> None:
        """Wait for the hours of the day."""
        now = self._site.now
        moment = datetime.fromtimestamp(now(), UTC).astimezone()
        opens = self._hours.opens(moment)
        if opens == moment:
            return
        say(f"waiting until {opens:%Y-%m-%d %H:%M}, when the hours begin")
        while now() < opens.timestamp():
            self._site.session.clock.sleep(min(60.0, max(0.0, opens.timestamp() - now())))


@contextmanager
def at_work(site: Site) -> Iterator["Work"]:
    """Wait for the hours of the day, then hold the lock of the cluster. Locked when another process has it."""
    times = Times(site)
    times.wait(site.say)
    with site.runs.lock(site.cluster) as note:
        yield Work(site, times.may_start, note)


@contextmanager
def ending(site: Site, item: RunRecord) -> Iterator["Work"]:
    """Hold the lock of the cluster to end a run, in which nothing is started any more."""
    with ExitStack() as stack:
        note = _taken(site, item, stack)
        note(item.id)
        yield Work(site, lambda now: False, note)


def _taken(site: Site, item: RunRecord, stack: ExitStack) -> Callable[[int], None]:
    """Take the lock. Whoever was quicker and goes on with the run is asked to end as well."""
    while True:
        try:
            return stack.enter_context(site.runs.lock(site.cluster))
        except Locked:
            if site.runs.process(item) is None:
                raise
        stopped(site.runs, item, site.session.clock)


class Work:
    """What is done with a run while nobody else does anything to its cluster."""

    def __init__(self, site: Site, may_start: Callable[[float], bool], note: Callable[[int], None]) -> None:
        self._site, self._may_start, self._note = site, may_start, note
        self._hooks = site.session.apply.hooks
        self.journal = site.runs.journal

    def begin(self, plan: Plan, kind: Kind = "apply", of: int | None = None) -> int:
        """A new run of a plan that still holds, in place of those that were left open with nothing under way."""
        site = self._site
        left = self._check_settled()
        now = site.now()
        self._gate(plan).before_run(now, moved=() if kind == "rollback" else self._moved(now))
        run = self.journal.begin(plan, site.cluster, now, kind, of, [item.id for item in left])
        self._note(run)
        for item in left:
            self._tell_end(item)
        self.journal.prune(now - KEPT)
        return run

    def approve(self, run: int) -> int:
        """A run that was proposed begins, if its plan still holds. UsageError when it is not proposed any more."""
        record = self.journal.run(run)
        runs.check_proposed(record)
        self._check_settled()
        now = self._site.now()
        self._gate(record.plan).before_run(now, moved=self._moved(now))
        try:
            self.journal.approve(run, now)
        except ValueError:  # a look has withdrawn it meanwhile
            runs.check_proposed(self.journal.run(run))
            raise
        self._note(run)
        return run

    def _moved(self, now: float) -> tuple[Moved, ...]:
        """What earlier runs have migrated, as long as that matters."""
        return self.journal.moved(self._site.cluster, now - returns.memory(self._site.session.apply))

    def _check_settled(self) -> list[RunRecord]:
        """The runs that are not over. Locked while something of one may be under way."""
        left = list(self.journal.open(self._site.cluster))
        for item in left:
            if guests := unsettled(item):
                resumed = f"`proxlb-plan resume {item.id}` or " if item.readable else ""
                raise Locked(
                    f"run {item.id} was interrupted, and {guests[0]} may still be on its way: "
                    f"{resumed}`proxlb-plan abort {item.id}` finds out"
                )
        return left

    def take_up(self, run: int) -> RunRecord:
        """A run that is to go on. UsageError when it does not: others may have had it before the lock was ours."""
        self._note(run)
        self.check_open(run)
        return self.journal.run(run)

    def check_open(self, run: int) -> None:
        """UsageError when a run is over, or was told to end."""
        runs.check_open(self._site.runs, self.journal.run(run))

    def check_unchanged(self, record: RunRecord) -> None:
        """UsageError or StalePlan when a run is no longer as it was when its way back was planned."""
        now = self.journal.run(record.id)
        runs.check_revocable(self._site.runs, now)
        if [entry.step for entry in now.entries] != [entry.step for entry in record.entries]:
            raise StalePlan(f"run {record.id} went on meanwhile: ask once more for its way back")

    def carry_out(self, run: int) -> Ended:
        """All of a run that is left. KeyboardInterrupt when a person does not wait for what is under way."""
        hooks = self._told(self.journal.run(run))
        try:
            return self._carry_out(run, hooks)
        except BaseException:
            if hooks.owed:
                what = f"hook after_run ({self._hooks.after_run[0]}) was not told of the end of run {run}"
                self._site.say(
                    f"note: {what}: the next `proxlb-plan resume {run}` or `proxlb-plan abort {run}` tells it"
                )
            raise

    def _carry_out(self, run: int, hooks: HookRunner | None) -> Ended:
        site, session, record = self._site, self._site.session, self.journal.run(run)
        ended = [entry.number for entry in record.entries if entry.step in ENDED]
        with site.heed() as stopped, site.watching(record.plan.migrations, ended, session.clock) as display:
            applier = apply.Applier(
                self.journal, run, session.writable(), clock=session.clock, now=site.now, gate=self._gate(record.plan),
                settings=session.apply, watch=display, hooks=hooks, stop=stopped, may_start=self._may_start,
            )  # fmt: skip
            record = applier.carry_out()
            interrupted = stopped() and record.state is RunState.STOPPED
        code = Exit.INTERRUPTED if interrupted else apply.exit_code(record, applier.error)
        return Ended(record, code, applier.error)

    def settle(self, record: RunRecord) -> RunRecord:
        """Find out from the cluster what became of what was under way, and say so; it may be so still."""
        open_ones = [entry for entry in record.entries if entry.step in UNSETTLED]
        result = self._reconciled(record.id)
        now = {entry.number: entry for entry in result.entries}
        for entry in open_ones:
            self._site.say(f"{watch.named(entry.migration)} {_became(now[entry.number])}")
        return result

    def _reconciled(self, run: int) -> RunRecord:
        session = self._site.session
        return resume.reconcile(
            self.journal,
            run,
            session.writable(),
            clock=session.clock,
            now=self._site.now,
            say=_once(self._site.say),
        )

    def reopen(self, record: RunRecord) -> int:
        """A run that goes on, if its plan still holds and nobody has told it to end; what failed is tried again."""
        self.check_open(record.id)
        now = self._site.now()
        done = [entry.migration for entry in record.entries if entry.step is Step.DONE]
        under_way = resume.on_either_end(record)
        known = [entry.upid for entry in record.entries if entry.upid]
        self._gate(record.plan).before_run(now, known=known, done=done, under_way=under_way)
        anew = resume.again(record, self._site.session.writable())
        self.journal.reopen(record.id, now, anew)
        return record.id

    def abort(self, run: int) -> Ended:
        """Settle a run, wait for what is under way still, and end it for good."""
        before = self.journal.run(run)
        record = self.settle(before)
        exit_code: int = Exit.OK
        if _under_way(record):
            exit_code = self._see_out(record)
        record = self.journal.run(run)
        if exit_code != Exit.INTERRUPTED:
            if record.state in OPEN and not _under_way(record):
                self.journal.abandon(run, self._site.now(), ABORTED)
            else:
                self.journal.leave_out(run, self._site.now(), ABORTED)
            record = self.journal.run(run)
            exit_code = Exit.PARTLY_APPLIED if unsettled(record) else Exit.OK
        self._tell_end(before)
        return Ended(record, exit_code)

    def _see_out(self, record: RunRecord) -> int:
        """Follow what is under way to its end, and start no more; the exit code."""
        if record.readable:
            self.journal.ask_to_stop(record.id)
            self.journal.reopen(record.id, self._site.now())
            return self._carry_out(record.id, None).exit_code
        clock, patient = self._site.session.clock, self._site.session.apply.migration_timeout
        until = clock.now() + patient
        while _under_way(record) and clock.now() < until:  # what it was to do is not known, but where guests are is
            clock.sleep(patience.POLL)
            record = self._reconciled(record.id)
        return Exit.OK

    def _told(self, record: RunRecord) -> HookRunner:
        """The commands that are told of a run."""
        plan = record.plan if record.readable else None
        return HookRunner(self._hooks, plan, record.id, record.cluster, os.environ, self._site.say)

    def _tell_end(self, before: RunRecord) -> None:
        """Tell of the end of a run whose process was killed: one that ended in good order has done so itself."""
        if before.state is RunState.RUNNING:
            self._told(before).after_run(apply.outcome(self.journal.run(before.id)))

    def _gate(self, plan: Plan) -> Gate:
        """Who says whether this plan may be carried out, measuring what it measured."""
        session = self._site.session
        policy, me = session.judging(plan).policy, session.connected.connection.identity if session.connected else ""
        return Gate(session.writable(), plan, policy, session.settings, session.apply, clock=session.clock, me=me,
                    also=self._site.also, now=self._site.now)  # fmt: skip


def stopped(there: Runs, record: RunRecord, clock: Clock) -> RunRecord:
    """A run, which is asked to end if a process is at work on it, and waited for until that is over."""
    if (process := there.process(record)) is not None:
        there.journal.ask_to_stop(record.id)
        say(
            f"run {record.id} (process {process}) was asked to end: what is under way ends first; "
            f"Ctrl-C leaves it to that"
        )
    while there.process(record) is not None:
        clock.sleep(LOOK)
    return there.journal.run(record.id)


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
