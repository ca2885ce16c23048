"""Claims about the problem itself: what it refuses, and how it evaluates levels and costs."""

from typing import Any

import numpy as np
import pytest

from solvers import Cost, Level, Problem, check
from solvers.check import Rule, Violation
from solvers.problem import Apart
from tests.brute import Plain
from tests.problems import by_node, random_problem


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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"needs": np.zeros((2, 1))}, r"needs has shape \(2, 1\), not \(3, 1\)"),
        ({"balanced": np.ones(3, dtype=bool)}, r"balanced has shape \(3,\), not \(2,\)"),
        ({"origin": np.array([0, 0, 2])}, "origin names a node that does not exist"),
        ({"origin": np.array([0, -1, 1])}, "origin names a node that does not exist"),
        ({"demand": np.zeros((0, 3)), "ability": np.ones((0, 2)), "base": np.zeros((0, 2))}, "demand has no metric"),
        ({"together": ((0, 1, 0),)}, r"group \(0, 1, 0\) names a guest twice"),
        ({"apart": (Apart.of((0, 3)),)}, "or one that does not exist"),
        ({"apart": (Apart.of((0, -1)),)}, "or one that does not exist"),
        ({"ability": np.array([[100, 0], [100, 100]])}, "ability must be positive"),
        ({"demand": np.array([[50, -1, 20], [10, 10, 5]])}, "demand and needs not negative"),
        ({"needs": np.array([[0], [-1], [0]])}, "demand and needs not negative"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        two_metrics(**changes)


def test_the_least_that_is_possible_is_accepted() -> None:
    problem = two_metrics(ability=np.ones((2, 2)), max_migrations=0, max_moved_mib=0, together=((), (0,)))
    assert problem.loads(problem.origin)[0].tolist() == [90_000_000, 20_000_000]


def test_limits_are_no_larger_than_what_there_is() -> None:
    problem = two_metrics(max_migrations=10**30, max_moved_mib=10**30)
    assert (problem.max_migrations, problem.max_moved_mib) == (3, 15)
    assert two_metrics().max_migrations is two_metrics().max_moved_mib is None


def test_nobody_can_change_a_problem() -> None:
    given = np.array([0, 0, 1])
    problem = two_metrics(origin=given, together=((0, 1),))
    given[0] = 1
    assert problem.origin.tolist() == [0, 0, 1]
    for array in (problem.origin, problem.balanced, problem.bundles[0], problem.leads):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_preferred_cost_comes_first() -> None:
    assignment = np.array([1, 1, 1])
    assert two_metrics().cost(assignment) == (12, 2)
    assert two_metrics(prefer=Cost.MIGRATIONS).cost(assignment) == (2, 12)


def test_more_than_allowed_is_beyond_the_limit() -> None:
    problem = two_metrics(max_moved_mib=11)
    assert [item.rule for item in check.broken(problem, np.array([1, 1, 1]))] == [check.Rule.LIMIT]
    assert check.broken(problem, np.array([1, 0, 0])) == []
    problem = two_metrics(max_migrations=1)
    assert check.broken(problem, np.array([1, 1, 1])) == [Violation(Rule.LIMIT)]
    assert check.broken(problem, np.array([1, 0, 1])) == []


_APART = (Apart.of((0, 1)), Apart.of((3, 4, 5)))


def _ruled(**changes: Any) -> Problem:
    """Guests 0 to 3, of 10 each, on node 0; 4 and 5 on node 1; node 2 is empty and not for guest 5."""
    table = np.array([[True, True, True], [True, True, False]])
    return by_node([[10] * 4, [10] * 2, []], eligibility=table, eligible=np.array([0, 0, 0, 0, 0, 1]), **changes)


def test_a_violation_names_its_rule_guests_node_and_group_or_resource() -> None:
    at = np.array([0, 1, 1, 2, 2, 2])
    problem = _ruled(together=((4, 5), (0, 1, 2)), apart=_APART, capacity=np.array([[10], [15], [40]]))
    assert check.violations(problem, at) == [
        Violation(Rule.ELIGIBLE, (5,), 2),
        Violation(Rule.TOGETHER, (0,), 0, 1),  # the lesser part of the group
        Violation(Rule.APART, (3, 4), 2, 1),
        Violation(Rule.APART, (3, 5), 2, 1),
        Violation(Rule.CAPACITY, (), 1, 0),
    ]
    spread_out = _ruled(together=((1, 2, 3),), apart=(Apart.of((0, 1)),)).replace(origin=np.array([0, 1, 0, 2, 1, 1]))
    assert check.violations(spread_out, spread_out.origin) == [
        Violation(Rule.TOGETHER, (1,), 1, 0),
        Violation(Rule.TOGETHER, (3,), 2, 0),
    ]


def test_what_is_newly_broken_is_named_like_that_and_what_was_broken_before_is_not_named() -> None:
    at = np.array([0, 1, 1, 2, 2, 2])
    rules: dict[str, Any] = {"together": ((4, 5), (0, 1, 2)), "apart": _APART}
    problem = _ruled(
        capacity=np.array([[10], [15], [40]]), movable=np.array([True] * 3 + [False] + [True] * 2), **rules
    )
    assert check.broken(problem, at) == [
        Violation(Rule.ELIGIBLE, (5,), 2),
        Violation(Rule.FIXED, (3,), 2),
        Violation(Rule.TOGETHER, (0, 1), 1, 1),
        Violation(Rule.APART, (3, 4), 2, 1),
        Violation(Rule.APART, (3, 5), 2, 1),
        Violation(Rule.CAPACITY, (), 1, 0),
    ]
    assert check.broken(problem, problem.origin) == check.broken(problem.replace(origin=at), at) == []


@pytest.mark.parametrize(
    ("at", "accepted"),
    [
        ([0, 0, 1], True),  # as it is: 14 where 10 fit
        ([1, 0, 1], True),
        ([0, 1, 1], True),  # still too full, with less on it
        ([0, 1, 0], False),  # this as well, but somebody has come
        ([1, 1, 0], True),
    ],
)
def test_nobody_comes_to_a_node_that_is_too_full_even_if_more_leaves_it(at: list[int], accepted: bool) -> None:
    problem = by_node([[11, 3], [1], []], capacity=np.array([[10], [100], [100]]))
    assert (not check.broken(problem, np.array(at))) == accepted
    assert Plain(problem).acceptable(at) == accepted


def test_only_those_of_a_group_that_share_a_node_today_travel_as_one() -> None:
    problem = by_node([[10] * 3, [10] * 3], together=((0, 1, 3), (4, 3), (2, 1)))
    assert [guests.tolist() for guests in problem.bundles] == [[0, 1, 2], [3, 4], [5]]
    assert problem.bundle_of.tolist() == [0, 0, 0, 1, 1, 2]
    assert (problem.leads.tolist(), problem.homes.tolist()) == ([0, 3, 5], [0, 1, 1])


def test_the_mean_is_that_of_the_guests_that_can_be_on_a_node_that_counts() -> None:
    """It is rounded up, by half a ppm per guest and one."""
    problem = by_node([[30], [10], [40]], balanced=np.array([True, True, False]))
    assert 400_000 < problem.mean(0) < 400_005
    assert 200_000 < problem.replace(movable=np.array([True, True, False])).mean(0) < 200_005
    elsewhere = {"eligibility": np.array([[True] * 3, [False, False, True]]), "eligible": np.array([0, 0, 1])}
    assert 200_000 < problem.replace(**elsewhere).mean(0) < 200_005


def test_a_bundle_weighs_what_its_guests_weigh() -> None:
    for seed in range(50):
        problem = random_problem(seed)
        guests = np.arange(problem.guests)
        for node in range(problem.nodes):
            weights = problem.weights(guests, node)
            assert (problem.bundle_weights(guests)[:, node] == weights.sum(axis=1)).all()


def test_the_emptiest_node_never_exceeds_the_mean() -> None:
    for seed in range(200):
        problem = random_problem(seed)
        if problem.balanced.any():
            for at in Plain(problem).assignments():
                lowest = problem.loads(np.array(at, dtype=np.int64))[:, problem.balanced].min(axis=1)
                assert all(lowest[k] <= problem.mean(k) for k in range(problem.metrics)), seed
