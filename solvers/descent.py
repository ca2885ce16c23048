"""Owns the quick solver: repair, then local search for as long as it gets on."""

import time
from collections.abc import Callable

from solvers import tabu
from solvers.problem import Ints, Problem
from solvers.repair import repaired
from solvers.result import Answer, Budget, Progress

DECENT = 0.9
"""Part of the spread to which the search must come down within a number of steps to go on."""
PER_NODE, BASE, PER_NODE_BEYOND = 20, 250, 4
"""That number: so many for each node, but on large clusters no more than a base and a few for each node."""


def solve(problem: Problem, budget: Budget, start: Ints) -> Answer:
    """Repair, then search until it gets on no more, the goal is reached, or time is up."""
    began = time.monotonic()
    state = repaired(problem, start)

    def report(assignment: Ints) -> None:
        if budget.progress:
            budget.progress(Progress(time.monotonic() - began, problem.spread(assignment), 0))

    def spent() -> bool:
        return pace.spent() or (budget.stop is not None and budget.stop())

    report(state.assignment)
    pace = _Pace(problem, state.assignment, report)
    left = budget.seconds - (time.monotonic() - began)
    return Answer(tabu.improve(problem, state.assignment, left, budget.seed, offer=pace.offer, stop=spent))


class _Pace:
    """Counts the steps since the search last came down decently."""

    def __init__(self, problem: Problem, start: Ints, report: Callable[[Ints], None]) -> None:
        self._problem, self._report = problem, report
        self._patience = min(PER_NODE * problem.nodes, BASE + PER_NODE_BEYOND * problem.nodes)
        self._steps, self._mark = 0, problem.values(start)

    def offer(self, assignment: Ints) -> None:
        """Take note of a better assignment."""
        self._report(assignment)
        values = self._problem.values(assignment)
        if any(now < DECENT * mark for now, mark in zip(values, self._mark, strict=True)):
            self._steps, self._mark = 0, values

    def spent(self) -> bool:
        """Called in each step: whether there were too many."""
        self._steps += 1
        return self._steps > self._patience
