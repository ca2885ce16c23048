"""Claims about an assignment in the making: who takes part in a violation."""

import numpy as np

from solvers.state import State
from tests.brute import Plain
from tests.problems import by_node, random_problem


def test_who_offends_is_found_where_leaving_mends_and_nowhere_without_a_violation() -> None:
    mended = kept = 0
    for seed in range(200):
        problem = random_problem(seed)
        state, bundles = State(problem, problem.origin), range(len(problem.bundles))
        if not Plain(problem).violations(problem.origin.tolist()):
            assert not any(state.offends(bundle) for bundle in bundles), seed
            kept += 1
        for bundle in bundles:
            if any(state.mended(bundle, int(node)) > 0 for node in np.flatnonzero(state.legal(bundle))):
                assert state.offends(bundle) and bundle in state.suspects(), seed
                mended += 1
    assert min(mended, kept) > 20


def test_only_what_takes_room_offends_on_a_node_that_is_too_full() -> None:
    problem = by_node([[1, 0, 10], [5], []], capacity=np.array([[10], [5], [10]]))
    state = State(problem, problem.origin)
    assert [state.offends(guest) for guest in range(4)] == [True, False, True, False]
    assert state.mended(0, 2) == state.mended(2, 2) == 1 and state.mended(1, 2) == 0
