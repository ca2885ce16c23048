"""Owns the way from API answers to frames: API units become MiB and milli-CPU, and every quirk ends here."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from planner import frames
from planner.cluster import Cluster
from planner.errors import InputError
from planner.snapshot import RESOURCES, Snapshot, local_storages, rows

MIB = 2**20
GUEST_TYPES = {"qemu": "vm", "lxc": "ct"}
PRIVILEGES = ("Sys.Audit", "VM.Audit")
"""Without these Proxmox VE leaves out figures of nodes, or guests, and says nothing."""

Row = Mapping[str, Any]


def collect(snapshot: Snapshot) -> Cluster:
    """Frames of the cluster that a snapshot shows. InputError names the entry that makes no sense."""
    resources = list(rows(snapshot.get(RESOURCES), RESOURCES))
    nodes = [_node(row) for row in _of_type(resources, ("node",))]
    guests = [_guest(row) for row in _of_type(resources, tuple(GUEST_TYPES))]
    if not nodes:
        raise InputError(f"{snapshot.origin} shows no node: the token may lack Sys.Audit, or this is not a cluster")
    _no_doubles(nodes, "node")
    _no_doubles(guests, "vmid")
    known = {node["node"] for node in nodes}
    for guest in guests:
        if guest["node"] not in known:
            raise InputError(f"guest {guest['vmid']} is on node {guest['node']}, which the answer does not list")
    _add_local_disks(nodes, guests, resources, snapshot)
    _take_maintenance(nodes, snapshot)
    partial = tuple(_partial(nodes, snapshot))
    for node in nodes:
        node.pop("complete")
    notes = tuple(_notes(nodes, snapshot))
    node_frame = frames.conform(nodes, frames.NODES, "node")
    return Cluster(node_frame, frames.conform(guests, frames.GUESTS, "vmid"), snapshot, notes, partial)


def _of_type(resources: Iterable[Row], types: tuple[str, ...]) -> list[Row]:
    return [row for row in resources if row.get("type") in types]


def _node(row: Row) -> dict[str, Any]:
    what = f"node {row.get('node')}"
    cores = _number(row, "maxcpu", what)
    return {
        "node": _text(row, "node", "a node"),
        "status": str(row.get("status", "unknown")),
        "maintenance": row.get("hastate") == "maintenance",
        "memory_mib": _mib(row, "maxmem", what),
        "memory_used_mib": _mib(row, "mem", what),
        "cpu_mcpu": round(cores * 1000),
        "cpu_used_mcpu": round(_number(row, "cpu", what) * cores * 1000),
        "disk_mib": _mib(row, "maxdisk", what),
        "disk_used_mib": _mib(row, "disk", what),
        "complete": "maxmem" in row and "maxcpu" in row,
    }


def _guest(row: Row) -> dict[str, Any]:
    vmid = _vmid(row)
    what = f"guest {vmid}"
    cores = _number(row, "maxcpu", what)
    return {
        "vmid": vmid,
        "name": str(row.get("name") or ""),
        "type": GUEST_TYPES[row["type"]],
        "node": _text(row, "node", what),
        "status": str(row.get("status", "unknown")),
        "template": bool(_number(row, "template", what)),
        "tags": ";".join(_tags(row.get("tags"))),
        "pool": str(row.get("pool") or ""),
        "lock": str(row.get("lock") or ""),
        "ha_state": str(row.get("hastate") or ""),
        "memory_mib": _mib(row, "maxmem", what),
        # PVE 8 has no memhost, and a container's may be 0: then its own figure is what there is.
        "memory_used_mib": _mib(row, "memhost", what) or _mib(row, "mem", what),
        "cpu_mcpu": round(cores * 1000),
        "cpu_used_mcpu": round(_number(row, "cpu", what) * cores * 1000),
        "disk_mib": 0,
        "disk_used_mib": 0,
    }


def _tags(value: Any) -> list[str]:
    return [tag for tag in str(value or "").replace(",", ";").replace(" ", ";").split(";") if tag]


def _vmid(row: Row) -> int:
    try:
        return int(row["vmid"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"a guest ({row.get('id', 'no id')}) has the vmid {row.get('vmid')!r}") from None


def _text(row: Row, name: str, what: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise InputError(f"{what} has no {name}: {row.get('id', row)!r}")
    return value


def _number(row: Row, name: str, what: str) -> float:
    """A number that may be missing (0), or be written as a string, but never negative or not finite."""
    value = row.get(name)
    if value is None or value == "":
        return 0.0
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{what}: {name} is {value!r}, not a number") from None
    if not math.isfinite(number) or number < 0 or number > 2**63:
        raise InputError(f"{what}: {name} is {value!r}, which cannot be")
    return number


def _mib(row: Row, name: str, what: str) -> int:
    return round(_number(row, name, what) / MIB)


def _no_doubles(records: list[dict[str, Any]], name: str) -> None:
    seen: dict[Any, dict[str, Any]] = {}
    for record in records:
        first = seen.setdefault(record[name], record)
        if first is not record:
            where = f" (on {first['node']} and on {record['node']})" if name == "vmid" else ""
            what = "guest" if name == "vmid" else "node"
            raise InputError(f"{what} {record[name]} is listed twice{where}: take a new snapshot")


def _add_local_disks(
    nodes: list[dict[str, Any]], guests: list[dict[str, Any]], resources: list[dict[str, Any]], snapshot: Snapshot
) -> None:
    """Local storage of each node and what each guest has on it, where the snapshot knows."""
    local = set(local_storages(resources))
    totals: dict[str, list[int]] = {}
    for row in _of_type(resources, ("storage",)):
        if (row.get("node"), row.get("storage")) in local:
            what = f"storage {row['storage']} of {row['node']}"
            total = totals.setdefault(str(row["node"]), [0, 0])
            total[0] += _mib(row, "maxdisk", what)
            total[1] += _mib(row, "disk", what)
    for node in nodes:
        if node["node"] in totals:
            node["disk_mib"], node["disk_used_mib"] = totals[node["node"]]
    by_vmid = {guest["vmid"]: guest for guest in guests}
    for node_name, storage in local:
        path = f"/nodes/{node_name}/storage/{storage}/content"
        for volume in rows(snapshot.get(path, []), path):
            guest = by_vmid.get(int(_number(volume, "vmid", path)))
            if guest is not None and guest["node"] == node_name and volume.get("content") in ("images", "rootdir"):
                size = _mib(volume, "size", path)
                guest["disk_mib"] += size
                guest["disk_used_mib"] += _mib(volume, "used", path) if "used" in volume else size


def _take_maintenance(nodes: list[dict[str, Any]], snapshot: Snapshot) -> None:
    """The HA manager's own word, for releases whose node rows do not carry it."""
    path = "/cluster/ha/status/current"
    for row in rows(snapshot.get(path, []), path):
        if row.get("type") == "lrm" and "maintenance mode" in str(row.get("status")):
            for node in nodes:
                node["maintenance"] = node["maintenance"] or node["node"] == row.get("node")


