"""Claims about what must be true before a run and before each migration, over TLS against a cluster that changes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner import collect, snapshot
from planner.assumptions import check_assumptions
from planner.clock import FastClock
from planner.cluster import Cluster
from planner.errors import Drift, Locked, PlannerError, StalePlan
from planner.gate import Gate
from planner.plan import Assumes, Migration, Plan
from planner.policy import Apply, Policy
from planner.policy import Cluster as ClusterPolicy
from planner.pve import Pve
from planner.rules import read
from planner.run import Moved
from tests import plans, rows
from tests.fakecluster import GIB, TOKEN_ID, FakeCluster, Served, serving

NOW = 1_800_000_000.0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """pve1 and pve2 with room, pve3 full but for 6 GiB; a mate of 100 goes along with it."""
    fake = FakeCluster()
    for name in ("pve1", "pve2", "pve3"):
        fake.add_node(name, maxmem=32 * GIB)
    for vmid in (100, 101):
        fake.add_guest(vmid, "pve1", tags="plb_affinity_a")
    fake.add_guest(102, "pve1")
    fake.add_guest(103, "pve1", tags="plb_anti_affinity_b")
    fake.add_guest(104, "pve2", tags="plb_anti_affinity_b")
    fake.add_guest(105, "pve3", gib=24)
    fake.add_guest(200, "pve1", "lxc", gib=1)
    fake.add_guest(106, "pve1", status="stopped")
    with serving(fake, tmp_path) as server:
        yield server


@pytest.fixture
def pve(served: Served) -> Iterator[Pve]:
    with Pve(served.connection()) as session:
        yield session


def cluster_now(source: Any) -> Cluster:
    return collect.collect(snapshot.take(source))


def planned(source: Any, *wanted: tuple[int, str], **changes: Any) -> Plan:
    """A plan that migrates these guests; those that are named one after the other travel by themselves."""
    cluster = cluster_now(source)
    found: dict[int, Any] = {int(row.vmid): row for row in cluster.guests.itertuples()}  # type: ignore[arg-type]
    migrations = []
    for number, (vmid, target) in enumerate(wanted, 1):
        row = found[vmid]
        facts = {"type": row.type, "running": row.status != "stopped", "bundle": number, "name": "", **changes}
        migrations.append(replace(plans.migration(number, vmid, row.node, target), **facts))
    rules = read(cluster)
    places = {int(vmid): str(node) for vmid, node in zip(cluster.guests["vmid"], cluster.guests["node"], strict=True)}
    states = {name: state.value for name, state in rules.states.items()}
    return plans.plan(*migrations, assumes=Assumes(places, states, rules.digest()))


def gate(source: Any, plan: Plan, policy: Policy | None = None, settings: ClusterPolicy | None = None,
         apply: Apply | None = None, me: str = TOKEN_ID, clock: FastClock | None = None) -> Gate:  # fmt: skip
    policy, settings, apply = policy or Policy(), settings or ClusterPolicy(), apply or Apply()
    return Gate(source, plan, policy, settings, apply, clock=clock or FastClock(), me=me)


def checked(source: Any, plan: Plan, number: int = 1, under_way: tuple[Migration, ...] = (), **more: Any) -> None:
    gate(source, plan, **more).check(plan.migrations[number - 1], under_way)


# ----------------------------------------------------------- before a migration: guest and target


def test_a_migration_of_which_all_is_as_planned_may_start_and_nothing_is_changed_by_asking(
    served: Served, pve: Pve
) -> None:
    plan = planned(pve, (102, "pve2"), (200, "pve2"), (106, "pve3"), (100, "pve2"))
    one = gate(pve, plan)
    one.before_run(NOW)
    for migration in plan.migrations:
        one.check(migration, ())
    assert served.sent("POST") == 0


def guest(vmid: int, **facts: Any) -> Callable[[FakeCluster], None]:
    def change(fake: FakeCluster) -> None:
        for name, value in facts.items():
            setattr(fake.guest(vmid), name, value)

    return change


def node(name: str, **facts: Any) -> Callable[[FakeCluster], None]:
    return lambda fake: fake.nodes[name].update(facts)


def gone(fake: FakeCluster) -> None:
    fake.vms.remove(fake.vm(102))


def no_node(fake: FakeCluster) -> None:
    del fake.nodes["pve2"]
    fake.vms.remove(fake.vm(104))


def ignored(fake: FakeCluster) -> None:
    fake.vm(102).config["tags"] = "plb_ignore_me"


def pinned(fake: FakeCluster) -> None:
    fake.vm(102).config["tags"] = "plb_pin_pve3"


def without_quorum(fake: FakeCluster) -> None:
    fake.quorate = False


def balancing(fake: FakeCluster) -> None:
    fake.options["crs"] = {"ha": "static", "ha-auto-rebalance": 1}
    fake.vm(102).ha_state = "started"


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (gone, Drift, "guest 102 is gone: make a new plan"),
        (guest(102, node="pve3"), Drift, "guest 102 is on pve3, not on pve1"),
        (guest(102, status="stopped"), Drift, "guest 102 was stopped"),
        (guest(102, lock="backup"), Locked, "guest 102 is being backed up"),
        (guest(102, lock="snapshot"), Locked, r"guest 102 is locked \(snapshot\)"),
        (guest(102, ha_state="migrate"), Locked, r"guest 102 is locked \(migrate\)"),
        (guest(102, pci=True), Drift, "guest 102 can no longer be migrated: it uses hostpci0 of its node"),
        (guest(102, local_disk=True), Drift, "guest 102 has local disks, of which the plan does not know"),
        (guest(102, missing_storages={"pve2": ["tank"]}), Drift, "may no longer go to pve2: it lacks storage tank"),
        (ignored, Drift, r"guest 102 shall stay where it is \(plb_ignore_me\)"),
        (pinned, Drift, "guest 102 cannot go to pve2 now: guest 102 .* may not be there"),
        (node("pve1", online=False), Drift, "guest 102 is on node pve1, which is offline"),
        (node("pve2", online=False), Drift, "guest 102 cannot go to node pve2, which is offline"),
        (node("pve2", hastate="maintenance"), Drift, "cannot go to node pve2, which is in maintenance"),
        (no_node, Drift, "cannot go to node pve2, which is gone"),
        (node("pve2", base_mem=27 * GIB), Drift,
         "guest 102 cannot go to pve2 now: no room: needs 4.0 GiB of memory, 1.0 GiB left: make a new plan"),
        (without_quorum, PlannerError, "the cluster has no quorum"),
        (balancing, StalePlan, r"Proxmox VE balances HA guests itself \(crs ha-auto-rebalance\), and the plan .* 102"),
    ],
)  # fmt: skip
def test_what_changed_since_the_plan_is_found_before_the_migration(
    served: Served, pve: Pve, change: Any, kind: type[PlannerError], message: str
) -> None:
    plan = planned(pve, (102, "pve2"))
    change(served.pve)
    with pytest.raises(kind, match=message) as caught:
        checked(pve, plan)
    assert "\n" not in str(caught.value) and served.sent("POST") == 0


def test_a_guest_that_was_started_or_became_another_one_is_not_migrated(served: Served, pve: Pve) -> None:
    plan = planned(pve, (106, "pve2"))
    served.pve.vm(106).status = "running"
    with pytest.raises(Drift, match="guest 106 was started"):
        checked(pve, plan)
    with pytest.raises(Drift, match="guest 106 is another one: a vm, not a ct"):
        checked(pve, planned(pve, (106, "pve2"), type="ct"))


def test_nodes_that_the_operator_names_receive_nothing(pve: Pve) -> None:
    plan = planned(pve, (102, "pve2"))
    with pytest.raises(Drift, match="node pve2, which is in maintenance"):
        checked(pve, plan, settings=ClusterPolicy(maintenance_nodes=("pve2",)))
    with pytest.raises(Drift, match="node pve2, which is ignored"):
        checked(pve, plan, settings=ClusterPolicy(ignore_nodes=("pve2",)))
    checked(pve, plan, settings=ClusterPolicy(maintenance_nodes=("pve3",)))


def test_a_backup_that_has_not_locked_the_guest_yet_counts(served: Served, pve: Pve) -> None:
    plan = planned(pve, (102, "pve2"), (100, "pve2"))
    served.pve.time_scale = 1.0
    served.run(served.pve.backup(102, 60))
    served.pve.vm(102).lock = None
    with pytest.raises(Locked, match=r"guest 102 is being backed up \(task UPID:pve1:.*vzdump:102"):
        checked(pve, plan)
    checked(pve, plan, 2)


def test_maintenance_counts_where_only_the_manager_tells_of_it() -> None:
    status = [{"id": "lrm:b", "node": "b", "type": "lrm", "status": "b (maintenance mode, Mon Nov 23 12:00:00 2026)"}]
    answers = rows.KNOWN | {"/cluster/resources": [rows.node("a"), rows.node("b"), rows.node("c"), rows.vm(100, "a")]}
    plan = planned(rows.FixedSource(answers), (100, "b"), (100, "c"))
    answers["/cluster/ha/status/current"] = status
    with pytest.raises(Drift, match="node b, which is in maintenance"):
        checked(rows.FixedSource(answers), plan)
    checked(rows.FixedSource(answers), plan, 2)


# ------------------------------------------------------------------ room and rules, with others under way


def test_room_counts_with_those_that_are_under_way_at_both_ends(served: Served, pve: Pve) -> None:
    plan = planned(pve, (102, "pve3"), (106, "pve3"), (104, "pve3"))
    first, stopped, other = plan.migrations
    watched = gate(pve, plan)
    watched.before_run(NOW)
    watched.check(first, ())  # 2 + 24 + 4 of 32 GiB
    watched.check(stopped, (first,))  # it needs no room
    with pytest.raises(Drift, match=r"needs 4.0 GiB of memory, 2.0 GiB left"):
        watched.check(other, (first, stopped))
    served.pve.add_guest(107, "pve1", gib=18)
    plan = planned(pve, (105, "pve2"), (107, "pve3"))
    with pytest.raises(Drift, match=r"needs 18.0 GiB of memory, 6.0 GiB left"):  # 105 counts until it has left
        checked(pve, plan, 2, (plan.migrations[0],))
    served.pve.vm(105).node = "pve2"
    checked(pve, plan, 2)


def test_guests_to_be_kept_apart_do_not_meet_even_for_a_moment(served: Served, pve: Pve) -> None:
    plan = planned(pve, (103, "pve2"), (104, "pve3"), (103, "pve3"))
    with pytest.raises(Drift, match="guest 103 cannot go to pve2 now: it would break plb_anti_affinity_b"):
        checked(pve, plan)
    leaving = plan.migrations[1]
    for number in (1, 3):
        with pytest.raises(Drift, match="it would break plb_anti_affinity_b"):
            checked(pve, plan, number, (leaving,))
    checked(pve, plan, 3)
    served.pve.vm(104).node = "pve3"
    checked(pve, plan, 1)


def test_a_rule_that_gives_way_does_not_stop_a_run(served: Served, pve: Pve) -> None:
    plan = planned(pve, (103, "pve2"))
    checked(pve, plan, settings=ClusterPolicy(should={"plb_anti_affinity_*": 1.0}))


def test_a_rule_that_a_way_back_breaks_knowingly_does_not_stop_it(served: Served, pve: Pve) -> None:
    plan = planned(pve, (103, "pve2"))
    with pytest.raises(Drift, match="it would break plb_anti_affinity_b"):
        checked(pve, plan)
    checked(pve, replace(plan, lifted=("plb_anti_affinity_b",)))


def test_guests_that_travel_together_need_room_together(served: Served, pve: Pve) -> None:
    plan = planned(pve, (100, "pve3"), (101, "pve3"), bundle=1)
    first, second = plan.migrations
    with pytest.raises(Drift, match=r"needs 8.0 GiB of memory, 6.0 GiB left"):
        checked(pve, plan)
    served.pve.nodes["pve3"]["base_mem"] = 0
    checked(pve, plan)
    checked(pve, plan, 2, (first,))
    served.pve.vm(100).node = "pve3"
    checked(pve, plan, 2)
    checked(pve, plan, 2, (first,))
    served.pve.vm(105).stats["memhost"] = 25 * GIB
    with pytest.raises(Drift, match=r"needs 4.0 GiB of memory, 3.0 GiB left"):
        checked(pve, plan, 2)
    assert second.vmid == 101


class Figures:
    """A cluster of which the figures of nodes are set by hand, as they lag or run ahead."""

    def __init__(self) -> None:
        self.guests = {100: ("a", 20.0), 101: ("c", 4.0)}
        self.used = {"a": 22.0, "b": 2.0, "c": 6.0}

    def get(self, path: str, **params: Any) -> Any:
        nodes = [rows.node(name, 32, used) for name, used in self.used.items()]
        table = [*nodes, *(rows.vm(vmid, on, gib) for vmid, (on, gib) in self.guests.items())]
        return rows.FixedSource(rows.KNOWN | {"/cluster/resources": table}).get(path, **params)

    def post(self, path: str, **data: Any) -> Any:
        raise AssertionError(path)


def test_what_has_been_copied_so_far_is_not_counted_twice() -> None:
    source, clock = Figures(), FastClock()
    plan = planned(source, (100, "b"), (101, "b"))
    first, second = plan.migrations
    watched = gate(source, plan, clock=clock)
    watched.before_run(NOW)
    watched.check(first, ())
    source.used["b"] = 17.0  # 15 of 20 GiB are there
    watched.check(second, (first,))  # 2 + 20 + 4
    source.guests[100] = ("b", 20.0)  # it has arrived, and figures lag either way
    for used in (2.0, 12.0, 22.0):
        source.used["b"] = used
        watched.check(second, ())
    clock.sleep(60)
    source.used["b"] = 30.0  # by now they do not
    with pytest.raises(Drift, match=r"needs 4.0 GiB of memory, 2.0 GiB left"):
        watched.check(second, ())
    source.used["b"] = 22.0
    watched.check(second, ())


def test_what_a_node_needs_more_for_itself_counts_even_with_guests_under_way() -> None:
    source = Figures()
    plan = planned(source, (100, "b"), (101, "b"))
    watched = gate(source, plan)
    watched.check(plan.migrations[0], ())
    source.used["b"] = 30.0  # 20 of them may be the guest that comes, the rest cannot be
    with pytest.raises(Drift, match=r"needs 4.0 GiB of memory, 2.0 GiB left"):
        watched.check(plan.migrations[1], (plan.migrations[0],))


def test_disks_that_are_being_copied_are_not_counted_twice() -> None:
    class Disks(Figures):
        copied = 0.0

        def get(self, path: str, **params: Any) -> Any:
            nodes = [rows.node(name, 64, 8) for name in ("a", "b")]
            stores = [rows.storage("lvm", "a", 100, 60), rows.storage("lvm", "b", 100, 10 + self.copied)]
            table = [*nodes, *stores, rows.vm(100, "a", 1), rows.vm(101, "a", 1)]
            at = "/nodes/{}/storage/lvm/content".format
            there = [rows.volume(100, self.copied)] if self.copied else []
            answers = {
                "/cluster/resources": table,
                at("a"): [rows.volume(100, 40), rows.volume(101, 20)],
                at("b"): there,
            }
            return rows.FixedSource(rows.KNOWN | answers).get(path, **params)

    source = Disks()
    plan = planned(source, (100, "b"), (101, "b"), local_disk_mib=20 * 1024)
    first, second = plan.migrations
    watched = gate(source, plan, Policy(with_local_disks=True))
    watched.check(first, ())
    source.copied = 35.0
    watched.check(second, (first,))  # 10 + 40 + 20 of 100 GiB
    source.copied = 40.0
    watched.check(second, (first,))


# --------------------------------------------------------------------------------- before a run


def test_a_plan_that_no_longer_fits_is_refused_as_a_whole(served: Served, pve: Pve) -> None:
    plan = planned(pve, (102, "pve2"))
    served.pve.vm(104).node = "pve3"
    with pytest.raises(StalePlan, match="the plan is stale: guest 104 is on pve3, not on pve2; make a new plan"):
        gate(pve, plan).before_run(NOW)


def test_of_a_run_that_is_resumed_guests_are_where_it_has_brought_them(served: Served, pve: Pve) -> None:
    plan = planned(pve, (102, "pve2"), (200, "pve2"))
    first, second = plan.migrations
    served.pve.vm(102).node = "pve2"
    with pytest.raises(StalePlan, match="guest 102 is on pve2, not on pve1"):
        gate(pve, plan).before_run(NOW)
    gate(pve, plan).before_run(NOW, done=(first,))
    gate(pve, plan).before_run(NOW, under_way=(first,))
    with pytest.raises(StalePlan, match="guest 200 is on pve1, not on pve2"):
        check_assumptions(plan, cluster_now(pve), done=(first, second))
    served.pve.vm(102).node = "pve3"
    with pytest.raises(StalePlan, match="guest 102 is on pve3, not on pve1 or pve2"):
        gate(pve, plan).before_run(NOW, under_way=(first,))


def test_a_migration_by_another_run_or_of_a_guest_of_the_plan_is_waited_for(served: Served, pve: Pve) -> None:
    plan = planned(pve, (102, "pve2"))
    (migration,) = plan.migrations
    served.pve.time_scale = 1.0
    upid = served.run(served.pve.migrate(103, "pve3", 60, TOKEN_ID))
    with pytest.raises(Locked, match=rf"guest 103 is being migrated by {TOKEN_ID}, as another run \(task UPID"):
        gate(pve, plan).before_run(NOW)
    gate(pve, plan).before_run(NOW, known={upid})
    gate(pve, plan, me="root@pam!other").before_run(NOW)
    served.run(served.pve.migrate(102, "pve3", 60, "alice@pve"))
    with pytest.raises(Locked, match=r"guest 102 of the plan is being migrated by alice@pve \(task UPID"):
        gate(pve, plan, me="").before_run(NOW)
    gate(pve, plan, me="").before_run(NOW, under_way=(migration,))


def test_a_guest_that_the_ha_manager_is_taking_elsewhere_is_waited_for(served: Served, pve: Pve) -> None:
    plan = planned(pve, (102, "pve2"))
    served.pve.vm(102).ha_state = "relocate"
    with pytest.raises(Locked, match="guest 102 of the plan is being taken elsewhere by the HA manager"):
        gate(pve, plan).before_run(NOW)


def test_two_balancers_on_the_same_guests_are_refused_unless_that_is_wanted(served: Served, pve: Pve) -> None:
    balancing(served.pve)
    plan = planned(pve, (102, "pve2"))
    with pytest.raises(StalePlan, match="or say --with-ha-guests"):
        gate(pve, plan).before_run(NOW)
    gate(pve, plan, Policy(with_ha_guests=True)).before_run(NOW)
    gate(pve, planned(pve, (200, "pve2"))).before_run(NOW)


def test_without_quorum_no_run_begins(served: Served, pve: Pve) -> None:
    plan = planned(pve, (102, "pve2"))
    without_quorum(served.pve)
    with pytest.raises(PlannerError, match="the cluster has no quorum"):
        gate(pve, plan).before_run(NOW)


def test_a_guest_that_an_earlier_run_took_away_is_not_sent_back(pve: Pve) -> None:
    plan = planned(pve, (102, "pve2"))
    earlier = (Moved(102, "pve2", "pve1", NOW - 3600, 7),)
    with pytest.raises(StalePlan, match=r"guest 102 was taken away from pve2 on .* sends it back within 24 hours"):
        gate(pve, plan).before_run(NOW, moved=earlier)
    gate(pve, plan, apply=Apply(no_return=0.5)).before_run(NOW, moved=earlier)
