"""Claims about every solver of the registry, held against a slow truth that shares no code with them."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from ortools.sat.python import cp_model

from solvers import SOLVERS, Budget, Problem, Result, Status, approach, bounds, check, cpsat, judge, mend, solve
from solvers.cpsat import solve as solve_exactly
from solvers.exact import Exact
from solvers.frontier import Window, cheapest, narrowest
from solvers.model import Model
from solvers.relax import Relaxation
from solvers.result import Answer
from solvers.search import Search
from solvers.state import State
from solvers.windows import Table
from tests.brute import Plain, truth
from tests.problems import cluster, problems, random_problem

BUDGET = Budget(seconds=20, workers=1)
"""Far more than a problem of seven guests takes."""
many = settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def _rank(result: Result) -> tuple[int, int]:
    return result.score.violations, result.score.spread


@pytest.mark.parametrize("name", SOLVERS)
@many
@given(problem=problems())
def test_every_solver_keeps_the_contract_and_what_it_claims_to_have_proven_is_true(name: str, problem: Problem) -> None:
    plain, result = Plain(problem), solve(problem, name, BUDGET)
    at = result.assignment.tolist()
    assert plain.acceptable(at)
    assert tuple(result.score) == plain.score(at) <= plain.score(plain.origin)
    assert result.spread == plain.spread(at)
    assert result.bound is not None and result.bound <= result.spread
    assert solve(problem, name, BUDGET).score == result.score
    _is_proven(problem, result)


def _is_proven(problem: Problem, result: Result) -> None:
    """What a solver claims to have proven is true."""
    known = truth(problem)
    assert result.bound is not None and result.bound <= known.least_spread(result.score.violations)
    assert result.cost_bound is not None and result.cost_bound <= known.least_cost(tuple(result.score))
    if result.status is Status.OPTIMAL:
        assert _rank(result) == known.best[:2]
    if result.status is Status.INFEASIBLE:
        assert known.best[0] > 0
    assert bounds.spread_bound(problem) <= known.least_spread()


@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "cpsat"])
@many
@given(problem=problems())
def test_the_raw_answer_of_a_heuristic_needs_no_judge(name: str, problem: Problem) -> None:
    plain = Plain(problem)
    at = SOLVERS[name](problem, BUDGET, problem.origin).assignment.tolist()
    assert plain.acceptable(at)
    assert plain.violations(at) <= plain.violations(plain.origin)


@pytest.mark.parametrize("batch", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 25))])
def test_cpsat_finds_and_proves_the_optimum(batch: int) -> None:
    for seed in range(100 * batch, 100 * batch + 100):
        problem = random_problem(seed)
        best = truth(problem).best
        result = solve(problem, "cpsat", BUDGET)
        assert tuple(result.score) == best, seed
        assert result.status is (Status.INFEASIBLE if best[0] else Status.OPTIMAL), seed
        assert result.cost_bound == best[3][0], seed


@pytest.mark.parametrize("seeds", [range(1_000, 1_060), pytest.param(range(1_060, 1_100), marks=pytest.mark.slow)])
def test_cpsat_from_the_origin_alone_finds_the_optimum(seeds: range) -> None:
    """Without the heuristics, every phase of the model has work to do."""
    for seed in seeds:
        problem = random_problem(seed)
        answer = solve_exactly(problem, BUDGET, problem.origin)
        assert tuple(check.score(problem, answer.assignment)) == truth(problem).best, seed


@pytest.mark.parametrize("seeds", [range(2_000, 2_020), pytest.param(range(2_020, 2_030), marks=pytest.mark.slow)])
def test_cpsat_takes_an_acceptable_start_and_refuses_another(seeds: range) -> None:
    for seed in seeds:
        problem, rng = random_problem(seed), np.random.default_rng(seed)
        starts = [list(at) for at in Plain(problem).assignments()]
        start = np.array(starts[rng.integers(len(starts))], dtype=np.int64)
        assert tuple(solve(problem, "cpsat", BUDGET, start).score) == truth(problem).best, seed
        for name in ("greedy", "descent"):
            result = solve(problem, name, BUDGET, start)
            assert result.score <= check.score(problem, start), (seed, name)
            assert not check.broken(problem, result.assignment), (seed, name)
    fixed = random_problem(7, 2, 3).replace(movable=np.zeros(3, dtype=bool))
    with pytest.raises(ValueError, match="start breaks"):
        solve(fixed, "greedy", start=1 - fixed.origin)


@many
@given(problem=problems())
def test_the_checker_agrees_with_the_slow_truth(problem: Problem) -> None:
    plain = Plain(problem)
    for trial in range(20):
        at = np.random.default_rng(trial).integers(problem.nodes, size=problem.guests)
        at = np.where(np.random.default_rng(trial).random(problem.guests) < 0.5, at, problem.origin)
        assert tuple(check.score(problem, at)) == plain.score(at.tolist())
        assert (not check.broken(problem, at)) == plain.acceptable(at.tolist())


@many
@given(problem=problems())
def test_what_the_state_calls_legal_is_acceptable_and_mends_what_it_says(problem: Problem) -> None:
    plain, state, rng = Plain(problem), State(problem, problem.origin), np.random.default_rng(1)
    for _ in range(5):
        options = [(b, int(node)) for b in range(len(problem.bundles)) for node in np.flatnonzero(state.legal(b))]
        for bundle, node in options:
            then = state.assignment.copy()
            then[problem.bundles[bundle]] = node
            assert plain.acceptable(then.tolist())
            fewer = plain.violations(state.assignment.tolist()) - plain.violations(then.tolist())
            assert fewer == state.mended(bundle, node)
        if options:
            state.migrate(*options[rng.integers(len(options))])
            assert (state.loads == problem.loads(state.assignment)).all()
            assert (state.usage == problem.usage(state.assignment)).all()
            assert state.migrations == len(problem.migrated(state.assignment))
            assert state.moved_mib == problem.moved_mib(state.assignment)


@pytest.mark.slow
def test_bigger_means_are_no_worse_on_a_mid_size_cluster() -> None:
    problem = cluster(seed=1, nodes=8, guests=120, limit=8)
    results = {name: solve(problem, name, Budget(seconds=8)) for name in SOLVERS}
    today = check.score(problem, problem.origin)
    assert today > results["greedy"].score > results["descent"].score > results["cpsat"].score
    assert all(result.bound is not None and result.bound <= result.spread for result in results.values())
    assert not any(check.broken(problem, result.assignment) for result in results.values())


def _narrowest(problem: Problem, seed: int) -> None:
    """The relaxation rules out no window that an acceptable assignment keeps, whatever is known before."""
    plain = Plain(problem)
    relaxations = [Relaxation(problem, k) for k in range(problem.metrics)] if problem.balanced.any() else []
    known = int(problem.spreads(problem.origin).max())
    bounds = [narrowest(relaxation, known, precision=max(100, known // 20)).bound for relaxation in relaxations]
    assert problem.aims[0].value(bounds or [0] * problem.metrics) <= truth(problem).least_spread(), seed
    for at in [np.array(at, dtype=np.int64) for _, at in zip(range(8), plain.assignments(), strict=False)]:
        for relaxation in relaxations:
            loads = problem.loads(at)[relaxation.k, problem.balanced]
            fit = relaxation.fewest(int(loads.min()), int(loads.max()))
            migrated = np.isin(relaxation.bundles, problem.bundle_of[problem.migrated(at)])
            assert fit.toll <= int(relaxation.toll[migrated].sum()) + 1e-6, seed
            assert cheapest(relaxation, int(np.ptp(loads))).bound <= int(relaxation.toll[migrated].sum()) + 1e-6, seed
            fine = relaxation.refined(np.flatnonzero(np.isfinite(fit.excess))[::2])
            assert fine.fewest(int(loads.min()), int(loads.max())).toll <= relaxation.limit + 1e-6, seed
            exact = Exact(relaxation, Table(problem), Search(problem, Budget(seconds=5), problem.origin, 0))
            assert not exact.rules_out(Window(int(loads.min()), int(loads.max())), 5.0)[0], seed


@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 60), marks=pytest.mark.slow)])
def test_the_relaxation_rules_out_nothing_that_exists(seeds: range) -> None:
    for seed in seeds:
        _narrowest(random_problem(seed), seed)


@pytest.mark.slow
def test_the_relaxation_rules_out_nothing_that_exists_on_many_clusters() -> None:
    for seed in range(1000, 1300):
        _narrowest(random_problem(seed), seed)


def test_an_optimum_among_more_violations_is_not_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cpsat.SHARES, "violations", 0.0)  # as if the time were up before the repair is proven
    for seed in range(260, 300):
        problem = random_problem(seed)
        result = solve(problem, "cpsat", Budget(seconds=5, workers=1))
        if result.status is Status.OPTIMAL:
            assert _rank(result) == truth(problem).best[:2], seed


@pytest.mark.parametrize("seeds", [range(20), pytest.param(range(20, 30), marks=pytest.mark.slow)])
@pytest.mark.parametrize("whole", [-1, pytest.param(20_000, marks=pytest.mark.slow)])
def test_neighbourhoods_keep_the_contract_too(monkeypatch: pytest.MonkeyPatch, whole: int, seeds: range) -> None:
    monkeypatch.setattr(cpsat, "SMALL", -1)
    monkeypatch.setattr(cpsat, "WHOLE", whole)
    monkeypatch.setattr(cpsat, "ROUND", 0.1)
    monkeypatch.setattr(approach, "SMALL", 2)
    monkeypatch.setattr(approach, "COLUMNS", 8)
    monkeypatch.setattr(mend, "NODES", 5)
    monkeypatch.setattr(mend, "BOOLEANS", 8)
    for seed in seeds:
        problem = random_problem(seed)
        plain, known = Plain(problem), truth(problem)
        result = solve(problem, "cpsat", Budget(seconds=0.2, workers=1))
        at = result.assignment.tolist()
        assert plain.acceptable(at), seed
        assert tuple(result.score) == plain.score(at) <= plain.score(plain.origin), seed
        assert result.bound is not None and result.bound <= known.least_spread(result.score.violations), seed
        assert result.cost_bound is not None and result.cost_bound <= known.least_cost(tuple(result.score)), seed
        if result.status is Status.OPTIMAL:
            assert _rank(result) == known.best[:2], seed
        if result.status is Status.INFEASIBLE:  # says so of the violations, not of the spread
            assert 0 < result.score.violations == known.best[0], seed


def test_a_node_that_is_to_be_emptied_is_emptied_neighbourhood_by_neighbourhood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpsat, "SMALL", -1)
    monkeypatch.setattr(cpsat, "WHOLE", -1)
    problem = cluster(seed=1, nodes=6, guests=60, limit=20)
    table = problem.eligibility.copy()
    table[:, 0] = False
    problem = problem.replace(eligibility=table, capacity=problem.capacity * 2)
    before = len(check.violations(problem, problem.origin))
    answer = cpsat.solve(problem, Budget(seconds=4), problem.origin)
    assert check.score(problem, answer.assignment).violations <= before - 20


def test_neighbourhoods_send_home_what_need_not_be_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpsat, "SMALL", -1)
    plain = random_problem(3, 3, 0)
    problem = plain.replace(
        origin=np.array([0, 0, 1, 2]), needs=np.ones((4, plain.capacity.shape[1]), dtype=np.int64),
        capacity=plain.capacity + 9, demand=np.array([[30, 0, 30, 30]]), ability=np.full((1, 3), 100),
        base=np.zeros((1, 3)), balanced=np.ones(3, dtype=bool), eligibility=np.ones((1, 3), dtype=bool),
        eligible=np.zeros(4), copy_mib=np.ones(4), movable=np.ones(4, dtype=bool), together=(), apart=(),
        max_migrations=None, goal=0, max_moved_mib=None, levels=(),
    )  # fmt: skip
    answer = cpsat.solve(problem, BUDGET, np.array([0, 1, 1, 2]))
    assert check.score(problem, answer.assignment) == (0, 0, (), (0, 0))


def test_an_unacceptable_or_worse_answer_gives_way_to_today_and_its_claims_with_it() -> None:
    problem = random_problem(3, 2, 4).replace(movable=np.zeros(4, dtype=bool))
    bad = Answer(1 - problem.origin, bound=10**9, status=Status.OPTIMAL)
    result = judge(problem, "bad", bad, 0.0)
    assert result.assignment.tolist() == problem.origin.tolist()
    assert result.bound == problem.spread(problem.origin)
    faithful = judge(problem, "bad", Answer(bad.assignment), 0.0, faithful=True)
    assert faithful.assignment.tolist() == bad.assignment.tolist()
    assert faithful.bound is None and faithful.status is Status.FEASIBLE


def _overfull(movable: list[bool]) -> Problem:
    """Guests of 10: two on node 0, which holds 15, one on node 1, which holds 30."""
    ones = np.ones(3, dtype=np.int64)
    return Problem(
        origin=np.array([0, 0, 1]), needs=10 * ones[:, None], capacity=np.array([[15], [30]]), demand=10 * ones[None],
        ability=np.array([[100, 100]]), base=np.array([[0, 0]]), balanced=np.array([True, True]),
        eligibility=np.array([[True, True]]), eligible=0 * ones, copy_mib=ones, movable=np.array(movable),
    )  # fmt: skip


def test_without_time_for_a_proof_nothing_is_called_infeasible() -> None:
    problem = _overfull([True, True, True])
    answer = solve_exactly(problem, Budget(seconds=0, workers=1), problem.origin)
    assert answer.status is Status.FEASIBLE
    assert solve_exactly(problem, BUDGET, problem.origin).status is Status.OPTIMAL
    stuck = _overfull([False, False, True])
    assert solve_exactly(stuck, BUDGET, stuck.origin).status is Status.INFEASIBLE


def test_a_bundle_may_not_return_to_an_overfull_node_that_a_fixed_one_has_come_to() -> None:
    problem = _overfull([True, True, True])
    start = np.array([1, 1, 0])  # both have left node 0, guest 2 has come to it
    model = Model(problem, [0, 1], start)
    model.proto.minimize(model.violations)
    solver = cp_model.CpSolver()
    found = set()
    for goes_home in (0, 1):
        model.start_from(np.array([1 - goes_home, 1, 0]))
        solver.parameters.fix_variables_to_their_hinted_value = True
        found.add((goes_home, solver.solve(model.proto) == cp_model.OPTIMAL))
    assert found == {(0, True), (1, False)}
