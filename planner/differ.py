"""Owns what changed between two snapshots of a cluster: nodes, guests, rules, loads and spread, as frames."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from planner.cluster import Cluster
from planner.differ_rules import worded
from planner.errors import InputError
from planner.formulate import formulate
from planner.frames import Column, conform
from planner.policy import Lookback, Policy
from planner.rules import read
from planner.snapshot import Snapshot
from solvers.problem import PPM

CAME, WENT, CHANGED, MIGRATED = "came", "went", "changed", "migrated"
NODE_FACTS = {"status": "status", "maintenance": "maintenance", "memory": "memory_mib", "cpu": "cpu_mcpu",
              "disk": "disk_mib"}  # fmt: skip
"""What is compared of a node, and its column in `planner.frames.NODES`."""
GUEST_FACTS = {"node": "node", "name": "name", "type": "type", "status": "status", "template": "template",
               "memory": "memory_mib", "cpu": "cpu_mcpu", "disk": "disk_mib", "tags": "tags", "pool": "pool",
               "ha": "ha_state", "lock": "lock"}  # fmt: skip
"""The same of a guest, and `planner.frames.GUESTS`; what it uses is in the loads."""
SIZES = ("memory", "cpu", "disk")
"""Facts of a node that are 0 where they are not known: while it is offline."""
WHILE_UP = ("name", "template", "memory", "cpu", "disk")
"""Facts of a guest that Proxmox VE does not know while its node is offline; what is not known is no change, but that
its status is unknown is one."""
UNKNOWN = "unknown"
NODE = "node"
"""A guest of which this is another is one that was migrated."""

NODES = (
    Column("node", "str", "", "name"),
    Column("change", "str", "", "came, went or changed"),
    Column("what", "str", "", "status, maintenance, memory, cpu or disk; empty where it came or went"),
    Column("before", "str", "", "memory and disk in MiB, cpu in milli-CPU; empty where it came"),
    Column("after", "str", "", "the same; empty where it went"),
)
"""One row per node that came or went, and per fact of a node that changed; in the order of names."""
GUESTS = (
    Column("vmid", "int64", "", "identity of the guest"),
    Column("name", "str", "", "name, the one after where it changed"),
    Column("change", "str", "", "came, went, migrated or changed"),
    Column("what", "str", "", "node, name, type, status, template, memory, cpu, disk, tags, pool, ha or lock"),
    Column("before", "str", "", "memory and disk in MiB, cpu in milli-CPU; empty where it came"),
    Column("after", "str", "", "the same; empty where it went"),
)
"""One row per guest that came or went (`what` is its node), and per fact of a guest that changed; in vmid order."""
RULES = (
    Column("rule", "str", "", "name as the operator wrote it"),
    Column("change", "str", "", "came, went or changed"),
    Column("before", "str", "", "what it asked for; empty where it came"),
    Column("after", "str", "", "what it asks for; empty where it went"),
)
"""One row per rule of tags or of the HA manager that is another; in the order of names."""
LOADS = (
    Column("node", "str", "", "name"),
    Column("resource", "str", "", "memory, cpu, ..., as asked for"),
    Column("before", "float64", "percent", "load; empty where it was not there or not online"),
    Column("after", "float64", "percent", "the same"),
)
"""One row per node and resource."""
SPREADS = (
    Column("resource", "str", "", "memory, cpu, ..., as asked for"),
    Column("before", "float64", "percentage points", "between the fullest and the emptiest node; empty: no node"),
    Column("after", "float64", "percentage points", "the same"),
)
"""One row per resource."""

Row = dict[str, Any]
NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Difference:
    """What is not the same; frames with the columns above."""

    before: str
    """When the first snapshot was taken..."""
    after: str
    """...and the second."""
    nodes: pd.DataFrame
    guests: pd.DataFrame
    rules: pd.DataFrame
    loads: pd.DataFrame
    spreads: pd.DataFrame
    notes: tuple[str, ...] = ()
    """What a person should know about the comparison."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed but loads, which always do."""
        return self.nodes.empty and self.guests.empty and self.rules.empty

    def _repr_html_(self) -> str:
        from planner import display, report_diff

        return display.printed(lambda out: report_diff.difference(self, out))

    def to_json(self) -> str:
        """All of it; what is not known is null."""
        tables = {name: _records(getattr(self, name)) for name in ("nodes", "guests", "rules", "loads", "spreads")}
        times = {"before": self.before, "after": self.after, "changed": not self.is_empty}
        return json.dumps({**times, **tables, "notes": list(self.notes)}, indent=2)


