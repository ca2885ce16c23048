"""Owns a cluster in memory that answers like the API: loads move with the guests, migrations take time."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from planner import access
from planner.clock import Clock
from planner.errors import ApiRefused
from planner.snapshot import RESOURCES

MIB, GIB = 2**20, 2**30
BANDWIDTH_MIB = 1100
"""MiB/s of a migration: a 10 Gbit/s network."""
OVERHEAD = 3.0
"""Seconds that every migration takes besides copying."""


class Size(StrEnum):
    """Sizes of the demo cluster."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


SHAPES = {Size.SMALL: (5, 48), Size.MEDIUM: (16, 190), Size.LARGE: (40, 480)}
"""Nodes and guests."""
GENERATIONS = ((128, 32), (256, 64), (384, 96))
"""GiB and threads of the kinds of nodes that a grown cluster has."""


@dataclass(slots=True)
class _Task:
    """A migration that is under way, or over."""

    upid: str
    type: str
    guest: str
    """Id of its row: qemu/100."""
    source: str
    target: str
    began_at: float
    done_at: float
    mib: float
    """Memory that is copied."""
    running: bool = True

    def log(self, now: float) -> list[str]:
        """What Proxmox VE would say of it so far, a line per second for a virtual machine."""
        if self.type == "vzmigrate":
            started = [] if self.running else ["start container on target node"]
            return [f"shutdown CT {self.guest.split('/')[1]}", *started]
        lines = []
        for second in range(1, int(min(now, self.done_at) - self.began_at) + 1):
            copied = f"{min(self.mib, second * BANDWIDTH_MIB) / 1024:.1f} GiB of {self.mib / 1024:.1f} GiB VM-state"
            lines.append(f"migration active, transferred {copied}, {BANDWIDTH_MIB}.0 MiB/s")
        took = round(self.done_at - self.began_at)
        end = f"migration finished successfully (duration 00:{took // 60:02d}:{took % 60:02d})"
        return lines if self.running else [*lines, end]


class SimulatedCluster:
    """Resource rows that can be read and guests that can be migrated. Nothing leaves the process."""

    def __init__(self, resources: list[dict[str, Any]], clock: Clock) -> None:
        self._rows = {row["id"]: dict(row) for row in resources}
        self._clock = clock
        self._tasks: dict[str, _Task] = {}
        self._own = {row["node"]: (row["mem"], row["cpu"] * row["maxcpu"]) for row in self._of("node")}
        for guest in self._of("qemu", "lxc"):
            memory, cores = self._own[guest["node"]]
            self._own[guest["node"]] = (memory - guest["mem"], cores - guest["cpu"] * guest["maxcpu"])

    def get(self, path: str, /, **params: Any) -> Any:
        """Answer a GET; ApiRefused (501) for what is not simulated."""
        self._settle()
        match path.split("/"):
            case ["", "nodes", _, "tasks"]:
                return [self._listed(task) for task in self._tasks.values()]
            case ["", "nodes", _, "tasks", upid, "status"]:
                return self._task_status(upid)
            case ["", "nodes", _, "tasks", upid, "log"]:
                return self._task_log(upid, **params)
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
        sort = "qmigrate" if kind == "qemu" else "vzmigrate"
        upid = f"UPID:{source}:{len(self._tasks):08X}:00000000:00000000:{sort}:{vmid}:demo@pve:"
        seconds = OVERHEAD + row["mem"] / MIB / BANDWIDTH_MIB
        now, mib = self._clock.now(), row["mem"] / MIB
        self._tasks[upid] = _Task(upid, sort, row["id"], source, data["target"], now, now + seconds, mib)
        row["lock"] = "migrate"
        return upid

    def _of_guest(self, row: dict[str, Any], node: str, what: str) -> dict[str, Any]:
        """Where a guest may go (everywhere: its disks are on shared storage), or its configuration."""
        vmid, kind = row["vmid"], row["type"]
        if row["node"] != node:
            raise _refused(f"Configuration file 'nodes/{node}/{kind}/{vmid}.conf' does not exist")
        if what == "config":
            disk = {"rootfs" if kind == "lxc" else "scsi0": f"shared:vm-{vmid}-disk-0,size=32G"}
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
            "local_disks": [], "local_resources": [], "mapped-resources": [], "mapped-resource-info": {},
            "has-dbus-vmstate": 1,
        }  # fmt: skip

    def _of(self, *kinds: str) -> list[dict[str, Any]]:
        return [row for row in self._rows.values() if row["type"] in kinds]

    def _settle(self) -> None:
        """Let migrations arrive whose time has come, and loads follow."""
        for task in self._tasks.values():
            if task.running and task.done_at <= self._clock.now():
                task.running = False
                row = self._rows[task.guest]
                row["node"] = task.target
                del row["lock"]
        for node in self._of("node"):
            guests = [row for row in self._of("qemu", "lxc") if row["node"] == node["node"]]
            memory, cores = self._own[node["node"]]
            node["mem"] = memory + sum(row["mem"] for row in guests)
            node["cpu"] = (cores + sum(row["cpu"] * row["maxcpu"] for row in guests)) / node["maxcpu"]

    def _task_status(self, upid: str) -> dict[str, Any]:
        if upid not in self._tasks:
            raise _refused(f"there is no task {upid}")
        if self._tasks[upid].running:
            return {"upid": upid, "status": "running"}
        return {"upid": upid, "status": "stopped", "exitstatus": "OK"}

    def _task_log(self, upid: str, *, start: int = 0, limit: int = 50) -> list[dict[str, Any]]:
        if upid not in self._tasks:
            raise _refused(f"there is no task {upid}")
        lines = self._tasks[upid].log(self._clock.now())
        return [{"n": start + n, "t": text} for n, text in enumerate(lines[start : start + limit], 1)]

    def _running(self) -> list[dict[str, Any]]:
        return [self._listed(task) for task in self._tasks.values() if task.running]

    def _listed(self, task: _Task) -> dict[str, Any]:
        row = {"upid": task.upid, "id": task.guest.split("/")[1], "node": task.source, "type": task.type}
        return row if task.running else row | {"status": "OK"}


def _refused(reason: str) -> ApiRefused:
    return ApiRefused(reason, status=500, reason=reason)


def demo(size: Size, clock: Clock, seed: int = 0) -> SimulatedCluster:
    """A seeded cluster that has drifted out of balance, with a few rules; the same for the same seed."""
    return SimulatedCluster(demo_resources(size, seed), clock)


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
