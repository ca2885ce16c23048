"""Claims about the living cluster that long tests look at: the same life for the same seed, and troubles on time."""

from typing import Any

import pytest

from planner import collect, running, snapshot
from planner.clock import FastClock
from planner.errors import ApiRefused, Unreachable
from planner.snapshot import RESOURCES
from tests.faults import DAY, HOUR, Fault, Faults, Trouble, drawn
from tests.lives import resources
from tests.livingcluster import CROWD, SLOT, LivingCluster

BEGIN = 1_790_000_000.0
TASKS = "/cluster/tasks"


def living(*faults: Fault, seed: int = 0, **more: Any) -> tuple[LivingCluster, FastClock]:
    clock = FastClock(None)
    return LivingCluster(resources(), clock, epoch=BEGIN, faults=faults, seed=seed, **more), clock


def wrong(trouble: Trouble, begin: float = 1.0, end: float = 2.0, node: str = "pve1") -> Fault:
    """A fault within some hours of the beginning."""
    return Fault(trouble, BEGIN + begin * HOUR, BEGIN + end * HOUR, node)


def rows(cluster: LivingCluster) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in cluster.get(RESOURCES)}


def migrated(cluster: LivingCluster, vmid: int, target: str) -> str:
    row = next(row for row in cluster.get(RESOURCES) if row.get("vmid") == vmid)
    flag = {"online": 1} if row["type"] == "qemu" else {"restart": 1}
    return str(cluster.post(f"/nodes/{row['node']}/{row['type']}/{vmid}/migrate", target=target, **flag))


def test_the_same_seed_lives_the_same_life_however_often_it_is_looked_at_and_whoever_migrates() -> None:
    one, slow = living()
    other, fast = living()
    migrated(other, 100, "pve2")
    for _ in range(4):
        slow.sleep(DAY)
        for _ in range(48):
            fast.sleep(DAY / 48)
            other.get(RESOURCES)
        used = [{row["vmid"]: (row["mem"], row["status"]) for row in cluster.get(RESOURCES) if "vmid" in row}
                for cluster in (one, other)]  # fmt: skip
        assert used[0] == used[1]
    assert one.homes()[100] == "pve1" and other.homes()[100] == "pve2"
    assert living(seed=1)[0].spread() == living()[0].spread(), "it begins as it is told"
    another, clock = living(seed=1)
    clock.sleep(4 * DAY)
    assert another.spread() != one.spread()


def test_loads_follow_the_day_and_wander_and_guests_come_and_go() -> None:
    cluster, clock = living()
    first, spreads, memory = set(cluster.homes()), [], []
    for _ in range(10 * 144):
        clock.sleep(SLOT)
        spreads.append(cluster.spread())
        memory.append(sum(row["mem"] for row in cluster.get(RESOURCES) if row["type"] == "node"))
    last = set(cluster.homes())
    assert first - last and last - first and 30 < len(last) < 50
    assert max(spreads) - min(spreads) > 10
    days = [memory[day * 144 : (day + 1) * 144] for day in range(10)]
    assert all(max(day) / min(day) > 1.05 for day in days)
    found = collect.collect(snapshot.take(cluster))
    guests = found.guests.groupby("node")["memory_used_mib"].sum()
    own = found.nodes.set_index("node")["memory_used_mib"] - guests
    assert own.between(3 * 1024 - 20, 3 * 1024 + 20).all(), "what nodes use is what their guests use"


def test_a_cluster_that_cannot_be_reached_answers_nothing_and_again_later() -> None:
    cluster, clock = living(wrong(Trouble.UNREACHABLE))
    cluster.get(RESOURCES)
    clock.sleep(HOUR)
    for ask in (lambda: cluster.get(RESOURCES), lambda: migrated(cluster, 100, "pve2")):
        with pytest.raises(Unreachable):
            ask()
    clock.sleep(HOUR)
    assert cluster.get(RESOURCES)


def test_a_node_that_is_offline_says_nothing_of_its_guests_and_what_is_on_its_way_there_does_not_arrive() -> None:
    cluster, clock = living(wrong(Trouble.OFFLINE, node="pve2"))
    clock.sleep(HOUR - 2)
    coming, going = migrated(cluster, 100, "pve2"), migrated(cluster, 101, "pve3")
    clock.sleep(2)
    found = collect.collect(snapshot.take(cluster))
    assert found.nodes.set_index("node")["status"]["pve2"] == "offline"
    there = found.guests[found.guests["node"] == "pve2"]
    assert set(there["status"]) == {"unknown"} and 101 in set(there["vmid"])
    assert cluster.homes()[100] == "pve1"
    assert cluster.get(f"/nodes/pve1/tasks/{coming}/status")["exitstatus"] == "migration aborted"
    with pytest.raises(Unreachable, match="pve2 is away"):
        cluster.get(f"/nodes/pve2/tasks/{going}/status")
    with pytest.raises(ApiRefused, match="offline"):
        migrated(cluster, 100, "pve2")
    clock.sleep(HOUR)
    assert rows(cluster)["qemu/101"]["status"] == "running" and rows(cluster)["node/pve2"]["status"] == "online"


