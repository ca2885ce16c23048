"""Owns what a what-if changes before anything is migrated: loads of nodes, and rules that are broken."""

from dataclasses import dataclass

import pandas as pd

from planner import explain
from planner.cluster import Cluster
from planner.formulate import Formulation
from planner.frames import Column
from planner.policy import Resource
from planner.waiting import case_of
from solvers.problem import PPM

COLUMNS = (
    Column("node", "str", "", "name"),
    Column("resource", "str", "", "that is balanced"),
    Column("today", "float64", "percent", "load as it is; empty: not planned with"),
    Column("what_if", "float64", "percent", "load in the what-if; empty: not planned with"),
)
"""One row per node and resource."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Two clusters beside each other."""

    loads: pd.DataFrame
    """Columns as in `COLUMNS`."""
    spreads: tuple[float, float]
    """Percentage points between the fullest and the emptiest node, today and in the what-if."""
    broken_today: tuple[str, ...]
    broken: tuple[str, ...]


def compare(today: Cluster, supposed: Cluster) -> Effect:
    """What a what-if changes, each cluster under the settings it was opened with."""
    was, now = (case_of(cluster).formulation for cluster in (today, supposed))
    tables, names = [_loads(was), _loads(now)], sorted({*was.nodes, *now.nodes})
    rows = [
        (node, resource.value, *(table.get((node, resource), float("nan")) for table in tables))
        for resource in now.resources
        for node in names
    ]
    frame = pd.DataFrame(rows, columns=[column.name for column in COLUMNS])
    spread, other = (f.problem.spread(f.problem.origin) * 100 / PPM for f in (was, now))
    broken = [explain.broken(f, f.problem.origin) for f in (was, now)]
    return Effect(frame.astype({column.name: column.dtype for column in COLUMNS}), (spread, other), *broken)


def _loads(formulation: Formulation) -> dict[tuple[str, Resource], float]:
    """Percent; of several periods in the one in which the spread is the largest."""
    problem, loads = formulation.problem, formulation.problem.loads(formulation.problem.origin)
    spreads = problem.spreads_of(loads)
    worst = {r: max(formulation.periods(r), key=lambda k: int(spreads[k])) for r in formulation.resources}
    return {
        (node, r): round(float(loads[k, n]) * 100 / PPM, 4)
        for r, k in worst.items()
        for n, node in enumerate(formulation.nodes)
    }
