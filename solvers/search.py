"""Owns one search: its clock, the incumbent, what is proven so far, and the running of CP-SAT models on them."""

from __future__ import annotations  # OR-Tools 9.14 has no CpSolverStatus

import math
import time

from ortools.sat.python import cp_model

from solvers import check
from solvers.model import Linear, Model
from solvers.problem import Ints, Problem, Score
from solvers.result import Budget, Progress
from solvers.run import run

PATIENCE = 60.0
"""Seconds after which a solver ends that is limited by its work: far more than that takes."""
SMALL_TREE = 100
"""Nodes of a search tree that is limited by its work."""


class Search:
    """One run. The incumbent lives outside CP-SAT, so the answer is never worse than what it was started from."""

    def __init__(self, problem: Problem, budget: Budget, start: Ints, bound: int) -> None:
        self.problem, self.budget, self.bound = problem, budget, bound
        self.cost_bound = 0
        self.began = time.monotonic()
        self._work = 0.0
        self.best = start
        self.score: Score = check.score(problem, start)

    @property
    def total(self) -> float:
        """The whole budget, on the search's clock."""
        return self.budget.seconds if self.budget.work is None else self.budget.work

    def mark(self, amount: float) -> float:
        """The point on the search's clock that is so far from now: in seconds, or in work if that is limited."""
        return self._now() + amount

    def left(self, mark: float = math.inf) -> float:
        """What is left until a point on the clock, at most until the budget is used up or someone says stop."""
        return 0.0 if self.ended() else min(self.total, mark) - self._now()

    def ended(self) -> bool:
        """Whether time is up, however little work was done, or someone says stop."""
        spent, stop = time.monotonic() - self.began, self.budget.stop
        return spent >= self.budget.seconds or (stop is not None and stop())

    @property
    def spent(self) -> float:
        """Work that has been counted."""
        return self._work

    @property
    def workers(self) -> int:
        """Solvers that run side by side."""
        return max(1, self.budget.workers)

    def charge(self, work: float) -> None:
        """Count work that has been done."""
        self._work += work

    def seconds(self, amount: float) -> float:
        """Seconds that a solver may run which has so much left: many, if work is what is limited."""
        rest = min(PATIENCE, self.budget.seconds - (time.monotonic() - self.began))
        return max(0.01, amount if self.budget.work is None else rest)

    def tree(self, nodes: int) -> int:
        """Nodes of a search tree that ends by time as a rule: fewer, if work is what is limited."""
        return nodes if self.budget.work is None else SMALL_TREE

    def _now(self) -> float:
        return time.monotonic() - self.began if self.budget.work is None else self._work

    def closed(self) -> bool:
        """Whether no smaller spread is possible, or none is wanted."""
        return self.score.spread <= max(self.bound, self.problem.goal)

    def at_goal(self) -> bool:
        """Whether there is a goal and all levels have reached it: then less cost is wanted."""
        return self.problem.goal > 0 and max(self.score.spread, *self.score.later, 0) <= self.problem.goal

    def offer(self, assignment: Ints) -> bool:
        """Take an assignment if it is acceptable and better."""
        score = check.score(self.problem, assignment)
        if score >= self.score or check.broken(self.problem, assignment):
            return False
        if score.violations < self.score.violations:
            self.cost_bound = 0  # it was proven of assignments with more of them
        self.best, self.score = assignment, score
        self.report()
        return True

    def prove(self, bound: int) -> None:
        """Raise the bound on the spread, in ppm. At the goal it says nothing of spreads below the goal."""
        if bound > max(self.problem.goal, self.bound):
            self.bound = bound
            self.report()

    def report(self) -> None:
        """Tell whoever listens how far the search is."""
        if self.budget.progress:
            seconds = time.monotonic() - self.began
            self.budget.progress(Progress(seconds, self.problem.spread(self.best), self.bound))


def minimise(search: Search, model: Model, objective: Linear, start: Ints, seconds: float) -> Ints | None:
    """The assignment that minimises an expression of a model, from `start`; None if none is found in time."""
    solver, status = launch(search, model, objective, start, seconds)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return model.assignment(solver.value)
    return None


def launch(
    search: Search, model: Model, objective: Linear, start: Ints, seconds: float
) -> tuple[cp_model.CpSolver, cp_model.CpSolverStatus]:
    """Run CP-SAT with a time limit, a seed and a complete hint; RuntimeError if `start` is not in the model."""
    model.start_from(start)
    model.proto.minimize(objective)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = search.seconds(seconds)
    if search.budget.work is not None:
        solver.parameters.max_deterministic_time = max(seconds, 0.01)
        solver.parameters.interleave_search = True
    solver.parameters.random_seed = search.budget.seed
    solver.parameters.num_workers = search.budget.workers
    status = run(solver, model.proto, _Watcher(search, model, objective is model.spread), search.ended)
    search.charge(solver.response_proto.deterministic_time)
    if status in (cp_model.INFEASIBLE, cp_model.MODEL_INVALID):  # the start satisfies every model
        raise RuntimeError(f"a mistake in solvers.model: {solver.status_name(status)} {model.proto.validate()}")
    if model.is_whole and status != cp_model.UNKNOWN:
        if objective is model.spread:
            search.prove(round(solver.best_objective_bound))
        elif objective is model.cost:
            search.cost_bound = max(search.cost_bound, round(solver.best_objective_bound) // model.scale)
    return solver, status


class _Watcher(cp_model.CpSolverSolutionCallback):
    """Takes every improvement at once, so that stopping at any time loses nothing."""

    def __init__(self, search: Search, model: Model, minimises_spread: bool) -> None:
        super().__init__()
        self._search, self._model = search, model
        self._bounds = minimises_spread and model.is_whole

    def on_solution_callback(self) -> None:
        if self._bounds:
            self._search.prove(round(self.best_objective_bound))
        self._search.offer(self._model.assignment(self.value))
