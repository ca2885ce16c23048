"""Claims about what Proxmox VE says about migrations: recorded answers are understood, many asked for in parallel."""

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from planner import preconditions, snapshot
from planner.admission import Admission
from planner.anonymise import anonymised
from planner.clock import FastClock
from planner.cluster import Cluster
from planner.collect import collect
from planner.errors import ApiRefused, BadAnswer, Forbidden, Unreachable
from planner.preconditions import ask, askable, completed, notes, paths, read, with_answers
from planner.pve import Pve
from planner.simulate import Size, demo
from planner.snapshot import RESOURCES, Snapshot
from tests.commandline import alone, calling, write_config
from tests.fakecluster import TOKEN_SECRET, FakeCluster, serving
from tests.rows import DATA, FixedSource, cluster, ct, node, offline, recorded, storage, vm
from tests.rows import snapshot as snapshot_of

NODES = ("pve1", "pve2", "pve3")
VMS = {100: "pve1", 101: "pve1", 102: "pve1", 103: "pve2", 104: "pve2", 105: "pve3", 106: "pve3", 900: "pve3"}


def genuine(name: str) -> tuple[str, Any]:
    """Path and answer of a recorded call; a refusal as a Source raises it."""
    document = json.loads((DATA / "pve9-recorded" / f"{name}.json").read_text())
    path, status = document["request"]["path"], document["status"]
    if status == 200:
        return path, document["body"]["data"]
    return path, ApiRefused(document["reason"], status=status, reason=document["body"]["message"])


def recorded_cluster(**answers: Any) -> Cluster:
    return cluster(*recorded("cluster_resources"), **{"/cluster/ha/rules": recorded("ha_rules"), **answers})


def recorded_source() -> FixedSource:
    config = {"rootfs": "shared:200/vm-200-disk-0.raw,size=8G", "memory": 1024, "hostname": "ct1"}
    calls = dict(genuine(f"precond_qemu_{vmid}") for vmid in VMS)
    return FixedSource({**calls, "/nodes/pve2/lxc/200/config": config})


def said(of: Cluster, source: Any) -> dict[int, Admission]:
    answers = ask(source, of.guests, of.snapshot.answers)
    return read(with_answers(of.snapshot, answers), of.guests, of.nodes["node"])


def of_vm(answer: Any, *rows: Any, **answers: Any) -> Admission:
    """What an answer about guest 100 on a says, where there are nodes a, b and c."""
    of = cluster(node("a"), node("b"), node("c"), vm(100, "a"), *rows, **answers)
    return said(of, FixedSource({"/nodes/a/qemu/100/migrate": answer}))[100]


def of_ct(config: Any, *rows: Any) -> Admission:
    of = cluster(node("a"), node("b"), node("c"), ct(200, "a"), *rows)
    return said(of, FixedSource({"/nodes/a/lxc/200/config": config}))[200]


# What was recorded


def test_every_recorded_answer_means_what_proxmox_would_do() -> None:
    expected = {
        100: Admission(), 101: Admission(local_mib=32 * 1024), 102: Admission(), 103: Admission(),
        104: Admission(barred={"pve3": "it lacks storage ceph"}),
        105: Admission(fixed="it uses hostpci0 of its node"), 106: Admission(fixed="VM is locked (backup)"),
        200: Admission(), 900: Admission(),
    }  # fmt: skip
    assert said(recorded_cluster(), recorded_source()) == expected


def test_a_block_by_ha_bars_the_node_only_where_the_rules_could_not_be_read() -> None:
    admissions = said(recorded_cluster(**{"/cluster/ha/rules": None}), recorded_source())
    assert admissions[102].barred == {"pve2": "HA refuses it because of vm:103 (resource-affinity)"}
    assert admissions[103].barred == {"pve1": "HA refuses it because of vm:102 (resource-affinity)"}


def test_an_offline_node_is_no_reason_of_proxmox() -> None:
    path, answer = genuine("offline_precond_100")
    of = cluster(node("pve1"), node("pve2"), offline("pve3"), vm(100, "pve2"))
    assert said(of, FixedSource({path: answer})) == {100: Admission()}


