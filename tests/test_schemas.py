"""Claims about the JSON Schemas of snapshot and plan: they ship, accept what is saved, and refuse what is damaged."""

import gzip
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from planner import plan as plans
from planner import snapshot as snapshots
from planner.anonymise import anonymised
from planner.clock import FastClock
from planner.collect import collect
from planner.plan import Assumes, Change, Migration, NodeLoad, Plan, PlanStatus, Spread, Stranded, Stuck
from planner.planning import make_plan, prepare
from planner.policy import Cheapest, Combine, Mode, Policy, Resource
from planner.policy import Cluster as ClusterPolicy
from planner.rules import NodeState
from planner.simulate import Size, demo
from tests.rows import DATA, FixedSource, cluster, node, offline, recorded, snapshot, stopped, vm

MAINTENANCE = ClusterPolicy(maintenance_nodes=("a",))


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((files("planner") / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


PLAN, SNAPSHOT = validator("plan"), validator("snapshot")


def problems(checker: Draft202012Validator, document: Any) -> list[str]:
    return [error.message for error in checker.iter_errors(document)]


def a_plan() -> Plan:
    """A plan with migrations, a stranded guest, notes and broken rules."""
    rows = [node("a", used=20), node("b", used=4), offline("c"), vm(1, "a", 8), stopped(2, "a"), vm(3, "b", name=None)]
    rows += [vm(4, "a", lock="backup"), vm(5, "a", tags="plb_pin_zz")]
    return make_plan(prepare(cluster(*rows), Policy(balanciness=0), MAINTENANCE), "descent")


def written(plan: Plan) -> Any:
    return json.loads(plan.to_json())


# Snapshots


@pytest.mark.parametrize("name", ["S-1", "M-1"])
def test_instances_are_snapshots_as_described(name: str) -> None:
    document = json.loads(gzip.decompress((DATA / "instances" / f"{name}.json.gz").read_bytes()))
    assert problems(SNAPSHOT, document) == []


@pytest.mark.parametrize("name", ["cluster_resources", "offline_cluster_resources"])
def test_what_proxmox_answers_is_as_described_also_without_names(tmp_path: Path, name: str) -> None:
    answers = {"/cluster/ha/rules": recorded("ha_rules"), "/cluster/ha/status/current": recorded("ha_status_current")}
    answers |= {"/cluster/options": recorded("cluster_options"), "/pools": recorded("pools")}
    taken = snapshot(*recorded(name), **answers)
    for index, one in enumerate((taken, anonymised(taken))):
        snapshots.save(one, tmp_path / f"{index}.json")
        assert problems(SNAPSHOT, json.loads((tmp_path / f"{index}.json").read_text())) == []


def test_a_snapshot_of_the_demo_is_as_described(tmp_path: Path) -> None:
    snapshots.save(snapshots.take(demo(Size.SMALL, FastClock(1.0))), tmp_path / "s.json")
    assert problems(SNAPSHOT, json.loads((tmp_path / "s.json").read_text())) == []


def test_a_snapshot_of_nothing_but_resources_is_as_described(tmp_path: Path) -> None:
    snapshots.save(snapshots.take(FixedSource({snapshots.RESOURCES: [node("a")]})), tmp_path / "s.json")
    assert problems(SNAPSHOT, json.loads((tmp_path / "s.json").read_text())) == []


Damage = Callable[[Any], Any]
BAD_SNAPSHOTS: dict[str, Damage] = {
    "format": lambda d: d | {"format": "proxlb-plan-snapshot/2"},
    "no_format": lambda d: {k: v for k, v in d.items() if k != "format"},
    "no_time": lambda d: {k: v for k, v in d.items() if k != "taken_at"},
    "more": lambda d: d | {"password": "x"},
    "no_resources": lambda d: d | {"answers": {"/pools": []}},
    "no_path": lambda d: d | {"answers": d["answers"] | {"pools": []}},
    "resources": lambda d: d | {"answers": {"/cluster/resources": {}}},
    "empty": lambda d: d | {"answers": {"/cluster/resources": []}},
    "row": lambda d: d | {"answers": {"/cluster/resources": [7]}},
    "untyped": lambda d: d | {"answers": {"/cluster/resources": [{"id": "node/a"}]}},
    "nameless_node": lambda d: d | {"answers": {"/cluster/resources": [{"type": "node"}]}},
    "homeless": lambda d: d | {"answers": {"/cluster/resources": [{"type": "qemu", "vmid": 1}]}},
    "vmid": lambda d: d | {"answers": {"/cluster/resources": [{"type": "qemu", "vmid": 1.5, "node": "a"}]}},
    "no_vmid": lambda d: d | {"answers": {"/cluster/resources": [{"type": "lxc", "node": "a"}]}},
    "negative": lambda d: d | {"answers": {"/cluster/resources": [node("a", mem=-1)]}},
    "word": lambda d: d | {"answers": {"/cluster/resources": [node("a", mem="much")]}},
    "volume": lambda d: d | {"answers": d["answers"] | {"/nodes/a/storage/s/content": [{"size": -1}]}},
    "rules": lambda d: d | {"answers": d["answers"] | {"/cluster/ha/rules": {}}},
}


@pytest.mark.parametrize("kind", BAD_SNAPSHOTS)
def test_a_damaged_snapshot_is_not_as_described(kind: str) -> None:
    good = {"format": snapshots.FORMAT, "taken_at": "", "answers": {"/cluster/resources": [node("a"), vm(1, "a")]}}
    assert problems(SNAPSHOT, good) == []
    assert problems(SNAPSHOT, BAD_SNAPSHOTS[kind](good))


# Plans


def test_a_saved_plan_is_as_described_and_loads_as_it_was(tmp_path: Path) -> None:
    plan = a_plan()
    assert plan.migrations and plan.stranded and plan.notes and plan.violations_before and plan.violations_after
    plans.save(plan, tmp_path / "p.json")
    assert problems(PLAN, json.loads((tmp_path / "p.json").read_text())) == []
    assert plans.load(tmp_path / "p.json") == plan


@pytest.mark.parametrize("solver", ["greedy", "descent", "cpsat"])
def test_plans_of_a_real_size_are_as_described(solver: str) -> None:
    source = collect(snapshots.load(DATA / "instances" / "S-1.json.gz"))
    plan = make_plan(prepare(source, Policy(balanciness=5, time_limit=2)), solver)
    assert plan.migrations
    assert problems(PLAN, written(plan)) == []


@pytest.mark.parametrize("changes", [{"balanciness": 100.0}, {"max_migrations": 0}, {"max_gib": 0.0}])
def test_plans_without_migrations_are_as_described(changes: dict[str, Any]) -> None:
    source = cluster(node("a", used=20), node("b"), vm(1, "a"))
    plan = make_plan(prepare(source, replace(Policy(), **changes)), "greedy")
    assert plan.migrations == ()
    assert problems(PLAN, written(plan)) == []


def test_a_plan_of_several_resources_with_a_stuck_node_is_as_described_and_loads_as_it_was(tmp_path: Path) -> None:
    rows = [node("a", used=60), node("b", used=24), node("c"), vm(1, "a", 50, tags="plb_ignore")]
    rows += [vm(vmid, "b", 8) for vmid in (2, 3, 4)]
    policy = Policy((Resource.MEMORY, Resource.CPU), combine=Combine.WEIGHTED, weights={"cpu": 0.5}, max_gib=40)
    for changes in ({}, {"until_balanced": True}, {"until_balanced": True, "cheapest": Cheapest.GIB}):
        plan = make_plan(prepare(cluster(*rows), replace(policy, **changes)), "cpsat")
        assert plan.migrations and [(s.node, s.resource) for s in plan.stuck] == [("a", Resource.MEMORY)]
        plans.save(plan, tmp_path / "p.json")
        assert problems(PLAN, json.loads((tmp_path / "p.json").read_text())) == []
        assert plans.load(tmp_path / "p.json") == plan


OBJECTS: list[tuple[type, dict[str, Any]]] = [
    (Plan, PLAN.schema),
    *(
        (part, PLAN.schema["$defs"][name])
        for part, name in (
            (Spread, "spread"), (Change, "change"), (Stuck, "stuck"), (NodeLoad, "node_load"), (Migration, "migration"),
            (Stranded, "stranded"), (Assumes, "assumes"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("part", "schema"), OBJECTS)
def test_every_field_of_a_plan_is_described_and_no_other_is_allowed(part: type, schema: dict[str, Any]) -> None:
    assert is_dataclass(part)
    names = [field.name for field in fields(part)]
    assert list(schema["properties"]) == names
    assert schema["required"] == names
    assert schema["additionalProperties"] is False


def test_closed_choices_are_the_same_in_schema_and_code() -> None:
    described = PLAN.schema["properties"]
    assert described["status"]["enum"] == list(PlanStatus)
    assert PLAN.schema["$defs"]["resource"]["enum"] == list(Resource)
    assert described["mode"]["enum"] == list(Mode)
    assert described["combine"]["enum"] == list(Combine)
    assert described["cheapest"]["enum"] == [*Cheapest, None]
    states = PLAN.schema["$defs"]["assumes"]["properties"]["nodes"]["additionalProperties"]["enum"]
    assert states == list(NodeState)
    assert described["format"]["const"] == plans.FORMAT
    assert SNAPSHOT.schema["properties"]["format"]["const"] == snapshots.FORMAT


def changed_migration(document: Any, **changes: Any) -> Any:
    (first, *wave), *waves = document["waves"]
    return document | {"waves": [[first | changes, *wave], *waves]}


BAD_PLANS: dict[str, Damage] = {
    "format": lambda d: d | {"format": "proxlb-plan/1"},
    "status": lambda d: d | {"status": "perfect"},
    "more": lambda d: d | {"comment": "x"},
    "seconds": lambda d: d | {"seconds": "1"},
    "spread": lambda d: d | {"spread": {"before": 1, "after": 1}},
    "negative_spread": lambda d: d | {"spread": d["spread"] | {"after": -1}},
    "limit": lambda d: d | {"max_migrations": 1.5},
    "balanciness": lambda d: d | {"balanciness": 101},
    "no_number": lambda d: changed_migration(d, number=0),
    "after_words": lambda d: changed_migration(d, after="1"),
    "no_schedule": lambda d: {key: value for key, value in d.items() if key != "schedule"},
    "checkpoint": lambda d: d | {"schedule": d["schedule"] | {"checkpoints": [{"spread": 1}]}},
    "empty_wave": lambda d: d | {"waves": [[]]},
    "flat_waves": lambda d: d | {"waves": d["waves"][0]},
    "notes": lambda d: d | {"notes": "x"},
    "vmid": lambda d: changed_migration(d, vmid="1"),
    "type": lambda d: changed_migration(d, type="qemu"),
    "target": lambda d: changed_migration(d, target=""),
    "memory": lambda d: changed_migration(d, memory_mib=-1),
    "fraction": lambda d: changed_migration(d, memory_mib=1.5),
    "running": lambda d: changed_migration(d, running=1),
    "force": lambda d: changed_migration(d, force=True),
    "load": lambda d: d | {"nodes": [{"node": "a", "load_before": None, "load_after": {"memory": 1}}]},
    "resources": lambda d: d | {"resources": []},
    "resource": lambda d: d | {"resources": ["tape"]},
    "spreads": lambda d: d | {"spreads": {"tape": {"before": 1, "after": 1}}},
    "gib": lambda d: d | {"max_gib": -1},
    "stranded": lambda d: d | {"stranded": [{"vmid": 1}]},
    "state": lambda d: d | {"assumes": d["assumes"] | {"nodes": {"a": "up"}}},
    "place": lambda d: d | {"assumes": d["assumes"] | {"guests": {"web1": "a"}}},
}


@pytest.mark.parametrize("field", [field.name for field in fields(Plan)])
def test_a_plan_without_one_of_its_fields_is_not_as_described(field: str) -> None:
    document = written(a_plan())
    del document[field]
    assert problems(PLAN, document)


@pytest.mark.parametrize("kind", BAD_PLANS)
def test_a_damaged_plan_is_not_as_described(kind: str) -> None:
    assert problems(PLAN, BAD_PLANS[kind](written(a_plan())))


# Both

COUNTS = ("vmid", "number", "bundle", "violations", "parallel", "per_source", "per_target")
"""Figures that count, or number, what their names say."""


@pytest.mark.parametrize("schema", [PLAN.schema, SNAPSHOT.schema])
def test_figures_say_their_unit(schema: dict[str, Any]) -> None:
    units = (
        "MiB",
        "bytes",
        "percent",
        "percentage points",
        "seconds",
        "fraction",
        "threads",
        "vcpus",
        "limit",
        "identity",
    )
    for name, described in properties(schema):
        text = described.get("description", "").lower()
        if described.get("type") in ("number", "integer") or described.get("$ref", "").endswith(("number", "points")):
            assert any(unit.lower() in text for unit in units) or name in COUNTS, name


def properties(schema: Any) -> list[tuple[str, Any]]:
    """All described properties, at any depth."""
    if isinstance(schema, list):
        return [found for item in schema for found in properties(item)]
    if not isinstance(schema, dict):
        return []
    own = [(k, v) for k, v in schema.get("properties", {}).items() if isinstance(v, dict)]
    return own + [found for item in schema.values() for found in properties(item)]
