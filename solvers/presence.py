"""Owns what is on each node while bundles are under way: they count on both ends until they have left."""

import numpy as np

from solvers.problem import Bools, Ints, Problem
from solvers.sides import Sides


class Presence:
    """What each node holds when a bundle that is under way takes room, and keeps others away, at both ends."""

    def __init__(self, problem: Problem, assignment: Ints) -> None:
        self.problem = problem
        self.usage = problem.usage(assignment)
        self._apart = apart_by_bundle(problem, assignment)

    def admits(self, bundle: int, source: int, node: int) -> bool:
        """Whether a bundle that is on a node may come to another now: eligible there, with room, kept apart."""
        return bool(admits(self.problem, self.usage, self._apart, bundle, source, node))

    def arrive(self, bundle: int, source: int, node: int) -> None:
        """Take over that a bundle is now on a node as well, coming from another; legal or not."""
        self.usage[node] += self.problem.bundle_needs[bundle]
        for sides in self._apart.get(bundle, ()):
            sides.arrive(bundle, source, node)

    def leave(self, bundle: int, node: int, target: int) -> None:
        """Take over that a bundle is no longer on a node, having gone to another."""
        self.usage[node] -= self.problem.bundle_needs[bundle]
        for sides in self._apart.get(bundle, ()):
            sides.leave(bundle, node, target)


def admits(
    problem: Problem, usage: Ints, apart: dict[int, list[Sides]], bundle: int, now: int, nodes: int | slice
) -> Bools:
    """Whether eligibility, room and apart-rules let a bundle go to nodes, as one for `int` and (n,) for `slice`."""
    needs = problem.bundle_needs[bundle]
    result = problem.eligibility[problem.eligible[problem.bundles[bundle]], nodes].all(axis=0)
    result = result & ((usage[nodes] + needs <= problem.capacity[nodes]) | (needs == 0)).all(axis=-1)
    for sides in apart.get(bundle, ()):
        result = result & sides.admits(bundle, now, nodes)
    return np.asarray(result, dtype=np.bool_)


def apart_by_bundle(problem: Problem, assignment: Ints) -> dict[int, list[Sides]]:
    """bundle -> the counts of the rules that keep guests of it apart from others; one per rule, shared."""
    result: dict[int, list[Sides]] = {}
    for rule in problem.apart:
        sides = Sides(problem, rule, assignment)
        for bundle in sides.of:
            result.setdefault(bundle, []).append(sides)
    return result
