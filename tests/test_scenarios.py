"""Claims in the form of scenarios: one behaviour per file of `tests/scenarios`, for every solver that claims it."""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from planner.collect import collect
from planner.errors import PlannerError
from planner.plan import Plan
from planner.plan import parse as read_plan
from planner.planning import make_plan, prepare
from solvers import Budget
from tests.event_simulation import at_every_instant
from tests.referee import objections
from tests.scenario import HERE, SOLVERS, Scenario, load, parse

FILES = sorted(HERE.glob("*.yaml"))
BUDGET = Budget(seconds=20, work=3)
"""Counts work, so that an answer does not depend on how busy the machine is; these clusters need a fraction of it."""
EMPTY = "{behaviour: x, nodes: {a: 64}, expect: {status: no_action}"
"""The start of a scenario of which only the rest matters."""


def _cases() -> Iterable[Any]:
    for path in FILES:
        scenario = load(path)
        for solver in scenario.solvers:
            why = scenario.xfail.get(solver, "") if isinstance(scenario.xfail, dict) else scenario.xfail
            marks = [pytest.mark.xfail(strict=True, reason=why)] if why else []
            yield pytest.param(path, solver, id=f"{path.stem}-{solver}", marks=marks)


def plan_of(scenario: Scenario, solver: str, directory: Path) -> Plan:
    """What `proxlb-plan --solver ...` plans for this cluster with these settings."""
    settings = scenario.config(directory)
    cluster = collect(scenario.snapshot())
    return make_plan(prepare(cluster, settings.policy, settings.cluster, settings.apply), solver, BUDGET)


@pytest.mark.parametrize(("path", "solver"), list(_cases()))
def test_scenario(path: Path, solver: str, tmp_path: Path) -> None:
    scenario = load(path)
    expect = scenario.expect | scenario.only.get(solver, {})
    if "refused" in expect:
        with pytest.raises(PlannerError) as refusal:
            plan_of(scenario, solver, tmp_path)
        assert refusal.value.exit_code == expect["refused"]["exit"], refusal.value
        _all_in(expect["refused"].get("says", []), [str(refusal.value)])
        return
    plan = plan_of(scenario, solver, tmp_path)
    assert read_plan(json.loads(plan.to_json()), "the plan") == plan  # as apply reads it
    assert objections(scenario, plan) == []
    assert at_every_instant(scenario, plan) == []
    _judge(scenario, expect, plan)
    if plan.migrations and expect.get("settles", True):
        _settles(scenario.carried_out(plan.migrations), solver, plan, tmp_path)


def _settles(after: Scenario, solver: str, plan: Plan, directory: Path) -> None:
    """Once a plan is carried out, the next one takes no guest back to where it came from."""
    again = plan_of(after, solver, directory)
    came_from = {m.vmid: m.source for m in reversed(plan.migrations)}
    assert [m for m in again.migrations if came_from.get(m.vmid) == m.target] == []


def _judge(scenario: Scenario, expect: dict[str, Any], plan: Plan) -> None:
    """Everything that a scenario expects; an expectation that is not known is a mistake."""
    for name, wanted in expect.items():
        EXPECTATIONS[name](wanted, plan, _places(scenario, plan))


def _places(scenario: Scenario, plan: Plan) -> dict[int, str]:
    return {vmid: guest.on for vmid, guest in scenario.carried_out(plan.migrations).guests.items()}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _within(limits: Any, value: float) -> None:
    """A number, or {at_least, at_most}."""
    limits = limits if isinstance(limits, dict) else {"at_least": limits, "at_most": limits}
    assert set(limits) <= {"at_least", "at_most"}
    assert limits.get("at_least", 0) - 0.001 <= value <= limits.get("at_most", math.inf) + 0.001  # loads are whole ppm


def _all_in(fragments: Any, lines: Iterable[str]) -> None:
    text = "\n".join(lines)
    for fragment in _listed(fragments):
        assert fragment in text


def _broken(wanted: Any, lines: tuple[str, ...]) -> None:
    """How many rules are broken, or words of each."""
    _within(len(wanted) if isinstance(wanted, list) else wanted, len(lines))
    _all_in(wanted if isinstance(wanted, list) else [], lines)


def _status(wanted: Any, plan: Plan, places: dict[int, str]) -> None:
    assert plan.status.value in _listed(wanted)


def _apart(wanted: list[list[int]], plan: Plan, places: dict[int, str]) -> None:
    for group in wanted:
        assert len({places[vmid] for vmid in group}) == len(group), [places[vmid] for vmid in group]


