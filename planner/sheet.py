"""Owns recorded answers while they are changed: guests and nodes that come, go or differ, wherever answers say so.

A node's use follows its guests, as do the use of its storages, and what Proxmox VE says of migrating them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from planner import preconditions
from planner.admission import flag
from planner.collect import GUEST_TYPES
from planner.errors import InputError
from planner.snapshot import RESOURCES, Snapshot, content_path, hour_path, local_storages, rows

Row = dict[str, Any]
NO_USE = {"cpu": 0, "mem": 0, "memhost": 0}
BEFORE = "before"
"""What a guest was before its node was switched off."""
FIRST = 100
"""Proxmox VE numbers guests from here on."""


def amount(row: Mapping[str, Any], name: str) -> float:
    """A figure of a row, which may be missing or written as text."""
    return float(row.get(name) or 0)


class Sheet:
    """Copies of the answers of a snapshot, which itself is never changed."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot, self._answers = snapshot, dict(snapshot.answers)
        self.rows: list[Row] = [dict(row) for row in rows(snapshot.get(RESOURCES), RESOURCES)]

    def snapshot(self) -> Snapshot:
        """The answers as they are now."""
        return replace(self._snapshot, answers={**self._answers, RESOURCES: self.rows})

    # --- reading --------------------------------------------------------------------------------------

    def node(self, name: str) -> Row:
        """The row of a node."""
        return next(row for row in self.rows if row.get("type") == "node" and row.get("node") == name)

    def guests(self, node: str | None = None) -> Iterator[Row]:
        """The rows of guests, or of those on a node, templates among them."""
        return (row for row in self.rows if row.get("type") in GUEST_TYPES and node in (None, row.get("node")))

    def guest(self, vmid: int) -> Row:
        """The row of a guest."""
        return next(row for row in self.guests() if int(row["vmid"]) == vmid)

    def free_vmids(self, count: int) -> list[int]:
        """The next numbers that Proxmox VE would give to guests."""
        taken, found, number = {int(row["vmid"]) for row in self.guests()}, list[int](), FIRST
        while len(found) < count:
            if number not in taken:
                found.append(number)
            number += 1
        return found

    def storages(self, node: str) -> list[Row]:
        """The rows of the storages of a node."""
        return [row for row in self.rows if row.get("type") == "storage" and row.get("node") == node]

    # --- guests ---------------------------------------------------------------------------------------

    def add(self, row: Row) -> None:
        """A guest that its node has from now on."""
        self.rows.append(row)
        self._use(str(row["node"]), *_use_of(row))

    def drop(self, vmid: int) -> None:
        """A guest is gone, with its volumes."""
        row = self.guest(vmid)
        memory, cores = _use_of(row)
        self._use(str(row["node"]), -memory, -cores)
        for storage in self._local(str(row["node"])):
            self._take_volumes(storage, vmid)
        self.rows.remove(row)

    def relocate(self, vmid: int, target: str) -> None:
        """A guest is on another node, and with it its volumes, where that has a storage of their name."""
        row = self.guest(vmid)
        source, (memory, cores) = str(row["node"]), _use_of(row)
        if source == target:
            return
        self._use(source, -memory, -cores)
        self._use(target, memory, cores)
        there = {storage["storage"]: storage for storage in self._local(target)}
        for storage in self._local(source):
            volumes = self._take_volumes(storage, vmid)
            if storage["storage"] in there:
                self._put_volumes(there[storage["storage"]], volumes)
        self._said_elsewhere(str(row["type"]), vmid, source, target)
        row["node"] = target

    def scale(self, vmid: int, memory: float, cpu: float, disk: float) -> None:
        """A guest has and uses so many times what it did; vCPUs are whole ones."""
        row = self.guest(vmid)
        before, cores = _use_of(row), math.ceil(amount(row, "maxcpu") * cpu - 1e-9)
        if cpu != 1 and cores:
            row["cpu"] = amount(row, "cpu") * amount(row, "maxcpu") * cpu / cores
            row["maxcpu"] = cores
        for name in ("maxmem", "mem", "memhost"):
            if memory != 1 and row.get(name):
                row[name] = round(amount(row, name) * memory)
        if disk != 1:
            self._scale_disks(row, disk)
        self._used_instead(row, before)

    def resize(self, vmid: int, memory: float | None, cores: int | None) -> None:
        """A guest has so many bytes and vCPUs; what it uses stays, as far as that is possible."""
        row = self.guest(vmid)
        before = _use_of(row)
        if memory is not None:
            row["maxmem"] = round(memory)
            row |= {name: min(row["maxmem"], int(amount(row, name))) for name in ("mem", "memhost") if row.get(name)}
        if cores is not None:
            row["cpu"] = min(1.0, amount(row, "cpu") * amount(row, "maxcpu") / cores)
            row["maxcpu"] = cores
        self._used_instead(row, before)

    def _used_instead(self, row: Row, before: tuple[float, float]) -> None:
        memory, cores = _use_of(row)
        self._use(str(row["node"]), memory - before[0], cores - before[1])

    def _use(self, node: str, memory: float, cores: float) -> None:
        """A node uses so many bytes and threads more. Nothing is known of the use of one that is offline."""
        row = self.node(node)
        if row.get("mem") is not None:
            row["mem"] = max(0, int(amount(row, "mem") + memory))
        if row.get("cpu") is not None and amount(row, "maxcpu"):
            row["cpu"] = max(0.0, amount(row, "cpu") + cores / amount(row, "maxcpu"))

    def _said_elsewhere(self, kind: str, vmid: int, source: str, target: str) -> None:
        """What Proxmox VE says of a guest is asked of its node; it may be on the one it came from."""
        kind = GUEST_TYPES[kind]
        moved = {preconditions.path(kind, source, vmid): preconditions.path(kind, target, vmid),
                 preconditions.config_path(source, vmid): preconditions.config_path(target, vmid)}  # fmt: skip
        for old, new in moved.items():
            if old in self._answers:
                self._answers[new] = _from_there(self._answers.pop(old), source, target)

    # --- nodes ----------------------------------------------------------------------------------------

    def switch_off(self, name: str) -> None:
        """A node is offline: nothing is known of its use, nor of that of guests that are still on it."""
        row = self.node(name)
        for key in [key for key in row if key not in ("id", "type", "node")]:
            del row[key]
        row |= {"status": "offline", "hastate": "unknown"}
        for storage in self.storages(name):
            storage["status"] = "unknown"
        for guest in self.guests(name):
            before = {key: guest.get(key) for key in ("status", *NO_USE)}
            guest |= {BEFORE: guest.get(BEFORE, before), "status": "unknown", **NO_USE}

    def revive(self, name: str) -> None:
        """A node that is offline is online, as large as the largest: guests wait there for a place."""
        row = self.node(name)
        if row.get("status") != "online":
            online = [other for other in self.rows if other.get("type") == "node" and other.get("status") == "online"]
            largest = {key: max((amount(other, key) for other in online), default=0) for key in ("maxmem", "maxcpu")}
            row |= {"status": "online", "hastate": "online", "cpu": 0.0, "mem": 0, **largest, "maxdisk": 0, "disk": 0}
            for storage in self.storages(name):
                storage["status"] = "available"

    def wake(self, vmid: int) -> None:
        """A guest of a node that is offline is as it was; where that is not known it runs and uses all it has."""
        row = self.guest(vmid)
        if row.get("status") == "unknown" and amount(row, "maxmem"):
            before = row.pop(BEFORE, {"status": "running", "mem": row["maxmem"]})
            row |= {key: value for key, value in before.items() if value is not None}

    def remove(self, name: str) -> None:
        """A node is gone, and all that is still on it."""
        self.rows[:] = [row for row in self.rows if row.get("node") != name]
        for path in [path for path in self._answers if path.startswith(f"/nodes/{name}/")]:
            del self._answers[path]

    def copy(self, like: str, name: str) -> None:
        """Another node of the same hardware, with storages, and nothing on it but its own use."""
        source, here = self.node(like), list(self.guests(like))
        self.rows.append(dict(source) | {"id": f"node/{name}", "node": name})
        if source.get("hastate"):
            self.rows[-1]["hastate"] = "online"
        for row in here:
            memory, cores = _use_of(row)
            self._use(name, -memory, -cores)
        local = {row["storage"] for row in self._local(like)}
        for storage in self.storages(like):
            held = storage["storage"] in local
            used = sum(map(_volume_use, self._volumes(storage))) if held else 0
            row = dict(storage) | {"id": f"storage/{name}/{storage['storage']}", "node": name}
            row["disk"] = max(0, int(amount(storage, "disk") - used))
            self.rows.append(row)
            if held and content_path(like, str(storage["storage"])) in self._answers:
                self._answers[content_path(name, str(storage["storage"]))] = []
        for of in (preconditions.status_path, hour_path):
            if of(like) in self._answers:
                self._answers[of(name)] = self._answers[of(like)]
        self._allow_like(like, name)

    def equip(self, name: str, memory: float | None, cores: int | None) -> None:
        """A node has so many bytes and threads; what it uses stays."""
        row = self.node(name)
        if cores is not None:
            row["cpu"] = amount(row, "cpu") * amount(row, "maxcpu") / cores
            row["maxcpu"] = cores
        if memory is not None:
            row["maxmem"] = round(memory)

    def _allow_like(self, like: str, name: str) -> None:
        """Whatever may go to a node, or is on it, may go to another one like it."""
        for row in self.guests():
            path = preconditions.path(GUEST_TYPES[row["type"]], str(row["node"]), int(row["vmid"]))
            answer = self._answers.get(path)
            if row["type"] == "qemu" and isinstance(answer, dict):
                self._answers[path] = _offered_like(answer, like, name, here=row["node"] == like)

    # --- storages -------------------------------------------------------------------------------------

    def _local(self, node: str) -> list[Row]:
        local = set(local_storages(self.rows))
        return [row for row in self.storages(node) if (node, str(row.get("storage"))) in local]

    def _volumes(self, storage: Row) -> list[Row]:
        """The volumes of guests on a storage, where that is known."""
        path = content_path(str(storage["node"]), str(storage["storage"]))
        return [row for row in rows(self._answers.get(path) or [], path) if row.get("content") in ("images", "rootdir")]

    def _take_volumes(self, storage: Row, vmid: int) -> list[Row]:
        path = content_path(str(storage["node"]), str(storage["storage"]))
        taken = [row for row in self._volumes(storage) if int(amount(row, "vmid")) == vmid]
        if taken:
            self._answers[path] = [row for row in self._answers[path] if row not in taken]
            storage["disk"] = max(0, int(amount(storage, "disk") - sum(map(_volume_use, taken))))
        return taken

    def _put_volumes(self, storage: Row, volumes: list[Row]) -> None:
        path = content_path(str(storage["node"]), str(storage["storage"]))
        if volumes:
            self._answers[path] = [*(self._answers.get(path) or []), *volumes]
            storage["disk"] = int(amount(storage, "disk") + sum(map(_volume_use, volumes)))

    def _scale_disks(self, row: Row, factor: float) -> None:
        vmid = int(row["vmid"])
        for storage in self._local(str(row["node"])):
            self._put_volumes(storage, [_larger(volume, factor) for volume in self._take_volumes(storage, vmid)])
        path = preconditions.path(GUEST_TYPES[row["type"]], str(row["node"]), vmid)
        answer = self._answers.get(path)
        if isinstance(answer, dict) and isinstance(answer.get("local_disks"), list):
            self._answers[path] = answer | {"local_disks": [_larger(disk, factor) for disk in answer["local_disks"]]}
        row |= {name: round(amount(row, name) * factor) for name in ("maxdisk", "disk") if row.get(name)}


