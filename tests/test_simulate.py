"""Claims about the built-in cluster: the same for the same seed, and migrations take time and move loads."""

from typing import Any

import pytest

from planner import collect, snapshot, tasklog
from planner.clock import FastClock
from planner.errors import ApiRefused
from planner.planning import make_plan, prepare
from planner.policy import Policy
from planner.simulate import SHAPES, SimulatedCluster, Size, demo, demo_resources
from planner.simulated_task import NETWORK
from planner.snapshot import RESOURCES

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
