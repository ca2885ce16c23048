"""Owns a directory of snapshots as something to play: guests that come and go, nodes that do, at even times."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from planner.cluster import Cluster
from planner.collect import collect
from planner.errors import InputError
from planner.measure import AWAY
from planner.policy import Resource
from planner.recording import MOST_STEPS, Recording
from planner.snapshot import Snapshot, load

COLUMNS = {
    Resource.CPU: ("cpu_used_mcpu", "cpu_mcpu"),
    Resource.MEMORY: ("memory_used_mib", "memory_mib"),
}
"""What is used, and what nodes have."""


def from_directory(path: Path) -> Recording:
    """The snapshots of a directory (*.json, *.json.gz), in the order of their times. InputError says what is wrong."""
    if not path.is_dir():
        raise InputError(f"{path} is no directory: name one that holds snapshots of one cluster, taken over some time")
    files = sorted(file for file in path.iterdir() if file.name.endswith((".json", ".json.gz")) and file.is_file())
    return from_snapshots([load(file) for file in files], str(path))


def from_snapshots(snapshots: Sequence[Snapshot], what: str = "the recording") -> Recording:
    """Snapshots of one cluster as they follow each other. A moment between two is as the earlier one says.

    The step is the usual time between two of them. InputError where they are fewer than two, or have no times.
    """
    if len(snapshots) < 2:
        many = "one snapshot" if snapshots else "no snapshots (*.json, *.json.gz)"
        raise InputError(f"{what} holds {many}: a back-test needs two at least, such as one for every five minutes")
    timed = sorted(((_taken_at(snapshot), snapshot) for snapshot in snapshots), key=lambda pair: pair[0])
    begins = [at for at, _ in timed]
    step = round(median(after - before for before, after in pairwise(begins)))
    if step < 1:
        raise InputError(f"{what} holds snapshots that were taken at the same time: keep one for each moment")
    steps = round((begins[-1] - begins[0]) / step) + 1
    if steps > MOST_STEPS:
        raise InputError(f"{what} would have {steps} steps of {step} s: keep snapshots that follow each other")
    # The newest that had been taken by then; times of half a step around are the same moment.
    times = begins[0] + (np.arange(steps) + 0.5) * step
    newest = (np.searchsorted(begins, times, side="left") - 1).tolist()
    clusters = [collect(snapshot) for _, snapshot in timed]
    return _recording(begins[0], step, [clusters[i] for i in newest])


def _recording(begin: float, step: int, moments: Sequence[Cluster]) -> Recording:
    vmids = tuple(sorted({int(vmid) for each in moments for vmid in each.guests["vmid"]}))
    nodes = tuple(sorted({str(name) for each in moments for name in each.nodes["node"]}))
    index = {vmid: g for g, vmid in enumerate(vmids)}
    number = {name: n for n, name in enumerate(nodes)}
    homes = np.full((len(vmids), len(moments)), AWAY, dtype=np.int64)
    demand = {resource: np.full((len(vmids), len(moments)), np.nan) for resource in COLUMNS}
    own = {resource: np.full((len(nodes), len(moments)), np.nan) for resource in COLUMNS}
    ability = {resource: np.ones(len(nodes)) for resource in COLUMNS}
    for t, each in enumerate(moments):
        rows = [index[int(vmid)] for vmid in each.guests["vmid"]]
        homes[rows, t] = [number[str(node)] for node in each.guests["node"]]
        online = each.nodes[(each.nodes["status"] == "online") & (each.nodes["memory_mib"] > 0)]
        places = [number[str(name)] for name in online["node"]]
        for resource, (used, total) in COLUMNS.items():
            taken = each.guests[used].where(each.guests["status"] != "stopped", 0).to_numpy(dtype=float)
            demand[resource][rows, t] = taken
            by_node = np.bincount(homes[rows, t], weights=taken, minlength=len(nodes))
            own[resource][places, t] = np.maximum(0, online[used].to_numpy(dtype=float) - by_node[places])
            ability[resource][places] = np.maximum(1, online[total].to_numpy(dtype=float))
    answers = tuple(each.snapshot.answers for each in moments)
    return Recording(begin, step, 0, vmids, nodes, demand, own, ability, homes, answers)


def _taken_at(snapshot: Snapshot) -> float:
    try:
        return datetime.fromisoformat(snapshot.taken_at).timestamp()
    except (ValueError, OverflowError):
        raise InputError(
            f"{snapshot.origin} does not say when it was taken ({snapshot.taken_at!r}): leave it out"
        ) from None
