"""Claims about fronts: what is called exact is, no bound is too high, nothing between two points is left out."""

from itertools import pairwise

import numpy as np
import pytest

from solvers import Budget, Cost, Problem, check
from solvers.front import Front, Point
from solvers.known import Known
from solvers.pareto import by_mib, by_migrations
from solvers.peel import peeled
from tests.fronts import Outcomes
from tests.problems import by_node, cluster, random_problem

BUDGET = Budget(seconds=20, workers=1)
HUNDREDS = [pytest.mark.slow, pytest.mark.timeout(3600)]
MOST = 5
"""Migrations, for what all assignments are looked at."""


def holds(problem: Problem, front: Front, seed: int) -> Outcomes:
    """Every claim of a front is true of all assignments, and of few enough guests all is proven."""
    known = Outcomes(problem)
    before = None
    for point in front.points:
        reached = point.score[:2]
        assert not check.broken(problem, point.assignment), seed
        assert reached == (len(check.violations(problem, point.assignment)), problem.spread(point.assignment)), seed
        assert problem.cost(point.assignment)[0] <= point.limit, seed
        assert point.exact and reached == known.best(point.limit), seed
        assert point.bound <= known.least_spread(point.limit, reached[0]), seed
        assert before is None or reached <= before, seed
        before = reached
    return known


@pytest.mark.parametrize("seeds", [range(30), pytest.param(range(30, 900), marks=HUNDREDS)])
def test_what_is_exact_within_a_number_of_migrations_is_the_best_of_all_assignments(seeds: range) -> None:
    for seed in seeds:
        problem = random_problem(seed)
        front = by_migrations(problem, MOST, BUDGET)
        most = min(MOST, problem.guests)
        assert [point.limit for point in front.points] == list(range(most + 1))
        holds(problem.replace(max_migrations=most, goal=0, prefer=Cost.MIGRATIONS), front, seed)


@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(8, 400), marks=HUNDREDS)])
def test_the_front_against_mib_is_the_whole_front_of_all_assignments(seeds: range) -> None:
    for seed in seeds:
        problem = random_problem(seed)
        front = by_mib(problem, 30, BUDGET)
        known = holds(problem.replace(goal=0, prefer=Cost.MIB), front, seed)
        assert front.complete, seed
        assert [(point.limit, *point.score[:2]) for point in front.points] == known.front(), seed


def test_of_more_points_than_are_asked_for_about_so_many_are_looked_at_far_apart() -> None:
    problem = by_node([[3 * size + 1 for size in range(1, 6)], [], [5]])
    whole, some = by_mib(problem, 500, BUDGET), by_mib(problem, 5, BUDGET)
    assert whole.complete and len(whole.points) > 12
    assert not some.complete and 5 <= len(some.points) <= 10
    for point in some.points:
        best = [other.spread for other in whole.points if other.limit <= point.limit][-1]
        assert point.bound <= best <= point.spread and (point.spread == best or not point.exact)
    limits = [point.limit for point in some.points]
    assert max(b - a for a, b in pairwise(limits)) < 0.5 * limits[-1]


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.05])
def test_what_was_not_searched_to_the_end_is_not_called_complete(seconds: float) -> None:
    """Where there was no time only today is known: dearer points are open, though between those known is no room."""
    problem = cluster(seed=5, nodes=8, guests=120, limit=None)
    assert not by_mib(problem, 5, Budget(seconds=seconds)).complete
    assert by_mib(problem.replace(max_moved_mib=0), 5, Budget(seconds=0)).complete


def test_what_is_proven_of_few_violations_says_nothing_of_assignments_with_more() -> None:
    known = Known(by_node([[40, 30], []]).replace(max_migrations=2, prefer=Cost.MIGRATIONS))
    known.prove(2, 50_000, violations=1)
    known.prove(1, 20_000)
    assert [known.bound(limit, 1) for limit in (0, 1, 2, 3)] == [50_000, 50_000, 50_000, 0]
    assert [known.bound(limit, 2) for limit in (0, 1, 2, 3)] == [20_000, 20_000, 0, 0]
    known.prove_least(1, 3)
    assert [known.least(limit) for limit in (0, 1, 2)] == [3, 3, 0]


def test_a_repair_comes_before_a_smaller_spread() -> None:
    """The guest of 30 may not stay where the spread is smallest."""
    only = {"eligibility": np.array([[True, True], [False, True]]), "eligible": np.array([1, 0, 0])}
    problem = by_node([[30, 20], [30]], **only)
    points = by_migrations(problem, 2, BUDGET).points
    reached = [(point.score.violations, point.spread, point.exact) for point in points]
    assert reached == [(1, 200_000, True), (0, 400_000, True), (0, 200_000, True)]


def test_migrations_are_undone_one_by_one_and_the_least_useful_first() -> None:
    problem = by_node([[40, 3, 20], [], []]).replace(max_migrations=3)
    whole = problem.origin.copy()
    whole[[0, 1, 2]] = [1, 1, 2]
    undone = [problem.migrated(assignment).tolist() for assignment in peeled(problem, whole)]
    assert [len(guests) for guests in undone] == [2, 1, 0]
    assert undone[0] == [0, 2]


def test_all_limits_together_spend_what_four_searches_may_and_no_limit_is_worse_than_one_with_less() -> None:
    problem, one = cluster(seed=5, nodes=6, guests=90, limit=None), 0.7
    front = by_migrations(problem, 20, Budget(seconds=100, work=4 * one, workers=1))
    assert front.spent <= 4 * one * 1.1
    assert front.searches >= 4
    reached = [(point.score.violations, point.spread) for point in front.points]
    assert reached == sorted(reached, reverse=True)
    bounds = [point.bound for point in front.points]
    assert bounds == sorted(bounds, reverse=True)


def test_the_same_work_and_seed_give_the_same_front() -> None:
    problem = cluster(seed=7, nodes=5, guests=50, limit=None)

    def told(points: tuple[Point, ...]) -> list[tuple[object, ...]]:
        return [(point.limit, point.score, point.bound, point.exact, point.assignment.tolist()) for point in points]

    budget = Budget(seconds=100, work=1.0, seed=3, workers=1)
    once, again = (by_migrations(problem, 12, budget) for _ in range(2))
    assert told(once.points) == told(again.points) and once.spent == again.spent


def test_whoever_listens_sees_it_only_get_better_and_may_end_it() -> None:
    problem, seen = cluster(seed=5, nodes=5, guests=50, limit=None), list[Front]()
    budget = Budget(seconds=60, workers=1, stop=lambda: len(seen) >= 5)
    last = by_migrations(problem, 15, budget, seen.append)
    assert 5 <= len(seen) <= 6
    for before, after in zip(seen, [*seen[1:], last], strict=True):
        for old, new in zip(before.points, after.points, strict=True):
            assert new.score <= old.score and (new.bound >= old.bound or new.score.violations > old.score.violations)


def test_without_time_what_is_known_is_today() -> None:
    problem = cluster(seed=5, nodes=8, guests=120, limit=None)
    for front in (by_migrations(problem, 3, Budget(seconds=0)), by_mib(problem, 5, Budget(seconds=0))):
        assert all(problem.spread(problem.origin) >= point.spread >= point.bound for point in front.points)
