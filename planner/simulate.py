"""Owns a cluster in memory that answers like the API: loads move with the guests, migrations take time."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from planner import access, simulated_rrd
from planner.clock import Clock
from planner.errors import ApiRefused
from planner.simulated_task import SimulatedTask
from planner.snapshot import RESOURCES

MIB, GIB = 2**20, 2**30
STORAGE = "local-lvm"
"""Where local disks are, on every node."""
WHILE_RUNNING = ("status", "cpu", "mem", "memhost", "uptime")
"""What the row of a guest says while it runs."""
DAY = 24 * 3600
HISTORY = (12, 4)
"""Migrations of virtual machines and of containers that the demo has had."""


class Size(StrEnum):
    """Sizes of the demo cluster."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


SHAPES = {Size.SMALL: (5, 48), Size.MEDIUM: (16, 190), Size.LARGE: (40, 480)}
"""Nodes and guests."""
GENERATIONS = ((128, 32), (256, 64), (384, 96))
"""GiB and threads of the kinds of nodes that a grown cluster has."""


class SimulatedCluster:
    """Resource rows that can be read and guests that can be migrated. Nothing leaves the process.

    `epoch`: unix seconds when the clock was 0; now, if not said. `local_disks`: vmid to GiB on its node alone.
    """

    def __init__(
        self, resources: list[dict[str, Any]], clock: Clock, *, epoch: float | None = None,
        local_disks: Mapping[int, float] = MappingProxyType({}), past: Iterable[SimulatedTask] = (),
    ) -> None:  # fmt: skip
        self._rows = {row["id"]: dict(row) for row in resources}
        self._clock = clock
        self._epoch = time.time() - clock.now() if epoch is None else epoch
        self._disks = dict(local_disks)
        self._tasks = {task.upid: task for task in past}
        self._down: dict[str, dict[str, Any]] = {}
        """Row id to what it said of a container that is stopped while it migrates."""
        self._own = {row["node"]: (row["mem"], row["cpu"] * row["maxcpu"]) for row in self._of("node")}
        for guest in self._of("qemu", "lxc"):
            memory, cores = self._own[guest["node"]]
            self._own[guest["node"]] = (memory - guest["mem"], cores - guest["cpu"] * guest["maxcpu"])

    def get(self, path: str, /, **params: Any) -> Any:
        """Answer a GET; ApiRefused (501) for what is not simulated."""
        self._settle()
        match path.split("/"):
            case ["", "nodes", node, "tasks"]:
                return self._listed(node, **params)
            case ["", "nodes", node, "tasks", upid, "status"]:
                return self._task(node, upid).status(self._now())
            case ["", "nodes", node, "tasks", upid, "log"]:
                return self._log(self._task(node, upid), **params)
            case ["", "nodes", *_, "rrddata"] if simulated_rrd.is_simulated(params.get("timeframe", "")):
                return self._history(path, params["timeframe"])
            case ["", "nodes", node, "storage", storage, "content"] if storage == STORAGE:
                return self._volumes(node)
        answers: dict[str, Any] = {
            RESOURCES: lambda: [dict(row) for row in self._rows.values()],
            "/version": lambda: {"version": "9.2.6", "release": "9.2", "repoid": "demo"},
            "/cluster/status": lambda: [{"type": "cluster", "name": "demo", "id": "cluster", "quorate": 1}],
            "/cluster/options": lambda: {"migration": {"type": "secure"}},
            "/access/permissions": lambda: {"/": dict.fromkeys(access.PRIVILEGES, 1)},
            "/cluster/tasks": self._running,
        }
        if path in answers:
            return answers[path]()
        if path in ("/cluster/ha/rules", "/cluster/ha/resources", "/cluster/ha/status/current", "/pools"):
            return []
        match path.split("/"):
            case ["", "nodes", node, kind, vmid, "migrate" | "config" as what] if f"{kind}/{vmid}" in self._rows:
                return self._of_guest(self._rows[f"{kind}/{vmid}"], node, what)
        raise ApiRefused(f"the demo cluster does not answer {path}", status=501, reason="not implemented")

    def post(self, path: str, /, **data: Any) -> Any:
        """Start a migration: the only write that is simulated."""
        self._settle()
        _, _, source, kind, vmid, action = path.split("/")
        row = self._rows.get(f"{kind}/{vmid}")
        if action != "migrate" or row is None or row["node"] != source:
            raise _refused(f"guest {vmid} is not on {source}")
        if data["target"] not in self._own or data["target"] == source:
            raise _refused(f"guest {vmid} cannot go to {data['target']}")
        if row.get("lock"):
            raise _refused(f"guest {vmid} is locked ({row['lock']})")
        flag = "online" if kind == "qemu" else "restart"
        if row["status"] == "running" and not data.get(flag):
            raise _refused(f"guest {vmid} is running: {flag} is missing")
        task = self._begun(row, data)
        self._tasks[task.upid] = task
        row["lock"] = "migrate"
        if kind == "lxc" and row["status"] == "running":  # it is down until it has arrived
            self._down[row["id"]] = {name: row[name] for name in WHILE_RUNNING if name in row}
            row |= dict.fromkeys(self._down[row["id"]], 0) | {"status": "stopped"}
        return task.upid

    def _begun(self, row: dict[str, Any], data: dict[str, Any]) -> SimulatedTask:
        """The task that migrates a guest. Proxmox VE finds only then that disks cannot go along."""
        vmid, kind, local = row["vmid"], row["type"], self._disks.get(row["vmid"], 0)
        refused = kind == "qemu" and local and not data.get("with-local-disks")
        return SimulatedTask(
            upid=_upid(len(self._tasks), row, row["node"], self._now()), source=row["node"], target=data["target"],
            began=self._now(), running=row["status"] == "running", memory_mib=row["mem"] / MIB,
            size_mib=row["maxmem"] / MIB, disk_mib=local * 1024,
            failure=f"can't migrate '{STORAGE}:vm-{vmid}-disk-0' without with-local-disks" if refused else "",
        )  # fmt: skip

    def _of_guest(self, row: dict[str, Any], node: str, what: str) -> dict[str, Any]:
        """Where a guest may go (everywhere: every node has the same storages), or its configuration."""
        vmid, kind = row["vmid"], row["type"]
        if row["node"] != node:
            raise _refused(f"Configuration file 'nodes/{node}/{kind}/{vmid}.conf' does not exist")
        local = self._disks.get(vmid)
        volume = f"{STORAGE if local else 'shared'}:vm-{vmid}-disk-0"
        if what == "config":
            disk = {"rootfs" if kind == "lxc" else "scsi0": f"{volume},size={local or 32:g}G"}
            lock = {"lock": row["lock"]} if row.get("lock") else {}
            return {"digest": "0" * 40, "memory": row["maxmem"] // MIB, "cores": row["maxcpu"], **disk, **lock}
        if row.get("lock"):
            raise _refused(f"{'VM' if kind == 'qemu' else 'CT'} is locked ({row['lock']})")
        others = [name for name in self._own if name != node]
        running = int(row["status"] == "running")
        if kind == "lxc":
            return {"running": running, "allowed-nodes": others, "not-allowed-nodes": {}}
        return {
            "running": running, "allowed_nodes": others, "not_allowed_nodes": {name: {} for name in others},
            "local_disks": [_disk(volume, local)] if local else [], "local_resources": [],
            "mapped-resources": [], "mapped-resource-info": {}, "has-dbus-vmstate": 1,
        }  # fmt: skip

    def _history(self, path: str, frame: str) -> list[dict[str, float]]:
        _, _, node, *guest, _ = path.split("/")
        row = self._rows.get("/".join(guest) or f"node/{node}")
        if row is None or row["node"] != node:
            raise _refused(f"there is no {'/'.join(guest) or node} on {node}")
        if guest:
            return simulated_rrd.of_guest(row, frame, self._now())
        there = [one for one in self._of("qemu", "lxc") if one["node"] == node]
        return simulated_rrd.of_node(row, there, frame, self._now())

    def _of(self, *kinds: str) -> list[dict[str, Any]]:
        return [row for row in self._rows.values() if row["type"] in kinds]

    def _settle(self) -> None:
        """Let migrations arrive whose time has come, and loads follow."""
        for task in self._tasks.values():
            if not task.arrived and task.is_over(self._now()):
                task.arrived = True
                row = self._rows[f"{'qemu' if task.kind == 'qmigrate' else 'lxc'}/{task.vmid}"]
                row["node"] = task.source if task.failure else task.target
                row |= self._down.pop(row["id"], {})
                del row["lock"]
        for node in self._of("node"):
            guests = [row for row in self._of("qemu", "lxc") if row["node"] == node["node"]]
            memory, cores = self._own[node["node"]]
            node["mem"] = memory + sum(row["mem"] for row in guests)
            node["cpu"] = (cores + sum(row["cpu"] * row["maxcpu"] for row in guests)) / node["maxcpu"]

    def _now(self) -> float:
        """Unix seconds."""
        return self._epoch + self._clock.now()

    def _task(self, node: str, upid: str) -> SimulatedTask:
        if upid not in self._tasks or self._tasks[upid].source != node:
            raise _refused(f"there is no task {upid} on {node}")
        return self._tasks[upid]

    def _log(self, task: SimulatedTask, start: int = 0, limit: int = 50, **_: Any) -> list[dict[str, Any]]:
        lines = task.log(self._now())[int(start) :][: int(limit)]
        return [{"n": number, "t": line} for number, line in enumerate(lines, int(start) + 1)]

    def _listed(self, node: str, *, limit: int = 50, start: int = 0, **wanted: Any) -> list[dict[str, Any]]:
        """Tasks of a node, the newest first."""
        rows = (task.row(self._now()) for task in self._tasks.values() if task.source == node)
        chosen = sorted((row for row in rows if _is_wanted(row, **wanted)), key=lambda row: -row["starttime"])
        return [{"status": "RUNNING"} | row for row in chosen[int(start) :][: int(limit)]]

    def _running(self) -> list[dict[str, Any]]:
        return [task.row(self._now()) for task in self._tasks.values() if not task.is_over(self._now())]

    def _volumes(self, node: str) -> list[dict[str, Any]]:
        there = [row for row in self._of("qemu", "lxc") if row["node"] == node and row["vmid"] in self._disks]
        return [
            {"volid": f"{STORAGE}:vm-{row['vmid']}-disk-0", "vmid": row["vmid"], "format": "raw",
             "content": "images" if row["type"] == "qemu" else "rootdir", "size": int(self._disks[row["vmid"]] * GIB)}
            for row in there
        ]  # fmt: skip


def _is_wanted(
    row: dict[str, Any], source: str = "archive", statusfilter: str = "", typefilter: str = "", vmid: Any = "", **_: Any
) -> bool:
    """Whether a task is among those asked for: of the archive are those that are over."""
    over, well = "status" in row, row.get("status") == "OK"
    return (
        source in ("all", "archive" if over else "active")
        and statusfilter in ("", "ok" if well else "error")
        and typefilter in ("", row["type"])
        and str(vmid) in ("", row["id"])
    )


def _upid(number: int, row: dict[str, Any], node: str, at: float, user: str = "demo@pve") -> str:
    sort = "qmigrate" if row["type"] == "qemu" else "vzmigrate"
    return f"UPID:{node}:{number + 4096:08X}:{number:08X}:{int(at):08X}:{sort}:{row['vmid']}:{user}:"


def _disk(volume: str, gib: float) -> dict[str, Any]:
    return {"cdrom": 0, "drivename": "scsi0", "is_attached": 1, "shared": 0, "size": int(gib * GIB), "volid": volume}


def _refused(reason: str) -> ApiRefused:
    return ApiRefused(reason, status=500, reason=reason)


def demo(size: Size, clock: Clock, seed: int = 0, epoch: float | None = None) -> SimulatedCluster:
    """A seeded cluster that has drifted out of balance, with a few rules; the same for the same seed.

    `epoch`: unix seconds at which it is; now, if not said.
    """
    resources, epoch = demo_resources(size, seed), time.time() if epoch is None else epoch
    return SimulatedCluster(resources, clock, epoch=epoch - clock.now(), past=_history(resources, seed, epoch))


def _history(resources: list[dict[str, Any]], seed: int, now: float) -> Iterator[SimulatedTask]:
    """Migrations of the last weeks, which tell how long such ones take."""
    rng = random.Random(f"history-{seed}")
    names = [row["node"] for row in resources if row["type"] == "node"]
    for kind, count in zip(("qemu", "lxc"), HISTORY, strict=True):
        guests = [row for row in resources if row["type"] == kind]
        for number in range(count):
            row, at = rng.choice(guests), now - DAY * rng.uniform(2, 40)
            source = rng.choice([name for name in names if name != row["node"]])
            yield SimulatedTask(
                _upid(number + 9000, row, source, at, "root@pam"), source, row["node"], at, running=True, arrived=True,
                memory_mib=row["mem"] / MIB, size_mib=row["maxmem"] / MIB,
            )  # fmt: skip


def demo_resources(size: Size, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of `/cluster/resources`: mixed node generations, log-normal guests, skewed placement, tags for rules."""
    rng = random.Random(f"{size}-{seed}")
    count, guests = SHAPES[size]
    names = [f"pve{i + 1:0{len(str(count))}d}" for i in range(count)]
    nodes = {name: _node(name, GENERATIONS[i % len(GENERATIONS)]) for i, name in enumerate(names)}
    appetite = {name: rng.uniform(0.25, 1.0) for name in names}
    target = {name: 0.25 + 0.6 * appetite[name] for name in names}
    rows: list[dict[str, Any]] = []
    for index in range(guests):
        rows.append(_guest(100 + index, rng, nodes, target))
    for row in rng.sample(rows, max(3, guests // 25)):
        row["tags"] = _tag(rng, names, row["node"])
    return [*nodes.values(), *rows]


def _node(name: str, generation: tuple[int, int]) -> dict[str, Any]:
    memory, threads = generation
    return {
        "id": f"node/{name}", "type": "node", "node": name, "status": "online", "level": "",
        "maxcpu": threads, "cpu": 0.01, "maxmem": memory * GIB, "mem": 3 * GIB,
        "maxdisk": 100 * GIB, "disk": 12 * GIB, "uptime": 864000,
    }  # fmt: skip


def _guest(vmid: int, rng: random.Random, nodes: dict[str, dict[str, Any]], target: dict[str, float]) -> dict[str, Any]:
    """A guest on the node that is furthest below its own, uneven, level of load."""
    memory = max(1, min(64, 2 ** round(rng.gauss(3.4, 1.3))))
    cores = max(1, memory // 4)
    used = int(memory * GIB * rng.uniform(0.45, 0.95))
    load = {name: node["mem"] / node["maxmem"] - target[name] for name, node in nodes.items()}
    name = min(load, key=lambda n: load[n] + rng.uniform(0, 0.1))
    fraction = round(rng.uniform(0.02, 0.4), 3)
    nodes[name]["mem"] += used
    nodes[name]["cpu"] = min(1.0, nodes[name]["cpu"] + fraction * cores / nodes[name]["maxcpu"])
    kind = "lxc" if rng.random() < 0.2 else "qemu"
    role = rng.choice(("web", "db", "app", "cache", "build", "mail", "files"))
    return {
        "id": f"{kind}/{vmid}", "type": kind, "vmid": vmid, "name": f"{role}{vmid}", "node": name,
        "status": "running", "template": 0, "maxcpu": cores, "cpu": fraction, "maxmem": memory * GIB, "mem": used,
        "memhost": used, "maxdisk": 32 * GIB, "disk": 0, "uptime": 864000,
    }  # fmt: skip


def _tag(rng: random.Random, names: list[str], node: str) -> str:
    group = rng.randint(1, max(2, len(names) // 2))
    return rng.choice(
        (
            f"plb_anti_affinity_ha{group}",
            f"plb_affinity_stack{group}",
            f"plb_pin_{node};plb_pin_{rng.choice(names)}",
            "plb_ignore",
        )
    )
