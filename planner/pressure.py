"""Owns which nodes and guests are hot: where tasks waited for a resource longer than the operator tolerates (PSI)."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from planner import rrd
from planner.cluster import Cluster
from planner.errors import ConfigError, InputError
from planner.history import Series
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


def hot(cluster: Cluster, nodes: pd.DataFrame, guests: pd.DataFrame, policy: Policy) -> tuple[str, ...] | None:
    """What is hot by the last hour, in words; None where no thresholds are given. InputError without records of it.

    `nodes` and `guests` are rows of frames: those that are planned.
    """
    if not policy.pressure:
        return None
    last = rrd.history(cluster.snapshot, ("hour",)) or (cluster.history and cluster.history.since(HOUR))
    if last is None:
        raise InputError(
            "there is no history to tell pressures: read the cluster itself, or a snapshot taken with the same "
            "policy.pressure in its configuration"
        )
    found: list[str] = []
    names, vmids = list(map(str, nodes["node"])), list(map(int, guests["vmid"]))
    for name, limit in policy.pressure.items():
        resource = Resource(name)
        if resource not in last.node and resource not in last.guest:
            raise InputError(f"{resource} is not known: Proxmox VE 9 tells pressures, and older releases do not")
        found += _above([f"node {name}" for name in names], last.waits_of_nodes(resource, names), limit, resource)
        found += _above([f"guest {vmid}" for vmid in vmids], last.waits(resource, vmids), limit, resource)
    return tuple(found)


def _above(
    names: Sequence[str], waits: tuple[Series, Series, Series], limit: Pressure, resource: Resource
) -> Iterator[str]:
    """Those above a limit. What is not known is no pressure: of the CPU of a node Proxmox VE tells only `some`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        some, full = (np.nan_to_num(np.nanmean(series, axis=1)) / PERCENT for series in waits[:2])
        spikes = np.nan_to_num(np.nanmax(np.fmax(waits[1], waits[2]), axis=1)) / PERCENT
    told = np.asarray(np.isfinite(waits[1]).any(axis=1))
    for i, name in enumerate(names):
        lasting = some[i] >= limit.some and (full[i] >= limit.full or not told[i])
        if lasting or (told[i] and spikes[i] >= limit.spikes):
            yield (
                f"{name} is hot: {resource} some {some[i]:.1f} %, full {full[i]:.1f} %, "
                f"spikes up to {spikes[i]:.1f} % of the last hour"
            )
