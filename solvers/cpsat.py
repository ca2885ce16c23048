"""Owns the exact solver: a linear CP-SAT model started from the best heuristic, over neighbourhoods when large.

In this order: fewest violations, smallest spread, fewest MiB to copy and fewest migrations at that spread.
The incumbent lives outside the solver, so the answer is never worse than what it was started from.
"""

import time
from collections.abc import Iterator

import numpy as np
from ortools.sat.python import cp_model

from solvers import check
from solvers.model import Model
from solvers.problem import Ints, Problem, Score
from solvers.result import Answer, Budget, Progress, Status
from solvers.run import run

FULL_MODEL = 20_000
"""Booleans up to which the whole cluster is one model."""
NEIGHBOURHOOD = 12_000
"""Booleans of one neighbourhood of a larger cluster."""
NODES_AT_ONCE = 8
"""Nodes of one neighbourhood."""
NEIGHBOURHOOD_SECONDS = 3.0
"""Most that is spent on one neighbourhood."""
TRIM_SECONDS = 2.0
"""Kept of the budget of a larger cluster for sending home what need not have been migrated."""
SHARES = {"violations": 0.4, "spread": 0.8, "cost": 1.0}
"""Up to which share of the time each objective may run, in this order."""


class Search:
    """One run: the clock, the incumbent and what has been proven so far."""

    def __init__(self, problem: Problem, budget: Budget, start: Ints, bound: int) -> None:
        self.problem, self.budget, self.bound = problem, budget, bound
        self.began = time.monotonic()
        self.best = start
        self.score: Score = check.score(problem, start)

    def left(self, share: float = 1.0) -> float:
        """Seconds left of a share of the budget."""
        return self.budget.seconds * share - (time.monotonic() - self.began)

    def offer(self, assignment: Ints) -> bool:
        """Take an assignment if it is acceptable and better."""
        score = check.score(self.problem, assignment)
        if score >= self.score or check.broken(self.problem, assignment):
            return False
        self.best, self.score = assignment, score
        self.report()
        return True

    def report(self) -> None:
        """Tell whoever listens how far the search is."""
        if self.budget.progress:
            seconds = time.monotonic() - self.began
            self.budget.progress(Progress(seconds, self.problem.spread(self.best), self.bound))


def solve(problem: Problem, budget: Budget, start: Ints, *, bound: int = 0) -> Answer:
    """The best assignment found within the budget; `bound` is a spread in ppm proven elsewhere."""
    search = Search(problem, budget, start, bound)
    everything = range(len(problem.bundles))
    if _booleans(problem, everything) <= FULL_MODEL:
        status = _whole(search, list(everything))
    else:
        status = _neighbourhoods(search)
    return Answer(search.best, search.bound, status)


def _booleans(problem: Problem, bundles: "range | list[int]") -> int:
    return sum(len(problem.targets(bundle)) + 1 for bundle in bundles)


def _whole(search: Search, bundles: list[int]) -> Status:
    """Violations, spread and cost of the whole cluster in one model, one objective after the other."""
    model = Model(search.problem, bundles, search.best)
    repaired = _repair(search, model)
    proven = _spread(search, model, SHARES["spread"])
    _cost(search, model, SHARES["cost"])
    if repaired and search.score.violations:
        return Status.INFEASIBLE
    return Status.OPTIMAL if repaired and proven else Status.FEASIBLE


def _repair(search: Search, model: Model) -> bool:
    """Fewest violations; says whether that number is proven."""
    proven = True
    if search.score.violations and search.left(SHARES["violations"]) > 0:
        outcome = _minimise(search, model, model.violations, SHARES["violations"])
        proven = outcome == cp_model.OPTIMAL
    elif search.score.violations:
        proven = False
    model.proto.add(model.violations <= search.score.violations)
    return proven


def _spread(search: Search, model: Model, share: float) -> bool:
    """Smallest spread with those violations; says whether it is proven."""
    if search.score.spread <= max(search.bound, search.problem.goal):
        proven = True
    elif search.left(share) > 0:
        proven = _minimise(search, model, model.spread, share) == cp_model.OPTIMAL
    else:
        proven = False
    model.proto.add(model.spread <= search.score.spread)
    return proven or search.score.spread <= max(search.bound, search.problem.goal)


def _cost(search: Search, model: Model, share: float) -> None:
    if search.score.migrations and search.left(share) > 0:
        _minimise(search, model, model.cost, share)


