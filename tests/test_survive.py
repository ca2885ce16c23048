"""Claims about the loss of a node: whether its HA guests find a place, by trying all; headroom where it is asked."""

import json
from collections.abc import Iterable
from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest

from planner import report
from planner.collect import collect
from planner.config import load
from planner.errors import ConfigError
from planner.headroom import impossible
from planner.plan import Plan
from planner.planning import make_plan, prepare
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy
from planner.survive import Failover, protected
from solvers import Budget
from solvers.problem import Apart, Bools, Ints, Problem
from tests.problems import by_node, random_problem
from tests.rows import Row, cluster, node, vm

BUDGET = Budget(seconds=20, work=3)
ALL = ("greedy", "descent", "cpsat")


def ha(vmid: int, on: str, gib: float, **facts: Any) -> Row:
    return vm(vmid, on, gib, **{"hastate": "started"} | facts)


def nodes(rows: Iterable[Row], **gib: float) -> list[Row]:
    """The rows, and their nodes with what these use."""
    rows = list(rows)
    used = {name: sum(row["mem"] for row in rows if row["node"] == name) / 2**30 for name in gib}
    return [*(node(name, size, used[name]) for name, size in gib.items()), *rows]


def planned(rows: list[Row], solver: str = "cpsat", settings: ClusterPolicy | None = None, **policy: Any) -> Plan:
    return make_plan(prepare(cluster(*rows), Policy(**policy), settings), solver, BUDGET)


def written(plan: Plan) -> Any:
    return json.loads(plan.to_json())


def lost(plan: Plan) -> tuple[list[str], list[str]]:
    """Nodes whose loss is not survived, before and after."""
    assert plan.survival is not None
    return [item.node for item in plan.survival.before], [item.node for item in plan.survival.after]


# The check


def survives(problem: Problem, ha_guests: Bools, assignment: Ints, failed: int) -> bool:
    """By trying all places of the HA guests of the node; the other guests stay, but those of the node are down."""
    homeless = [g for g in range(problem.guests) if ha_guests[g] and assignment[g] == failed]
    staying = [g for g in range(problem.guests) if assignment[g] != failed]
    places = [
        [n for n in range(problem.nodes)
         if n != failed and problem.balanced[n] and problem.eligibility[problem.eligible[g], n]]
        for g in homeless
    ]  # fmt: skip
    return any(_fine(problem, dict(zip(homeless, at, strict=True)), staying, assignment) for at in product(*places))


def _fine(problem: Problem, arrived: dict[int, int], staying: list[int], assignment: Ints) -> bool:
    at = {g: int(assignment[g]) for g in staying} | arrived
    for n in set(arrived.values()):
        for r in range(problem.capacity.shape[1]):
            taken = sum(problem.needs[g, r] for g, where in arrived.items() if where == n)
            if taken and taken + sum(problem.needs[g, r] for g in staying if at[g] == n) > problem.capacity[n, r]:
                return False
    for group in problem.together:
        if len({arrived[g] for g in group if g in arrived}) > 1:
            return False
    for rule in problem.apart:
        domain = list(rule.domains or range(problem.nodes))
        for d in {domain[arrived[g]] for side in rule.sides for g in side if g in arrived}:
            if sum(any(g in at and domain[at[g]] == d for g in side) for side in rule.sides) > rule.most:
                return False
    return True


def test_what_is_survived_is_what_some_placement_of_the_ha_guests_shows() -> None:
    outcomes = {True: 0, False: 0}
    for seed in range(700):
        rng = Random(seed)
        problem = random_problem(seed, nodes=rng.choice([2, 3, 4]), guests=rng.choice([3, 5, 6, 7]))
        guarded = np.array([rng.random() < 0.7 for _ in range(problem.guests)])
        assignment = problem.origin if rng.random() < 0.5 else rng_assignment(rng, problem)
        losses = {loss.node: loss for loss in Failover(problem, guarded).losses(assignment)}
        for failed in range(problem.nodes):
            expected = survives(problem, guarded, assignment, failed)
            outcomes[expected] += 1
            assert (failed not in losses) == expected, (seed, failed)
            if failed in losses:
                loss = losses[failed]
                assert loss.proven and loss.guests, seed
                assert all(guarded[g] and assignment[g] == failed for g in loss.guests)
                rest = guarded.copy()
                rest[list(loss.guests)] = False
                assert survives(problem, rest, assignment, failed), "without those the others do find places"
    assert min(outcomes.values()) > 300, outcomes


