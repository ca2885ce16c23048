"""Claims about plans under random rules of every kind, held against rules that are read anew by names alone."""

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings

from planner.case import Case
from planner.collect import collect
from planner.errors import InputError
from planner.plan import Plan, PlanStatus, Spread
from planner.planning import make_plan, prepare
from solvers import Budget
from tests.draw import scenarios
from tests.event_simulation import at_every_instant
from tests.everywhere import Everywhere, TooMany
from tests.plans import not_read_again
from tests.referee import objections
from tests.rulebook import Places, Rulebook
from tests.scenario import Scenario, parse

QUICK = Budget(seconds=0.1)
EXACT = Budget(seconds=20, work=2)
BUDGETS = {"greedy": QUICK, "descent": QUICK, "cpsat": EXACT}
THOUSANDS = [pytest.mark.slow, pytest.mark.timeout(7200)]
MOST, FEW, STEPS = 20_000, 300, 3_000
"""Placements up to which one is looked for, or all are compared, and steps on the way to them."""
ROUNDED = 0.01
"""Percentage points: loads are whole ppm of whole MiB."""
PRICE = re.compile(r"\(price ([0-9.]+)\)$")
BLOCKED, NO_WAY = "until another guest has left", "no way to it was found"
many = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


class Judgement:
    """One scenario, its plans, and what is true about them."""

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        self.scenario, self.directory, self.book = scenario, directory, Rulebook(scenario)
        self.today = {vmid: guest.on for vmid, guest in self.book.planned.items()}

    def case(self) -> Case | None:
        """Ready to be planned; None: no node takes guests, and that is said."""
        given = self.scenario.config(self.directory)
        cluster = collect(self.scenario.snapshot())
        if set(self.scenario.nodes) - self.book.closed:
            return prepare(cluster, given.policy, given.cluster, given.apply)
        with pytest.raises(InputError, match="there is no node to plan for"):
            prepare(cluster, given.policy, given.cluster)
        return None

    def judge(self, plan: Plan) -> list[str]:
        """All that is wrong with a plan."""
        after = self.today | {migration.vmid: migration.target for migration in plan.migrations}
        return [
            *objections(self.scenario, plan),
            *at_every_instant(self.scenario, plan),
            *not_read_again(plan, self.directory),
            *self._broken(plan, self.today, plan.violations_before),
            *self._broken(plan, after, plan.violations_after),
            *self._yielding(plan, after),
            *self._everywhere(plan),
            *self._smallest(plan),
        ]

    def _broken(self, plan: Plan, places: Places, said: tuple[str, ...]) -> list[str]:
        """What is said to be broken is, and nothing else."""
        must, should = self.book.broken(places), self.book.given_up(places)
        if must and not said:
            return [f"broken, but not said: {must}"]
        if not must and should and not said and not plan.gave_way:
            return [f"should hold, does not, and nothing is said: {should}"]
        return [f"said to be broken, but holds: {said}"] if said and not must and not should else []

    def _yielding(self, plan: Plan, after: Places) -> list[str]:
        """A should-rule that held is broken only if it gave way."""
        newly = {rule.name for rule in self.book.given_up(after)} - {r.name for r in self.book.given_up(self.today)}
        lost = {name for name in newly if not any(line.startswith(f"{name}:") for line in plan.gave_way)}
        return [f"should-rules broken although they did not give way: {lost}"] if lost else []

    def _everywhere(self, plan: Plan) -> list[str]:
        """What is said about all plans, where all placements can be looked at."""
        blocked = any(BLOCKED in stranded.reason for stranded in plan.stranded)
        blocked = blocked or any(NO_WAY in note for note in plan.notes)
        left = plan.solver == "cpsat" and bool(plan.violations_after) and not blocked
        if not (left or plan.gave_way or plan.status is PlanStatus.INFEASIBLE):
            return []
        try:
            every = Everywhere(self.book, MOST, STEPS)
            cheapest = every.cheapest()
            price = sum(float(found[1]) for line in plan.gave_way if (found := PRICE.search(line)))
            return [
                *_proven(plan, cheapest),
                *_given_way(cheapest, price),
                *(_left(plan, every, price) if left else ()),
            ]
        except TooMany:
            return []

    def _smallest(self, plan: Plan) -> list[str]:
        """No placement that keeps all rules beats the bound, nor a plan that is called optimal."""
        if self.book.should or plan.spread.bound is None or plan.status is PlanStatus.NO_ACTION:
            return []
        try:
            balanced = set(self.scenario.nodes) - self.book.closed
            every = Everywhere(self.book, FEW, STEPS).placements()
            spreads = [spread for at in every if (spread := self.book.room.spread(at, balanced)) is not None]
        except TooMany:
            return []
        least = min(spreads, default=math.inf)
        cheap = plan.repair_only or plan.cheapest is not None
        wrong = plan.status is PlanStatus.OPTIMAL and not cheap and plan.spread.after > least + ROUNDED
        found = [f"optimal with a spread of {plan.spread.after}, but {least} is possible"] if wrong else []
        beaten = plan.spread.bound > least + ROUNDED
        return found + ([f"bound {plan.spread.bound}, but {least} is possible"] if beaten else [])


