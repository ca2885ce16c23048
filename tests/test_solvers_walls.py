"""Claims about what the solvers need, what they refuse, and how they stop."""

import ast
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ortools.sat.python import cp_model

import solvers
from solvers import Budget, Progress, cpsat, solve
from solvers.model import Model
from tests.brute import Plain
from tests.problems import cluster, random_problem

ROOM = Path(solvers.__file__).parent
FOREIGN = {"planner", "pandas", "proxmoxer", "typer", "pydantic", "requests", "rich", "yaml"}


def _imports(file: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    found: set[str] = set()
    for item in ast.walk(ast.parse(file.read_text())):
        if isinstance(item, ast.Import):
            found |= {alias.name.split(".")[0] for alias in item.names}
        if isinstance(item, ast.ImportFrom):
            found.add((item.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("file", sorted(ROOM.glob("*.py")), ids=lambda file: file.name)
def test_solvers_know_nothing_of_the_planner(file: Path) -> None:
    assert not _imports(file) & FOREIGN
    assert _imports(file) <= {"solvers", "numpy", "ortools", *sys.stdlib_module_names}


@pytest.mark.parametrize("name", ["check", "problem", "result"])
def test_the_checker_knows_no_solver(name: str) -> None:
    names = {"solvers.problem", "solvers.check", "solvers.result", "solvers.wellformed"}
    tree = ast.parse((ROOM / f"{name}.py").read_text())
    modules = {item.module for item in ast.walk(tree) if isinstance(item, ast.ImportFrom) and item.module}
    assert {module for module in modules if module.startswith("solvers")} <= names


def test_everything_but_cpsat_works_without_ortools() -> None:
    code = """
import sys
sys.modules["ortools"] = None
from solvers import SOLVERS, solve
from tests.problems import cluster
problem = cluster(1, 4, 30, 5)
for name in SOLVERS:
    try:
        print(name, solve(problem, name).status.value)
    except ModuleNotFoundError as error:
        print(name, (error.name or "").split(".")[0])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOM.parent, capture_output=True, text=True, check=True)
    outcomes = {name: "ortools" if name == "cpsat" else "feasible" for name in solvers.SOLVERS}
    assert done.stdout.splitlines() == [f"{name} {outcome}" for name, outcome in outcomes.items()]


def test_ctrl_c_ends_cpsat_promptly() -> None:
    # In a process of its own: CP-SAT and shells leave the handling of SIGINT in various states.
    code = """
import os, signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from solvers import Budget, solve
from tests.problems import cluster
problem = cluster(seed=1, nodes=8, guests=120, limit=None)
threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
began = time.monotonic()
try:
    solve(problem, "cpsat", Budget(seconds=60))
except KeyboardInterrupt:
    print(time.monotonic() - began)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOM.parent, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10


def test_an_error_of_whoever_listens_comes_back_from_the_thread() -> None:
    problem = cluster(seed=1, nodes=4, guests=40, limit=None)

    def listen(step: Progress) -> None:
        raise RuntimeError(f"no more, at {step.spread}")

    with pytest.raises(RuntimeError, match="no more"):
        cpsat.solve(problem, Budget(seconds=10, progress=listen), problem.origin)


def test_progress_never_gets_worse() -> None:
    problem = cluster(seed=3, nodes=4, guests=40, limit=6)
    steps: list[Progress] = []
    result = solve(problem, "cpsat", Budget(seconds=5, progress=steps.append))
    assert steps and all(one.seconds <= other.seconds for one, other in pairwise(steps))
    assert all(one.bound <= other.bound for one, other in pairwise(steps))
    assert steps[-1].spread == result.spread


def _fixing_solver() -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.fix_variables_to_their_hinted_value = True
    return solver


@pytest.mark.parametrize("seed", range(150))
def test_a_hint_is_complete_and_means_what_the_checker_says(seed: int) -> None:
    """Any acceptable assignment, in models with any bundles free: each variable is hinted, and the sums agree."""
    problem, rng = random_problem(seed), np.random.default_rng(seed)
    plain = Plain(problem)
    known = [list(at) for at in plain.assignments()]
    start, nodes = known[rng.integers(len(known))], np.flatnonzero(rng.random(problem.nodes) < 0.6)
    free = [bundle for bundle in range(len(problem.bundles)) if rng.random() < 0.7]
    fixed = [int(g) for b, guests in enumerate(problem.bundles) if b not in free for g in guests]
    model = Model(problem, free, np.array(start, dtype=np.int64), nodes if seed % 3 else None)
    within = [
        at for at in known
        if all(at[g] == start[g] for g in fixed)
        and (not seed % 3 or all(at[g] in (start[g], plain.origin[g], *nodes) for g in plain.guests))
    ]  # fmt: skip
    solver = _fixing_solver()
    for at in [within[i] for i in rng.permutation(len(within))[:4]]:
        model.start_from(np.array(at, dtype=np.int64))
        open_ones = [i for i, x in enumerate(model.proto.proto.variables) if len(set(x.domain)) > 1]
        assert set(open_ones) <= set(model.proto.proto.solution_hint.vars)
        assert solver.solve(model.proto) == cp_model.OPTIMAL, "what is acceptable satisfies the model"
        assert solver.value(model.violations) == plain.violations(at)
        assert [solver.value(x) for x in model.values] == [max(value, problem.goal) for value in plain.values(at)]
    _agree_on_any_objective(model, within, rng)


@pytest.mark.parametrize("limit", [0, 8, None])
def test_cpsat_itself_calls_the_hint_complete(limit: int | None) -> None:
    problem = cluster(seed=1, nodes=8, guests=120, limit=limit)
    model = Model(problem, range(len(problem.bundles)), problem.origin)
    model.start_from(problem.origin)
    model.proto.minimize(model.spread)
    lines: list[str] = []
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = 0.5
    solver.parameters.log_search_progress = True
    solver.parameters.log_to_stdout = False
    solver.log_callback = lines.append
    solver.solve(model.proto)
    assert "The solution hint is complete and is feasible." in "".join(lines)


def _agree_on_any_objective(model: Model, within: list[list[int]], rng: np.random.Generator) -> None:
    """The model allows exactly `within`: whatever is wished for, its best is their best."""
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    model.proto.clear_hints()  # type: ignore[no-untyped-call]
    for _ in range(3):
        wish = {(b, n): int(rng.integers(-9, 10)) for b, n, _ in model._literals()}
        model.proto.minimize(sum(wish[b, n] * x for b, n, x in model._literals()))
        assert solver.solve(model.proto) == cp_model.OPTIMAL
        first = [int(guests[0]) for guests in model.problem.bundles]
        best = min(sum(value for (b, n), value in wish.items() if at[first[b]] == n) for at in within)
        assert round(solver.objective_value) == best
        assert model.assignment(solver.value).tolist() in within
