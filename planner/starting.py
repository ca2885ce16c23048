"""Owns the start of a migration: looked at, checked, announced, recorded, and only then sent, once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from planner import patience
from planner.course import Course, Halt
from planner.errors import (
    ApiRefused,
    BadAnswer,
    Drift,
    Forbidden,
    HookFailed,
    JournalError,
    Locked,
    PlannerError,
    Unreachable,
)
from planner.follow import Follow
from planner.plan import Migration
from planner.policy import OnDrift
from planner.request import AnswerLost, send
from planner.run import Step
from planner.sight import Place, Sight
from planner.snapshot import Source


class Gate(Protocol):
    """Who says whether a migration may start right now."""

    def check(self, migration: Migration, under_way: Sequence[Migration]) -> None:
        """A PlannerError says why it may not."""


@dataclass(slots=True)
class Attempts:
    """Failed attempts to start a migration, none of which reached Proxmox VE."""

    since: float
    next: float = 0.0
    count: int = 0


class Starter:
    """Starts what may start. `take_along` is told of a guest that turns out to be on its way, with whom; `heed` asks
    whether somebody wants the end."""

    def __init__(
        self, course: Course, source: Source, gate: Gate | None, take_along: Callable[[int, int, Sight], None],
        heed: Callable[[], None],
    ) -> None:  # fmt: skip
        self._course, self._source, self._gate = course, source, gate
        self._take_along, self._heed = take_along, heed
        self._attempts: dict[int, Attempts] = {}
        self._refused: set[int] = set()
        self._sifted = course.settings.on_drift is not OnDrift.SKIP
        """Whether what is not as planned from the start is left out already."""
        self._late = False
        """Whether a hook took so long that what is under way has to be looked at before more is started."""

    def start_all(self, sight: Sight) -> bool:
        """Start what may start, in order; whether something waits to be tried again."""
        self._sift(sight)
        again, self._late = self._start_in_turn(sight), False
        self._withdraw()
        return again

    def _start_in_turn(self, sight: Sight) -> bool:
        again, queue = False, self._course.queue
        for number in filter(self._may_try, list(queue.waiting())):
            attempts = self._attempts.get(number)
            if attempts and self._course.clock.now() < attempts.next:
                again = True
            elif queue.has_room(number, self._course.beside()):
                again |= self._try(number, sight) or queue.steps[number] is Step.DONE  # now others may start
            if self._late:
                return True
        return again

    def _may_try(self, number: int) -> bool:
        self._heed()
        return number not in self._refused and number not in self._course.along and self._course.wanted(number)

    def _sift(self, sight: Sight) -> None:
        """Leave out what is not as planned before anything of it is done, with all that depends on it."""
        if self._sifted:
            return
        try:
            places = sight.places()
        except PlannerError:
            return  # who may start is asked the same
        queue, seen = self._course.queue, set[int]()
        for number in queue.of(*(set(Step) - {Step.DONE})):
            migration = queue[number]
            first = migration.vmid not in seen  # otherwise it has to come from an earlier stop
            seen.add(migration.vmid)
            wrong = _misplaced(migration, places.get(migration.vmid)) if first else None
            if wrong and queue.steps[number] is Step.PLANNED:
                self._course.leave_out(number, wrong)
        self._sifted = True
        self._course.leave_out_doomed()

    def _withdraw(self) -> None:
        """Take back what was said of migrations that are not started after all."""
        for number in list(self._course.announced):
            gone = number in self._refused or not self._course.wanted(number)
            if gone and self._course.queue.steps[number] is Step.PLANNED:
                self._course.withdraw(number)

    def _try(self, number: int, sight: Sight) -> bool:
        """Start one; whether it has to be tried again."""
        try:
            self._start(number, sight)
        except JournalError:
            raise
        except (Unreachable, BadAnswer) as error:
            return self._try_again(number, error)
        except Forbidden as error:
            self._course.stop_for(Halt(str(error), error, grace=False))
        except HookFailed as error:
            self._course.settle(number, Step.SKIPPED, str(error))
            self._course.fail(error)
        except PlannerError as error:
            self._drifted(number, error)
        self._attempts.pop(number, None)
        return False

    def _try_again(self, number: int, error: PlannerError) -> bool:
        """Nothing was sent, as the API did not answer."""
        now = self._course.clock.now()
        attempts = self._attempts.setdefault(number, Attempts(now))
        attempts.next, attempts.count = now + patience.pause(attempts.count), attempts.count + 1
        if now - attempts.since < patience.PATIENCE:
            self._course.watch.waiting(f"guest {self._course.queue[number].vmid} waits: {error}")
            return True
        self._refused.add(number)
        self._course.fail(error)
        return False

    def _drifted(self, number: int, error: PlannerError) -> None:
        """It is not as the plan assumes: nothing is planned anew here. What is not about it alone ends the run."""
        if self._course.settings.on_drift is OnDrift.SKIP and isinstance(error, (Drift, Locked)):
            self._course.leave_out(number, error)
        else:
            self._refused.add(number)
            self._course.stop_for(Halt(str(error), error))

    def _start(self, number: int, sight: Sight) -> None:
        course = self._course
        place = self._ready(number, sight)
        if place is None:
            return
        self._late = self._announce(number)
        if self._late:  # much may have changed meanwhile
            sight = Sight(self._source)
            place = self._ready(number, sight)
        if place is None:
            return
        known = [task.upid for task in sight.tasks(place.vmid)]
        self._heed()
        if not course.wanted(number):
            return
        course.step(number, Step.CHECKED)
        self._send(number, place, known)

    def _ready(self, number: int, sight: Sight) -> Place | None:
        """Where a guest is that may start right now; None when it has to wait, or nothing has to be asked for."""
        place = self._where(number, sight)
        if place is None or not self._has_room_for_all(number, place):
            return None
        self._check(self._course.queue[number])
        return place

    def _announce(self, number: int) -> bool:
        """Tell hooks of a migration before it is started, once; whether that took its time."""
        course = self._course
        if not course.hooks or number in course.announced:
            return False
        began = course.clock.now()
        course.hooks.before_migration(course.queue[number])
        course.announced.add(number)
        return course.clock.now() - began > patience.POLL

    def _check(self, migration: Migration) -> None:
        if self._gate is not None:
            self._gate.check(migration, [self._course.queue[other] for other in self._course.beside()])

    def _has_room_for_all(self, number: int, place: Place) -> bool:
        """Whether the limits also allow those that the HA manager takes along at once."""
        queue = self._course.queue
        along = [mate for mate in queue.mates(number) if queue.steps[mate] is Step.PLANNED] if place.hastate else []
        return queue.has_room(number, self._course.beside(), along)

    def _where(self, number: int, sight: Sight) -> Place | None:
        """Where a guest that is to be migrated is; None when nothing has to be asked for."""
        migration = self._course.queue[number]
        place = sight.place(migration.vmid)
        if place is None:
            raise _gone(migration)
        leader = self._course.leader(number, place)
        if place.busy and leader is not None:
            self._take_along(number, leader, sight)
            return None
        if place.node == migration.target and not place.busy:
            lead = f"came along with guest {self._course.queue[leader].vmid}" if leader is not None else ""
            self._course.settle(number, Step.DONE, lead or "it was there already")
            return None
        if wrong := _misplaced(migration, place):
            raise wrong
        return place

    def _send(self, number: int, place: Place, known: Sequence[str]) -> None:
        course, migration, running = self._course, self._course.queue[number], place.running is not False
        upid, lost = None, ""
        try:
            upid = send(self._source, migration, course.record.plan.handling, running)
        except AnswerLost as error:
            lost = str(error)
        except ApiRefused as error:
            course.settle(number, Step.FAILED, str(error))
            course.fail(error)
            return
        except PlannerError as error:
            course.step(number, Step.PLANNED, note=f"not sent: {error}")
            raise
        timeout, now = course.settings.migration_timeout, course.clock.now()
        course.follow(number, Follow(migration, running, now, timeout, upid, known=known, lost=lost))
        if place.hastate:
            course.expect_along(number)


def _misplaced(migration: Migration, place: Place | None) -> Drift | None:
    """What is wrong with a guest that is neither where it was planned to start from nor on its target."""
    if place is None:
        return _gone(migration)
    if place.type not in ("", migration.type):
        return Drift(f"guest {migration.vmid} is another one: a {place.type}, not a {migration.type}: make a new plan")
    if place.node not in (migration.source, migration.target):
        at = f"is on {place.node}, not on {migration.source}"
        return Drift(f"guest {migration.vmid} {at}: make a new plan")
    return None


def _gone(migration: Migration) -> Drift:
    return Drift(f"guest {migration.vmid} is gone: make a new plan")
