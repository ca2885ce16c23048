"""Claims about nodes that nothing can change: what they are, and that the others are balanced all the same."""

from typing import Any

import numpy as np
import pytest

from solvers import Budget, Level, Problem, Status, solve
from solvers.stuck import beside_stuck, stuck_nodes
from tests.brute import Plain
from tests.problems import by_node, random_problem


def _full_of_fixed() -> Problem:
    """Node 0 at 90 % with a guest that stays; nodes 1 to 3 at 60, 20 and 20 % with guests of 20."""
    memory = np.array([90, 20, 20, 20, 20, 20])
    return Problem(
        origin=np.array([0, 1, 1, 1, 2, 3]), needs=memory[:, None], capacity=np.full((4, 1), 100), demand=memory[None],
        ability=np.full((1, 4), 100), base=np.zeros((1, 4)), balanced=np.ones(4, dtype=bool),
        eligibility=np.ones((1, 4), dtype=bool), eligible=np.zeros(6), copy_mib=memory,
        movable=np.array([False, True, True, True, True, True]),
    )  # fmt: skip


def test_the_others_are_balanced_after_the_spread_that_nothing_can_change() -> None:
    problem = _full_of_fixed()
    assert np.flatnonzero(stuck_nodes(problem, 0)).tolist() == [0]
    beside = beside_stuck(problem)
    assert beside.aims == (Level((0,)), Level((1,)))
    assert beside.values(beside.origin) == (700_000, 400_000)
    result = solve(beside, "cpsat", Budget(seconds=5, workers=1))
    assert (result.status, beside.values(result.assignment)) == (Status.OPTIMAL, (700_000, 200_000))
    # By the spread alone every plan ties with none at all.
    assert solve(problem, "cpsat", Budget(seconds=5, workers=1)).assignment.tolist() == problem.origin.tolist()


def test_a_node_that_nothing_can_come_to_is_stuck_when_it_is_the_emptiest() -> None:
    problem = _full_of_fixed().replace(
        movable=np.ones(6, dtype=bool),
        eligibility=np.array([[True, True, True, False]]),
        demand=np.array([[90, 20, 20, 20, 20, 0]]),
    )
    assert np.flatnonzero(stuck_nodes(problem, 0)).tolist() == [3]


def test_what_can_change_or_is_no_extreme_leaves_the_problem_as_it_is() -> None:
    problem = _full_of_fixed()
    assert beside_stuck(problem.replace(movable=np.ones(6, dtype=bool))).metrics == 1
    middling = problem.replace(demand=np.array([[50, 20, 20, 20, 20, 20]]))  # node 1 is fuller
    assert beside_stuck(middling) is middling
    alone = problem.replace(balanced=np.array([True, False, False, False]))
    assert beside_stuck(alone) is alone
    assert beside_stuck(problem.replace(balanced=np.zeros(4, dtype=bool))).metrics == 1


def test_a_weighted_first_level_keeps_its_weights_before_the_rest() -> None:
    problem = _full_of_fixed()
    two = problem.replace(
        demand=np.array([[90, 20, 20, 20, 20, 20], [1, 1, 1, 1, 1, 1]]), ability=np.full((2, 4), 100),
        base=np.zeros((2, 4)), levels=(Level((0, 1), (3, 1)),),
    )  # fmt: skip
    assert beside_stuck(two).aims == (Level((0, 1), (3, 1)), Level((2,)))


def _stuck(problem: Problem) -> list[int]:
    return np.flatnonzero(stuck_nodes(problem, 0)).tolist()


def _classes(*rows: str, of: list[int]) -> dict[str, Any]:
    """Eligibility classes as one letter per node, x: allowed; and the class of each guest."""
    return {"eligibility": np.array([[letter == "x" for letter in row] for row in rows]), "eligible": np.array(of)}


