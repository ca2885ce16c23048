"""Owns the meeting in the middle: the smallest spread within few migrations, from halves that complete each other.

What migrations add to the loads is a sum. So a set of them brings all loads into a window exactly if one half of it
adds what the other half leaves to be wished for; and of halves there are few enough to list them all (E. Horowitz,
S. Sahni: Computing partitions with applications to the knapsack problem, 1974). Every set that is better than what is
reached is offered to the search. When all have been, what is reached is proven.
"""

from dataclasses import replace

import numpy as np

from solvers.cells import MOST, Cells
from solvers.halves import Halves, Migrations, list_halves
from solvers.problem import Bools, Ints, Level
from solvers.search import Search

LIMIT = 12
"""Migrations beyond which there are too many halves."""
HALVES, NUMBERS = 3_000_000, 24_000_000
"""Halves of either kind that are listed, and what they add to loads: with all that belongs to it, some 300 MB."""
LISTED, LOOKED, PAIRED, REFUSED = 4e6, 4e6, 1e7, 0.1
"""Halves that are listed, places that are looked at and pairs that are compared in about a second, and the seconds
after which halves turn out to be too many."""
PART, BLOCK = 1 << 15, 1 << 20
"""Halves that look for partners at once, and pairs that are compared at once."""
SAMPLE = 1 << 12
"""Halves that show how many pairs there are."""
SHARE = 0.4
"""Part of the budget that it may take."""
ANY = 1 << 40
"""ppm that no spread exceeds."""
SHRINK = 0.7
"""Part of a value that is tried if the value is not affordable, at most."""
OFFERS, OFFERED = 2_000, 3_000
"""Sets that are offered in vain before only better ones are, and as many again before others shall try; how many are
offered in about a second."""


def meet(search: Search) -> bool:
    """Offer all sets of migrations that may be better, if they can be listed.

    What is refused breaks a rule or a limit, or has more violations than the incumbent: so the value of the first
    level below which nothing is accepted is proven in the meaning of `Result.bound`. Returns whether all that is as
    good in the first level has been offered too: then the incumbent is the best in later levels and cost as well.
    """
    problem = search.problem
    limit = problem.guests if problem.max_migrations is None else problem.max_migrations
    if search.closed() or limit > LIMIT or problem.balanced.sum() < 2:
        return False
    mark = search.mark(SHARE * search.total)
    halves = _halves(search, mark, Migrations(problem, limit))
    if halves is None:
        return False
    middle = Middle(search, mark, *halves)
    if not middle.exhaust(middle.affordable(search.score.spread)):
        return False
    search.cost_bound = max(search.cost_bound, search.score.cost[0])
    return True


