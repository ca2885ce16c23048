"""Why requirements cannot hold together, and what is least to be given up: against tables of all assignments."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from solvers.cheapest import cheapest, tiers
from solvers.conflict import Conflict, conflict
from solvers.hitting import lightest
from solvers.possible import Possibility
from solvers.problem import Apart, Problem
from solvers.requirement import Only, Requirement, Room, Together, Within, broken
from tests.problems import by_node, cluster
from tests.requirements import Table, draw, every_assignment, table

THOUSAND = 1_000


def judge(seed: int) -> Conflict:
    """Ask about random requirements, and hold every claim against all assignments there are."""
    problem, requirements, weights = draw(seed)
    every = every_assignment(problem)
    kept = table(problem, requirements, every)
    answer = conflict(problem, requirements, weights, seconds=60)
    assert set(answer.relaxation) == set(np.flatnonzero(~kept[_row(every, answer.example)]))
    assert (answer.status is Possibility.POSSIBLE) == _possible(kept, range(len(requirements)))
    if answer.status is Possibility.POSSIBLE:
        assert not answer.core and not answer.relaxation
        return answer
    assert answer.status is Possibility.IMPOSSIBLE and answer.minimal and answer.least
    assert not _possible(kept, answer.core)
    assert all(_possible(kept, [other for other in answer.core if other != each]) for each in answer.core)
    assert sum(weights[index] for index in answer.relaxation) == _prices(kept, weights).min()
    return answer


def _possible(kept: Table, chosen: "range | list[int] | tuple[int, ...]") -> bool:
    return bool(kept[:, list(chosen)].all(axis=1).any())


def _prices(kept: Table, weights: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """What is given up at every assignment."""
    return np.asarray(~kept @ np.array(weights, dtype=np.int64))


def _row(every: "np.ndarray[tuple[int, int], np.dtype[np.int64]]", assignment: object) -> int:
    return int(np.flatnonzero((every == assignment).all(axis=1))[0])


@pytest.mark.parametrize("start", [0, 60, 120, 180])
def test_cores_conflict_and_nothing_in_them_is_needless_and_relaxations_are_least(start: int) -> None:
    for seed in range(start, start + 60):
        judge(seed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_random_conflicts_are_explained_by_minimal_cores() -> None:
    sizes: dict[int, int] = {}
    seed = 10_000
    while sum(sizes.values()) < THOUSAND:
        answer = judge(seed)
        if answer.status is Possibility.IMPOSSIBLE:
            sizes[len(answer.core)] = sizes.get(len(answer.core), 0) + 1
        seed += 1
    print(f"{THOUSAND} conflicts of {seed - 10_000} drawn; requirements in a core: {dict(sorted(sizes.items()))}")


@pytest.mark.parametrize("start", [0, 40])
def test_the_cheapest_relaxation_has_the_least_weight_and_then_the_fewest_migrations(start: int) -> None:
    for seed in range(start, start + 40):
        problem, requirements, weights = draw(seed)
        every = every_assignment(problem)
        prices = _prices(table(problem, requirements, every), weights)
        answer = cheapest(problem, requirements, weights, seconds=60)
        assert answer.least and answer.fewest
        assert answer.weight == prices.min() == prices[_row(every, answer.assignment)]
        migrations = (every != problem.origin).sum(axis=1)
        assert len(problem.migrated(answer.assignment)) == migrations[prices == prices.min()].min()


FOUR = by_node([[60, 30], [50, 20], [40], [10]])
"""Guests 0 to 5."""
PAIRS = [Apart(((a,), (b,))) for a in range(4) for b in range(a)]
ON = [frozenset({node}) for node in range(4)]


@pytest.mark.parametrize(
    ("requirements", "core"),
    [
        ([Only((0, 1), ON[0] | ON[1]), Only((1,), ON[2]), Only((3,), ON[2])], {0, 1}),
        ([Only((0,), frozenset())], {0}),
        ([Together((0, 1)), Together((1, 2)), Only((0,), ON[0] | ON[3]), Only((2,), ON[1])], {0, 1, 2, 3}),
        ([Together((0, 1, 2)), Together((3, 4)), Apart(((1,), (2,)))], {0, 2}),
        ([Together((0, 1)), Together((1, 2)), Apart(((0, 3), (2,)))], {0, 1, 2}),
        ([Apart(tuple((g,) for g in range(5))), Only((5,), ON[0])], {0}),
        ([Apart(tuple((g,) for g in range(5)), 1), Apart(tuple((g,) for g in range(5)), 2)], {0}),
        ([Apart(((0,), (1,), (2,)), 1, (0, 0, 1, 1))], {0}),
        ([Apart(((0,), (1,), (2,))), *(Only((g,), ON[1] | ON[2]) for g in range(4))], {0, 1, 2, 3}),
        ([*PAIRS, Only((0, 1, 2, 3), ON[0] | ON[1] | ON[2])], set(range(7))),
        ([Room(node, 0) for node in range(4)] + [Only((0, 1, 2), ON[3]), Together((4, 5))], {3, 4}),
        ([Within(1), Only((0,), ON[1]), Only((2,), ON[0])], {0, 1, 2}),
        ([Within(1), Within(9), Only((0, 1), ON[1] | ON[2])], {0, 2}),
        ([Within(None, 50), Only((0,), ON[3]), Only((5,), ON[1])], {0, 1}),
    ],
)
def test_every_kind_of_conflict_is_named_without_bystanders(requirements: list[Requirement], core: set[int]) -> None:
    problem = FOUR.replace(capacity=np.full((4, 1), 130))
    answer = conflict(problem, requirements)
    assert (answer.status, set(answer.core)) == (Possibility.IMPOSSIBLE, core)
    assert answer.minimal and answer.least and len(answer.relaxation) == 1
    assert broken(problem, requirements, answer.example) == answer.relaxation


def test_a_conflict_of_rules_is_named_rather_than_one_of_room() -> None:
    room = [Room(node, 0) for node in range(4)]
    rules = [Apart(((0,), (1,))), Together((0, 1))]
    answer = conflict(FOUR.replace(capacity=np.full((4, 1), 10)), [*room, *rules])
    assert answer.core == (4, 5)


def test_what_weighs_little_gives_way_to_what_weighs_much_however_many_there_are() -> None:
    must: list[Requirement] = [Only((0,), ON[0])]
    should: list[Requirement] = [Together((0, 1)), Together((0, 1)), Only((1,), ON[1])]
    assert cheapest(FOUR, [*must, *should], [2**40, 1, 1, 3]).given_up == (1, 2)
    assert cheapest(FOUR, [*must, *should], [2**40, 2, 2, 3]).given_up == (3,)
    assert cheapest(FOUR, [*must, *should], [0, 2, 2, 3]).weight == 0


def test_tiers_of_weights_order_sets_as_the_weights_do() -> None:
    assert tiers([2**40, 2**40, 3, 1, 0]) == [{0: 1, 1: 1}, {2: 1}, {3: 1}]
    assert tiers([7, 5, 2]) == [{0: 7, 1: 5, 2: 2}]
    rng = np.random.default_rng(1)
    for _ in range(200):
        weights = [int(weight) for weight in rng.choice([0, 1, 2, 6, 40, 1_000], size=6)]
        subsets = (np.arange(64)[:, None] >> np.arange(6)) & 1
        keys = [tuple(sum(tier[i] * int(row[i]) for i in tier) for tier in tiers(weights)) for row in subsets]
        totals = subsets @ np.array(weights)
        assert all((keys[a] < keys[b]) == (totals[a] < totals[b]) for a in range(64) for b in range(64))


def test_a_lightest_hitting_set_takes_what_is_shared() -> None:
    assert lightest([(0, 1), (1, 2), (1, 3)], [{0: 1, 1: 2, 2: 1, 3: 1}], {}, 10, 0) == {1}
    assert lightest([(0, 1), (2, 3)], [{0: 1, 1: 1, 3: 1}], {0: 1, 1: 0}, 10, 0) == {1}


def _large(capacity: int = 100) -> tuple[Problem, list[Requirement]]:
    problem = cluster(1, 40, 1500, None)
    problem = problem.replace(capacity=problem.capacity * capacity // 100)
    drained = tuple(np.flatnonzero(problem.origin == 0).tolist())
    requirements: list[Requirement] = [Room(node, 0) for node in range(40)]
    requirements += [Only(drained, frozenset(range(1, 40)))]
    requirements += [Apart(tuple((g,) for g in range(k, k + 5))) for k in range(0, 500, 5)]
    requirements += [Together((g, g + 1)) for g in range(600, 640, 2)]
    return problem, requirements


def test_a_large_cluster_is_answered_within_its_time() -> None:
    problem, requirements = _large()
    began = time.monotonic()
    answer = conflict(problem, requirements, seconds=10)
    assert answer.status is Possibility.POSSIBLE
    assert not broken(problem, requirements, answer.example)
    pins = [Only((g,), frozenset({7})) for g in range(500, 504)]
    crowd: list[Requirement] = [Apart(tuple((g,) for g in range(500, 504)), 3)]
    answer = conflict(problem, [*requirements, *pins, *crowd], seconds=10)
    first = len(requirements)
    assert set(answer.core) == set(range(first, first + 5)) and answer.minimal and answer.least
    assert len(answer.relaxation) == 1
    answer = conflict(problem, [*requirements, Within(3)], seconds=10)
    assert answer.core == (40, len(requirements)) and answer.minimal
    assert time.monotonic() - began < 30


def test_a_cluster_without_room_for_all_needs_every_room_for_that() -> None:
    problem, requirements = _large(40)
    answer = conflict(problem, requirements, seconds=10)
    assert answer.core == tuple(range(40)) and answer.minimal
    assert len(answer.relaxation) == 1 and answer.least


@pytest.mark.slow  # it is about the end of a time limit, and a busy machine gets less done until then
def test_must_rules_hold_even_where_the_least_weight_of_should_rules_is_not_found_in_time() -> None:
    problem, requirements = _large()
    largest = np.argsort(-problem.needs[1000:, 0])[:40] + 1000
    should = [Only((int(g),), frozenset({7})) for g in largest]
    weights = [2**40] * len(requirements) + [1 + index % 3 for index in range(40)]
    answer = cheapest(problem, [*requirements, *should], weights, seconds=5)
    assert answer.weight < 2**40
    assert answer.given_up == broken(problem, [*requirements, *should], answer.assignment)


def test_without_time_nothing_is_claimed() -> None:
    requirements: list[Requirement] = [*PAIRS, Only((0, 1, 2, 3), ON[0] | ON[1] | ON[2])]
    answer = conflict(FOUR, requirements, seconds=0)
    assert (answer.status, answer.core, answer.minimal, answer.least) == (Possibility.UNKNOWN, (), False, False)
    assert broken(FOUR, requirements, answer.example) == answer.relaxation


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_answer(seed: int) -> None:
    problem, requirements, weights = draw(5)
    first, second = (conflict(problem, requirements, weights, 60, seed) for _ in range(2))
    assert (first.core, first.relaxation) == (second.core, second.relaxation)
    assert (first.example == second.example).all()


def test_weights_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="1 weights for 2 requirements"):
        conflict(FOUR, [Within(1), Within(2)], [1])
    with pytest.raises(ValueError, match="must not be negative"):
        cheapest(FOUR, [Within(1)], [-1])
    with pytest.raises(ValueError, match="less than 2"):
        cheapest(FOUR, [Within(1), Within(2)], [2**61, 2**61])


WITHOUT_ORTOOLS = """
import sys
sys.modules["ortools"] = None
from solvers.conflict import conflict
from solvers.requirement import Only, Together
from tests.test_conflict import FOUR, ON, PAIRS
answer = conflict(FOUR, [Together((0, 1)), Only((0,), ON[0]), Only((1,), ON[1])])
print(answer.status, answer.core, answer.minimal)
try:
    conflict(FOUR, [*PAIRS, Only((0, 1, 2, 3), ON[0] | ON[1] | ON[2])])
except ModuleNotFoundError as error:
    print(error.name.split(".")[0])
"""


def test_what_counting_shows_needs_no_ortools_and_the_rest_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ORTOOLS], capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.stdout.splitlines() == ["impossible (0, 1, 2) True", "ortools"], done.stderr
