"""Claims about where guests may be: the genuine answers of Proxmox VE, down to what a solver is given."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from planner.formulate import Formulation, formulate
from planner.planning import checked_plan
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy
from planner.preconditions import ask, with_answers
from planner.rules import read
from solvers import Budget
from tests.rows import FixedSource, cluster, node, recorded, vm
from tests.test_preconditions import genuine, recorded_source


def open_to(formulation: Formulation) -> dict[int, set[str]]:
    """vmid to the nodes to which a solver may migrate it."""
    problem = formulation.problem
    result = {}
    for guest in range(problem.guests):
        nodes = problem.eligibility[problem.eligible[guest]] & (np.arange(problem.nodes) != problem.origin[guest])
        there = np.flatnonzero(nodes) if problem.movable[guest] else []
        result[formulation.vmid(guest)] = {formulation.nodes[n] for n in there}
    return result


def asked(source: FixedSource, resources: str, policy: Policy) -> Formulation:
    found = cluster(*recorded(resources), **{"/cluster/ha/rules": recorded("ha_rules")})
    answers = ask(source, found.guests, found.snapshot.answers)
    known = replace(found, snapshot=with_answers(found.snapshot, answers))
    return formulate(known, read(known), policy)


def test_the_genuine_answers_make_every_guest_eligible_where_proxmox_would_run_it() -> None:
    formulation = asked(recorded_source(), "cluster_resources", Policy())
    assert open_to(formulation) == {
        100: {"pve2", "pve3"},
        101: set(),  # a local disk
        102: {"pve2"},  # an HA rule keeps it on pve1 and pve2; 103, which is there today, may leave
        103: {"pve1", "pve3"},
        104: {"pve1"},  # storage ceph is not on pve3
        105: set(),  # a device of its node
        106: set(),  # locked
        200: {"pve1", "pve3"},
    }
    assert "ceph" in formulation.barred[104]["pve3"]
    assert "hostpci0" in formulation.fixed[105] and "backup" in formulation.fixed[106]
    assert "local disks" in formulation.fixed[101]


def test_with_local_disks_their_size_as_proxmox_tells_it_is_copied() -> None:
    formulation = asked(recorded_source(), "cluster_resources", Policy(with_local_disks=True))
    guest = list(formulation.guests["vmid"]).index(101)
    memory = int(formulation.guests["memory_used_mib"].iloc[guest])
    assert int(formulation.problem.copy_mib[guest]) == memory + 32 * 1024


def test_an_offline_node_is_no_target_though_proxmox_allows_it() -> None:
    path, answer = genuine("offline_precond_100")
    assert "pve3" in answer["allowed_nodes"]
    formulation = asked(FixedSource({path: answer}), "offline_cluster_resources", Policy())
    assert open_to(formulation)[100] == {"pve1"} and formulation.nodes == ("pve1", "pve2")
    assert set(open_to(formulation)) == {100, 101, 102, 103, 104, 200}  # those of pve3 are left alone


def planned(source: FixedSource, *rows: Any) -> tuple[Any, int]:
    """A plan, and how many calls about guests it took."""
    policy = Policy(time_limit=5)
    plan = checked_plan(cluster(*rows), policy, ClusterPolicy(), "descent", Budget(seconds=5), source)
    calls = Counter(source.asked)
    of_guests = {path for path in calls if "/qemu/" in path}
    tasks = {path for path in calls if path.endswith("/tasks")}
    assert all(calls[path] == 2 for path in tasks), "past migrations are listed once for machines, once for containers"
    assert all(calls[path] == 1 for path in calls.keys() - tasks)
    assert len(tasks) <= 3 and len(calls) <= len(of_guests) + len(tasks) + 3  # and of each node its CPUs
    return plan, len(of_guests)


def test_a_plan_that_migrates_nothing_asks_proxmox_nothing() -> None:
    plan, calls = planned(FixedSource({}), node("a"), node("b"), vm(1, "a"), vm(2, "b"))
    assert plan.migrations == () and calls == 0


def test_only_guests_that_a_plan_would_migrate_are_asked_about_and_what_is_refused_is_planned_around() -> None:
    guests = [vm(vmid, "a", gib=1 + vmid % 5) for vmid in range(1, 301)]
    rows = (node("a", gib=2048), node("b", gib=2048), node("c", gib=2048), *guests)
    free = {"allowed_nodes": ["b", "c"], "not_allowed_nodes": {"b": {}, "c": {}}, "local_disks": [],
            "local_resources": [], "running": 1}  # fmt: skip
    no_b = free | {"allowed_nodes": ["c"], "not_allowed_nodes": {"b": {"unavailable_storages": ["ceph"]}, "c": {}}}
    refused = set(range(1, 301, 7))
    answers = {f"/nodes/a/qemu/{v}/migrate": no_b if v in refused else free for v in range(1, 301)}
    plan, calls = planned(FixedSource(answers), *rows)
    assert len(plan.migrations) <= calls <= 300
    assert all(m.target == "c" for m in plan.migrations if m.vmid in refused)
    assert plan.spread.after < 1
