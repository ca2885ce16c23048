"""Owns the frames of a plan (its migrations, the loads of nodes, what each wave reaches) and of loads over time."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from planner.amounts import MIB_PER_GIB
from planner.errors import InputError, UsageError
from planner.frames import Column, conform
from planner.policy import Resource

if TYPE_CHECKING:
    from planner.cluster import Cluster
    from planner.plan import Migration, Plan

MIGRATIONS = (
    Column("number", "int64", "", "1, 2, ... in the order in which they start"),
    Column("wave", "int64", "", "1, 2, ...; after each wave the plan may be cut off"),
    Column("vmid", "int64", "", "guest that is migrated"),
    Column("name", "str", "", "its name"),
    Column("type", "str", "", "vm or ct"),
    Column("source", "str", "", "node it comes from"),
    Column("target", "str", "", "node it goes to"),
    Column("gib", "float64", "GiB", "memory and local disks that are copied"),
    Column("begin", "float64", "s", "after the start, when it is expected to begin"),
    Column("end", "float64", "s", "after the start, when it is expected to have ended"),
    Column("downtime", "float64", "s", "for which the guest is expected to be down"),
    Column("after", "str", "", "numbers of the migrations that must have ended before, joined by a comma"),
    Column("bundle", "int64", "", "the same for guests that travel as one"),
    Column("bypass", "bool", "", "a stop on the way: the guest goes on later"),
    Column("spread_without", "float64", "percentage points", "the spread if this one were left out"),
    Column("reason", "str", "", "why it is migrated"),
)
"""One row per migration, in the order in which they start: `Plan.frame`."""

LOADS = (
    Column("node", "str", "", "name"),
    Column("resource", "str", "", "what is balanced"),
    Column("before", "float64", "percent", "load today"),
    Column("after", "float64", "percent", "load with the plan"),
    Column("change", "float64", "percentage points", "after less before"),
)
"""One row per node and resource: `Plan.loads`."""

CHECKPOINTS = (
    Column("wave", "int64", "", "0: today; 1, 2, ...: when that wave has ended"),
    Column("migrations", "int64", "", "migrations in the wave"),
    Column("gib", "float64", "GiB", "what they copy"),
    Column("end", "float64", "s", "after the start, when the wave is expected to have ended"),
    Column("spread", "float64", "percentage points", "what is reached if the plan is cut off there"),
    Column("violations", "int64", "", "rules that are broken then"),
)
"""One row per wave, and one for today: `Plan.checkpoints`."""


def migrations(plan: "Plan") -> pd.DataFrame:
    """One row per migration, see MIGRATIONS."""
    rows = (_row(number, migration) for number, wave in enumerate(plan.waves, 1) for migration in wave)
    return conform(rows, MIGRATIONS, "number")


def loads(plan: "Plan") -> pd.DataFrame:
    """One row per node and resource, see LOADS."""
    rows = (
        _load(node.node, resource.value, node.load_before[resource], node.load_after[resource])
        for node in plan.nodes
        for resource in plan.resources
    )
    return conform(rows, LOADS, "node")


def checkpoints(plan: "Plan") -> pd.DataFrame:
    """One row per wave, see CHECKPOINTS; only today where the plan does not say what its waves reach."""
    today: dict[str, Any] = {"wave": 0, "migrations": 0, "gib": 0.0, "end": 0.0, "spread": plan.spread.before}
    rows = [today | {"violations": len(plan.violations_before)}]
    for number, (wave, point) in enumerate(zip(plan.waves, plan.schedule.checkpoints, strict=False), 1):
        rows.append(
            {
                "wave": number, "migrations": len(wave), "gib": _gib(wave), "end": point.seconds,
                "spread": point.spread, "violations": point.violations,
            }
        )  # fmt: skip
    return conform(rows, CHECKPOINTS, "wave")


def _row(wave: int, migration: "Migration") -> Mapping[str, Any]:
    same = ("vmid", "name", "type", "source", "target", "begin", "end", "downtime", "bundle", "bypass", "reason")
    return {name: getattr(migration, name) for name in (*same, "number", "spread_without")} | {
        "wave": wave, "gib": _gib([migration]), "after": ",".join(map(str, migration.after)),
    }  # fmt: skip


def _gib(some: "Iterable[Migration]") -> float:
    return sum(m.memory_mib + m.local_disk_mib for m in some) / MIB_PER_GIB


def _load(node: str, resource: str, before: float, after: float) -> Mapping[str, Any]:
    return {"node": node, "resource": resource, "before": before, "after": after, "change": after - before}


def node_loads(cluster: "Cluster", resource: Resource | str = Resource.MEMORY) -> pd.DataFrame:
    """Percent of what each node can give that was in use: one row per step of the history, one column per node."""
    from planner.capacity import TOTAL

    if resource not in TOTAL:
        raise UsageError(f"nodes have no size in {resource}: choose from {', '.join(TOTAL)}")
    resource = Resource(resource)
    if cluster.history is None or resource not in cluster.history.node:
        raise InputError(
            f'this cluster has no history of {resource}: read it with window="day", or a snapshot of --window day'
        )
    names = [str(name) for name in cluster.nodes["node"]]
    whole = cluster.nodes[TOTAL[resource]].to_numpy(dtype=float)
    used = cluster.history.of_nodes(resource, names)
    shares = 100 * used / np.where(whole > 0, whole, np.nan)[:, None]
    return pd.DataFrame(shares.T, index=cluster.history.times, columns=names)
