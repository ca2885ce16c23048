"""Owns a second opinion on schedules: plays plans as rolling queues on its own clock, and looks at every instant."""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from planner import timetable
from planner.plan import Migration, Plan
from planner.waves import way_back
from tests.asks import Fact
from tests.instants import Ground, Instant
from tests.rulebook import Rulebook
from tests.scenario import Scenario

LONG = 1e6
"""Seconds, as good as for ever."""
ROUNDED = 0.01
"""Percentage points: loads are whole ppm of whole MiB."""
MOMENT = 1e-3
"""Seconds that do not matter."""


class Limits(NamedTuple):
    """How many migrations at once."""

    parallel: float = math.inf
    per_source: float = math.inf
    per_target: float = math.inf

    @classmethod
    def of(cls, plan: Plan) -> "Limits":
        """Those of a plan."""
        return cls(plan.schedule.parallel, plan.schedule.per_source, plan.schedule.per_target)


class Queue:
    """Migrations that start when what they wait for has ended and the limits allow it, in an order of preference."""

    def __init__(self, instant: Instant, migrations: Sequence[Migration], limits: Limits) -> None:
        self.instant, self.limits = instant, limits
        self.of = {migration.number: migration for migration in migrations}
        self.wrong, self.ended = list[str](), set[int]()
        self.makespan = 0.0
        self._waits = {m.number: set(m.after) for m in migrations}
        self._frees: dict[int, list[int]] = {}
        for migration in migrations:
            for number in migration.after:
                self._frees.setdefault(number, []).append(migration.number)
        self._from, self._to = Counter[str](), Counter[str]()
        self._running: list[tuple[float, int, int]] = []
        self._stage: dict[int, dict[int, int]] = {}
        """Bundle to guest to how many of its migrations have ended."""
        for migration in migrations:
            self._stage.setdefault(migration.bundle, {})[migration.vmid] = 0
        self._bundle_of = {m.vmid: m.bundle for m in migrations}

    def play(self, order: Sequence[int], lasts: Mapping[int, float], most: float = math.inf) -> None:
        """Until all have ended, or as many as are started at most, or something is wrong."""
        waiting, rank, now = list(order), {number: at for at, number in enumerate(order)}, 0.0
        while (waiting or self._running) and not self.wrong:
            for number in list(waiting):
                if len(order) - len(waiting) < most and self._may_start(number):
                    waiting.remove(number)
                    self._start(number)
                    heapq.heappush(self._running, (now + lasts[number], rank[number], number))
            if not self._running:
                self.wrong += [f"migrations {waiting} wait for ever"] if len(order) - len(waiting) < most else []
                return
            now, _, number = heapq.heappop(self._running)
            self._end(number)
        self.makespan = now

    def _may_start(self, number: int) -> bool:
        if self._waits[number] or len(self._running) >= self.limits.parallel:
            return False
        source, target = self.of[number].source, self.of[number].target
        return self._from[source] < self.limits.per_source and self._to[target] < self.limits.per_target

    def _start(self, number: int) -> None:
        migration = self.of[number]
        self._from[migration.source] += 1
        self._to[migration.target] += 1
        self.wrong += self.instant.start(migration.vmid, migration.source, migration.target)

    def _end(self, number: int) -> None:
        migration = self.of[number]
        self.ended.add(number)
        self._from[migration.source] -= 1
        self._to[migration.target] -= 1
        for freed in self._frees.get(number, ()):
            self._waits[freed].discard(number)
        if migration.vmid in self.instant.toward:
            self.instant.end(migration.vmid)
        self._stage[migration.bundle][migration.vmid] += 1
        if not self._travels(migration.vmid):
            for vmid in self._stage[migration.bundle]:
                self.wrong += [f"together no more, after {number}: {name}" for name in self._split(vmid)]

    def _travels(self, vmid: int) -> bool:
        """Whether a guest, or another of its bundle, is under way, or has still to follow."""
        stages = self._stage.get(self._bundle_of.get(vmid, -1), {})
        return len(set(stages.values())) > 1 or any(other in self.instant.toward for other in stages)

    def _split(self, vmid: int) -> list[str]:
        """Rules by which a guest belongs together with one that is elsewhere and does not travel."""
        ground, places = self.instant.ground, self.instant.places
        broken = []
        for name, members in ground.book.must.together:
            for other in members & set(places) - {vmid} if vmid in members else ():
                apart = places[other] != places[vmid] and not self._travels(other)
                if apart and ("together", name, tuple(sorted((vmid, other)))) not in ground.held:
                    broken.append(name)
        return broken