def _together(wanted: list[list[int]], plan: Plan, places: dict[int, str]) -> None:
    for group in wanted:
        assert len({places[vmid] for vmid in group}) == 1, [places[vmid] for vmid in group]


def _on(wanted: dict[int, Any], plan: Plan, places: dict[int, str]) -> None:
    for vmid, nodes in wanted.items():
        assert places[vmid] in _listed(nodes), f"{vmid} is on {places[vmid]}"


def _not_on(wanted: dict[int, Any], plan: Plan, places: dict[int, str]) -> None:
    for vmid, nodes in wanted.items():
        assert places[vmid] not in _listed(nodes), f"{vmid} is on {places[vmid]}"


def _empty(wanted: Any, plan: Plan, places: dict[int, str]) -> None:
    assert not set(_listed(wanted)) & set(places.values())


def _stays(wanted: Any, plan: Plan, places: dict[int, str]) -> None:
    assert not set(_listed(wanted)) & {m.vmid for m in plan.migrations}


def _migrates(wanted: Any, plan: Plan, places: dict[int, str]) -> None:
    assert set(_listed(wanted)) <= {m.vmid for m in plan.migrations}


def _order(wanted: list[int], plan: Plan, places: dict[int, str]) -> None:
    assert [m.vmid for m in plan.migrations if m.vmid in wanted] == wanted


def _says(wanted: Any, plan: Plan, places: dict[int, str]) -> None:
    _all_in(wanted, _words(plan))


def _words(plan: Plan) -> list[str]:
    """All that a plan says in words."""
    whose = [(item.vmid, item.reason) for item in plan.migrations] + [(s.vmid, s.reason) for s in plan.stranded]
    reasons = [f"{vmid}: {reason}" for vmid, reason in whose]
    return [*plan.notes, *reasons, *plan.violations_before, *plan.violations_after, *plan.gave_way, *plan.conflict]


def _never_says(wanted: Any, plan: Plan, places: dict[int, str]) -> None:
    for fragment in _listed(wanted):
        assert fragment not in "\n".join(_words(plan))


EXPECTATIONS: dict[str, Any] = {
    "status": _status,
    "apart": _apart,
    "together": _together,
    "on": _on,
    "not_on": _not_on,
    "empty": _empty,
    "stays": _stays,
    "migrates": _migrates,
    "order": _order,
    "says": _says,
    "never_says": _never_says,
    "broken": lambda wanted, plan, places: _broken(wanted, plan.violations_after),
    "broken_before": lambda wanted, plan, places: _broken(wanted, plan.violations_before),
    "migrations": lambda wanted, plan, places: _within(wanted, len(plan.migrations)),
    "gib": lambda wanted, plan, places: _within(wanted, plan.moved_gib),
    "spread": lambda wanted, plan, places: _within(wanted, plan.spread.after),
    "spread_before": lambda wanted, plan, places: _within(wanted, plan.spread.before),
    "bound": lambda wanted, plan, places: _within(wanted, plan.spread.bound or 0),
    "stuck": lambda wanted, plan, places: _on({0: wanted}, plan, {0: ",".join(s.node for s in plan.stuck)}),
    "gave_way": lambda wanted, plan, places: _broken(wanted, plan.gave_way),
    "conflict": lambda wanted, plan, places: _broken(wanted, plan.conflict),
    "helps": lambda wanted, plan, places: _all_in(wanted, plan.helps),
    "stranded": lambda wanted, plan, places: _within(len(wanted), len({s.vmid for s in plan.stranded} & set(wanted))),
    "settles": lambda wanted, plan, places: None,
}
"""What a scenario can expect: name to how it is judged."""


# The scenarios themselves


def test_every_scenario_is_about_something_of_its_own() -> None:
    behaviours = [load(path).behaviour for path in FILES]
    assert len(FILES) >= 80
    assert len(set(behaviours)) == len(behaviours)