def _proven(plan: Plan, cheapest: float | None) -> list[str]:
    if plan.status is PlanStatus.INFEASIBLE and not plan.conflict:
        return ["infeasible, but nothing is named that cannot hold together"]
    wrong = plan.status is PlanStatus.INFEASIBLE and cheapest is not None
    return [f"infeasible because of {plan.conflict}, but all must-rules can hold"] if wrong else []


def _left(plan: Plan, every: Everywhere, price: float) -> list[str]:
    """What an exact solver leaves broken cannot be mended, or perhaps not one migration after the other."""
    if plan.status is PlanStatus.INFEASIBLE:
        return []
    placements = list(every.placements(price + ROUNDED))
    if not placements:
        return [f"{plan.status}, but not all rules can hold: {plan.violations_after}"]
    if not all(map(every.reachable, placements)):
        return []  # it may have chosen one to which the way is blocked: it knows none of ways
    better = every.migrations(placements[0])
    return [f"{plan.status} with {plan.violations_after}, but all can hold: {better}"]


def _given_way(cheapest: float | None, price: float) -> list[str]:
    """Where must-rules cannot all hold, prices come second."""
    wrong = cheapest is not None and abs(cheapest - price) > 1e-6
    return [f"gave way for {price:g}, but {cheapest:g} would do"] if wrong else []


def wrong_with(scenario: Scenario, directory: Path, solvers: tuple[str, ...]) -> list[str]:
    """Everything that is wrong with the plans of some solvers."""
    judgement = Judgement(scenario, directory)
    case = judgement.case()
    plans = [make_plan(case, solver, BUDGETS[solver]) for solver in solvers] if case else []
    return [f"{plan.solver}: {line}" for plan in plans for line in judgement.judge(plan)]


@pytest.mark.parametrize(
    ("solvers", "start", "cases"),
    [
        pytest.param(("greedy",), 1, 80, id="greedy"),
        pytest.param(("descent",), 2, 40, id="descent"),
        pytest.param(("cpsat",), 3, 40, id="cpsat"),
        pytest.param(("greedy", "descent"), 4, 4_000, id="4000-greedy-descent", marks=THOUSANDS),
        pytest.param(("greedy", "cpsat"), 5, 1_000, id="1000-greedy-cpsat", marks=THOUSANDS),
    ],
)
def test_no_plan_breaks_random_rules_of_every_kind(
    solvers: tuple[str, ...], start: int, cases: int, tmp_path: Path
) -> None:
    """Checked at every instant on the way there and back, and what is said of them is true."""
    shown = Counter[str]()

    @seed(start)
    @settings(many, max_examples=cases)
    @given(scenario=scenarios())
    def judged(scenario: Scenario) -> None:
        shown["cases"] += 1
        wrong = wrong_with(scenario, tmp_path, solvers)
        shown["wrong"] += bool(wrong)
        assert wrong == []

    judged()
    print(f"{', '.join(solvers)}: {shown['cases']} cases, {shown['wrong']} with an objection")
    assert shown["cases"] >= cases


# The judge


RULED = """
behaviour: a judge that sees all placements
nodes: {a: 64, b: 64}
guests:
  1: {on: a, memory: 16}
  2: {on: a, memory: 16}
  3: {on: b, memory: 8}
settings: {cluster: {rules: [{name: r, apart: ["1", "2"]}]}}
expect: {status: optimal}
"""
IMPOSSIBLE = RULED.replace('["1", "2"]', '["@all"]')
YIELDING = IMPOSSIBLE.replace('["@all"]', '["@all"], should: true, price: 2')


@pytest.mark.parametrize(
    ("text", "changes", "objection"),
    [
        (RULED, {"status": PlanStatus.INFEASIBLE, "conflict": ("r",)}, "but all must-rules can hold"),
        (RULED, {"waves": (), "violations_after": ("r",)}, "but all can hold"),
        (RULED, {"violations_before": ()}, "broken, but not said"),
        (RULED, {"violations_after": ("r",)}, "said to be broken, but holds"),
        (RULED, {"spread": Spread(0, 13, 13)}, "bound 13, but 12.5 is possible"),
        (RULED, {"spread": Spread(0, 13, 0)}, "optimal with a spread of 13, but 12.5 is possible"),
        (IMPOSSIBLE, {"conflict": ()}, "nothing is named that cannot hold together"),
        (IMPOSSIBLE, {"status": PlanStatus.OPTIMAL}, "optimal, but not all rules can hold"),
        (YIELDING, {"gave_way": ()}, "should hold, does not, and nothing is said"),
        (YIELDING, {"gave_way": ("r: (price 3)",)}, "gave way for 3, but 2 would do"),
    ],
)
def test_the_judge_objects_to(text: str, changes: dict[str, Any], objection: str, tmp_path: Path) -> None:
    judgement = Judgement(parse(text), tmp_path)
    case = judgement.case()
    assert case is not None
    plan = make_plan(case, "cpsat", EXACT)
    assert judgement.judge(plan) == []
    assert any(objection in line for line in judgement.judge(replace(plan, **changes)))
