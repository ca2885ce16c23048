"""Owns what goes into a solver besides the problem, and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from solvers.problem import Ints, Problem, Score


class Status(StrEnum):
    """What is known about a result."""

    OPTIMAL = "optimal"
    """No assignment that keeps the limits and breaks no rule that held is better in (violations, spread): proven."""
    FEASIBLE = "feasible"
    """Keeps the limits and breaks no rule that held; nothing proven about how good it is."""
    INFEASIBLE = "infeasible"
    """Proven: no assignment that keeps the limits and breaks no rule that held satisfies all rules.

    The assignment is the best effort: as few violations as possible, at the smallest spread found."""
    UNKNOWN = "unknown"
    """Nothing found within the budget."""


@dataclass(frozen=True, slots=True)
class Progress:
    """An improvement on the way: seconds since the start, the incumbent's spread in ppm and its bound."""

    seconds: float
    spread: int
    bound: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What a solver may spend."""

    seconds: float = 20.0
    seed: int = 0
    workers: int = 2
    progress: Callable[[Progress], None] | None = None
    work: float | None = None
    """A limit in units of about a second that counts what is done, not how long it takes: the same work and seed give
    the same answer on every machine, provided that `seconds` do not end it before."""
    stop: Callable[[], bool] | None = None
    """Asked now and then: True ends the search, and what it has is the answer."""


@dataclass(frozen=True, slots=True)
class Result:
    """A solver's answer, judged by `solvers.solve`."""

    solver: str
    status: Status
    assignment: Ints
    """(g,) node of each guest."""
    score: Score
    spread: int
    """ppm, value of the first level as reached (score.spread is clipped at the goal)."""
    bound: int | None
    """ppm: no assignment that keeps the limits, breaks no rule that held and has as few violations as this one
    has a smaller spread. None: says nothing of this result, because it breaks a rule that held."""
    seconds: float
    cost_bound: int | None = None
    """In the unit of score.cost[0]: no assignment that keeps the limits, breaks no rule that held and is as good as
    this one in violations and in every level (clipped at the goal) costs less. None: not claimed, as for bound."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a solver function returns, before it is judged."""

    assignment: Ints
    bound: int = 0
    """ppm; a lower bound that the solver itself has proven, on the spread of acceptable assignments with as few
    violations."""
    status: Status = Status.FEASIBLE
    cost_bound: int = 0
    """In the unit of score.cost[0]; a lower bound that the solver itself has proven, on the cost of acceptable
    assignments that are as good as this one in violations and in every level."""


class Solver(Protocol):
    """`start` is the assignment to improve on; it keeps the limits and breaks no rule that held."""

    def __call__(self, problem: Problem, budget: Budget, start: Ints) -> Answer: ...