def test_templates_and_guests_of_nodes_that_are_down_are_not_asked_about() -> None:
    assert 900 not in set(askable(recorded_cluster())["vmid"])
    assert set(askable(cluster(node("a"), offline("b"), vm(1, "a"), vm(2, "b"), vm(3, "a", template=1)))["vmid"]) == {1}


def test_the_preconditions_of_a_container_are_its_configuration() -> None:
    assert paths(recorded_cluster().guests)[200] == "/nodes/pve2/lxc/200/config"


# Virtual machines


def free(**more: Any) -> dict[str, Any]:
    return {"running": 1, "allowed_nodes": ["c", "b"], "not_allowed_nodes": {"b": {}, "c": {}}} | more


def test_a_mapped_device_bars_the_nodes_without_it_and_keeps_a_running_guest_unless_it_can_go_live() -> None:
    answer = free(
        local_resources=["hostpci0"], allowed_nodes=["b"],
        not_allowed_nodes={"b": {}, "c": {"unavailable-resources": ["hostpci0"]}},
    ) | {"mapped-resources": ["hostpci0"], "mapped-resource-info": {"hostpci0": {"name": "gpu"}}}  # fmt: skip
    held = of_vm(answer)
    assert "mapped device hostpci0" in held.fixed
    assert held.barred == {"c": "it has nothing mapped for hostpci0"}
    assert of_vm(answer | {"running": 0}).fixed == ""
    assert of_vm(answer | {"mapped-resource-info": {"hostpci0": {"live-migration": 1}}}).fixed == ""


def test_a_device_of_the_node_fixes_a_guest_that_is_stopped_as_well() -> None:
    answer = free(running=0, local_resources=["usb0", "hostpci1"])
    assert of_vm(answer | {"mapped-resource-info": {"usb0": {}}}).fixed == "it uses hostpci1 of its node"
    assert of_vm(answer).fixed == "it uses hostpci1, usb0 of its node"


def test_an_image_in_a_cd_drive_fixes_a_guest_but_what_cloud_init_reads_is_copied() -> None:
    image = {"cdrom": 1, "drivename": "ide2", "volid": "local:iso/debian.iso", "size": 2**30}
    seed = {"cdrom": 1, "drivename": "ide3", "volid": "local-lvm:vm-100-cloudinit", "size": 4 * 2**20}
    assert (
        of_vm(free(local_disks=[image])).fixed
        == "its CD drive ide2 holds local:iso/debian.iso, which is only on its node"
    )
    assert of_vm(free(local_disks=[seed])) == Admission(local_mib=4)
    assert of_vm(free(local_disks=[seed | {"is_cloudinit": 1, "volid": "x:y"}])) == Admission(local_mib=4)


def test_unused_disks_and_disks_of_unknown_size_are_copied_too() -> None:
    disks = [{"cdrom": 0, "is_unused": 1, "volid": "l:a", "size": 2**30 + 1}, {"cdrom": 0, "volid": "l:b"}]
    assert of_vm(free(local_disks=disks)).local_mib == 1025 + 1


def test_a_node_that_is_neither_allowed_nor_refused_is_not_offered() -> None:
    assert of_vm(free(allowed_nodes=["b"])).barred == {"c": "Proxmox VE does not offer it"}


def test_proxmox_8_tells_of_no_nodes_while_a_guest_runs() -> None:
    assert of_vm({"running": 1, "local_disks": [], "local_resources": [], "mapped-resources": []}) == Admission()


