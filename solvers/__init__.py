"""Owns the registry of solvers and the judging of their answers: `solve` is the only way in.

Every answer is recomputed by `solvers.check`, and none is worse than the start or than today.
"""

import time
from dataclasses import replace

from solvers import bounds, check, descent, greedy
from solvers.problem import Cost, Ints, Level, Problem, Score
from solvers.result import Answer, Budget, Progress, Result, Solver, Status

__all__ = [
    "SOLVERS", "Budget", "Cost", "Level", "Problem", "Progress", "Result", "Score", "Solver", "Status", "judge",
    "solve", "with_bound",
]  # fmt: skip


def _cpsat(problem: Problem, budget: Budget, start: Ints) -> Answer:
    """CP-SAT from the best of the start and every heuristic; needs ortools, imported only now."""
    from solvers import cpsat

    began = time.monotonic()
    candidates = [start]
    for heuristic in (greedy.solve, descent.solve):
        seconds = budget.seconds / 2 if budget.work is None else budget.seconds
        share = replace(budget, seconds=seconds, progress=None)
        candidates.append(heuristic(problem, share, problem.origin).assignment)
    sound = [candidate for candidate in candidates if not check.broken(problem, candidate)]
    best = min(sound, key=lambda candidate: check.score(problem, candidate))
    left = replace(budget, seconds=budget.seconds - (time.monotonic() - began))
    return cpsat.solve(problem, left, best, bound=bounds.spread_bound(problem))


QUICK, QUICK_SHARE = 2.0, 0.2
"""Seconds, and part of the budget, that a heuristic's bound is worth, unless work is what is limited."""

SOLVERS: dict[str, Solver] = {
    "greedy": greedy.solve,
    "descent": descent.solve,
    "cpsat": _cpsat,
}
"""The solvers that answer a Problem as it is."""


def solve(problem: Problem, solver: str = "cpsat", budget: Budget | None = None, start: Ints | None = None) -> Result:
    """Answer a problem with a solver of the registry, from `start` (default: origin).

    Raises ValueError if `start` breaks a limit or a rule that holds at the origin.
    """
    budget = budget or Budget()
    start = problem.origin if start is None else start
    if check.broken(problem, start):
        raise ValueError("start breaks a limit or a rule that holds at the origin")
    began = time.monotonic()
    answer = _no_worse(problem, SOLVERS[solver](problem, budget, start), start)
    seconds = time.monotonic() - began
    return judge(problem, solver, with_bound(problem, solver, answer, budget), seconds)


def with_bound(problem: Problem, solver: str, answer: Answer, budget: Budget) -> Answer:
    """The answer with the bound of the linear relaxation, if its solver proves none itself and OR-Tools is there."""
    if solver == "cpsat" or problem.spread(answer.assignment) <= problem.goal:
        return answer
    try:
        from solvers.frontier import relaxed_bound
    except ModuleNotFoundError:
        return answer
    seconds = min(QUICK, QUICK_SHARE * budget.seconds) if budget.work is None else budget.seconds
    return replace(answer, bound=relaxed_bound(problem, seconds))


def judge(problem: Problem, solver: str, answer: Answer, seconds: float, *, faithful: bool = False) -> Result:
    """Recompute score and bounds of an answer.

    An answer that breaks a rule or is worse than today is replaced by today's assignment, unless it
    is a `faithful` copy of a tool that does such things; then it is shown as it is, without a bound.
    """
    if not faithful:
        answer = _no_worse(problem, answer, problem.origin)
    assignment, status = answer.assignment, answer.status
    sound = not check.broken(problem, assignment)
    score, spread = check.score(problem, assignment), problem.spread(assignment)
    bound = max(answer.bound, bounds.spread_bound(problem)) if sound else None
    cost_bound = max(answer.cost_bound, bounds.cost_bound(problem, score)) if sound else None
    if status is Status.OPTIMAL and score.spread > max(bound or 0, problem.goal):
        status = Status.FEASIBLE
    if status is Status.FEASIBLE and sound and not score.violations and bound is not None:
        status = Status.OPTIMAL if score.spread <= max(bound, problem.goal) else status
    return Result(solver, status, assignment, score, spread, bound, seconds, cost_bound)


def _no_worse(problem: Problem, answer: Answer, known: Ints) -> Answer:
    """The answer, or a known assignment, for which nothing is proven, when the answer is not acceptable or worse."""
    sound = not check.broken(problem, answer.assignment)
    if sound and check.score(problem, answer.assignment) <= check.score(problem, known):
        return answer
    return Answer(known)