def test_every_solver_and_every_expectation_of_a_scenario_is_known() -> None:
    for scenario in map(load, FILES):
        assert set(scenario.solvers) | set(scenario.only) <= set(SOLVERS), scenario.behaviour
        names = {name for expect in (scenario.expect, *scenario.only.values()) for name in expect}
        assert names <= {*EXPECTATIONS, "refused"}, scenario.behaviour


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("nods: {}}", "has no nods"),
        ("guests: {1: {on: a, memroy: 4}}}", "has no memroy"),
        ("guests: {1: b}}", r"guests \[1\] are on no node"),
        ("guests: {1: a, 1: a}}", "a key stands twice"),
        ("expect: {}}", "a key stands twice"),
    ],
)
def test_a_mistake_in_a_scenario_is_not_overlooked(rest: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(f"{EMPTY}, {rest}")


# The referee


class Going(NamedTuple):
    """What the referee looks at of a migration."""

    vmid: int
    source: str
    target: str
    bypass: bool = False


RULED = """
behaviour: everything that a plan can do wrong
nodes: {a: 64, b: 64, c: {memory: 16, used: 2}, d: 64}
guests:
  1: {on: a, memory: 16, tags: [plb_anti_affinity_x]}
  2: {on: b, memory: 16, tags: [plb_anti_affinity_x]}
  3: {on: a, memory: 8, tags: [plb_affinity_y]}
  4: {on: a, memory: 8, tags: [plb_affinity_y, plb_pin_a, plb_pin_c]}
  5: {on: a, memory: 1, lock: backup}
settings: {cluster: {maintenance_nodes: [d]}, policy: {max_migrations: 2, balanciness: 0}}
expect: {status: feasible}
"""


@pytest.mark.parametrize(
    ("migrations", "objection"),
    [
        ([(1, "a", "b")], "broken on the way, by 1: ('apart', 'plb_anti_affinity_x'"),
        ([(1, "a", "b")], "broken in the end: ('apart', 'plb_anti_affinity_x'"),
        ([(1, "a", "c")], "c has no room for 1 at that moment"),
        ([(3, "a", "b")], "broken in the end: ('together', 'plb_affinity_y', (3, 4))"),
        ([(3, "a", "b"), (4, "a", "b")], "broken in the end: ('home', 'plb_pin_a or plb_pin_c', 4, 'b')"),
        ([(5, "a", "b")], "guest 5 has to stay"),
        ([(1, "a", "d")], "d takes no guests, but gets 1"),
        ([(2, "a", "b")], "guest 2 is not on a, or goes nowhere"),
        ([(2, "b", "b")], "guest 2 is not on b, or goes nowhere"),
        ([(1, "a", "b"), (2, "b", "a"), (1, "b", "a")], "3 migrations, at most 2"),
        ([(1, "a", "b"), (1, "b", "a")], "a guest is migrated twice"),
        ([(1, "a", "b")], "memory of a will be 26.562 %, not 51.562"),
    ],
)
def test_the_referee_objects_to(migrations: list[tuple[int, str, str]], objection: str, tmp_path: Path) -> None:
    scenario = parse(RULED)
    plan = plan_of(replace(scenario, settings={"policy": {"max_migrations": 0}}), "greedy", tmp_path)
    wrong: Any = tuple((Going(*migration),) for migration in migrations)
    assert any(objection in line for line in objections(scenario, replace(plan, waves=wrong)))


def test_the_referee_objects_to_a_plan_that_hides_what_is_broken(tmp_path: Path) -> None:
    scenario = parse(RULED.replace("on: b", "on: a"))
    plan = plan_of(replace(scenario, settings={"policy": {"max_migrations": 0}}), "greedy", tmp_path)
    assert objections(scenario, plan) == []
    assert "the plan says that all rules hold" in objections(scenario, replace(plan, violations_after=()))[0]


@pytest.mark.parametrize(
    ("most", "stops", "objection"),
    [
        (2, [True, False], ""),
        (1, [True, False], "2 migrations, at most 1"),
        (2, [False, False], "a guest is migrated twice"),
        (2, [True, True], "a guest is migrated twice"),
    ],
)
def test_the_referee_lets_a_guest_stop_on_its_way(most: int, stops: list[bool], objection: str, tmp_path: Path) -> None:
    """Both migrations count."""
    nodes, guests = "{a: 64, b: 64, c: {memory: 64, used: 8}}", "{1-2: {on: a, memory: 16}}"
    scenario = parse(f"{{behaviour: x, nodes: {nodes}, guests: {guests}, expect: {{status: optimal}}}}")
    scenario = replace(scenario, settings={"policy": {"max_migrations": 1}})
    plan = plan_of(scenario, "greedy", tmp_path)
    (vmid,) = {migration.vmid for migration in plan.migrations}
    legs: Any = (Going(vmid, "a", "c", stops[0]), Going(vmid, "c", "b", stops[1]))
    found = objections(
        replace(scenario, settings={"policy": {"max_migrations": most}}),
        replace(plan, waves=tuple((leg,) for leg in legs)),
    )
    assert found == ([objection] if objection else [])
