"""Owns the planning of headroom: plan, see whose loss is not survived, keep room free for its guests, plan again.

Solvers know nothing of it: room that is kept free is less capacity, and how much HA guests may take of a node is one
capacity more. Whether that is enough is for `planner.survive` to say, and of all attempts the best is taken.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from planner.errors import MissingDependency
from planner.schedule import Reach
from planner.survive import Failover
from solvers import Budget, Result, Score, Status, bounds, check
from solvers.possible import Clock
from solvers.problem import Ints, Problem

QUICK = 0.1
"""Part of a time limit for one of the attempts, which a quick solver makes."""
CUTS = 3
"""Attempts that start from where the one before failed."""
SHARES = (0.5, 0.2, 0.8)
"""How far between the least and the most room that could be kept free everywhere."""
SPARE = (0.0, 0.5)
"""The same for one node alone."""

Rank = tuple[int, int, int, int, Score, int]
Solve = Callable[[Problem, str, Budget], Result]
InOrder = Callable[[Ints], Reach]
"""What can be got of an assignment."""


def kept(
    problem: Problem, failover: Failover, first: tuple[Result, Reach], solve: Solve, in_order: InOrder, solver: str,
    budget: Budget,
) -> tuple[Result, Reach]:  # fmt: skip
    """What was found first, or, where it loses headroom or lacks it, the best of some attempts to have it.

    No node whose loss is survived today is one whose loss is not: in doubt fewer migrations are made, or none.
    """
    if not failover.losses(first[1].assignment):
        return first
    attempts = _Attempts(problem, failover, first[1], in_order, budget.seconds)
    quick = replace(budget, seconds=budget.seconds * QUICK, progress=None)
    if budget.work is not None:
        quick = replace(quick, work=budget.work * QUICK)
    attempts.add_parts(first[1])
    try:
        unsettled = attempts.explore(lambda tight: solve(tight, "greedy" if solver == "greedy" else "cpsat", quick))
    except MissingDependency:
        unsettled = attempts.explore(lambda tight: solve(tight, solver, quick))
    if solver == "cpsat" and unsettled is not None:
        attempts.take(unsettled, lambda tight: solve(tight, solver, budget))
    reach = attempts.best
    if reach is first[1]:
        return first
    return _judged(problem, first[0], reach, first[0].seconds + attempts.seconds), reach


def _helpable(failover: Failover, assignment: Ints) -> Failover:
    """What headroom can help: not guests that have no place wherever there is room."""
    protected = failover.protected.copy()
    protected[[*lonely(failover), *(g for loss in failover.losses(assignment) for g in loss.ruled)]] = False
    return Failover(failover.problem, protected, failover.seed)


def _judged(problem: Problem, first: Result, reach: Reach, seconds: float) -> Result:
    """What is known of an assignment by what was proven without headroom: that only takes possibilities away."""
    score = check.score(problem, reach.assignment)
    bound = first.bound if score.violations <= first.score.violations else bounds.spread_bound(problem)
    spread = problem.spread(reach.assignment)
    proven = first.status is Status.OPTIMAL and bound is not None and score.spread <= max(bound, problem.goal)
    status = Status.OPTIMAL if proven and score.violations <= first.score.violations else Status.FEASIBLE
    return Result(first.solver, status, reach.assignment, score, spread, bound, seconds)


class _Attempts:
    """Assignments that were found, and the best of those that lose no headroom."""

    def __init__(
        self, problem: Problem, failover: Failover, first: Reach, in_order: InOrder, seconds: float
    ) -> None:  # fmt: skip
        self.problem, self.failover, self.first, self._in_order = problem, failover, first, in_order
        self.helpable = _helpable(failover, first.assignment)
        self.before = {loss.node for loss in failover.losses(problem.origin)}
        self.missing = self.helpable.missing(self.helpable.losses(problem.origin))
        """MiB, today."""
        self.seconds = 0.0
        """That solvers took."""
        self.best, self._rank = Reach(problem.origin, (), ()), self._ranked(problem.origin)
        self._managed = np.where(self.helpable.protected, problem.needs[:, 0], 0)
        self._latest, self._limit = first.assignment, seconds
        self.add(first)

    def add(self, reach: Reach) -> bool:
        """Whether it is the best so far."""
        rank = self._ranked(reach.assignment)
        if rank is None or (self._rank is not None and rank >= self._rank):
            return False
        self.best, self._rank = reach, rank
        return True

    def _ranked(self, assignment: Ints) -> Rank | None:
        """Broken rules, losses that are not survived for lack of room, how much more is missing then than today, all
        losses that are not survived, the score, what is missing; None where headroom is lost."""
        losses = self.failover.losses(assignment)
        if {loss.node for loss in losses} - self.before or check.broken(self.problem, assignment):
            return None
        score = check.score(self.problem, assignment)
        short = self.helpable.losses(assignment)
        missing = self.helpable.missing(short)
        return score.violations, len(short), max(0, missing - self.missing), len(losses), score, missing

    def add_parts(self, reach: Reach) -> None:
        """The first so many of its migrations: the most that lose no headroom, as far as that is found quickly."""
        clock = Clock(self._limit * QUICK)
        for count in range(len(reach.legs) - 1, 0, -1):
            if self.add(reach.first(count, self.problem.origin)) or clock.left() <= 0:
                return

    def explore(self, solve: Callable[[Problem], Result]) -> Problem | None:
        """Try one way after the other to keep room free, until one costs no spread.

        The way that went best is given back if a longer search could make more of it.
        """
        wanted = check.score(self.problem, self.first.assignment)
        unsettled: Problem | None = None
        tried: set[bytes] = set()
        for tight in self._ways():
            key = tight.capacity.tobytes() + tight.movable.tobytes()
            if key in tried:
                continue
            tried.add(key)
            result, better = self.take(tight, solve)
            if better:
                unsettled = None if result.status in (Status.OPTIMAL, Status.INFEASIBLE) else tight
            if self.seconds > self._limit:
                break
            if self._rank is not None and self._rank[:2] <= (wanted.violations, 0) and self._rank[4][:3] <= wanted[:3]:
                break
        return unsettled

    def take(self, tight: Problem, solve: Callable[[Problem], Result]) -> tuple[Result, bool]:
        """Solve a problem with less room; what was found, and whether it is the best so far."""
        result = solve(tight)
        self.seconds += result.seconds
        reach = self._in_order(result.assignment)
        self._latest = reach.assignment
        return result, self.add(reach)

    def _ways(self) -> Iterator[Problem]:
        """Ways to keep room free, as problems."""
        for _ in range(CUTS):
            yield self._as_found(self._latest)
            yield self._as_found(self._latest, wanted=True)
        for share in SHARES:
            for landing in (False, True):
                yield self._evenly(share, landing)
        for share in SPARE:
            yield self._spare(share)
        today = self._as_found(self.problem.origin)
        yield today
        yield today.replace(movable=today.movable & ~self.helpable.protected)
        for _ in range(CUTS):
            yield self._as_found(self.best.assignment)

    def _as_found(self, assignment: Ints, *, wanted: bool = False) -> Problem:
        """Free stays what would be taken over in this assignment, so that HA guests that find no place have to leave...

        `wanted`: ...or is made for them too, so that others have to.
        """
        return self._tight(self.helpable.taken_over(assignment, wanted=wanted))

    def _evenly(self, share: float, landing: bool) -> Problem:
        """Free on every node is the same part of it, and the HA guests of each fit into what is free on the others.

        The part is between the least with which that can be, HA guests spread evenly, and the most, loads all alike.
        `landing`: two nodes keep free what the largest guest needs, whichever of them fails.
        """
        problem, open_ = self.problem, self.problem.balanced
        room = np.where(open_, problem.capacity[:, 0], 0)
        whole, nodes = int(room.sum()), max(2, int(open_.sum()))
        free = whole - int(problem.usage(problem.origin)[open_, 0].sum())
        least = self._managed[open_[problem.origin]].sum() / ((nodes - 1) * max(1, whole))
        most = max(0.0, free / max(1, whole))
        part = least + share * (most - least) if least < most else most
        kept = np.floor(room * part).astype(np.int64)
        if landing:
            largest = int(problem.needs[self.helpable.protected, 0].max(initial=0))
            two = np.argsort(-room, kind="stable")[:2]
            kept[two] = np.maximum(kept[two], largest)
        all_kept = np.zeros_like(problem.capacity)
        all_kept[:, 0] = kept
        return self._tight(all_kept)

    def _spare(self, share: float) -> Problem:
        """The node with most free keeps free what is needed, in one piece, and holds no HA guests; others nothing."""
        problem, open_ = self.problem, self.problem.balanced
        left = np.where(open_, (problem.capacity - problem.usage(problem.origin))[:, 0], -1)
        spare = int(left.argmax())
        most = max(0, min(int(left[open_].sum()), int(problem.capacity[spare, 0])))
        least = min(most, int(self._managed[open_[problem.origin]].sum()) // max(1, int(open_.sum()) - 1))
        kept = np.zeros_like(problem.capacity)
        kept[spare, 0] = least + round(share * (most - least))
        return self._tight(kept)

    def _tight(self, kept: Ints) -> Problem:
        """The problem with so much less room, where HA guests take of no node more memory than the others keep."""
        problem = self.problem
        return problem.replace(
            needs=np.column_stack([problem.needs, self._managed]),
            capacity=np.column_stack([np.maximum(0, problem.capacity - kept), kept[:, 0].sum() - kept[:, 0]]),
        )


def impossible(problem: Problem, failover: Failover) -> tuple[int, int, int] | None:
    """What proves that not every loss can be survived, wherever guests are; None when this does not.

    MiB that are free in all, MiB of guests without HA that nodes larger than that have to hold, MiB of those there are.
    Guests of the node that fails have to fit into what the others have free, so that a node has to hold, of what need
    not be taken over, at least what it has room for beyond all that is free.
    """
    open_ = problem.balanced
    room, usage = problem.capacity[open_, 0], problem.usage(problem.origin)[open_, 0]
    free = int(room.sum() - usage.sum())
    here = open_[problem.origin] & ~failover.protected
    others = int(problem.needs[here, 0].sum())
    movable = ~open_[problem.origin] & ~failover.protected & problem.movable
    others += int(problem.needs[movable, 0].sum())
    needed = int(np.maximum(0, room - free).sum())
    managed = int(problem.needs[failover.protected & open_[problem.origin], 0].sum())
    return (free, needed, others) if managed and free >= 0 and needed > others else None


def lonely(failover: Failover) -> list[int]:
    """HA guests that may be nowhere but where they are, so that the loss of that node is never survived."""
    guests = map(int, np.flatnonzero(failover.protected))
    return [guest for guest in guests if set(homes(failover, guest)) <= {int(failover.problem.origin[guest])}]


def tied(failover: Failover) -> list[int]:
    """HA guests that may be on one node at most, so that they find no other wherever they are."""
    return [guest for guest in map(int, np.flatnonzero(failover.protected)) if len(homes(failover, guest)) <= 1]


def homes(failover: Failover, guest: int) -> list[int]:
    """Nodes where a guest may start, of those that take guests."""
    problem = failover.problem
    return np.flatnonzero(problem.eligibility[problem.eligible[guest]] & problem.balanced).tolist()


def cured(problem: Problem, failover: Failover, assignment: Ints, gained: set[int]) -> dict[int, int]:
    """Guest to one of some nodes whose loss is survived in an assignment, but would not be without its migration."""
    result: dict[int, int] = {}
    for guest in map(int, problem.migrated(assignment)) if gained else ():
        bundle = problem.bundles[problem.bundle_of[guest]]
        without = assignment.copy()
        without[bundle] = problem.origin[bundle]
        again = failover.losses(without, seconds=0, nodes=gained)
        if again:
            result[guest] = again[0].node
    return result
