"""Claims about the choice of nodes to empty: as many as there can be, and proven, by looking at every assignment."""

from collections.abc import Iterator
from itertools import combinations
from random import Random

import numpy as np
import pytest

from planner.survive import Failover
from solvers import Budget, check, vacate_model
from solvers.problem import Apart, Bools, Ints, Problem
from solvers.vacate import Vacated, Wish, vacate
from solvers.vacate_bound import Limit, counted
from solvers.vacate_sums import Sums
from tests.brute import Plain
from tests.problems import by_node, cluster, random_problem
from tests.test_survive import survives

BUDGET = Budget(seconds=10, workers=1)
Truth = tuple[int, int]
"""Nodes that are off, and migrations."""


class Watched:
    """Headroom as `planner.survive` says."""

    def __init__(self, wish: Wish, seconds: float = 5.0) -> None:
        self._wish, self._seconds = wish, seconds

    def _failover(self, off: Bools) -> Failover:
        problem = self._wish.starting
        return Failover(problem.replace(balanced=problem.balanced & ~off), self._wish.protected)

    def has_headroom(self, assignment: Ints, off: Bools) -> bool:
        return not self._failover(off).losses(assignment, self._seconds)

    def wanted(self, assignment: Ints, off: Bools) -> Ints:
        return self._failover(off).taken_over(assignment, wanted=True)


def wished(seed: int) -> Wish:
    """A tiny cluster with rules and limits of every kind, most of them with headroom to be kept."""
    rng = Random(seed)
    problem = random_problem(seed, nodes=rng.choice([2, 3, 4]), guests=rng.choice([3, 4, 5, 6]))
    if rng.random() < 0.6:
        problem = problem.replace(capacity=problem.capacity + rng.choice([10, 30, 60]))
    if rng.random() < 0.5:
        problem = problem.replace(max_migrations=None, max_moved_mib=None)
    allowed = np.array([rng.random() < 0.9 for _ in range(problem.nodes)])
    protected = np.array([rng.random() < 0.6 for _ in range(problem.guests)], dtype=bool) & (rng.random() < 0.6)
    return Wish(problem, problem.balanced & allowed, rng.choice([0, 0, 1, 2]), protected, problem)


def truth(wish: Wish) -> Truth:
    """By every acceptable assignment, every set of nodes that are empty in it, and every place after every loss."""
    best = (0, 0)
    for number, migrations, at, off in _possible(wish):
        if (-number, migrations) < best and _is_survived(wish, at, off):
            best = (-number, migrations)
    return -best[0], best[1]


def _possible(wish: Wish) -> Iterator[tuple[int, int, list[int], tuple[int, ...]]]:
    plain = Plain(wish.problem)
    for at in plain.assignments():
        empty = [node for node in np.flatnonzero(wish.candidates).tolist() if node not in at]
        migrations = sum(a != b for a, b in zip(at, plain.origin, strict=True))
        for number in range(1, min(len(empty), wish.most) + 1):
            for off in combinations(empty, number):
                yield number, migrations, at, off


def _is_survived(wish: Wish, at: list[int], off: tuple[int, ...]) -> bool:
    balanced = wish.problem.balanced.copy()
    balanced[list(off)] = False
    problem, assignment = wish.starting.replace(balanced=balanced), np.array(at, dtype=np.int64)
    return all(survives(problem, wish.protected, assignment, node) for node in range(problem.nodes))


def agrees(seed: int) -> Truth:
    """Checks one cluster against the truth."""
    wish = wished(seed)
    found, (most, fewest) = vacate(wish, BUDGET, Watched(wish)), truth(wish)
    assert found.number == found.bound == most, seed
    migrated = len(wish.problem.migrated(found.assignment))
    assert migrated == fewest and found.fewest, seed
    kept(wish, found)
    return most, int(wish.protected.any())


def kept(wish: Wish, found: Vacated) -> None:
    assert not check.broken(wish.problem, found.assignment)
    assert not found.off[found.assignment].any() and not (found.off & ~wish.candidates).any()
    if found.number:
        assert (wish.problem.balanced & ~found.off).sum() >= wish.keep


def test_no_assignment_leaves_more_nodes_empty_or_takes_fewer_migrations() -> None:
    seen = [agrees(seed) for seed in range(80)]
    for headroom in (0, 1):
        assert {most for most, asked in seen if asked == headroom} >= {0, 1, 2}


@pytest.mark.slow
def test_no_assignment_does_better_on_many_more_clusters() -> None:
    for seed in (*range(80, 200), *range(1000, 5000)):
        agrees(seed)


