"""Owns the repair that mends most with each migration, for where a limit keeps the largest first from mending all."""

from collections.abc import Iterator

import numpy as np

from solvers import check, greedy
from solvers.problem import Ints, Problem
from solvers.state import State

LOOKS = 1_000_000
"""Pairs of a bundle and a node, at most, that all migrations together look at."""


def repaired(problem: Problem, start: Ints) -> State:
    """The better of two repairs: the largest offender first, and what mends most with the fewest migrations first."""
    state = State(problem, start)
    greedy.repair(state)
    limited = problem.max_migrations is not None or problem.max_moved_mib is not None
    if not limited or not check.violations(problem, state.assignment):
        return state
    other = State(problem, start)
    _mend_most(other)
    left, fewer = (len(check.violations(problem, each.assignment)) for each in (state, other))
    return other if fewer < left else state


def _mend_most(state: State) -> None:
    looks = 0
    while looks < LOOKS:
        best = None
        for bundle in _offenders(state):
            looks += state.problem.nodes
            for node in np.flatnonzero(state.legal(bundle)).tolist():
                mended, size = state.mended(bundle, node), len(state.problem.bundles[bundle])
                key = (-mended / size, int(state.problem.bundle_mib[bundle]), int(state.loads[0, node]), bundle, node)
                if mended > 0 and (best is None or key < best):
                    best = key
        if best is None:
            return
        state.migrate(best[3], best[4])


def _offenders(state: State) -> Iterator[int]:
    return (bundle for bundle in state.suspects().tolist() if state.offends(bundle))
