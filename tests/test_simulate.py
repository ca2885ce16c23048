"""Claims about the built-in cluster: the same for the same seed, and migrations take time and move loads."""

from typing import Any

import pytest

from planner import collect, pace, preconditions, snapshot, tasklog
from planner.clock import FastClock
from planner.errors import ApiRefused
from planner.planning import make_plan, prepare
from planner.policy import Apply, Policy
from planner.simulate import HISTORY, SHAPES, STORAGE, SimulatedCluster, Size, demo, demo_resources
from planner.simulated_task import DISK, NETWORK
from planner.snapshot import RESOURCES
from tests.rows import node

GIB = 2**30


def tiny(clock: FastClock) -> SimulatedCluster:
    node = {"type": "node", "status": "online", "maxcpu": 8, "cpu": 0.1, "maxmem": 64 * GIB, "mem": 2 * GIB}
    guest = {"status": "running", "maxcpu": 4, "cpu": 0.5, "maxmem": 22 * GIB, "mem": 22 * GIB}
    return SimulatedCluster(
        [
            node | {"id": "node/a", "node": "a", "mem": 24 * GIB, "cpu": 0.35},
            node | {"id": "node/b", "node": "b"},
            node | {"id": "node/c", "node": "c"},
            guest | {"id": "qemu/100", "type": "qemu", "vmid": 100, "node": "a"},
            guest | {"id": "lxc/200", "type": "lxc", "vmid": 200, "node": "b", "mem": 0, "status": "stopped"},
        ],
        clock,
    )


def row(cluster: SimulatedCluster, name: str) -> dict[str, Any]:
    return next(dict(r) for r in cluster.get("/cluster/resources") if r["id"] == name)


@pytest.mark.parametrize("size", list(Size))
def test_the_same_seed_gives_the_same_cluster_and_another_another(size: Size) -> None:
    assert demo_resources(size, 7) == demo_resources(size, 7) != demo_resources(size, 8)


@pytest.mark.parametrize("size", list(Size))
def test_every_size_has_its_shape_and_something_to_do(size: Size) -> None:
    cluster = collect.collect(snapshot.take(demo(size, FastClock())))
    assert (len(cluster.nodes), len(cluster.guests)) == SHAPES[size]
    plan = make_plan(prepare(cluster, Policy()), "greedy")
    assert plan.spread.before > 10
    assert plan.spread.after < plan.spread.before
    assert plan.migrations