def rng_assignment(rng: Random, problem: Problem) -> Ints:
    return np.array([rng.randrange(problem.nodes) for _ in range(problem.guests)], dtype=np.int64)


def test_places_that_first_fit_misses_are_found() -> None:
    """Where the largest first goes wrong; a rule that is broken elsewhere hinders nothing."""
    found = 0
    for seed in range(60):
        rng = Random(seed)
        rooms = [rng.randint(8, 14) for _ in range(3)]
        sizes = [rng.randint(2, 7) for _ in range(7)]
        problem = by_node([sizes, *([100 - room] for room in rooms), [50, 50]])
        problem = problem.replace(capacity=np.full((5, 1), 100), apart=(Apart.of([0, 10, 11]),))
        guarded = np.arange(problem.guests) < 7
        check = Failover(problem, guarded)
        quick = check.losses(problem.origin, seconds=0)
        full = check.losses(problem.origin)
        assert bool(full) == (not survives(problem, guarded, problem.origin, 0))
        found += bool(quick) and not full
    assert found


def test_a_guest_that_shares_a_node_with_what_it_is_kept_apart_from_does_not_arrive_there() -> None:
    problem = by_node([[10], [10], [10]]).replace(apart=(Apart.of([0, 1]), Apart.of([0, 2])))
    guarded = np.array([True, False, False])
    assert [loss.node for loss in Failover(problem, guarded).losses(problem.origin)] == [0]
    free = problem.replace(apart=(Apart.of([0, 1]),))
    assert Failover(free, guarded).losses(problem.origin) == ()
    assert Failover(problem, guarded).losses(problem.origin)[0].ruled == (0,), "it is not for lack of room"


def test_guests_that_ha_does_not_restart_need_no_place() -> None:
    rows = [ha(1, "a", 60), ha(2, "a", 60, hastate="ignored"), ha(3, "a", 60, hastate="error"), vm(4, "a", 60)]
    rows += [ha(5, "a", 60, status="stopped"), ha(6, "a", 9, hastate="disabled"), ha(7, "a", 9, status="paused")]
    guests = cluster(node("a", 400, 300), *rows).guests
    assert dict(zip(guests["vmid"], protected(guests), strict=True)) == {
        1: True, 2: False, 3: False, 4: False, 5: False, 6: False, 7: True,
    }  # fmt: skip


# Plans


UNEVEN = nodes(
    [*(ha(10 + i, "a", 7) for i in range(10)), *(vm(20 + i, "b", 7) for i in range(10)),
     *(vm(30 + i, "c", 7) for i in range(10))],
    a=100, b=100, c=100,
)  # fmt: skip
"""Balanced, but all HA guests are on a, and only 8 of 10 find room elsewhere."""
LARGE = nodes(
    [ha(10, "a", 45), vm(11, "a", 15), *(vm(20 + i, "b", 10) for i in range(6)),
     *(vm(30 + i, "c", 10) for i in range(6))],
    a=100, b=100, c=100,
)  # fmt: skip
"""Balanced with 120 GiB free, but nowhere else 45 in one piece."""
FRAGILE = nodes(
    [ha(10, "a", 50), *(vm(20 + i, "b", 10) for i in range(8)), *(vm(30 + i, "c", 10) for i in range(5))],
    a=100, b=100, c=100,
)  # fmt: skip
"""c just holds the large HA guest of a; balance takes that away."""


@pytest.mark.parametrize("solver", ["descent", "cpsat"])
@pytest.mark.parametrize("rows", [UNEVEN, LARGE])
def test_headroom_that_lacks_is_made_where_it_is_asked_for(rows: list[Row], solver: str) -> None:
    assert planned(rows, solver).migrations == ()
    assert planned(rows, solver).survival is None
    plan = planned(rows, solver, survive=1)
    assert lost(plan) == (["a"], []) and plan.migrations
    assert any(m.reason.startswith("headroom: ") and "loss of a" in m.reason for m in plan.migrations)
    assert "survives the loss of any one node (before the plan not the loss of a)" in report.verdict(plan)
    again = planned(replace_nodes(rows, plan), solver, survive=1)
    came_from = {m.vmid: m.source for m in plan.migrations}
    assert lost(again) == ([], []) and not [m for m in again.migrations if came_from.get(m.vmid) == m.target]


