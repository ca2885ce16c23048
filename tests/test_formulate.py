"""Claims about the problem that a cluster and a policy make."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.cluster import Cluster
from planner.collect import collect
from planner.errors import ConfigError, Exit, Forbidden, InputError
from planner.formulate import Formulation
from planner.planning import make_plan, prepare
from planner.policy import Cluster as ClusterPolicy
from planner.policy import GuestType, Mode, Policy, Reserve, Resource
from planner.snapshot import content_path, load
from solvers import check
from solvers.problem import PPM, Apart
from tests.rows import DATA, cluster, ct, formulated, node, offline, recorded, stopped, storage, vm, volume

TIGHT = Policy(balanciness=0)


def allowed(formulation: Formulation) -> dict[int, set[str]]:
    """vmid to the nodes on which it may be."""
    p = formulation.problem
    return {
        formulation.vmid(g): {formulation.nodes[n] for n in np.flatnonzero(p.eligibility[p.eligible[g]])}
        for g in range(p.guests)
    }


def today(formulation: Formulation) -> list[float]:
    """Percent of each node."""
    p = formulation.problem
    return [float(load) * 100 / PPM for load in p.loads(p.origin)[0]]


def broken(formulation: Formulation) -> list[tuple[str, list[int]]]:
    p = formulation.problem
    return [(v.rule.value, [formulation.vmid(g) for g in v.guests]) for v in check.violations(p, p.origin)]


def moves(source: Cluster, policy: Policy = TIGHT, settings: ClusterPolicy | None = None) -> dict[int, str]:
    """vmid to target of the greedy plan."""
    return {m.vmid: m.target for m in make_plan(prepare(source, policy, settings), "greedy").migrations}


# Who is in the problem


def test_indices_follow_the_order_of_names_and_vmids() -> None:
    found = formulated(cluster(vm(9, "b"), node("b"), vm(3, "a"), node("c"), node("a")))
    assert found.nodes == ("a", "b", "c")
    assert [found.vmid(g) for g in range(2)] == [3, 9]
    assert list(found.problem.origin) == [0, 1]


def test_templates_offline_nodes_and_their_guests_are_left_out() -> None:
    unknown = {"id": "qemu/4", "type": "qemu", "vmid": 4, "node": "c", "status": "unknown"}
    found = formulated(
        cluster(node("a"), node("b"), offline("c"), vm(1, "a"), vm(2, "b", template=1), vm(3, "c"), unknown)
    )
    assert found.nodes == ("a", "b")
    assert list(found.guests["vmid"]) == [1]


@pytest.mark.parametrize("rows", [[node("a"), node("b")], [node("a")], [node("a"), vm(1, "a")]])
def test_a_cluster_without_guests_or_with_one_node_is_a_problem_without_migrations(rows: list[Any]) -> None:
    found = formulated(cluster(*rows))
    assert (found.problem.nodes, found.problem.guests) == (len(found.nodes), len(found.guests))
    assert moves(cluster(*rows)) == {}


def test_without_a_node_to_balance_there_is_no_problem() -> None:
    with pytest.raises(InputError, match="no node to plan for: a is maintenance, b is offline, c is ignored"):
        formulated(
            cluster(node("a", hastate="maintenance"), offline("b"), node("c"), vm(1, "a")),
            settings=ClusterPolicy(ignore_nodes=("c",)),
        )


def test_the_recorded_cluster_can_be_planned_for() -> None:
    found = formulated(cluster(*recorded("cluster_resources")))
    assert found.nodes == ("pve1", "pve2", "pve3")
    assert 900 not in set(found.guests["vmid"])
    assert found.fixed == {106: "it is locked (backup)"}
    down = formulated(cluster(*recorded("offline_cluster_resources")))
    assert down.nodes == ("pve1", "pve2") and 105 not in set(down.guests["vmid"])


# What the token sees


HALF = [node("a", used=9), node("b"), node("c", maxmem=None, mem=None, cpu=None, maxcpu=None), vm(1, "a"), vm(2, "c")]


@pytest.mark.parametrize(
    ("rows", "answers", "said"),
    [
        (HALF, {}, "node c has no figures"),
        (HALF[:2], {"/access/permissions": {"/": {"Sys.Audit": 1}}}, "the token lacks VM.Audit on /vms"),
    ],
)
def test_half_a_picture_is_refused(rows: list[Any], answers: dict[str, Any], said: str) -> None:
    source = cluster(*rows, **answers)
    with pytest.raises(Forbidden, match=f"{said}.*--allow-partial") as caught:
        formulated(source)
    assert caught.value.exit_code == Exit.FORBIDDEN == 77
    assert any(said in note for note in make_plan(prepare(source, Policy(allow_partial=True)), "greedy").notes)


def test_nodes_without_figures_are_left_out_of_a_partial_plan() -> None:
    found = formulated(cluster(*HALF), Policy(allow_partial=True))
    assert found.nodes == ("a", "b")
    assert list(found.guests["vmid"]) == [1]


# Loads


def test_loads_today_are_what_the_nodes_show_to_one_ppm() -> None:
    for name in ("S-1", "M-1"):
        source = collect(load(DATA / "instances" / f"{name}.json.gz"))
        for resource, total in ((Resource.MEMORY, "memory_mib"), (Resource.CPU, "cpu_mcpu")):
            found = formulated(source, Policy(resource=resource))
            used = source.nodes[total.replace("_m", "_used_m")] / source.nodes[total]
            assert np.abs(found.problem.loads(found.problem.origin)[0] - used * PPM).max() <= 1
            assert (found.problem.base[0] >= -found.problem.guests).all()


def test_what_a_node_uses_itself_stays_on_it() -> None:
    source = cluster(node("a", 100, used=50), node("b", 100, used=10), vm(1, "a", 20), vm(2, "b", 10))
    found = formulated(source)
    assert today(found) == [50, 10]
    assert list(found.problem.base[0]) == [300_000, 0]
    assert list(found.problem.loads(np.array([1, 1]))[0]) == [300_000, 300_000]


def test_guests_that_use_more_than_their_node_shows_are_believed() -> None:
    assert today(formulated(cluster(node("a", 100, used=10), node("b", 100), vm(1, "a", 30)))) == [30, 0]


def test_cpu_is_balanced_in_threads() -> None:
    source = cluster(node("a", threads=10, cpu=0.5), node("b", threads=20, cpu=0.1), vm(1, "a", maxcpu=4, cpu=0.5))
    assert today(formulated(source, Policy(resource=Resource.CPU))) == [50, 10]
    assert today(formulated(source, Policy(resource=Resource.CPU, mode=Mode.ASSIGNED))) == [40, 0]


def test_assigned_looks_at_configured_figures_alone() -> None:
    source = cluster(node("a", 100, used=50), node("b", 100, used=50), vm(1, "a", 20, used=1), vm(2, "b", 150))
    assert today(formulated(source, Policy(mode=Mode.ASSIGNED))) == [20, 150]


def test_local_disks_are_balanced_from_what_is_on_local_storage() -> None:
    source = cluster(
        node("a"), node("b"), vm(1, "a"), stopped(2, "a"), storage("s", "a", 100, 60), storage("s", "b", 200, 20),
        **{content_path("a", "s"): [volume(1, 30), volume(2, 20)], content_path("b", "s"): []},
    )  # fmt: skip
    found = formulated(source, Policy(resource=Resource.DISK, with_local_disks=True))
    assert today(found) == [60, 10]
    assert list(found.problem.demand[0]) == [30 * 1024, 20 * 1024], "a stopped guest has disks too"
    assert list(found.problem.copy_mib) == [(4 + 30) * 1024, 20 * 1024]
    assert list(found.problem.capacity[:, 1]) == [90 * 1024, 180 * 1024], "what is not of guests fills a storage too"
    assigned = formulated(source, Policy(resource=Resource.DISK, with_local_disks=True, mode=Mode.ASSIGNED))
    assert today(assigned) == [50, 0]


# Room


def test_a_target_must_hold_what_guests_use_or_are_configured_with() -> None:
    source = cluster(node("a", 100, used=40), node("b", 100, used=5), vm(1, "a", 80, used=30))
    used, assigned = (formulated(source, Policy(fit=fit)).problem for fit in Mode)
    assert (list(used.needs[:, 0]), list(used.capacity[:, 0])) == ([30 * 1024], [90 * 1024, 95 * 1024])
    assert (list(assigned.needs[:, 0]), list(assigned.capacity[:, 0])) == ([80 * 1024], [100 * 1024, 100 * 1024])


def test_a_reserve_takes_from_what_a_node_can_give() -> None:
    source = cluster(node("a", 100, used=45), node("b", 100, used=20), vm(1, "a", 10))
    found = formulated(source, Policy(reserve={"default": Reserve(memory=10), "b": Reserve(memory=50)}))
    assert today(found) == [50, 40]
    assert list(found.problem.capacity[:, 0]) == [(90 - 35) * 1024, (50 - 20) * 1024]


def test_a_reserve_of_one_node_replaces_the_default() -> None:
    source = cluster(node("a", threads=10, cpu=0.4), node("b", threads=10, cpu=0.4))
    policy = Policy(resource=Resource.CPU, reserve={"default": Reserve(cpu=2), "b": Reserve(memory=1)})
    assert today(formulated(source, policy)) == [50, 40]


@pytest.mark.parametrize("name", ["default", "b"])
@pytest.mark.parametrize("amount", [32, 33])
def test_a_reserve_that_leaves_a_node_nothing_is_refused(name: str, amount: float) -> None:
    with pytest.raises(ConfigError, match=r"policy\.reserve leaves node b no memory: lower it"):
        formulated(cluster(node("a", 64), node("b", 32)), Policy(reserve={name: Reserve(memory=amount)}))


def test_a_reserve_of_a_node_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"policy\.reserve names node zz, which does not exist: there are a, b"):
        formulated(cluster(node("a"), node("b")), Policy(reserve={"zz": Reserve(memory=1)}))


def test_a_reserve_of_a_node_that_is_down_is_no_mistake() -> None:
    assert formulated(cluster(node("a"), offline("b")), Policy(reserve={"b": Reserve(memory=1)})).nodes == ("a",)


# Rules


RULED = [
    node("a", used=40), node("b", used=4), node("c", used=4), vm(1, "a", tags="plb_affinity_x"),
    vm(2, "b", tags="plb_affinity_x;plb_anti_affinity_y"), ct(3, "c", tags="plb_anti_affinity_y;plb_affinity_alone"),
    vm(4, "a", tags="plb_pin_b;plb_pin_C"), vm(5, "a", tags="plb_ignore;plb_pin_c"), vm(6, "a", tags="plb_pin_zz"),
]  # fmt: skip


def test_groups_of_two_or_more_become_groups_of_the_problem() -> None:
    found = formulated(cluster(*RULED))
    assert (found.together, found.problem.together) == (("plb_affinity_x",), ((0, 1),))
    assert (found.apart, found.problem.apart) == (("plb_anti_affinity_y",), (Apart.of((1, 2)),))


def test_members_of_a_group_on_a_node_that_is_down_do_not_count() -> None:
    rows = [offline("a") if row.get("id") == "node/a" else row for row in RULED]
    assert formulated(cluster(*rows)).together == ()


def test_pins_restrict_nodes_and_pins_to_no_node_do_not() -> None:
    found = allowed(formulated(cluster(*RULED)))
    assert found[4] == {"b", "c"}
    assert found[1] == found[6] == {"a", "b", "c"}


def test_an_ignored_guest_stays_and_breaks_no_rule_by_it() -> None:
    found = formulated(cluster(*RULED))
    assert found.fixed == {5: "tag plb_ignore"}
    assert broken(found) == [("eligible", [4]), ("together", [2])]
    assert not found.problem.movable[4] and found.problem.movable.sum() == 5


@pytest.mark.parametrize(
    ("facts", "settings"),
    [({"hastate": "maintenance"}, ClusterPolicy()), ({}, ClusterPolicy(maintenance_nodes=("a",)))],
)
def test_a_node_in_maintenance_is_emptied_of_stopped_guests_too(facts: Any, settings: ClusterPolicy) -> None:
    source = cluster(node("a", used=8, **facts), node("b"), node("c"), vm(1, "a"), ct(2, "a"), stopped(3, "a"))
    found = formulated(source, settings=settings)
    assert allowed(found) == {vmid: {"b", "c"} for vmid in (1, 2, 3)}
    assert list(found.problem.balanced) == [False, True, True]
    assert list(found.problem.needs[:, 0]) == [4096, 4096, 0] and found.problem.demand[0, 2] == 0
    assert set(moves(source, settings=settings)) == {1, 2, 3}


def test_what_must_stay_in_maintenance_is_said() -> None:
    source = cluster(
        node("a", hastate="maintenance"), node("b"), vm(1, "a", lock="backup"), vm(2, "a", tags="plb_ignore")
    )
    plan = make_plan(prepare(source, Policy()), "greedy")
    assert plan.migrations == ()
    assert [(s.vmid, s.reason) for s in plan.stranded] == [
        (1, "stays in maintenance: it is locked (backup)"), (2, "stays in maintenance: tag plb_ignore"),
    ]  # fmt: skip


def test_an_ignored_node_keeps_its_guests_receives_none_and_does_not_count() -> None:
    source = cluster(node("a", used=32), node("b", used=8), node("c"), vm(1, "a", 16), vm(2, "a", 16), vm(3, "b", 8))
    settings = ClusterPolicy(ignore_nodes=("c",))
    found = formulated(source, settings=settings)
    assert list(found.problem.balanced) == [True, True, False]
    assert allowed(found)[1] == {"a", "b"}
    targets = set(moves(source, settings=settings).values())
    assert targets and "c" not in targets
    emptied = formulated(source, settings=ClusterPolicy(ignore_nodes=("a",)))
    assert emptied.fixed == {1: "node a is ignored", 2: "node a is ignored"}
    assert broken(emptied) == []


@pytest.mark.parametrize(("guests", "fixed"), [(GuestType.VM, {2}), (GuestType.CT, {1}), (GuestType.ALL, set[int]())])
def test_only_guests_of_the_chosen_type_are_migrated(guests: GuestType, fixed: set[int]) -> None:
    found = formulated(cluster(node("a"), node("b"), vm(1, "a"), ct(2, "a")), Policy(guests=guests))
    assert set(found.fixed) == fixed
    assert all(found.fixed[vmid] == f"only {guests} guests are planned" for vmid in fixed)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [({"lock": "migrate"}, "it is locked (migrate)"), ({"status": "unknown"}, "its status is unknown")],
)
def test_a_guest_that_cannot_go_now_is_fixed(facts: Any, reason: str) -> None:
    assert formulated(cluster(node("a"), node("b"), vm(1, "a", **facts))).fixed == {1: reason}


def test_a_guest_with_local_disks_stays_unless_they_are_to_be_copied() -> None:
    source = cluster(
        node("a", used=8), node("b"), vm(1, "a"), vm(2, "a"), storage("s", "a"), storage("s", "b", 5),
        **{content_path("a", "s"): [volume(1, 10)], content_path("b", "s"): []},
    )  # fmt: skip
    assert formulated(source).fixed == {1: "it has local disks (--with-local-disks copies them)"}
    copied = formulated(source, Policy(with_local_disks=True))
    assert copied.fixed == {}
    assert list(copied.problem.copy_mib) == [(4 + 10) * 1024, 4 * 1024]
    assert [v.rule.value for v in check.broken(copied.problem, np.array([1, 0]))] == ["capacity"], "b has 5 GiB of disk"


def test_a_policy_sets_the_limits() -> None:
    four = cluster(node("a"), *(vm(i, "a") for i in range(1, 5)))
    found = formulated(four, Policy(max_migrations=3, balanciness=2.5))
    assert (found.problem.max_migrations, found.problem.tolerance) == (3, 25_000)


def test_formulating_changes_no_frame(tmp_path: Path) -> None:
    source = cluster(*RULED)
    nodes, guests = source.nodes.copy(deep=True), source.guests.copy(deep=True)
    formulated(source, replace(TIGHT, reserve={"a": Reserve(memory=1)}))
    assert source.nodes.equals(nodes) and source.guests.equals(guests)


def test_the_largest_figures_that_are_believed_do_not_overflow() -> None:
    most = {"maxmem": 2**60, "mem": 2**60, "maxcpu": 2**20, "cpu": 1}
    source = cluster(node("a", **most), node("b", **most | {"mem": 0, "cpu": 0}), vm(1, "a", memhost=None, **most))
    for resource in (Resource.MEMORY, Resource.CPU):
        assert today(formulated(source, Policy(resource=resource))) == [100, 0]
