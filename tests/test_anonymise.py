"""Claims about anonymised snapshots: no name is left, and the same plan follows."""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from planner import snapshot as snapshots
from planner.anonymise import anonymised
from planner.clock import FastClock
from planner.collect import collect
from planner.errors import InputError
from planner.formulate import formulate
from planner.planning import make_plan, prepare
from planner.policy import Mode, Policy, Resource
from planner.rule import Kind
from planner.rules import NodeState, read
from planner.simulate import Size, demo
from planner.snapshot import RESOURCES, Snapshot, content_path
from tests.rows import DATA, KNOWN, ct, node, of_kind, offline, recorded, snapshot, stopped, storage, vm, volume

SECRETS = (
    "zurich", "berlin", "oslo", "lisbon", "madrid", "acme", "payroll", "billing", "webshop", "vault", "fastdisk",
    "ceph-gold", "finance", "hr-team", "quorumlove", "topsecret", "alice", "10.1.2.3", "bc:24:11", "d34db33f",
    "stack-blue", "ha-red", "nowhere", "keep-payroll", "grp-old", "local-lvm", "example.com", "prod-tag", "Riga",
)  # fmt: skip
"""Every name in the rich snapshot, none of which may be left."""


def rich_rows() -> list[dict[str, Any]]:
    """Names in every row and field, rules in tags."""
    return [
        node("Zurich-1", 128, used=100, hastate="online", ip="10.1.2.3", description="alice's node"),
        node("berlin", 64, used=8, hastate="maintenance"), node("oslo", 256, used=20), node("lisbon", 128, used=30),
        offline("madrid"),
        {"id": "qemu/900", "type": "qemu", "vmid": 900, "node": "madrid", "status": "unknown", "lock": "topsecret"},
        vm(100, "Zurich-1", 16, tags="plb_affinity_Stack-Blue;prod-tag", name="payroll1", pool="acme/finance"),
        vm(101, "Zurich-1", 16, tags="prod-tag;plb_affinity_stack-blue", name="payroll2", pool="acme/finance"),
        vm(102, "Zurich-1", 12, tags="plb_anti_affinity_ha-red", name="billing"),
        vm(103, "Zurich-1", 12, tags="plb_anti_affinity_ha-red", name="billing"),
        vm(104, "Zurich-1", 8, tags="plb_pin_LISBON;plb_pin_zurich-1", name="webshop", hastate="started"),
        vm(105, "Zurich-1", 8, tags="plb_pin_nowhere", name="webshop2", pool="hr-team"),
        vm(106, "Zurich-1", 10, tags="plb_ignore_for_alice", name="vault"),
        vm(107, "Zurich-1", 9, name="vault2", lock="topsecret"), stopped(108, "berlin", name="topsecret-vm"),
        ct(109, "berlin", 8, name="payroll-ct", tags="PLB_ANTI_AFFINITY_ha-red"),
        vm(110, "lisbon", 8, name=None), vm(111, "lisbon", 20, name="acme.example.com"), vm(112, "oslo", template=1),
        storage("local-lvm", "Zurich-1", 100, 20), storage("fastdisk", "oslo", 50, status="offline-alice"),
        storage("ceph-gold", "oslo", shared=1, plugintype="rbd", content="images,topsecret"),
        {"id": "/pool/acme/finance", "type": "pool", "pool": "acme/finance", "mem": 5},
        {"id": "network/oslo/zone/quorumlove", "type": "network", "network": "quorumlove", "node": "oslo"},
    ]  # fmt: skip


