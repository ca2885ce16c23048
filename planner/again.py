"""Owns the reading of changed answers: the cluster again, with all that goes with it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from planner.assumed import Assumed
from planner.cluster import Cluster
from planner.collect import collect
from planner.history import History, Series
from planner.policy import Resource
from planner.sheet import Sheet

NOTE = "what if: "
"""What notes begin with that say what is assumed."""


def assuming(cluster: Cluster, assumed: Assumed) -> Cluster:
    """The same cluster where more is assumed, which its notes say."""
    new = assumed.steps[len(cluster.assumed.steps) :]
    return replace(cluster, assumed=assumed, notes=(*cluster.notes, *(f"{NOTE}{step}" for step in new)))


def again(cluster: Cluster, sheet: Sheet, assumed: Assumed) -> Cluster:
    """What changed answers show, with what a cluster has beside its answers."""
    found, known = collect(sheet.snapshot()), set(collect(cluster.snapshot).notes)
    beside = (note for note in cluster.notes if note not in known)
    history = cluster.history and followed(cluster.history, cluster.guests, found.guests)
    kept = replace(
        found, notes=(*found.notes, *beside), history=history, assumed=cluster.assumed, config=cluster.config,
        moved=cluster.moved, failed=cluster.failed,
    )  # fmt: skip
    return assuming(kept, assumed)


def followed(history: History, before: pd.DataFrame, after: pd.DataFrame) -> History:
    """The history in which guests had always been where they are after a change, and nodes used so much for that."""
    return _shifted(history, history, before, after)


def scaled(history: History, guests: pd.DataFrame, factors: Mapping[Resource, float]) -> History:
    """The history in which some guests, rows of the frame, had used so many times what they did, and nodes for them."""
    return _shifted(history, history.scaled(map(int, guests["vmid"]), factors), guests, guests)


def _shifted(old: History, new: History, before: pd.DataFrame, after: pd.DataFrame) -> History:
    """The new history with what nodes used for guests as they were replaced by what they use for them now."""
    index = {name: i for i, name in enumerate(old.nodes)}
    tables = {r: series.copy() for r, series in old.node.items()}
    for history, guests, sign in ((old, before, -1), (new, after, 1)):
        for resource in tables.keys() & history.guest.keys():
            on, series = _on_nodes(history, resource, guests, index)
            np.add.at(tables[resource], on, sign * series)
    return replace(new, node={r: np.maximum(0, series) for r, series in tables.items()})


def _on_nodes(
    history: History, resource: Resource, guests: pd.DataFrame, index: Mapping[str, int]
) -> tuple[list[int], Series]:
    """Indices of nodes, and what each guest that is on one of them used; what is not known is nothing."""
    known = guests[guests["node"].isin(index)]
    on = [index[str(node)] for node in known["node"]]
    return on, np.nan_to_num(history.of(resource, map(int, known["vmid"])))
