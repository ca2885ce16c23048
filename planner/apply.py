"""Owns the carrying out of a plan: a rolling queue under its limits; what is done is in the journal before."""

from collections.abc import Callable

from planner import patience
from planner.clock import Clock
from planner.course import Course, Halt, Hooks
from planner.errors import Exit, Forbidden, HookFailed, Locked, PlannerError
from planner.follow import Follow
from planner.hooks import Outcome
from planner.journal import Journal
from planner.policy import Apply
from planner.run import RunRecord, RunState, Step
from planner.sight import Sight, started
from planner.snapshot import Source
from planner.starting import Gate, Starter
from planner.watch import Watch

UNSETTLED = (Step.CHECKED, Step.STARTED, Step.UNKNOWN)
"""Of which more may come."""
STOPPED, ABORTED = "it was asked to stop", "it was told to end"


class Applier:
    """Carries out what is left of a run of the journal. One thread, no waiting but for the next look.

    `now` gives unix seconds, for the journal and for `may_start`, which says whether this is an hour to start
    migrations at. `stop` becomes true when the run is to end in good order. Reconcile a run that was interrupted first.
    """

    def __init__(
        self, journal: Journal, run: int, source: Source, *, clock: Clock, now: Callable[[], float], gate: Gate | None,
        settings: Apply, watch: Watch, hooks: Hooks | None = None, stop: Callable[[], bool] = lambda: False,
        may_start: Callable[[float], bool] = lambda now: True,
    ) -> None:  # fmt: skip
        self._course = Course(journal, run, clock, now, settings, watch, hooks)
        self._starter = Starter(self._course, source, gate, self._take_along, self._heed)
        self._source, self._stop, self._may_start = source, stop, may_start
        self._aborted = False

    @property
    def error(self) -> PlannerError | None:
        """What ended the run, or the first thing in it that failed or was not as planned."""
        halt, wrong = self._course.halt, [*self._course.failures, *self._course.left_out]
        return (halt and halt.error) or (wrong[0] if wrong else None)

    def carry_out(self) -> RunRecord:
        """Until all is done or nothing more can be. JournalError when what happens can no longer be recorded."""
        hooks = self._course.hooks
        try:
            if hooks:
                hooks.before_run()
        except HookFailed as error:
            self._course.stop_for(Halt(str(error), error, grace=False))
            return self._end()
        self._take_up()
        while self._turn():
            self._course.clock.sleep(patience.POLL)
        record = self._end()
        if hooks:
            hooks.after_run(outcome(record))
        return record

    def _take_up(self) -> None:
        """What was started before this process began is followed as well."""
        course = self._course
        for entry in course.record.entries:
            if entry.step is Step.STARTED and entry.upid:
                began, timeout = course.clock.now(), course.settings.migration_timeout
                follow = Follow(entry.migration, entry.migration.running, began, timeout, entry.upid)
                course.follow(entry.number, follow)
                if follow.waits_for_ha:
                    course.expect_along(entry.number)

    def _turn(self) -> bool:
        """One look at everything, and the starts that it allows; whether there will be more to see."""
        course, sight = self._course, Sight(self._source)
        for number, follow in list(course.under_way.items()):
            self._look(number, follow, sight)
        for number, follow in list(course.loose.items()):
            ending = follow.look(sight, course.clock.now())
            if ending and ending.step is not Step.UNKNOWN:
                course.ended(number, ending)
        for number, leader in list(course.along.items()):
            self._look_along(number, leader, sight)
        self._heed()
        course.leave_out_doomed()
        coming = self._starter.start_all(sight)
        course.leave_out_doomed()
        now = course.clock.now()
        course.watch.tick(course.queue.seconds_left({n: now - f.began for n, f in course.under_way.items()}))
        return bool(course.under_way or course.along or coming)

    def _look(self, number: int, follow: Follow, sight: Sight) -> None:
        course, before, now = self._course, follow.upid, self._course.clock.now()
        ending = follow.look(sight, now)
        if follow.upid and not before:
            course.found(number, follow.upid)
        if isinstance(follow.trouble, Forbidden):
            course.stop_for(Halt(str(follow.trouble), follow.trouble, grace=False))
        elif follow.trouble:
            course.watch.waiting(f"guest {follow.vmid} cannot be seen: {follow.trouble}")
        if ending:
            course.ended(number, ending)
        elif told := follow.progress(sight, now):
            course.watch.progress(follow.migration, told)

    def _look_along(self, number: int, leader: int, sight: Sight) -> None:
        """A guest that the HA manager may take along: it goes, or is asked for itself once the other has arrived."""
        migration, over = self._course.queue[number], leader not in self._course.under_way
        try:
            place = sight.place(migration.vmid)
            if place and (place.busy or place.node == migration.target):
                self._take_along(number, leader, sight)
            elif over:
                del self._course.along[number]
        except PlannerError:  # what is wrong is said where it is asked for
            if over:
                self._course.along.pop(number, None)

    def _take_along(self, number: int, leader: int, sight: Sight) -> None:
        """A guest is on its way though nobody has asked for it."""
        course, migration = self._course, self._course.queue[number]
        asked = course.under_way.get(leader)
        began = started(asked.upid) if asked and asked.upid else 0
        known = {task.upid for task in sight.tasks(migration.vmid) if task.started < began}
        course.along.pop(number, None)
        course.leads[number] = course.queue[leader].vmid
        course.step(number, Step.CHECKED, note=f"the HA manager takes it along with guest {course.leads[number]}")
        now, timeout = course.clock.now(), course.settings.migration_timeout
        follow = Follow(migration, migration.running, now, timeout, known=known, lost="no task is seen")
        course.under_way[number] = follow
        self._look(number, follow, sight)

    def _heed(self) -> None:
        """Whoever asks for the end."""
        course = self._course
        if course.journal.stop_asked(course.run):
            self._aborted = True
            course.stop_for(Halt(ABORTED))
        if self._stop():
            course.stop_for(Halt(STOPPED))
        if not self._may_start(course.now()) and course.queue.of(Step.PLANNED):
            course.stop_for(Halt("the deadline has come, or the time in which migrations may start is over"))

    def _end(self) -> RunRecord:
        course = self._course
        steps, halt = set(course.queue.steps.values()), course.halt
        passing = [error for error in course.left_out if isinstance(error, Locked)]
        wrong = bool(halt or course.failures or passing)
        if steps <= {Step.DONE} or (steps <= {Step.DONE, Step.SKIPPED} and not wrong):
            state = RunState.DONE
        elif self._aborted and not steps.intersection(UNSETTLED):
            state = RunState.ABORTED
        else:
            state = RunState.STOPPED
        first = next(iter((*course.failures, *passing)), None)  # what is locked may be migrated later
        why = halt.why if halt else str(first or "")
        why = "; ".join(filter(None, (why if state is not RunState.DONE else "", *course.queue.apart())))
        course.journal.end(course.run, state, course.now(), why)
        return course.journal.run(course.run)


def outcome(record: RunRecord) -> Outcome:
    """What has become of a run, in numbers."""
    counts = {step: sum(entry.step is step for entry in record.entries) for step in Step}
    failed = counts[Step.FAILED] + sum(counts[step] for step in UNSETTLED)
    left = counts[Step.PLANNED] + counts[Step.SKIPPED]
    return Outcome(record.state.value, record.why, counts[Step.DONE], failed, left)


def exit_code(record: RunRecord, error: PlannerError | None) -> int:
    """With what a process ends that has carried out a run."""
    steps = {entry.step for entry in record.entries}
    if steps <= {Step.DONE}:
        return Exit.OK
    if steps.intersection((Step.DONE, *UNSETTLED)):
        return Exit.PARTLY_APPLIED
    return error.exit_code if error else Exit.ERROR