def rich() -> Snapshot:
    """Everything that an answer may hold: rules in tags and in HA, pools, storages, people, addresses, notes."""
    permissions = {
        "/": {"Sys.Audit": 1, "VM.Audit": 1, "alice": 1}, "/vms/100": {"VM.Audit": 1, "VM.Migrate": 1},
        "/nodes/oslo": {"Sys.Audit": 1}, "/pool/acme/finance": {"VM.Audit": 1}, "/storage/fastdisk": {},
        "/access/users/alice": {"Sys.Audit": 1}, "/nodes/atlantis-topsecret": {"Sys.Audit": 1},
    }  # fmt: skip
    rules: list[dict[str, Any]] = [
        {"rule": "keep-payroll", "type": "resource-affinity", "affinity": "positive", "resources": "vm:100,vm:101",
         "comment": "ask alice", "digest": "d34db33f", "order": 1},
        {"rule": "ha-red-pin", "type": "node-affinity", "nodes": "oslo:2, Zurich-1,riga:1",
         "resources": "vm:104,ct:109",
         "strict": 1, "disable": 0, "order": 2, "errors": {"nodes": ["unknown node Riga"]}},
        {"rule": "quorumlove", "type": "what comes later", "resources": "vm:100"},
    ]  # fmt: skip
    return snapshot(
        *rich_rows(),
        **{
            content_path("Zurich-1", "local-lvm"): [
                volume(107, 5, volid="local-lvm:vm-107-payroll", notes="alice"), volume(0, 1, content="topsecret"),
            ],
            "/nodes/oslo/qemu/112/config": {"description": "alice"},
            "/access/permissions": permissions,
            "/cluster/ha/rules": rules,
            "/cluster/ha/resources": [
                {"sid": "vm:104", "type": "vm", "state": "started", "group": "grp-old", "comment": "alice",
                 "max_restart": 1, "digest": "d34db33f"},
                {"sid": "vm:payroll", "type": "vm", "state": "topsecret"},
            ],
            "/cluster/ha/status/current": [
                {"id": "lrm:lisbon", "node": "lisbon", "type": "lrm", "status": "lisbon (active, Mon Nov 23 2026)"},
                {"id": "lrm:berlin", "node": "berlin", "type": "lrm", "status": "berlin (maintenance mode, Mon)"},
                {"id": "master", "node": "oslo", "type": "master", "status": "oslo (active)"},
            ],
            "/cluster/status": [
                {"type": "cluster", "id": "cluster", "name": "acme-prod", "quorate": 1, "nodes": 5, "version": 7},
                {"type": "node", "id": "node/oslo", "name": "oslo", "ip": "10.1.2.3", "online": 1, "local": 1},
            ],
            "/cluster/options": {
                "description": "call alice", "mac_prefix": "BC:24:11", "email_from": "alice@example.com",
                "migration": {"type": "secure", "network": "10.1.2.3/24"}, "allowed-tags": ["prod-tag"],
                "crs": {"ha": "static", "ha-auto-rebalance": 1, "note": "alice"},
            },
            "/pools": [{"poolid": "acme/finance", "comment": "alice"}, {"poolid": "hr-team"}],
            "/version": {"version": "9.2.6", "release": "9.2", "repoid": "d34db33f", "console": "alice"},
        },
    )  # fmt: skip


def text(taken: Snapshot) -> str:
    return json.dumps([taken.taken_at, taken.answers])


def plan_of(taken: Snapshot, solver: str, **policy: Any) -> list[tuple[int, int, int]]:
    """(vmid, place of the source, place of the target), places in name order."""
    found = collect(taken)
    place = {name: index for index, name in enumerate(found.nodes["node"])}
    plan = make_plan(prepare(found, Policy(balanciness=0, **policy)), solver)
    return [(m.vmid, place[m.source], place[m.target]) for m in plan.migrations]


# No name is left