def test_a_backup_job_shows_as_a_task_of_no_guest_and_locks_one_guest_after_the_other() -> None:
    cluster, clock = living(wrong(Trouble.BACKUP, node="pve3"))
    clock.sleep(HOUR)
    locked = set()
    for _ in range(60):
        found = snapshot.take(cluster)
        assert [(task["type"], task["id"]) for task in found.get(TASKS)] == [("vzdump", "")]
        now = [row["vmid"] for row in found.get(RESOURCES) if row.get("lock") == "backup"]
        assert len(now) == 1 and cluster.homes()[now[0]] == "pve3"
        locked.update(now)
        clock.sleep(60)
    assert len(locked) == sum(home == "pve3" for home in cluster.homes().values())
    assert not cluster.get(TASKS) and not any(row.get("lock") for row in cluster.get(RESOURCES))


def test_somebody_else_migrates_a_guest_for_a_while() -> None:
    cluster, clock = living(wrong(Trouble.FOREIGN, node="pve4"))
    before = cluster.homes()
    clock.sleep(1.5 * HOUR)
    (task,) = running.migrations(snapshot.take(cluster))
    assert task.user == "root@pam" and cluster.homes() == before
    with pytest.raises(ApiRefused, match="locked"):
        migrated(cluster, task.vmid, "pve5")
    clock.sleep(0.5 * HOUR)
    assert not running.migrations(snapshot.take(cluster)) and cluster.homes()[task.vmid] == "pve4"
    assert not cluster.asked, "nobody asked for that here"


def test_without_a_quorum_nothing_is_migrated_and_migrations_may_fail() -> None:
    cluster, clock = living(wrong(Trouble.NO_QUORUM), wrong(Trouble.FAILING, 3, 4))
    clock.sleep(HOUR)
    assert [row["quorate"] for row in cluster.get("/cluster/status") if row["type"] == "cluster"] == [0]
    with pytest.raises(ApiRefused, match="no quorum"):
        migrated(cluster, 100, "pve2")
    clock.sleep(2 * HOUR)
    upid = migrated(cluster, 100, "pve2")
    clock.sleep(10)
    assert cluster.get(f"/nodes/pve1/tasks/{upid}/status")["exitstatus"] == "migration aborted"
    clock.sleep(HOUR)
    migrated(cluster, 100, "pve2")
    clock.sleep(HOUR)
    assert cluster.homes()[100] == "pve2"
    assert [(one.vmid, one.source, one.target) for one in cluster.asked] == [(100, "pve1", "pve2")] * 2


def test_the_master_changes_and_the_balancer_is_switched_on_for_a_while() -> None:
    cluster, clock = living(wrong(Trouble.MASTER, node="pve5"), wrong(Trouble.BALANCER))

    def told() -> tuple[Any, Any, bool]:
        current = cluster.get("/cluster/ha/status/current")
        by_manager = cluster.get("/cluster/ha/status/manager_status")["manager_status"]["master_node"]
        return by_manager, *(row["node"] for row in current if row["type"] == "master"), balances()

    def balances() -> bool:
        return collect.rebalances(snapshot.take(cluster))

    assert told() == ("pve1", "pve1", False)
    clock.sleep(HOUR)
    assert told() == ("pve5", "pve5", True)
    clock.sleep(HOUR)
    assert told() == ("pve1", "pve1", False)
    managed = {row["vmid"] for row in cluster.get(RESOURCES) if row.get("hastate")}
    assert managed == {int(row["sid"].split(":")[1]) for row in cluster.get("/cluster/ha/resources")} != set()


def test_somebody_takes_a_handful_of_guests_to_a_node_once() -> None:
    cluster, clock = living(wrong(Trouble.CROWD, node="pve2"), changing=False)
    before = cluster.homes()
    clock.sleep(5 * HOUR)
    after = cluster.homes()
    gone = {vmid for vmid, home in after.items() if before[vmid] != home}
    assert len(gone) == CROWD and {after[vmid] for vmid in gone} == {"pve2"}
    migrated(cluster, gone.pop(), "pve1")
    clock.sleep(HOUR)
    assert len([vmid for vmid, home in cluster.homes().items() if before[vmid] != home]) in (CROWD - 1, CROWD)


def test_drawn_faults_are_of_every_kind_within_their_days() -> None:
    faults = Faults(drawn(BEGIN, 30, ["a", "b"]))
    assert {fault.trouble for fault in faults.all} == set(Trouble)
    assert all(BEGIN < fault.begin < fault.end <= fault.begin + 3 * HOUR for fault in faults.all)
    one = faults.all[0]
    assert one in faults.at(one.begin) and one not in faults.at(one.end)
    assert one in faults.within(0.0, one.begin) and one not in faults.within(one.end, BEGIN + 99 * DAY)
