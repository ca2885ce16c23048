"""Owns what guests need of nodes and what nodes can give: loads to balance, and capacities that must hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from planner.cluster import Cluster
from planner.errors import ConfigError
from planner.periods import Metric, demands
from planner.policy import PRESSURES, RATES, GuestMemory, Mode, Overcommit, Policy, Reserve, Resource
from solvers.problem import PPM, Ints

GIB = 1024
"""MiB."""
MCPU = 1000
"""Milli-CPU of a thread or vCPU."""
KIB = 1024
"""Of which a MiB has so many."""
CARRIED = {Resource.IO: 1000.0, Resource.NETWORK: 1250.0}
"""MiB/s that are 100 % of a node, unless the operator says: an SSD or two, a network of 10 Gbit/s."""
RESERVE_UNITS = {Resource.MEMORY: GIB, Resource.CPU: MCPU, Resource.DISK: GIB}
TOTAL = {Resource.MEMORY: "memory_mib", Resource.CPU: "cpu_mcpu", Resource.DISK: "disk_mib"}
USED = {Resource.MEMORY: "memory_used_mib", Resource.CPU: "cpu_used_mcpu", Resource.DISK: "disk_used_mib"}
MEMORY, VCPUS, GUESTS, STORAGE = "memory", "vCPUs", "guests", "storage "
"""Names of capacities; after the last comes the name of the storage."""


@dataclass(frozen=True, eq=False)
class Capacities:
    """What has to fit on every node: one column for each thing that a node has only so much of."""

    names: tuple[str, ...]
    needs: Ints
    """(g, r) what each guest takes."""
    room: Ints
    """(n, r) what each node has for guests."""


class _Column(NamedTuple):
    name: str
    needs: Ints
    room: Ints


def check_names(policy: Policy, names: tuple[str, ...]) -> None:
    """ConfigError when a setting names a node that does not exist."""
    for setting in ("reserve", "overcommit", "max_guests"):
        for name in getattr(policy, setting):
            if name not in names and name != "default":
                there = ", ".join(names)
                raise ConfigError(f"policy.{setting} names node {name}, which does not exist: there are {there}")


def reserve(policy: Policy, node: str, resource: Resource) -> int:
    """What a node keeps for itself, in the units of the frames; of disk, on each of its storages."""
    default = policy.reserve.get("default", Reserve())
    amount: float = getattr(policy.reserve.get(node, default), resource.value)
    return round(amount * RESERVE_UNITS[resource])


def demand(guests: pd.DataFrame, resource: Resource, mode: Mode) -> Ints:
    """(g,) what each guest costs its node; a stopped one costs nothing but disk. The present tells no rates."""
    if resource in RATES:
        return np.zeros(len(guests), dtype=np.int64)
    return _running(guests, (USED if mode is Mode.USED else TOTAL)[resource])


@dataclass(frozen=True, eq=False)
class Metrics:
    """What is balanced: the periods of each resource, one resource after the other."""

    names: tuple[Metric, ...]
    demand: Ints
    """(k, g) what each guest takes."""
    ability: Ints
    """(k, n) what each node can give."""
    base: Ints
    """(k, n) ppm that are no guest's; what a node itself uses is taken to be the same at all times."""
    remarks: tuple[str, ...] = ()
    """What a person should know about figures that are not known."""


def metrics(cluster: Cluster, nodes: pd.DataFrame, guests: pd.DataFrame, origin: Ints, policy: Policy) -> Metrics:
    """InputError where figures are asked for that only a history has, and there is none."""
    names: list[Metric] = []
    demand, ability, base, remarks = [], [], [], list[str]()
    for resource in policy.resource:
        present = _counted(guests, resource, policy.mode, policy)
        periods, taken, unknown = demands(cluster.history, guests, present, resource, policy)
        remarks += unknown
        able = _ability(nodes, policy, resource)
        own = _own_use(nodes, guests, origin, resource, policy.mode, policy)
        names += periods
        demand += list(taken)
        ability += [able] * len(periods)
        base += [_base(own, row, able, origin) for row in taken]
    return Metrics(tuple(names), np.stack(demand), np.stack(ability), np.stack(base), tuple(dict.fromkeys(remarks)))


