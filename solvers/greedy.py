"""Owns the reference heuristic: the largest guest to the most free node, until the spread is tolerable.

Source: the recursion that ProxLB's documentation describes; ties go to the lower guest index
(vmid order) and to the lower node index (name order).
"""

from collections.abc import Iterator
from enum import StrEnum

import numpy as np

from solvers.problem import PPM, Bools, Ints, Problem
from solvers.result import Answer, Budget
from solvers.state import State


class Free(StrEnum):
    """How the most free node is found."""

    PERCENT = "percent"
    BYTES = "bytes"


def solve(problem: Problem, budget: Budget, start: Ints, *, free: Free = Free.PERCENT) -> Answer:
    """Repair in the manner of the recursion, then balance with it. The first metric decides."""
    state = State(problem, start)
    handled = repair(state, free)
    for bundle in _largest_first(problem):
        if state.spread() <= problem.tolerance or _exhausted(state):
            break
        if bundle in handled:
            continue
        options = state.legal(bundle)
        options[state.node(bundle)] = True
        target = most_free(state, options, free)
        if target != state.node(bundle):
            state.migrate(bundle, target)
    return Answer(state.assignment)


def repair(state: State, free: Free = Free.PERCENT) -> set[int]:
    """Mend what is in violation, largest offender first, each to the most free node that mends most.

    Returns the bundles that were migrated.
    """
    handled: set[int] = set()
    for bundle in _largest_first(state.problem):
        if not state.offends(bundle):
            continue
        options = state.legal(bundle)
        gains = np.array([state.mended(bundle, int(node)) if options[node] else 0 for node in range(len(options))])
        if gains.max(initial=0) > 0:
            state.migrate(bundle, most_free(state, gains == gains.max(), free))
            handled.add(bundle)
    return handled


def most_free(state: State, options: Bools, free: Free) -> int:
    """The most free of some nodes, by the first metric."""
    amount = state.free_ppm()[0]
    if free is Free.BYTES:
        amount = (amount * state.problem.ability[0] + PPM // 2) // PPM  # not down: rounding must not undo a tie
    return int(np.argmax(np.where(options, amount, np.iinfo(np.int64).min)))


def _largest_first(problem: Problem) -> Iterator[int]:
    """Bundles by demand of the first metric, largest first; ties to the lowest guest index."""
    size = [-int(problem.demand[0, guests].sum()) for guests in problem.bundles]
    yield from sorted(range(len(size)), key=lambda bundle: (size[bundle], int(problem.bundles[bundle][0])))


def _exhausted(state: State) -> bool:
    limit = state.problem.max_migrations
    return limit is not None and state.migrations >= limit
