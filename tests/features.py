"""Owns what random clusters can have besides rules: marks of guests, states of nodes, settings of the policy."""

from collections.abc import Callable
from random import Random
from typing import Any

Parts = dict[str, Any]
"""The fields of a scenario while it is drawn."""
Feature = Callable[[Random, Parts], None]


# Guests


def some(rng: Random, parts: Parts, most: int) -> list[int]:
    vmids = list(parts["guests"])
    return sorted(rng.sample(vmids, min(len(vmids), rng.randint(1, most))))


def mark(name: str, values: list[Any], most: int = 2) -> Feature:
    """A feature that gives a few guests one of these values."""

    def feature(rng: Random, parts: Parts) -> None:
        for vmid in some(rng, parts, most):
            if not parts["guests"][vmid].get("template"):
                parts["guests"][vmid][name] = rng.choice(values)

    return feature


def tag(prefix: str, least: int, most: int) -> Feature:
    """A feature that gives tags to a few guests."""

    def feature(rng: Random, parts: Parts) -> None:
        for name in ("x", "y")[: rng.randint(1, 2)]:
            tag = prefix + (rng.choice(list(parts["nodes"])) if prefix == "plb_pin_" else name)
            for vmid in some(rng, parts, rng.randint(least, most)):
                parts["guests"][vmid]["tags"] += (rng.choice([tag, tag.upper()]),)

    return feature


def templates(rng: Random, parts: Parts) -> None:
    for vmid in some(rng, parts, 2):
        parts["guests"][vmid] |= {"template": True, "status": "stopped"}


def disks(rng: Random, parts: Parts) -> None:
    """Disks on a storage that all nodes have, one that few have, one that is shared."""
    for name in parts["nodes"]:
        storages = parts["nodes"][name]["storages"]
        storages["local"] = rng.choice([60, 200, {"size": 100, "used": 50}])
        storages |= {"nfs": {"size": 900, "shared": True}} | ({"fast": 80} if rng.random() < 0.4 else {})
    for vmid in some(rng, parts, 6):
        guest = parts["guests"][vmid]
        there = sorted(parts["nodes"][guest["on"]]["storages"])
        guest["disks"] = {name: rng.choice([5, 20, 40]) for name in rng.sample(there, rng.randint(1, 2))}
    if rng.random() < 0.7:
        parts["policy"]["with_local_disks"] = True


def answers(rng: Random, parts: Parts) -> None:
    """What Proxmox VE says about migrating some guests."""
    for vmid in some(rng, parts, 4):
        guest = parts["guests"][vmid]
        others = [name for name in parts["nodes"] if name != guest["on"]]
        lacking = {name: {"unavailable_storages": ["nfs2"]} for name in others if rng.random() < 0.5}
        vm = {"running": 1, "allowed_nodes": [n for n in others if n not in lacking], "local_disks": []}
        vm |= {"not_allowed_nodes": lacking | {n: {} for n in others if n not in lacking}}
        answers: dict[str, list[Any]] = {
            "vm": [vm, vm, vm | {"local_resources": ["hostpci0"]}, {"error": "VM is locked (backup)"}, {"error": "no"}],
            "ct": [{"rootfs": "nfs2:101/vm.raw,size=8G"}, {"rootfs": "nfs2:1", "mp0": "/srv,mp=/srv"},
                   {"rootfs": "nfs2:1", "dev0": "/dev/x"}, {"rootfs": "some:1"}],
        }  # fmt: skip
        kind = guest.get("type", "vm")
        where = f"qemu/{vmid}/migrate" if kind == "vm" else f"lxc/{vmid}/config"
        parts["answers"][f"/nodes/{guest['on']}/{where}"] = rng.choice(answers[kind])
    for name in parts["nodes"]:
        if rng.random() < 0.6:
            parts["nodes"][name]["storages"]["nfs2"] = {"size": 900, "shared": True}


# Nodes


def of_node(name: str, value: Any) -> Feature:
    """A feature that gives a node a value."""

    def feature(rng: Random, parts: Parts) -> None:
        parts["nodes"][rng.choice(list(parts["nodes"]))][name] = value

    return feature


def named(key: str) -> Feature:
    """A feature that names a node in the settings."""

    def feature(rng: Random, parts: Parts) -> None:
        parts["cluster"][key] = [rng.choice(list(parts["nodes"]))]

    return feature


def manager(rng: Random, parts: Parts) -> None:
    node = rng.choice(list(parts["nodes"]))
    says = f"{node} (maintenance mode, Mon Nov 23 12:00:00 2026)"
    parts["answers"]["/cluster/ha/status/current"] = [
        {"id": f"lrm:{node}", "type": "lrm", "node": node, "status": says}
    ]


def selector(rng: Random, parts: Parts) -> list[str]:
    vmids = [str(vmid) for vmid in some(rng, parts, 5)]
    words = [["@tag-red"], ["@tag-blue"], ["@pool-p"], ["@pool-p/q"], ["101:103"], ["g10*,-101"], ["@node-pve1"]]
    return rng.choice([vmids, vmids, *words])


# Policy


def _section(name: str, choices: dict[str, list[Any]]) -> Feature:
    def feature(rng: Random, parts: Parts) -> None:
        parts[name] |= {key: rng.choice(values) for key, values in choices.items()}

    return feature


def policy(**choices: list[Any]) -> Feature:
    """A feature that sets the policy to one of these values each."""
    return _section("policy", choices)


def apply(**choices: list[Any]) -> Feature:
    """The same for how plans are carried out."""
    return _section("apply", choices)


def scheduled(rng: Random, parts: Parts) -> None:
    days = rng.choice([("2026-11-22", "2026-11-25"), ("2026-11-24T12:00Z", "2026-11-25T12:00Z")])
    window = {"node": rng.choice(list(parts["nodes"])), "begin": days[0], "end": days[1]}
    parts["cluster"].setdefault("scheduled_maintenance", []).append(window)


def balances(rng: Random, parts: Parts) -> None:
    parts["answers"]["/cluster/options"] = {"crs": {"ha": "dynamic", "ha-auto-rebalance": 1}}
    parts["policy"]["with_ha_guests"] = rng.random() < 0.3


def ignored(rng: Random, parts: Parts) -> None:
    parts["cluster"]["ignore_guests"] = selector(rng, parts)
