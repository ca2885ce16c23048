"""Claims about the rolling queue: limits and order hold at every moment, and whatever may start does start."""

import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from planner import patience
from planner.clock import FastClock
from planner.hooks import Outcome
from planner.journal import Journal
from planner.plan import Migration, Schedule
from planner.queue import Queue
from planner.run import Entry, RunState, Step
from tests import plans
from tests.applying import Done, Wall, continued, plan_of

NODES = ("n1", "n2", "n3", "n4", "n5")


@dataclass
class Instant:
    """A cluster in memory whose migrations take as long as they are told, and that writes down what it sees."""

    clock: FastClock
    migrations: dict[int, Migration]
    """By vmid."""
    seconds: dict[int, float]
    """By vmid."""
    failing: frozenset[int] = frozenset()
    begun: dict[int, float] = field(default_factory=dict)
    posts: Counter[int] = field(default_factory=Counter)
    most: dict[str, int] = field(default_factory=dict)

    def where(self, vmid: int) -> str:
        migration = self.migrations[vmid]
        return migration.target if self.over(vmid) and vmid not in self.failing else migration.source

    def over(self, vmid: int) -> bool:
        return vmid in self.begun and self.clock.now() >= self.begun[vmid] + self.seconds[vmid]

    def under_way(self) -> list[Migration]:
        return [self.migrations[vmid] for vmid in self.begun if not self.over(vmid)]

    def get(self, path: str, /, **params: Any) -> Any:
        if path == "/cluster/resources":
            busy = {m.vmid for m in self.under_way()}
            return [
                {"type": "qemu", "vmid": vmid, "node": self.where(vmid), "status": "running",
                 "lock": "migrate" if vmid in busy else ""}
                for vmid in self.migrations
            ]  # fmt: skip
        if path == "/cluster/tasks" or path.endswith("/log"):
            return []
        vmid = int(path.split(":")[6])
        return {"status": "stopped", "exitstatus": "no" if vmid in self.failing else "OK"} if self.over(vmid) else {}

    def post(self, path: str, /, **data: Any) -> Any:
        _, _, node, _, number, _ = path.split("/")
        vmid = int(number)
        assert node == self.where(vmid) and vmid not in self.begun
        self.posts[vmid] += 1
        self.begun[vmid] = self.clock.now()
        now = self.under_way()
        sources, targets = Counter(m.source for m in now), Counter(m.target for m in now)
        for name, count in (
            ("all", len(now)),
            ("source", max(sources.values(), default=0)),
            ("target", max(targets.values(), default=0)),
        ):
            self.most[name] = max(self.most.get(name, 0), count)
        return f"UPID:{node}:0:0:{int(self.clock.now()):X}:qmigrate:{vmid}:me@pve:"


def drawn(rng: random.Random, count: int) -> list[Migration]:
    """Migrations between random nodes, each of which waits for some of those before it."""
    result = []
    for number in range(1, count + 1):
        source, target = rng.sample(NODES, 2)
        after = tuple(sorted(rng.sample(range(1, number), min(number - 1, rng.choice((0, 0, 1, 2))))))
        guest = Migration(100 + number, "", "vm", source, target, 1024, 0, True, "", 0.0, number, after, number)
        result.append(guest)
    return result


def played(
    migrations: list[Migration], seconds: dict[int, float], limits: Schedule, **more: Any
) -> tuple[Done, Instant]:
    clock = FastClock()
    world = Instant(clock, {m.vmid: m for m in migrations}, seconds, more.pop("failing", frozenset()))
    journal = Journal(None)
    run = journal.begin(plan_of(migrations, limits), "test", 0.0)
    return continued(world, journal, run, clock=clock, now=Wall(clock, 0.0), gate=None, **more), world