def capacities(cluster: Cluster, nodes: pd.DataFrame, guests: pd.DataFrame, origin: Ints, policy: Policy) -> Capacities:
    """Memory always; vCPUs and the number of guests where they are limited; local storages where disks are copied."""
    columns = [
        _memory(nodes, guests, origin, policy),
        *_vcpus(nodes, guests, policy),
        *_number(nodes, guests, policy),
        *_storages(cluster, nodes, guests, origin, policy),
    ]
    needs, room = (np.stack([column[i] for column in columns], axis=1).astype(np.int64) for i in (1, 2))
    return Capacities(tuple(column.name for column in columns), needs, room)


def bound(cluster: Cluster, guests: pd.DataFrame, names: tuple[str, ...]) -> dict[int, str]:
    """vmid to why a guest has to stay: Proxmox VE copies a volume to a storage of the same name only."""
    there = cluster.storages[cluster.storages["node"].isin(names)].groupby("storage")["node"].nunique()
    volumes = cluster.volumes[cluster.volumes["vmid"].isin(guests["vmid"])]
    alone = volumes[volumes["storage"].map(there).fillna(0) < 2]
    return {
        int(vmid): f"it has disks on storage {storage}, which no other node has"
        for vmid, storage in zip(alone["vmid"], alone["storage"], strict=True)
    }


def remarks(nodes: pd.DataFrame, policy: Policy) -> tuple[str, ...]:
    """What a person should know about settings that cannot be followed."""
    unknown = nodes["node"][nodes["arc_mib"] < 0].tolist() if policy.reclaim_arc else []
    if not unknown:
        return ()
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    return (
        f"the ZFS ARC of {', '.join(unknown[:3])}{more} is not known (Proxmox VE 8 does not tell it, nor does a "
        "snapshot that was taken without --reclaim-arc): there all memory in use counts",
    )


def _running(guests: pd.DataFrame, column: str) -> Ints:
    amount = guests[column].to_numpy(dtype=np.int64)
    if column.startswith("disk"):
        return amount
    return np.where(guests["status"].to_numpy() == "stopped", 0, amount)


def _counted(guests: pd.DataFrame, resource: Resource, mode: Mode, policy: Policy) -> Ints:
    """(g,) what counts of a guest: what it costs its node or, of memory, what it uses by its own account."""
    if (resource, mode, policy.guest_memory) == (Resource.MEMORY, Mode.USED, GuestMemory.GUEST):
        return _running(guests, "memory_guest_mib")
    return demand(guests, resource, mode)


def _ability(nodes: pd.DataFrame, policy: Policy, resource: Resource) -> Ints:
    """(n,) what each node can give: what it has less its reserve; of rates what the operator says it carries."""
    if resource in RATES:
        return np.full(len(nodes), _rate(policy, resource), dtype=np.int64)
    result = []
    for node, total in zip(nodes["node"], nodes[TOTAL[resource]], strict=True):
        kept = reserve(policy, str(node), resource)
        if kept >= total > 0:
            raise ConfigError(f"policy.reserve leaves node {node} no {resource}: lower it")
        result.append(max(1, int(total) - kept))
    return np.array(result, dtype=np.int64)


def _rate(policy: Policy, resource: Resource) -> int:
    """100 % of a rate in KiB/s; of a pressure all of the time, in ppm."""
    if resource in PRESSURES:
        return PPM
    return max(1, round(policy.capacity_rates.get(resource.value, CARRIED[resource]) * KIB))


def _own_use(
    nodes: pd.DataFrame, guests: pd.DataFrame, origin: Ints, resource: Resource, mode: Mode, policy: Policy
) -> Ints:
    """(n,) what the nodes use beyond what guests cost them; not counted where configured figures are looked at.

    What a guest costs beyond its own account, and the ARC, is memory that is given back: it is no use of the node.
    """
    if mode is Mode.ASSIGNED or resource in RATES:
        return np.zeros(len(nodes), dtype=np.int64)
    used = nodes[USED[resource]].to_numpy(dtype=np.int64) - _per_node(demand(guests, resource, mode), origin, nodes)
    if resource is Resource.MEMORY and policy.reclaim_arc:
        used = used - np.maximum(0, nodes["arc_mib"].to_numpy(dtype=np.int64))
    return np.maximum(0, used)


