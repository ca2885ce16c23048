"""Claims about what the solvers need, what they refuse, and how they stop."""

import ast
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ortools.sat.python import cp_model

import solvers
from solvers import SOLVERS, Budget, Problem, Progress, Status, check, cpsat, solve
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
    code = f"import sys, solvers.{name}; print(*sys.modules)"  # `solvers` itself lists the heuristics
    names = {"solvers.problem", "solvers.check", "solvers.result"}
    tree = ast.parse((ROOM / f"{name}.py").read_text())
    modules = {item.module for item in ast.walk(tree) if isinstance(item, ast.ImportFrom) and item.module}
    assert {module for module in modules if module.startswith("solvers")} <= names, code


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
        print(name, error.name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOM.parent, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["greedy feasible", "descent feasible", "cpsat ortools"]


def test_ctrl_c_ends_cpsat_promptly() -> None:
    problem = cluster(seed=1, nodes=8, guests=120, limit=None)
    began = time.monotonic()
    timer = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        solve(problem, "cpsat", Budget(seconds=60))
    assert time.monotonic() - began < 6
    while any(thread.name == "cp-sat" for thread in threading.enumerate()):
        assert time.monotonic() - began < 10
        time.sleep(0.1)


def test_an_error_of_whoever_listens_comes_back_from_the_thread() -> None:
    problem = cluster(seed=1, nodes=4, guests=40, limit=None)

    def listen(step: Progress) -> None:
        raise RuntimeError(f"no more, at {step.spread}")

    with pytest.raises(RuntimeError, match="no more"):
        cpsat.solve(problem, Budget(seconds=10, progress=listen), problem.origin)


def test_progress_never_gets_worse() -> None:
    problem, seen = cluster(seed=3, nodes=4, guests=40, limit=6), []
    result = solve(problem, "cpsat", Budget(seconds=5, progress=seen.append))
    steps: list[Progress] = list(seen)
    assert steps and all(one.seconds <= other.seconds for one, other in zip(steps, steps[1:], strict=False))
    assert all(one.bound <= other.bound for one, other in zip(steps, steps[1:], strict=False))
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
        hinted = model.proto.proto.solution_hint.vars
        assert sorted(hinted) == list(range(len(model.proto.proto.variables)))
        assert solver.solve(model.proto) == cp_model.OPTIMAL, "what is acceptable satisfies the model"
        assert solver.value(model.violations) == plain.violations(at)
        assert solver.value(model.spread) == max(plain.spread(at), problem.goal)
    assert [list(at) for at in _every_solution(model)] == sorted(within)


def _every_solution(model: Model) -> list[list[int]]:
    """All assignments that satisfy a model."""
    found: set[tuple[int, ...]] = set()

    class Collector(cp_model.CpSolverSolutionCallback):
        def on_solution_callback(self) -> None:
            found.add(tuple(model.assignment(self.value).tolist()))

    model.proto.clear_hints()
    model.proto.add(model.spread <= 10**9)
    _tighten(model)
    solver = cp_model.CpSolver()
    solver.parameters.enumerate_all_solutions = True
    solver.parameters.num_workers = 1
    solver.solve(model.proto, Collector())
    return [list(at) for at in sorted(found)]
