"""Owns the notebook API: `import planner as pp`. Everything heavy is imported when it is first used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.cluster import Cluster

__all__ = ["__version__", "demo", "load", "read"]
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