def check_figures(row: Mapping[str, Any]) -> None:
    """InputError for a node of which it is not known what it has."""
    if row.get("status") != "online" or not (amount(row, "maxmem") and amount(row, "maxcpu")):
        raise InputError(f"node {row.get('node')} is {row.get('status')}: what it has is not known")


def _use_of(row: Mapping[str, Any]) -> tuple[float, float]:
    """Bytes and threads that a guest costs its node, as they are counted elsewhere."""
    if row.get("status") == "stopped" or flag(row.get("template")):
        return 0.0, 0.0
    return amount(row, "memhost") or amount(row, "mem"), amount(row, "cpu") * amount(row, "maxcpu")


def _volume_use(volume: Mapping[str, Any]) -> float:
    return amount(volume, "used" if "used" in volume else "size")


def _larger(volume: Row, factor: float) -> Row:
    return volume | {name: round(amount(volume, name) * factor) for name in ("size", "used") if volume.get(name)}


def _from_there(answer: Any, source: str, target: str) -> Any:
    """What is said of a guest on one node, by another one."""
    if not isinstance(answer, dict) or preconditions.ERROR in answer:
        return answer
    result, allowed, refused = dict(answer), answer.get("allowed_nodes"), answer.get("not_allowed_nodes")
    if isinstance(allowed, list):
        result["allowed_nodes"] = [*(node for node in allowed if node != target), source]
    if isinstance(refused, dict):
        result["not_allowed_nodes"] = {node: why for node, why in refused.items() if node != target}
    return result


def _offered_like(answer: Row, like: str, name: str, *, here: bool) -> Row:
    """The preconditions of a guest with one node more, which is as good as another."""
    allowed, refused = answer.get("allowed_nodes"), answer.get("not_allowed_nodes")
    if isinstance(allowed, list) and (here or like in allowed):
        return answer | {"allowed_nodes": [*allowed, name]}
    if isinstance(refused, dict) and like in refused:
        return answer | {"not_allowed_nodes": {**refused, name: refused[like]}}
    return answer
