"""Owns the exact solver: CP-SAT from the best heuristic, whole when small, guided by the relaxation when large.

In this order: fewest violations, smallest value of each level, least cost at those.
A large cluster is searched where the linear relaxation would migrate: first those guests in one model (kernel
search), then neighbourhoods of nodes. Its bound is the relaxation's.
"""

import numpy as np
from ortools.sat.python import cp_model

from solvers.frontier import PRECISION, Window, narrowest
from solvers.model import Model
from solvers.neighbourhoods import Neighbourhoods
from solvers.problem import Ints, Problem
from solvers.relax import Relaxation
from solvers.result import Answer, Budget, Status
from solvers.search import Search, launch, minimise

SMALL = 1_500
"""Booleans up to which the whole cluster is one model from the start."""
WHOLE = 20_000
"""Booleans up to which repairs of the whole cluster are one model."""
KERNEL = 12_000
"""Booleans of one kernel."""
SAMPLES = 12
"""Windows about the narrowest one of which the kernel is made."""
VAGUE = 10_000
"""ppm by which those windows are wider at least."""
COARSE, FINE = 50, 500
"""Parts of the reached spread to which the relaxation is searched, to guide and to prove."""
SHARES = {
    "violations": 0.25,
    "bound": 0.3,
    "guide": 0.35,
    "mend": 0.4,
    "kernel": 0.65,
    "spread": 0.8,
    "later": 0.9,
    "proof": 0.95,
    "cost": 1.0,
}
"""Up to which share of the time each step may run, in this order."""


def solve(problem: Problem, budget: Budget, start: Ints, *, bound: int = 0) -> Answer:
    """The best assignment found within the budget; `bound` is a spread in ppm proven elsewhere."""
    search = Search(problem, budget, start, bound)
    booleans = sum(len(problem.targets(bundle)) + 1 for bundle in range(len(problem.bundles)))
    status = _whole(search) if booleans <= SMALL else _guided(search, booleans)
    return Answer(search.best, search.bound, status, search.cost_bound)


def _whole(search: Search) -> Status:
    """Violations, spread and cost of the whole cluster in one model, one objective after the other."""
    model = Model(search.problem, range(len(search.problem.bundles)), search.best)
    repaired, proven = _repair(search, model), False
    if not search.closed():
        proven = _take(search, model, model.spread, SHARES["spread"]) == cp_model.OPTIMAL
    _later(search, model)
    _cheapen(search, model)
    return _status(search, repaired, proven or search.closed())


def _status(search: Search, repaired: bool, proven: bool) -> Status:
    """`repaired`: fewer violations are impossible; `proven`: so is a smaller spread with as many."""
    if search.score.violations and repaired:
        return Status.INFEASIBLE
    return Status.OPTIMAL if proven and not search.score.violations else Status.FEASIBLE


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
    """Minimise from the incumbent within a share of the time, and keep what is better."""
    if search.left(share) <= 0:
        return cp_model.UNKNOWN
    solver, status = launch(search, model, objective, search.best, search.left(share))
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        search.offer(model.assignment(solver.value))
    return status


def _guided(search: Search, booleans: int) -> Status:
    """Repair, bound, kernel, neighbourhoods, cost."""
    problem, repaired = search.problem, False
    if search.score.violations and booleans <= WHOLE:
        repaired = _repair(search, Model(problem, range(len(problem.bundles)), search.best))
    relaxations = [Relaxation(problem, k) for k in problem.aims[0].metrics] if problem.balanced.any() else []
    windows = _frontiers(search, relaxations, COARSE, SHARES["bound"])
    if relaxations and not search.closed():
        _improve(search, relaxations, windows)
        _frontiers(search, relaxations, FINE, SHARES["proof"])
    _trim(search)
    return _status(search, repaired, search.closed())


def _frontiers(search: Search, relaxations: list[Relaxation], parts: int, share: float) -> dict[int, Window]:
    """The narrowest window of each metric of the first level; what they prove together is kept."""
    windows: dict[int, Window] = {}
    bounds = [0] * search.problem.metrics
    reached = search.problem.spreads(search.best)
    for relaxation in relaxations:
        known = max(int(reached[relaxation.k]), search.problem.goal)
        found = narrowest(relaxation, known, lambda: search.left(share) <= 0, max(PRECISION, known // parts))
        windows[relaxation.k], bounds[relaxation.k] = found.window, found.bound
    search.prove(search.problem.aims[0].value(bounds))
    return windows


def _improve(search: Search, relaxations: list[Relaxation], windows: dict[int, Window]) -> None:
    """What the relaxation would migrate, then neighbourhoods."""
    rng = np.random.default_rng(search.budget.seed)
    leaving, receiving = _kernel(search, relaxations, windows, rng)
    neighbourhoods = Neighbourhoods(search, windows, leaving)
    if search.score.violations:
        neighbourhoods.mend(SHARES["mend"])
    migrated = search.problem.bundle_of[search.problem.migrated(search.best)]
    free = rng.permutation(np.unique(np.concatenate([leaving, migrated])))[: KERNEL // max(1, len(receiving))]
    if search.left(SHARES["kernel"]) > 0 and not search.closed():
        model = Model(search.problem, sorted(map(int, free)), search.best, receiving)
        model.proto.add(model.violations <= search.score.violations)
        minimise(search, model, model.spread, search.best, search.left(SHARES["kernel"]))
    neighbourhoods.run(SHARES["spread"])


def _kernel(
    search: Search, relaxations: list[Relaxation], windows: dict[int, Window], rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Bundles that leave and nodes that receive in the relaxation of windows a little wider than the narrowest."""
    leaving: list[Ints] = [np.empty(0, dtype=np.int64)]
    receiving: list[Ints] = [np.empty(0, dtype=np.int64)]
    for relaxation in relaxations:
        window = windows[relaxation.k]
        vague = max(VAGUE, (window.high - window.low) // 10)
        for _ in range(SAMPLES):
            if search.left(SHARES["guide"]) <= 0:
                break
            fit = relaxation.fewest(
                window.low - int(rng.uniform(0, 3) * vague), window.high + int(rng.uniform(0, 1) * vague)
            )
            leaving.append(fit.leaving)
            receiving.append(fit.receiving)
    return np.unique(np.concatenate(leaving)), np.unique(np.concatenate(receiving))


def _trim(search: Search) -> None:
    """Better later levels with the bundles that are migrated, each of them home where nothing needs it."""
    migrated = search.problem.bundle_of[search.problem.migrated(search.best)]
    model = Model(search.problem, sorted(set(migrated.tolist())), search.best, np.empty(0, dtype=np.int64))
    model.proto.add(model.violations <= search.score.violations)
    _later(search, model)
    _cheapen(search, model)
