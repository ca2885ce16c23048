"""Claims about the order of migrations on thousands of full clusters, judged at every instant by a simulation."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest

from planner import agenda, clash
from planner.case import Case
from planner.collect import collect
from planner.draft import draw_up
from planner.errors import InputError
from planner.plan import Plan, PlanStatus
from planner.planning import make_plan, prepare
from solvers import Budget, Result, Status, check
from solvers.problem import Ints, Problem
from tests.draw_full import full
from tests.event_simulation import at_every_instant
from tests.plans import not_read_again
from tests.referee import objections
from tests.scenario import Scenario

QUICK = Budget(seconds=0.05)
PROPOSALS = 40
"""Exchanges that are tried to make a target at random."""
AT_LEAST = {
    "with migrations": 75, "with exchanges": 65, "waiting": 60, "several waves": 70, "side by side": 45, "repairs": 15,
    "with bundles": 4, "with bypasses": 2, "with stranded guests": 8,
}  # fmt: skip
"""Percent of all plans, so that what is claimed is claimed of something."""


def case_of(scenario: Scenario, directory: Path) -> Case:
    """Ready to be planned."""
    given = scenario.config(directory)
    return prepare(collect(scenario.snapshot()), given.policy, given.cluster, given.apply)


def exchanged(problem: Problem, rng: Random, proposals: int = PROPOSALS) -> Ints:
    """A target that breaks nothing: guests that change places in cycles, where that evens out or does no harm."""
    now, best = problem.origin.copy(), check.score(problem, problem.origin)
    eager = rng.random() < 0.8  # otherwise no better than today will do
    for _ in range(proposals):
        then = _rotated(problem, now, rng)
        if then is None or check.broken(problem, then):
            continue
        score = check.score(problem, then)
        if score[:3] <= best[:3]:
            now, best = then, score if eager else best
    return now


def _rotated(problem: Problem, now: Ints, rng: Random) -> Ints | None:
    """Bundles on two to four nodes, of sizes as similar as can be, each go to the node of the next one."""
    nodes = rng.sample(range(problem.nodes), min(problem.nodes, rng.choice([2, 2, 2, 3, 3, 4])))
    if rng.random() < 0.1:
        return _sent(problem, now, nodes, rng)
    chosen: list[int] = []
    for node in nodes:
        here = [b for b in np.unique(problem.bundle_of[now == node]) if problem.bundle_movable[b]]
        if not here:
            return None
        some = rng.sample(here, min(len(here), 4))
        size = problem.bundle_needs[chosen[0]][0] if chosen else 0
        chosen.append(min(some, key=lambda b: abs(problem.bundle_needs[b][0] - size)) if chosen else some[0])
    then = now.copy()
    for bundle, node in zip(chosen, nodes[1:] + nodes[:1], strict=True):
        then[problem.bundles[bundle]] = node
    return then


def _sent(problem: Problem, now: Ints, nodes: list[int], rng: Random) -> Ints:
    """One bundle goes to another node."""
    then = now.copy()
    then[problem.bundles[rng.randrange(len(problem.bundles))]] = nodes[0]
    return then


def direct_plan(case: Case, target: Ints) -> Plan:
    """The plan for a target, as if a solver had found it."""
    problem = case.formulation.problem
    reach = agenda.reach(case, problem, target)
    at = reach.assignment
    found = Result("direct", Status.FEASIBLE, at, check.score(problem, at), problem.spread(at), None, 0.0, 0)
    return draw_up(case, found, PlanStatus.FEASIBLE, reach, clash.NONE)


@dataclass(frozen=True)
class Shown:
    """What one plan is an example of."""

    plan: Plan

    def what(self) -> Counter[str]:
        """Each thing once."""
        plan, migrations = self.plan, self.plan.migrations
        bundles, guests = {m.bundle for m in migrations}, {m.vmid for m in migrations}
        at_once = any(a.begin < b.end and b.begin < a.end for a in migrations for b in migrations if a is not b)
        facts = {
            "plans": True, "with migrations": bool(migrations), "with exchanges": self._exchanges(),
            "with bypasses": any(m.bypass for m in migrations), "with stranded guests": bool(plan.stranded),
            "side by side": at_once, "with bundles": len(bundles) < len(guests),
            "waiting": any(m.after for m in migrations), "several waves": len(plan.waves) > 1,
            "repairs": len(plan.violations_after) < len(plan.violations_before),
        }  # fmt: skip
        return Counter(name for name, holds in facts.items() if holds)

    def _exchanges(self) -> bool:
        """Whether nodes get guests from each other in a circle."""
        to = {(m.source, m.target) for m in self.plan.migrations}
        while waits := {(a, b) for a, b in to if any(b == c for c, _ in to)}:
            if waits == to:
                return True
            to = waits
        return False


def wrong_with(seed: int, directory: Path, shown: Counter[str]) -> list[str]:
    """Everything that is wrong with plans for a random full cluster: that of a solver, and that for a random target."""
    rng, scenario = Random(f"order {seed}"), full(seed)
    try:
        case = case_of(scenario, directory)
    except InputError as error:
        assert "there is no node to plan for" in str(error)
        return []
    solver = rng.choice(["greedy", "descent"])
    plans = [direct_plan(case, exchanged(case.formulation.problem, rng)), make_plan(case, solver, QUICK)]
    wrong = []
    for plan in plans:
        shown += Shown(plan).what()
        lines = [*objections(scenario, plan), *at_every_instant(scenario, plan, seed), *not_read_again(plan, directory)]
        wrong += [f"{seed}, {plan.solver}: {line}" for line in lines]
    return wrong


@pytest.mark.parametrize(
    ("first", "cases"),
    [
        (0, 40),
        *(pytest.param(500 * i, 500, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]) for i in range(10)),
    ],
)
def test_full_clusters_are_safe_at_every_instant_on_the_way_there_and_back(
    first: int, cases: int, tmp_path: Path
) -> None:
    shown = Counter[str]()
    wrong = [line for seed in range(first, first + cases) for line in wrong_with(seed, tmp_path, shown)]
    print(dict(shown))
    assert wrong == []
    rare = {what: shown[what] for what, percent in AT_LEAST.items() if shown[what] < percent / 100 * shown["plans"]}
    assert cases < 500 or not rare, f"of {shown['plans']} plans: few have what is rare"
