"""Claims about reading the API: each quirk of Proxmox VE, the units, and what is said about what is not known."""

import random
from typing import Any

import pandas as pd
import pytest

from planner import frames
from planner.collect import UNKNOWN, collect
from planner.errors import InputError
from planner.rule import Kind
from planner.rules import read
from planner.snapshot import RESOURCES, Snapshot, content_path
from tests.rows import (
    ALL_PRIVILEGES,
    GIB,
    KNOWN,
    MIB,
    cluster,
    ct,
    guests,
    node,
    nodes,
    of_kind,
    offline,
    recorded,
    snapshot,
    stopped,
    storage,
    vm,
    volume,
)  # fmt: skip

# Frames


def same_dtypes(frame: pd.DataFrame, columns: tuple[frames.Column, ...]) -> None:
    expected = {column.name: pd.Series([], dtype=column.dtype).dtype for column in columns}
    assert dict(frame.dtypes) == expected
    assert list(frame.columns) == [column.name for column in columns]


@pytest.mark.parametrize(
    "rows",
    [
        [node("a"), vm(1, "a", tags="plb_ignore"), ct(2, "a", tags="plb_pin_a")],
        [node("a")],
        [offline("a"), {"id": "qemu/1", "type": "qemu", "vmid": 1, "node": "a", "status": "unknown"}],
    ],
)
def test_frames_have_the_documented_columns_and_dtypes_even_when_empty(rows: list[Any]) -> None:
    found = cluster(*rows)
    same_dtypes(found.nodes, frames.NODES)
    same_dtypes(found.guests, frames.GUESTS)
    same_dtypes(found.rules, frames.RULES)


def test_rows_in_any_order_give_the_same_frames() -> None:
    rows = [node(f"n{i}", used=i) for i in range(12)] + [vm(100 + i, f"n{i % 12}", tags="b;a") for i in range(40)]
    expected = cluster(*rows)
    for seed in range(5):
        found = cluster(*random.Random(seed).sample(rows, len(rows)))
        pd.testing.assert_frame_equal(found.nodes, expected.nodes)
        pd.testing.assert_frame_equal(found.guests, expected.guests)
    assert list(expected.guests["vmid"]) == sorted(expected.guests["vmid"])
    assert list(expected.nodes["node"]) == sorted(expected.nodes["node"])


# Nodes


def test_an_offline_node_has_no_figures_and_is_said_once() -> None:
    found = cluster(node("a"), offline("b"))
    row = next(r for r in found.nodes.itertuples() if r.node == "b")
    assert (row.status, row.memory_mib, row.cpu_mcpu, row.disk_mib) == ("offline", 0, 0, 0)
    assert found.notes == ("node b is offline: it and its guests are left alone",)
    assert found.partial == ()


def test_a_guest_of_an_offline_node_may_lack_everything_but_its_id() -> None:
    guest = guests(node("a"), offline("b"), {"id": "lxc/7", "type": "lxc", "vmid": 7, "node": "b", "status": "unknown"})
    row = guest[7]
    assert (row.name, row.status, row.type, row.template, row.memory_mib) == ("", "unknown", "ct", False, 0)


def test_a_stale_running_row_on_an_offline_node_is_read_as_it_is() -> None:
    assert guests(node("a"), offline("b"), vm(7, "b"))[7].status == "running"


@pytest.mark.parametrize("status", [None, "", "unknown"])
def test_a_node_without_a_status_is_unknown(status: str | None) -> None:
    found = cluster(node("a"), node("b", status=status))
    assert list(found.nodes["status"]) == ["online", "unknown"]
    assert found.notes == ("node b is unknown: it and its guests are left alone",)


def test_maintenance_shows_in_the_hastate_of_a_node() -> None:
    found = nodes(node("a"), node("b", hastate="maintenance"), node("c", hastate=None))
    assert {name: row.maintenance for name, row in found.items()} == {"a": False, "b": True, "c": False}


