"""Claims about pace: durations come from the cluster's own past migrations, else from assumptions that are said."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from planner import pace, past, tasklog
from planner import snapshot as snapshots
from planner.anonymise import anonymised
from planner.errors import ApiRefused, BadAnswer, Forbidden, Unreachable
from planner.pace import Pace
from planner.past import log_path, tasks_path
from planner.policy import Apply
from planner.preconditions import ERROR
from planner.pve import Pve
from planner.snapshot import Snapshot
from tests.commandline import alone, calling, write_config
from tests.fakecluster import FakeCluster, serving, small_cluster
from tests.rows import FixedSource, node, offline, recorded, snapshot, vm
from tests.test_schemas import SNAPSHOT


def upid(number: int, of: str = "pve1", kind: str = "qmigrate", user: str = "root@pam!t1") -> str:
    return f"UPID:{of}:{number:08X}:{number:08X}:{0x6B000000 + number:08X}:{kind}:{100 + number}:{user}:"


def task(number: int, of: str = "pve1", kind: str = "qmigrate", status: str = "OK") -> dict[str, Any]:
    return {
        "upid": upid(number, of, kind), "node": of, "type": kind, "id": str(100 + number), "user": "alice@acme",
        "tokenid": "secret", "starttime": 1795423234 + number, "endtime": 1795423334 + number, "status": status,
    }  # fmt: skip


def at(second: int) -> str:
    return f"2026-11-03 09:{second // 60:02d}:{second % 60:02d}"


def live(gib: float, mib_s: float, besides: int = 5, downtime_ms: int = 50, disk: str = "") -> list[dict[str, Any]]:
    """The log of a live migration of so many GiB at such a speed."""
    took = round(gib * 1024 / mib_s)
    lines = [f"{at(0)} starting migration of VM 100 to node 'zurich' (192.0.2.7)", *([disk] if disk else []),
             f"{at(2)} start migrate command to unix:/run/qemu-server/100.migrate"]  # fmt: skip
    for second in range(1, took + 1):
        done = gib * 1024 * second / took
        lines.append(f"{at(2 + second)} migration active, transferred {done:.1f} MiB of 64.0 GiB VM-state, 1.0 GiB/s")
    lines.append(f"{at(2 + took)} average migration speed: 4.0 GiB/s - downtime {downtime_ms} ms")
    duration = took + besides
    lines.append(
        f"{at(duration)} migration finished successfully (duration 00:{duration // 60:02d}:{duration % 60:02d})"
    )
    return rows([*lines, "TASK OK"])


def restarted(seconds: int) -> list[dict[str, Any]]:
    return rows([f"{at(0)} shutdown CT 200", f"{at(4)} starting migration of CT 200 to node 'zurich' (192.0.2.7)",
                 f"{at(seconds)} start container on target node",
                 f"{at(seconds)} migration finished successfully (duration 00:00:{seconds:02d})"])  # fmt: skip


def rows(lines: Iterable[str]) -> list[dict[str, Any]]:
    return [{"n": number, "t": line} for number, line in enumerate(lines, 1)]


def after(*logs: Any, kind: str = "qmigrate", **answers: Any) -> Snapshot:
    """A cluster whose node pve1 has migrated guests, with these logs."""
    listed = [task(number, kind=kind) for number in range(len(logs))]
    told = {log_path(row["upid"]): log for row, log in zip(listed, logs, strict=True)}
    return snapshot(node("pve1"), node("pve2"), **{tasks_path("pve1", kind): listed, **told, **answers})


def options(bwlimit: Any) -> dict[str, Any]:
    return {"/cluster/options": {"bwlimit": bwlimit}}


# Assumed


def test_where_nothing_is_recorded_a_gigabit_is_assumed_and_said() -> None:
    assumed = pace.read(snapshot(node("pve1")), Apply())
    assert assumed.says == "assumed: 110 MiB/s; no migration is recorded"
    assert assumed.seconds("vm", True, 1100, 0) == pytest.approx(pace.OVERHEAD + 10 * pace.DIRTY)
    assert assumed.seconds("vm", True, 1100, 2200) == pytest.approx(pace.OVERHEAD + 10 * pace.DIRTY + 20)
    assert assumed.downtime("vm", True, 1100, 2200) == 0


def test_of_a_stopped_guest_only_disks_are_copied() -> None:
    assumed = pace.read(snapshot(node("pve1")), Apply())
    for kind in ("vm", "ct"):
        assert assumed.seconds(kind, False, 9999, 0) == pace.STOPPED
        assert assumed.seconds(kind, False, 9999, 1100) == pytest.approx(pace.STOPPED + 10)
        assert assumed.downtime(kind, False, 9999, 1100) == 0
        assert assumed.rate(kind, False, 9999, 0) == 0
        assert assumed.rate(kind, False, 9999, 1) == 110


def test_a_running_container_is_down_all_the_time_and_takes_no_memory_along() -> None:
    assumed = pace.read(snapshot(node("pve1")), Apply())
    assert assumed.seconds("ct", True, 9999, 1100) == pytest.approx(pace.RESTART + 10)
    assert assumed.downtime("ct", True, 9999, 1100) == assumed.seconds("ct", True, 9999, 1100)
    assert assumed.rate("ct", True, 9999, 0) == 0


@pytest.mark.parametrize(
    ("settings", "bwlimit", "memory", "disk"),
    [
        (Apply(bandwidth=50), None, 50, 50), (Apply(bandwidth=300), None, 300, 200), (Apply(bwlimit=30), None, 30, 30),
        (Apply(bandwidth=4000), None, pace.STREAM, pace.MIRROR), (Apply(bandwidth=50, bwlimit=80), None, 50, 50),
        (Apply(), "migration=20480", 20, 20), (Apply(), "clone=1024,default=10240", 10, 10),
        (Apply(), {"migration": 20480, "default": 1024}, 20, 20), (Apply(), "migration=0,default=1024", 110, 110),
        (Apply(bwlimit=5), "migration=20480", 5, 5), (Apply(bwlimit=50), {"migration": "20480"}, 20, 20),
    ],
)  # fmt: skip
def test_limits_of_the_settings_and_the_datacentre_hold(
    settings: Apply, bwlimit: Any, memory: float, disk: float
) -> None:
    of = snapshot(node("pve1"), **({} if bwlimit is None else options(bwlimit)))
    found = pace.read(of, settings)
    assert (found.memory_mib_s, found.disk_mib_s) == (memory, disk)
    assert f"assumed: {memory:.0f} MiB/s" in found.says
    assert max(found.rate("vm", True, 1, 1), found.rate("ct", True, 1, 1)) == memory


@pytest.mark.parametrize(
    "bwlimit", ["", "migration", "migration=", "migration=much", "=5", 7, [], {"migration": None}, "migration=nan"]
)
def test_a_limit_that_makes_no_sense_is_none(bwlimit: Any) -> None:
    assert pace.datacentre_limit({"bwlimit": bwlimit}) is None
    assert pace.read(snapshot(node("pve1"), **options(bwlimit)), Apply()).memory_mib_s == pace.GIGABIT


# Measured


def test_past_migrations_set_the_pace() -> None:
    found = pace.read(after(live(10, 400), live(20, 410), live(5, 390), live(8, 405)), Apply())
    assert found.says == "from 4 migrations of this cluster"
    assert found.memory_mib_s == pytest.approx(405, rel=0.03)
    assert found.overhead_s == pytest.approx(5, abs=0.5)
    assert found.downtime("vm", True, 1, 0) == 0.05
    assert found.seconds("vm", True, 4096, 0) == pytest.approx(5 + 4096 * pace.DIRTY / 405, rel=0.05)


def test_a_few_odd_ones_do_not_spoil_it_and_large_ones_weigh_more() -> None:
    logs = [live(0.1, 20), live(0.1, 25), live(16, 300), live(16, 310), live(1, 1000)]
    assert pace.read(after(*logs), Apply()).memory_mib_s == pytest.approx(305, rel=0.05)


def test_fewer_than_three_tell_nothing() -> None:
    found = pace.read(after(live(10, 400), live(20, 410)), Apply())
    assert found.memory_mib_s == pace.GIGABIT and found.overhead_s == pace.OVERHEAD
    told = "how fast memory is copied is told by 2 of 2 recorded migrations: too few"
    assert found.says == f"assumed: 110 MiB/s; {told}"


def test_disks_have_a_speed_of_their_own() -> None:
    disk = "mirror-scsi0: transferred 8.0 GiB of 8.0 GiB (100.00%) in 1m 22s, ready"
    found = pace.read(after(*[live(10, 400, besides=87, disk=disk)] * 3), Apply())
    assert found.disk_mib_s == pytest.approx(8192 / 82)
    assert found.overhead_s == pytest.approx(5, abs=1)
    assert found.rate("vm", True, 1, 1) == pytest.approx(400, rel=0.03)


def test_the_restart_of_containers_is_measured() -> None:
    found = pace.read(after(restarted(21), restarted(25), restarted(22), kind="vzmigrate"), Apply())
    assert found.restart_s == 22 == found.downtime("ct", True, 4096, 0)
    assert found.memory_mib_s == pace.GIGABIT
    assert "by none of 3 recorded" in found.says and "restarts of containers from 3 migrations" in found.says


def test_what_is_too_little_is_said_by_what_it_tells() -> None:
    containers = after(*[restarted(21)] * 6, kind="vzmigrate")
    both = snapshot(node("pve1"), node("pve2"), **{**containers.answers, **after(live(10, 400), live(9, 400)).answers})
    assert pace.read(both, Apply()).says == (
        "assumed: 110 MiB/s; how fast memory is copied is told by 2 of 8 recorded migrations: too few; "
        "restarts of containers from 6 migrations"
    )


def sent(seconds: int, besides: int) -> list[dict[str, Any]]:
    """The log of a container on ZFS, of which 100 MiB are sent a second."""
    name, end = "tank:subvol-200-disk-0", seconds + besides
    lines = [f"{at(0)} shutdown CT 200", f"{at(8)} found local volume '{name}' (in current VM config)",
             f"{at(9)} total estimated size is {seconds / 10}G", f"{at(10)} TIME        SENT   SNAPSHOT tank/x@__m__",
             *(f"{at(9 + n)} {at(9 + n)[-8:]}   {100 * n}M   tank/x@__m__" for n in range(1, seconds + 1)),
             f"{at(end)} start container on target node"]  # fmt: skip
    took = f"00:{end // 60:02d}:{end % 60:02d}"
    return rows([*lines, f"{at(end)} migration finished successfully (duration {took})"])


def test_what_containers_on_zfs_copy_is_no_restart() -> None:
    found = pace.read(after(sent(60, 20), sent(90, 21), sent(200, 25), kind="vzmigrate"), Apply())
    assert (found.disk_mib_s, found.restart_s) == (100, 21)
    assert found.downtime("ct", True, 4096, 6000) == 60 + 21


def test_the_time_of_a_container_that_copied_what_no_line_tells_is_no_restart() -> None:
    silent = [{"n": 0, "t": f"{at(5)} found local volume 'dir:200/vm-200-disk-0.raw' (in current VM config)"}]
    logs = [restarted(21), restarted(25), restarted(22), *[silent + restarted(300)] * 3]
    assert pace.read(after(*logs, kind="vzmigrate"), Apply()).restart_s == 22
    assert pace.read(after(*logs[3:], kind="vzmigrate"), Apply()).restart_s == pace.RESTART


def test_a_limit_that_came_later_holds_and_is_said() -> None:
    found = pace.read(after(live(10, 400), live(20, 400), live(5, 400)), Apply(bwlimit=100))
    assert found.memory_mib_s == 100 == found.disk_mib_s
    assert found.says == "from 3 migrations of this cluster, limited to 100 MiB/s"


def test_the_recorded_migrations_of_proxmox_are_read() -> None:
    listed = [row for row in recorded("node_tasks") if row["type"] == "qmigrate"]
    names = ("task_log_localdisk", "task_log_live")
    logs = {log_path(row["upid"]): recorded(name) for row, name in zip(listed, names, strict=True)}
    of = snapshot(node("pve1"), **{tasks_path("pve1", "qmigrate"): listed, **logs})
    assert [(each.type, each.summary.seconds, each.summary.downtime_s) for each in past.read(of)] == [
        ("qmigrate", 1, 0.04)
    ]


SENSELESS: list[Any] = [
    None, 7, "text", {}, {ERROR: "permission denied"}, [None], [{"upid": 5}], [{"upid": "UPID:pve1:no"}],
    [task(1) | {"starttime": None}], [task(1, "pve2")], [task(1) | {"status": None}],
]  # fmt: skip


@pytest.mark.parametrize("answer", SENSELESS)
def test_an_answer_that_makes_no_sense_is_not_known(answer: Any) -> None:
    of = snapshot(node("pve1"), **{tasks_path("pve1", "qmigrate"): answer, log_path(upid(1)): live(10, 400)})
    assert past.read(of) == []
    assert pace.read(of, Apply()).says.endswith("no migration is recorded")
    assert past.read(after(answer)) == []


# Asking


def cluster_that_migrated(count: int = 40) -> tuple[Snapshot, FixedSource]:
    """Two nodes that are online and have migrated, one that is offline, and what they would answer."""
    answers: dict[str, Any] = {}
    for name in ("pve1", "pve2"):
        answers[f"/nodes/{name}/tasks"] = []
    listed = [
        task(number, f"pve{1 + number % 2}", "vzmigrate" if number % 4 == 0 else "qmigrate") for number in range(count)
    ]
    for row in listed:
        answers[f"/nodes/{row['node']}/tasks/{row['upid']}/log"] = live(4, 400)
    return snapshot(node("pve1"), node("pve2"), offline("pve3"), vm(100, "pve1")), Tasks(answers, listed)


class Tasks(FixedSource):
    """Tasks that are listed by node and type, as many as asked for."""

    def __init__(self, answers: dict[str, Any], listed: list[dict[str, Any]]) -> None:
        super().__init__(answers)
        self.listed = listed

    def get(self, path: str, **params: Any) -> Any:
        answer = super().get(path, **params)
        if not path.endswith("/tasks"):
            return answer[: int(params["limit"])]
        assert params["statusfilter"] == "ok"
        of = [row for row in self.listed if row["node"] == path.split("/")[2] and row["type"] == params["typefilter"]]
        return sorted(of, key=lambda row: -row["starttime"])[: int(params["limit"])]


def test_of_nodes_that_are_online_the_newest_logs_are_asked_for_once() -> None:
    of, source = cluster_that_migrated(80)
    told = pace.asked(of, source)
    logs = [path for path in source.asked if path.endswith("/log")]
    assert len(logs) == len(set(logs)) == sum(past.LOGS.values())
    assert len(source.asked) == len(logs) + 4
    assert {row["upid"] for row in source.listed[-6:]} <= {path.split("/")[4] for path in logs}
    assert pace.read(told, Apply()).says == "from 30 migrations of this cluster"
    assert set(of.answers) < set(told.answers) and len(of.answers) == 10
    source.asked.clear()
    assert pace.asked(told, source).answers == told.answers
    assert source.asked == []


def test_of_a_log_only_what_tells_something_is_kept() -> None:
    of, source = cluster_that_migrated(3)
    told = pace.asked(of, source)
    kept = [answer for path, answer in told.answers.items() if "/log?" in path]
    assert len(kept) == 3 and all(len(rows) < 6 for rows in kept)
    assert "zurich" not in json.dumps(kept)


@pytest.mark.parametrize(
    "error",
    [ApiRefused("x", status=500, reason="no"), Forbidden("x"), Unreachable("x"), BadAnswer("x"), None],
)
def test_planning_does_not_fail_where_nothing_is_answered(error: Exception | None) -> None:
    of, source = cluster_that_migrated(8)
    for path in list(source.answers):
        if path.endswith("/log") or path.startswith("/nodes/pve2"):
            source.answers[path] = error
    told = pace.asked(of, source)
    json.dumps(dict(told.answers))
    assert pace.read(told, Apply()).says.endswith("no migration is recorded")
    source.answers = dict.fromkeys(source.answers, error)
    assert pace.read(pace.asked(of, source), Apply()).memory_mib_s == pace.GIGABIT


# Without names


def test_without_names_the_pace_is_the_same() -> None:
    of, source = cluster_that_migrated()
    told = pace.asked(of, source)
    told = Snapshot({**told.answers, "/cluster/options": {"bwlimit": "migration=102400,clone=7"}}, told.taken_at)
    hidden = anonymised(told)
    assert pace.read(hidden, Apply()) == pace.read(told, Apply())
    assert "limited to 100 MiB/s" in pace.read(hidden, Apply()).says
    text = json.dumps(dict(hidden.answers))
    assert not any(name in text for name in ("pve1", "zurich", "alice", "acme", "root@pam", "!t1", "192.0.2", "secret"))


def test_without_names_a_log_that_was_recorded_in_full_says_no_more_than_figures() -> None:
    lines = ["shutdown CT 200", "volume 'topsecret:vm-100-disk-0' is elsewhere", *(row["t"] for row in live(2, 100))]
    hidden = anonymised(after(rows(lines), [{"t": "topsecret"}], {ERROR: "topsecret of pve1"}, "topsecret"))
    text = json.dumps(dict(hidden.answers))
    assert "topsecret" not in text and "zurich" not in text and "pve1" not in text and "average" in text


def test_a_pace_of_ones_own_can_be_made() -> None:
    assert Pace(100, 50, 1, 2, "mine").seconds("vm", True, 80, 50) == pytest.approx(1 + 80 * pace.DIRTY / 100 + 1)


def test_what_is_recorded_is_as_described_and_gives_the_same_pace_again(tmp_path: Path) -> None:
    of, source = cluster_that_migrated()
    source.answers["/nodes/pve2/tasks"] = None
    told = pace.asked(of, source)
    snapshots.save(told, tmp_path / "s.json")
    assert [error.message for error in SNAPSHOT.iter_errors(json.loads((tmp_path / "s.json").read_text()))] == []
    assert pace.read(snapshots.load(tmp_path / "s.json"), Apply()) == pace.read(told, Apply()) != pace.read(of, Apply())


# Over TLS


def migrated_cluster() -> FakeCluster:
    """A cluster that has just migrated four guests, each within twelve seconds by its logs."""
    pve = small_cluster()
    pve.time_scale, pve.migration_secs = 0, 12
    pve.add_guest(110, "pve1", local_disk=True)
    return pve


def test_the_pace_of_a_cluster_is_asked_for_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    cli = calling(capsys)
    with serving(migrated_cluster(), tmp_path) as served, Pve(served.connection()) as api:
        for kind, vmid, how in (("qemu", 100, "online"), ("qemu", 101, "online"), ("lxc", 200, "restart")):
            api.post(f"/nodes/pve1/{kind}/{vmid}/migrate", target="pve3", **{how: 1})
        api.post("/nodes/pve1/qemu/110/migrate", target="pve3", online=1, **{"with-local-disks": 1})
        found = pace.read(pace.asked(snapshots.take(api), api), Apply())
        assert found.says == "from 4 migrations of this cluster"
        assert found.memory_mib_s == pytest.approx(341, abs=1) and found.downtime_s == 0.042
        config = write_config(tmp_path / "c.yaml", served)
        assert cli("snapshot", "--config", config, "-o", tmp_path / "s.json").code == 0
        assert cli("snapshot", "--config", config, "-o", tmp_path / "t.json", "--anonymise").code == 0
    for name in ("s.json", "t.json"):
        assert pace.read(snapshots.load(tmp_path / name), Apply()) == found
    assert not any(name in (tmp_path / "t.json").read_text() for name in ("pve1", "!t1", "root@pam"))


def test_a_migration_under_way_tells_how_far_it_is(tmp_path: Path) -> None:
    pve = migrated_cluster()
    pve.time_scale = 0.02
    with serving(pve, tmp_path) as served, Pve(served.connection()) as api:
        upid = api.post("/nodes/pve1/qemu/110/migrate", target="pve3", online=1, **{"with-local-disks": 1})
        seen: list[float] = []
        while api.get(f"/nodes/pve1/tasks/{upid}/status")["status"] == "running":
            told = tasklog.progress(tasklog.texts(api.get(f"/nodes/pve1/tasks/{upid}/log", limit=500)))
            seen += [told.done_mib / told.total_mib] if told else []
        end = tasklog.progress(tasklog.texts(api.get(f"/nodes/pve1/tasks/{upid}/log", limit=500)))
    assert len(set(seen)) > 2 and end is not None and end.done_mib == end.total_mib == 36 * 1024
