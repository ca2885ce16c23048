"""What tests of carrying out plans share: plans made by hand, a run in a journal, sources that spoil things."""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from planner import collect, snapshot
from planner.apply import Applier
from planner.clock import FastClock
from planner.cluster import Cluster
from planner.errors import Drift, Locked, PlannerError, Unreachable
from planner.journal import Journal
from planner.plan import Handling, Migration, Plan, Schedule
from planner.planning import make_plan, prepare
from planner.policy import Apply, Policy
from planner.run import RunRecord, Step
from planner.simulate import Size, demo
from planner.tasklog import Progress

SPEED = 200
"""How many times as fast as real the clock of most tests runs."""


def cluster_now(source: Any) -> Cluster:
    return collect.collect(snapshot.take(source))


def a_plan(
    source: Any, *wanted: tuple[int, str], schedule: Schedule | None = None, handling: Handling | None = None,
    chain: bool = True, **changes: Any,
) -> Plan:  # fmt: skip
    """A plan for these guests to these nodes, one after the other if chained; changes as fields of the Migrations."""
    cluster = cluster_now(source)
    rows: dict[int, Any] = {int(row.vmid): row for row in cluster.guests.itertuples()}  # type: ignore[arg-type]
    places = {vmid: row.node for vmid, row in rows.items()}
    waves = []
    for number, (vmid, target) in enumerate(wanted, 1):
        row = rows[vmid]
        one = Migration(vmid, row.name, row.type, places[vmid], target, 4096, 0, row.status == "running", "test", 0.0)
        after = (number - 1,) if chain and waves else ()
        one = replace(one, number=number, after=after, bundle=number, begin=float(number), end=number + 5.0)
        waves.append((replace(one, **changes),))
        places[vmid] = target
    plan = replace(make_plan(prepare(cluster, Policy()), "greedy"), waves=tuple(waves), rollback=())
    limits = schedule or Schedule(parallel=4, per_source=4, per_target=4)
    return replace(plan, schedule=limits, handling=handling or Handling())


class RowGate:
    """The least that a gate checks: the lock of the guest, and that its target is online."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.seen: list[tuple[int, tuple[int, ...]]] = []

    def check(self, migration: Migration, under_way: Sequence[Migration]) -> None:
        self.seen.append((migration.number, tuple(other.number for other in under_way)))
        rows = self.source.get("/cluster/resources")
        row = next(row for row in rows if row.get("vmid") == migration.vmid)
        node = next((row for row in rows if row["id"] == f"node/{migration.target}"), {"status": "gone"})
        if row.get("lock"):
            raise Locked(f"guest {migration.vmid} is locked ({row['lock']}): wait for that to end")
        if node["status"] != "online":
            raise Drift(f"node {migration.target} is {node['status']}: make a new plan")


class Seen:
    """A watch that remembers."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, str]] = []
        self.ends: list[tuple[int, Step, str]] = []
        self.figures: list[tuple[int, Progress]] = []
        self.words: list[str] = []
        self.left: list[float | None] = []

    def started(self, migration: Migration, upid: str) -> None:
        self.begun.append((migration.number, upid))

    def progress(self, migration: Migration, progress: Progress) -> None:
        self.figures.append((migration.number, progress))

    def ended(self, migration: Migration, step: Step, note: str) -> None:
        self.ends.append((migration.number, step, note))

    def waiting(self, text: str) -> None:
        self.words.append(text)

    def tick(self, seconds_left: float | None) -> None:
        self.left.append(seconds_left)


class Done:
    """A run that has been carried out, and what was seen of it."""

    def __init__(self, record: RunRecord, error: PlannerError | None, journal: Journal, watch: Seen) -> None:
        self.record, self.error, self.journal, self.watch = record, error, journal, watch

    @property
    def steps(self) -> list[Step]:
        return [entry.step for entry in self.record.entries]

    @property
    def notes(self) -> list[str]:
        return [entry.note for entry in self.record.entries]

    @property
    def why(self) -> str:
        return self.record.why


class Wall:
    """Unix seconds that pass as fast as a clock."""

    def __init__(self, clock: FastClock, begin: float = 1_790_000_000.0) -> None:
        self.clock, self.begin = clock, begin

    def __call__(self) -> float:
        return self.begin + self.clock.now()


def carried_out(source: Any, plan: Plan, timeout: float = 3600.0, **more: Any) -> Done:
    """A new run of a plan, carried out; `more`: arguments of the Applier, and fields of its settings."""
    journal = Journal(None)
    run = journal.begin(plan, "test", 0.0)
    return continued(source, journal, run, timeout, **more)


def continued(source: Any, journal: Journal, run: int, timeout: float = 3600.0, **more: Any) -> Done:
    """What is left of a run, carried out."""
    clock = more.pop("clock", None) or FastClock(SPEED)
    names = set(Apply.__dataclass_fields__) - {"hooks"}  # of the Applier they are what is told
    settings = Apply(migration_timeout=timeout, **{name: more.pop(name) for name in names & set(more)})
    watch = more.pop("watch", None) or Seen()
    usual: dict[str, Any] = {"clock": clock, "now": Wall(clock), "gate": RowGate(source)}
    applier = Applier(journal, run, source, settings=settings, watch=watch, **(usual | more))
    record = applier.carry_out()
    return Done(record, applier.error, journal, watch)


class Spy:
    """A source that remembers what was posted, and can spoil it."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.lose = False
        self.before: Callable[[str], None] = lambda path: None
        """Called before each GET with its path: it may raise."""

    def get(self, path: str, **params: Any) -> Any:
        self.before(path)
        return self.source.get(path, **params)

    def post(self, path: str, **data: Any) -> Any:
        self.posts.append((path, data))
        upid = self.source.post(path, **data)
        if self.lose:
            raise Unreachable("connection lost", sent=True)
        return upid

    @property
    def sent(self) -> Counter[int]:
        """How often each guest was asked to migrate."""
        return Counter(int(path.split("/")[4]) for path, _ in self.posts)


def plan_of(migrations: Sequence[Migration], limits: Schedule) -> Plan:
    """A plan of these migrations, which says nothing else that counts."""
    return replace(_nothing(), waves=tuple((migration,) for migration in migrations), schedule=limits, rollback=())


@functools.cache
def _nothing() -> Plan:
    return make_plan(prepare(cluster_now(demo(Size.SMALL, FastClock())), Policy(max_migrations=0)), "greedy")
