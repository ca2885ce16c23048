"""Owns why requirements cannot hold together: a minimal set of them that conflict, and the least to be given up."""

from collections.abc import Sequence
from dataclasses import dataclass

from solvers.cheapest import Relaxation, check_weights, relax
from solvers.possible import Clock, Oracle, Possibility
from solvers.problem import Ints, Problem
from solvers.requirement import Requirement, check

DECIDE, SHRINK = 0.4, 0.6
"""Up to which part of the time it is asked whether there is a conflict, and what of it is needed."""


@dataclass(frozen=True, slots=True, eq=False)
class Conflict:
    """What is known of requirements; indices are those of the sequence that was asked about."""

    status: Possibility
    core: tuple[int, ...]
    """Requirements that cannot hold together; none unless it is impossible."""
    minimal: bool
    """Proven: without any one of the core, the others of it can hold together."""
    relaxation: tuple[int, ...]
    """Requirements whose giving up makes the rest hold; none if all can hold."""
    least: bool
    """Proven: nothing of less total weight makes the rest hold."""
    example: Ints
    """An assignment that keeps everything but the relaxation."""


def conflict(
    problem: Problem,
    requirements: Sequence[Requirement],
    weights: Sequence[int] | None = None,
    seconds: float = 10.0,
    seed: int = 0,
) -> Conflict:
    """Whether requirements can hold together, and if not, why not and what to give up; within some seconds.

    Raises ValueError for requirements or weights that make no sense, ModuleNotFoundError without OR-Tools where
    counting is not enough.
    """
    check(problem, requirements)
    prices = check_weights(requirements, weights)
    oracle = Oracle(problem, requirements, Clock(seconds), seed)
    status = oracle.decide(range(len(requirements)), DECIDE)
    core: tuple[int, ...] = ()
    minimal = False
    if status is Possibility.IMPOSSIBLE:
        core, minimal = oracle.shrink(SHRINK)
    relaxation = _relax(oracle, prices, core)
    if not relaxation.given_up:
        return Conflict(Possibility.POSSIBLE, (), False, (), True, relaxation.assignment)
    return Conflict(status, core, minimal, relaxation.given_up, relaxation.least, relaxation.assignment)


def _relax(oracle: Oracle, weights: list[int], core: tuple[int, ...]) -> Relaxation:
    """The least to give up; without OR-Tools, once a conflict is shown, the best that is known by now."""
    try:
        return relax(oracle, weights, [core] if core else [])
    except ModuleNotFoundError:
        if not core:
            raise
        oracle.clock = Clock(0.0)
        return relax(oracle, weights, [core])