def test_what_counting_and_sums_prove_holds_for_every_assignment() -> None:
    sharp = 0
    for seed in range(5000, 5100):
        wish = wished(seed)
        by_counting = counted(wish)
        by_sums = Sums(wish, 0).most(by_counting)
        most, fewest = truth(wish)
        assert most <= by_sums.most <= by_counting.most, seed
        assert fewest >= (Sums(wish, 0).fewest(most) if most else 0), seed
        sharp += by_sums.most < by_counting.most
    assert sharp > 3


@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 120), marks=pytest.mark.slow)])
def test_where_headroom_is_only_looked_at_afterwards_what_is_proven_still_holds(
    monkeypatch: pytest.MonkeyPatch, seeds: range
) -> None:
    """As on large clusters."""
    monkeypatch.setattr(vacate_model, "EXACT", -1)
    missed = asked = 0
    for seed in seeds:
        wish = wished(seed)
        if not wish.protected.any():
            continue
        found, (most, fewest) = vacate(wish, BUDGET, Watched(wish)), truth(wish)
        assert found.number <= most <= found.bound, seed
        if found.number == most and found.fewest:
            assert len(wish.problem.migrated(found.assignment)) == fewest, seed
        kept(wish, found)
        assert found.number == 0 or _is_survived(wish, found.assignment.tolist(), tuple(np.flatnonzero(found.off)))
        asked, missed = asked + 1, missed + (found.number < most)
    assert missed <= max(1, asked // 20)


def wish_for(problem: Problem, keep: int = 1, ha: Bools | None = None) -> Wish:
    guests = np.zeros(problem.guests, dtype=bool) if ha is None else ha
    return Wish(problem, problem.balanced, keep, guests, problem)


EVEN = by_node([[20], [20], [20], [20]], capacity=np.full((4, 1), 100))


@pytest.mark.parametrize(
    ("ha", "keep", "off", "limit"),
    [(False, 1, 3, Limit.KEEP), (False, 3, 1, Limit.KEEP), (True, 1, 2, Limit.HEADROOM), (False, 0, 3, Limit.ROOM)],
)
def test_why_no_more_is_told(ha: bool, keep: int, off: int, limit: Limit) -> None:
    wish = wish_for(EVEN, keep, np.full(4, ha))
    found = vacate(wish, BUDGET, Watched(wish))
    assert (found.number, found.bound, found.counted.limit) == (off, off, limit)


def test_nodes_are_emptied_that_have_least_to_migrate() -> None:
    problem = by_node([[1] * 5, [5], [1, 1], [3, 3]], capacity=np.full((4, 1), 12))
    found = vacate(wish_for(problem, 2), BUDGET, Watched(wish_for(problem)))
    assert found.off.tolist() == [False, True, True, False] and len(problem.migrated(found.assignment)) == 3


def test_other_guests_make_room_where_it_takes_that() -> None:
    """The guest of 6 fits nowhere until one of 4 has left."""
    problem = by_node([[6], [4, 1], [4, 2]], capacity=np.array([[9], [10], [10]]))
    found = vacate(wish_for(problem, 2), BUDGET, Watched(wish_for(problem)))
    assert found.number == found.bound == 1
    kept(wish_for(problem, 2), found)


def test_guests_that_are_kept_apart_need_as_many_nodes_and_one_more_for_a_loss() -> None:
    problem = by_node([[1], [1], [1], []]).replace(apart=(Apart.of([0, 1, 2]),))
    assert vacate(wish_for(problem), BUDGET, Watched(wish_for(problem))).number == 1
    wish = wish_for(problem, 1, np.full(3, True))
    found = vacate(wish, BUDGET, Watched(wish))
    assert (found.number, found.bound) == (0, 0)


@pytest.mark.parametrize("share", [0.0, pytest.param(0.5, marks=pytest.mark.slow), 1.0])
def test_a_large_cluster_gets_a_good_answer_that_keeps_everything(share: float) -> None:
    problem = cluster(1, 40, 750, None)
    problem = problem.replace(movable=np.ones(problem.guests, dtype=bool))
    ha = np.random.default_rng(1).random(problem.guests) < share
    wish = wish_for(problem, 1, ha)
    found = vacate(wish, Budget(seconds=15, workers=1), Watched(wish, 1.0))
    assert found.bound - 2 <= found.number <= found.bound
    kept(wish, found)
    assert Watched(wish).has_headroom(found.assignment, found.off)


def test_a_search_that_is_told_to_stop_keeps_what_it_has() -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    problem = cluster(2, 20, 200, None)
    problem = problem.replace(movable=np.ones(problem.guests, dtype=bool))
    wish = wish_for(problem)
    found = vacate(wish, Budget(seconds=60, workers=1, stop=stop), Watched(wish))
    kept(wish, found)
    assert found.number <= found.bound
