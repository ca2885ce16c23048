"""Owns the exact solver: CP-SAT from the best heuristic, whole when small, guided by the relaxation when large.

In this order: fewest violations, smallest value of each level, least cost at those. On a small cluster few migrations
are looked at in all their combinations.
A large cluster is searched where the linear relaxation would migrate: first those guests in one model (kernel
search), then neighbourhoods of nodes. Its bound is the relaxation's.
"""

from __future__ import annotations  # OR-Tools 9.14 has no CpSolverStatus

import numpy as np
from ortools.sat.python import cp_model

from solvers.economy import Economy
from solvers.meet import meet, meet_with_fewer
from solvers.mend import mend
from solvers.model import Model
from solvers.narrowing import Narrowing, polish
from solvers.problem import Ints, Problem
from solvers.result import Answer, Budget, Status
from solvers.search import Search, launch

SMALL = 1_500
"""Booleans up to which the whole cluster is one model from the start."""
WHOLE = 20_000
"""Booleans up to which repairs of the whole cluster are one model."""
ROUND, LONGER = 8.0, 1.5
"""Seconds of the first round on a large cluster, and by how much each is longer than the one before: what is done
does not depend on how much time there is, so that more time never gives less."""
IDLE = 0.05
"""Part of a round that counts as work even if there was none to do."""
LARGE = 32
"""Nodes beyond which rounds are longer, with their square root."""
MEND = 0.5
"""Part of a round for repair."""
LAST = 0.06
"""Part of the budget that is kept for later levels and the cost."""
SHARES = {"violations": 0.25, "first": 0.1, "polish": 0.25, "spread": 0.85, "later": 0.95, "cost": 1.0}
"""Up to which part of the budget each step may run on a small cluster, in this order."""


def solve(problem: Problem, budget: Budget, start: Ints, *, bound: int = 0) -> Answer:
    """The best assignment found within the budget; `bound` is a spread in ppm proven elsewhere."""
    return improve(Search(problem, budget, start, bound))


def improve(search: Search) -> Answer:
    """What a search makes of what it has, within its budget."""
    search.report()
    booleans = size(search.problem)
    status = _whole(search) if booleans <= SMALL else _guided(search, booleans)
    return Answer(search.best, search.bound, status, search.cost_bound)


def size(problem: Problem) -> int:
    """Booleans of the model of the whole cluster."""
    return sum(len(problem.targets(bundle)) + 1 for bundle in range(len(problem.bundles)))


def _whole(search: Search) -> Status:
    """Violations, spread and cost of the whole cluster in one model, one objective after the other.

    Where few migrations are allowed, all sets of them are looked at instead: nothing is left to be done after that.
    """
    model = Model(search.problem, range(len(search.problem.bundles)), search.best)
    repaired, outcome = _repair(search, model), cp_model.OPTIMAL
    if meet(search):
        return _status(search, repaired)
    meet_with_fewer(search)
    if not search.closed():
        outcome = _take(search, model, model.spread, SHARES["first"])
    if outcome != cp_model.OPTIMAL and not search.closed():
        polish(search, SHARES["polish"] * search.total, closed=search.closed)
        _take(search, model, model.spread, SHARES["spread"])
    _later(search, model)
    _cheapen(search, model)
    return _status(search, repaired)


def _status(search: Search, repaired: bool) -> Status:
    """`repaired`: fewer violations are impossible. An optimum that was proven has become the bound."""
    if search.score.violations and repaired:
        return Status.INFEASIBLE
    return Status.OPTIMAL if search.closed() and not search.score.violations else Status.FEASIBLE


def _repair(search: Search, model: Model) -> bool:
    """Fewest violations in the whole cluster; says whether that number is proven."""
    outcome = cp_model.OPTIMAL
    if search.score.violations:
        outcome = _take(search, model, model.violations, SHARES["violations"])
    model.proto.add(model.violations <= search.score.violations)
    return outcome == cp_model.OPTIMAL


def _later(search: Search, model: Model) -> None:
    """Smallest value of every level after the first, each at what those before it have reached."""
    model.proto.add(model.spread <= search.score.spread)
    for index, value in enumerate(model.values[1:]):
        if search.score.later[index] > search.problem.goal:
            _take(search, model, value, SHARES["later"])
        model.proto.add(value <= search.score.later[index])


def _cheapen(search: Search, model: Model) -> None:
    if search.score.cost != (0, 0):
        _take(search, model, model.cost, SHARES["cost"])


def _take(search: Search, model: Model, objective: cp_model.LinearExprT, share: float) -> cp_model.CpSolverStatus:
    """Minimise from the incumbent up to a share of the budget, and keep what is better."""
    left = search.left(share * search.total)
    if left <= 0:
        return cp_model.UNKNOWN
    solver, status = launch(search, model, objective, search.best, left)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        search.offer(model.assignment(solver.value))
    return status


def _guided(search: Search, booleans: int) -> Status:
    """Repair, then rounds that narrow and prove level by level, longer and longer; then the cost."""
    problem, repaired = search.problem, False
    if search.score.violations and booleans <= WHOLE:
        repaired = _repair(search, Model(problem, range(len(problem.bundles)), search.best))
    levels = [Narrowing(search, index) for index in range(len(problem.aims))] if problem.balanced.any() else []
    economy = Economy(levels[-1]) if levels else None
    length = ROUND * max(1.0, problem.nodes / LARGE) ** 0.5
    turn, end = 0, search.total * (1 - LAST)
    while search.left(end) > 0:
        if search.score.violations and not repaired:
            mend(search, min(end, search.mark(MEND * length)), turn)
        turn += 1
        search.charge(IDLE * length)
        open_levels = [narrowing for narrowing in levels if not narrowing.settled()]
        for narrowing in open_levels:
            narrowing.run(min(end, search.mark(length)))
        dear = economy is not None and search.at_goal() and search.score.cost[0] > search.cost_bound
        if economy is not None and dear:
            economy.run(min(end, search.mark(length)))
        if not open_levels and not dear and (repaired or not search.score.violations):
            break
        length *= LONGER
    _trim(search)
    if not search.at_goal():
        search.cost_bound = 0  # what was proven is the cost of reaching the goal
    return _status(search, repaired)


def _trim(search: Search) -> None:
    """Better later levels with the bundles that are migrated, each of them home where nothing needs it."""
    migrated = search.problem.bundle_of[search.problem.migrated(search.best)]
    model = Model(search.problem, sorted(set(migrated.tolist())), search.best, np.empty(0, dtype=np.int64))
    model.proto.add(model.violations <= search.score.violations)
    _later(search, model)
    _cheapen(search, model)