def _base(own: Ints, taken: Ints, ability: Ints, origin: Ints) -> Ints:
    """(n,) ppm beyond the guests, such that today's loads are exact whatever the rounding of single guests."""
    whole = own + _per_node(taken, origin, own)
    rounded = (taken * PPM + ability[origin] // 2) // ability[origin]
    return (whole * PPM + ability // 2) // ability - _per_node(rounded, origin, own)


def _per_node(amount: Ints, origin: Ints, nodes: pd.DataFrame | Ints) -> Ints:
    """(n,) the sum over the guests that are on each node."""
    return np.bincount(origin, weights=amount, minlength=len(nodes)).astype(np.int64)


def _memory(nodes: pd.DataFrame, guests: pd.DataFrame, origin: Ints, policy: Policy) -> _Column:
    factor = np.array([_overcommit(policy, node).memory for node in nodes["node"]])
    room = np.floor(_ability(nodes, policy, Resource.MEMORY) * factor).astype(np.int64)
    own = _own_use(nodes, guests, origin, Resource.MEMORY, policy.fit, policy)
    return _Column(MEMORY, _counted(guests, Resource.MEMORY, policy.fit, policy), np.maximum(0, room - own))


def _vcpus(nodes: pd.DataFrame, guests: pd.DataFrame, policy: Policy) -> Iterator[_Column]:
    """vCPUs of guests that are not stopped, where some node has a factor."""
    factors = [_overcommit(policy, node).cpu for node in nodes["node"]]
    if any(factor is not None for factor in factors):
        needs = demand(guests, Resource.CPU, Mode.ASSIGNED)
        ability = _ability(nodes, policy, Resource.CPU).tolist()
        room = [int(needs.sum()) if f is None else int(a * f) for a, f in zip(ability, factors, strict=True)]
        yield _Column(VCPUS, needs, np.array(room, dtype=np.int64))


def _number(nodes: pd.DataFrame, guests: pd.DataFrame, policy: Policy) -> Iterator[_Column]:
    """How many guests, running or not."""
    if policy.max_guests:
        default = policy.max_guests.get("default", len(guests))
        room = [min(policy.max_guests.get(node, default), len(guests)) for node in nodes["node"]]
        yield _Column(GUESTS, np.ones(len(guests), dtype=np.int64), np.array(room, dtype=np.int64))


def _overcommit(policy: Policy, node: str) -> Overcommit:
    return policy.overcommit.get(node, policy.overcommit.get("default", Overcommit()))


def _storages(
    cluster: Cluster, nodes: pd.DataFrame, guests: pd.DataFrame, origin: Ints, policy: Policy
) -> Iterator[_Column]:
    """Local storages that several nodes have under one name: a node without it has no room for what is there."""
    if Resource.DISK not in policy.resource and not policy.with_local_disks:
        return
    kept = np.array([reserve(policy, node, Resource.DISK) for node in nodes["node"]], dtype=np.int64)
    for name, places in cluster.storages[cluster.storages["node"].isin(nodes["node"])].groupby("storage", sort=True):
        volumes = cluster.volumes[cluster.volumes["storage"] == name].groupby("vmid")[["size_mib", "used_mib"]].sum()
        of_guests = volumes.reindex(guests["vmid"], fill_value=0)
        if len(places) > 1 and of_guests["size_mib"].any():
            there = places.set_index("node")[["total_mib", "used_mib"]].reindex(nodes["node"], fill_value=0)
            taken = _per_node(of_guests["used_mib"].to_numpy(), origin, nodes)
            # What is not of guests fills a storage too; thin volumes may hold less than their size.
            own = np.maximum(0, there["used_mib"].to_numpy() - taken)
            room = np.maximum(0, there["total_mib"].to_numpy() - own - kept)
            yield _Column(f"{STORAGE}{name}", of_guests["size_mib"].to_numpy(), room)