@pytest.mark.parametrize("cause", ["resource-affinity", "node-affinity"])
def test_all_reasons_against_a_node_are_named_and_those_of_ha_rules_left_to_the_rules(cause: str) -> None:
    why = {"unavailable_storages": ["x", "y"], "blocking-ha-resources": [{"sid": "vm:7", "cause": cause}]}
    answer = free(
        allowed_nodes=[], not_allowed_nodes={"b": why, "c": {"blocking-ha-resources": why["blocking-ha-resources"]}}
    )
    assert of_vm(answer).barred == {"b": "it lacks storage x, y"}
    barred = of_vm(answer, **{"/cluster/ha/rules": None}).barred
    assert barred["c"] == f"HA refuses it because of vm:7 ({cause})"
    assert barred["b"] == f"{barred['c']}; it lacks storage x, y"


def test_a_reason_that_is_not_known_yet_bars_the_node_all_the_same() -> None:
    why = {"too-hot": 1, "blocking-ha-resources": [{"sid": "vm:7", "cause": "new"}]}
    barred = of_vm(free(allowed_nodes=["b"], not_allowed_nodes={"b": {}, "c": why})).barred
    assert barred == {"c": "HA refuses it because of vm:7 (new); Proxmox VE says too-hot"}


# Containers


def test_a_bind_mount_or_a_device_fixes_a_container_unless_the_mount_is_on_every_node() -> None:
    assert of_ct({"rootfs": "s:x,size=8G", "mp0": "/srv/x,mp=/data"}).fixed == "bind mount mp0 of /srv/x"
    assert of_ct({"mp0": "/srv/x,mp=/data,shared=1"}) == Admission()
    assert of_ct({"dev0": "/dev/dri/renderD128", "mp1": "volume=/srv/y,mp=/y"}).fixed == (
        "device dev0 of its node; bind mount mp1 of /srv/y"
    )


def test_a_container_cannot_go_where_its_storage_is_not_and_takes_its_local_disks_along() -> None:
    rows = [storage("nfs", "a", shared=1), storage("nfs", "b", shared=1), storage("lvm", "a"), storage("lvm", "c")]
    config = {"rootfs": "nfs:200/x,size=8G", "mp0": "lvm:x,mp=/m,size=512M", "unused0": "lvm:y", "net0": "name=e"}
    expected = {"b": "it lacks storage lvm", "c": "it lacks storage nfs"}
    assert of_ct(config, *rows) == Admission(barred=expected, local_mib=512 + 1)


def test_storages_that_the_token_does_not_see_bar_nothing() -> None:
    assert of_ct({"rootfs": "hidden:200/x,size=8G"}, storage("nfs", "a", shared=1)) == Admission()


def test_a_locked_container_is_fixed() -> None:
    assert of_ct({"rootfs": "s:x,size=8G", "lock": "backup"}).fixed == "CT is locked (backup)"


# Asking


class Meeting:
    """A source whose answers wait until so many calls are under way at once."""

    def __init__(self, calls: int) -> None:
        self._barrier = threading.Barrier(calls, timeout=30)

    def get(self, path: str, /, **params: Any) -> Any:
        self._barrier.wait()  # BrokenBarrierError where fewer come
        return free()

    def post(self, path: str, /, **data: Any) -> Any:
        raise AssertionError("asking changes nothing")


def test_sixteen_calls_are_under_way_at_once() -> None:
    of = cluster(node("a"), node("b"), node("c"), *(vm(100 + n, "a") for n in range(32)))
    assert len(ask(Meeting(16), of.guests, {})) == 32


def test_fifteen_hundred_guests_take_a_call_each_and_what_is_known_none() -> None:
    of = cluster(node("a"), node("b"), *(vm(100 + n, "a") for n in range(1500)))
    source = FixedSource(dict.fromkeys(paths(of.guests).values(), free(allowed_nodes=["b"], not_allowed_nodes={})))
    answers = ask(source, of.guests, {})
    assert len(answers) == 1500 and max(Counter(source.asked).values()) == 1
    assert ask(source, of.guests, answers) == {} and len(source.asked) == 1500


REFUSALS = {
    "permission denied": Forbidden("the token root@pam!secret may not GET"),
    "no answer": Unreachable("no API host answered"),
    "not an answer of Proxmox VE": BadAnswer("a web page"),
    "Configuration file does not exist": ApiRefused("x", status=500, reason="Configuration file does not exist\n"),
}