def meet_with_fewer(search: Search) -> None:
    """Offer the best of as many migrations as can be listed, where the limit allows a few more."""
    problem, most = search.problem, search.problem.max_migrations
    for limit in range(most - 1, most // 2, -1) if most is not None and most <= LIMIT else ():
        if search.left() <= 0 or search.closed():
            return
        work = None if search.budget.work is None else search.left()
        budget = replace(search.budget, seconds=search.seconds(search.left()), work=work, progress=None)
        fewer = Search(problem.replace(max_migrations=limit), budget, problem.origin, 0)
        listed = meet(fewer)
        search.charge(fewer.spent)
        search.offer(fewer.best)
        if listed:
            return


def _halves(search: Search, mark: float, migrations: Migrations) -> tuple[Migrations, Halves, Halves] | None:
    """The fewest halves of all ways to split, in the time until a mark; None if they are too many.

    The more migrations belong to the first half, the better can be told which cannot become good.
    """
    best, least = None, min(HALVES, NUMBERS // migrations.change.shape[1])
    span = int(_spans(search.problem.aims[0], search.score.spread)[migrations.widest])
    for first_most in range((migrations.limit + 1) // 2, migrations.limit + 1) if migrations.exact else ():
        found = list_halves(migrations, first_most, span, least)
        if found is not None:
            best, least = (migrations, *found), sum(len(half.ranks) for half in found)
        search.charge(REFUSED if found is None else least / LISTED)
        if search.left(mark) <= 0 or (found is None and best is not None):
            break
    return best


class Middle:
    """The halves of all sets that may be better, and what they add to the loads."""

    def __init__(self, search: Search, mark: float, migrations: Migrations, first: Halves, second: Halves) -> None:
        self._search, self._mark, self._migrations = search, mark, migrations
        self._level = search.problem.aims[0]
        self._ranks = first.ranks, second.ranks
        self._changes = migrations.changes(first.ranks), migrations.changes(second.ranks)
        behind = len(migrations.pull)
        self._last = np.where(first.ranks < behind, first.ranks, -1).max(axis=1)
        self._next = second.ranks[:, 0].copy()
        self._few, self._many = (0, 1) if len(first.ranks) < len(second.ranks) else (1, 0)
        self._others = len(migrations.today) // len(self._level.metrics)
        self._vain = 0
        self._found: tuple[int, Cells] | None = None

    def affordable(self, value: int) -> int:
        """The highest value, up to one, for which the pairs that may reach it can be looked at; -1: none that helps."""
        search, count = self._search, len(self._changes[self._few])
        every, lookups = -(-count // SAMPLE), count * self._cells(value).corners
        while value >= max(search.bound, search.problem.goal):
            places = self._cells(value).near(self._wished(0, every))
            search.charge(lookups / every / LOOKED)
            work = every * int((places.end - places.start).sum()) / PAIRED + lookups / LOOKED
            left = max(0.0, search.left(self._mark))
            if work <= left:
                return value
            value = min(value - 1, int(value * min(SHRINK, (left / work) ** (1 / MOST))))
        return -1

    def exhaust(self, value: int) -> bool:
        """Offer every set that has at most a value and is at least as good as what is reached; prove what that says.

        Returns whether all of them have been offered. When too many are in vain, what is merely as good is left out.
        """
        search, turns = self._search, -(-len(self._changes[self._few]) // PART) if value >= 0 else 0
        for turn in range(turns):
            if search.closed() and self._vain > OFFERS:
                break
            cells = self._cells(self._top(value))
            places = cells.near(self._wished(turn, turns))
            search.charge(len(places.box) / LOOKED)
            for few, many in cells.pairs(places, BLOCK):
                search.charge(len(few) / PAIRED)
                here = few * turns + turn
                self._offer(*((here, many) if self._few == 0 else (many, here)), value)
                if search.left(self._mark) <= 0 or self._vain > 2 * OFFERS:
                    return False
        if turns:
            search.prove(min(value + 1, search.score.spread))
        return self._vain <= OFFERS and value >= search.score.spread

    def _wished(self, turn: int, turns: int) -> Ints:
        """What one in `turns` of the fewer halves leave to be wished for of the others."""
        return -self._migrations.today - self._changes[self._few][turn::turns]

    def _top(self, value: int) -> int:
        """The highest value of what is still to be offered."""
        return min(value, self._search.score.spread - (self._vain > OFFERS))

    def _cells(self, value: int) -> Cells:
        """The more numerous halves by cells that are as wide as the window of a value, or up to twice as wide."""
        if self._found is None or not value <= self._found[0] <= 2 * value:
            spans = np.repeat(_spans(self._level, value), self._others)
            self._search.charge(len(self._changes[self._many]) / LISTED)
            self._found = value, Cells(self._changes[self._many], spans)
        return self._found[1]

    def _offer(self, first: Ints, second: Ints, value: int) -> None:
        """Offer the sets of pairs that have at most a value and are as good as what is reached, the best first."""
        search, migrations = self._search, self._migrations
        first, second = _only(self._last[first] < self._next[second], first, second)
        values = self._values(first, second)
        first, second, values = _only(values <= self._top(value), first, second, values)
        fit = migrations.fit(self._ranks[0][first], self._ranks[1][second])
        first, second, values = _only(fit, first, second, values)
        for i in np.argsort(values, kind="stable"):
            if values[i] > self._top(value) or self._vain > 2 * OFFERS or search.ended():
                break
            ranks = np.append(self._ranks[0][first[i]], self._ranks[1][second[i]])
            self._vain += not search.offer(migrations.after(ranks))
            search.charge(1 / OFFERED)

    def _values(self, first: Ints, second: Ints) -> Ints:
        """(p,) value of the first level after the sets of pairs, in ppm."""
        loads = self._migrations.today + self._changes[0][first] + self._changes[1][second]
        loads = loads.reshape(len(first), len(self._level.metrics), self._others)
        spreads = np.maximum(loads.max(axis=2), 0) - np.minimum(loads.min(axis=2), 0)
        if not self._level.weights:
            return np.asarray(spreads.max(axis=1), dtype=np.int64)
        return np.asarray(spreads @ np.array(self._level.weights) // sum(self._level.weights), dtype=np.int64)


def _only(chosen: Bools, *columns: Ints) -> tuple[Ints, ...]:
    return tuple(column[chosen] for column in columns)


def _spans(level: Level, value: int) -> Ints:
    """(metrics of the level,) the largest spread of each with which the level can have a value, in ppm."""
    if not level.weights:
        return np.full(len(level.metrics), value, dtype=np.int64)
    whole = sum(level.weights)
    spans = [(value * whole + whole - 1) // weight for weight in level.weights]
    return np.array([min(span, ANY) for span in spans], dtype=np.int64)