def replace_nodes(rows: list[Row], plan: Plan) -> list[Row]:
    """The rows after a plan."""
    where = {m.vmid: m.target for m in plan.migrations}
    sizes = {row["node"]: row["maxmem"] / 2**30 for row in rows if row["type"] == "node"}
    guests = [row | {"node": where.get(row["vmid"], row["node"])} for row in rows if row["type"] != "node"]
    return nodes(guests, **sizes)


@pytest.mark.parametrize("solver", ALL)
def test_balance_costs_no_headroom_that_there_is(solver: str) -> None:
    without = planned(FRAGILE, solver, balanciness=0)
    kept = planned(FRAGILE, solver, balanciness=0, survive=1)
    assert lost(kept) == ([], [])
    if solver != "greedy":
        told = replace_nodes(FRAGILE, without)
        assert lost(planned(told, solver, survive=1, max_migrations=0)) == (["a"], ["a"]), "balance alone takes it away"
        assert kept.spread.after >= without.spread.after and kept.spread.after < kept.spread.before


@pytest.mark.parametrize("solver", ALL)
def test_random_plans_lose_no_node_that_was_survived_and_break_no_rule(solver: str) -> None:
    for seed in range(2):
        rng = Random(seed)
        names = ["a", "b", "c"]
        guests = []
        for vmid in range(10, 10 + rng.randint(8, 14)):
            make = ha if rng.random() < 0.5 else vm
            tags = rng.choice(["", "", "", "", "", "", "", "plb_anti_affinity_x", f"plb_pin_{rng.choice(names)}"])
            guests.append(make(vmid, rng.choice(names), rng.choice([2, 4, 8, 12]), tags=tags))
        plan = planned(nodes(guests, **dict.fromkeys(names, 48)), solver, survive=1, balanciness=5)
        before, after = lost(plan)
        assert set(after) <= set(before), seed
        assert len(plan.violations_after) <= len(plan.violations_before)


@pytest.mark.parametrize("seed", [1003, 1007, 1069])
def test_where_some_placement_survives_every_loss_one_is_found(seed: int) -> None:
    rng = Random(seed)
    names = ["a", "b", "c"]
    guests = [
        (ha if rng.random() < 0.6 else vm)(10 + i, rng.choice(names), rng.choice([2, 4, 6, 8, 10])) for i in range(7)
    ]
    size = sum(row["mem"] for row in guests) / 2**30 / 3 * rng.uniform(1.4, 1.9)
    rows = nodes(guests, **dict.fromkeys(names, size))
    case = prepare(cluster(*rows), Policy(survive=1))
    problem = case.formulation.problem
    check = Failover(problem, protected(case.formulation.guests))
    every = (np.array(at, dtype=np.int64) for at in product(range(3), repeat=7))
    fitting = (at for at in every if (problem.usage(at) <= problem.capacity).all())
    assert check.losses(problem.origin) and any(not check.losses(at) for at in fitting)
    assert lost(planned(rows, survive=1, balanciness=0))[1] == []


def test_a_node_is_emptied_no_further_than_the_others_can_do_without_it() -> None:
    """Three nodes survive the loss of one; two would not."""
    rows = nodes([*(ha(10 + i, "a", 10) for i in range(3)), *(ha(20 + i, "b", 10) for i in range(3)),
                  *(ha(30 + i, "c", 10) for i in range(3))], a=60, b=60, c=60)  # fmt: skip
    drained = ClusterPolicy(maintenance_nodes=("c",))
    assert planned(rows, settings=drained).violations_after == ()
    plan = planned(rows, settings=drained, survive=1)
    assert lost(plan) == ([], [])
    assert plan.violations_after and any("broken rules are not repaired, because" in note for note in plan.notes)


def test_what_cannot_be_survived_is_named_and_proven() -> None:
    rows = nodes([*(ha(10 + i, "a", 10) for i in range(9)), *(ha(20 + i, "b", 10) for i in range(9))], a=100, b=100)
    plan = planned(rows, survive=1)
    assert plan.survival is not None and lost(plan) == (["a", "b"], ["a", "b"])
    first = plan.survival.after[0]
    assert first.proven and first.missing_mib == 80 * 1024 and len(first.guests) == 8
    assert "not every loss is survived: 20.0 GiB are free" in plan.survival.impossible[0]
    assert plan.status.value != "optimal"
    words = report.verdict(plan)
    assert "the loss of a is not survived; it is not today: HA guests" in words and "for 80.0 GiB" in words


