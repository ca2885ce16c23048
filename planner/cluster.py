"""Owns the picture of a cluster that everything is planned from: frames, and what is not known about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from planner import frames
from planner.assumed import Assumed
from planner.snapshot import Snapshot

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from planner.case import Case
    from planner.config import Config
    from planner.differ import Difference
    from planner.history import History
    from planner.live import Live
    from planner.plan import Plan
    from planner.run import Moved
    from planner.why import Explanation


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
    moved: "tuple[Moved, ...]" = ()
    """Migrations that this machine carried out on it lately."""

    history: "History | None" = None
    """What guests and nodes used over time, where that was recorded."""
    assumed: Assumed = field(default_factory=Assumed)
    """What a what-if assumes beside the settings."""
    config: "Config | None" = None
    """The settings it was opened with, which keywords of the methods below override; None: the defaults."""

    @property
    def rules(self) -> pd.DataFrame:
        """Rules that the tags of guests express, one row per rule and guest."""
        from planner.rules import read

        return read(self).frame

    def plan(self, solver: str = "cpsat", **settings: Any) -> "Plan":
        """Plan with one solver; keywords are the fields of `Policy`, `Cluster` and `Apply` in `planner.policy`."""
        from planner.planning import make_plan

        return make_plan(self._case(settings), solver)

    def plan_live(self, solver: str = "cpsat", **settings: Any) -> "Live":
        """Begin to plan and return at once: shown in a notebook it has a button to stop; `result()` gives the plan."""
        from planner.live import start

        return start(self, solver, settings)

    def explain(
        self, vmid: int | str, plan: "Plan | None" = None, solver: str = "cpsat", **settings: Any
    ) -> "Explanation":
        """Why a plan, or one that a solver makes now, has a guest where it does, and why not elsewhere."""
        from planner.planning import make_plan
        from planner.why import check_vmid, explain_guest

        case, vmid = self._case(settings), check_vmid(self, vmid)
        return explain_guest(case, plan or make_plan(case, solver), vmid)

    def compare(self, solvers: Sequence[str] = ("greedy", "descent", "cpsat"), **settings: Any) -> pd.DataFrame:
        """Plan with several solvers: one row each, columns as in `planner.compare.COLUMNS`."""
        from planner.compare import compare

        return compare(self._case(settings), solvers)

    def diff(self, other: "Cluster", **settings: Any) -> "Difference":
        """What changed until another snapshot of the cluster was taken, as frames; keywords as for `plan`."""
        from planner.config import chosen
        from planner.differ import compare

        return compare(self, other, chosen(settings, self.config).policy)

    def _case(self, settings: dict[str, Any]) -> "Case":
        from planner.config import chosen
        from planner.planning import prepare

        config = chosen(settings, self.config)
        return prepare(self, config.policy, config.cluster, config.apply)

    def node_loads(self, resource: str = "memory") -> pd.DataFrame:
        """Percent of each node that was in use over time, a row per step: where the cluster has a history."""
        from planner.tables import node_loads

        return node_loads(self, resource)

    def plot(self, resource: str = "memory") -> "Figure":
        """The loads of the nodes over time as a heat map: where the cluster has a history."""
        from planner.plots import history

        return history(self, resource)

    def _repr_html_(self) -> str:
        from planner import display

        return display.cluster(self)

    def __repr__(self) -> str:
        return f"<Cluster: {len(self.nodes)} nodes, {len(self.guests)} guests, {self.snapshot.taken_at}>"
