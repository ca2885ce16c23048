"""Owns what can be played again: a cluster's guests with what they demanded over time, and its nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from planner.cluster import Cluster
from planner.collect import collect
from planner.errors import InputError
from planner.history import History
from planner.measure import AWAY, Floats, Places, Scene
from planner.policy import Resource
from planner.run import Moved
from planner.snapshot import RESOURCES, Snapshot

MIB = 2**20
DAY = 24 * 3600
TAKES = {Resource.MEMORY: "mem", Resource.CPU: "cpu"}
"""What is recorded, and what it is called in rows of the API."""
MOST_STEPS = 100_000


@dataclass(frozen=True, eq=False)
class Recording:
    """A course of moments at even times. Units are those of the frames: milli-CPU and MiB. Arrays are read-only."""

    begin: float
    """Unix seconds at which the first step begins."""
    step: int
    """Seconds of a step."""
    first: int
    """The step with which playing begins; those before are its past, which is known from the beginning on."""
    vmids: tuple[int, ...]
    nodes: tuple[str, ...]
    demand: Mapping[Resource, Floats]
    """(g, t) what each guest used, on average over each step; NaN while it is not there."""
    own: Mapping[Resource, Floats]
    """(n, t) what each node used beside its guests; NaN while it is not there or not online."""
    ability: Mapping[Resource, Floats]
    """(n, t) what each node has; NaN while it is not there or not online."""
    homes: npt.NDArray[np.int64]
    """(g, t) where each guest was in fact; AWAY where it was not there."""
    answers: Sequence[Mapping[str, Any]]
    """What the API answered, one for each step or one for all, but for what guests use and where they are."""

    def __post_init__(self) -> None:
        for table in (self.demand, self.own, self.ability):
            for array in table.values():
                array.setflags(write=False)
        self.homes.setflags(write=False)

    @property
    def steps(self) -> int:
        """Number of steps that are played."""
        return int(self.homes.shape[1]) - self.first

    @property
    def played_from(self) -> float:
        """Unix seconds at which playing begins."""
        return self.begin + self.first * self.step

    def since(self, seconds: float) -> Self:
        """The same, with so much of its beginning as past. InputError where nothing would be left."""
        first = round(seconds / self.step)
        if not 0 <= first < self.homes.shape[1]:
            raise InputError(f"nothing is left to play: the recording has {self.homes.shape[1]} steps of {self.step} s")
        return replace(self, first=first)

    def known(self, now: float) -> int:
        """The step whose figures are known so many seconds after playing began: the last one that is over.
        Where playing begins with the first snapshot, that one: it had been taken by then."""
        return max(0, self.first + int(now // self.step) - 1)

    def scene(self, resource: Resource) -> Scene:
        """What is measured by: the demand that was played."""
        cut = slice(self.first, None)
        return Scene(self.step, *(table[resource][:, cut] for table in (self.demand, self.own, self.ability)))

    def at(
        self, now: float, homes: Places, moved: tuple[Moved, ...] = (), seconds: float = 0.0, lookback: float = DAY
    ) -> Cluster:
        """The cluster as a planner sees it so long after playing began, with guests at home there: the figures of the
        last step that is over, the history up to it (`lookback` seconds of it), and the guests that are there by now.

        `seconds`: the use of CPU by guests that the rows of the snapshot tell is the mean of so long, not of one step;
        frames have the one of the step.
        """
        step, taken_at = self.known(now), self.played_from + now
        seen = self._snapshot(step, homes, taken_at, 1)
        cluster = replace(collect(seen), moved=moved, history=self.history(now, homes, lookback) if lookback else None)
        steps = round(seconds / self.step)
        return cluster if steps < 2 else replace(cluster, snapshot=self._snapshot(step, homes, taken_at, steps))

    def during(self, step: int, homes: Places) -> Cluster:
        """The cluster as it is in a step, with guests at home there, whoever knows it by then."""
        return collect(self._snapshot(step, homes, self.begin + step * self.step, 1))

    def history(self, now: float, homes: Places, lasting: float = DAY) -> History:
        """What was used until then; nodes as if their guests had been at home there all the time."""
        end = self.known(now) + 1
        begin = max(0, end - round(lasting / self.step))
        demand = {resource: series[:, begin:end].copy() for resource, series in self.demand.items()}
        node = {resource: self.own[resource][:, begin:end] + _sums(taken, homes, len(self.nodes))
                for resource, taken in demand.items()}  # fmt: skip
        return History(self.begin + begin * self.step, self.step, self.vmids, self.nodes, demand, node)

    def answer(self, step: int) -> Mapping[str, Any]:
        """What the API answers in a step."""
        return self.answers[min(step, len(self.answers) - 1)]

    def _snapshot(self, step: int, homes: Places, at: float, lasting: int) -> Snapshot:
        answers = self.answer(step)
        used = {resource: np.nan_to_num(series[:, step]) for resource, series in self.demand.items()}
        node_use = {
            resource: np.nan_to_num(self.own[resource][:, step])
            + np.bincount(homes[homes != AWAY], weights=used[resource][homes != AWAY], minlength=len(self.nodes))
            for resource in used
        }
        lately = np.nan_to_num(self.demand[Resource.CPU][:, max(0, step + 1 - lasting) : step + 1])
        used[Resource.CPU] = lately.mean(axis=1)
        index = {vmid: g for g, vmid in enumerate(self.vmids)}
        number = {name: n for n, name in enumerate(self.nodes)}
        listed = {row["node"] for row in answers[RESOURCES] if row.get("type") == "node"}
        rows: list[dict[str, Any]] = []
        for row in answers[RESOURCES]:
            if row.get("type") == "node" and row["node"] in number:
                rows.append(_used(row, node_use, number[row["node"]]))
            elif row.get("vmid") in index:
                guest = index[row["vmid"]]
                if homes[guest] != AWAY and self.nodes[homes[guest]] in listed:
                    rows.append(_used(row, used, guest) | {"node": self.nodes[homes[guest]]})
            else:
                rows.append(row)
        taken_at = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
        return Snapshot({**answers, RESOURCES: rows}, taken_at, "the recording")


def _used(row: Mapping[str, Any], used: Mapping[Resource, Floats], index: int) -> dict[str, Any]:
    """The row of a guest or node with what it uses: of CPU a part of what it has, of memory bytes."""
    memory = round(float(used[Resource.MEMORY][index])) * MIB
    cores = float(row.get("maxcpu") or 0)
    part = float(used[Resource.CPU][index]) / 1000 / cores if cores else 0.0
    return {**row, "mem": memory, "cpu": part} | ({"memhost": memory} if "memhost" in row else {})


def _sums(taken: Floats, homes: Places, nodes: int) -> Floats:
    """(n, t) sums over the guests that are at home on each node."""
    result = np.zeros((nodes, taken.shape[1]))
    there = homes != AWAY
    np.add.at(result, homes[there], np.nan_to_num(taken[there]))
    return result