@pytest.mark.parametrize("words", REFUSALS)
def test_a_call_without_an_answer_leaves_the_guest_admitted_and_is_said_in_one_line(words: str) -> None:
    of = cluster(node("a"), *(vm(100 + n, "a") for n in range(300)))
    source = FixedSource(dict.fromkeys(paths(of.guests).values(), REFUSALS[words]))
    admissions = said(of, source)
    assert admissions == dict.fromkeys(range(100, 400), Admission(unknown=words))
    assert notes(admissions) == (
        f"whether Proxmox VE would migrate 300 guests is not known ({words}: 300): it may refuse",
    )


def test_many_kinds_of_failure_are_one_short_line() -> None:
    [line] = notes({n: Admission(unknown=f"reason {n % 9}") for n in range(900)} | {1000: Admission(fixed="x")})
    assert "900 guests" in line and line.count("reason") == 3 and "and others" in line
    assert notes({1: Admission()}) == ()


def test_a_node_that_does_not_answer_is_not_asked_again_for_each_of_its_guests() -> None:
    of = cluster(node("a"), node("b"), *(vm(100 + n, "a") for n in range(200)), vm(99, "b"))
    source = FixedSource({p: Unreachable("away") for p in paths(of.guests).values() if "/a/" in p})
    source.answers["/nodes/b/qemu/99/migrate"] = free(allowed_nodes=["a"])
    admissions = said(of, source)
    assert sum(a.unknown == "no answer" for a in admissions.values()) == 200
    assert len(source.asked) <= preconditions.WORKERS + 1 and not admissions[99].unknown


def test_ctrl_c_ends_the_asking() -> None:
    of = cluster(node("a"), *(vm(100 + n, "a") for n in range(1500)))

    class Interrupted(FixedSource):
        def get(self, path: str, **params: Any) -> Any:
            self.asked.append(path)
            if path.endswith("/100/migrate"):
                raise KeyboardInterrupt
            time.sleep(0.02)  # two seconds for all, if nothing ended it

    source = Interrupted({})
    with pytest.raises(KeyboardInterrupt):
        ask(source, of.guests, {})
    assert len(source.asked) < 1500


# Wild answers

WILD: list[Any] = [
    7, "yes", [], [1], True, {"error": 5}, {"allowed_nodes": "b"}, {"allowed_nodes": [1]}, {"not_allowed_nodes": ["b"]},
    {"not_allowed_nodes": {"b": 7}}, {"not_allowed_nodes": {"b": {"unavailable_storages": 7}}},
    {"not_allowed_nodes": {"b": {"blocking-ha-resources": ["vm:1"]}}}, {"local_disks": {"a": 1}}, {"local_disks": [7]},
    {"local_disks": [{"size": -1}]}, {"local_disks": [{"size": "much"}]}, {"local_disks": [{"size": [1]}]},
    {"local_disks": [{"cdrom": 1, "volid": 7}]}, {"local_resources": [{}]}, {"mapped-resource-info": {"usb0": 1}},
    {"local_disks": [{"size": float("nan")}]}, {"mapped-resources": {}, "local_resources": "x"},
]  # fmt: skip


@pytest.mark.parametrize("answer", WILD, ids=str)
def test_an_answer_that_makes_no_sense_is_a_note_and_anonymised_away(answer: Any) -> None:
    of = cluster(node("a"), node("b"), vm(100, "a"), **{"/nodes/a/qemu/100/migrate": answer})
    admissions = read(of.snapshot, of.guests, ["a", "b"])
    assert admissions == {100: Admission(unknown="an answer that makes no sense")} and len(notes(admissions)) == 1
    assert read(anonymised(of.snapshot), collect(anonymised(of.snapshot)).guests, ["node1", "node2"]) == {}


