"""Owns the undoing of migrations one by one, the least useful first: one assignment fills in all smaller limits."""

from collections.abc import Iterator

import numpy as np

from solvers.problem import Cost, Ints, Problem
from solvers.state import State

LEAST = 1e-9
"""What a migration counts as that copies nothing."""


def peeled(problem: Problem, assignment: Ints) -> Iterator[Ints]:
    """The assignment with one bundle more at home each time, as long as the rules let one go there."""
    state = State(problem, assignment)
    while (bundle := _least_useful(state)) is not None:
        state.migrate(bundle, int(problem.homes[bundle]))
        yield state.assignment.copy()


def _least_useful(state: State) -> int | None:
    """The bundle that may go home with the least loss of balance for what it costs; None where none may."""
    problem = state.problem
    away = np.unique(problem.bundle_of[problem.migrated(state.assignment)])
    if not len(away):
        return None
    toll = (problem.bundle_mib if problem.prefer is Cost.MIB else problem.bundle_sizes)[away]
    now, change = state.loads, np.zeros((len(away), *state.loads.shape), dtype=np.int64)
    for row, bundle in enumerate(away.tolist()):
        weights, home = problem.bundle_weights(problem.bundles[bundle]), int(problem.homes[bundle])
        change[row, :, home] += weights[:, home]
        change[row, :, state.node(bundle)] -= weights[:, state.node(bundle)]
    after = now + change
    lost = np.array([problem.spread_of(loads) for loads in after]) - problem.spread_of(now)
    uneven = np.square(after[:, :, problem.balanced].astype(np.float64)).sum(axis=(1, 2))
    uneven -= uneven.min()
    order = np.lexsort((uneven / (toll + LEAST), lost / (toll + LEAST)))
    for bundle in away[order].tolist():
        if state.may_go(bundle, int(problem.homes[bundle])):
            return int(bundle)
    return None
