"""Owns the registry of solvers and the judging of their answers: `solve` is the only way in.

Every answer is recomputed by `solvers.check`, and none is worse than the start.
"""

import time

from solvers import bounds, check, descent, greedy
from solvers.problem import Ints, Problem, Score
from solvers.result import Answer, Budget, Progress, Result, Solver, Status

__all__ = ["SOLVERS", "Budget", "Problem", "Progress", "Result", "Score", "Solver", "Status", "judge", "solve"]


def _cpsat(problem: Problem, budget: Budget, start: Ints) -> Answer:
    """CP-SAT from the best of the start and every heuristic; needs ortools, imported only now."""
    from solvers import cpsat

    began = time.monotonic()
    candidates = [start]
    for heuristic in (greedy.solve, descent.solve):
        share = Budget(seconds=budget.seconds / 4, seed=budget.seed)
        candidates.append(heuristic(problem, share, problem.origin).assignment)
    sound = [candidate for candidate in candidates if not check.broken(problem, candidate)]
    best = min(sound, key=lambda candidate: check.score(problem, candidate))
    left = Budget(budget.seconds - (time.monotonic() - began), budget.seed, budget.workers, budget.progress)
    return cpsat.solve(problem, left, best, bound=bounds.spread_bound(problem))


SOLVERS: dict[str, Solver] = {"greedy": greedy.solve, "descent": descent.solve, "cpsat": _cpsat}
"""The solvers that answer a Problem as it is."""


def solve(problem: Problem, solver: str = "cpsat", budget: Budget | None = None, start: Ints | None = None) -> Result:
    """Answer a problem with a solver of the registry. `start` must keep the rules and limits; default origin."""
    budget = budget or Budget()
    began = time.monotonic()
    answer = SOLVERS[solver](problem, budget, problem.origin if start is None else start)
    return judge(problem, solver, answer, time.monotonic() - began)


def judge(problem: Problem, solver: str, answer: Answer, seconds: float, *, faithful: bool = False) -> Result:
    """Recompute score and bound of an answer.

    An answer that breaks a rule or is worse than today is replaced by today's assignment, unless it
    is a `faithful` copy of a tool that does such things; then it is shown as it is, without a bound.
    """
    assignment, status = answer.assignment, answer.status
    origin = check.score(problem, problem.origin)
    sound = not check.broken(problem, assignment)
    if not faithful and (not sound or check.score(problem, assignment) > origin):
        assignment, sound = problem.origin, True
    score, spread = check.score(problem, assignment), problem.spread(assignment)
    bound = max(answer.bound, bounds.spread_bound(problem)) if sound else None
    if status is Status.FEASIBLE and sound and not score.violations and bound is not None:
        status = Status.OPTIMAL if score.spread <= max(bound, problem.goal) else status
    return Result(solver, status, assignment, score, spread, bound, seconds)
