"""Owns the order of migrations: one at a time, each to a node that has room for it at that moment."""

from dataclasses import dataclass

import numpy as np

from solvers import check
from solvers.problem import Ints, Problem
from solvers.state import State


@dataclass(frozen=True, eq=False)
class Reach:
    """What can be got of an assignment, one migration at a time."""

    assignment: Ints
    """(g,) where the guests are in the end."""
    order: tuple[int, ...]
    """Guests in the order in which they are migrated."""
    stranded: tuple[tuple[int, int], ...]
    """Guests that cannot be migrated, with the node they should have got to."""


def one_at_a_time(problem: Problem, assignment: Ints, way: Problem | None = None) -> Reach:
    """Order the migrations of an assignment; `way` has the rules that hold at every moment, if not all do.

    Repairs come first, then what unloads the fullest nodes most. A bundle goes only when its target
    has room and no rule is broken by its arrival; bundles that block each other are stranded. When what
    is left is no better than today, or breaks a rule that held, nothing is migrated at all.
    """
    way = way or problem
    order, stuck = _order(way, assignment)
    reached = assignment.copy()
    reached[stuck] = problem.origin[stuck]
    if stuck and (check.score(problem, reached) >= check.score(problem, problem.origin) or check.broken(way, reached)):
        order, stuck, reached = [], [int(guest) for guest in problem.migrated(assignment)], problem.origin
    return Reach(reached, tuple(order), tuple((guest, int(assignment[guest])) for guest in stuck))


def _order(problem: Problem, assignment: Ints) -> tuple[list[int], list[int]]:
    """Guests in an order in which each finds room, and those that never do."""
    state = State(problem.replace(max_migrations=None, max_moved_mib=None), problem.origin)
    pending = sorted(
        {int(problem.bundle_of[guest]) for guest in problem.migrated(assignment)},
        key=lambda bundle: (not state.offends(bundle), -_unloads(problem, state, bundle), bundle),
    )
    order: list[int] = []
    while True:
        ready = next((b for b in pending if state.legal(b)[_target(problem, assignment, b)]), None)
        if ready is None:
            return order, [int(guest) for bundle in pending for guest in problem.bundles[bundle]]
        state.migrate(ready, _target(problem, assignment, ready))
        order += [int(guest) for guest in problem.bundles[ready]]
        pending.remove(ready)


def _target(problem: Problem, assignment: Ints, bundle: int) -> int:
    return int(assignment[problem.bundles[bundle][0]])


def _unloads(problem: Problem, state: State, bundle: int) -> int:
    """How much a bundle takes off its node, more if that node is full."""
    node = state.node(bundle)
    weight = problem.bundle_weights(problem.bundles[bundle])[0, node]
    return int(weight * np.maximum(state.loads[0, node], 1))
