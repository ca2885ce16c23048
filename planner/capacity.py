"""Owns what guests need of nodes and what nodes can give: loads to balance, and capacities that must hold."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from planner.errors import ConfigError
from planner.policy import Mode, Policy, Reserve, Resource
from solvers.problem import PPM, Ints

GIB = 1024
"""MiB."""
RESERVE_UNITS = {Resource.MEMORY: GIB, Resource.CPU: 1000, Resource.DISK: GIB}
TOTAL = {Resource.MEMORY: "memory_mib", Resource.CPU: "cpu_mcpu", Resource.DISK: "disk_mib"}
USED = {Resource.MEMORY: "memory_used_mib", Resource.CPU: "cpu_used_mcpu", Resource.DISK: "disk_used_mib"}


@dataclass(frozen=True, eq=False)
class Capacities:
    """What has to fit on every node: one column for each thing that a node has only so much of."""

    names: tuple[str, ...]
    needs: Ints
    """(g, r) what each guest takes."""
    room: Ints
    """(n, r) what each node has for guests."""


def check_names(policy: Policy, names: tuple[str, ...]) -> None:
    """ConfigError when a setting names a node that does not exist."""
    for name in policy.reserve:
        if name not in names and name != "default":
            raise ConfigError(f"policy.reserve names node {name}, which does not exist: there are {', '.join(names)}")


def reserve(policy: Policy, node: str, resource: Resource) -> int:
    """What a node keeps for itself, in the units of the frames."""
    default = policy.reserve.get("default", Reserve())
    amount: float = getattr(policy.reserve.get(node, default), resource.value)
    return round(amount * RESERVE_UNITS[resource])


def _ability(nodes: pd.DataFrame, policy: Policy, resource: Resource) -> Ints:
    """(n,) what each node can give: what it has less its reserve."""
    result = []
    for node, total in zip(nodes["node"], nodes[TOTAL[resource]], strict=True):
        kept = reserve(policy, str(node), resource)
        if kept >= total > 0:
            raise ConfigError(f"policy.reserve leaves node {node} no {resource}: lower it")
        result.append(max(1, int(total) - kept))
    return np.array(result, dtype=np.int64)


def demand(guests: pd.DataFrame, resource: Resource, mode: Mode) -> Ints:
    """(g,) what each guest takes; a stopped guest takes nothing but disk."""
    column = (USED if mode is Mode.USED else TOTAL)[resource]
    amount = guests[column].to_numpy(dtype=np.int64)
    if resource is Resource.DISK:
        return amount
    return np.where(guests["status"].to_numpy() == "stopped", 0, amount)


def metrics(nodes: pd.DataFrame, guests: pd.DataFrame, origin: Ints, policy: Policy) -> tuple[Ints, Ints, Ints]:
    """Demand (k, g), ability (k, n) and base (k, n): one metric per resource."""
    taken = [demand(guests, resource, policy.mode) for resource in policy.resource]
    ability = [_ability(nodes, policy, resource) for resource in policy.resource]
    base = [
        _base(nodes, d, origin, a, resource, policy.mode)
        for d, a, resource in zip(taken, ability, policy.resource, strict=True)
    ]
    return np.stack(taken), np.stack(ability), np.stack(base)


def _own_use(nodes: pd.DataFrame, taken: Ints, origin: Ints, resource: Resource, mode: Mode) -> Ints:
    """(n,) what the nodes use beyond their guests; not counted where configured figures are looked at."""
    if mode is Mode.ASSIGNED:
        return np.zeros(len(nodes), dtype=np.int64)
    guests = np.bincount(origin, weights=taken, minlength=len(nodes)).astype(np.int64)
    return np.maximum(0, nodes[USED[resource]].to_numpy(dtype=np.int64) - guests)


def _base(nodes: pd.DataFrame, taken: Ints, origin: Ints, ability: Ints, resource: Resource, mode: Mode) -> Ints:
    """(n,) ppm beyond the guests, such that today's loads are exact whatever the rounding of single guests."""
    own = _own_use(nodes, taken, origin, resource, mode)
    whole = own + np.bincount(origin, weights=taken, minlength=len(nodes)).astype(np.int64)
    rounded = (taken * PPM + ability[origin] // 2) // ability[origin]
    guests = np.bincount(origin, weights=rounded, minlength=len(nodes)).astype(np.int64)
    return (whole * PPM + ability // 2) // ability - guests


def capacities(nodes: pd.DataFrame, guests: pd.DataFrame, origin: Ints, policy: Policy) -> Capacities:
    """Memory always, local disk where it is balanced or copied."""
    wanted: list[tuple[Resource, Mode, Mode]] = [(Resource.MEMORY, policy.fit, policy.fit)]
    if Resource.DISK in policy.resource or policy.with_local_disks:  # what is not of guests fills a storage too
        wanted.append((Resource.DISK, Mode.ASSIGNED, Mode.USED))
    needs, room = [], []
    for resource, mode, own_mode in wanted:
        needs.append(demand(guests, resource, mode))
        own = _own_use(nodes, demand(guests, resource, own_mode), origin, resource, own_mode)
        room.append(np.maximum(0, _ability(nodes, policy, resource) - own))
    names = ("memory", "local disk")[: len(wanted)]
    return Capacities(names, np.stack(needs, axis=1), np.stack(room, axis=1))
