"""Owns what nodes use besides their guests while guests are under way, when the figures of both lag behind.

Proxmox VE shows a guest on its new node at once. What nodes use follows within a cycle of its statistics, and while a
guest is copied the target already holds a part of it. To take such figures as they are would count guests twice.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from planner import capacity, collect
from planner.cluster import Cluster
from planner.policy import Mode, Resource


@dataclass(frozen=True, slots=True)
class Trip:
    """A guest that is, or was a moment ago, on its way."""

    vmid: int
    source: str
    target: str


class OwnUse:
    """MiB of memory that nodes use besides their guests, remembered from when nothing came or went."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def corrected(self, cluster: Cluster, trips: Collection[Trip]) -> Cluster:
        """The cluster in which nodes use what they use themselves and what the guests that are listed on them cost."""
        guests = cluster.guests[~cluster.guests["template"]]
        cost = dict(zip(map(int, guests["vmid"]), capacity.demand(guests, Resource.MEMORY, Mode.USED), strict=True))
        on = dict(zip(map(int, guests["vmid"]), map(str, guests["node"]), strict=True))
        listed: dict[str, int] = {}
        for vmid, node in on.items():
            listed[node] = listed.get(node, 0) + int(cost[vmid])
        used = {
            node: listed.get(node, 0) + self._own(node, int(used) - listed.get(node, 0), trips, on, cost)
            for node, used in zip(map(str, cluster.nodes["node"]), cluster.nodes["memory_used_mib"], strict=True)
        }
        nodes = cluster.nodes.assign(memory_used_mib=np.array(list(used.values()), dtype=np.int64))
        return replace(cluster, nodes=nodes, storages=_without_copies(cluster, trips, on))

    def _own(self, node: str, shown: int, trips: Collection[Trip], on: dict[int, str], cost: dict[int, int]) -> int:
        """What is known, as far as it can be: figures may hold what is under way, or lack what has arrived."""
        here = [trip for trip in trips if node in (trip.source, trip.target) and trip.vmid in on]
        if not here:
            self._known[node] = max(0, shown)
            return self._known[node]
        least = shown - sum(cost[vmid] for vmid in {trip.vmid for trip in here} if on[vmid] != node)
        most = shown + sum(
            cost[vmid] for vmid in {trip.vmid for trip in here if trip.target == node} if on[vmid] == node
        )
        return max(0, least, min(most, self._known.get(node, least)))


def _without_copies(cluster: Cluster, trips: Collection[Trip], on: dict[int, str]) -> pd.DataFrame:
    """Local storages less what they hold of guests that are listed on another node."""
    storages = cluster.storages
    for vmid, node in {(trip.vmid, node) for trip in trips for node in (trip.source, trip.target)}:
        if on.get(vmid, node) != node:
            for copy in collect.volumes_of([{"vmid": vmid, "node": node}], _records(storages), cluster.snapshot):
                there = (storages["node"] == node) & (storages["storage"] == copy["storage"])
                left = np.maximum(0, storages["used_mib"] - copy["used_mib"])
                storages = storages.assign(used_mib=storages["used_mib"].where(~there, left))
    return storages


def _records(storages: pd.DataFrame) -> list[dict[str, Any]]:
    return [{"node": str(node), "storage": str(name)} for node, name in storages[["node", "storage"]].to_numpy()]
