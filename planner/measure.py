"""Owns what a course of placements was worth: overload, spread, counts; by arithmetic of its own."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from planner.rule import Kind, Rule

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

OVERLOAD = 0.9
"""Part of what a node can give above which it is overloaded."""
DAY = 24 * 3600
AWAY = -1
"""Stands for the node of a guest that is not there."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What was demanded of one resource, whoever was where: arrays in one unit, which does not matter."""

    step: int
    """Seconds of a step."""
    demand: Floats
    """(g, t) of guests; what is not known, as a guest is not there, is NaN."""
    own: Floats
    """(n, t) of nodes beside their guests; NaN where a node is not there."""
    ability: Floats
    """(n, t) what nodes can give."""

    def loads(self, step: int, homes: Places) -> Floats:
        """(n,) parts of what the nodes can give, with guests at home there."""
        there = homes != AWAY
        demand = np.nan_to_num(self.demand[there, step])
        taken = np.bincount(homes[there], weights=demand, minlength=len(self.ability))
        result: Floats = (self.own[:, step] + taken) / self.ability[:, step]
        return result


class Change(NamedTuple):
    """A guest is on another node from then on; seconds since the beginning."""

    at: float
    guest: int
    node: int


class Trip(NamedTuple):
    """A migration that was carried out; until its end the guest is where it came from."""

    guest: int
    source: int
    target: int
    begin: float
    end: float


@dataclass(frozen=True, eq=False)
class Course:
    """Where guests were over time."""

    start: Places
    """(g,) node of each guest; AWAY for one that is not there yet."""
    changes: tuple[Change, ...]
    """In the order of time: the ends of trips, and guests that come and go by themselves."""
    trips: tuple[Trip, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What is measured of a course."""

    overload_minutes: float
    """Minutes times nodes with a load above OVERLOAD, of any of the resources that were looked at."""
    spread_mean: float
    """Percentage points between the fullest and the emptiest node, the worst of the resources; over the time in which
    there are nodes; NaN without any such time."""
    spread_p95: float
    """What it is not above for 95 % of the time."""
    migrations: float
    """Per day."""
    gib: float
    """Per day, of memory that guests used when they left."""
    ping_pongs: int
    """Migrations to a node that the guest had left within a day."""
    broken_minutes: float
    """Minutes times rules that must hold and did not."""
    memory_minutes: float
    """Minutes times nodes whose guests used more memory than there is."""


Broken = Callable[[int, Places], int]
"""How many rules are broken in a step, with guests at home there."""


def measure(course: Course, scenes: Sequence[Scene], memory: Scene, broken: Broken | None = None) -> Figures:
    """Figures of a course, from its first to its last step; every moment counts for as long as it lasts."""
    steps, step = memory.demand.shape[1], memory.step
    overload = unruly = full = 0.0
    spreads: list[float] = []
    lasted: list[float] = []
    for now, seconds, homes in segments(course, step, steps):
        loads = np.stack([scene.loads(now, homes) for scene in scenes])
        overload += seconds * int((np.nan_to_num(loads) > OVERLOAD).any(axis=0).sum())
        full += seconds * int((np.nan_to_num(memory.loads(now, homes)) > 1).sum())
        unruly += seconds * broken(now, homes) if broken else 0.0
        if not np.isnan(loads).all():
            spreads.append(float((np.nanmax(loads, axis=1) - np.nanmin(loads, axis=1)).max()) * 100)
            lasted.append(seconds)
    days, mean = steps * step / DAY, float(np.average(spreads, weights=lasted)) if spreads else float("nan")
    copied = sum(float(np.nan_to_num(memory.demand[trip.guest, int(trip.begin // step)])) for trip in course.trips)
    return Figures(
        overload / 60, mean, quantile(spreads, lasted, 0.95),
        len(course.trips) / days, copied / 1024 / days, ping_pongs(course.trips), unruly / 60, full / 60,
    )  # fmt: skip


def load_table(course: Course, scene: Scene) -> Floats:
    """(n, t) load of each node in percent, on average over each step."""
    table = np.zeros((len(scene.ability), scene.demand.shape[1]))
    for now, seconds, homes in segments(course, scene.step, scene.demand.shape[1]):
        table[:, now] += scene.loads(now, homes) * 100 * seconds / scene.step
    return table


def segments(course: Course, step: int, steps: int) -> Iterator[tuple[int, float, Places]]:
    """(step, seconds, homes of the guests) for every while in which nothing changes."""
    homes, left = course.start.copy(), list(reversed(course.changes))
    for now in range(steps):
        begin, end = float(now * step), float((now + 1) * step)
        while left and left[-1].at < end:
            change = left.pop()
            if change.at > begin:
                yield now, change.at - begin, homes.copy()
                begin = change.at
            homes[change.guest] = change.node
        yield now, end - begin, homes.copy()


def quantile(values: Sequence[float], weights: Sequence[float], part: float) -> float:
    """The smallest of some values that are not exceeded for that part of their weights; NaN of none."""
    if not len(values):
        return float("nan")
    order = np.argsort(values)
    reached = np.cumsum(np.asarray(weights)[order])
    index = int(np.searchsorted(reached, part * reached[-1] * (1 - 1e-12)))
    return float(np.asarray(values)[order][index])


def ping_pongs(trips: Iterable[Trip]) -> int:
    """How many trips lead to a node that the guest had left within a day."""
    left: dict[tuple[int, int], float] = {}
    count = 0
    for trip in sorted(trips, key=lambda trip: trip.end):
        count += trip.end - left.get((trip.guest, trip.target), -np.inf) < DAY
        left[trip.guest, trip.source] = trip.end
    return count


def broken_rules(rules: Iterable[Rule], domains: Mapping[str, Mapping[str, str]], homes: Mapping[int, str]) -> int:
    """How many of some rules do not hold that must, with guests (vmid to node) there; of pins, each guest counts."""
    return sum(_broken(rule, domains, homes) for rule in rules if not rule.price)


def _broken(rule: Rule, domains: Mapping[str, Mapping[str, str]], homes: Mapping[int, str]) -> int:
    nodes = [[homes[vmid] for vmid in side if vmid in homes] for side in rule.sides]
    if rule.kind is Kind.PIN:
        return sum(node not in rule.nodes for side in nodes for node in side)
    if rule.kind is Kind.TOGETHER:
        return int(len({node for side in nodes for node in side}) > 1)
    if rule.kind is Kind.APART:
        labels = domains.get(rule.per, {}) if rule.per else {}
        sides = [{(node in labels, labels.get(node, node)) for node in side} for side in nodes]
        places = {place for side in sides for place in side}
        return int(any(sum(place in side for side in sides) > rule.most for place in places))
    return 0
