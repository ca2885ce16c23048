"""Owns what became of the migrations of a run whose process died: asked of the cluster, with nothing sent."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from planner import patience
from planner.clock import Clock
from planner.errors import ApiRefused, Forbidden, PlannerError, Unreachable
from planner.follow import Ending, Follow
from planner.journal import Journal
from planner.plan import Migration, Schedule
from planner.queue import BEGUN, Queue
from planner.run import Entry, RunRecord, Step
from planner.sight import Place, Sight, queues
from planner.snapshot import Source

UNSETTLED = (Step.CHECKED, Step.STARTED, Step.UNKNOWN)
SKEW = 30.0
"""Seconds by which the clocks of nodes may be behind ours."""
NEVER_SENT = "nothing was sent, or it had no effect"


@dataclass(slots=True)
class _Open:
    """A migration of which it is not known what became of it."""

    entry: Entry
    since: float
    """When it was first looked at."""
    upid: str | None
    follow: Follow | None = None
    blind: float | None = None
    """Since when something about it alone cannot be read."""
    tried: set[str] = field(default_factory=set)
    """Tasks that cannot be read."""
    leader: int | None = None
    """The guest with which the HA manager has taken it along."""

    @property
    def vmid(self) -> int:
        return self.entry.migration.vmid


def reconcile(
    journal: Journal, run: int, source: Source, *, clock: Clock, now: Callable[[], float],
    say: Callable[[str], None] = lambda text: None,
) -> RunRecord:  # fmt: skip
    """Find out what became of every migration that may be under way.

    Those that are stay STARTED with their task. Those that surely are not, and whose guest is on its source, are
    PLANNED again. A PlannerError when the cluster cannot be asked: then nothing is concluded.
    """
    return _Inquiry(journal, run, source, clock, now, say).settle()


def again(record: RunRecord, source: Source) -> list[int]:
    """Numbers of what is to be planned anew: what failed, where its guest is fit for it, and what was left out."""
    places = Sight(source).places()
    failed = [e.number for e in record.entries if e.step is Step.FAILED and _fit(e, places.get(e.migration.vmid))]
    return sorted([*failed, *(entry.number for entry in record.entries if entry.step is Step.SKIPPED)])


def _fit(entry: Entry, place: Place | None) -> bool:
    migration = entry.migration
    if place is None or place.busy:
        return False
    as_before = not migration.running or place.running is True
    return place.node == migration.source or (place.node == migration.target and as_before)


def on_either_end(record: RunRecord) -> list[Migration]:
    """Migrations whose guests may be on their source or their target: those that may be under way or have failed, and
    those that the HA manager may have taken along with another while nobody looked."""
    queue = Queue(record.entries, record.plan.schedule)
    left = [*UNSETTLED, Step.FAILED, Step.PLANNED, Step.SKIPPED]
    begun = {number: queue.steps[number] in (*BEGUN, Step.UNKNOWN, Step.FAILED) for number in queue.steps}
    return [queue[n] for n in queue.of(*left) if begun[n] or any(begun[mate] for mate in queue.mates(n))]


def _mates(record: RunRecord) -> list[tuple[Entry, Entry]]:
    """Migrations for which nobody has asked, each with one that guests travel with and that was asked for."""
    queue, entries = Queue(record.entries, Schedule()), {entry.number: entry for entry in record.entries}  # no limits
    found = ((n, [mate for mate in queue.mates(n) if queue.steps[mate] in BEGUN]) for n in queue.of(Step.PLANNED))
    return [(entries[number], entries[begun[0]]) for number, begun in found if begun]


class _Inquiry:
    """Looks at the cluster until all is known."""

    def __init__(
        self, journal: Journal, run: int, source: Source, clock: Clock, now: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._journal, self._run, self._source, self._clock, self._now = journal, run, source, clock, now
        self._say = say
        self._known = {event.upid for event in journal.events(run) if event.upid}
        """Tasks of attempts that the journal has."""

    def settle(self) -> RunRecord:
        """Until nothing is open that can be settled by looking."""
        began = self._clock.now()
        entries = [entry for entry in self._journal.run(self._run).entries if entry.step in UNSETTLED]
        cases = [_Open(entry, began, entry.upid) for entry in entries]
        mates = _mates(self._journal.run(self._run))
        silent: float | None = None
        while cases or mates:
            sight = Sight(self._source)
            try:
                sight.places()
                cases += [case for entry, leader in mates for case in self._taken_along(entry, leader, sight, began)]
                mates = []
                cases = [case for case in cases if not self._settled(case, sight)]
                silent = None
            except Forbidden:
                raise
            except PlannerError:
                silent = self._clock.now() if silent is None else silent
                if self._clock.now() - silent >= patience.PATIENCE:
                    raise
            if cases:
                guests = ", ".join(str(case.vmid) for case in cases)
                self._say(f"finding out what became of guest {guests}")
                self._clock.sleep(patience.POLL)
        return self._journal.run(self._run)

    def _taken_along(self, entry: Entry, leader: Entry, sight: Sight, began: float) -> Iterator[_Open]:
        """A guest for which nobody has asked, if the HA manager has taken it along."""
        place, target = sight.place(entry.migration.vmid), entry.migration.target
        if place and place.hastate and (place.busy or place.node == target):
            vmid = leader.migration.vmid
            case = _Open(replace(entry, changed_at=leader.changed_at), began, None, leader=vmid)
            self._record(case, Step.CHECKED, f"the HA manager has taken it along with guest {vmid}")
            case.entry = replace(case.entry, step=Step.CHECKED)
            yield case

    def _settled(self, case: _Open, sight: Sight) -> bool:
        """Look at one; whether there is no more to find out here."""
        sight.tasks(case.vmid)  # without these nothing can be said of anything
        try:
            done = self._of_task(case, sight) if case.upid else self._search(case, sight)
            case.blind = None
        except Unreachable as error:  # a node that is away
            now = self._clock.now()
            case.blind = now if case.blind is None else case.blind
            done = now - case.blind >= patience.PATIENCE
            if done and case.entry.step is Step.CHECKED:
                self._record(case, Step.UNKNOWN, f"what became of guest {case.vmid} is not known: {error}")
        return done

    # ------------------------------------------------------------ with a task

    def _of_task(self, case: _Open, sight: Sight) -> bool:
        assert case.upid is not None
        migration = case.entry.migration
        try:
            runs = sight.status(case.upid) is None
        except ApiRefused:  # nodes forget their tasks after a while
            case.tried.add(case.upid)
            case.upid, case.follow = None, None
            return self._search(case, sight)
        place = sight.place(case.vmid)
        if runs or (place and place.busy and place.node != migration.target):
            if case.entry.step is not Step.STARTED:
                self._record(case, Step.STARTED, upid=case.upid)
            return True
        if case.follow is None:
            age = max(0.0, self._now() - case.entry.changed_at)
            now, endless = self._clock.now(), float("inf")
            case.follow = Follow(migration, migration.running, now, endless, case.upid, age=age)
        ending = case.follow.look(sight, self._clock.now())
        if ending is None:
            return False
        if ending.step is Step.UNKNOWN and place and place.node == migration.source and queues(case.upid):
            self._as_planned(case, "the HA manager did nothing about it")
        else:
            self._conclude(case, ending)
        return True

    # --------------------------------------------------------- without a task

    def _search(self, case: _Open, sight: Sight) -> bool:
        """Look for a task that may have been started, and for what it may have done."""
        migration, place = case.entry.migration, sight.place(case.vmid)
        if found := self._task(case, sight):
            case.upid = found
            return self._of_task(case, sight)
        waited = self._clock.now() - case.since
        if place is None:
            return waited >= patience.SETTLE and self._failed(case, "is gone")
        if place.node not in (migration.source, migration.target):
            return self._failed(case, f"is on {place.node}, neither on {migration.source} nor on {migration.target}")
        if place.busy:
            stuck = f"is locked ({place.lock or place.hastate}) on {place.node}, and no task migrates it: look there"
            return waited >= patience.HA_PATIENCE and self._failed(case, stuck)
        if place.node == migration.target:
            if not migration.running or place.running is True:
                self._conclude(case, Ending(Step.DONE, "found there; its task was not seen"))
                return True
            return waited >= patience.SETTLE and self._failed(case, f"is not running, it is on {place.node}")
        age = max(self._now() - case.entry.changed_at, waited)
        if age < patience.SETTLING:
            return False
        self._as_planned(case, NEVER_SENT)
        return True

    def _task(self, case: _Open, sight: Sight) -> str | None:
        """A task of the guest that runs, or began when this migration was about to."""
        asked = case.entry.changed_at - SKEW
        tasks = [task for task in sight.tasks_on(case.entry.migration.source, case.vmid) if task.upid not in case.tried]
        running = [task for task in tasks if task.status is None]
        if running:
            return running[0].upid
        if case.entry.step is not Step.CHECKED:
            return None
        return next((task.upid for task in tasks if task.started >= asked and task.upid not in self._known), None)

    # ---------------------------------------------------------------- findings

    def _failed(self, case: _Open, what: str) -> bool:
        self._conclude(case, Ending(Step.FAILED, f"guest {case.vmid} {what}"))
        return True

    def _conclude(self, case: _Open, ending: Ending) -> None:
        if ending.step is not case.entry.step:
            if case.upid and case.entry.step is not Step.STARTED:
                self._record(case, Step.STARTED, upid=case.upid)
            along = ending.step is Step.DONE and case.leader is not None
            self._record(case, ending.step, f"came along with guest {case.leader}" if along else ending.note)

    def _as_planned(self, case: _Open, why: str) -> None:
        if case.entry.step is Step.STARTED:  # its task was known
            self._record(case, Step.UNKNOWN)
        self._record(case, Step.PLANNED, why)

    def _record(self, case: _Open, step: Step, note: str = "", upid: str | None = None) -> None:
        self._journal.record(self._run, case.entry.number, step, self._now(), upid=upid, note=note)
