"""Claims about the way back of a run: what it really did is undone, as safely as it was done."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from planner.case import Case, prepare
from planner.cluster import Cluster
from planner.errors import StalePlan, UsageError
from planner.journal import Journal
from planner.plan import Plan
from planner.planning import make_plan
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy
from planner.rollback import plan_back
from planner.run import RunRecord, Step
from tests import plans
from tests.rows import cluster, node, vm

GUESTS = {1: ("a", 40), 2: ("a", 8), 3: ("b", 40), 4: ("c", 8)}
"""vmid to node and GiB: 1 and 3 change places by way of c."""


def at(places: dict[int, str]) -> Cluster:
    rows = [
        vm(vmid, places.get(vmid, on), gib, tags="plb_pin_b" if vmid == 1 else "") for vmid, (on, gib) in GUESTS.items()
    ]
    return cluster(*(node(name, total=64, used=1) for name in "abc"), *rows)


def case_of(places: dict[int, str]) -> Case:
    return prepare(at(places), Policy(balanciness=0))


def a_plan() -> Plan:
    plan = make_plan(case_of({}), "cpsat")
    assert len(plan.migrations) >= 3
    return plan


def recorded(plan: Plan, steps: dict[int, Step]) -> RunRecord:
    with Journal(None) as journal:
        run = journal.begin(plan, "c", 1.0)
        for number, step in steps.items():
            for each in [Step.CHECKED, Step.STARTED, step] if step is not Step.STARTED else [Step.CHECKED, step]:
                journal.record(run, number, each, 2.0, upid="UPID:x")
        return journal.run(run)


def played(places: dict[int, str], plan: Plan) -> dict[int, str]:
    """Where the guests are when a plan has been carried out in order."""
    places = dict(places)
    for migration in plan.migrations:
        assert places.get(migration.vmid, GUESTS[migration.vmid][0]) == migration.source
        places[migration.vmid] = migration.target
    return places


def after(plan: Plan, numbers: Iterable[int]) -> dict[int, str]:
    return {m.vmid: m.target for m in plan.migrations if m.number in set(numbers)}


def home(places: dict[int, str]) -> bool:
    return all(node == GUESTS[vmid][0] for vmid, node in places.items())


def test_the_way_back_restores_the_start_and_says_what_that_means() -> None:
    plan = a_plan()
    done = {m.number: Step.DONE for m in plan.migrations}
    there = after(plan, done)
    back = plan_back(recorded(plan, done), case_of(there))
    assert home(played(there, back))
    assert back.spread.after == pytest.approx(plan.spread.before)
    assert len(back.violations_after) == len(plan.violations_before)
    assert {m.reason for m in back.migrations} == {"takes back run 1"}


@pytest.mark.parametrize("count", [1, 2])
def test_of_a_run_that_was_cut_off_only_what_was_done_is_taken_back(count: int) -> None:
    plan = a_plan()
    done = {m.number: Step.DONE for m in plan.migrations[:count]}
    there = after(plan, done)
    back = plan_back(recorded(plan, done), case_of(there))
    assert len(back.migrations) == count and home(played(there, back))


def test_the_way_back_has_a_way_back() -> None:
    plan = a_plan()
    done = {m.number: Step.DONE for m in plan.migrations}
    there = after(plan, done)
    back = plan_back(recorded(plan, done), case_of(there))
    again = replace(back, waves=back.rollback)
    assert played(played(there, back), again) == there


def test_what_is_not_settled_is_not_taken_back() -> None:
    plan = a_plan()
    with pytest.raises(UsageError, match=r"what became of guest .* in run 1 is not known: `proxlb-plan resume 1`"):
        plan_back(recorded(plan, {1: Step.STARTED}), case_of({}))


def test_a_run_that_did_nothing_has_no_way_back() -> None:
    with pytest.raises(UsageError, match="run 1 has migrated nothing"):
        plan_back(recorded(a_plan(), {}), case_of({}))


def test_a_guest_that_somebody_migrated_since_is_not_taken_back() -> None:
    plan = a_plan()
    first = plan.migrations[0]
    with pytest.raises(StalePlan, match=f"guest {first.vmid} is on {first.source}, run 1 left it on {first.target}"):
        plan_back(recorded(plan, {1: Step.DONE}), case_of({}))


# --- what the way back breaks again -------------------------------------------------------------------


def repaired(tags: str) -> tuple[Plan, dict[str, Any]]:
    """A plan that repairs a rule, and the rows of the cluster it is for."""
    rows: dict[str, Any] = {"nodes": [node(name, total=64, used=1) for name in "abc"]}
    rows["guests"] = [vm(1, "a", 8, tags=tags), vm(2, "a", 8, tags=tags)]
    plan = make_plan(prepare(cluster(*rows["nodes"], *rows["guests"]), Policy()), "descent")
    assert len(plan.migrations) == 1 and plan.migrations[0].reason.startswith("repairs")
    return plan, rows


def carried_out(plan: Plan, rows: dict[str, Any]) -> Cluster:
    target = {m.vmid: m.target for m in plan.migrations}
    guests = [row | {"node": target.get(row["vmid"], row["node"])} for row in rows["guests"]]
    return cluster(*rows["nodes"], *guests)


def test_a_rule_that_the_run_repaired_is_lifted_by_name() -> None:
    plan, rows = repaired("plb_anti_affinity_x")
    back = plan_back(recorded(plan, {1: Step.DONE}), prepare(carried_out(plan, rows), Policy()))
    assert back.lifted == ("plb_anti_affinity_x",)
    assert len(back.violations_after) == 1


def test_no_guest_goes_back_to_a_node_in_maintenance() -> None:
    rows: dict[str, Any] = {"nodes": [node(name, total=64, used=1) for name in "abc"], "guests": [vm(1, "a", 8)]}
    settings = ClusterPolicy(maintenance_nodes=("a",))
    plan = make_plan(prepare(cluster(*rows["nodes"], *rows["guests"]), Policy(), settings), "descent")
    with pytest.raises(StalePlan, match=r"it cannot be taken back: guest 1 .* is on a, which is in maintenance"):
        plan_back(recorded(plan, {1: Step.DONE}), prepare(carried_out(plan, rows), Policy(), settings))


@pytest.mark.parametrize("steps", [{1: Step.FAILED, 2: Step.DONE, 3: Step.DONE}, {1: Step.DONE, 3: Step.DONE}])
def test_of_a_run_that_failed_in_the_middle_only_what_was_done_is_taken_back(steps: dict[int, Step]) -> None:
    guests = {1: ("a", 4), 2: ("b", 30), 3: ("c", 30)}
    wave = (
        plans.migration(1, 1, "a", "b"),
        plans.migration(2, 2, "b", "a"),
        plans.migration(3, 3, "c", "b", after=(2,)),
    )
    done = {m.vmid: m.target for m in wave if steps.get(m.number) is Step.DONE}
    now = [vm(vmid, done.get(vmid, on), gib) for vmid, (on, gib) in guests.items()]
    case = prepare(cluster(*(node(name, total=64, used=1) for name in "abc"), *now), Policy())
    back = plan_back(recorded(plans.plan(*wave), steps), case)
    places = {vmid: done.get(vmid, on) for vmid, (on, _) in guests.items()}
    for migration in back.migrations:
        assert places[migration.vmid] == migration.source
        places[migration.vmid] = migration.target
    assert places == {vmid: on for vmid, (on, _) in guests.items()}
    assert back.max_migrations is None and len(back.migrations) == len(done)
