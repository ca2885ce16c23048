"""Owns what guests and nodes used over time: series by resource, cut into periods."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from planner.policy import Resource

Series = npt.NDArray[np.float64]
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

    def __post_init__(self) -> None:
        for table in (self.guest, self.node, self.guest_full, self.node_full):
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
        return _rows(self.guest.get(resource), {vmid: i for i, vmid in enumerate(self.vmids)}, list(vmids), self.steps)

    def of_nodes(self, resource: Resource, nodes: Iterable[str]) -> Series:
        """(len(nodes), t) what nodes used, guests included; NaN for those that are not known."""
        return _rows(self.node.get(resource), {name: i for i, name in enumerate(self.nodes)}, list(nodes), self.steps)

    def of_full(self, pressure: Resource, vmids: Iterable[int]) -> Series:
        """(len(vmids), t) part of the time in which all tasks of a guest waited; NaN where that is not known."""
        places = {vmid: i for i, vmid in enumerate(self.vmids)}
        return _rows(self.guest_full.get(pressure), places, list(vmids), self.steps)

    def of_nodes_full(self, pressure: Resource, nodes: Iterable[str]) -> Series:
        """(len(nodes), t) likewise of nodes."""
        places = {name: i for i, name in enumerate(self.nodes)}
        return _rows(self.node_full.get(pressure), places, list(nodes), self.steps)

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
        )  # fmt: skip


def _rows(
    series: Series | None, index: Mapping[int, int] | Mapping[str, int], wanted: Sequence[int | str], steps: int
) -> Series:
    result = np.full((len(wanted), steps), np.nan)
    if series is not None:
        places: Mapping[int | str, int] = dict(index.items())
        known = [(i, places[name]) for i, name in enumerate(wanted) if name in places]
        if known:
            to, of = zip(*known, strict=True)
            result[list(to)] = series[list(of)]
    return result