def test_no_name_is_left_anywhere() -> None:
    before, after = text(rich()).casefold(), text(anonymised(rich())).casefold()
    missing = [secret for secret in SECRETS if secret.casefold() not in before]
    assert missing == [], "the rich snapshot should hold them all"
    assert [secret for secret in SECRETS if secret.casefold() in after] == []


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in nested answers."""
    for at in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, at
        yield from places(value[at])


def test_no_place_in_the_answers_lets_a_foreign_word_through() -> None:
    answers: Any = json.loads(json.dumps(rich().answers))
    tried = 0
    for container, at in [place for path in answers for place in places(answers[path])]:
        value = container[at]
        for poison in ("poison", "1 poison", 'x","poison', {"poison": "poison"}, ["poison"]):
            container[at] = poison
            with contextlib.suppress(InputError):  # a row that is no object
                assert "poison" not in text(anonymised(Snapshot(answers, "")))
        container[at] = value
        if isinstance(container, dict):
            container["poison"] = container.pop(at)
            assert "poison" not in text(anonymised(Snapshot(answers, "")))
            container[at] = container.pop("poison")
        tried += 1
    assert tried > 400


@pytest.mark.parametrize("name", ["S-1", "M-1"])
def test_no_name_of_an_instance_is_left(name: str) -> None:
    taken = snapshots.load(DATA / "instances" / f"{name}.json.gz")
    rows = taken.answers[RESOURCES]
    names = {row[field] for row in rows for field in ("node", "name", "storage") if field in row}
    after = re.findall(r"[\w.-]+", text(anonymised(taken)))
    assert len(names) > 60 and names.isdisjoint(after)


def test_no_name_of_the_recorded_answers_is_left() -> None:
    answers = {f"/cluster/{path}": recorded(f"cluster_{path}") for path in ("status", "options")}
    answers |= {"/cluster/ha/rules": recorded("ha_rules"), "/cluster/ha/resources": recorded("ha_resources")}
    answers |= {"/cluster/ha/status/current": recorded("ha_status_current"), "/pools": recorded("pools")}
    after = set(re.findall(r"[\w.-]+", text(anonymised(snapshot(*recorded("cluster_resources"), **answers)))))
    names = {"pve1", "pve2", "pve3", "web1", "db1", "ha1", "ha2", "stopped1", "gpu", "locked", "ct1", "tmpl", "ceph"}
    names |= {"prod", "web", "local-lvm", "keep-apart", "pin", "realpve", "127.0.91.1", "comment", "localnetwork"}
    assert names.isdisjoint(after)


def test_answers_that_are_not_known_to_be_harmless_are_left_out() -> None:
    after = anonymised(rich()).answers
    assert set(after) == (
        set(rich().answers) - {content_path("Zurich-1", "local-lvm"), "/nodes/oslo/qemu/112/config"}
    ) | {content_path("node1", "storage3")}
    assert after["/version"] == {"version": "9.2.6", "release": "9.2"}
    assert after["/cluster/options"] == {
        "crs": {"ha": "static", "ha-auto-rebalance": 1},
        "migration": {"type": "secure"},
    }
    assert {row["type"] for row in after[RESOURCES]} == {"node", "qemu", "lxc", "storage", "pool"}


def test_a_taken_at_that_is_no_time_is_left_out() -> None:
    assert anonymised(Snapshot({RESOURCES: [node("a")]}, "by alice")).taken_at == ""
    assert anonymised(rich()).taken_at == rich().taken_at
    assert "alice" not in anonymised(Snapshot({RESOURCES: [node("a")]}, "", "/home/alice/s.json")).origin


# Names are consistent


def test_a_thing_has_one_new_name_wherever_it_is_named() -> None:
    after = anonymised(rich()).answers
    nodes = {row["id"]: row["node"] for row in after[RESOURCES] if row["type"] == "node"}
    assert nodes == {f"node/node{i}": f"node{i}" for i in range(1, 6)}
    guest = {row["vmid"]: row for row in after[RESOURCES] if row["type"] in ("qemu", "lxc")}
    assert (guest[102]["name"], guest[102]["name"]) == (guest[103]["name"], "guest03")
    assert guest[100]["id"] == "qemu/100" and guest[109]["id"] == "lxc/109" and "name" not in guest[110]
    assert guest[100]["pool"] == guest[101]["pool"] == after["/pools"][0]["poolid"]
    assert f"/pool/{guest[100]['pool']}" in after["/access/permissions"]
    storages = {row["id"] for row in after[RESOURCES] if row["type"] == "storage"}
    assert storages == {"storage/node1/storage3", "storage/node5/storage2", "storage/node5/storage1"}
    assert after["/cluster/ha/resources"][0]["sid"] == "vm:104"


def test_nodes_keep_their_order() -> None:
    names = [f"n{i}" for i in range(1, 13)]
    after = collect(anonymised(snapshot(*(node(name, gib=i + 1) for i, name in enumerate(names)))))
    before = collect(snapshot(*(node(name, gib=i + 1) for i, name in enumerate(names))))
    assert list(after.nodes["node"]) == [f"node{i:02d}" for i in range(1, 13)]
    assert list(after.nodes["memory_mib"]) == list(before.nodes["memory_mib"])


def test_ha_rules_name_the_new_nodes_and_the_same_guests() -> None:
    first, second = anonymised(rich()).answers["/cluster/ha/rules"]
    assert first == {
        "rule": "rule2", "type": "resource-affinity", "affinity": "positive", "resources": "vm:100,vm:101", "order": 1,
    }  # fmt: skip
    assert (second["nodes"], second["resources"], second["strict"]) == ("node5:2,node1", "vm:104,ct:109", 1)
    assert second["errors"], "Proxmox VE ignores a rule with errors, so they must still show"


def test_rules_still_mean_the_same() -> None:
    before, after = read(collect(rich())), read(collect(anonymised(rich())))
    new = dict(zip(before.states, after.states, strict=True))
    assert list(before.states.values()) == list(after.states.values())
    for kind in (Kind.TOGETHER, Kind.APART, Kind.IGNORE):
        assert list(of_kind(before, kind).values()) == list(of_kind(after, kind).values())
    assert after.pins() == {vmid: {new[name] for name in names} for vmid, names in before.pins().items()}
    pinned = [[note for note in rules.notes if note.startswith("tag plb_pin_")] for rules in (before, after)]
    assert len(pinned[0]) == len(pinned[1]) == 1, "a pin to no node stays one"
    assert of_kind(after, Kind.IGNORE) == {"plb_ignore": [106]}


def test_all_that_a_plan_is_made_from_stays() -> None:
    before, after = collect(rich()), collect(anonymised(rich()))
    names = ["node", "name", "tags", "pool", "lock"]
    assert after.guests.drop(columns=names).equals(before.guests.drop(columns=names))
    assert after.nodes.drop(columns="node").equals(before.nodes.drop(columns="node"))
    assert list(after.guests["lock"] != "") == list(before.guests["lock"] != "")
    assert len(after.notes) == len(before.notes) and after.partial == before.partial == ()


@pytest.mark.parametrize(
    ("rows", "answers"),
    [
        ([node("acme", maxmem=None)], {}),
        ([node("acme")], {"/access/permissions": {"/": {"Sys.Audit": 1}}}),
        ([node("acme")], {"/access/permissions": {"/": {"Sys.Audit": 1, "VM.Audit": 0}}}),
        ([node("acme")], {"/access/permissions": {}}),
    ],
)
def test_half_a_picture_stays_half_a_picture(rows: list[Any], answers: dict[str, Any]) -> None:
    before, after = collect(snapshot(*rows, **answers)), collect(anonymised(snapshot(*rows, **answers)))
    assert len(after.partial) == len(before.partial) > 0


def test_what_is_not_known_stays_not_known() -> None:
    for bare in (
        Snapshot({RESOURCES: [node("acme")]}, ""),
        Snapshot({RESOURCES: [node("acme")], **dict.fromkeys(KNOWN)}, ""),
    ):
        assert collect(anonymised(bare)).notes == collect(bare).notes
        assert collect(anonymised(bare)).partial == ()


def test_the_original_is_not_changed() -> None:
    taken = rich()
    before = text(taken)
    anonymised(taken)
    assert text(taken) == before


# The same plan


POLICIES: list[dict[str, Any]] = [
    {}, {"max_migrations": 3}, {"resource": Resource.CPU}, {"mode": Mode.ASSIGNED, "fit": Mode.ASSIGNED},
    {"with_local_disks": True},
]  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("solver", ["greedy", "descent"])
def test_the_same_plan_follows_for_a_rich_cluster(solver: str, policy: dict[str, Any]) -> None:
    before, after = plan_of(rich(), solver, **policy), plan_of(anonymised(rich()), solver, **policy)
    assert before and before == after


@pytest.mark.parametrize("solver", ["greedy", "descent", "proxlb"])
def test_the_same_plan_follows_for_an_instance(solver: str) -> None:
    taken = snapshots.load(DATA / "instances" / "S-1.json.gz")
    before, after = plan_of(taken, solver), plan_of(anonymised(taken), solver)
    assert before and before == after


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
@pytest.mark.parametrize("solver", ["greedy", "descent"])
def test_the_same_plan_follows_for_demo_clusters(solver: str, seed: int) -> None:
    taken = snapshots.take(demo(Size.SMALL, FastClock(1.0), seed))
    assert plan_of(taken, solver) == plan_of(anonymised(taken), solver)


def test_the_same_problem_follows() -> None:
    one, other = (formulate(c, read(c), Policy()) for c in map(collect, (rich(), anonymised(rich()))))
    assert one.problem.together == other.problem.together and one.problem.apart == other.problem.apart
    assert (one.problem.eligibility == other.problem.eligibility).all()
    assert (one.problem.base == other.problem.base).all() and set(one.fixed) == set(other.fixed)
    assert NodeState.MAINTENANCE in other.rules.states.values()


# What makes no sense


def test_resources_of_the_wrong_shape_are_refused() -> None:
    for answer in (None, {}, [1]):
        with pytest.raises(InputError, match="not a list of objects"):
            anonymised(Snapshot({RESOURCES: answer}, ""))


def test_values_of_the_wrong_type_are_left_out_and_not_shown() -> None:
    row = {"type": "qemu", "vmid": "alice", "node": ["alice"], "name": {"alice": 1}, "status": 7, "mem": "alice GB"}
    row |= {"tags": ["alice"], "template": "alice", "hastate": ["alice"], "pool": 3}
    after = anonymised(Snapshot({RESOURCES: [row, node("acme"), {"type": ["alice"]}]}, ""))
    assert "alice" not in text(after) and "acme" not in text(after)
