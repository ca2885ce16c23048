"""Owns what the variables of the CP-SAT model are for an assignment, so that every hint is complete."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from solvers.problem import Ints, Level, Problem


@dataclass(frozen=True, slots=True)
class Facts:
    """An assignment to be hinted, evaluated once."""

    assignment: Ints
    loads: Ints
    usage: Ints


Hint = Callable[[Facts], int]


def is_overfull(problem: Problem, node: int, resource: int, facts: Facts) -> int:
    """1 if a node has less of a resource than its guests need."""
    return int(facts.usage[node, resource] > problem.capacity[node, resource])


def load_of(problem: Problem, metric: int, pick: Callable[[Ints], np.int64], facts: Facts) -> int:
    """What `pick` takes from the loads of the balanced nodes."""
    return int(pick(facts.loads[metric, problem.balanced]))


def value_of(problem: Problem, level: Level, facts: Facts) -> int:
    """A level's value in ppm, not below the goal."""
    return max(problem.goal, level.value(problem.spreads_of(facts.loads)))
