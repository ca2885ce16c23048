"""Claims about the problem itself: what it refuses, and how it evaluates levels and costs."""

from typing import Any

import numpy as np
import pytest

from solvers import Cost, Level, Problem, check
from tests.brute import Plain
from tests.problems import random_problem


def two_metrics(**changes: Any) -> Problem:
    """Two nodes; the spreads today are 70 and 15 points."""
    fields: dict[str, Any] = {
        "origin": np.array([0, 0, 1]), "needs": np.zeros((3, 1)), "capacity": np.ones((2, 1)),
        "demand": np.array([[50, 40, 20], [10, 10, 5]]), "ability": np.full((2, 2), 100), "base": np.zeros((2, 2)),
        "balanced": np.ones(2, dtype=bool), "eligibility": np.ones((1, 2), dtype=bool), "eligible": np.zeros(3),
        "copy_mib": np.array([7, 5, 3]), "movable": np.ones(3, dtype=bool),
    }  # fmt: skip
    return Problem(**(fields | changes))


@pytest.mark.parametrize(
    ("levels", "values"),
    [
        ((), (700_000,)),
        ((Level((0, 1)),), (700_000,)),
        ((Level((1,)), Level((0,))), (150_000, 700_000)),
        ((Level((0, 1), (1, 1)),), (425_000,)),
        ((Level((0, 1), (1, 2)),), (333_333,)),
        ((Level((1, 0), (1, 2)), Level((0,))), (516_666, 700_000)),
    ],
)
def test_a_level_is_the_worst_spread_or_the_weighted_mean_rounded_down(
    levels: tuple[Level, ...], values: tuple[int, ...]
) -> None:
    problem = two_metrics(levels=levels)
    assert problem.values(problem.origin) == values
    assert problem.spread(problem.origin) == values[0]
    assert check.score(problem.replace(goal=400_000), problem.origin)[1] == max(values[0], 400_000)


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ((Level((0,)),), "no level names metric 1"),
        ((Level((0, 1, 2)),), "one that does not exist"),
        ((Level(()), Level((0, 1))), "names no metric"),
        ((Level((0, 1, 0)),), "twice"),
        ((Level((0, 1), (1,)),), "positive weight for each"),
        ((Level((0, 1), (1, 0)),), "positive weight for each"),
    ],
)
def test_levels_that_make_no_sense_are_refused(levels: tuple[Level, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        two_metrics(levels=levels)


@pytest.mark.parametrize("name", ["max_migrations", "max_moved_mib", "tolerance", "goal"])
def test_limits_are_not_negative(name: str) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        two_metrics(**{name: -1})


def test_the_preferred_cost_comes_first() -> None:
    assignment = np.array([1, 1, 1])
    assert two_metrics().cost(assignment) == (12, 2)
    assert two_metrics(prefer=Cost.MIGRATIONS).cost(assignment) == (2, 12)


def test_more_mib_than_allowed_are_beyond_the_limit() -> None:
    problem = two_metrics(max_moved_mib=11)
    assert [item.rule for item in check.broken(problem, np.array([1, 1, 1]))] == [check.Rule.LIMIT]
    assert check.broken(problem, np.array([1, 0, 0])) == []


def test_the_emptiest_node_never_exceeds_the_mean() -> None:
    for seed in range(200):
        problem = random_problem(seed)
        if problem.balanced.any():
            for at in Plain(problem).assignments():
                lowest = problem.loads(np.array(at, dtype=np.int64))[:, problem.balanced].min(axis=1)
                assert all(lowest[k] <= problem.mean(k) for k in range(problem.metrics)), seed