@pytest.mark.parametrize("config", [7, [], {"rootfs": 7}, {"mp0": "s:x,size=huge"}, {"lock": {"a": 1}}], ids=str)
def test_a_configuration_that_makes_no_sense_is_a_note(config: Any) -> None:
    assert of_ct(config, storage("s", "a")) == Admission(unknown="an answer that makes no sense")


# Snapshots


def test_what_was_asked_is_in_the_snapshot_refusals_included_and_read_from_the_file(tmp_path: Path) -> None:
    of = recorded_cluster()
    taken, said_ = completed(of, recorded_source())
    assert said_ == () and taken.answers["/nodes/pve3/qemu/106/migrate"] == {"error": "VM is locked (backup)"}
    snapshot.save(taken, tmp_path / "s.json.gz")
    loaded = snapshot.load(tmp_path / "s.json.gz")
    assert read(loaded, of.guests, NODES) == read(taken, of.guests, NODES) != {}


def secret_snapshot() -> Snapshot:
    """Names in every place that such an answer has."""
    block = [{"sid": "vm:7", "cause": "resource-affinity"}, {"sid": "vm:acme", "cause": "payroll"}]
    answer = free(
        allowed_nodes=["c", "atlantis"], parent="payroll", local_resources=["hostpci0", "acme"],
        not_allowed_nodes={"b": {"unavailable_storages": ["gold", "vault"], "blocking-ha-resources": block}, "c": {}},
        local_disks=[{"volid": "gold:payroll-disk", "size": 2**30, "drivename": "scsi0", "note": "alice"},
                     {"volid": "gold:iso/acme.iso", "cdrom": 1, "drivename": "acme"},
                     {"volid": "gold:vm-1-cloudinit", "cdrom": 1, "size": 2**22}],
    ) | {"mapped-resource-info": {"usb0": {"name": "alice-key"}}, "mapped-resources": ["usb0"]}  # fmt: skip
    config = {
        "rootfs": "gold:payroll,size=8G", "mp0": "/srv/acme,mp=/alice", "dev0": "/dev/alice", "hostname": "payroll",
        "mp1": "vault:acme,size=1G", "lock": "acme", "description": "alice", "net0": "hwaddr=BC:24:11:00:00:01",
    }  # fmt: skip
    return snapshot_of(
        node("a"), node("b"), node("c"), *(vm(n, "a") for n in (1, 2, 3, 4)), ct(5, "b"),
        storage("gold", "a"), storage("gold", "b"),
        **{
            "/nodes/a/qemu/1/migrate": answer, "/nodes/a/qemu/2/migrate": {"error": "VM is locked (backup)"},
            "/nodes/a/qemu/3/migrate": {"error": "acme is broken"}, "/nodes/b/lxc/5/config": config,
            "/nodes/a/qemu/4/migrate": {"error": "permission denied"}, "/nodes/atlantis/qemu/9/migrate": answer,
        },
    )  # fmt: skip


def test_an_anonymised_snapshot_shows_no_names_of_storages_devices_volumes_or_mounts() -> None:
    text = json.dumps(anonymised(secret_snapshot()).answers).casefold()
    words = ("acme", "payroll", "alice", "gold", "vault", "atlantis", "bc:24", "/srv")
    assert [word for word in words if word in text] == []


def test_an_anonymised_snapshot_admits_and_fixes_the_same() -> None:
    def shape(taken: Snapshot) -> dict[int, Any]:
        of = collect(taken)
        names = [str(name) for name in of.nodes["node"]]
        said = read(taken, of.guests, names)
        return {
            v: (bool(a.fixed), {names.index(n) for n in a.barred}, a.local_mib, bool(a.unknown))
            for v, a in said.items()
        }

    original = secret_snapshot()
    assert shape(original) == shape(anonymised(original)) != {}
    taken, _ = completed(recorded_cluster(), recorded_source())
    assert shape(taken) == shape(anonymised(taken))


# Clusters that answer