def test_maintenance_shows_in_the_state_of_the_ha_manager() -> None:
    status = [
        {"id": "quorum", "node": "a", "quorate": 1, "status": "OK", "type": "quorum"},
        {"id": "lrm:a", "node": "a", "status": "a (active, Mon Nov 23 08:40:13 2026)", "type": "lrm"},
        {"id": "lrm:b", "node": "b", "status": "b (maintenance mode, Mon Nov 23 08:40:13 2026)", "type": "lrm"},
        {"id": "lrm:gone", "node": "gone", "status": "gone (maintenance mode, x)", "type": "lrm"},
        {"id": "service:vm:1", "node": "c", "status": "vm:1 (c, maintenance mode)", "type": "service"},
    ]
    found = nodes(node("a"), node("b"), node("c"), **{"/cluster/ha/status/current": status})
    assert {name: row.maintenance for name, row in found.items()} == {"a": False, "b": True, "c": False}


# Guests


def test_a_guest_needs_no_name_and_names_need_not_differ() -> None:
    found = guests(node("a"), vm(1, "a", name=None), vm(2, "a", name="x"), ct(3, "a", name="x"))
    assert [found[vmid].name for vmid in (1, 2, 3)] == ["", "x", "x"]


def test_a_stopped_guest_uses_nothing_and_keeps_its_memory() -> None:
    row = guests(node("a"), stopped(1, "a", 8))[1]
    assert (row.status, row.memory_mib, row.memory_used_mib, row.cpu_used_mcpu) == ("stopped", 8192, 0, 0)


@pytest.mark.parametrize(("value", "expected"), [(1, True), ("1", True), (0, False), ("0", False), (None, False)])
def test_a_template_is_one_however_it_is_written(value: Any, expected: bool) -> None:
    assert bool(guests(node("a"), vm(1, "a", template=value))[1].template) is expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"mem": 3 * GIB, "memhost": 4 * GIB}, 4096),  # PVE 9
        ({"mem": 3 * GIB, "memhost": None}, 3072),  # PVE 8
        ({"mem": 3 * GIB, "memhost": 0}, 3072),  # a container
        ({"mem": 3 * GIB, "memhost": 9 * GIB}, 9216),  # more than its maxmem of 4 GiB
        ({"mem": 5 * GIB, "memhost": None}, 5120),
    ],
)
def test_what_a_guest_costs_is_memhost_if_there_is_one(facts: dict[str, Any], expected: int) -> None:
    row = guests(node("a"), vm(1, "a", 4, **facts))[1]
    assert (row.memory_used_mib, row.memory_mib) == (expected, 4096)


def test_cpu_may_exceed_one_a_little() -> None:
    found = cluster(node("a", threads=16, cpu=1.0125), vm(1, "a", maxcpu=4, cpu=1.03))
    assert list(found.nodes["cpu_used_mcpu"]) == [16200]
    assert list(found.guests["cpu_used_mcpu"]) == [4120]


