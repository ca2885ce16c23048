"""Owns the way from API answers to frames: API units become MiB and milli-CPU, and every quirk ends here."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from planner import access, frames, rrd
from planner.cluster import Cluster
from planner.errors import InputError
from planner.snapshot import GROUPS, RESOURCES, RULES, Snapshot, content_path, hour_path, local_storages, rows

MIB = 2**20
GUEST_TYPES = {"qemu": "vm", "lxc": "ct"}
PRIVILEGES = (("Sys.Audit", "/nodes"), ("VM.Audit", "/vms"))
"""Without these Proxmox VE leaves out figures of nodes, or guests, and says nothing."""
FIGURES = ("cpu", "maxcpu", "mem", "maxmem")
"""What the row of an online node has if the token may see it."""
VMIDS = range(1, 10**9)
"""Proxmox VE gives no others."""
MOST = {"maxcpu": 2**20, "cpu": 2**10}
"""Figures above this are nonsense; the rest is bytes, at most 1 EiB. Products with ppm stay within 64 bits."""
UNKNOWN = {
    "/access/permissions": "the privileges of the token are not known: whether it sees all guests cannot be checked",
    "/cluster/status": "the state of the cluster is not known: whether it has quorum cannot be checked",
    "/cluster/ha/status/current": "the state of the HA manager is not known: maintenance shows only where nodes say so",
    "/cluster/ha/rules": "HA rules are not known: Proxmox VE may refuse a migration that breaks one",
    "/cluster/options": "the options of the cluster are not known: whether Proxmox VE balances HA guests itself "
    "cannot be checked",
}
"""What is said when an answer is missing. Answers that nothing is read from are not missed."""

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
    storages = _storages(resources)
    volumes = volumes_of(guests, storages, snapshot)
    _add_local_disks(nodes, guests, storages, volumes)
    _take_maintenance(nodes, snapshot)
    partial = tuple(_partial(nodes, snapshot))
    notes = (*partial, *_notes(nodes, snapshot), *_unknown(resources, snapshot))
    return Cluster(
        frames.conform((node | {"arc_mib": _arc_mib(snapshot, node["node"])} for node in nodes), frames.NODES, "node"),
        frames.conform(guests, frames.GUESTS, "vmid"),
        snapshot,
        notes,
        partial,
        frames.conform(storages, frames.STORAGES, "node"),
        frames.conform(volumes, frames.VOLUMES, "vmid"),
        history=rrd.history(snapshot),
    )


def _of_type(resources: Iterable[Row], types: tuple[str, ...]) -> list[Row]:
    return [row for row in resources if row.get("type") in types]


def _node(row: Row) -> dict[str, Any]:
    what = f"node {row.get('node')}"
    cores, memory = _number(row, "maxcpu", what), _mib(row, "maxmem", what)
    return {
        "node": _text(row, "node", "a node"),
        "status": str(row.get("status") or "unknown"),
        "maintenance": row.get("hastate") == "maintenance",
        "memory_mib": memory,
        "memory_used_mib": _mib(row, "mem", what),
        "cpu_mcpu": round(cores * 1000),
        "cpu_used_mcpu": round(_number(row, "cpu", what) * cores * 1000),
        "disk_mib": _mib(row, "maxdisk", what),
        "disk_used_mib": _mib(row, "disk", what),
        "complete": has_figures(row),
    }


def has_figures(row: Row) -> bool:
    """Whether the row of a node tells what it has and uses."""
    what = f"node {row.get('node')}"
    known = all(row.get(name) not in (None, "") for name in FIGURES)
    return known and _number(row, "maxcpu", what) > 0 and _mib(row, "maxmem", what) > 0


def _guest(row: Row) -> dict[str, Any]:
    vmid = _vmid(row)
    what = f"guest {vmid}"
    cores = _number(row, "maxcpu", what)
    memhost, mem = _mib(row, "memhost", what), _mib(row, "mem", what)
    return {
        "vmid": vmid,
        "name": str(row.get("name") or ""),
        "type": GUEST_TYPES[row["type"]],
        "node": _text(row, "node", what),
        "status": str(row.get("status") or "unknown"),
        "template": bool(_number(row, "template", what)),
        "tags": ";".join(_tags(row.get("tags"))),
        "pool": str(row.get("pool") or ""),
        "lock": str(row.get("lock") or ""),
        "ha_state": str(row.get("hastate") or ""),
        "memory_mib": _mib(row, "maxmem", what),
        # PVE 8 has no memhost, and a container's may be 0: then its own figure is what there is.
        "memory_used_mib": memhost or mem,
        "memory_guest_mib": mem or memhost,
        "cpu_mcpu": round(cores * 1000),
        "cpu_used_mcpu": round(_number(row, "cpu", what) * cores * 1000),
        "disk_mib": 0,
        "disk_used_mib": 0,
    }


def _tags(value: Any) -> list[str]:
    return [tag for tag in str(value or "").replace(",", ";").replace(" ", ";").split(";") if tag]


def _vmid(row: Row) -> int:
    value = row.get("vmid")
    vmid = int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else 0
    if vmid not in VMIDS or isinstance(value, bool):
        raise InputError(f"a guest ({row.get('id', 'no id')}) has the vmid {value!r}: it must be a whole number from 1")
    return vmid


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
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{what}: {name} is {value!r}, not a number") from None
    if not 0 <= number <= MOST.get(name, 2**60):  # neither holds for NaN
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


def _storages(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Local storages, in order."""
    local = set(local_storages(resources))
    found = []
    for row in _of_type(resources, ("storage",)):
        if (row.get("node"), row.get("storage")) in local:
            what = f"storage {row['storage']} of {row['node']}"
            total, used = _mib(row, "maxdisk", what), _mib(row, "disk", what)
            found.append({"node": row["node"], "storage": row["storage"], "total_mib": total, "used_mib": used})
    return sorted(found, key=lambda row: (row["node"], row["storage"]))