def at_every_instant(scenario: Scenario, plan: Plan, seed: int = 0) -> list[str]:
    """What is wrong with how a plan says that its migrations are carried out, and with its way back."""
    ground, rng = Ground(Rulebook(scenario)), Random(seed)
    there = {**ground.today, **{m.vmid: m.target for m in plan.migrations}}
    back = tuple(migration for wave in plan.rollback for migration in wave)
    limits, bound = Limits.of(plan), 0 if plan.schedule.bandwidth else plan.schedule.bound  # plays know no networks
    wrong = _played(lambda: Instant(ground, ground.today, ground.room), plan.migrations, limits, bound, rng)
    home = {**there, **{m.vmid: m.target for m in back}}
    lost = {vmid: node for vmid, node in ground.today.items() if home[vmid] != node}
    way_back = _played(lambda: Instant(ground, there, ground.room_back), back, limits, 0, rng)
    wrong += [f"on the way back: {line}" for line in way_back]
    wrong += [f"the way back does not bring guests to where they were: {lost}"] if lost else []
    return wrong + _turned_round(ground, plan, rng) + _timetable(plan) + _cut_off(ground, plan)


def _played(
    start: Callable[[], Instant], migrations: Sequence[Migration], limits: Limits, bound: float, rng: Random
) -> list[str]:
    """What is wrong in some plays, in one of which each migration takes as long as expected."""
    numbers = [migration.number for migration in migrations]
    expected = {m.number: m.end - m.begin or 1.0 for m in migrations}
    shuffled = [rng.sample(numbers, len(numbers)) for _ in range(4)]
    plays: list[tuple[Sequence[int], Mapping[int, float], Limits]] = [
        (numbers, expected, limits),
        (shuffled[0], expected, limits),
        (shuffled[1], dict.fromkeys(numbers, 1.0), limits),
        (shuffled[2], _extreme(numbers, rng), Limits()),
        (shuffled[3], _extreme(numbers, rng), Limits()),
    ]
    for order, lasts, its in plays if migrations else ():
        queue = Queue(start(), migrations, its)
        queue.play(order, lasts)
        if queue.wrong:
            return queue.wrong
        if lasts is expected and queue.makespan < bound - MOMENT:
            return [f"proven to take {bound} s at least, but takes {queue.makespan}"]
    return []


def _turned_round(ground: Ground, plan: Plan, rng: Random) -> list[str]:
    """What is wrong with the way back where no more is started from some instant on."""
    numbers = [migration.number for migration in plan.migrations]
    queue = Queue(Instant(ground, ground.today, ground.room), plan.migrations, Limits.of(plan))
    queue.play(rng.sample(numbers, len(numbers)), _extreme(numbers, rng), rng.randint(0, len(numbers)))
    done = [migration for migration in plan.migrations if migration.number in queue.ended]
    limits = timetable.Limits(*Limits.of(plan), plan.schedule.bandwidth)
    back = [migration for wave in way_back(done, limits, "") for migration in wave]
    there = dict(queue.instant.places)
    wrong = queue.wrong + _played(lambda: Instant(ground, there, ground.room_back), back, Limits.of(plan), 0, rng)
    home = {**there, **{m.vmid: m.target for m in back}}
    wrong += ["it does not bring all guests to where they were"] if home != ground.today else []
    return [f"cut off after {sorted(queue.ended)}, on the way back: {line}" for line in wrong]


def _extreme(numbers: Sequence[int], rng: Random) -> dict[int, float]:
    """No time at all, or for ever."""
    return {number: rng.choice([0.0, LONG * (1 + rng.random())]) for number in numbers}


