"""Owns the meaning of one answer about migrating a guest: why it is fixed, which nodes are barred, what is copied."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from planner.errors import InputError

MIB = 2**20
UNITS = {"": 1, "K": 2**10, "M": MIB, "G": 2**30, "T": 2**40}
HA_CAUSES = ("resource-affinity", "node-affinity")
"""Causes of a block that follow from HA rules and where guests are today: a plan may have them apart first."""
MOUNT = re.compile(r"rootfs|(mp|unused)\d+")
DEVICE = re.compile(r"dev\d+")
SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")

T = TypeVar("T")
Answer = Mapping[str, Any]
Storages = Mapping[str, tuple[frozenset[str], bool]]
"""Storage to the nodes that have it, and whether they share it."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What Proxmox VE says about migrating one guest, as it stands."""

    fixed: str = ""
    """Why it cannot be migrated at all; empty when it can."""
    barred: Mapping[str, str] = field(default_factory=dict)
    """Node to why it cannot be migrated there. Being offline is no reason for Proxmox VE."""
    local_mib: int = 0
    """MiB of its disks on local storage, which a migration has to copy; at least 1 per disk."""
    unknown: str = ""
    """Why nothing is known of it: then it is admitted everywhere."""


# ---------------------------------------------------------------- virtual machines


def of_vm(answer: Answer, others: Iterable[str], ha_known: bool) -> Admission:
    """What a virtual machine's preconditions mean; `ha_known`: HA rules are read elsewhere. InputError if wild."""
    disks = [record(disk) for disk in items(answer.get("local_disks"))]
    discs = [disk for disk in disks if _is_disc(disk)]
    fixed = _devices(answer)
    if discs and not fixed:
        drive, volume = text(discs[0].get("drivename")), text(discs[0].get("volid"))
        fixed = f"its CD drive {drive or 'cdrom'} holds {volume}, which is only on its node"
    local = sum(mib(disk.get("size")) for disk in disks if not _is_disc(disk))
    return Admission(fixed, _barred(answer, others, ha_known), local)


def _is_disc(disk: Answer) -> bool:
    """Whether it is an image in a CD drive. What cloud-init reads is one too, but Proxmox VE takes it along."""
    return flag(disk.get("cdrom")) and not flag(disk.get("is_cloudinit")) and "cloudinit" not in text(disk.get("volid"))


def _devices(answer: Answer) -> str:
    """Devices that keep a guest on its node; a mapped one does so only while it runs, and not if made for it."""
    info = {name: record(value) for name, value in record(answer.get("mapped-resource-info")).items()}
    mapped = {*info, *map(text, items(answer.get("mapped-resources")))}
    own = sorted(name for name in map(text, items(answer.get("local_resources"))) if name not in mapped)
    if own:
        return f"it uses {', '.join(own)} of its node"
    held = sorted(name for name in mapped if not flag(info.get(name, {}).get("live-migration")))
    if held and flag(answer.get("running")):
        return f"it uses the mapped device {', '.join(held)}, which cannot be migrated while it runs"
    return ""


def _barred(answer: Answer, others: Iterable[str], ha_known: bool) -> dict[str, str]:
    """Allowed nodes are listed among the others as well, without a reason; Proxmox VE 8 lists none while it runs."""
    allowed = None if answer.get("allowed_nodes") is None else {*map(text, items(answer["allowed_nodes"]))}
    refused = {node: record(why) for node, why in record(answer.get("not_allowed_nodes")).items()}
    result = {}
    for node in others:
        why = refused.get(node, {})
        reasons = [reason for name in sorted(why) for reason in _reasons(name, why[name], ha_known)]
        if reasons:
            result[node] = "; ".join(reasons)
        elif not why and allowed is not None and node not in allowed:
            result[node] = "Proxmox VE does not offer it"
    return result


def _reasons(name: str, what: Any, ha_known: bool) -> list[str]:
    """What bars a node, in words."""
    if not what:
        return []
    if name == "unavailable_storages":
        return [f"it lacks storage {', '.join(map(text, items(what)))}"]
    if name == "unavailable-resources":
        return [f"it has nothing mapped for {', '.join(map(text, items(what)))}"]
    if name == "blocking-ha-resources":
        blocks = [(text(block.get("sid")), text(block.get("cause"))) for block in map(record, items(what))]
        return [f"HA refuses it because of {sid} ({cause})" for sid, cause in blocks
                if not (ha_known and cause in HA_CAUSES)]  # fmt: skip
    return [f"Proxmox VE says {name}"]


# ---------------------------------------------------------------------- containers


def of_ct(config: Answer, others: Collection[str], storages: Storages) -> Admission:
    """What a container's configuration means for its migration to the other nodes. InputError for a wild one."""
    fixed = [f"CT is locked ({text(config['lock'])})"] if config.get("lock") else []
    barred: dict[str, list[str]] = {}
    local = 0
    for name in sorted(config):
        if DEVICE.fullmatch(name):
            fixed.append(f"device {name} of its node")
        if not MOUNT.fullmatch(name):
            continue
        volume, options = _mount(text(config[name]))
        if volume.startswith("/"):
            if not flag(options.get("shared")):
                fixed.append(f"bind mount {name} of {volume}")
            continue
        storage = volume.partition(":")[0]
        on, shared = storages.get(storage, (frozenset(others), True))  # not known: Proxmox VE will tell
        local += 0 if shared else _ct_mib(options.get("size"))
        for node in others:
            if node not in on:
                barred.setdefault(node, []).append(storage)
    lacking = {node: f"it lacks storage {', '.join(dict.fromkeys(names))}" for node, names in barred.items()}
    return Admission("; ".join(fixed), lacking, local)


def _mount(value: str) -> tuple[str, dict[str, str]]:
    """Volume, or path of the node, and the options of a mount point."""
    first, *rest = value.split(",")
    pairs = (part.partition("=") for part in rest)
    return first.removeprefix("volume="), {name: option for name, _, option in pairs}


def _ct_mib(size: str | None) -> int:
    """Size as in a configuration: 8G, 512M, bytes."""
    found = SIZE.fullmatch(size or "0")
    if not found:
        raise InputError(f"{size} is not a size")
    return mib(float(found[1]) * UNITS[found[2]])


# --------------------------------------------------------------------------- values


def flag(value: Any) -> bool:
    """A boolean as Proxmox VE writes them."""
    return value is True or value in (1, "1")


def mib(size: Any) -> int:
    """MiB, rounded up, of so many bytes; a disk of unknown size is one all the same."""
    try:
        number = float(size or 0)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not 0 <= number <= 2**60:
        raise InputError(f"{size!r} is not a size")
    return max(1, math.ceil(number / MIB))


def record(value: Any) -> Mapping[str, Any]:
    """An object; empty when there is none, as with `items` and `text`."""
    return _checked(value, dict)


def items(value: Any) -> list[Any]:
    """A list."""
    return _checked(value, list)


def text(value: Any) -> str:
    """A text."""
    return _checked(value, str)


def _checked(value: Any, kind: type[T]) -> T:
    """The value, or an empty one where there is none; InputError when it is of another kind."""
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise InputError(f"{value!r} is not {kind.__name__}")
    return value
