"""Claims about the meeting in the middle: what it proves is true, what is too much it leaves alone, work limits it."""

import numpy as np
import pytest

from solvers import Budget, Problem, Status, check, cpsat, meet, solve
from solvers.cells import Cells
from solvers.search import Search
from tests.brute import Plain, Truth, truth
from tests.problems import cluster, random_problem

BUDGET = Budget(seconds=20, workers=1)


def _starts(problem: Problem, seed: int) -> list["np.ndarray[tuple[int], np.dtype[np.int64]]"]:
    """The origin and another assignment with no more violations."""
    plain = Plain(problem)
    today = plain.violations(plain.origin)
    sound = [list(at) for at in plain.assignments() if plain.violations(at) <= today]
    picked = sound[np.random.default_rng(seed).integers(len(sound))]
    return [problem.origin, np.array(picked, dtype=np.int64)]


def _holds(search: Search, known: Truth, complete: bool, seed: int) -> None:
    """All that is claimed is true."""
    plain, at = Plain(search.problem), search.best.tolist()
    assert plain.acceptable(at) and plain.score(at) == tuple(search.score), seed
    assert search.bound <= known.least_spread(search.score.violations), seed
    assert search.cost_bound <= known.least_cost(tuple(search.score)), seed
    if complete:
        assert search.closed(), seed
        assert search.score.violations > known.best[0] or tuple(search.score) == known.best, seed


def test_all_sets_of_few_migrations_are_looked_at() -> None:
    complete = 0
    for seed in (*range(150), 10_057):  # the last one's cheapest plan ties in the spread with what is reached first
        problem = random_problem(seed)
        known = truth(problem)
        for start in _starts(problem, seed):
            search = Search(problem, BUDGET, start, 0)
            was_open, found = not search.closed(), meet.meet(search)
            _holds(search, known, found, seed)
            assert found <= was_open, seed
            complete += found
    assert complete > 200


def test_pieces_and_sets_in_vain_change_nothing_about_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PART", 3), ("BLOCK", 5), ("SAMPLE", 2), ("OFFERS", 4)):
        monkeypatch.setattr(meet, name, value)
    complete = 0
    for seed in range(200, 260):
        problem = random_problem(seed)
        for start in _starts(problem, seed):
            search = Search(problem, BUDGET, start, 0)
            found = meet.meet(search)
            _holds(search, truth(problem), found, seed)
            complete += found
    assert complete > 20


def test_what_is_too_much_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = cluster(seed=3, nodes=5, guests=60, limit=4)
    unlimited = problem.replace(max_migrations=None)
    assert not meet.meet(Search(unlimited, BUDGET, problem.origin, 0))
    monkeypatch.setattr(meet, "HALVES", 1_000)
    search = Search(problem, BUDGET, problem.origin, 7)
    assert not meet.meet(search)
    assert search.best is problem.origin and search.bound == 7 and search.cost_bound == 0


def test_a_larger_cluster_is_proven_as_by_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (0, 1):
        problem = cluster(seed=seed, nodes=4, guests=30, limit=3)
        met = solve(problem, "cpsat", BUDGET)
        assert met.bound == met.spread and met.cost_bound == met.score.cost[0], seed
        with monkeypatch.context() as patch:
            patch.setattr(cpsat, "meet", lambda search: False)
            modelled = solve(problem, "cpsat", Budget(seconds=20))
        assert modelled.bound is not None and modelled.bound <= met.spread, seed
        assert met.score <= modelled.score, seed


def test_the_model_finds_and_proves_the_optimum_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpsat, "meet", lambda search: False)
    for seed in range(5_000, 5_040):
        problem = random_problem(seed)
        best = truth(problem).best
        result = solve(problem, "cpsat", BUDGET)
        assert tuple(result.score) == best, seed
        assert result.status is (Status.INFEASIBLE if best[0] else Status.OPTIMAL), seed


def test_work_decides_how_far_it_gets() -> None:
    problem = cluster(seed=5, nodes=5, guests=60, limit=6)
    claims = {}
    for work in (0.02, 0.3, 0.3, 30.0):
        search = Search(problem, Budget(seconds=60, work=work, workers=1), problem.origin, 0)
        found = meet.meet(search)
        claims.setdefault(work, []).append((search.bound, search.score, search.best.tolist(), found))
        assert not check.broken(problem, search.best)
    assert claims[0.3][0] == claims[0.3][1]
    assert not claims[0.02][0][3] and claims[30.0][0][3]
    assert claims[0.02][0][0] <= claims[30.0][0][0] <= claims[0.02][0][1].spread


def test_every_vector_in_a_box_is_found_once() -> None:
    rng = np.random.default_rng(2)
    for dimensions in (1, 2, 4, 7):
        vectors = rng.integers(-900, 900, (300, dimensions)).astype(np.int32)
        span, centres = rng.integers(0, 400, dimensions), rng.integers(-1_200, 1_200, (40, dimensions))
        cells = Cells(vectors, span)
        found = [
            pair for boxes, which in cells.pairs(cells.near(centres), 50) for pair in zip(boxes, which, strict=True)
        ]
        inside = np.argwhere((np.abs(vectors[None] - centres[:, None]) <= span).all(axis=2))
        assert len(set(found)) == len(found)
        assert {(int(box), int(which)) for box, which in inside} <= {(int(b), int(w)) for b, w in found}