@pytest.mark.parametrize("seed", range(40))
def test_limits_and_order_hold_however_long_each_takes_and_nothing_idles(seed: int) -> None:
    rng = random.Random(seed)
    migrations = drawn(rng, rng.randint(1, 25))
    limits = Schedule(parallel=rng.randint(1, 5), per_source=rng.randint(1, 3), per_target=rng.randint(1, 3))
    seconds = {m.vmid: rng.choice((0.0, 1.0, 3.0, 40.0, 300.0)) for m in migrations}
    run, world = played(migrations, seconds, limits)
    assert run.record.state is RunState.DONE
    assert world.posts == Counter([m.vmid for m in migrations])
    assert world.most["all"] <= limits.parallel
    assert world.most["source"] <= limits.per_source and world.most["target"] <= limits.per_target
    by_number = {m.number: m for m in migrations}
    ends = {m.number: world.begun[m.vmid] + seconds[m.vmid] for m in migrations}
    for migration in migrations:
        assert all(world.begun[migration.vmid] >= ends[before] for before in migration.after)
    assert not list(idle(world, by_number, ends, limits))


def idle(
    world: Instant, migrations: dict[int, Migration], ends: dict[int, float], limits: Schedule
) -> "list[tuple[float, int]]":
    """(moment, number) of migrations that could have started at a moment and did so more than two looks later."""
    late = []
    for moment in sorted({0.0, *ends.values()}):
        for number, migration in migrations.items():
            began = world.begun[migration.vmid]
            if began <= moment + 2 * patience.POLL or any(ends[n] > moment for n in migration.after):
                continue
            # Under way at some time from this moment until two looks later: whoever had a place that was free then.
            window = moment + 2 * patience.POLL
            others = [
                m
                for n, m in migrations.items()
                if n != number and world.begun[m.vmid] <= window and ends[n] + 2 > moment
            ]
            full = len(others) >= limits.parallel
            full |= sum(m.source == migration.source for m in others) >= limits.per_source
            full |= sum(m.target == migration.target for m in others) >= limits.per_target
            if not full:
                late.append((moment, number))
    return late


@pytest.mark.parametrize("seed", range(20))
def test_what_failed_takes_along_only_what_needs_it(seed: int) -> None:
    rng = random.Random(1000 + seed)
    migrations = drawn(rng, 15)
    failing = frozenset(m.vmid for m in rng.sample(migrations, 2))
    limits = Schedule(parallel=3, per_source=2, per_target=2)
    run, world = played(migrations, {m.vmid: 2.0 for m in migrations}, limits, failing=failing, max_failures=99)
    doomed: set[int] = set()
    for migration in migrations:
        needed = doomed | {m.number for m in migrations if m.vmid in failing}
        if needed.intersection(migration.after):
            doomed.add(migration.number)
    for entry in run.record.entries:
        expected = (
            Step.SKIPPED if entry.number in doomed else Step.FAILED if entry.migration.vmid in failing else Step.DONE
        )
        assert entry.step is expected, entry
    assert world.posts == Counter(e.migration.vmid for e in run.record.entries if e.step is not Step.SKIPPED)


def test_after_too_many_failures_nothing_more_is_started_and_what_runs_is_waited_for() -> None:
    guests = [
        Migration(100 + n, "", "vm", "n1", "n2", 1, 0, True, "", 0.0, n, (), n) for n in range(1, 7)
    ]  # fmt: skip
    limits = Schedule(parallel=2, per_source=2, per_target=2)
    seconds = {101: 2.0, 102: 50.0} | dict.fromkeys(range(103, 107), 5.0)
    run, _ = played(guests, seconds, limits, failing=frozenset({101}))
    assert run.steps == [Step.FAILED, Step.DONE] + [Step.PLANNED] * 4
    assert run.record.state is RunState.STOPPED
    run, _ = played(guests, seconds, limits, failing=frozenset({101, 104}), max_failures=1)
    assert run.steps[:4] == [Step.FAILED, Step.DONE, Step.DONE, Step.FAILED]
    assert run.steps[5] is Step.PLANNED
    assert "guest 101 was not migrated" in run.why


