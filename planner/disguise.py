"""Owns answers about migrating guests without names: the same nodes admitted, guests fixed, durations measured."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from planner import cpu, past, recent, tasklog
from planner.admission import DEVICE, HA_CAUSES, MIB, MOUNT, SIZE, flag, items, mib, record, text
from planner.errors import InputError
from planner.preconditions import DENIED, ERROR, FOREIGN, SILENT, config_path, status_path

LOCK = re.compile(r"(VM|CT) is locked \(([a-z-]+)\)")
RESOURCE = re.compile(r"(hostpci|hostusb|usb|serial|parallel|virtiofs|ivshmem)\d*")
DRIVE = re.compile(r"(ide|sata|scsi|virtio|efidisk|tpmstate|unused)\d+")
SID = re.compile(r"(vm|ct):\d+")
MODEL = re.compile(r"(Intel|AMD)[\w ()@.,/+-]{0,80}")
FLAGS = ("cdrom", "is_unused", "is_cloudinit", "is_tpmstate", "is_vmstate", "is_attached", "shared")
OTHER = "other"
"""Stands for a name that is not known from elsewhere."""


@dataclass(frozen=True, slots=True)
class Disguise:
    """New names, and the words that may be shown as what a guest is locked for."""

    node: Mapping[str, str]
    storage: Mapping[str, str]
    locks: frozenset[str]

    def of(self, path: str, answer: Any) -> tuple[str, Any] | None:
        """An answer under its new path; None when the path is another, or the answer makes no sense."""
        match path.split("/"):
            case ["", "nodes", node, "qemu", vmid, "migrate"] if node in self.node and vmid.isdecimal():
                return self._of(f"/nodes/{self.node[node]}/qemu/{vmid}/migrate", answer, self._vm)
            case ["", "nodes", node, "lxc", vmid, "config"] if node in self.node and vmid.isdecimal():
                return self._of(f"/nodes/{self.node[node]}/lxc/{vmid}/config", answer, self._ct)
            case ["", "nodes", node, "status"] if node in self.node:
                return self._of(status_path(self.node[node]), answer, _node_status)
            case ["", "nodes", node, "qemu", vmid, _] if node in self.node and vmid.isdecimal():
                if path == config_path(node, int(vmid)):
                    return self._of(config_path(self.node[node], int(vmid)), answer, _vm_config)
            case ["", "nodes", node, _] if node in self.node:
                kind = next((kind for kind in recent.TYPES if path == past.tasks_path(node, kind)), None)
                return (past.tasks_path(self.node[node], kind), self._tasks(answer, kind)) if kind else None
            case ["", "nodes", _, "tasks", upid, _] if new := past.renamed(upid, self.node):
                return (past.log_path(new), _log(answer)) if path == past.log_path(upid) else None
        return None

    def _tasks(self, answer: Any, kind: str) -> list[dict[str, Any]]:
        """Past migrations that say nothing of who started them; of a refusal, and what makes no sense, nothing."""
        rows = [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []
        named = ((row, past.renamed(str(row.get("upid")), self.node)) for row in rows)
        return [
            {"upid": upid, "node": upid.split(":")[1], "id": upid.split(":")[6], "type": kind, "status": "OK"}
            | {name: row[name] for name in ("starttime", "endtime") if isinstance(row.get(name), int)}
            for row, upid in named
            if upid and str(row.get("status", "")).startswith(past.WELL)
        ]

    def _of(self, path: str, answer: Any, guest: Callable[[Mapping[str, Any]], Any]) -> tuple[str, Any] | None:
        try:
            known = record(answer)
            return path, {ERROR: self._refusal(text(known[ERROR]))} if set(known) == {ERROR} else guest(known)
        except InputError:
            return None

    def _refusal(self, words: str) -> str:
        if words in (DENIED, SILENT, FOREIGN):
            return words
        locked = LOCK.search(words)
        return f"{locked[1]} is locked ({self._lock(locked[2])})" if locked else "refused"

    def _lock(self, word: str) -> str:
        return word if word in self.locks else OTHER

    def _vm(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        info = record(answer.get("mapped-resource-info"))
        result: dict[str, Any] = {
            "running": int(flag(answer.get("running"))),
            "local_disks": [self._disk(record(disk)) for disk in items(answer.get("local_disks"))],
            "local_resources": [_resource(name) for name in items(answer.get("local_resources"))],
            "mapped-resources": [_resource(name) for name in items(answer.get("mapped-resources"))],
            "mapped-resource-info": {
                _resource(name): {"live-migration": int(flag(record(device).get("live-migration")))}
                for name, device in info.items()
            },
            "not_allowed_nodes": {
                self.node[node]: self._reasons(record(why))
                for node, why in record(answer.get("not_allowed_nodes")).items()
                if node in self.node
            },
        }
        if answer.get("allowed_nodes") is not None:
            result["allowed_nodes"] = [
                self.node[n] for n in map(text, items(answer["allowed_nodes"])) if n in self.node
            ]
        return result

    def _reasons(self, why: Mapping[str, Any]) -> dict[str, Any]:
        """What bars a node; of what a later release adds, that it does."""
        result: dict[str, Any] = {}
        for name, what in why.items():
            if name == "unavailable_storages":
                result[name] = [self._storage(text(storage)) for storage in items(what)]
            elif name == "unavailable-resources":
                result[name] = [_resource(resource) for resource in items(what)]
            elif name == "blocking-ha-resources":
                result[name] = [_block(record(block)) for block in items(what)]
            else:
                result[OTHER] = int(bool(what))
        return result

    def _disk(self, disk: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {name: int(flag(disk[name])) for name in FLAGS if name in disk}
        storage, _, volume = text(disk.get("volid")).rpartition(":")
        result["volid"] = f"{self._storage(storage)}:{'cloudinit' if 'cloudinit' in volume else 'volume'}"
        if DRIVE.fullmatch(text(disk.get("drivename"))):
            result["drivename"] = disk["drivename"]
        if disk.get("size"):
            result["size"] = mib(disk["size"]) * MIB
        return result

    def _ct(self, config: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name in config:
            if name == "lock":
                result[name] = self._lock(text(config[name]))
            elif DEVICE.fullmatch(name):
                result[name] = "/dev/device"
            elif MOUNT.fullmatch(name):
                result[name] = self._mount(text(config[name]))
        return result

    def _mount(self, value: str) -> str:
        first, *options = value.split(",")
        volume = first.removeprefix("volume=")
        new = "/path" if volume.startswith("/") else f"{self._storage(volume.partition(':')[0])}:volume"
        pairs = (option.partition("=") for option in options)
        shown = [f"{name}={size}" for name, _, size in pairs if name in ("size", "shared") and SIZE.fullmatch(size)]
        return ",".join([new, *shown])

    def _storage(self, name: str) -> str:
        return self.storage.get(name, OTHER)


def _node_status(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Of all that a node tells, its CPU. A model that is not of the usual makers stays different from others."""
    found = cpu.of_node(answer)
    if found is None:
        return {}
    model = found.model if MODEL.fullmatch(found.model) else f"CPU {sha256(found.model.encode()).hexdigest()[:8]}"
    maker = found.maker if found.maker in cpu.MAKERS else OTHER
    return {"cpuinfo": {"model": model, "vendor": maker, "flags": " ".join(sorted(found.flags & cpu.FLAGS))}}


def _vm_config(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Of a virtual machine's configuration its CPU type; of one that somebody has named nothing is known."""
    kind = cpu.type_of(answer)
    known = kind in (*cpu.WHOLE, *cpu.LEVELS, cpu.DEFAULT) or any(names.fullmatch(kind) for names in cpu.NAMED.values())
    return {"cpu": kind if known else OTHER}


def _log(answer: Any) -> list[dict[str, Any]]:
    """The figures of a log."""
    shown = filter(None, map(tasklog.figures, tasklog.texts(answer)))
    return [{"n": number, "t": line} for number, line in enumerate(shown, 1)]


def _resource(name: Any) -> str:
    return name if RESOURCE.fullmatch(text(name)) else OTHER


def _block(block: Mapping[str, Any]) -> dict[str, Any]:
    sid, cause = text(block.get("sid")), text(block.get("cause"))
    return {"sid": sid if SID.fullmatch(sid) else OTHER, "cause": cause if cause in HA_CAUSES else OTHER}