def _minimise(search: Search, model: Model, objective: cp_model.LinearExprT, share: float) -> cp_model.CpSolverStatus:
    """Minimise one expression from the incumbent; keeps what is better and the bound on the spread."""
    model.start_from(search.best)
    model.proto.minimize(objective)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(search.left(share), 0.01)
    solver.parameters.random_seed = search.budget.seed
    solver.parameters.num_workers = search.budget.workers
    watcher = _Watcher(search, model, objective is model.spread)
    status = run(solver, model.proto, watcher)
    if status in (cp_model.INFEASIBLE, cp_model.MODEL_INVALID):  # the incumbent satisfies every model
        raise RuntimeError(f"a mistake in solvers.model: {solver.status_name(status)} {model.proto.validate()}")
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        search.offer(model.assignment(solver.value))
    if objective is model.spread and model.is_whole and status != cp_model.UNKNOWN:
        _raise_bound(search, round(solver.best_objective_bound))
    return status


def _raise_bound(search: Search, proven: int) -> None:
    # A bound at the goal says nothing of spreads below the goal.
    if proven > search.problem.goal:
        search.bound = max(search.bound, proven)


class _Watcher(cp_model.CpSolverSolutionCallback):
    """Takes every improvement at once, so that stopping at any time loses nothing."""

    def __init__(self, search: Search, model: Model, minimises_spread: bool) -> None:
        super().__init__()
        self._search, self._model = search, model
        self._bounds = minimises_spread and model.is_whole

    def on_solution_callback(self) -> None:
        if self._bounds:
            _raise_bound(self._search, round(self.best_objective_bound))
        self._search.offer(self._model.assignment(self.value))


def _neighbourhoods(search: Search) -> Status:
    """Large-neighbourhood search: some nodes and their guests at a time, the rest fixed."""
    rng = np.random.default_rng(search.budget.seed)
    for nodes in _choices(search, rng):
        bundles = _within(search, nodes, rng)
        model = Model(search.problem, bundles, search.best, nodes)
        model.proto.add(model.violations <= search.score.violations)
        share = 1 - max(TRIM_SECONDS, search.left() - NEIGHBOURHOOD_SECONDS) / search.budget.seconds
        if search.score.violations and _minimise(search, model, model.violations, share) == cp_model.UNKNOWN:
            continue
        model.proto.add(model.violations <= search.score.violations)
        _minimise(search, model, model.spread, share)
    _trim(search)
    optimal = not search.score.violations and search.score.spread <= max(search.bound, search.problem.goal)
    return Status.OPTIMAL if optimal else Status.FEASIBLE


def _choices(search: Search, rng: np.random.Generator) -> Iterator[Ints]:
    """Node sets to free: the fullest and the emptiest of the worst metric or some in violation, and some by chance."""
    problem = search.problem
    while search.left() > TRIM_SECONDS and (
        search.score.violations or search.score.spread > max(search.bound, problem.goal)
    ):
        side = int(rng.integers(1, NODES_AT_ONCE // 2 + 1))
        drawn = rng.choice(problem.nodes, size=min(NODES_AT_ONCE, problem.nodes), replace=False)
        wrong = rng.permutation([item.node for item in check.violations(problem, search.best)])[: 2 * side]
        order = _by_load(problem, search.best)
        ends = np.concatenate([order[:side], order[-side:]])
        yield np.unique(np.concatenate([wrong if len(wrong) and rng.random() < 0.5 else ends, drawn])).astype(np.int64)


def _by_load(problem: Problem, assignment: Ints) -> Ints:
    """Balanced nodes, the emptiest of the metric with the largest spread first."""
    counted = np.flatnonzero(problem.balanced)
    loads = problem.loads(assignment)[:, counted]
    if not len(counted):
        return counted
    return counted[np.argsort(loads[np.argmax(loads.max(axis=1) - loads.min(axis=1))])]


def _trim(search: Search) -> None:
    """Send home every migration that the spread and the repairs do not need."""
    migrated = search.problem.bundle_of[search.problem.migrated(search.best)]
    model = Model(
        search.problem, sorted({int(bundle) for bundle in migrated}), search.best, np.empty(0, dtype=np.int64)
    )
    model.proto.add(model.violations <= search.score.violations)
    model.proto.add(model.spread <= search.score.spread)
    _cost(search, model, SHARES["cost"])


def _within(search: Search, nodes: Ints, rng: np.random.Generator) -> list[int]:
    """Bundles on some nodes and, as they use up the limit, migrated ones: as many as the model may hold."""
    problem = search.problem
    migrated = problem.bundle_of[problem.migrated(search.best)]
    there = problem.bundle_of[np.isin(search.best, nodes)]
    most = NEIGHBOURHOOD // max(1, len(nodes))
    drawn = np.concatenate([_some(migrated, most // 2, rng), _some(there, most // 2, rng)])
    return sorted({int(bundle) for bundle in drawn})


def _some(bundles: Ints, most: int, rng: np.random.Generator) -> Ints:
    different = np.unique(bundles)
    return rng.choice(different, size=most, replace=False) if len(different) > most else different
