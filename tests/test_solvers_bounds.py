"""Claims about the bounds that need no solver, on clusters small enough to follow by hand: how high they are."""

from random import Random
from typing import Any

import numpy as np
import pytest

from solvers import Cost, Level, bounds
from solvers.lattice import lifted
from solvers.problem import Score
from tests.brute import truth
from tests.problems import by_node, random_problem

ONE_SIDED = [[25, 25, 10], []]


@pytest.mark.parametrize(
    ("limit", "bound"),
    [
        ({"max_migrations": 0}, 600_000),
        ({"max_migrations": 1}, 100_000),  # 35 against 25
        ({"max_migrations": 2}, 0),  # the mean, 30, is not passed
        ({"max_moved_mib": 0}, 600_000),
        ({"max_moved_mib": 15}, 300_000),  # guests count in parts: 45 against 15
        ({"max_moved_mib": 29}, 20_000),
        ({"max_migrations": 1, "max_moved_mib": 15}, 300_000),
        ({"max_migrations": 1, "max_moved_mib": 29}, 100_000),
        ({}, 0),
    ],
)
def test_the_spread_is_no_less_than_the_largest_guests_within_the_limits_can_make_it(
    limit: dict[str, int], bound: int
) -> None:
    assert bounds.spread_bound(by_node(ONE_SIDED, **limit)) == bound


def test_every_node_above_has_to_lose_and_every_node_below_has_to_gain() -> None:
    assert bounds.spread_bound(by_node([[30, 30], [30, 30], []], max_migrations=1)) == 300_000  # 60 against 30
    assert bounds.spread_bound(by_node([[30, 30], [], []], max_migrations=1)) == 300_000  # 30 against 0
    assert bounds.spread_bound(by_node([[40, 30, 30], [], []], max_moved_mib=45)) == 325_000  # 55 against 22.5


def test_only_who_may_be_migrated_counts() -> None:
    fixed = np.array([False, True, True])
    assert bounds.spread_bound(by_node([[30, 20, 10], []], movable=fixed, max_migrations=1)) == 200_000
    pinned: dict[str, Any] = {"eligibility": np.array([[True, True], [True, False]]), "eligible": np.array([1, 0, 0])}
    assert bounds.spread_bound(by_node([[30, 20, 10], []], **pinned, max_migrations=1)) == 200_000
    # The largest may leave, but not to the node that needs it.
    elsewhere = {"eligibility": np.array([[True] * 3, [True, False, True]]), "eligible": np.array([1] + 5 * [0])}
    assert bounds.spread_bound(by_node([[30, 10, 5], [], [5, 5, 5]], **elsewhere, max_migrations=1)) == 50_000
    assert bounds.spread_bound(by_node([[60]], movable=np.array([False]))) == 0


def test_a_node_that_nobody_may_come_to_stays_where_it_is() -> None:
    pinned: dict[str, Any] = {"eligibility": np.array([[True, False, True]]), "movable": np.array([True] * 3 + [False])}
    problem = by_node([[20, 10, 10], [], [20]], **pinned)
    assert bounds.spread_bound(problem) == 200_000  # a full node 2 against an empty node 1, whoever leaves node 0
    assert bounds.cost_bound(problem, Score(0, 300_000, (), (9, 9))) == 10
    everything_leaves = problem.replace(balanced=np.array([True, True, False]))
    assert bounds.spread_bound(everything_leaves) == 0


def test_a_guest_is_smaller_on_a_larger_node() -> None:
    assert bounds.spread_bound(by_node(ONE_SIDED, ability=np.array([[100, 200]]), max_migrations=1)) == 225_000


def test_nodes_that_do_not_count_have_guests_to_give() -> None:
    drained = np.array([True, True, False])
    assert bounds.spread_bound(by_node([[30], [], [20]], balanced=drained, max_migrations=1)) == 0
    assert bounds.spread_bound(by_node([[30], [], [20]], balanced=drained, max_migrations=0)) == 300_000
    assert bounds.spread_bound(by_node([[30], [], [20]], balanced=np.zeros(3, dtype=bool), max_migrations=0)) == 0


@pytest.mark.parametrize("limit", [1, 63, 64, 65, 90])
def test_the_least_of_many_guests_is_counted_to_the_last(limit: int) -> None:
    problem = by_node([[1] * 250, []], ability=np.array([[250, 250]]), max_migrations=limit)
    assert bounds.spread_bound(problem) == 1_000_000 - 8_000 * limit


