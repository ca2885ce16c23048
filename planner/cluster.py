"""Owns the picture of a cluster that everything is planned from: frames, and what is not known about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from planner import frames
from planner.snapshot import Snapshot

if TYPE_CHECKING:
    from planner.plan import Plan


@dataclass(frozen=True, eq=False)
class Cluster:
    """A cluster at one moment. Frames are documented in `planner.frames`; treat them as read-only."""

    nodes: pd.DataFrame
    guests: pd.DataFrame
    snapshot: Snapshot
    notes: tuple[str, ...] = ()
    """What a person should know: what could not be read, what was left out."""
    partial: tuple[str, ...] = ()
    """Why the picture may be incomplete: privileges that the token lacks."""
    storages: pd.DataFrame = field(default_factory=lambda: frames.conform((), frames.STORAGES, "node"))
    """Local storages of nodes."""
    volumes: pd.DataFrame = field(default_factory=lambda: frames.conform((), frames.VOLUMES, "vmid"))
    """What guests have on them."""

    @property
    def rules(self) -> pd.DataFrame:
        """Rules that the tags of guests express, one row per rule and guest."""
        from planner.rules import read

        return read(self).frame

    def plan(self, solver: str = "cpsat", **policy: Any) -> "Plan":
        """Plan with one solver; keywords are the fields of `planner.policy.Policy`."""
        from planner.planning import make_plan, prepare
        from planner.policy import Policy

        return make_plan(prepare(self, Policy(**policy)), solver)

    def compare(self, solvers: Sequence[str] = ("greedy", "descent", "cpsat"), **policy: Any) -> pd.DataFrame:
        """Plan with several solvers: one row each, columns as in `planner.compare.COLUMNS`."""
        from planner.compare import compare
        from planner.planning import prepare
        from planner.policy import Policy

        return compare(prepare(self, Policy(**policy)), solvers)

    def __repr__(self) -> str:
        return f"<Cluster: {len(self.nodes)} nodes, {len(self.guests)} guests, {self.snapshot.taken_at}>"
