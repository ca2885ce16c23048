"""Owns which nodes and guests are hot: where tasks waited for a resource longer than the operator tolerates (PSI)."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from planner.errors import ConfigError, InputError
from planner.history import History, Series
from planner.policy import PRESSURES, Policy, Pressure, Resource

HOUR = 3600
PERCENT = 10_000
"""ppm."""


def check_names(policy: Policy) -> None:
    """ConfigError for thresholds or rates of what has none."""
    for name in policy.pressure:
        if name not in list(PRESSURES):
            raise ConfigError(f"policy.pressure names {name}, which is no pressure: there are {', '.join(PRESSURES)}")
    carried = (Resource.IO, Resource.NETWORK)
    for name in policy.capacity_rates:
        if name not in list(carried):
            raise ConfigError(f"policy.capacity_rates names {name}, which is no rate: there are {', '.join(carried)}")


def hot(history: History | None, nodes: pd.DataFrame, guests: pd.DataFrame, policy: Policy) -> tuple[str, ...] | None:
    """What is hot by the last hour, in words; None where no thresholds are given. InputError without a history.

    `nodes` and `guests` are rows of frames: those that are planned.
    """
    if not policy.pressure:
        return None
    if history is None:
        raise InputError("there is no history to tell pressures: read the cluster itself, or take a new snapshot")
    last = history.since(HOUR)
    found: list[str] = []
    for name, limit in policy.pressure.items():
        resource = Resource(name)
        if resource not in last.node and resource not in last.guest:
            raise InputError(f"{resource} is not known: Proxmox VE 9 tells pressures, and older releases do not")
        names, vmids = list(map(str, nodes["node"])), list(map(int, guests["vmid"]))
        found += _above(names, last.of_nodes(resource, names), last.of_nodes_full(resource, names), limit, resource)
        found += _above(vmids, last.of(resource, vmids), last.of_full(resource, vmids), limit, resource)
    return tuple(found)


def _above(
    names: Sequence[int] | Sequence[str], some: Series, full: Series, limit: Pressure, resource: Resource
) -> Iterator[str]:
    """Those above a limit. What is not known is no pressure: of the CPU of a node Proxmox VE tells only `some`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        means = [np.nan_to_num(np.nanmean(series, axis=1)) / PERCENT for series in (some, full)]
        spikes = np.nan_to_num(np.nanmax(full, axis=1)) / PERCENT
    told = np.asarray(np.isfinite(full).any(axis=1))
    for i, name in enumerate(names):
        lasting = means[0][i] >= limit.some and (means[1][i] >= limit.full or not told[i])
        if lasting or (told[i] and spikes[i] >= limit.spikes):
            who = f"node {name}" if isinstance(name, str) else f"guest {name}"
            yield (
                f"{who} is hot: {resource} some {means[0][i]:.1f} %, full {means[1][i]:.1f} %, "
                f"spikes up to {spikes[i]:.1f} % of the last hour"
            )
