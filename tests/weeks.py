"""A week of scheduled looks at a living cluster, played in no time, and what should have come of each of them.

The oracle reads the schedule of what goes wrong and clocks on the wall, and knows nothing of gates and openings.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from planner import simulated_task
from planner.choices import Active, RunMode, SolverName
from planner.clock import FastClock
from planner.journal import Journal
from planner.look import GateName, Look, Outcome
from planner.lookout import Lookout
from planner.plan import Plan
from planner.policy import Apply, Cluster, Policy
from planner.runs import Runs
from planner.service import Opening, Run
from planner.session import Session
from tests import faults
from tests.faults import DAY, HOUR, Fault, Trouble
from tests.lives import resources
from tests.livingcluster import LivingCluster

BERLIN: Final = ZoneInfo("Europe/Berlin")
MONDAY: Final = date(2026, 10, 19)
"""Of the week in which clocks are put back, on Sunday at three."""
EVERY: Final = 40 * 60.0
ME: Final = "pve1"
SLOW: Final = 150.0
"""Seconds that each migration takes besides copying."""
RUN: Final = Run(
    mode=RunMode.AUTO, solver=SolverName.DESCENT, looks=2, min_gain=0.1, per_hour=3, per_day=13,
    active=Active.HA_MANAGER, node=ME,
    windows=(Opening("Mon..Fri 20:00", until="06:00", time_zone="Europe/Berlin"),
             Opening("Sat,Sun *-*-* 00:00", lasts="24h", time_zone="Europe/Berlin")),
    blackouts=(Opening("02:30", until="04:00", time_zone="Europe/Berlin"),
               Opening("1 20 * * 2,4", lasts="30m", time_zone="Europe/Berlin")),
)  # fmt: skip
POLICY: Final = Policy(until_balanced=True, balanciness=5, with_ha_guests=True, time_limit=2)
APPLY: Final = Apply(parallel=1)


LONG: Final = 30.0
"""Seconds: who waits longer waits for the next look."""


class Killed(BaseException):
    """kill -9."""


class MortalClock(FastClock):
    """Whoever waits on it while a run is under way dies at certain times."""

    def __init__(self, deaths: Sequence[float]) -> None:
        super().__init__(None)
        self._deaths = sorted(deaths)

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        while self._deaths and self._deaths[0] <= self.now():
            self._deaths.pop(0)
            if seconds <= LONG:
                raise Killed


@dataclass(slots=True)
class Seen:
    """A look, its plan, and how the cluster really was when it began."""

    look: Look
    plan: Plan | None
    spread: float
    homes: dict[int, str]


@dataclass(slots=True)
class Week:
    """What has been."""

    cluster: LivingCluster
    alone: LivingCluster
    """The same without a planner."""
    journal: Journal
    run: Run
    apply: Apply
    every: float
    seen: list[Seen] = field(default_factory=list)
    settled: list[Look] = field(default_factory=list)
    """What is recorded of runs that were interrupted, when what became of them is known."""
    spreads: list[tuple[float, float]] = field(default_factory=list)
    """With and without, all the time."""
    killed: list[float] = field(default_factory=list)


def at(day: int, clock: str) -> float:
    """Unix seconds of a time of a day of the week on clocks on the wall (0: Monday)."""
    return datetime.combine(MONDAY + timedelta(days=day), time.fromisoformat(clock), BERLIN).timestamp()


def lived(
    troubles: Sequence[Fault], deaths: Sequence[float] = (), run: Run = RUN, apply: Apply = APPLY, every: float = EVERY
) -> Week:
    """Take looks for a week."""
    begin = at(0, "00:00")
    clock = MortalClock([death - begin for death in deaths])
    cluster, alone = (LivingCluster(resources(4, 20), clock, epoch=begin, faults=troubles) for _ in range(2))
    journal = Journal(None)
    week = Week(cluster, alone, journal, run, apply, every)
    session = Session(POLICY, Cluster(), apply, cluster, clock)
    lookout = Lookout(run, session, Runs(journal, None), lambda: begin + clock.now(), say=lambda line: None,
                      heed=lambda: nullcontext(lambda: False), told=week.settled.append)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated_task, "AFTER", SLOW)
        patch.setattr("planner.patience.POLL", 10.0)
        patch.setattr("planner.planning.with_bound", lambda problem, solver, answer, budget: answer)  # takes its time
        while clock.now() < 7 * DAY:
            began, spread, homes = clock.now(), cluster.spread(), cluster.homes()
            week.spreads.append((spread, alone.spread()))
            try:
                look = lookout.look().look
                week.seen.append(Seen(look, journal.looks.plan(look.number), spread, homes))
            except Killed:
                week.killed.append(begin + clock.now())
            clock.sleep(max(60.0, began + every - clock.now()))
    return week


def drawn(seed: int) -> Week:
    """Such a week under settings, faults and deaths of which nobody has thought."""
    draw, begin = random.Random(f"week-{seed}"), at(0, "00:00")
    limits = {
        "looks": draw.choice((1, 2, 3)),
        "per_hour": draw.choice((1, 2, 5, None)),
        "per_day": draw.choice((6, 20)),
    }
    run = replace(RUN, min_gain=draw.choice((0.0, 0.1, 0.3)), **limits)  # type: ignore[arg-type]
    names = [f"pve{number + 1}" for number in range(4)]
    troubles = [fault for part in (0, 1) for fault in faults.drawn(begin, 7, names, 2 * seed + part)]
    deaths = [begin + draw.uniform(0, 7 * DAY) for _ in range(500)]
    apply = Apply(parallel=draw.choice((1, 2, 4)), max_failures=draw.choice((0, 2)))
    return lived(troubles, deaths, run, apply, draw.choice((20, 40)) * 60.0)


# ------------------------------------------------------------------ the oracle


def in_window(moment: float) -> bool:
    """Weekdays from eight in the evening until six in the morning; Saturday and Sunday for 24 hours from midnight."""
    now = datetime.fromtimestamp(moment, BERLIN)
    evening, morning = now.time() >= time(20), now.time() < time(6)
    yesterday = (now.weekday() - 1) % 7
    if (evening and now.weekday() < 5) or (morning and yesterday < 5):
        return True
    midnight = datetime.combine(now.date(), time(), BERLIN).timestamp()
    return now.weekday() >= 5 and midnight <= moment < midnight + 24 * HOUR


def in_blackout(moment: float) -> bool:
    """Half past two until four each night, in the long one from the first half past two; half an hour from one minute
    past eight on Tuesdays and Thursdays."""
    day = datetime.fromtimestamp(moment, BERLIN).date()
    begin, end, eight = (
        datetime.combine(day, when, BERLIN).timestamp() for when in (time(2, 30), time(4), time(20, 1))
    )
    return begin <= moment < end or (day.weekday() in (1, 3) and eight <= moment < eight + HOUR / 2)


def wanted(week: Week) -> Iterator[tuple[Seen, set[GateName]]]:
    """Each look with the gates that should be closed at it, as far as they can be told from outside."""
    streak: list[float] = []
    """When looks in a row found it out of balance that is as it was then: nothing was migrated since."""
    moved = [trip.at for trip in week.journal.moved("living", 0.0)]
    for seen in week.seen:
        look = seen.look
        if look.outcome in (Outcome.ERROR, Outcome.STANDBY):
            yield seen, set()
            continue
        since = max((when for when in moved if when <= look.at), default=0.0)
        streak = [*(when for when in streak if when > since), look.at] if look.above else []
        gates = {gate for gate, trouble in TROUBLES.items() if week.cluster.faults.at(look.at, trouble)}
        gates |= {GateName.FOREIGN} if week.cluster.is_foreign(look.at) else set()
        gates |= set() if in_window(look.at) else {GateName.WINDOW}
        gates |= {GateName.BLACKOUT} if in_blackout(look.at) else set()
        gates |= {gate for gate, most, span in rates(week.run) if starts(week, look.at - span, look.at) >= most}
        gates |= {GateName.LOOKS} if len(streak) < week.run.looks else set()
        gates |= _of_plan(week, seen)
        yield seen, gates


TROUBLES: Final = {
    GateName.QUORUM: Trouble.NO_QUORUM, GateName.BACKUP: Trouble.BACKUP,
}  # fmt: skip


def rates(run: Run) -> Iterator[tuple[GateName, int, float]]:
    """Migrations that may be started within so many seconds."""
    for gate, most, span in ((GateName.PER_HOUR, run.per_hour, HOUR), (GateName.PER_DAY, run.per_day, DAY)):
        if most is not None:
            yield gate, most, span


def starts(week: Week, begin: float, end: float) -> int:
    """Migrations that were begun between two moments."""
    return sum(begin < one.at < end for one in week.cluster.asked)


def _of_plan(week: Week, seen: Seen) -> set[GateName]:
    plan, result = seen.plan, set[GateName]()
    if plan is None:
        return result
    copied = sum(migration.memory_mib + migration.local_disk_mib for migration in plan.migrations) / 1024
    if copied and (seen.spread - plan.spread.after) / copied < week.run.min_gain:
        result.add(GateName.GAIN)
    managed = {migration.vmid for migration in plan.migrations} & week.cluster.managed
    if managed and week.cluster.faults.at(seen.look.at, Trouble.BALANCER):
        result.add(GateName.BALANCER)
    return result
