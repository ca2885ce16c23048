"""Owns small clusters for tests: rows as `/cluster/resources` gives them, snapshots and formulations made of them."""

import json
from pathlib import Path
from typing import Any

from planner.cluster import Cluster
from planner.collect import collect
from planner.errors import ApiRefused
from planner.formulate import Formulation, formulate
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy
from planner.rule import Kind
from planner.rules import Rules, read
from planner.snapshot import RESOURCES, Snapshot

MIB, GIB = 2**20, 2**30
DATA = Path(__file__).parent / "data"
TAKEN_AT = "2026-11-23T12:00:00+00:00"
ALL_PRIVILEGES = {"/": {"Sys.Audit": 1, "VM.Audit": 1, "Datastore.Audit": 1, "Pool.Audit": 1, "VM.Migrate": 1}}
KNOWN: dict[str, Any] = {
    "/version": {"version": "9.2.6", "release": "9.2", "repoid": "0"},
    "/cluster/status": [{"type": "cluster", "id": "cluster", "name": "c", "quorate": 1, "nodes": 3, "version": 3}],
    "/cluster/options": {"crs": {"ha": "static"}, "migration": {"type": "secure"}},
    "/access/permissions": ALL_PRIVILEGES,
    "/cluster/ha/rules": [],
    "/cluster/ha/resources": [],
    "/cluster/ha/status/current": [],
    "/cluster/tasks": [],
    "/pools": [],
}
"""Answers of a cluster about which there is nothing to say."""

Row = dict[str, Any]


def node(name: str, gib: float = 64, used: float = 0, threads: int = 16, cpu: float = 0.0, **facts: Any) -> Row:
    """A node with so many GiB, of which `used` are in use; `cpu` is a fraction of its threads."""
    row = {"id": f"node/{name}", "type": "node", "node": name, "status": "online", "level": "", "maxcpu": threads}
    row |= {"cpu": cpu, "maxmem": int(gib * GIB), "mem": int(used * GIB), "maxdisk": 100 * GIB, "disk": 10 * GIB}
    return _without_none(row | {"hastate": "online", "uptime": 86400} | facts)


def offline(name: str) -> Row:
    """All that Proxmox VE says about a node that is down."""
    return {"id": f"node/{name}", "type": "node", "node": name, "status": "offline", "hastate": "unknown"}


def vm(vmid: int, on: str, /, gib: float = 4, used: float | None = None, tags: str = "", **facts: Any) -> Row:
    """A running virtual machine of so many GiB, all of them in use unless said otherwise."""
    taken = int((gib if used is None else used) * GIB)
    row = {"id": f"qemu/{vmid}", "type": "qemu", "vmid": vmid, "name": f"g{vmid}", "node": on, "status": "running"}
    row |= {"template": 0, "maxcpu": 2, "cpu": 0.25, "maxmem": int(gib * GIB), "mem": taken, "memhost": taken}
    row |= {"maxdisk": 32 * GIB, "disk": 0, "uptime": 3600} | ({"tags": tags} if tags else {})
    return _without_none(row | facts)


def ct(vmid: int, on: str, /, gib: float = 4, used: float | None = None, tags: str = "", **facts: Any) -> Row:
    """A running container; its memhost is 0."""
    return vm(vmid, on, gib, used, tags, **{"id": f"lxc/{vmid}", "type": "lxc", "memhost": 0, **facts})


def stopped(vmid: int, on: str, /, gib: float = 4, **facts: Any) -> Row:
    """A virtual machine that does not run."""
    return vm(vmid, on, gib, 0, status="stopped", cpu=0, uptime=0, **facts)


def storage(name: str, on: str, gib: float = 1000, used: float = 0, **facts: Any) -> Row:
    """A local storage for guests."""
    row = {"id": f"storage/{on}/{name}", "type": "storage", "storage": name, "node": on, "status": "available"}
    row |= {"shared": 0, "plugintype": "lvmthin", "content": "images,rootdir"}
    return _without_none(row | {"maxdisk": int(gib * GIB), "disk": int(used * GIB)} | facts)


def volume(vmid: int, gib: float, /, **facts: Any) -> Row:
    """A volume on a storage."""
    row = {"volid": f"local-lvm:vm-{vmid}-disk-0", "vmid": vmid, "size": int(gib * GIB), "content": "images"}
    return row | {"format": "raw"} | facts


def _without_none(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}


def snapshot(*rows: Any, **answers: Any) -> Snapshot:
    """A snapshot of these rows about which there is nothing to say, but for other `answers` (None: not known)."""
    return Snapshot({RESOURCES: list(rows), **_without_none(KNOWN | answers)}, TAKEN_AT, "the test")


def cluster(*rows: Any, **answers: Any) -> Cluster:
    """What is read from these rows."""
    return collect(snapshot(*rows, **answers))


def guests(*rows: Any, **answers: Any) -> dict[int, Any]:
    """vmid to row of the guests frame."""
    return {row.vmid: row for row in cluster(*rows, **answers).guests.itertuples()}


def nodes(*rows: Any, **answers: Any) -> dict[str, Any]:
    """Name to row of the nodes frame."""
    return {row.node: row for row in cluster(*rows, **answers).nodes.itertuples()}


def of_kind(rules: Rules, kind: Kind) -> dict[str, list[int]]:
    """Rule name to the vmids it is about."""
    return {rule.name: list(rule.vmids) for rule in rules.items if rule.kind is kind}


def formulated(source: Cluster, policy: Policy | None = None, settings: ClusterPolicy | None = None) -> Formulation:
    """The problem of a cluster."""
    return formulate(source, read(source, settings), policy or Policy())


def recorded(name: str) -> Any:
    """The data of a recorded answer of Proxmox VE 9.2."""
    return json.loads((DATA / "pve9-recorded" / f"{name}.json").read_text())["body"]["data"]


class FixedSource:
    """Answers from a table, refuses the rest, and counts."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def get(self, path: str, **params: Any) -> Any:
        self.asked.append(path)
        answer = self.answers.get(path)
        if answer is None:
            raise ApiRefused(f"no {path}", status=501, reason="not implemented")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def post(self, path: str, **data: Any) -> Any:
        raise AssertionError(f"taking a snapshot changes nothing, but {path} was posted")
