"""Owns lower bounds on the spread and on the cost that hold for every assignment within the limits.

Relaxations that ignore everything but who may come: to bring every node down to a load, guests must leave it;
to bring every node up to a load, guests must come to it. Each of them is a migration and copies something. The
lowest maximum and the highest minimum within the limits bound the spread from below; the window of loads in which
leaving and coming are cheapest, at a given spread, bounds the cost.
"""

from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from solvers.problem import PPM, Bools, Cost, Ints, Problem, Score

NEVER = 1 << 62
"""More than anything costs."""
PREFIX = 64
"""Guests that are looked at first when a node has to gain; then twice as many, and so on."""


class Toll(NamedTuple):
    """The least that something costs, each for itself."""

    migrations: int
    mib: int


def spread_bound(problem: Problem) -> int:
    """ppm below which no assignment within the limits brings the value of the first level."""
    if not problem.balanced.any():
        return 0
    bounds = np.zeros(problem.metrics, dtype=np.int64)
    for k in problem.aims[0].metrics:
        bounds[k] = max(0, _narrowest(problem, _Metric(problem, k)))
    return problem.aims[0].value(bounds)


def cost_bound(problem: Problem, score: Score) -> int:
    """The least first cost of an assignment within the limits that is as good as a score in every level."""
    result = 0
    if not problem.balanced.any():
        return result
    for level, value in zip(problem.aims, (score.spread, *score.later), strict=True):
        for index, k in enumerate(level.metrics):
            whole = sum(level.weights)
            span = (value * whole + whole - 1) // level.weights[index] if level.weights else value
            result = max(result, _cheapest(_Metric(problem, k), span, problem.prefer))
    return result


def _narrowest(problem: Problem, metric: "_Metric") -> int:
    most = problem.guests if problem.max_migrations is None else problem.max_migrations
    most_mib = NEVER - 1 if problem.max_moved_mib is None else problem.max_moved_mib

    def allowed(toll: Toll) -> bool:
        return toll.migrations <= most and toll.mib <= most_mib

    highest, lowest = int(metric.load.max()), int(metric.load.min())
    floor = min(int(metric.bottom.min()), highest) - 1
    maximum = _bisect(lambda height: allowed(metric.leave(height)), highest, floor)
    minimum = _bisect(lambda height: allowed(metric.come(height)), lowest, max(metric.mean, lowest) + 1)
    return maximum - minimum


def _cheapest(metric: "_Metric", span: int, prefer: Cost) -> int:
    """The least cost of bringing every load into some window: the higher it is, the less must leave, the more come."""
    unit = 0 if prefer is Cost.MIGRATIONS else 1
    lowest, end = int(metric.load.min()), max(metric.mean, int(metric.load.min())) + 1

    def leave(low: int) -> int:
        return metric.leave(low + span)[unit]

    def come(low: int) -> int:
        return NEVER if low >= end else metric.come(low)[unit]

    if leave(lowest) <= 0:
        return 0
    last = _bisect(lambda low: leave(low) > come(low), lowest, end)
    result = min(leave(last), come(last + 1))
    return 0 if result >= NEVER else result  # no assignment is that good: then nothing need be said of its cost