def test_the_demo_answers_as_proxmox_does_and_admits_every_guest() -> None:
    source = demo(Size.SMALL, FastClock(1.0))
    of = collect(snapshot.take(source))
    taken, said_ = completed(of, source)
    admissions = read(taken, of.guests, of.nodes["node"])
    assert said_ == () and len(admissions) == len(of.guests) and set(of.guests["type"]) == {"vm", "ct"}
    assert all(admission == Admission() for admission in admissions.values())
    genuine_keys = set(recorded("precond_qemu_100"))
    asked = next(path for path in taken.answers if path.endswith("/migrate"))
    assert set(source.get(asked)) == genuine_keys


def test_over_https_a_locked_guest_a_device_and_a_bind_mount_fix_their_guests(tmp_path: Path) -> None:
    pve = FakeCluster()
    for name in NODES:
        pve.add_node(name)
    pve.add_guest(100, "pve1", missing_storages={"pve2": ["ceph"]})
    pve.add_guest(101, "pve1", lock="backup")
    pve.add_guest(102, "pve1", pci=True)
    pve.add_guest(103, "pve1", local_disk=True, stats={"maxdisk": 2**30})
    pve.add_guest(200, "pve2", "lxc").config["mp0"] = "/srv/x,mp=/x"
    pve.add_guest(201, "pve2", "lxc")
    with serving(pve, tmp_path) as served, Pve(served.connection()) as source:
        of = collect(snapshot.take(source))
        admissions = said(of, source)
    assert admissions == {
        100: Admission(barred={"pve2": "it lacks storage ceph"}), 101: Admission(fixed="VM is locked (backup)"),
        102: Admission(fixed="it uses hostpci0 of its node"), 103: Admission(local_mib=1024),
        200: Admission(fixed="bind mount mp0 of /srv/x"), 201: Admission(),
    }  # fmt: skip


def test_a_token_that_may_look_but_not_migrate_gets_one_note_about_its_virtual_machines(tmp_path: Path) -> None:
    pve = FakeCluster()
    pve.add_node("pve2")
    for vmid in range(100, 120):
        pve.add_guest(vmid, "pve1")
    pve.add_guest(200, "pve1", "lxc")
    pve.grant("reader@pve", "/", "Sys.Audit", "VM.Audit", "Datastore.Audit", "Pool.Audit")
    pve.apitokens["reader@pve!t"] = TOKEN_SECRET
    with serving(pve, tmp_path) as served, Pve(served.connection(token_id="reader@pve!t")) as source:
        taken, [line] = completed(collect(snapshot.take(source)), source)
    assert "20 guests" in line and "(permission denied: 20)" in line
    assert taken.answers["/nodes/pve1/qemu/100/migrate"] == {"error": "permission denied"}


def test_the_snapshot_command_records_preconditions_when_asked_and_planning_from_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone(monkeypatch, tmp_path)
    cli = calling(capsys)
    pve = FakeCluster()
    for name in NODES:
        pve.add_node(name)
    for vmid in range(100, 110):
        pve.add_guest(vmid, "pve1", lock="backup" if vmid == 100 else None)
    with serving(pve, tmp_path) as served:
        config = write_config(tmp_path / "c.yaml", served)
        assert cli("snapshot", "--config", config, "-o", tmp_path / "plain.json").code == 0
        assert served.sent("GET", "/migrate") == 0
        assert cli("snapshot", "--config", config, "-o", tmp_path / "s.json", "--preconditions").code == 0
        assert served.sent("GET", "/migrate") == 10
    answers = json.loads((tmp_path / "s.json").read_text())["answers"]
    assert answers["/nodes/pve1/qemu/100/migrate"] == {"error": "VM is locked (backup)"}
    assert cli("--snapshot", tmp_path / "s.json", "--solver", "greedy").code == 0
    assert cli("snapshot", "--snapshot", tmp_path / "s.json", "-o", tmp_path / "t.json", "--preconditions").code == 64


def test_preconditions_leave_no_trace_in_what_else_is_read() -> None:
    of = recorded_cluster()
    taken, _ = completed(of, recorded_source())
    assert collect(taken).guests.equals(of.guests) and RESOURCES in taken.answers