@pytest.mark.parametrize("solver", ["descent", "cpsat"])
def test_where_not_every_loss_can_be_survived_the_cluster_is_balanced_and_no_more_is_missing(solver: str) -> None:
    rows = nodes(
        [*(ha(10 + i, "a", 10) for i in range(15)), vm(30, "b", 10), *(vm(40 + i, "c", 10) for i in range(6))],
        a=200, b=60, c=60,
    )  # fmt: skip
    plan = planned(rows, solver, survive=1)
    assert plan.survival is not None and plan.survival.impossible
    (before,), (after,) = plan.survival.before, plan.survival.after
    assert before.node == after.node == "a" and after.missing_mib <= before.missing_mib
    assert plan.spread.after < plan.spread.before / 2


def test_a_guest_that_may_run_on_one_node_only_is_named() -> None:
    rows = nodes([ha(10, "a", 4, tags="plb_pin_a"), vm(20, "b", 4)], a=64, b=64)
    plan = planned(rows, survive=1)
    assert plan.survival is not None and lost(plan) == (["a"], ["a"])
    assert plan.survival.impossible == ("proven: guest 10 (g10) finds no other place: it may be on a only",)


def test_the_proof_of_what_cannot_be_holds_for_every_placement() -> None:
    proven = 0
    for seed in range(60):
        rng = Random(seed)
        names = ["a", "b", "c"][: rng.choice([2, 3])]
        guests = [(ha if rng.random() < 0.7 else vm)(10 + i, rng.choice(names), rng.choice([4, 8])) for i in range(6)]
        rows = nodes(guests, **{name: rng.choice([16, 24, 32]) for name in names})
        case = prepare(cluster(*rows), Policy(survive=1))
        problem, guarded = case.formulation.problem, protected(case.formulation.guests)
        if (problem.usage(problem.origin) > problem.capacity).any():
            continue
        if impossible(problem, Failover(problem, guarded)) is None:
            continue
        proven += 1
        for at in product(range(problem.nodes), repeat=problem.guests):
            assignment = np.array(at, dtype=np.int64)
            if (problem.usage(assignment) <= problem.capacity).all():
                assert not all(survives(problem, guarded, assignment, n) for n in range(problem.nodes)), seed
    assert proven > 3


def test_without_ha_guests_it_changes_nothing_and_that_is_said() -> None:
    rows = nodes([vm(1, "a", 30), vm(2, "a", 20)], a=64, b=64)
    plan, without = planned(rows, survive=1), planned(rows)
    assert any("no running guest is managed by HA" in note for note in plan.notes)
    assert plan.migrations == without.migrations and lost(plan) == ([], [])


def test_proxlb_is_shown_as_it_is_with_what_it_loses() -> None:
    plan = planned(UNEVEN, "proxlb", survive=1)
    assert plan.survival is not None and [item.node for item in plan.survival.before] == ["a"]


def test_more_than_one_node_is_refused() -> None:
    with pytest.raises(ConfigError, match="survive"):
        load(None, {"policy": {"survive": 2}}, environ={})


@pytest.mark.parametrize("guests", [(), (vm(1, "a", 10), vm(2, "a", 20))])
def test_where_nothing_is_protected_no_survival_is_claimed(guests: tuple[Row, ...]) -> None:
    plan = make_plan(prepare(collect(cluster(node("a"), node("b"), *guests).snapshot), Policy(survive=1)), "descent")
    said = report.verdict(plan)
    assert lost(plan) == ([], []) and "no loss of a node has to be survived" in said and "any one node" not in said


def test_what_is_said_in_json_is_what_was_found() -> None:
    plan = planned(UNEVEN, survive=1, max_migrations=0)
    survival = plan.survival
    assert survival is not None and survival.before == survival.after
    assert written(plan)["survival"]["after"] == [
        {"node": "a", "guests": {"18": "g18", "19": "g19"}, "missing_mib": 14 * 1024, "proven": True, "by_rules": []}
    ]