def _timetable(plan: Plan) -> list[str]:
    """What contradicts itself in when migrations are expected to begin and to end."""
    schedule, wrong = plan.schedule, list[str]()
    of = {migration.number: migration for migration in plan.migrations}
    begins = [migration.begin for migration in plan.migrations]
    if begins != sorted(begins) or list(of) != list(range(1, len(of) + 1)):
        wrong.append("the numbers are not in the order of starts")
    for migration in plan.migrations:
        if migration.end < migration.begin or any(of[n].end > migration.begin + MOMENT for n in migration.after):
            wrong.append(f"migration {migration.number} begins at {migration.begin} before what it waits for has ended")
        copied = migration.local_disk_mib + (migration.memory_mib if migration.type == "vm" else 0)
        if migration.rate * (migration.end - migration.begin) < copied - MOMENT:
            wrong.append(f"migration {migration.number} copies {copied} MiB too fast for {migration.rate} MiB/s")
        at_once = [m for m in plan.migrations if m.begin <= migration.begin < m.end - MOMENT]
        many = len(at_once), *(sum(getattr(m, end) == getattr(migration, end) for m in at_once) for end in ENDS)
        if any(number > limit for number, limit in zip(many, Limits.of(plan), strict=True)):
            wrong.append(f"at {migration.begin} s there are {many}: more than {Limits.of(plan)}")
        for end in ENDS if schedule.bandwidth else ():
            there = [m for m in at_once if getattr(m, end) == getattr(migration, end)]
            rate = sum(m.rate for m in there)
            if len(there) > 1 and rate > (schedule.bandwidth or 0) + MOMENT:  # one alone is as fast as it can
                wrong.append(f"at {migration.begin} s {getattr(migration, end)} carries {rate} MiB/s")
    last = max((migration.end for migration in plan.migrations), default=0.0)
    if abs(last - schedule.seconds) > MOMENT:
        wrong.append(f"the last one ends after {last} s, not {schedule.seconds}")
    if not schedule.bound - MOMENT <= schedule.seconds <= schedule.one_by_one + MOMENT:
        wrong.append(f"{schedule.seconds} s, at least {schedule.bound}, one by one {schedule.one_by_one}")
    return wrong


ENDS = ("source", "target")


def _cut_off(ground: Ground, plan: Plan) -> list[str]:
    """What is wrong where the plan is cut off after a wave."""
    book, places, wrong = ground.book, dict(ground.today), list[str]()
    if len(plan.schedule.checkpoints) != len(plan.waves):
        return [f"{len(plan.waves)} waves, {len(plan.schedule.checkpoints)} checkpoints"]
    balanced = set(book.scenario.nodes) - book.closed
    start = len(plan.violations_before), max(plan.spread.before, plan.balanciness)
    before, spread_before = start
    for number, (wave, said) in enumerate(zip(plan.waves, plan.schedule.checkpoints, strict=True), 1):
        places |= {migration.vmid: migration.target for migration in wave}
        new: set[Fact] = book.broken(places) - ground.held
        wrong += [f"broken after wave {number}: {fact}" for fact in new]
        spread = book.room.spread(places, balanced)
        if spread is not None and abs(spread - said.spread) > ROUNDED:
            wrong.append(f"the spread after wave {number} is {spread}, not {said.spread}")
        end = number == len(plan.waves)
        since = start if end else (before, max(spread_before, start[1]))
        larger = said.spread > since[1] + ROUNDED
        if said.violations > since[0] or (larger and said.violations == since[0]):
            wrong.append(f"worse after wave {number} than before: {said}, {since}")
        before, spread_before = said.violations, said.spread
        if abs(said.seconds - max(m.end for m in plan.migrations[: sum(map(len, plan.waves[:number]))])) > MOMENT:
            wrong.append(f"wave {number} does not end after {said.seconds} s")
    return wrong + _last(plan)


def _last(plan: Plan) -> list[str]:
    """What is wrong with the last checkpoint, which is the end of the plan."""
    end = len(plan.violations_after), plan.spread.after
    last = [(said.violations, said.spread) for said in plan.schedule.checkpoints[-1:]]
    return [f"the last checkpoint is {said}, the end of the plan {end}" for said in last if said != end]
