"""Claims about the reference recursion, on clusters small enough to follow by hand, and about descent."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from solvers import Budget, Problem, check, descent, greedy, ranking
from solvers.greedy import Free
from solvers.problem import Apart, Ints
from solvers.state import State
from tests.plain_greedy import PlainGreedy
from tests.problems import cluster, random_problem


def _cluster(origin: Sequence[int], memory: Sequence[int], ability: Sequence[int], **changes: Any) -> Problem:
    """One metric and one resource, both memory; everyone may go everywhere."""
    g, n = len(origin), len(ability)
    row = np.array(memory, dtype=np.int64)
    fields: dict[str, Any] = {
        "origin": np.array(origin, dtype=np.int64), "needs": row[:, None], "capacity": np.array(ability)[:, None],
        "demand": row[None], "ability": np.array(ability)[None], "base": np.zeros((1, n), dtype=np.int64),
        "balanced": np.ones(n, dtype=bool), "eligibility": np.ones((1, n), dtype=bool),
        "eligible": np.zeros(g, dtype=np.int64), "copy_mib": row, "movable": np.ones(g, dtype=bool),
    }  # fmt: skip
    return Problem(**(fields | changes))


def _greedy(problem: Problem, free: Free = Free.PERCENT) -> list[int]:
    return [int(node) for node in greedy.solve(problem, Budget(), problem.origin, free=free).assignment]


def test_the_largest_guest_goes_first() -> None:
    assert _greedy(_cluster([0, 0, 0], [10, 30, 20], [100, 100], max_migrations=1)) == [0, 1, 0]


def test_a_guest_stays_where_its_own_node_is_the_most_free() -> None:
    # 1 (30): node 0 is 60 % full, node 1 is empty: goes. 2 (20): 30 against 30, the first node: stays. 0 (10): same.
    assert _greedy(_cluster([0, 0, 0], [10, 30, 20], [100, 100])) == [0, 1, 0]
    # An own node that is emptier than any other keeps its guest, even the largest of all.
    assert _greedy(_cluster([0, 1], [40, 50], [100, 100], movable=np.array([True, False]))) == [0, 1]


def test_equally_large_guests_go_in_the_order_of_their_vmids() -> None:
    assert _greedy(_cluster([0, 0, 0], [20, 20, 20], [100, 100], max_migrations=1)) == [1, 0, 0]


def test_equally_free_nodes_are_taken_in_order() -> None:
    assert _greedy(_cluster([2, 2], [20, 10], [100, 100, 100], max_migrations=1)) == [0, 2]


def test_it_stops_at_the_tolerance() -> None:
    one, two = ([0, 0, 0], [30, 20, 10], [100, 100]), [1, 0, 0]
    assert _greedy(_cluster(*one, tolerance=600_000)) == [0, 0, 0]
    assert _greedy(_cluster(*one, tolerance=599_999)) == two


def test_it_stops_at_the_migration_limit() -> None:
    origin, memory, ability = [0] * 6, [16, 15, 14, 13, 12, 11], [100, 100, 100]
    for limit in range(5):
        problem = _cluster(origin, memory, ability, max_migrations=limit)
        assert len(problem.migrated(greedy.solve(problem, Budget(), problem.origin).assignment)) == min(limit, 4)


def test_a_bundle_larger_than_what_is_left_of_the_limit_stays() -> None:
    problem = _cluster([0, 0, 0], [30, 30, 10], [100, 100], together=((0, 1),), max_migrations=1)
    assert _greedy(problem) == [0, 0, 1]


def test_guests_that_belong_together_travel_together() -> None:
    assert _greedy(_cluster([0, 0, 0], [20, 20, 10], [100, 100], together=((0, 1),))) == [1, 1, 0]


@pytest.mark.parametrize(
    "rule",
    [
        {"eligibility": np.array([[True, False, True]])},
        {"apart": (Apart.of((0, 2)),)},
        {"capacity": np.array([[100], [39], [100]])},
    ],
    ids=["eligibility", "apart", "capacity"],
)
def test_when_a_rule_forbids_the_most_free_node_the_next_is_tried(rule: dict[str, Any]) -> None:
    # Node 1 has 90 % free, node 2 has 80 % free; guests 2 and 3 are there and fixed.
    movable = np.array([True, False, False, False])
    problem = _cluster([0, 0, 1, 2], [30, 30, 10, 20], [100, 100, 100], movable=movable)
    assert _greedy(problem) == [1, 0, 1, 2]
    assert _greedy(problem.replace(**rule)) == [2, 0, 1, 2]


def test_most_free_by_percent_or_by_bytes() -> None:
    # Node 1: 60 of 100 free. Node 2: 110 of 200 free.
    problem = _cluster([0, 1, 2], [80, 40, 90], [100, 100, 200], movable=np.array([True, False, False]))
    problem = problem.replace(capacity=np.full((3, 1), 300))
    assert _greedy(problem) == [1, 1, 2]
    assert _greedy(problem, Free.BYTES) == [2, 1, 2]


def test_equal_bytes_are_a_tie_whatever_the_rounding() -> None:
    # Node 1: 400 of 500 used, node 2: 200 of 300 (666_667 ppm): 100 free on each.
    problem = _cluster([0, 1, 2], [40, 400, 200], [42, 500, 300], movable=np.array([True, False, False]))
    assert _greedy(problem, Free.BYTES) == [1, 1, 2]
    swapped = _cluster([0, 1, 2], [40, 200, 400], [42, 300, 500], movable=np.array([True, False, False]))
    assert _greedy(swapped, Free.BYTES) == [1, 1, 2]


def test_what_is_in_violation_is_mended_before_and_within_the_tolerance() -> None:
    drained = {"eligibility": np.array([[False, True, True]]), "tolerance": 1_000_000}
    assert _greedy(_cluster([0, 0, 1], [10, 20, 5], [100, 100, 100], **drained)) == [1, 2, 1]


def test_a_bundle_in_contradiction_with_itself_is_not_migrated_for_nothing() -> None:
    problem = _cluster([0, 0], [10, 10], [100, 100], together=((0, 1),), apart=(Apart.of((0, 1)),), tolerance=1_000_000)
    assert _greedy(problem) == [0, 0]


def test_twenty_thousand_guests_do_not_exhaust_the_stack() -> None:
    rng = np.random.default_rng(1)
    memory = rng.integers(1, 100, size=20_000).tolist()
    problem = _cluster([0] * 20_000, memory, [2_000_000] * 4)
    began = time.monotonic()
    assert problem.spread(np.array(_greedy(problem))) < problem.spread(problem.origin) // 1_000
    assert time.monotonic() - began < 20


def _decisions(problem: Problem, start: Ints, free: Free, patch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    migrate = State.migrate

    def note(state: State, bundle: int, node: int) -> None:
        made.append((bundle, node))
        migrate(state, bundle, node)

    with patch.context() as patched:
        patched.setattr(State, "migrate", note)
        at = greedy.solve(problem, Budget(), start, free=free).assignment
    assert at.tolist() == PlainGreedy(problem, start.tolist(), free).at
    return made


def _hold_to_the_plain_recursion(problem: Problem, patch: pytest.MonkeyPatch) -> int:
    """Also from where a limit ended an earlier run: guests are then away from home. How many decisions were equal."""
    limited = problem.replace(max_migrations=2, tolerance=0)
    count = 0
    for start in (problem.origin, greedy.solve(limited, Budget(), problem.origin).assignment):
        for free in Free:
            made = _decisions(problem, start, free, patch)
            assert made == PlainGreedy(problem, start.tolist(), free).decisions
            count += len(made)
    return count


def test_every_decision_is_that_of_the_plain_recursion(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(_hold_to_the_plain_recursion(random_problem(seed), monkeypatch) for seed in range(600)) > 1_500


@pytest.mark.parametrize(
    ("seeds", "large"), [(range(15), range(2)), pytest.param(range(15, 40), range(2, 4), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("looks", [1, 3, greedy.LOOKS, 1_000])
def test_every_decision_is_that_of_the_plain_recursion_on_many_nodes(
    monkeypatch: pytest.MonkeyPatch, looks: int, seeds: range, large: range
) -> None:
    """However many nodes are looked at one by one: what follows is another way to the same node."""
    monkeypatch.setattr(greedy, "LOOKS", looks)
    count = 0
    for seed in seeds:
        count += _hold_to_the_plain_recursion(random_problem(seed, 5 + seed % 16, 10 + seed % 17), monkeypatch)
    for seed in large:
        problem = cluster(seed, nodes=18, guests=60, limit=None if seed % 2 else 25)
        count += _hold_to_the_plain_recursion(problem, monkeypatch)
    assert count > 500


def _counted(count: Counter[str], do: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        count[do.__name__] += 1
        return do(*args)

    return counted


def _work(nodes: int, patch: pytest.MonkeyPatch) -> dict[str, float]:
    """Nodes looked at and changes to heaps, per decision, with nodes as unequal and as full whatever their number."""
    rng = np.random.default_rng(1)
    guests = 8 * nodes
    memory, ability = rng.integers(1, 100, size=guests).tolist(), rng.choice([500, 1_000, 2_000], size=nodes)
    pinned = np.vstack([np.ones(nodes, dtype=bool), np.arange(nodes) < nodes // 2, np.arange(nodes) >= nodes // 2])
    problem = _cluster(
        rng.choice(nodes, size=guests, p=ability / ability.sum()).tolist(), memory, ability.tolist(),
        eligibility=pinned, eligible=rng.integers(3, size=guests), capacity=(ability * 2)[:, None],
    )  # fmt: skip
    count: Counter[str] = Counter()
    with patch.context() as patched:
        for name in ("may_go", "legal", "spread", "migrate"):
            patched.setattr(State, name, _counted(count, getattr(State, name)))
        for name in ("heappush", "heappop"):
            patched.setattr(ranking, name, _counted(count, getattr(ranking, name)))
        greedy.solve(problem, Budget(), problem.origin)
    assert count["migrate"] > guests / 2
    return {name: number / guests for name, number in count.items()}


def test_the_work_per_decision_does_not_grow_with_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change to a heap of n nodes takes O(log n) steps; the nodes that are pinned to halves it."""
    few, many = _work(50, monkeypatch), _work(800, monkeypatch)
    for name in ("may_go", "heappush", "heappop"):
        assert many[name] < 1.3 * few[name] + 0.5, name
    assert many["may_go"] < 3
    assert all(work.get(name, 0) < 0.1 for work in (few, many) for name in ("legal", "spread"))


