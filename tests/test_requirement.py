"""Whether an assignment keeps a requirement: against tables of all assignments."""

import numpy as np
import pytest

from solvers.problem import Apart
from solvers.requirement import Only, Requirement, Room, Together, Within, broken, check, holds
from tests.problems import by_node
from tests.requirements import draw, every_assignment, table

PROBLEM = by_node([[10, 20], [30], []])


@pytest.mark.parametrize("seed", range(40))
def test_every_kind_of_requirement_is_kept_where_plain_tables_say_so(seed: int) -> None:
    problem, requirements, _ = draw(seed)
    every = every_assignment(problem)
    chosen = np.random.default_rng(seed).integers(len(every), size=60)
    for assignment, kept in zip(every[chosen], table(problem, requirements, every)[chosen], strict=True):
        assert [holds(problem, each, assignment) for each in requirements] == kept.tolist()
        assert broken(problem, requirements, assignment) == tuple(np.flatnonzero(~kept).tolist())


@pytest.mark.parametrize(
    ("requirement", "kept", "lost"),
    [
        (Only((0, 2), frozenset({0, 2})), [0, 1, 2], [0, 0, 1]),
        (Together((0, 1)), [2, 2, 0], [0, 2, 0]),
        (Apart(((0,), (1,), (2,))), [0, 1, 2], [0, 0, 2]),
        (Apart(((0, 1), (2,))), [0, 0, 1], [0, 1, 1]),
        (Apart(((0,), (1,), (2,)), 2), [0, 0, 1], [0, 0, 0]),
        (Apart(((0,), (1,)), 1, (0, 0, 1)), [0, 2, 0], [0, 1, 0]),
        (Room(0, 0), [0, 0, 1], [0, 0, 0]),
        (Within(1), [0, 0, 2], [1, 1, 1]),
        (Within(None, 20), [0, 2, 1], [0, 0, 2]),
        (Within(), [2, 2, 2], None),
        (Apart(()), [0, 0, 0], None),
        (Together(()), [0, 0, 0], None),
    ],
)
def test_what_each_requirement_asks(requirement: Requirement, kept: list[int], lost: list[int] | None) -> None:
    problem = PROBLEM.replace(capacity=np.array([[40], [100], [100]]))
    assert holds(problem, requirement, np.array(kept))
    assert lost is None or not holds(problem, requirement, np.array(lost))


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        (Only((3,), frozenset({0})), "names a guest that does not exist"),
        (Only((0,), frozenset({0, 3})), "names a node that does not exist"),
        (Together((-1, 0)), "names a guest that does not exist"),
        (Apart(((0,), (7,))), "names a guest that does not exist"),
        (Apart(((0,), (1,)), 1, (0, 0)), "needs a domain for each of 3 nodes"),
        (Room(3, 0), "names a node that does not exist"),
        (Room(0, 1), "names a resource that does not exist"),
    ],
)
def test_a_requirement_of_something_that_does_not_exist_is_refused(requirement: Requirement, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(PROBLEM, [requirement])
