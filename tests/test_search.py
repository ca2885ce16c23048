"""Claims about the search on clusters that are too large for one model: bounds, windows, limits of work, a stop."""

import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest

from solvers import SOLVERS, Budget, Cost, Problem, Progress, check, cpsat, solve
from solvers.linear import Program
from solvers.meet import meet_with_fewer
from solvers.narrowing import polish
from solvers.relax import Relaxation
from solvers.search import Search
from solvers.windows import Neighbourhood, Table, Target, may_go
from tests.brute import Plain
from tests.problems import cluster


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(38))
def test_no_result_lies_below_any_bound_on_mid_size_clusters(batch: int) -> None:
    for seed in range(8 * batch, 8 * batch + 8):
        problem = cluster(seed=seed, nodes=5 + seed % 8, guests=60 + seed % 90, limit=2 + seed % 12)
        plain = Plain(problem)
        results = {name: solve(problem, name, Budget(seconds=2, seed=seed)) for name in SOLVERS}
        for name, result in results.items():
            at = result.assignment.tolist()
            assert plain.acceptable(at), (seed, name)
            assert result.spread == plain.spread(at), (seed, name)
            for claim in results.values():  # a bound speaks of assignments with as few violations
                if result.score.violations <= claim.score.violations:
                    assert claim.bound is not None and claim.bound <= result.spread, (seed, name, claim.solver)
        assert results["cpsat"].score <= min(result.score for result in results.values()), seed


@pytest.fixture
def guided(monkeypatch: pytest.MonkeyPatch) -> Problem:
    """A cluster without violations that is searched as large ones are."""
    monkeypatch.setattr(cpsat, "SMALL", -1)
    problem = cluster(seed=2, nodes=9, guests=150, limit=9)
    anywhere = {"eligibility": np.ones((1, 9), dtype=bool), "eligible": np.zeros(150, dtype=np.int64)}
    return problem.replace(balanced=np.ones(9, dtype=bool), **anywhere)


@pytest.mark.slow
def test_work_and_seed_decide_the_answer_and_more_work_never_makes_it_worse(guided: Problem) -> None:
    answers = [solve(guided, "cpsat", Budget(seconds=120, work=work, workers=1)) for work in (1, 1, 3)]
    assert answers[0].assignment.tolist() == answers[1].assignment.tolist()
    assert answers[2].score <= answers[0].score
    assert (answers[2].bound or 0) >= (answers[0].bound or 0)


def test_local_search_is_charged_for_the_steps_it_takes(guided: Problem) -> None:
    search = Search(guided, Budget(seconds=60, work=100), guided.origin, 0)
    polish(search, search.mark(50), closed=lambda: True)
    assert search.spent < 0.01
    polish(search, search.mark(0.5), closed=lambda: False)
    assert 0.4 < search.spent < 0.6


def test_a_try_with_fewer_migrations_takes_no_more_work_than_there_is() -> None:
    problem = cluster(seed=5, nodes=5, guests=60, limit=7)
    search = Search(problem, Budget(seconds=60, work=1), problem.origin, 0)
    meet_with_fewer(search)
    assert search.spent <= 1.2
    assert search.score <= check.score(problem, problem.origin)


def test_a_stop_from_outside_ends_the_search_with_what_it_has(guided: Problem) -> None:
    steps: list[Progress] = []
    began = time.monotonic()
    stopped = solve(
        guided, "cpsat", Budget(seconds=300, progress=steps.append, stop=lambda: time.monotonic() - began > 2)
    )
    assert time.monotonic() - began < 60
    assert not check.broken(guided, stopped.assignment)
    assert stopped.spread == min(step.spread for step in steps)
    assert all(one.spread >= other.spread and one.bound <= other.bound for one, other in pairwise(steps))


@pytest.mark.slow
def test_the_cheapest_plan_is_as_cheap_as_its_bound_says(guided: Problem) -> None:
    for goal in (100_000, 200_000):
        problem = guided.replace(goal=goal, tolerance=goal, max_migrations=None, prefer=Cost.MIGRATIONS)
        result = solve(problem, "cpsat", Budget(seconds=8))
        assert result.spread <= goal
        assert result.cost_bound is not None and result.cost_bound <= result.score.cost[0]
        fewer = solve(problem.replace(max_migrations=result.cost_bound - 1), "descent")
        assert fewer.spread > goal, "fewer migrations than are proven to be needed do not reach the goal"


def test_any_duals_prove_a_bound() -> None:
    rng = np.random.default_rng(5)
    for _ in range(30):
        program = Program()
        columns = program.add_columns(6, rng.integers(1, 5, 6), rng.integers(1, 9, 6))
        for _ in range(3):
            program.add_row(columns, rng.integers(0, 6, 6), int(rng.integers(1, 12)))
        whole = program.whole(5.0)
        assert whole.proven
        for _ in range(5):
            duals = rng.uniform(-0.5, 2.0, 3)
            least = whole.bound if whole.values is None else float(program.reduced(np.zeros(3)) @ whole.values)
            assert program.lagrange(duals) <= least + 1e-6
        assert program.relaxed().bound <= whole.bound + 1e-6


def test_a_program_that_cannot_be_solved_says_so() -> None:
    program = Program()
    columns = program.add_columns(2, 1.0, 1.0)
    program.add_row(columns, 1.0, 3.0)
    assert program.whole(5.0).values is None and program.whole(5.0).bound == float("inf")


def test_firm_windows_are_kept_with_the_fewest_migrations_and_all_rules() -> None:
    problem = cluster(seed=4, nodes=6, guests=80, limit=40)
    table = Table(problem)
    loads = problem.loads(problem.origin)[0]
    mean = int(loads[problem.balanced].mean())
    window = (mean - 100_000, mean + 100_000)
    bundles = np.flatnonzero(table.free)
    hood = Neighbourhood(
        table,
        Target({0: window}, problem.bundle_sizes, 2.0),
        problem.origin,
        bundles,
        may_go(problem, bundles.tolist()),
    )
    found, _ = hood.solve(20.0, 0, firm=True)
    assert found is not None
    after = problem.loads(found)[0, problem.balanced]
    assert window[0] <= after.min() and after.max() <= window[1]
    assert not check.broken(problem.replace(max_migrations=None), found)
    assert len(problem.migrated(found)) >= Relaxation(problem, 0).fewest(*window).toll - 1e-6


def test_ctrl_c_is_heard_while_a_mixed_integer_program_is_solved() -> None:
    code = """
import os, signal, threading, time
import numpy as np
from solvers.linear import Program
from solvers.meet import meet_with_fewer
from solvers.narrowing import polish
from solvers.run import in_threads
rng, program = np.random.default_rng(1), Program()
columns = program.add_columns(120, 1.0, rng.integers(50, 100, 120))
for _ in range(40):
    weights = rng.integers(1000, 9999, 120)
    program.add_row(columns, weights, int(weights.sum()) // 2)
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background it is ignored
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    in_threads([lambda: program.whole(2.0)])
    print("lost")
except KeyboardInterrupt:
    print("heard")
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert answer.stdout.strip() == "heard", answer.stderr