@pytest.mark.parametrize("seeds", [range(50), pytest.param(range(50, 150), marks=pytest.mark.slow)])
def test_descent_improves_or_stays(seeds: range) -> None:
    for seed in seeds:
        problem = random_problem(seed)
        answer = descent.solve(problem, Budget(), problem.origin)
        assert check.score(problem, answer.assignment) <= check.score(problem, problem.origin), seed


def test_descent_leaves_no_single_migration_that_helps() -> None:
    problem = cluster(seed=2, nodes=6, guests=60, limit=None).replace(together=(), apart=())
    result = descent.solve(problem, Budget(), problem.origin).assignment
    score = check.score(problem, result)
    for guest in range(problem.guests):
        for node in range(problem.nodes):
            other = result.copy()
            other[guest] = node
            assert check.broken(problem, other) or check.score(problem, other)[:2] >= score[:2]


def test_descent_swaps_where_no_single_migration_helps() -> None:
    # 80 against 40; node 1 holds 65, so that 30 does not fit beside 40, but 50 fits in its place.
    problem = _cluster([0, 0, 1], [50, 30, 40], [100, 100], capacity=np.array([[80], [65]]))
    assert descent.solve(problem, Budget(), problem.origin).assignment.tolist() == [1, 0, 0]


def test_a_node_that_several_guests_have_to_leave_is_relieved_or_left_as_it_is() -> None:
    problem = _cluster(
        [0, 0, 0, 0], [10, 20, 30, 40], [100, 100], capacity=np.array([[35], [200]]), tolerance=1_000_000
    )
    assert _greedy(problem) == [0, 0, 1, 1]  # neither the 40 nor the 30 alone would do
    short = _cluster([0, 0, 0, 0], [10, 20, 30, 40], [100, 100], capacity=np.array([[35], [45]]), tolerance=1_000_000)
    assert _greedy(short) == [0, 0, 0, 0]
