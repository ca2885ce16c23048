"""Owns how a run stands while it goes on: what is under way, what has failed, why no more is started."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from planner.clock import Clock
from planner.errors import PlannerError
from planner.follow import Ending, Follow
from planner.hooks import Outcome
from planner.journal import Journal
from planner.plain import plain
from planner.plan import Migration
from planner.policy import Apply
from planner.queue import Queue
from planner.run import RunRecord, Step
from planner.sight import Place
from planner.watch import Watch


class Hooks(Protocol):
    """Who is told of a run and its migrations; before something HookFailed says that it shall not be."""

    def before_run(self) -> None: ...

    def before_migration(self, migration: Migration) -> None: ...

    def after_migration(self, migration: Migration, state: str, note: str = "") -> None: ...

    def after_run(self, outcome: Outcome) -> None: ...


class MigrationFailed(PlannerError):
    """A migration did not bring its guest to its target, or it is not known whether it did."""


@dataclass(frozen=True, slots=True)
class Halt:
    """Why no more is started. With grace, guests whose mates are on their way already still follow them."""

    why: str
    error: PlannerError | None = None
    grace: bool = True


class Course:
    """A run in the making: what is recorded, and told, in this order."""

    def __init__(
        self, journal: Journal, run: int, clock: Clock, now: Callable[[], float], settings: Apply, watch: Watch,
        hooks: Hooks | None,
    ) -> None:  # fmt: skip
        self.journal, self.run, self.clock, self.now = journal, run, clock, now
        self.settings, self.watch, self.hooks = settings, watch, hooks
        self.record: RunRecord = journal.run(run)
        """As it was when it was taken up."""
        self.queue = Queue(self.record.entries, self.record.plan.schedule)
        self.under_way: dict[int, Follow] = {}
        self.loose: dict[int, Follow] = {}
        """Given up, but maybe still under way: they keep their place under the limits."""
        self.along: dict[int, int] = {}
        """Those that the HA manager may take along, with whom."""
        self.leads: dict[int, int] = {}
        """Those that it did take along, and the guest with which."""
        self.announced: set[int] = set()
        """Those of which hooks were told before."""
        self.failures: list[PlannerError] = []
        self.left_out: list[PlannerError] = []
        """What is not as planned, where that is left out."""
        self.halt: Halt | None = None

    def beside(self) -> list[int]:
        """All that are or may be under way."""
        return [*self.under_way, *self.loose, *self.along]

    def step(self, number: int, step: Step, *, upid: str | None = None, note: str = "") -> None:
        """A migration has come to a step: nothing else knows before the journal does."""
        self.journal.record(self.run, number, step, self.now(), upid=upid, note=plain(note))
        self.queue.steps[number] = step

    def follow(self, number: int, follow: Follow) -> None:
        """A migration was asked for; its task may be known already."""
        self.under_way[number] = follow
        if follow.upid:
            self.found(number, follow.upid)

    def found(self, number: int, upid: str) -> None:
        """The task of a migration is known."""
        if self.queue.steps[number] is not Step.STARTED:
            self.step(number, Step.STARTED, upid=upid)
        self.watch.started(self.queue[number], upid)

    def ended(self, number: int, ending: Ending) -> None:
        """A migration that was asked for has ended, or is no longer waited for."""
        follow = self.under_way.pop(number, None) or self.loose.pop(number)
        if ending.step is Step.UNKNOWN:
            self.loose[number] = follow
        note = ending.note
        if ending.step is Step.DONE and number in self.leads:
            note = f"came along with guest {self.leads[number]}"
        self.settle(number, ending.step, note)
        if ending.step is not Step.DONE:
            self.fail(MigrationFailed(ending.note))

    def settle(self, number: int, step: Step, note: str) -> None:
        """Record the end of a migration, and tell."""
        self.step(number, step, note=note)
        migration = self.queue[number]
        self.watch.ended(migration, step, note)
        if self.hooks and number in self.announced:
            self.hooks.after_migration(migration, step.value, note)

    def wanted(self, number: int) -> bool:
        """Whether a migration may still be started."""
        return self.halt is None or (self.halt.grace and self.queue.has_begun(number))

    def withdraw(self, number: int) -> None:
        """A migration of which hooks were told is not started; it is left as it was planned."""
        self.announced.discard(number)
        if self.hooks:
            why = f"not started: {self.halt.why}" if self.halt else "not started"
            self.hooks.after_migration(self.queue[number], Step.PLANNED.value, why)

    def leave_out(self, number: int, error: PlannerError) -> None:
        """A migration is left out, as something is not as planned."""
        self.left_out.append(error)
        self.settle(number, Step.SKIPPED, str(error))

    def leave_out_doomed(self) -> None:
        """What needs something that failed or was left out is left out as well."""
        while doomed := next(self.queue.doomed(), None):
            self.along.pop(doomed[0], None)
            self.settle(doomed[0], Step.SKIPPED, doomed[1])

    def fail(self, error: PlannerError) -> None:
        """A migration failed: after too many no more are started."""
        self.failures.append(error)
        if len(self.failures) > self.settings.max_failures:
            self.stop_for(Halt(str(self.failures[0]), self.failures[0]))

    def stop_for(self, halt: Halt) -> None:
        """Start no more. What was said first counts, but what allows less comes before it."""
        if self.halt is None or (self.halt.grace and not halt.grace):
            self.halt = halt
            self.watch.waiting(f"no more is started: {halt.why}")

    def expect_along(self, leader: int) -> None:
        """The HA manager may take others along with a guest: they are not asked for while it is under way."""
        for mate in self.queue.mates(leader):
            if self.queue.steps[mate] is Step.PLANNED:
                self.along.setdefault(mate, leader)

    def leader(self, number: int, place: Place) -> int | None:
        """With whom the HA manager may have taken a guest along."""
        begun = (Step.CHECKED, Step.STARTED, Step.DONE)
        mates = (mate for mate in self.queue.mates(number) if self.queue.steps[mate] in begun)
        return next(mates, None) if place.hastate else None
