"""Owns what guests and nodes used over time: series by resource, cut into periods."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from planner.policy import Resource

Series = npt.NDArray[np.float64]
Name = TypeVar("Name", int, str)
DAY = 24 * 3600


@dataclass(frozen=True, eq=False)
class History:
    """Series at even times, in the units of the frames: milli-CPU, MiB; rates in KiB/s; pressures in ppm of the time.

    What is not known is NaN; a resource without any figure is missing. Arrays are read-only.
    """

    begin: float
    """Unix seconds at which the first step begins."""
    step: int
    """Seconds of a step."""
    vmids: tuple[int, ...]
    """Guests, in order."""
    nodes: tuple[str, ...]
    """Nodes, in order."""
    guest: Mapping[Resource, Series]
    """(g, t) what each guest used, on average over each step."""
    node: Mapping[Resource, Series]
    """(n, t) what each node used, its guests of that time included."""
    guest_full: Mapping[Resource, Series] = field(default_factory=dict)
    """(g, t) of pressures the part of the time in which all tasks waited; the series above say when some did."""
    node_full: Mapping[Resource, Series] = field(default_factory=dict)
    """(n, t) likewise."""
    guest_spikes: Mapping[Resource, Series] = field(default_factory=dict)
    """(g, t) the highest such part within each step."""
    node_spikes: Mapping[Resource, Series] = field(default_factory=dict)
    """(n, t) likewise."""

    def __post_init__(self) -> None:
        of_guests, of_nodes = (
            (self.guest, self.guest_full, self.guest_spikes),
            (self.node, self.node_full, self.node_spikes),
        )
        for table in (*of_guests, *of_nodes):
            for series in table.values():
                series.setflags(write=False)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return next((series.shape[1] for table in (self.guest, self.node) for series in table.values()), 0)

    @property
    def times(self) -> pd.DatetimeIndex:
        """(t,) when each step begins, UTC."""
        begins = [datetime.fromtimestamp(self.begin + i * self.step, UTC) for i in range(self.steps)]
        return pd.DatetimeIndex(begins, name="time")

    def of(self, resource: Resource, vmids: Iterable[int]) -> Series:
        """(len(vmids), t) what guests used; NaN for those that are not known."""
        return _rows(self.guest.get(resource), self.vmids, list(vmids), self.steps)

    def of_nodes(self, resource: Resource, nodes: Iterable[str]) -> Series:
        """(len(nodes), t) what nodes used, guests included; NaN for those that are not known."""
        return _rows(self.node.get(resource), self.nodes, list(nodes), self.steps)

    def waits(self, pressure: Resource, vmids: Iterable[int]) -> tuple[Series, Series, Series]:
        """Of guests, each (len(vmids), t): parts of the time in which some tasks waited, in which all did, and the
        highest of the latter within each step."""
        wanted, tables = list(vmids), (self.guest, self.guest_full, self.guest_spikes)
        some, full, spikes = (_rows(table.get(pressure), self.vmids, wanted, self.steps) for table in tables)
        return some, full, spikes

    def waits_of_nodes(self, pressure: Resource, nodes: Iterable[str]) -> tuple[Series, Series, Series]:
        """Likewise of nodes."""
        wanted, tables = list(nodes), (self.node, self.node_full, self.node_spikes)
        some, full, spikes = (_rows(table.get(pressure), self.nodes, wanted, self.steps) for table in tables)
        return some, full, spikes

    def frame(self, resource: Resource) -> pd.DataFrame:
        """What guests used of a resource: one row per step (UTC), one column per vmid."""
        return pd.DataFrame(self.of(resource, self.vmids).T, index=self.times, columns=list(self.vmids))

    def scaled(self, vmids: Iterable[int], factors: Mapping[Resource, float]) -> Self:
        """The history in which some guests had used so many times what they did."""
        chosen = np.isin(self.vmids, list(vmids))
        guest = {
            resource: np.where(chosen[:, None], series * factors[resource], series) if resource in factors else series
            for resource, series in self.guest.items()
        }
        return replace(self, guest=guest)

    def since(self, seconds: float) -> Self:
        """The last so many seconds of it."""
        keep = max(1, min(self.steps, round(seconds / self.step)))
        cut = self.steps - keep

        def last(table: Mapping[Resource, Series]) -> dict[Resource, Series]:
            return {resource: series[:, cut:].copy() for resource, series in table.items()}

        return replace(
            self, begin=self.begin + cut * self.step, guest=last(self.guest), node=last(self.node),
            guest_full=last(self.guest_full), node_full=last(self.node_full),
            guest_spikes=last(self.guest_spikes), node_spikes=last(self.node_spikes),
        )  # fmt: skip


def _rows(series: Series | None, names: Sequence[Name], wanted: Sequence[Name], steps: int) -> Series:
    """(len(wanted), steps) rows of those names; NaN for those that are not there."""
    result = np.full((len(wanted), steps), np.nan)
    if series is not None:
        place = {name: i for i, name in enumerate(names)}
        known = [(i, place[name]) for i, name in enumerate(wanted) if name in place]
        result[[i for i, _ in known]] = series[[i for _, i in known]]
    return result