class _Metric:
    """What one metric's balanced nodes can lose and gain, at which cost."""

    def __init__(self, problem: Problem, k: int) -> None:
        self.problem, self.k = problem, k
        self.mean = problem.mean(k)
        self.nodes = np.flatnonzero(problem.balanced)
        self.load = problem.loads(problem.origin)[k, self.nodes]
        guests = np.flatnonzero(_movable(problem) & (problem.demand[k] > 0))
        guests = guests[np.argsort(-problem.demand[k, guests], kind="stable")]
        self._guests, home = guests, problem.origin[guests]
        by_node = np.argsort(home, kind="stable")
        ends = np.searchsorted(home[by_node], self.nodes, side="right")
        starts = np.searchsorted(home[by_node], self.nodes, side="left")
        self._down = [
            _Goods(problem.weights(guests[by_node[a:b]], int(node))[k], problem.copy_mib[guests[by_node[a:b]]])
            for node, a, b in zip(self.nodes, starts, ends, strict=True)
        ]
        self.bottom = self.load - np.array([goods.total for goods in self._down], dtype=np.int64)
        # A weight is at most demand x PPM / ability + 1/2: with this, demands add up to more than weights do.
        half = int(problem.ability[k, self.nodes].max())
        self._all = _Goods([2 * PPM * int(d) + half for d in problem.demand[k, guests]], problem.copy_mib[guests])
        self._up: dict[int, tuple[int, Ints]] = {}

    def leave(self, height: int) -> Toll:
        """The least to bring every balanced node down to a load in ppm."""
        if height < self.bottom.max():
            return Toll(NEVER, NEVER)
        over = np.flatnonzero(self.load > height)
        amounts = [(self._down[i], int(self.load[i]) - height) for i in over.tolist()]
        return Toll(sum(goods.fewest(a) for goods, a in amounts), sum(goods.cheapest(a) for goods, a in amounts))

    def come(self, height: int) -> Toll:
        """The least to bring every balanced node up to a load in ppm: node by node, and all from different guests."""
        under = np.flatnonzero(self.load < height).tolist()
        fewest = sum(self._arrivals(i, height - int(self.load[i])) for i in under)
        ability = self.problem.ability[self.k, self.nodes]
        whole = sum(2 * int(ability[i]) * (height - int(self.load[i])) for i in under)
        if fewest >= NEVER or whole > self._all.total:
            return Toll(NEVER, NEVER)
        return Toll(max(fewest, self._all.fewest(whole)), self._all.cheapest(whole))

    def _arrivals(self, i: int, amount: int) -> int:
        """Fewest guests that bring so many ppm to a node; of the largest only as many are looked at as are needed."""
        node, (size, reached) = int(self.nodes[i]), self._up.get(i, (0, np.zeros(0, dtype=np.int64)))
        while size < len(self._guests) and amount > reached.max(initial=0):
            size = max(PREFIX, 2 * size)
            guests = self._guests[:size]
            may_come = self.problem.eligibility[self.problem.eligible[guests], node]
            guests = guests[may_come & (self.problem.origin[guests] != node)]
            reached = np.cumsum(self.problem.weights(guests, node)[self.k])
            self._up[i] = size, reached
        return NEVER if amount > reached.max(initial=0) else int(np.searchsorted(reached, amount)) + 1


class _Goods:
    """Guests with what each contributes to an amount and what migrating it copies."""

    def __init__(self, sizes: "Ints | list[int]", mib: Ints) -> None:
        pairs = [(int(size), int(copy)) for size, copy in zip(sizes, mib, strict=True) if size > 0]
        self._largest = list(accumulate(sorted((size for size, _ in pairs), reverse=True)))
        self._pairs = sorted(pairs, key=lambda pair: (pair[1] / pair[0], pair))
        self._sizes = list(accumulate(size for size, _ in self._pairs))
        self._copied = [0, *accumulate(copy for _, copy in self._pairs)]
        self.total = self._sizes[-1] if pairs else 0

    def fewest(self, amount: int) -> int:
        """Fewest guests that contribute an amount, at most the total."""
        return bisect_left(self._largest, amount) + 1 if amount > 0 else 0

    def cheapest(self, amount: int) -> int:
        """Least MiB at which an amount, at most the total, is contributed by guests or parts of them."""
        if amount <= 0:
            return 0
        last = bisect_left(self._sizes, amount)
        size, copy = self._pairs[last]
        rest = amount - (self._sizes[last] - size)
        return self._copied[last] + -(-rest * copy // size)


def _bisect(holds: Callable[[int], bool], good: int, bad: int) -> int:
    """The value nearest to `bad` for which a monotone condition, true at `good`, still holds."""
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


def _movable(problem: Problem) -> Bools:
    """Guests that may be migrated and are allowed on some other node."""
    elsewhere = problem.eligibility.sum(axis=1)[problem.eligible]
    at_home = problem.eligibility[problem.eligible, problem.origin]
    result: Bools = problem.movable & (elsewhere - at_home > 0)
    return result
