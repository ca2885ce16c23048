"""Owns a directory of snapshots as something to play: guests that come and go, nodes that do, at even times."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from planner.collect import collect
from planner.errors import InputError
from planner.measure import AWAY, Floats
from planner.policy import Resource
from planner.recording import MOST_STEPS, Recording
from planner.snapshot import RESOURCES, Snapshot, load
from planner.state import UNNAMED, cluster_name

COLUMNS = {
    Resource.CPU: ("cpu_used_mcpu", "cpu_mcpu"),
    Resource.MEMORY: ("memory_used_mib", "memory_mib"),
}
"""What is used, and what nodes have."""
FLEETING = ("cpu", "mem", "memhost", "uptime", "diskread", "diskwrite", "netin", "netout", "disk")
"""What rows of guests and nodes say that is different every time, and is kept in arrays or not needed."""
DROPPED = ("rrddata", "/cluster/tasks")
"""Parts of paths whose answers are no part of a moment: a recording has its own history."""


@dataclass(frozen=True, eq=False)
class Moment:
    """What is kept of a snapshot."""

    at: float
    """Unix seconds."""
    cluster: str
    """Its name; UNNAMED where that is not known."""
    homes: Mapping[int, str]
    """vmid to node."""
    used: Mapping[Resource, Floats]
    """Of guests, in that order."""
    nodes: Mapping[str, bool]
    """Name to whether it is online and its figures are known."""
    node_used: Mapping[Resource, Floats]
    """Of nodes, in that order."""
    node_has: Mapping[Resource, Floats]
    answers: Mapping[str, Any]


def from_directory(path: Path) -> Recording:
    """The snapshots of a directory (*.json, *.json.gz), in the order of their times. InputError says what is wrong."""
    if not path.is_dir():
        raise InputError(f"{path} is no directory: name one that holds snapshots of one cluster, taken over some time")
    files = sorted(file for file in path.iterdir() if file.name.endswith((".json", ".json.gz")) and file.is_file())
    return from_snapshots(map(load, files), str(path))


def from_snapshots(snapshots: Iterable[Snapshot], what: str = "the recording") -> Recording:
    """Snapshots of one cluster as they follow each other. A moment between two is as the earlier one says.

    The step is the usual time between two of them. InputError where they are fewer than two, have no times, or are of
    several clusters.
    """
    known: dict[str, Any] = {}
    moments = sorted((_moment(snapshot, known) for snapshot in snapshots), key=lambda moment: moment.at)
    if len(moments) < 2:
        many = "one snapshot" if moments else "no snapshots (*.json, *.json.gz)"
        raise InputError(f"{what} holds {many}: a back-test needs two at least, such as one for every five minutes")
    if len(names := sorted({moment.cluster for moment in moments} - {UNNAMED})) > 1:
        raise InputError(f"{what} holds snapshots of several clusters, {' and '.join(names)}: keep those of one in it")
    begins = [moment.at for moment in moments]
    step = round(median(after - before for before, after in pairwise(begins)))
    if step < 1:
        raise InputError(f"{what} holds snapshots that were taken at the same time: keep one for each moment")
    steps = round((begins[-1] - begins[0]) / step) + 1
    if steps > MOST_STEPS:
        raise InputError(f"{what} would have {steps} steps of {step} s: keep snapshots that follow each other")
    # The newest that had been taken by then; times of half a step around are the same moment.
    times = begins[0] + (np.arange(steps) + 0.5) * step
    newest = (np.searchsorted(begins, times, side="left") - 1).tolist()
    return _recording(begins[0], step, [moments[i] for i in newest])


def _moment(snapshot: Snapshot, known: dict[str, Any]) -> Moment:
    """What is kept of a snapshot; `known` has what others said, which is kept once."""
    cluster = collect(snapshot)
    guests, nodes = cluster.guests, cluster.nodes
    online = (nodes["status"] == "online") & (nodes["memory_mib"] > 0) & (nodes["cpu_mcpu"] > 0)
    stopped = guests["status"] == "stopped"
    return Moment(
        _taken_at(snapshot),
        cluster_name(snapshot),
        dict(zip(map(int, guests["vmid"]), map(str, guests["node"]), strict=True)),
        {r: guests[used].where(~stopped, 0).to_numpy(dtype=np.float64) for r, (used, _) in COLUMNS.items()},
        dict(zip(map(str, nodes["node"]), map(bool, online), strict=True)),
        {resource: nodes[used].to_numpy(dtype=np.float64) for resource, (used, _) in COLUMNS.items()},
        {resource: nodes[total].to_numpy(dtype=np.float64) for resource, (_, total) in COLUMNS.items()},
        _answers(snapshot, known),
    )


def _answers(snapshot: Snapshot, known: dict[str, Any]) -> dict[str, Any]:
    """The answers without what is different every time; equal ones are the same object."""

    def shared(value: Any) -> Any:
        return known.setdefault(json.dumps(value, sort_keys=True), value)

    kept = {path: answer for path, answer in snapshot.answers.items() if not any(part in path for part in DROPPED)}
    rows = [
        shared({name: 0 if name in FLEETING else value for name, value in row.items()})
        if row.get("type") in ("node", "qemu", "lxc") else shared(row)
        for row in kept.pop(RESOURCES)
    ]  # fmt: skip
    return {RESOURCES: rows} | {path: shared(answer) for path, answer in kept.items()}


def _recording(begin: float, step: int, moments: Sequence[Moment]) -> Recording:
    vmids = tuple(sorted({vmid for moment in moments for vmid in moment.homes}))
    nodes = tuple(sorted({name for moment in moments for name in moment.nodes}))
    index = {vmid: g for g, vmid in enumerate(vmids)}
    number = {name: n for n, name in enumerate(nodes)}
    homes = np.full((len(vmids), len(moments)), AWAY, dtype=np.int64)
    demand = {resource: np.full((len(vmids), len(moments)), np.nan) for resource in COLUMNS}
    own = {resource: np.full((len(nodes), len(moments)), np.nan) for resource in COLUMNS}
    ability = {resource: np.full((len(nodes), len(moments)), np.nan) for resource in COLUMNS}
    for t, moment in enumerate(moments):
        rows, places = [index[vmid] for vmid in moment.homes], np.array([number[name] for name in moment.nodes])
        homes[rows, t] = [number[node] for node in moment.homes.values()]
        online = np.array(list(moment.nodes.values()))
        for resource in COLUMNS:
            demand[resource][rows, t] = moment.used[resource]
            taken = np.bincount(homes[rows, t], weights=moment.used[resource], minlength=len(nodes))
            rest = np.maximum(0, moment.node_used[resource] - taken[places])
            own[resource][places[online], t] = rest[online]
            ability[resource][places[online], t] = moment.node_has[resource][online]
    return Recording(
        begin, step, 0, vmids, nodes, demand, own, ability, homes, tuple(moment.answers for moment in moments)
    )


def _taken_at(snapshot: Snapshot) -> float:
    try:
        return datetime.fromisoformat(snapshot.taken_at).timestamp()
    except (ValueError, OverflowError):
        raise InputError(
            f"{snapshot.origin} does not say when it was taken ({snapshot.taken_at!r}): leave it out"
        ) from None