def test_guests_that_may_be_nowhere_else_hold_their_node_where_it_is() -> None:
    assert _stuck(by_node([[90], [40], [20, 10]], **_classes("xxx", "x..", of=[1, 0, 0, 0]))) == [0]
    assert _stuck(by_node([[90], [40], [20, 10]], **_classes("xxx", "x.x", of=[1, 0, 0, 0]))) == []
    # Node 2 is for its own guest only: that cannot come to it again.
    assert _stuck(by_node([[60, 20], [40], [10]], **_classes("xx.", "..x", of=[0, 0, 0, 1]))) == [2]
    # A guest of a third kind may come.
    assert _stuck(by_node([[60, 20], [40], [10]], **_classes("xx.", "..x", "xxx", of=[0, 2, 0, 1]))) == []


def test_a_guest_that_adds_nothing_changes_nothing() -> None:
    assert _stuck(by_node([[90, 0], [40], [20, 10]], movable=np.array([False, True, True, True, True]))) == [0]
    assert _stuck(by_node([[90, 1], [40], [20, 10]], movable=np.array([False, True, True, True, True]))) == []


@pytest.mark.parametrize(
    ("changes", "stuck"),
    [
        ({}, []),
        ({"movable": np.array([True, False, True, True, True])}, [0]),
        (_classes("xxx", "x..", of=[0, 1, 0, 0, 0]), [0]),
        (_classes("xxx", ".x.", of=[0, 0, 1, 0, 0]), []),
    ],
    ids=["free", "one of them fixed", "one of them pinned", "others pinned"],
)
def test_guests_that_belong_together_leave_together_or_not_at_all(changes: dict[str, Any], stuck: list[int]) -> None:
    assert _stuck(by_node([[45, 45], [40], [20, 10]], together=((0, 1),), **changes)) == stuck


def test_a_node_at_the_mean_of_the_others_is_not_stuck() -> None:
    loads = [[90], [30], [30, 20], [10]]
    assert _stuck(by_node(loads, movable=np.array([False, False, True, True, True]))) == [0]
    barred = _classes("xxxx", "x.xx", of=[0, 0, 1, 1, 1])
    assert _stuck(by_node(loads, movable=np.array([False, True, True, True, True]), **barred)) == [0]


def test_what_has_to_leave_other_nodes_counts_in_the_mean() -> None:
    loads, fixed = [[50], [20, 10], [30], [80]], np.array([False, True, True, True, True])
    drained: dict[str, Any] = {"balanced": np.array([True, True, True, False]), **_classes("xxx.", of=[0] * 5)}
    assert _stuck(by_node(loads, movable=fixed, **drained)) == []
    assert _stuck(by_node(loads, movable=fixed, balanced=drained["balanced"])) == [0]  # those may stay
    assert _stuck(by_node(loads, movable=fixed & (np.arange(5) < 4), **drained)) == [0]  # those must
    little = by_node([[50], [20, 10], [30], [6]], movable=fixed, **drained)
    assert beside_stuck(little).loads(little.origin)[1].tolist()[:3] == [330_000, 300_000, 300_000]
    # A guest that must leave a node that counts is there already.
    here = by_node([[50], [20, 20], [30]], movable=fixed[:4], **_classes("xxx", "x.x", of=[0, 1, 0, 0]))
    assert _stuck(here) == [0]


def test_no_acceptable_assignment_brings_a_stuck_node_nearer_to_the_others() -> None:
    met = 0
    for seed in range(400):
        problem = random_problem(seed)
        beside = beside_stuck(problem)
        for index, k in enumerate([k for k in problem.aims[0].metrics if stuck_nodes(problem, k).any()]):
            stuck, copy = stuck_nodes(problem, k), problem.metrics + index
            today = problem.loads(problem.origin)[k]
            others = problem.balanced & ~stuck
            middle = beside.loads(problem.origin)[copy, stuck][0]
            met += 1
            for at in Plain(problem).assignments():
                loads, beside_loads = (p.loads(np.array(at, dtype=np.int64)) for p in (problem, beside))
                assert (loads[k, stuck] >= today[stuck])[today[stuck] > middle].all(), seed
                assert (loads[k, stuck] <= today[stuck])[today[stuck] < middle].all(), seed
                assert (beside_loads[copy, others] == loads[k, others]).all(), seed
    assert met > 20