def _partial(nodes: list[dict[str, Any]], snapshot: Snapshot) -> Iterable[str]:
    """Why the token may see only part of the cluster."""
    for node in nodes:
        if node["status"] == "online" and not node["complete"]:
            yield f"node {node['node']} has no figures (the token lacks Sys.Audit on /nodes/{node['node']})"
    permissions = snapshot.get("/access/permissions")
    if isinstance(permissions, dict) and permissions:
        paths = {"Sys.Audit": ("/", "/nodes"), "VM.Audit": ("/", "/vms")}
        for privilege in PRIVILEGES:
            if not any(privilege in (permissions.get(path) or {}) for path in paths[privilege]):
                yield f"the token lacks {privilege} on {paths[privilege][1]}"


def _notes(nodes: list[dict[str, Any]], snapshot: Snapshot) -> Iterable[str]:
    for node in nodes:
        if node["status"] != "online":
            yield f"node {node['node']} is {node['status']}: it and its guests are left alone"
    status = snapshot.get("/cluster/status")
    for row in rows(status, "/cluster/status") if isinstance(status, list) else []:
        if row.get("type") == "cluster" and str(row.get("quorate")) == "0":
            yield "the cluster has no quorum: Proxmox VE will refuse every migration"
    if snapshot.get("/access/permissions") is None:
        yield "the privileges of the token are not known: whether all guests are visible cannot be checked"
    rules = snapshot.get("/cluster/ha/rules")
    active = [r for r in rules if isinstance(r, dict) and not r.get("disable")] if isinstance(rules, list) else []
    if active:
        yield f"{len(active)} HA rules are not part of the plan yet: Proxmox VE may refuse a migration that breaks one"
