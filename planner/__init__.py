"""Owns the notebook API: `import planner as pp`. Everything heavy is imported when it is first used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from planner.cluster import Cluster
    from planner.plan import Plan

__all__ = ["__version__", "compare", "demo", "load", "plan", "read"]
__version__ = "0.1.0"


def read(config: str | None = None) -> Cluster:
    """The cluster that the configuration points to, read over its API now."""
    from planner.session import open_session

    return open_session(config, {}, None, None).cluster()


def load(path: str | Path) -> Cluster:
    """The cluster that a snapshot file shows."""
    from planner import collect, snapshot

    return collect.collect(snapshot.load(Path(path)))


def demo(size: str = "small") -> Cluster:
    """The built-in cluster (small, medium or large)."""
    from planner.session import open_session

    return open_session(None, {}, None, size).cluster()


def plan(cluster: Cluster, solver: str = "cpsat", **policy: Any) -> Plan:
    """Plan with one solver; keywords are the fields of `planner.policy.Policy`."""
    from planner.planning import make_plan, prepare
    from planner.policy import Policy

    return make_plan(prepare(cluster, Policy(**policy)), solver)


def compare(cluster: Cluster, solvers: Sequence[str] = ("greedy", "descent", "cpsat"), **policy: Any) -> pd.DataFrame:
    """Plan with several solvers: one row each, columns as in `planner.compare.COLUMNS`."""
    from planner.compare import compare as compare_solvers
    from planner.planning import prepare
    from planner.policy import Policy

    return compare_solvers(prepare(cluster, Policy(**policy)), solvers)