def mated(*bundles: int) -> list[Migration]:
    """Guests one after the other from n1 to n2, with these bundles."""
    return [
        Migration(100 + n, "", "vm", "n1", "n2", 1, 0, True, "", 0.0, n, (), bundle)
        for n, bundle in enumerate(bundles, 1)
    ]


ONE = Schedule(parallel=1, per_source=1, per_target=1)


def test_guests_that_belong_together_are_not_left_apart_when_a_run_is_stopped() -> None:
    clock, guests = FastClock(), mated(1, 1, 1, 4)
    world = Instant(clock, {m.vmid: m for m in guests}, dict.fromkeys(range(101, 105), 9.0))
    journal = Journal(None)
    number = journal.begin(plan_of(guests, ONE), "test", 0.0)
    run = continued(world, journal, number, clock=clock, gate=None, stop=lambda: bool(world.begun))
    assert run.steps == [Step.DONE, Step.DONE, Step.DONE, Step.PLANNED]
    assert run.record.state is RunState.STOPPED
    assert run.why == "it was asked to stop"


def test_a_failure_among_guests_that_belong_together_is_said_with_who_is_where() -> None:
    run, _ = played(mated(1, 1, 1), dict.fromkeys(range(101, 104), 3.0), ONE, failing=frozenset({102}))
    assert run.steps == [Step.DONE, Step.FAILED, Step.SKIPPED]
    assert run.notes[2] == "travels with guest 102, which failed"
    assert "guest 101 is on n2 without guest 102, 103, which belongs with it" in run.why


def test_a_stop_from_another_process_ends_the_run_for_good() -> None:
    clock = FastClock()
    guests = mated(1, 2, 3)
    world = Instant(clock, {m.vmid: m for m in guests}, dict.fromkeys((101, 102, 103), 5.0))
    journal = Journal(None)
    run = journal.begin(plan_of(guests, ONE), "test", 0.0)
    post = world.post

    def asked(path: str, /, **data: Any) -> Any:
        journal.ask_to_stop(run)
        return post(path, **data)

    world.post = asked  # type: ignore[method-assign]
    done = continued(world, journal, run, clock=clock, gate=None)
    assert done.steps == [Step.DONE, Step.PLANNED, Step.PLANNED]
    assert done.record.state is RunState.ABORTED


def test_at_the_wrong_hour_nothing_more_is_started() -> None:
    run, _ = played(mated(1, 2, 3), dict.fromkeys((101, 102, 103), 5.0), ONE, may_start=lambda now: now < 4)
    assert run.steps == [Step.DONE, Step.PLANNED, Step.PLANNED]
    assert run.record.state is RunState.STOPPED
    assert "the deadline has come, or the time in which migrations may start is over" in run.why


class Told:
    """Hooks that write down what they are told, and may take a while or call something before a migration."""

    def __init__(self, clock: FastClock, seconds: float, before: Callable[[int], None]) -> None:
        self._clock, self._seconds, self._before = clock, seconds, before
        self.heard: list[tuple[str, int, str, str]] = []

    def before_run(self) -> None: ...

    def after_run(self, outcome: Outcome) -> None: ...

    def before_migration(self, migration: Migration) -> None:
        self.heard.append(("before", migration.vmid, "", ""))
        self._clock.sleep(self._seconds)
        self._before(migration.vmid)

    def after_migration(self, migration: Migration, state: str, note: str = "") -> None:
        self.heard.append(("after", migration.vmid, state, note))


def hooked(
    guests: list[Migration], seconds: float, before: Callable[[int], None] = lambda vmid: None, **more: Any
) -> tuple[Done, Instant, Told]:
    clock = FastClock()
    world = Instant(clock, {m.vmid: m for m in guests}, dict.fromkeys((m.vmid for m in guests), 5.0))
    journal = Journal(None)
    run = journal.begin(plan_of(guests, Schedule(parallel=4, per_source=4, per_target=4)), "test", 0.0)
    hooks = Told(clock, seconds, before)
    done = continued(world, journal, run, clock=clock, now=Wall(clock, 0.0), gate=None, hooks=hooks, **more)
    return done, world, hooks


