"""Claims about the list of everything a plan has to keep: it says of every assignment what the checker says."""

from pathlib import Path

import numpy as np
import pytest

from planner import demands
from planner.case import prepare
from planner.collect import collect
from planner.errors import InputError
from planner.formulate import Formulation
from solvers import check
from solvers.problem import Ints
from solvers.requirement import Only, Within, holds
from tests.draw import FEATURES, draw

SEEDS = range(120)


def formulated(seed: int, folder: Path) -> Formulation | None:
    """A random cluster under random rules; None where no node takes guests."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(sorted(FEATURES), 6, replace=False).tolist()
    scenario = draw(seed, int(rng.integers(2, 5)), int(rng.integers(3, 10)), chosen)
    given = scenario.config(folder)
    try:
        return prepare(collect(scenario.snapshot()), given.policy, given.cluster).formulation
    except InputError:
        return None


def kept(formulation: Formulation, assignment: Ints) -> bool:
    """By the demands; that guests are fixed and limits are of the way there, not of rules."""
    problem = formulation.problem
    rules = [d.requirement for d in demands.read(formulation) if not isinstance(d.requirement, Within)]
    return all(holds(problem, requirement, assignment) for requirement in rules)


@pytest.mark.parametrize("part", range(4))
def test_all_demands_hold_exactly_where_the_checker_finds_nothing_broken(part: int, tmp_path: Path) -> None:
    decided = {True: 0, False: 0}
    for seed in list(SEEDS)[part::4]:
        formulation = formulated(seed, tmp_path)
        if formulation is None:
            continue
        problem, rng = formulation.problem, np.random.default_rng(seed)
        for trial in range(30):
            some = rng.random(problem.guests) < (0 if trial == 0 else 0.3)
            some &= problem.movable
            assignment = np.where(some, rng.integers(0, problem.nodes, problem.guests), problem.origin)
            clean = not check.violations(problem, assignment)
            assert kept(formulation, assignment) == clean, (seed, assignment)
            decided[clean] += 1
    assert min(decided.values()) > 20


def test_a_guest_that_stays_is_a_demand_with_its_reason(tmp_path: Path) -> None:
    for seed in SEEDS:
        formulation = formulated(seed, tmp_path)
        if formulation is None or not formulation.fixed:
            continue
        said = [d for d in demands.read(formulation) if isinstance(d.requirement, Only) and " stays on " in d.says]
        assert len(said) == len(formulation.fixed)
        assert all(d.says.endswith(formulation.fixed[formulation.vmid(d.requirement.guests[0])]) for d in said)  # type: ignore[union-attr]
