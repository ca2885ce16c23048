"""Owns lower bounds on the spread that hold for every assignment within the migration limit.

Two relaxations that ignore everything but eligibility: (1) to bring every node down to a load, its
largest guests must leave, and each departure is a migration; (2) to bring every node up to a load,
the largest guests must come, and each arrival is a migration. The lowest reachable maximum and
the highest reachable minimum, each under the whole limit, bound the spread from below.
"""

from collections.abc import Callable

import numpy as np

from solvers.problem import Bools, Ints, Problem


def spread_bound(problem: Problem) -> int:
    """ppm below which no assignment within the limit brings the spread."""
    if not problem.balanced.any():
        return 0
    loads = problem.loads(problem.origin)
    movable = _movable(problem)
    limit = int(movable.sum())
    if problem.max_migrations is not None:
        limit = min(limit, problem.max_migrations)
    gaps = [_metric_bound(problem, k, loads[k], movable, limit) for k in range(problem.metrics)]
    return max([0, *gaps])


def _metric_bound(problem: Problem, k: int, load: Ints, movable: Bools, limit: int) -> int:
    nodes = np.flatnonzero(problem.balanced)
    down = [_departures(problem, k, int(node), movable) for node in nodes]
    up = [_arrivals(problem, k, int(node), movable, limit) for node in nodes]
    bottom = np.array([load[node] - steps.sum() for node, steps in zip(nodes, down, strict=True)])
    top = np.array([load[node] + steps.sum() for node, steps in zip(nodes, up, strict=True)])

    def enough_leave(height: int) -> bool:
        return height >= bottom.max() and _steps(load[nodes] - height, down) <= limit

    def enough_come(height: int) -> bool:
        return height <= top.min() and _steps(height - load[nodes], up) <= limit

    highest, lowest = int(load[nodes].max()), int(load[nodes].min())
    maximum = _bisect(enough_leave, highest, min(int(bottom.min()), highest) - 1)
    minimum = _bisect(enough_come, lowest, max(int(top.max()), lowest) + 1)
    return maximum - minimum


def _steps(excess: Ints, steps: list[Ints]) -> int:
    """Fewest migrations whose largest steps add up to at least each positive excess."""
    total = 0
    for amount, sizes in zip(excess, steps, strict=True):
        if amount > 0:
            total += int(np.searchsorted(np.cumsum(sizes), amount)) + 1
    return total


def _bisect(holds: Callable[[int], bool], good: int, bad: int) -> int:
    """The value nearest to `bad` for which a monotone condition, true at `good`, still holds."""
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


def _departures(problem: Problem, k: int, node: int, movable: Bools) -> Ints:
    guests = np.flatnonzero(movable & (problem.origin == node))
    return np.sort(problem.weights(guests, node)[k])[::-1]


def _arrivals(problem: Problem, k: int, node: int, movable: Bools, limit: int) -> Ints:
    """Weights of the largest `limit` guests that may come to a node."""
    may_come = problem.eligibility[:, node][problem.eligible]
    guests = np.flatnonzero(movable & may_come & (problem.origin != node))
    if len(guests) > limit:
        guests = guests[np.argpartition(-problem.demand[k, guests], limit)[:limit]]
    return np.sort(problem.weights(guests, node)[k])[::-1]


def _movable(problem: Problem) -> Bools:
    """Guests that may be migrated and are allowed on some other node."""
    elsewhere = problem.eligibility.sum(axis=1)[problem.eligible]
    at_home = problem.eligibility[problem.eligible, problem.origin]
    result: Bools = problem.movable & (elsewhere - at_home > 0)
    return result