@pytest.mark.parametrize("seconds", [0.0, 300.0])
def test_whoever_asks_for_the_end_while_a_hook_runs_is_heard_before_the_migration_is_sent(seconds: float) -> None:
    asked: list[int] = []
    run, world, hooks = hooked(mated(1, 2, 3), seconds, asked.append, stop=lambda: bool(asked))
    assert not world.posts
    assert run.steps == [Step.PLANNED] * 3
    assert run.record.state is RunState.STOPPED
    assert hooks.heard == [
        ("before", 101, "", ""), ("after", 101, "planned", "not started: it was asked to stop")
    ]  # fmt: skip


def test_the_window_that_ends_while_a_hook_runs_counts_for_that_migration_and_the_next() -> None:
    run, world, hooks = hooked(mated(1, 2, 3), 100.0, may_start=lambda now: now < 150.0)
    assert list(world.posts) == [101]
    assert run.steps == [Step.DONE, Step.PLANNED, Step.PLANNED]
    assert [state for what, vmid, state, _ in hooks.heard if (what, vmid) == ("after", 102)] == ["planned"]
    assert [name for name, vmid, *_ in hooks.heard if vmid == 103] == []


def test_between_two_hooks_that_take_long_what_is_under_way_is_looked_at() -> None:
    run, _, hooks = hooked(mated(1, 2, 3), 60.0)
    assert run.steps == [Step.DONE] * 3
    order = [(what, vmid) for what, vmid, *_ in hooks.heard]
    assert order.index(("after", 101)) < order.index(("before", 103))
    assert order.count(("before", 101)) == 1


def test_a_migration_that_hangs_is_given_up_after_a_while_and_keeps_its_place() -> None:
    guests = mated(1, 2, 3)
    two = Schedule(parallel=2, per_source=2, per_target=2)
    run, world = played(guests, {101: 1e9, 102: 5.0, 103: 5.0}, two, timeout=60.0, max_failures=1)
    assert run.steps == [Step.UNKNOWN, Step.DONE, Step.DONE]
    assert "guest 101 is still migrating after 60 s (task UPID:n1:" in run.notes[0]
    assert world.most["all"] == 2
    assert run.record.state is RunState.STOPPED


def logged(world: Instant, clock: FastClock, line: Callable[[float], str]) -> None:
    """The logs of a cluster get a line every ten seconds."""
    ask = world.get

    def get(path: str, /, **params: Any) -> Any:
        if not path.endswith("/log"):
            return ask(path, **params)
        vmid = int(path.split(":")[6])
        count = int((clock.now() - world.begun[vmid]) / 10)
        lines = [{"n": n + 1, "t": line(10.0 * n)} for n in range(count)]
        return lines[params["start"] : params["start"] + params["limit"]]

    world.get = get  # type: ignore[method-assign]


COPYING = "drive-scsi0: transferred {:.1f} GiB of 500.0 GiB ({:.2f}%) in {:.0f}s"
SENDING = "2026-01-01 00:{:02.0f}:00 migration active, transferred {:.1f} GiB of 4.0 GiB VM-state, {:.1f} MiB/s"


@pytest.mark.parametrize(
    ("line", "step"),
    [(lambda at: COPYING.format(at / 10, at / 50, at), Step.DONE),  # gets on
     (lambda at: COPYING.format(3, 0.6, at), Step.UNKNOWN),  # the same again and again
     (lambda at: SENDING.format(at / 60, 1 + at / 10, at), Step.DONE),
     (lambda at: SENDING.format(at / 60, 1.5, 100 - at), Step.UNKNOWN)],
)  # fmt: skip
def test_a_migration_is_given_up_only_when_its_log_says_nothing_new(line: Callable[[float], str], step: Step) -> None:
    clock, guests = FastClock(), mated(1)
    world = Instant(clock, {101: guests[0]}, {101: 400.0})
    logged(world, clock, line)
    journal = Journal(None)
    run = journal.begin(plan_of(guests, ONE), "test", 0.0)
    done = continued(world, journal, run, clock=clock, gate=None, timeout=60.0)
    assert done.steps == [step]
    assert ("60 s without progress" in done.notes[0]) is (step is Step.UNKNOWN)