def test_the_bound_of_a_weighted_level_is_the_weighted_mean() -> None:
    two = by_node(
        ONE_SIDED, demand=np.array([[25, 25, 10], [5, 5, 30]]), ability=np.full((2, 2), 100), base=np.zeros((2, 2)),
        levels=(Level((0, 1), (3, 1)),), max_migrations=0,
    )  # fmt: skip
    assert bounds.spread_bound(two) == 550_000
    assert bounds.spread_bound(two.replace(levels=(Level((1,)), Level((0,))))) == 400_000
    assert bounds.spread_bound(two.replace(levels=())) == 600_000


@pytest.mark.parametrize(
    ("spread", "migrations", "mib"),
    [(0, 2, 30), (99_998, 2, 26), (100_000, 1, 25), (500_000, 1, 5), (599_999, 1, 1), (600_000, 0, 0)],
)
def test_a_plan_costs_no_less_than_the_cheapest_window_of_its_spread(spread: int, migrations: int, mib: int) -> None:
    problem = by_node(ONE_SIDED, prefer=Cost.MIGRATIONS)
    score = Score(0, spread, (), (9, 9))
    assert bounds.cost_bound(problem, score) == migrations
    assert bounds.cost_bound(problem.replace(prefer=Cost.MIB), score) == mib


def test_what_must_leave_each_node_is_counted_there_and_what_must_come_wherever_it_is_cheapest() -> None:
    dear_and_cheap = np.array([10] * 6 + [1] * 6)
    problem = by_node([[10] * 6, [10] * 6, []], copy_mib=dear_and_cheap)
    assert bounds.cost_bound(problem, Score(0, 0, (), (9, 9))) == 22  # two of each, at the mean


def test_nothing_is_said_of_the_cost_of_the_impossible() -> None:
    problem = by_node([[30], []], movable=np.array([False]))
    assert bounds.cost_bound(problem, Score(0, 299_999, (), (9, 9))) == 0
    assert bounds.cost_bound(problem.replace(balanced=np.zeros(2, dtype=bool)), Score(0, 0, (), (0, 0))) == 0


def test_guests_of_a_millionth_of_a_node_count_and_smaller_ones_do_not() -> None:
    row = [1] * 10
    assert bounds.spread_bound(by_node([row, []], ability=np.full((1, 2), 1_000_000), max_migrations=4)) == 2
    assert bounds.spread_bound(by_node([row, []], ability=np.full((1, 2), 1_000_000), max_migrations=5)) == 0
    assert bounds.spread_bound(by_node([row, []], ability=np.full((1, 2), 3_000_000), max_migrations=5)) == 0


def test_bounds_hold_for_every_acceptable_assignment() -> None:
    met = 0
    for seed in range(200):
        problem, rng = random_problem(seed), Random(seed)
        known = truth(problem)
        assert bounds.spread_bound(problem) <= known.least_spread(), seed
        for violations, first, *later in rng.sample(sorted(known.costs), min(5, len(known.costs))):
            score = Score(violations, first, tuple(later), (0, 0))
            bound = bounds.cost_bound(problem, score)
            assert bound <= known.least_cost(tuple(score)), seed
            met += bound > 0
    assert met > 100


def test_where_all_guests_are_multiples_of_one_size_no_spread_lies_between() -> None:
    problem = by_node([[16, 16, 8], [8], [8]], max_migrations=1)  # of nodes of 100: 40, 8, 8
    assert truth(problem).least_spread() == 160_000
    assert 159_000 < lifted(problem, 0, 90_000, 160_000) <= 160_000  # 80_000 is too little
    assert 79_000 < lifted(problem, 0, 100, 160_000) <= 80_000
    assert lifted(problem, 0, 0, 160_000) == 0


def test_what_is_lifted_is_still_a_bound() -> None:
    for seed in range(60):
        rng = Random(seed)
        sizes = [[rng.choice([1, 2, 5]) * 3 for _ in range(rng.randint(0, 3))] for _ in range(3)]
        problem = by_node(sizes, max_migrations=rng.choice([1, 2, None]), ability=np.full((1, 3), rng.randint(40, 90)))
        least = truth(problem).least_spread()
        for bound in {0, least // 3, max(0, least - 1), least}:
            assert bound <= lifted(problem, 0, bound, problem.spread(problem.origin)) <= least, seed


def test_many_guests_behind_a_negative_base_are_counted_too() -> None:
    facts = {"ability": np.full((1, 2), 2_997), "base": np.full((1, 2), -13_346), "movable": np.zeros(60, dtype=bool)}
    problem = by_node([[2] * 20, [1] * 40], **facts)  # each guest is rounded, none can be migrated
    spread = problem.spread(problem.origin)
    assert 0 < spread < 100
    assert lifted(problem, 0, spread // 2, spread) <= spread
