"""Claims about the local search and its tables, held against plain recomputation and the slow truth."""

from itertools import pairwise

import numpy as np
import pytest

from solvers import Problem, check, descent, greedy
from solvers.band import Band, narrower
from solvers.exchange import exchange
from solvers.gains import Gains, traits
from solvers.problem import Ints
from solvers.result import Budget
from solvers.state import State
from solvers.steps import Steps
from solvers.tabu import cheapen, improve
from tests.brute import Plain, truth
from tests.problems import cluster, random_problem


def _repaired(problem: Problem) -> Ints:
    state = State(problem, problem.origin)
    greedy.repair(state)
    return state.assignment


def _run(problem: Problem, steps: int, seed: int = 1) -> Ints:
    return improve(problem, _repaired(problem), 60, seed, steps=steps)


def test_the_same_seed_and_steps_give_the_same_assignment() -> None:
    for limit in (8, None):
        problem = cluster(seed=2, nodes=8, guests=120, limit=limit)
        assert (_run(problem, 60) == _run(problem, 60)).all()


def test_more_steps_never_give_a_worse_score() -> None:
    for problem in (cluster(seed=2, nodes=8, guests=120, limit=9), *map(random_problem, range(3_000, 3_020))):
        scores = [check.score(problem, _run(problem, steps)) for steps in (0, 1, 5, 20, 80)]
        assert scores == sorted(scores, reverse=True)


def test_what_is_offered_is_acceptable_and_better_each_time() -> None:
    for seed in range(3_100, 3_160):
        problem = random_problem(seed)
        plain, offered = Plain(problem), list[Ints]()
        start = _repaired(problem)
        best = improve(problem, start, 60, seed, offer=offered.append, steps=40)
        scores = [check.score(problem, at) for at in (start, *offered)]
        assert all(plain.acceptable(at.tolist()) for at in offered), seed
        assert all(later < earlier for earlier, later in pairwise(scores)), seed
        assert check.score(problem, best) == scores[-1], seed


@pytest.mark.parametrize(
    ("seeds", "most"), [(range(3_200, 3_250), 42), pytest.param(range(3_200, 3_300), 85, marks=pytest.mark.slow)]
)
def test_most_small_problems_are_solved_to_the_optimum(seeds: range, most: int) -> None:
    reached = 0
    for seed in seeds:
        problem = random_problem(seed)
        found, best = check.score(problem, _run(problem, 80)), truth(problem).best
        assert tuple(found) >= best, seed
        reached += found[:2] == best[:2]
    assert reached >= most


def test_a_mid_size_cluster_is_balanced_to_a_hundredth_of_a_point() -> None:
    problem = cluster(seed=3, nodes=8, guests=160, limit=None)
    problem = problem.replace(capacity=problem.capacity * 2)
    assert problem.spread(problem.origin) > 100_000
    assert problem.spread(_run(problem, 400)) < 100


def test_a_part_of_a_cluster_at_a_time_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solvers.tabu.NODES", 5)
    monkeypatch.setattr("solvers.tabu.BUNDLES", 40)
    problem = cluster(seed=4, nodes=16, guests=240, limit=30)
    start = _repaired(problem)
    best = _run(problem, 400)
    assert not check.broken(problem, best)
    assert problem.spread(best) < problem.spread(start) / 4


def test_a_step_gains_what_it_says() -> None:
    """Bundles of several guests aside, whose rounding is the state's."""
    rng = np.random.default_rng(5)
    for seed in range(3_400, 3_440):
        problem = random_problem(seed, 4, 7).replace(together=(), apart=())
        state = State(problem, _repaired(problem))
        band = Band(*(np.full(problem.metrics, limit) for limit in (300_000.0, 310_000.0)))
        bundles = np.flatnonzero(traits(problem).movable)
        gains = Gains(state, traits(problem), band, np.arange(problem.nodes), bundles)
        slack = (0.0, np.inf)
        steps = Steps(gains, slack, np.ones(len(bundles), dtype=bool), rng)
        for index in np.flatnonzero(np.isfinite(steps.values)):
            then = State(problem, state.assignment)
            for bundle, node in steps.moves(int(index)):
                then.migrate(bundle, node)
            assert _potential(then, band) - _potential(state, band) == steps.values[index]
            assert then.migrations <= state.migrations