def volumes_of(guests: Iterable[Row], storages: Iterable[Row], snapshot: Snapshot) -> list[dict[str, Any]]:
    """What guests have on local storage of their node, where the snapshot knows."""
    places = {(guest["vmid"], guest["node"]) for guest in guests}
    found = []
    for storage in storages:
        path = content_path(storage["node"], storage["storage"])
        for row in _answer(snapshot, path):
            vmid = int(_number(row, "vmid", path))
            if (vmid, storage["node"]) in places and row.get("content") in ("images", "rootdir"):
                size = _volume_mib(row, "size", path)
                used = _volume_mib(row, "used", path) if "used" in row else size
                found.append({"vmid": vmid, "storage": storage["storage"], "size_mib": size, "used_mib": used})
    return found


def _add_local_disks(
    nodes: list[dict[str, Any]],
    guests: list[dict[str, Any]],
    storages: list[dict[str, Any]],
    volumes: list[dict[str, Any]],
) -> None:
    """The sums of local storage per node, and of volumes there per guest."""
    totals: dict[str, tuple[int, int]] = {}
    for storage in storages:
        total, used = totals.get(storage["node"], (0, 0))
        totals[storage["node"]] = total + storage["total_mib"], used + storage["used_mib"]
    for node in nodes:
        if node["node"] in totals:
            node["disk_mib"], node["disk_used_mib"] = totals[node["node"]]
    by_vmid = {guest["vmid"]: guest for guest in guests}
    for volume in volumes:
        by_vmid[volume["vmid"]]["disk_mib"] += volume["size_mib"]
        by_vmid[volume["vmid"]]["disk_used_mib"] += volume["used_mib"]


def _arc_mib(snapshot: Snapshot, node: str) -> int:
    """The latest figure of the last hour; -1 when it is not known. The newest points are often empty."""
    path = hour_path(node)
    known = [row for row in _answer(snapshot, path) if row.get("arcsize") is not None]
    return _mib(max(known, key=lambda row: _number(row, "time", path)), "arcsize", path) if known else -1


def _volume_mib(volume: Row, name: str, what: str) -> int:
    """MiB, rounded up: the smallest volume (528 KiB of EFI variables) is a local disk like any other."""
    return math.ceil(_number(volume, name, what) / MIB)


def _answer(snapshot: Snapshot, path: str) -> Iterable[dict[str, Any]]:
    """The rows of an optional answer; none when it is not known."""
    answer = snapshot.get(path)
    return [] if answer is None else rows(answer, path)


def _take_maintenance(nodes: list[dict[str, Any]], snapshot: Snapshot) -> None:
    """The HA manager's own word, for releases whose node rows do not carry it."""
    path = "/cluster/ha/status/current"
    for row in _answer(snapshot, path):
        if row.get("type") == "lrm" and "maintenance mode" in str(row.get("status")):
            for node in nodes:
                node["maintenance"] = node["maintenance"] or node["node"] == row.get("node")


def _partial(nodes: list[dict[str, Any]], snapshot: Snapshot) -> Iterable[str]:
    """Why the token may see only part of the cluster."""
    for node in nodes:
        if node["status"] == "online" and not node["complete"]:
            yield f"node {node['node']} has no figures (the token lacks Sys.Audit on /nodes/{node['node']})"
    answer = snapshot.get(access.PATH)
    if answer is None:
        return
    permissions = access.read(answer)
    for privilege, root in PRIVILEGES:
        path = access.lacking(permissions, privilege, root)
        if path:
            yield f"the token lacks {privilege} on {path}"


def _notes(nodes: list[dict[str, Any]], snapshot: Snapshot) -> Iterable[str]:
    """What is known and keeps a plan from being carried out as it stands."""
    for node in nodes:
        if node["status"] != "online":
            yield f"node {node['node']} is {node['status']}: it and its guests are left alone"
    for row in _answer(snapshot, "/cluster/status"):
        if row.get("type") == "cluster" and str(row.get("quorate")) == "0":
            yield "the cluster has no quorum: Proxmox VE will refuse every migration"
    if rebalances(snapshot):
        yield "Proxmox VE balances HA guests itself (crs ha-auto-rebalance): each may undo the other's work"


def rebalances(snapshot: Snapshot) -> bool:
    """Whether Proxmox VE balances guests of the HA manager itself."""
    return _number(scheduling(snapshot), "ha-auto-rebalance", "/cluster/options") > 0


def scheduling(snapshot: Snapshot) -> dict[str, Any]:
    """How the HA manager places guests (crs of the options): an object, or text such as ha=static."""
    options = snapshot.get("/cluster/options")
    crs = options.get("crs") if isinstance(options, dict) else None
    if isinstance(crs, str):
        words = (word.partition("=") for word in crs.split(",") if word.strip())
        return {name.strip(): value.strip() for name, mark, value in words if mark}
    return crs if isinstance(crs, dict) else {}


def _unknown(resources: list[dict[str, Any]], snapshot: Snapshot) -> Iterable[str]:
    """What could not be read, each thing once."""
    for path, note in UNKNOWN.items():
        if snapshot.get(path) is None and not (path == RULES and snapshot.get(GROUPS) is not None):
            yield note
    missing = [f"{name} of {node}" for node, name in local_storages(resources)
               if snapshot.get(content_path(node, name)) is None]  # fmt: skip
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        yield (
            f"volumes on local storage are not known ({', '.join(missing[:3])}{more}): "
            "a migration of a guest that has some there will fail"
        )