def test_a_migration_takes_its_time_and_then_the_load_has_moved() -> None:
    clock = FastClock()
    cluster = tiny(clock)
    upid = cluster.post("/nodes/a/qemu/100/migrate", target="b", online=1)
    path = f"/nodes/a/tasks/{upid}/status"
    clock.sleep(20)
    assert cluster.get(path)["status"] == "running"
    assert (row(cluster, "qemu/100")["node"], row(cluster, "qemu/100")["lock"]) == ("a", "migrate")
    assert [task["type"] for task in cluster.get("/cluster/tasks")] == ["qmigrate"]
    clock.sleep(10)
    assert cluster.get(path)["exitstatus"] == "OK"
    assert row(cluster, "qemu/100")["node"] == "b" and "lock" not in row(cluster, "qemu/100")
    assert [row(cluster, f"node/{name}")["mem"] // GIB for name in "abc"] == [2, 24, 2]
    assert [row(cluster, f"node/{name}")["cpu"] for name in "abc"] == pytest.approx([0.1, 0.35, 0.1])
    assert cluster.get("/cluster/tasks") == []


def test_a_guest_can_go_away_come_back_and_go_elsewhere() -> None:
    clock = FastClock()
    cluster = tiny(clock)
    for source, target in (("a", "b"), ("b", "a"), ("a", "c")):
        cluster.post(f"/nodes/{source}/qemu/100/migrate", target=target, online=1)
        clock.sleep(10)
        assert row(cluster, "qemu/100")["node"] == source
        clock.sleep(20)
        assert row(cluster, "qemu/100")["node"] == target


@pytest.mark.parametrize(
    ("path", "data"),
    [("/nodes/a/qemu/100/migrate", {"target": "b"}), ("/nodes/b/qemu/100/migrate", {"target": "c", "online": 1}),
     ("/nodes/a/qemu/100/migrate", {"target": "z", "online": 1}), ("/nodes/a/qemu/999/migrate", {"target": "b"}),
     ("/nodes/a/qemu/100/migrate", {"target": "a", "online": 1})],
)  # fmt: skip
def test_what_proxmox_refuses_is_refused(path: str, data: dict[str, Any]) -> None:
    with pytest.raises(ApiRefused):
        tiny(FastClock()).post(path, **data)


def test_a_guest_under_way_is_locked() -> None:
    cluster = tiny(FastClock())
    cluster.post("/nodes/b/lxc/200/migrate", target="c")
    with pytest.raises(ApiRefused, match="locked"):
        cluster.post("/nodes/b/lxc/200/migrate", target="a")
    assert [task["type"] for task in cluster.get("/cluster/tasks")] == ["vzmigrate"]


def test_a_snapshot_of_the_demo_does_not_change_with_it() -> None:
    clock = FastClock()
    cluster = tiny(clock)
    before = cluster.get("/cluster/resources")
    cluster.post("/nodes/a/qemu/100/migrate", target="b", online=1)
    clock.sleep(60)
    cluster.get("/cluster/resources")
    assert next(r for r in before if r["id"] == "qemu/100")["node"] == "a"


def test_a_clock_with_no_speed_does_not_wait() -> None:
    clock = FastClock()
    clock.sleep(10**6)
    assert clock.now() == 10**6


def test_the_log_of_a_migration_tells_how_far_it_is() -> None:
    clock = FastClock()
    cluster = demo(Size.SMALL, clock)
    row = next(row for row in cluster.get(RESOURCES) if row["type"] == "qemu" and row["mem"] > 8 * 2**30)
    target = next(r["node"] for r in cluster.get(RESOURCES) if r["type"] == "node" and r["node"] != row["node"])
    upid = cluster.post(f"/nodes/{row['node']}/qemu/{row['vmid']}/migrate", target=target, online=1)
    path = f"/nodes/{row['node']}/tasks/{upid}/log"
    assert tasklog.progress(tasklog.texts(cluster.get(path, start=0, limit=500))) is None
    clock.sleep(3)
    told = tasklog.progress(tasklog.texts(cluster.get(path, start=0, limit=500)))
    assert told is not None and 0 < told.done_mib < told.total_mib
    assert told.mib_per_second == pytest.approx(NETWORK, rel=0.1)
    clock.sleep(1000)
    ended = tasklog.texts(cluster.get(path, start=0, limit=500))
    assert tasklog.summary(ended).seconds and cluster.get(path, start=len(ended), limit=500) == []
    assert [task["status"] for task in cluster.get(f"/nodes/{row['node']}/tasks", vmid=row["vmid"])] == ["OK"]


def lines(cluster: SimulatedCluster, upid: str) -> list[str]:
    return tasklog.texts(cluster.get(f"/nodes/{upid.split(':')[1]}/tasks/{upid}/log", start=0, limit=10**6))


def with_disks(clock: FastClock) -> SimulatedCluster:
    """Three guests on a, one of them a container, whose disks are there alone."""
    guest = {"node": "a", "status": "running", "maxcpu": 4, "cpu": 0.5, "maxmem": 8 * GIB, "mem": 4 * GIB}
    machine, other = ({"id": f"qemu/{vmid}", "type": "qemu", "vmid": vmid} for vmid in (100, 101))
    store = {"type": "storage", "storage": STORAGE, "status": "available", "content": "images,rootdir", "shared": 0}
    return SimulatedCluster(
        [
            node("a", 64, 20), node("b"), guest | machine, guest | other | {"status": "stopped", "mem": 0, "cpu": 0},
            guest | {"id": "lxc/200", "type": "lxc", "vmid": 200},
            *(store | {"id": f"storage/{name}/{STORAGE}", "node": name, "maxdisk": 500 * GIB} for name in "ab"),
        ],
        clock, epoch=1.8e9, local_disks={100: 16, 101: 8, 200: 4},
    )  # fmt: skip


@pytest.mark.parametrize(("path", "data"), [
    ("/nodes/a/qemu/100/migrate", {"online": 1, "with-local-disks": 1}),
    ("/nodes/a/qemu/101/migrate", {"with-local-disks": 1}), ("/nodes/a/lxc/200/migrate", {"restart": 1}),
])  # fmt: skip
def test_local_disks_are_copied_at_their_speed_and_said_to_be(path: str, data: dict[str, Any]) -> None:
    clock = FastClock()
    cluster = with_disks(clock)
    upid = cluster.post(path, target="b", **data)
    clock.sleep(10)
    assert not any("OK" in line for line in lines(cluster, upid))
    clock.sleep(70)
    assert lines(cluster, upid)[-1] == "TASK OK"
    told, vmid = tasklog.summary(lines(cluster, upid)), int(path.split("/")[4])
    assert told.disks.mib == {100: 16, 101: 8, 200: 4}[vmid] * 1024
    assert told.disks.mib_per_second == pytest.approx(DISK, rel=0.05)
    assert [task["endtime"] - task["starttime"] for task in cluster.get("/nodes/a/tasks")] == [told.seconds]
    assert [row["vmid"] for row in cluster.get(f"/nodes/b/storage/{STORAGE}/content")] == [vmid]


def test_progress_counts_on_to_all_of_disk_and_memory() -> None:
    clock = FastClock()
    cluster = with_disks(clock)
    upid = cluster.post("/nodes/a/qemu/100/migrate", target="b", online=1, **{"with-local-disks": 1})
    seen: list[tasklog.Progress] = []
    while "TASK OK" not in lines(cluster, upid):
        clock.sleep(1)
        if told := tasklog.progress(lines(cluster, upid)):
            seen.append(told)
    assert [told.done_mib for told in seen] == sorted(told.done_mib for told in seen) and len(seen) > 30
    assert (seen[-1].done_mib, seen[-1].total_mib) == (24 * 1024, 24 * 1024)
    assert {round(told.mib_per_second, -2) for told in seen if told.mib_per_second} == {400, 1000, 1100}


def test_disks_that_may_not_go_along_fail_the_task_and_the_guest_stays() -> None:
    clock = FastClock()
    cluster = with_disks(clock)
    upid = cluster.post("/nodes/a/qemu/100/migrate", target="b", online=1)
    clock.sleep(5)
    assert cluster.get(f"/nodes/a/tasks/{upid}/status")["exitstatus"] == "migration aborted"
    assert row(cluster, "qemu/100")["node"] == "a" and "lock" not in row(cluster, "qemu/100")
    assert "without with-local-disks" in tasklog.errors(lines(cluster, upid))[0]
    assert cluster.get("/nodes/a/tasks", statusfilter="ok") == []
    assert len(cluster.get("/nodes/a/tasks", statusfilter="error")) == 1


def test_a_plan_with_local_disks_can_be_made_of_it() -> None:
    taken = preconditions.completed(collect.collect(snapshot.take(with_disks(FastClock()))), with_disks(FastClock()))[0]
    plan = make_plan(prepare(collect.collect(taken), Policy(with_local_disks=True)), "descent")
    assert {m.vmid: m.local_disk_mib for m in plan.migrations}.items() <= {100: 16384, 101: 8192, 200: 4096}.items()
    assert plan.migrations


def test_a_container_is_stopped_until_it_has_arrived() -> None:
    clock = FastClock()
    cluster = with_disks(clock)
    before, load = row(cluster, "lxc/200"), row(cluster, "node/a")["mem"]
    upid = cluster.post("/nodes/a/lxc/200/migrate", target="b", restart=1)
    clock.sleep(5)
    assert (row(cluster, "lxc/200")["status"], row(cluster, "lxc/200")["mem"]) == ("stopped", 0)
    assert row(cluster, "node/a")["mem"] == load - 4 * GIB
    clock.sleep(60)
    assert row(cluster, "lxc/200") == before | {"node": "b"}
    assert tasklog.summary(lines(cluster, upid)).restarted


def test_tasks_are_listed_as_asked_for() -> None:
    clock = FastClock()
    cluster = with_disks(clock)
    cluster.post("/nodes/a/lxc/200/migrate", target="b", restart=1)
    clock.sleep(60)
    cluster.post("/nodes/a/qemu/101/migrate", target="b", **{"with-local-disks": 1})

    def listed(**wanted: Any) -> list[str]:
        return [task["id"] for task in cluster.get("/nodes/a/tasks", **wanted)]

    assert listed() == ["200"] and listed(source="active") == ["101"] and listed(source="all") == ["101", "200"]
    assert listed(source="all", vmid=101) == ["101"] and listed(typefilter="vzmigrate") == ["200"]
    assert listed(source="all", limit=1) == ["101"] and listed(source="all", start=1) == ["200"]
    running = cluster.get("/cluster/tasks")
    assert [(task["id"], task["node"], task["user"], task["starttime"]) for task in running] == [
        ("101", "a", "demo@pve", 1800000060)
    ]
    assert cluster.get("/nodes/b/tasks") == []


def test_a_log_is_read_in_parts_and_only_through_its_node() -> None:
    clock = FastClock()
    cluster = tiny(clock)
    upid = cluster.post("/nodes/a/qemu/100/migrate", target="b", online=1)
    clock.sleep(60)
    path = f"/nodes/a/tasks/{upid}/log"
    assert cluster.get(path, start=3, limit=2) == cluster.get(path)[3:5]
    assert [line["n"] for line in cluster.get(path, start=3, limit=2)] == [4, 5]
    with pytest.raises(ApiRefused):
        cluster.get(f"/nodes/b/tasks/{upid}/log")


@pytest.mark.parametrize("size", list(Size))
def test_the_demo_tells_how_long_its_migrations_take(size: Size) -> None:
    clock = FastClock()
    cluster = demo(size, clock)
    taken = pace.asked(snapshot.take(cluster), cluster)
    told = pace.read(taken, Apply())
    assert told.says == f"from {sum(HISTORY)} migrations of this cluster"
    for guest in cluster.get(RESOURCES)[-20:]:
        kind, target = ("vm", "online") if guest["type"] == "qemu" else ("ct", "restart")
        other = next(r["node"] for r in cluster.get(RESOURCES) if r["type"] == "node" and r["node"] != guest["node"])
        path = f"/nodes/{guest['node']}/{guest['type']}/{guest['vmid']}/migrate"
        upid = cluster.post(path, target=other, **{target: 1})
        clock.sleep(200)
        took = tasklog.summary(lines(cluster, upid)).seconds
        expected = told.seconds(kind, True, guest["mem"] / 2**20, 0)
        assert took == pytest.approx(expected, rel=0.25, abs=2), guest