def test_a_migration_that_was_expected_to_take_long_has_twice_that_without_a_word() -> None:
    [guest] = mated(1)
    for seconds, step in ((190.0, Step.DONE), (1e9, Step.UNKNOWN)):
        run, _ = played([replace(guest, begin=50.0, end=150.0)], {101: seconds}, ONE, timeout=60.0)
        assert run.steps == [step]
    assert "guest 101 is still migrating after 200 s (task" in run.notes[0]


def test_a_migration_that_was_given_up_and_ends_well_after_all_counts() -> None:
    two = Schedule(parallel=2, per_source=2, per_target=2)
    run, _ = played(mated(1, 2, 3), {101: 80.0, 102: 50.0, 103: 50.0}, two, timeout=60.0, max_failures=1)
    assert run.steps == [Step.DONE, Step.DONE, Step.DONE]
    assert run.record.state is RunState.DONE


def test_the_time_that_is_left_never_grows_while_all_goes_as_expected() -> None:
    guests = [
        Migration(
            100 + n, "", "vm", "n1", "n2", 1, 0, True, "", 0.0, n, (n - 1,) if n > 1 else (), n, 10.0 * n, 10.0 * n + 10
        )
        for n in range(1, 5)
    ]
    run, _ = played(guests, dict.fromkeys(range(101, 105), 9.0), ONE)
    left = [seconds for seconds in run.watch.left if seconds is not None]
    assert left[0] == 40.0 and left[-1] == 0.0
    assert all(later <= earlier for earlier, later in itertools.pairwise(left))


def test_a_queue_says_who_waits_for_whom() -> None:
    guests = drawn(random.Random(3), 6)
    queue = Queue([Entry(m.number, m, Step.PLANNED, None, "", 0.0) for m in guests], ONE)
    assert list(queue.waiting()) == [m.number for m in guests if not m.after]


def test_a_stop_on_a_way_that_cannot_be_gone_on_is_left_out() -> None:
    stop = plans.migration(1, 101, "n1", "n3", bypass=True)
    room, onward = plans.migration(2, 102, "n2", "n1", after=(1,)), plans.migration(3, 101, "n3", "n2", after=(1, 2))
    steps = {1: Step.PLANNED, 2: Step.SKIPPED, 3: Step.SKIPPED}
    queue = Queue((Entry(m.number, m, steps[m.number], None, "", 0.0) for m in (stop, room, onward)), ONE)
    assert list(queue.doomed()) == [(1, "is a stop on the way to n2, where it cannot go: that is left out")]


def test_guests_that_come_along_need_room_too_and_where_there_never_is_any_go_alone() -> None:
    three = Schedule(parallel=3, per_source=3, per_target=3)
    queue = Queue([Entry(m.number, m, Step.PLANNED, None, "", 0.0) for m in mated(1, 2, 2, 2, 5)], three)
    assert queue.has_room(2, [1], [3]) and not queue.has_room(2, [1], [3, 4])
    assert queue.has_room(2, [], [3, 4]) and queue.has_room(2, [], [3, 4, 5])


def test_the_network_of_a_node_carries_no_more_than_the_plan_says() -> None:
    apart = [plans.migration(n, 100 + n, "n1", f"n{n + 1}", rate=60.0) for n in (1, 2, 3)]
    limits = Schedule(parallel=4, per_source=4, per_target=4, bandwidth=130.0)
    queue = Queue((Entry(m.number, m, Step.PLANNED, None, "", 0.0) for m in apart), limits)
    assert queue.has_room(2, [1]) and not queue.has_room(3, [1, 2])
