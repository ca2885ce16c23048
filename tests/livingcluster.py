"""A cluster in memory that lives: loads follow the day and wander, guests come and go, and things go wrong on time."""

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from planner import simulated_task
from planner.clock import Clock
from planner.errors import ApiRefused, Unreachable
from planner.simulate import GIB, SimulatedCluster
from planner.simulated_task import BEFORE, DISK, SimulatedTask
from planner.snapshot import RESOURCES
from tests.faults import DAY, Fault, Faults, Trouble
from tests.lives import life

SLOT: Final = 600.0
"""Seconds between two steps of what wanders."""
BIRTHS, DEATHS, NAPS = 0.6, 0.6, 1.0
"""Guests that come, go, and are stopped for a while, a day."""
NAP: Final = 20
"""Steps for which one is stopped."""
MANAGED: Final = 4
"""Every so manieth guest is looked after by the HA manager."""
CROWD: Final = 8
"""Guests that somebody takes to one node."""
TASKS: Final = 300
"""Tasks that are remembered."""
ROOT: Final = "root@pam"


@dataclass(frozen=True, slots=True)
class Asked:
    """A migration that the cluster was asked for through the API, and has begun."""

    at: float
    vmid: int
    source: str
    target: str
    upid: str


class LivingCluster(SimulatedCluster):
    """The same seed lives the same life, whoever migrates its guests. `asked` is what it was asked for.

    Guests of the HA manager (every fourth) are migrated like others: nothing waits for the HA manager's next round.
    """

    def __init__(
        self, resources: list[dict[str, Any]], clock: Clock, *, epoch: float, faults: Iterable[Fault] = (),
        seed: int = 0, masters: str = "", changing: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(resources, clock, epoch=epoch)
        self.faults, self.asked, self.failed = Faults(faults), list[Asked](), list[str]()
        self._seed, self._draw = seed, random.Random(f"life-{seed}")
        self._nodes = sorted(self._own)
        self._master = masters or self._nodes[0]
        self._changing, self._slot = changing, int(epoch // SLOT)
        self._lives = {row["vmid"]: life(row, seed) for row in self._guests()}
        self._roster = set(self._lives)
        """Guests whose time has not come."""
        self._newest = max(self._lives)
        self._asleep: dict[int, int] = {}
        """vmid to the step in which it is started again."""
        self._came_true: set[Fault] = set()
        self._foreign: dict[str, tuple[float, float]] = {}
        """Migrations of somebody else: from when until when."""
        self._saved: int | None = None
        """The guest that is being backed up."""
        self._figured: float | None = None
        self.managed = {row["vmid"] for row in self._guests() if row["vmid"] % MANAGED == 0}
        for row in self._guests():
            row |= {"hastate": "started"} if row["vmid"] in self.managed else {}

    # ------------------------------------------------------------------ asking

    def get(self, path: str, /, **params: Any) -> Any:
        """Answer a GET, as it would be at this time."""
        self._hear(path)
        match path.split("/"):
            case ["", "cluster", "status"]:
                self._settle()
                return self._status()
            case ["", "cluster", "options"]:
                balances = bool(self._now_wrong(Trouble.BALANCER))
                return {"migration": {"type": "secure"}, "crs": {"ha": "static", "ha-auto-rebalance": int(balances)}}
            case ["", "cluster", "ha", "status", "current"]:
                return self._ha()
            case ["", "cluster", "ha", "status", "manager_status"]:
                return {"manager_status": {"master_node": self.master(), "timestamp": int(self._now())}}
            case ["", "cluster", "ha", "resources"]:
                self._settle()
                return [{"sid": f"{'vm' if row['type'] == 'qemu' else 'ct'}:{row['vmid']}", "state": "started"}
                        for row in self._guests() if row.get("hastate")]  # fmt: skip
        answer = super().get(path, **params)
        if path == RESOURCES:
            return self._seen(answer)
        return [*answer, *self._jobs()] if path == "/cluster/tasks" else answer

    def post(self, path: str, /, **data: Any) -> Any:
        """Start a migration, unless something says no."""
        self._hear(path)
        if self._now_wrong(Trouble.NO_QUORUM):
            raise ApiRefused("cluster not ready - no quorum?", status=500, reason="cluster not ready - no quorum?")
        if data["target"] in self.down():
            raise ApiRefused(f"no such node: {data['target']} is offline", status=500, reason="offline")
        upid = str(super().post(path, **data))
        task = self._tasks[upid]
        self.asked.append(Asked(task.began, task.vmid, task.source, task.target, upid))
        if self._now_wrong(Trouble.FAILING):
            task.failure = "storage migration failed: no space left on device"
            self.failed.append(upid)
        return upid

    def down(self) -> set[str]:
        """Nodes that are offline now."""
        return {fault.node for fault in self._now_wrong(Trouble.OFFLINE)}

    def master(self) -> str:
        """The node that is the master of the HA manager now."""
        return next((fault.node for fault in self._now_wrong(Trouble.MASTER)), self._master)

    def spread(self) -> float:
        """Percentage points of memory between the fullest and the emptiest node that is online."""
        self._settle()
        parts = [100 * row["mem"] / row["maxmem"] for row in self._of("node") if row["node"] not in self.down()]
        return float(max(parts) - min(parts))

    def is_foreign(self, at: float) -> bool:
        """Whether somebody else migrated a guest at a time: where none was free, or its node went, nobody did."""
        return any(begin <= at < end for begin, end in self._foreign.values())

    def homes(self) -> dict[int, str]:
        """Where guests are."""
        self._settle()
        return {row["vmid"]: row["node"] for row in self._guests()}

    def _hear(self, path: str) -> None:
        """Unreachable when nobody answers."""
        if self._now_wrong(Trouble.UNREACHABLE):
            raise Unreachable("no API host answered: 10.0.0.1: no route to host")
        words = path.split("/")
        if words[1] == "nodes" and words[2] in self.down():
            raise Unreachable(f"node {words[2]} is away: no connection for {path}")

    def _now_wrong(self, trouble: Trouble) -> list[Fault]:
        return self.faults.at(self._now(), trouble)

    # --------------------------------------------------------------- answering

    def _status(self) -> list[dict[str, Any]]:
        quorate = int(not self._now_wrong(Trouble.NO_QUORUM))
        nodes = [{"type": "node", "id": f"node/{name}", "name": name, "online": int(name not in self.down())}
                 for name in self._nodes]  # fmt: skip
        whole = {"type": "cluster", "id": "cluster", "name": "living", "quorate": quorate, "nodes": len(nodes)}
        return [whole, *nodes]

    def _ha(self) -> list[dict[str, Any]]:
        master, quorate = self.master(), int(not self._now_wrong(Trouble.NO_QUORUM))
        return [
            {"id": "quorum", "type": "quorum", "node": master, "quorate": quorate, "status": "OK" if quorate else "No"},
            {"id": "master", "type": "master", "node": master, "status": f"{master} (active, Mon Nov 23 08:40:13 2026)",
             "timestamp": int(self._now())},
            *({"id": f"lrm:{name}", "type": "lrm", "node": name, "status": f"{name} (idle)"} for name in self._nodes),
        ]  # fmt: skip

    def _seen(self, answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of nodes that are offline, and their guests, Proxmox VE says next to nothing."""
        down = self.down()
        keep = {"node": ("id", "type", "node"), "qemu": ("id", "type", "node", "vmid", "hastate", "tags")}
        keep["lxc"] = keep["qemu"]
        said = {"node": "offline", "qemu": "unknown", "lxc": "unknown"}
        return [
            {name: row[name] for name in keep[row["type"]] if name in row} | {"status": said[row["type"]]}
            if row["type"] in keep and row["node"] in down
            else row
            for row in answer
        ]

    def _jobs(self) -> list[dict[str, Any]]:
        """Backup jobs over several guests: their tasks name none."""
        return [
            {"upid": f"UPID:{fault.node}:00001A2B:00003C4D:{int(fault.begin):08X}:vzdump::{ROOT}:", "type": "vzdump",
             "id": "", "node": fault.node, "user": ROOT, "starttime": int(fault.begin)}
            for fault in self._now_wrong(Trouble.BACKUP)
        ]  # fmt: skip

    # ------------------------------------------------------------------ living

    def _settle(self) -> None:
        """Live up to now, then let migrations arrive, and loads follow."""
        now = self._now()
        if self._figured is not None and self._figured == now:
            super()._settle()
            return
        self._figured = now
        while self._slot < int(now // SLOT):
            self._slot += 1
            self._wander()
        self._go_wrong(now)
        super()._settle()  # who arrives is no longer locked
        for row in self._guests():
            if row["vmid"] in self._asleep:
                continue
            kept = self._down.get(row["id"])  # of a container that is stopped while it migrates
            (row if kept is None else kept).update(self._lives[row["vmid"]].figures(row, now))
        super()._settle()
        for upid in list(self._tasks)[: max(0, len(self._tasks) - TASKS)]:
            if self._tasks[upid].arrived:
                del self._tasks[upid]

    def _wander(self) -> None:
        for one in self._lives.values():
            one.step()
        if not self._changing:
            return
        chance = [self._draw.random() * DAY / SLOT for _ in range(3)]
        picks = [self._draw.random() for _ in range(3)]
        if chance[0] < BIRTHS:
            self._bear(picks[0])
        vmids = sorted(self._roster)
        if chance[1] < DEATHS and len(vmids) > 4:
            self._roster.remove(vmids[int(picks[1] * len(vmids))])
        if chance[2] < NAPS:
            self._asleep.setdefault(vmids[int(picks[2] * len(vmids))], self._slot + NAP)
        self._power()
        for vmid in [vmid for vmid in self._lives if vmid not in self._roster]:
            row = self._row(vmid)
            if row and not row.get("lock"):  # nobody is at work on it
                del self._rows[row["id"]], self._lives[vmid]
                self._asleep.pop(vmid, None)

    def _power(self) -> None:
        """Stop guests, and start those again whose time has come, unless somebody is at work on them."""
        for vmid, until in list(self._asleep.items()):
            row = self._row(vmid)
            if row is None or row.get("lock"):
                continue
            if self._slot >= until:
                del self._asleep[vmid]
                row |= {"status": "running", "uptime": 60}
            elif row["status"] == "running":
                row |= dict.fromkeys(("cpu", "mem", "memhost", "uptime"), 0) | {"status": "stopped"}

    def _bear(self, where: float) -> None:
        """A person makes a guest on any node."""
        self._newest = vmid = self._newest + 1
        memory = 2 ** (2 + vmid % 3) * GIB
        row = {"id": f"qemu/{vmid}", "type": "qemu", "vmid": vmid, "name": f"new{vmid}", "status": "running",
               "node": self._nodes[int(where * len(self._nodes))], "template": 0, "maxcpu": 2, "cpu": 0.1,
               "maxmem": memory, "mem": memory // 2, "memhost": memory // 2, "maxdisk": 32 * GIB, "disk": 0,
               "uptime": 60}  # fmt: skip
        self._rows[row["id"]] = row
        self._lives[vmid] = life(row, self._seed)
        self._roster.add(vmid)

    def _guests(self) -> list[dict[str, Any]]:
        return self._of("qemu", "lxc")

    def _row(self, vmid: int) -> dict[str, Any] | None:
        return self._rows.get(f"qemu/{vmid}") or self._rows.get(f"lxc/{vmid}")

    # ------------------------------------------------------------- going wrong

    def _go_wrong(self, now: float) -> None:
        begins = {Trouble.FOREIGN: self._take, Trouble.OFFLINE: self._lose, Trouble.CROWD: self._crowd}
        for fault in self.faults.within(-math.inf, now, *begins):
            if fault not in self._came_true:
                self._came_true.add(fault)
                begins[fault.trouble](fault)
        self._back_up(now)

    def _lose(self, fault: Fault) -> None:
        """What is on its way from or to a node that goes offline does not arrive."""
        for task in self._tasks.values():
            if not task.arrived and fault.node in (task.source, task.target) and not task.is_over(fault.begin):
                task.failure = f"no route to {fault.node}"
                if task.upid in self._foreign:
                    self._foreign[task.upid] = (self._foreign[task.upid][0], fault.begin)

    def _take(self, fault: Fault) -> None:
        """Somebody migrates the largest machine that can be; it takes as long as the fault."""
        free = [row for row in self._free() if row["node"] != fault.node]
        if not free or not fault.node:
            return
        row = max(free, key=lambda row: (row["maxmem"], row["vmid"]))
        upid = f"UPID:{row['node']}:00001000:00002000:{int(fault.begin):08X}:qmigrate:{row['vmid']}:{ROOT}:"
        task = SimulatedTask(upid, row["node"], fault.node, fault.begin, running=True, memory_mib=0.0, size_mib=0.0)
        task = replace(task, disk_mib=(fault.end - fault.begin - BEFORE - simulated_task.AFTER) * DISK)
        self._tasks[upid], self._foreign[upid] = task, (fault.begin, fault.end)
        row["lock"] = "migrate"

    def _crowd(self, fault: Fault) -> None:
        """Somebody takes the smallest machines to a node, before anybody looks."""
        others = [row for row in self._free() if row["node"] != fault.node]
        for row in sorted(others, key=lambda row: (row["maxmem"], row["vmid"]))[:CROWD]:
            row["node"] = fault.node

    def _free(self) -> list[dict[str, Any]]:
        """Machines that can be migrated."""
        return [row for row in self._of("qemu") if row["status"] == "running" and not row.get("lock")
                and row["node"] not in self.down()]  # fmt: skip

    def _back_up(self, now: float) -> None:
        """A backup job locks one guest after the other, but those that are locked already."""
        wanted = None
        for fault in self.faults.at(now, Trouble.BACKUP):
            there = sorted(row["vmid"] for row in self._guests() if row["node"] == fault.node)
            if there:
                wanted = there[int((now - fault.begin) / (fault.end - fault.begin) * len(there))]
        if self._saved is not None and self._saved != wanted:
            row = self._row(self._saved)
            if row and row.get("lock") == "backup":
                del row["lock"]
            self._saved = None
        if wanted is not None and self._saved is None and (row := self._row(wanted)) and not row.get("lock"):
            row["lock"], self._saved = "backup", wanted