def test_an_exchange_gains_what_it_says_and_keeps_the_limit() -> None:
    found, rng = 0, np.random.default_rng(5)
    for seed in range(40):
        problem = cluster(seed, 4, 30, limit=5).replace(together=(), apart=())
        state = State(problem, problem.origin)
        band = Band(*(np.full(problem.metrics, limit) for limit in (300_000.0, 310_000.0)))
        bundles = np.flatnonzero(traits(problem).movable)
        gains = Gains(state, traits(problem), band, np.arange(problem.nodes), bundles)
        best = exchange(gains, 0, 1, (seed % 4, np.inf), np.ones(len(bundles), dtype=bool), rng)
        before = _potential(state, band)
        for bundle, node in best[1] if best else ():
            state.migrate(bundle, node)
        assert best is None or _potential(state, band) - before == best[0]
        assert state.migrations <= seed % 4
        found += best is not None and best[0] < 0
    assert found >= 20


def _potential(state: State, band: Band) -> float:
    return float(band.beyond(state.loads.astype(np.float64))[state.problem.balanced].sum())


def test_a_band_is_narrower_for_the_level_that_is_aimed_at_and_no_wider_for_those_before() -> None:
    rng = np.random.default_rng(6)
    for seed in range(3_500, 3_600):
        problem = random_problem(seed)
        if not problem.balanced.any():
            continue
        spreads = problem.spreads(problem.origin)
        for aim, level in enumerate(problem.aims):
            band = narrower(problem, problem.origin, aim, 0.9, rng)
            width = np.minimum(band.high - band.low, 10.0**12).astype(np.int64)
            if level.value(spreads) > 0 and not level.weights:
                assert level.value(width) < level.value(spreads)
            for before in problem.aims[:aim]:
                assert before.value(width) <= max(before.value(spreads), problem.goal)


def test_cheapening_undoes_what_gains_nothing_and_nothing_else() -> None:
    for seed in range(3_600, 3_660):
        problem = random_problem(seed)
        for at, _ in zip(Plain(problem).assignments(), range(10), strict=False):
            start = np.array(at, dtype=np.int64)
            result = cheapen(problem, start)
            assert check.score(problem, result) <= check.score(problem, start), seed
            assert not check.broken(problem, result), seed


def test_descent_reports_each_improvement_and_stops_by_itself() -> None:
    problem, seen = cluster(seed=7, nodes=8, guests=120, limit=12), list[int]()
    budget = Budget(seconds=600, progress=lambda item: seen.append(item.spread))
    answer = descent.solve(problem, budget, problem.origin)
    assert seen and min(seen) == problem.spread(answer.assignment)


@pytest.mark.parametrize("nodes", [5, 120, pytest.param(240, marks=pytest.mark.slow)])
def test_a_large_cluster_of_which_a_few_guests_may_be_migrated_is_searched(nodes: int) -> None:
    """As when one node is drained: nodes that are looked at together may then hold nothing that can be migrated."""
    for seed in range(3):
        problem = cluster(seed, nodes, 8 * nodes, limit=None).replace(together=(), apart=())
        movable = problem.origin == seed
        banned = np.append(problem.eligibility, np.ones((1, nodes), dtype=bool), axis=0)
        banned[:, seed] = False
        eligible = np.where(movable, len(banned) - 1, problem.eligible)
        asked = problem.replace(movable=movable, eligibility=banned, eligible=eligible)
        found = descent.solve(asked, Budget(seconds=2), asked.origin).assignment
        assert not check.broken(asked, found)
        assert check.score(asked, found) <= check.score(asked, asked.origin)
