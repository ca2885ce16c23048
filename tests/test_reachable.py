"""Claims about plans where guests block each other: held against everything that is in reach on small full clusters."""

from collections import Counter
from pathlib import Path

import pytest

from planner import agenda, reachable
from planner.case import Case
from planner.errors import InputError
from planner.plan import Plan, PlanStatus
from planner.planning import make_plan, solve
from solvers import Budget, Result, Score, check
from solvers.problem import Ints, Problem
from tests.asks import Places
from tests.draw_full import full, jammed
from tests.event_simulation import at_every_instant
from tests.referee import objections
from tests.scenario import Scenario
from tests.test_schedule_random import case_of
from tests.ways import Ways

MET = 0.95
"""Part of the plans that are as good as anything that is in reach without stops."""
SLOW = [pytest.mark.slow, pytest.mark.timeout(3600)]
NO_WAY = "no way to it was found"


def _assignment(case: Case, places: Places) -> Ints:
    formulation = case.formulation
    at = formulation.problem.origin.copy()
    for vmid, node in places.items():
        if vmid in formulation.index:
            at[formulation.index[vmid]] = formulation.node_index[node]
    return at


def _best(case: Case, ways: Ways) -> tuple[Score, Score]:
    """The best score after one migration at most, and after as many as there may be, one for each guest."""
    problem = case.formulation.problem
    one = best = check.score(problem, problem.origin)
    for places in ways.straight():
        at = _assignment(case, places)
        if check.broken(problem, at):
            continue
        best = min(best, score := check.score(problem, at))
        if sum(places[vmids[0]] != home for vmids, home in zip(ways.bundles, ways.home, strict=True)) == 1:
            one = min(one, score)
    return one, best


def _untrue(case: Case, ways: Ways, plan: Plan) -> list[str]:
    """What is said of guests that cannot go, and is not so."""
    after = {**ways.ground.today, **{m.vmid: m.target for m in plan.migrations}}
    said = {item.vmid: item.reason.split()[0] for item in plan.stranded if "another guest has left" in item.reason}
    lines = [f"{vmid} may go to {node}" for vmid, node in said.items() if ways.may_go(after, vmid, node)]
    if plan.status is PlanStatus.OPTIMAL and (plan.stranded or any(NO_WAY in note for note in plan.notes)):
        lines.append("called optimal")
    return lines


def judged(seed: int, solver: str, limit: int | None, directory: Path, shown: Counter[str]) -> list[str]:
    """What is wrong with the plan for a jam, of so many migrations."""
    scenario = jammed(seed)
    scenario.settings["policy"]["max_migrations"] = limit
    try:
        case = case_of(scenario, directory)
    except InputError:
        return []
    plan = make_plan(case, solver, Budget(seconds=20, work=2))
    problem, ways = (
        case.formulation.problem,
        Ways(scenario, {guest.vmid: guest.on for guest in scenario.guests.values()}),
    )
    blocked = bool(plan.stranded) or any(NO_WAY in note for note in plan.notes)
    if solver != "cpsat" and not blocked:
        return []
    score = check.score(problem, case.formulation.after(plan.migrations))
    one, best = _best(case, ways)
    shown["plans"] += 1
    shown["stranded"] += bool(plan.stranded)
    shown["met"] += score[:3] <= best[:3]
    wrong = ["one migration would be better"] if score[:3] > one[:3] else []
    wrong += [*_untrue(case, ways, plan), *objections(scenario, plan), *at_every_instant(scenario, plan, seed)]
    return [f"{seed}: {line}" for line in wrong]


@pytest.mark.parametrize(
    ("solver", "limit", "seeds"),
    [
        ("cpsat", None, [60, 71, 126]),
        ("descent", None, range(30, 45)),
        ("descent", 3, [60, 81, 126]),
        pytest.param("cpsat", None, range(500), marks=SLOW),
        pytest.param("descent", None, range(1000), marks=SLOW),
        pytest.param("descent", 3, range(1000), marks=SLOW),
    ],
)
def test_a_plan_is_as_good_as_what_is_in_reach(
    solver: str, limit: int | None, seeds: list[int], tmp_path: Path
) -> None:
    shown = Counter[str]()
    assert [line for seed in seeds for line in judged(seed, solver, limit, tmp_path, shown)] == []
    print(dict(shown))
    assert shown["met"] >= MET * shown["plans"] > 0


@pytest.mark.parametrize(
    ("scenario", "spread"),
    [(jammed(60), 12.5), (jammed(71), 44.45), (jammed(81), 8.89), (full(24, 5, 25), 20)],
)
def test_a_better_plan_is_found_where_half_of_the_best_assignment_was_kept(
    scenario: Scenario, spread: float, tmp_path: Path
) -> None:
    plan = make_plan(case_of(scenario, tmp_path), "descent", Budget(seconds=4))
    assert plan.spread.after <= spread
    assert not plan.stranded and plan.migrations


def test_an_assignment_that_is_given_up_is_a_note_and_strands_nobody(tmp_path: Path) -> None:
    plan = make_plan(case_of(jammed(71), tmp_path), "descent", Budget(seconds=8, work=2))
    assert [note for note in plan.notes if NO_WAY in note]
    assert not plan.stranded and plan.status is PlanStatus.FEASIBLE


class _Recorded:
    """A solver whose budgets are written down."""

    def __init__(self, case: Case) -> None:
        self._case, self.budgets = case, list[Budget]()

    def __call__(self, problem: Problem, solver: str, budget: Budget) -> Result:
        self.budgets.append(budget)
        return solve(self._case, problem, solver, budget)


def test_all_questions_together_are_few_and_short(tmp_path: Path) -> None:
    case = case_of(full(24, 5, 25), tmp_path)
    problem, asked = case.formulation.problem, _Recorded(case)
    first = solve(case, problem, "descent", Budget(seconds=4))
    reach = agenda.reach(case, problem, first.assignment)
    result, _ = reachable.best_reachable(case, problem, (first, reach), asked, Budget(seconds=4))
    assert 0 < len(asked.budgets) <= reachable.QUESTIONS
    assert max(budget.seconds for budget in asked.budgets) <= reachable.EACH * 4
    assert result.seconds > first.seconds


def test_nothing_is_asked_once_someone_says_stop(tmp_path: Path) -> None:
    case = case_of(full(24, 5, 25), tmp_path)
    problem, asked = case.formulation.problem, _Recorded(case)
    first = solve(case, problem, "descent", Budget(seconds=4))
    reach = agenda.reach(case, problem, first.assignment)
    _, best = reachable.best_reachable(case, problem, (first, reach), asked, Budget(seconds=600, stop=lambda: True))
    assert not asked.budgets
    assert check.score(problem, best.assignment) <= check.score(problem, reach.assignment)