def compare(one: Cluster, other: Cluster, policy: Policy | None = None) -> Difference:
    """What is different in the other; the policy says which loads are looked at."""
    policy = policy or Policy()
    first, second = (_measured(cluster, policy) for cluster in (one, other))
    return Difference(
        one.snapshot.taken_at,
        other.snapshot.taken_at,
        conform(_nodes(one.nodes, other.nodes), NODES, "node"),
        conform(_guests(one.guests, other.guests), GUESTS, "vmid"),
        conform(_rules(one, other), RULES, "rule"),
        conform(_loads(first, second), LOADS, "node"),
        _spreads(first, second, policy),
        (*_notes(one, other), *_unknown(first, second)),
    )


def _nodes(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[Row]:
    for name, change, what, old, new in _changes(before, after, "node", NODE_FACTS):
        yield {"node": name, "change": change, "what": what, "before": old, "after": new}


def _guests(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[Row]:
    known = (row for frame in (before, after) for row in _rows(frame) if row.name)
    names = {int(row.vmid): str(row.name) for row in known}
    homes = [{int(row.vmid): str(row.node) for row in _rows(frame)} for frame in (before, after)]
    for vmid, change, what, old, new in _changes(before, after, "vmid", GUEST_FACTS):
        row = {"vmid": vmid, "name": names.get(vmid, ""), "change": change, "what": what, "before": old, "after": new}
        if change == CAME:
            row |= {"what": NODE, "after": homes[1][vmid]}
        elif change == WENT:
            row |= {"what": NODE, "before": homes[0][vmid]}
        elif what == NODE:
            row |= {"change": MIGRATED}
        yield row


def _changes(
    before: pd.DataFrame, after: pd.DataFrame, key: str, facts: Mapping[str, str]
) -> Iterator[tuple[Any, str, str, str, str]]:
    """(key, change, what, before, after) of everything that is not the same."""
    old, new = ({getattr(row, key): row for row in _rows(frame)} for frame in (before, after))
    for item in sorted({*old, *new}):
        if item not in new:
            yield item, WENT, "", "", ""
        elif item not in old:
            yield item, CAME, "", "", ""
        else:
            for what, column in facts.items():
                was, now = getattr(old[item], column), getattr(new[item], column)
                if was != now and _is_known(old[item], what, was) and _is_known(new[item], what, now):
                    yield item, CHANGED, what, _said(was), _said(now)


def _is_known(row: Any, what: str, value: Any) -> bool:
    """Whether a fact of a node or guest, a row of its frame, is known."""
    if hasattr(row, "vmid"):
        return row.status != UNKNOWN or what not in WHILE_UP
    return what not in SIZES or value > 0


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())


def _said(value: Any) -> str:
    return {True: "yes", False: "no"}[bool(value)] if isinstance(value, bool) else str(value)


def _rules(one: Cluster, other: Cluster) -> Iterator[Row]:
    old, new = (worded(cluster) for cluster in (one, other))
    for name in sorted({*old, *new}):
        was, now = old.get(name, ""), new.get(name, "")
        if was != now:
            change = CHANGED if was and now else WENT if was else CAME
            yield {"rule": name, "change": change, "before": was, "after": now}


# --- loads ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a cluster shows of its loads."""

    loads: dict[tuple[str, str], float]
    """(node, resource) to percent."""
    spreads: dict[str, float]
    """Resource to percentage points."""
    unknown: dict[str, str]
    """Resource of which there is neither, to why."""


def _measured(cluster: Cluster, policy: Policy) -> _Measured:
    """Loads of now, of each resource as far as anything is known of it: nothing is planned with them."""
    found, rules = _Measured({}, {}, {}), read(cluster)
    known = {*cluster.nodes["node"], "default"}
    reserve = {name: kept for name, kept in policy.reserve.items() if name in known}
    for resource in policy.resource:
        now = replace(
            policy, resource=(resource,), reserve=reserve, overcommit={}, max_guests={}, pressure={},
            window=Lookback.NOW, forecast=False, allow_partial=True,
        )  # fmt: skip
        try:
            formulation = formulate(cluster, rules, now)
        except InputError as error:  # it has no history, or no node is online
            found.unknown[resource.value] = str(error)
            continue
        problem = formulation.problem
        spreads = problem.spreads(problem.origin) * 100 / PPM
        worst = int(spreads.argmax())  # of its periods
        load = problem.loads(problem.origin)[worst] * 100 / PPM
        found.loads.update(
            {(n, resource.value): round(float(x), 4) for n, x in zip(formulation.nodes, load, strict=True)}
        )
        found.spreads[resource.value] = round(float(spreads[worst]), 4)
    return found


def _loads(first: _Measured, second: _Measured) -> Iterator[Row]:
    for node, resource in {**first.loads, **second.loads}:
        before, after = (found.loads.get((node, resource), NAN) for found in (first, second))
        yield {"node": node, "resource": resource, "before": before, "after": after}


def _spreads(first: _Measured, second: _Measured, policy: Policy) -> pd.DataFrame:
    names = [resource.value for resource in policy.resource]
    spread = {
        end: [found.spreads.get(name, NAN) for name in names] for end, found in (("before", first), ("after", second))
    }
    return pd.DataFrame({"resource": pd.Series(names, dtype="str"), **spread})


# --- notes ------------------------------------------------------------------------------------------


def _notes(one: Cluster, other: Cluster) -> Iterator[str]:
    if one.snapshot.taken_at > other.snapshot.taken_at:
        yield "the first snapshot was taken after the second: what came has gone, and the other way round"
    names = [_cluster_name(cluster.snapshot) for cluster in (one, other)]
    if all(names) and names[0] != names[1]:
        yield f"these are snapshots of two clusters: {names[0]} and {names[1]}"
    nodes = [{*map(str, cluster.nodes["node"])} for cluster in (one, other)]
    if nodes[0].isdisjoint(nodes[1]):
        yield "no node is in both snapshots: are they of one cluster, and is none or are both of them anonymised?"
    elif nodes[0] != nodes[1] and any(all(_is_numbered(name) for name in some) for some in nodes):
        yield (
            "names of anonymised snapshots are numbered anew in each: where nodes came or went, the same name may "
            "stand for another node"
        )


def _unknown(first: _Measured, second: _Measured) -> Iterator[str]:
    """Loads that are not known, and why; in one line where that is so of both."""
    for resource in {**first.unknown, **second.unknown}:
        why = [found.unknown.get(resource) for found in (first, second)]
        if why[0] == why[1]:
            yield f"{resource} is known of neither snapshot: {why[0]}"
            continue
        for number, reason in zip(("first", "second"), why, strict=True):
            if reason is not None:
                yield f"{resource} is not known of the {number} snapshot: {reason}"


def _cluster_name(snapshot: Snapshot) -> str:
    status = snapshot.get("/cluster/status")
    entries = status if isinstance(status, list) else []
    return next((str(e.get("name") or "") for e in entries if isinstance(e, dict) and e.get("type") == "cluster"), "")


def _is_numbered(name: str) -> bool:
    return name.startswith(NODE) and name.removeprefix(NODE).isdecimal()


def _records(frame: pd.DataFrame) -> list[Row]:
    rows = frame.to_dict("records")
    return [{str(key): None if value != value else value for key, value in row.items()} for row in rows]
