"""Owns the front of spread against what migrations cost: the best within every limit, and what is proven of each.

Limits are of migrations or of MiB, whichever the problem prefers. All of them together are one search, because each
helps the others (see `solvers.known`): local search at limits far apart, single migrations undone again to fill in the
limits between them, the linear relaxation for quick bounds, then the exact search wherever most is still open. Limits
of MiB are not known beforehand: below each point that is found the next one is asked for, at one MiB less
(epsilon-constraint method; Haimes, Lasdon, Wismer 1971).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from solvers import bounds, check, cpsat, descent
from solvers.front import Front, Point, Told
from solvers.frontier import PRECISION, relaxed_bound
from solvers.known import Known
from solvers.meet import LIMIT, meet
from solvers.peel import peeled
from solvers.problem import Cost, Ints, Problem
from solvers.purse import Purse
from solvers.result import Budget, Status
from solvers.search import Search

SCOUTED, RELAXED = 0.35, 0.6
"""Parts of the budget until which limits are searched locally, and then relaxed, before the exact search begins."""
PART, LONGER = 1 / 16, 2.0
"""Part of the budget that the exact search of one limit may take at first, and how much more each time it returns."""
CROWDED = 4
"""So many parts of the mean distance of points are too little for another one in the middle of them."""
STEPS = 400
"""Steps of local search that count as a second of work."""
RELAXATION = 0.5
"""Work that the relaxation of one limit counts as."""
LEAST = 1.0
"""Seconds that either may take for a limit that is new afterwards."""
EACH = 4.0
"""Times its share of the time that a relaxation may take: most take less."""
BOUND_SECONDS = 60.0
"""Seconds that a relaxation may take where work is what is limited."""


def by_migrations(
    problem: Problem, most: int, budget: Budget, told: Told | None = None, least: int = 0, known: Iterable[Ints] = ()
) -> Front:
    """The best within every number of migrations from the least to the most; other limits hold at all of them.

    `known` are assignments to start from."""
    most = min(most, problem.guests)
    sweep = _Sweep(_plain(problem, Cost.MIGRATIONS, max_migrations=most), range(least, most + 1), budget, told)
    sweep.run(known)
    return sweep.front()


def by_mib(
    problem: Problem, points: int, budget: Budget, told: Told | None = None, least: int = 0, known: Iterable[Ints] = ()
) -> Front:
    """The best for every amount of MiB from the least to the problem's limit, or about so many points of that front if
    it has more; other limits of the problem hold at all of them."""
    most = int(problem.copy_mib.sum()) if problem.max_moved_mib is None else problem.max_moved_mib
    sweep = _Sweep(_plain(problem, Cost.MIB, max_moved_mib=most), (least, most), budget, told, points)
    sweep.run(known)
    return sweep.front()


def _plain(problem: Problem, prefer: Cost, **limit: int) -> Problem:
    """The problem in which nothing is tolerated, so that every spread is told apart, with its largest limit."""
    return problem.replace(goal=0, tolerance=0, prefer=prefer, **limit)


class _Sweep:
    """One search over all limits: its clock, its limits, and what is known of them."""

    def __init__(
        self, problem: Problem, limits: "range | tuple[int, ...]", budget: Budget, told: Told | None, points: int = 0
    ) -> None:
        self.problem, self.known, self._told = problem, Known(problem), told
        self._limits, self._points = sorted(set(limits)), points
        self._least, self._most = self._limits[0], self._limits[-1]
        self._purse, self._searches = Purse(budget), 0
        self._scouted, self._afresh, self._relaxed = set[int](), set[int](), set[int]()
        self._tries: dict[int, int] = {}
        self._small = cpsat.size(problem) <= cpsat.SMALL

    # --- the course -----------------------------------------------------------------------------------

    def run(self, known: Iterable[Ints] = ()) -> None:
        """Search until all is proven or the budget is spent."""
        for assignment in known:
            self.known.offer(assignment)
        for limit in self._limits:
            self._begin(limit)
        if self._points:
            self._find_limits()
        elif self._small:
            self._close_lowest()
        self._each(self._scout, self._scouted, SCOUTED)
        self._each(self._scout_afresh, self._afresh, SCOUTED)
        self._each(self._relax, self._relaxed, RELAXED)
        while self._purse.left() > 0 and self._go_on():
            pass

    def _go_on(self) -> bool:
        """A new limit where one is wanted, or the exact search where most is open; whether there was anything to do."""
        fresh = self._new_limit()
        if fresh is not None and not self._small:
            self._scout(fresh)
            self._relax(fresh)
            return True
        chosen = self._worst() if fresh is None else fresh
        if chosen is not None:
            self._close(chosen)
        return chosen is not None

    def _each(self, step: Callable[[int], None], done: set[int], share: float) -> None:
        """Do something with all limits that are open, until a part of the budget is spent."""
        while self._purse.left(share) > 0:
            limit = self._widest(done)
            if limit is None:
                return
            step(limit)

    def _close_lowest(self) -> None:
        """Search the lowest limits, which are proven at once on small clusters, up to the first one that is not."""
        for limit in self._limits:
            if self._purse.left() > 0 and not self.known.exact(limit):
                self._close(limit)
            if not self.known.exact(limit):
                return

    def _begin(self, limit: int) -> None:
        """What costs nothing: the bound by counting; and that without a migration nothing changes."""
        self.known.prove(limit, bounds.spread_bound(self._within(limit)))
        if limit == 0 and self.problem.prefer is Cost.MIGRATIONS:
            today = self.known.best(0).score
            self.known.prove(0, today.spread)
            self.known.prove_least(0, today.violations)

    def _find_limits(self) -> None:
        """Limits of MiB, where most of the front may still lie, one after the other."""
        self._scout(self._most)
        step, share = (self._close, RELAXED) if self._small else (self._scout, SCOUTED)
        while self._purse.left(share) > 0 and (limit := self._new_limit()) is not None:
            step(limit)

    def _new_limit(self) -> int | None:
        """A limit of MiB between two points; None where there is none, or there are points enough."""
        limit = self._next_between()
        if limit is not None:
            self._begin(limit)
            self._limits = sorted({*self._limits, limit})
        return limit

    def _widest(self, done: set[int]) -> int | None:
        """Of the open limits with which something has not been done the one furthest from those where it has been."""
        known = sorted({-1, *done, *(limit for limit in self._limits if self.known.exact(limit))})
        waiting = [limit for limit in self._limits if limit not in done and not self.known.exact(limit)]
        if not waiting:
            return None
        if self._most in waiting:
            return self._most
        at = np.searchsorted(known, waiting)
        above = np.append(known, self._most + 1)[at]
        distance = np.minimum(np.array(waiting) - np.array(known)[at - 1], above - np.array(waiting))
        return waiting[int(np.argmax(distance))]

    def _worst(self) -> int | None:
        """The limit where most is open, less for each time that it was searched; None if nothing is worth a search."""
        open_limits = [limit for limit in self._limits if not self.known.exact(limit)]
        worth = {limit: self.known.gap(limit) / (1 + self._tries.get(limit, 0)) for limit in open_limits}
        telling = [limit for limit in open_limits if self._small or self._is_told(limit)]
        return max(telling, key=lambda limit: (worth[limit], -self._tries.get(limit, 0)), default=None)

    def _is_told(self, limit: int) -> bool:
        """Whether something is open that a large cluster's search can tell."""
        return self.known.gap(limit) > PRECISION or (
            limit not in self._tries and self.known.best(limit).score.violations > self.known.least(limit)
        )

    def _next_between(self) -> int | None:
        """A limit in the widest room between points: the highest of it, or where it is wide the middle, so that points
        do not crowd; None where there is none, or there are points enough."""
        rooms = list(self._rooms())
        if not rooms or len(self._distinct()) > self._points:
            return None
        _, lower, upper = max((self._gap_between(lower, upper), lower, upper) for lower, upper in rooms)
        crowded = self.known.best(self._most).cost // (CROWDED * self._points)
        return upper if upper - lower <= max(1, crowded) else (lower + upper) // 2

    def _gap_between(self, lower: int, upper: int) -> int:
        """How much of the front may lie between two points: migrating so much less for so much more spread."""
        drop = self.known.best(lower).score.spread - self.known.best(upper + 1).score.spread
        return (upper - lower) * max(1, drop)

    def _rooms(self) -> Iterator[tuple[int, int]]:
        """Limits that were looked at, with the highest one below the next point, where others lie between the two."""
        for lower, upper in pairwise(self._limits if self._points else ()):
            cost = self.known.best(upper).cost
            if lower < cost - 1:
                yield lower, cost - 1

    def _distinct(self) -> list[int]:
        """Costs of the points, rising; the first may cost less than the least limit."""
        return sorted({self._tight(limit) for limit in self._limits})

    def _tight(self, limit: int) -> int:
        return max(self._least, self.known.best(limit).cost)

    # --- what is done with a limit --------------------------------------------------------------------

    def _within(self, limit: int) -> Problem:
        """The problem within a limit. One of MiB is one of migrations as well: as many as the smallest guests."""
        if self.problem.prefer is Cost.MIGRATIONS:
            return self.problem.replace(max_migrations=limit)
        smallest = np.cumsum(np.sort(self.problem.copy_mib[self.problem.movable]))
        most = int(np.searchsorted(smallest, limit, side="right"))
        given = self.problem.max_migrations
        return self.problem.replace(max_moved_mib=limit, max_migrations=most if given is None else min(given, most))

    def _scout(self, limit: int) -> None:
        """Local search from the best within the limit."""
        self._scouted.add(limit)
        self._search_from(limit, self.known.best(limit).assignment, 0)

    def _scout_afresh(self, limit: int) -> None:
        """Local search from today, which often ends elsewhere than one from what other limits have led to."""
        self._afresh.add(limit)
        self._search_from(limit, self.problem.origin, 1)

    def _search_from(self, limit: int, start: Ints, turn: int) -> None:
        taken = 0

        def stop() -> bool:
            nonlocal taken
            taken += 1
            return self._purse.ended()

        seconds = self._purse.seconds(max(LEAST, self._purse.left(SCOUTED) / 2))
        budget = Budget(seconds, self._purse.budget.seed + turn, stop=stop)
        found = descent.solve(self._within(limit), budget, start)
        self._purse.charge(taken / STEPS)
        if self.known.offer(found.assignment):
            self._peel(limit)
        self._tell()

    def _peel(self, limit: int) -> None:
        """Undo the migrations of the best within a limit, the least useful for what it costs first."""
        for assignment in peeled(self._within(limit), self.known.best(limit).assignment):
            self.known.offer(assignment)

    def _relax(self, limit: int) -> None:
        """The bound of the linear relaxation, which holds whatever is violated."""
        waiting = len([each for each in self._limits if each not in self._relaxed])
        share = max(LEAST, EACH * self._purse.left(RELAXED) / max(1, waiting))
        seconds = BOUND_SECONDS if self._purse.budget.work is not None else min(share, self._purse.left())
        bound = relaxed_bound(self._within(limit), seconds, self.known.best(limit).assignment)
        self._relaxed.add(limit)
        self._purse.charge(RELAXATION * len(self.problem.aims[0].metrics))
        self.known.prove(limit, bound)
        self._tell()

    def _close(self, limit: int) -> None:
        """The exact search from the best within the limit; on large clusters few migrations are all looked at first."""
        tries = self._tries.get(limit, 0)
        self._tries[limit], self._searches = tries + 1, self._searches + 1
        amount = min(self._purse.left(), PART * LONGER**tries * self._purse.total)
        work = None if self._purse.budget.work is None else amount
        budget = replace(self._purse.budget, seconds=self._purse.seconds(amount), work=work, progress=None)
        best, problem = self.known.best(limit), self._within(limit)
        search = Search(problem, budget, best.assignment, self.known.bound(limit, best.score.violations))
        if not self._small and not tries and (problem.max_migrations or math.inf) <= LIMIT:
            meet(search)
        answer = cpsat.improve(search)
        self._purse.charge(search.spent)
        left = len(check.violations(problem, answer.assignment))
        self.known.prove(limit, answer.bound, left)
        if answer.status is Status.INFEASIBLE:
            self.known.prove_least(limit, left)
        if self.known.offer(answer.assignment):
            self._peel(limit)
        self._tell()

    # --- what is known --------------------------------------------------------------------------------

    def front(self) -> Front:
        """What is known now."""
        points = [self._point(limit) for limit in (self._distinct() if self._points else self._limits)]
        if self._points:  # what is better in a later level only is no point of its own
            points = [*points[:1], *(new for old, new in pairwise(points) if new.score[:2] < old.score[:2])]
        return Front(tuple(points), self._is_complete(), self._purse.spent(), self._searches)

    def _is_complete(self) -> bool:
        """Whether there is nothing between points, nor between the cost of one and the limit it was found within."""
        closed = (self._tight(limit) == limit or self.known.exact(limit) for limit in self._limits)
        return not self._points or (not any(self._rooms()) and all(closed))

    def _point(self, limit: int) -> Point:
        found = self.known.best(limit)
        bound = self.known.bound(limit, found.score.violations)
        return Point(limit, found.assignment, found.score, bound, self.known.exact(limit))

    def _tell(self) -> None:
        if self._told:
            self._told(self.front())