def test_units_are_exact() -> None:
    rows = [node("a", maxmem=2**50 + MIB, mem=MIB - 1, threads=128, cpu=0.5), vm(1, "a", maxmem=1, mem=MIB // 2 + 1)]
    found = cluster(*rows, storage("s", "a", 3, 1))
    row = found.nodes.iloc[0]
    assert (row["memory_mib"], row["memory_used_mib"]) == (2**30 + 1, 1)
    assert (row["cpu_mcpu"], row["cpu_used_mcpu"]) == (128_000, 64_000)
    assert (row["disk_mib"], row["disk_used_mib"]) == (3072, 1024)
    assert found.guests.iloc[0]["memory_mib"] == 0


def test_numbers_may_be_written_as_text() -> None:
    figures = ("maxcpu", "cpu", "maxmem", "mem", "maxdisk", "disk", "memhost", "template", "vmid", "shared")
    rows = [node("a", used=7, cpu=0.25), vm(1, "a", 8, 5), ct(2, "a"), storage("s", "a")]
    texts = [{k: str(v) if k in figures else v for k, v in row.items()} for row in rows]
    expected, found = cluster(*rows), cluster(*texts)
    pd.testing.assert_frame_equal(found.nodes, expected.nodes)
    pd.testing.assert_frame_equal(found.guests, expected.guests)


@pytest.mark.parametrize(
    ("tags", "expected"), [(None, ""), ("", ""), ("b;a", "b;a"), ("b; a,c", "b;a;c"), (";;b;", "b"), ("B;b", "B;b")]
)
def test_tags_are_split_and_keep_their_order(tags: str | None, expected: str) -> None:
    row = vm(1, "a") if tags is None else vm(1, "a") | {"tags": tags}
    assert guests(node("a"), row)[1].tags == expected


def test_pool_lock_and_ha_state_are_empty_where_missing() -> None:
    found = guests(node("a"), vm(1, "a"), vm(2, "a", pool="p/q", lock="backup", hastate="started"))
    assert (found[1].pool, found[1].lock, found[1].ha_state) == ("", "", "")
    assert (found[2].pool, found[2].lock, found[2].ha_state) == ("p/q", "backup", "started")


@pytest.mark.parametrize("status", ["paused", "prelaunch", "io-error"])
def test_other_states_of_a_vm_are_kept(status: str) -> None:
    assert guests(node("a"), vm(1, "a", status=status))[1].status == status


def test_rows_of_other_types_are_passed_over() -> None:
    others: list[dict[str, Any]] = [
        {"id": "network/a/zone/l", "type": "network", "node": "a", "network": "l", "status": "ok"},
        {"id": "sdn/a/l", "type": "sdn", "node": "a"}, {"id": "/pool/p", "type": "pool", "pool": "p", "mem": "?"},
        {"type": "what a later release adds", "vmid": 1, "node": 7}, {"type": None}, {"type": ["qemu"]}, {},
    ]  # fmt: skip
    found = cluster(node("a"), vm(1, "a"), *others)
    assert (len(found.nodes), len(found.guests), found.notes) == (1, 1, ())


# Local disks


def test_local_storage_counts_per_node_and_shared_does_not() -> None:
    rows = [node("a"), node("b"), storage("s", "a", 100, 10), storage("t", "a", 50, 5), storage("c", "b", shared=1)]
    found = nodes(*rows, **{content_path("a", "s"): [], content_path("a", "t"): []})
    assert (found["a"].disk_mib, found["a"].disk_used_mib) == (150 * 1024, 15 * 1024)
    assert (found["b"].disk_mib, found["b"].disk_used_mib) == (100 * 1024, 10 * 1024), "the root file system"


def test_the_volumes_of_a_guest_on_its_node_are_its_local_disks() -> None:
    volumes = [
        volume(1, 10), volume(1, 5, used=GIB, content="rootdir"), volume(2, 3, vmid="2"), volume(3, 9),
        volume(1, 7, content="iso"), volume(1, 7, content="backup"), {"volid": "s:iso/x", "size": GIB},
    ]  # fmt: skip
    found = guests(
        node("a"), node("b"), vm(1, "a"), vm(2, "a"), vm(3, "b"), storage("s", "a"), **{content_path("a", "s"): volumes}
    )
    assert (found[1].disk_mib, found[1].disk_used_mib) == (15 * 1024, 11 * 1024)
    assert (found[2].disk_mib, found[2].disk_used_mib) == (3 * 1024, 3 * 1024)
    assert found[3].disk_mib == 0, "a volume left behind on another node is not its disk"


def test_the_smallest_volume_is_a_local_disk() -> None:
    tiny = {content_path("a", "s"): [volume(1, 0, size=540_672 // 2)]}
    assert guests(node("a"), vm(1, "a"), storage("s", "a"), **tiny)[1].disk_mib == 1


# What makes no sense


BAD_ROWS: dict[str, tuple[list[Any], str]] = {
    "no_rows": ([], "shows no node"),
    "no_node": ([storage("s", "a")], "shows no node"),
    "vmid_twice": ([vm(1, "a"), ct(1, "b")], r"guest 1 is listed twice \(on a and on b\)"),
    "vmid_twice_as_text": ([vm(1, "a"), vm("1", "a")], "guest 1 is listed twice"),  # type: ignore[arg-type]
    "node_twice": ([node("a")], "node a is listed twice"),
    "unlisted_node": ([vm(1, "gone")], "guest 1 is on node gone, which the answer does not list"),
    "no_vmid": ([vm(1, "a", vmid=None)], "vmid None"),
    "text_vmid": ([vm(1, "a", vmid="x")], "vmid 'x'"),
    "fraction_vmid": ([vm(1, "a", vmid=1.5)], "vmid 1.5"),
    "negative_vmid": ([vm(-1, "a")], "vmid -1"),
    "true_vmid": ([vm(True, "a")], "vmid True"),
    "huge_vmid": ([vm(2**70, "a")], "vmid"),
    "infinite_vmid": ([vm(1, "a", vmid=float("inf"))], "vmid inf"),
    "no_place": ([vm(1, "a", node=None)], "guest 1 has no node"),
    "place_number": ([vm(1, "a", node=5)], "guest 1 has no node"),
    "node_without_name": ([node("c", node=None)], "a node has no node"),
    "negative": ([vm(1, "a", maxmem=-1)], "guest 1: maxmem is -1, which cannot be"),
    "negative_text": ([vm(1, "a", mem="-1")], "guest 1: mem is '-1', which cannot be"),
    "nan": ([vm(1, "a", mem=float("nan"))], "guest 1: mem is nan, which cannot be"),
    "nan_text": ([vm(1, "a", mem="nan")], "guest 1: mem is 'nan', which cannot be"),
    "infinite": ([node("c", mem=float("inf"))], "node c: mem is inf, which cannot be"),
    "huge": ([vm(1, "a", maxmem=2**80)], "guest 1: maxmem is .*, which cannot be"),
    "too_huge_for_a_float": ([vm(1, "a", maxmem=10**400)], "guest 1: maxmem is .*, not a number"),
    "huge_cores": ([node("c", maxcpu=10**12)], "node c: maxcpu is .*, which cannot be"),
    "huge_cpu": ([vm(1, "a", cpu=10**9)], "guest 1: cpu is .*, which cannot be"),
    "word": ([vm(1, "a", maxmem="much")], "guest 1: maxmem is 'much', not a number"),
    "list": ([node("c", maxcpu=[4])], r"node c: maxcpu is \[4\], not a number"),
    "object": ([vm(1, "a", template={})], "guest 1: template is {}, not a number"),
    "negative_storage": ([storage("s", "a", -5)], "storage s of a: maxdisk is -.*, which cannot be"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_row_that_makes_no_sense_is_refused_by_name(kind: str) -> None:
    rows, expected = BAD_ROWS[kind]
    around = [] if kind in ("no_rows", "no_node") else [node("a"), node("b")]
    with pytest.raises(InputError, match=expected) as caught:
        cluster(*around, *rows)
    assert "\n" not in str(caught.value)


def test_a_volume_that_makes_no_sense_is_refused_by_its_path() -> None:
    path = content_path("a", "s")
    for bad, expected in (([volume(1, -1)], "size is -"), ({"a": 1}, "not a list of objects")):
        with pytest.raises(InputError, match=f"{path}.*{expected}"):
            cluster(node("a"), vm(1, "a"), storage("s", "a"), **{path: bad})


@pytest.mark.parametrize("path", ["/cluster/status", "/cluster/ha/status/current"])
def test_an_optional_answer_of_the_wrong_shape_is_refused_by_its_path(path: str) -> None:
    with pytest.raises(InputError, match=f"the answer for {path} is not a list of objects"):
        cluster(node("a"), **{path: {"errors": "x"}})


@pytest.mark.parametrize("answer", [[], "x", {"/": ["VM.Audit"]}])
def test_permissions_of_the_wrong_shape_are_refused(answer: Any) -> None:
    with pytest.raises(InputError, match="/access/permissions is not an object of objects"):
        cluster(node("a"), **{"/access/permissions": answer})


# What the token sees


PERMISSIONS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    (ALL_PRIVILEGES, ()),
    ({"/nodes": {"Sys.Audit": 1}, "/vms": {"VM.Audit": 1}}, ()),
    ({"/": {"Sys.Audit": 1, "VM.Audit": "1"}}, ()),
    ({"/": {"Sys.Audit": 1}}, ("the token lacks VM.Audit on /vms",)),
    ({"/": {"VM.Audit": 1}}, ("the token lacks Sys.Audit on /nodes",)),
    ({}, ("the token lacks Sys.Audit on /nodes", "the token lacks VM.Audit on /vms")),
    ({"/": {"Sys.Audit": 1, "VM.Audit": 0}}, ("the token lacks VM.Audit on /vms",)),  # on / itself only
    ({"/": {"Sys.Audit": 1}, "/pool/p": {"VM.Audit": 1}}, ("the token lacks VM.Audit on /vms",)),
    (ALL_PRIVILEGES | {"/vms": {"VM.Migrate": 1}}, ("the token lacks VM.Audit on /vms",)),
    (ALL_PRIVILEGES | {"/vms/7": {"VM.Migrate": 1}}, ("the token lacks VM.Audit on /vms/7",)),
    (ALL_PRIVILEGES | {"/vms/7": {"VM.Audit": 0}}, ()),
    (ALL_PRIVILEGES | {"/nodes/b": {"Sys.Console": 1}}, ("the token lacks Sys.Audit on /nodes/b",)),
]


@pytest.mark.parametrize(("permissions", "expected"), PERMISSIONS)
def test_a_lack_of_privileges_makes_the_picture_partial(permissions: Any, expected: tuple[str, ...]) -> None:
    found = cluster(node("a"), **{"/access/permissions": permissions})
    assert found.partial == expected
    assert found.notes == expected, "whoever plans on a part is told so"


@pytest.mark.parametrize("missing", ["cpu", "maxcpu", "mem", "maxmem"])
def test_an_online_node_without_figures_makes_the_picture_partial(missing: str) -> None:
    found = cluster(node("a"), node("b", **{missing: None}))
    assert found.partial == ("node b has no figures (the token lacks Sys.Audit on /nodes/b)",)


# What is not known


@pytest.mark.parametrize("path", UNKNOWN)
def test_what_is_not_known_is_said_exactly_once(path: str) -> None:
    assert cluster(node("a"), node("b"), vm(1, "a"), **{path: None}).notes == (UNKNOWN[path],)


def test_a_snapshot_of_nothing_but_resources_says_each_missing_thing_once() -> None:
    notes = collect(Snapshot({RESOURCES: [node("a"), node("b"), vm(1, "a")]}, "")).notes
    assert notes == tuple(UNKNOWN.values())


@pytest.mark.parametrize("path", sorted(set(KNOWN) - set(UNKNOWN)))
def test_an_answer_that_nothing_is_read_from_is_not_missed(path: str) -> None:
    assert cluster(node("a"), **{path: None}).notes == ()


def test_local_storages_whose_volumes_are_not_known_are_said_once() -> None:
    names = [f"n{index}" for index in range(5)]
    rows = [node(name) for name in names] + [storage("s", name) for name in names]
    (note,) = cluster(*rows, **{content_path("n2", "s"): []}).notes
    assert note.startswith("volumes on local storage are not known (s of n0, s of n1, s of n3 and 1 more)")


def test_lost_quorum_is_said_once() -> None:
    status = [{"type": "cluster", "quorate": 0}, {"type": "node", "name": "a", "online": 1}]
    assert [note[:26] for note in cluster(node("a"), **{"/cluster/status": status}).notes] == [
        "the cluster has no quorum:"
    ]


@pytest.mark.parametrize(("value", "said"), [(1, True), ("1", True), (0, False), (None, False)])
def test_a_second_balancer_is_said(value: Any, said: bool) -> None:
    options = {"crs": {"ha": "dynamic", "ha-auto-rebalance": value}}
    notes = cluster(node("a"), **{"/cluster/options": options}).notes
    assert [note[:36] for note in notes] == ["Proxmox VE balances HA guests itself"] * said


# What Proxmox VE 9.2 really answers


def test_the_recorded_answers_give_the_expected_nodes() -> None:
    found = cluster(*recorded("cluster_resources"))
    figures = found.nodes[["node", "memory_mib", "memory_used_mib", "cpu_mcpu", "cpu_used_mcpu", "disk_mib"]]
    assert [tuple(row) for row in figures.itertuples(index=False)] == [
        ("pve1", 65536, 20394, 16000, 7900, 953674),
        ("pve2", 65536, 4979, 16000, 600, 953674),
        ("pve3", 131072, 4365, 32000, 300, 953674),
    ]
    assert set(found.nodes["status"]) == {"online"} and not found.nodes["maintenance"].any()
    assert [note[:23] for note in found.notes] == ["volumes on local storag"]


def test_the_recorded_answers_give_the_expected_guests() -> None:
    found = cluster(*recorded("cluster_resources")).guests
    figures = found[["vmid", "name", "type", "node", "status", "memory_mib", "memory_used_mib", "cpu_used_mcpu"]]
    assert [tuple(row) for row in figures.itertuples(index=False)] == [
        (100, "web1", "vm", "pve1", "running", 8192, 6199, 2000),
        (101, "db1", "vm", "pve1", "running", 16384, 9830, 5600),
        (102, "ha1", "vm", "pve1", "running", 4096, 2458, 200),
        (103, "ha2", "vm", "pve2", "running", 4096, 2458, 400),
        (104, "stopped1", "vm", "pve2", "stopped", 2048, 0, 0),
        (105, "gpu", "vm", "pve3", "running", 2048, 1229, 100),
        (106, "locked", "vm", "pve3", "running", 2048, 1229, 100),
        (200, "ct1", "ct", "pve2", "running", 1024, 614, 100),
        (900, "tmpl", "vm", "pve3", "stopped", 2048, 0, 0),
    ]
    by_vmid = found.set_index("vmid")
    assert list(found[found["template"]]["vmid"]) == [900]
    assert (by_vmid["tags"][100], by_vmid["pool"][100]) == ("prod;web", "prod")
    assert (by_vmid["lock"][106], by_vmid["ha_state"][102], by_vmid["ha_state"][100]) == ("backup", "started", "")


def test_the_recorded_answers_with_a_node_down_leave_it_and_its_guests_bare() -> None:
    found = cluster(*recorded("offline_cluster_resources"))
    assert dict(zip(found.nodes["node"], found.nodes["status"], strict=True)) == {
        "pve1": "online", "pve2": "online", "pve3": "offline",
    }  # fmt: skip
    unknown = found.guests[found.guests["status"] == "unknown"]
    assert list(unknown["vmid"]) == [105, 106, 900]
    assert set(unknown["name"]) == {""} and not unknown["memory_mib"].any() and not unknown["template"].any()
    assert "node pve3 is offline: it and its guests are left alone" in found.notes
    assert found.partial == ()


def test_the_other_recorded_answers_are_read_too() -> None:
    answers = {f"/cluster/{path}": recorded(f"cluster_{path}") for path in ("status", "options")}
    answers |= {"/cluster/ha/rules": recorded("ha_rules"), "/cluster/ha/status/current": recorded("ha_status_current")}
    found = cluster(*recorded("cluster_resources"), **answers, **{"/pools": recorded("pools")})
    assert [note[:10] for note in found.notes] == ["volumes on"]
    rules = read(found)
    assert rules.notes == ()
    assert of_kind(rules, Kind.APART) == {"HA rule keep-apart": [102, 103]}
    assert rules.pins()[102] == {"pve1", "pve2"}


def test_a_snapshot_is_not_changed_by_reading_it() -> None:
    taken = snapshot(*recorded("cluster_resources"))
    before = repr(taken.answers)
    collect(taken)
    assert repr(taken.answers) == before
