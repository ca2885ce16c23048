"""Owns the picture of a cluster that everything is planned from: frames, and what is not known about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from planner import frames
from planner.assumed import Assumed
from planner.errors import UsageError
from planner.snapshot import Snapshot

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from planner.case import Case
    from planner.config import Config
    from planner.consolidate import Consolidation, Restart
    from planner.differ import Difference
    from planner.frontier import Frontier
    from planner.history import History
    from planner.live import Live
    from planner.plan import Plan
    from planner.run import Moved
    from planner.whatif import Selector
    from planner.why import Explanation


@dataclass(frozen=True, eq=False)
class Cluster:
    """A cluster at one moment. Frames are documented in `planner.frames`; each look at one gives a copy, so that
    whatever is done with it changes no cluster."""

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
    """Migrations that this machine carried out on it lately..."""
    failed: "tuple[Moved, ...]" = ()
    """...and those that failed, of which scheduled looks know."""

    history: "History | None" = None
    """What guests and nodes used over time, where that was recorded."""
    assumed: Assumed = field(default_factory=Assumed)
    """What a what-if assumes beside the settings."""
    config: "Config | None" = None
    """The settings it was opened with, which keywords of the methods below override; None: the defaults."""

    def __getattribute__(self, name: str) -> Any:
        """Copies of frames: pandas copies what they hold only when it is written to."""
        value = object.__getattribute__(self, name)
        return value.copy(deep=False) if isinstance(value, pd.DataFrame) else value

    @property
    def rules(self) -> pd.DataFrame:
        """Rules of tags, of the HA manager and of the settings, one row per rule and guest."""
        from planner.rules import read

        return read(self, self.config.cluster if self.config else None).frame

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

    def frontier(self, max_migrations: int | None = None, against: str = "migrations", **settings: Any) -> "Frontier":
        """What each migration more, or with `against="gib"` each GiB more, buys: up to 30 migrations, or so many."""
        from planner.frontier import axis, make_frontier

        limits = {} if max_migrations is None else {"max_migrations": max_migrations}
        return make_frontier(self._case(settings | limits), axis(against))

    def diff(self, other: "Cluster", **settings: Any) -> "Difference":
        """What changed until another snapshot of the cluster was taken, as frames; keywords as for `plan`."""
        from planner.config import chosen
        from planner.differ import compare

        if not isinstance(other, Cluster):
            raise UsageError(f"diff: {other!r} is no cluster: open the other snapshot, and give what that returns")
        return compare(self, other, chosen(settings, self.config).policy)

    # --- what if: each returns a new cluster, and they chain ---------------------------------------------

    def drain(self, *nodes: str) -> "Cluster":
        """With some nodes in maintenance."""
        from planner import whatif

        return whatif.drain(self, *nodes)

    def fail(self, *nodes: str, restart: Literal["ha", "all"] = "ha") -> "Cluster":
        """With some nodes offline and their HA guests, or all that ran, on others: see `planner.outages.fail`."""
        from planner import outages

        return outages.fail(self, *nodes, restart=restart)

    def add_node(self, name: str | None = None, *, like: str) -> "Cluster":
        """With one node more, empty and with the hardware of another."""
        from planner import whatif

        return whatif.add_node(self, name, like=like)

    def remove_node(self, *nodes: str) -> "Cluster":
        """Without some nodes, whose guests are on the others; NoPlace names those that find no place."""
        from planner import outages

        return outages.remove_node(self, *nodes)

    def resize(
        self, node_or_vmid: str | int, *, memory: float | str | None = None, cores: int | str | None = None
    ) -> "Cluster":  # fmt: skip
        """With so many GiB (or text: 8G) and cores for a node or guest; what it uses stays, as far as possible."""
        from planner import whatif

        return whatif.resize(self, node_or_vmid, memory=memory, cores=cores)

    def grow(
        self, selector: "Selector", *, memory: float = 1.0, cpu: float = 1.0, disk: float = 1.0
    ) -> "Cluster":  # fmt: skip
        """With guests that have and use so many times what they do; selectors as in rules, such as @tag-web."""
        from planner import whatif

        return whatif.grow(self, selector, memory=memory, cpu=cpu, disk=disk)

    def add_guest(self, *, memory: float | str, cores: int | str, count: int = 1, **more: Any) -> "Cluster":
        """With new guests on the best nodes: GiB (or 8G), cores, and the other words of `planner.newguest.of`."""
        from planner import newguest, whatif

        return whatif.add_guest(self, newguest.of(memory, cores, **more), count)

    def without_rule(self, *names: str) -> "Cluster":
        """Without the rules of some names or patterns."""
        from planner import whatif

        return whatif.without_rule(self, *names)

    def pin(self, selector: "Selector", *nodes: str) -> "Cluster":
        """With some guests on some nodes only."""
        from planner import whatif

        return whatif.pin(self, selector, *nodes)

    def place(
        self, *, memory: float | str, cores: int | str, count: int = 1, tags: Sequence[str] = (), pool: str = "",
        name: str = "", used: float | None = None, cpu: float | None = None, **settings: Any,
    ) -> pd.DataFrame:  # fmt: skip
        """The best nodes for new guests of so many GiB and cores: a row each, columns as in `planner.place.COLUMNS`."""
        from planner import newguest, place

        new = newguest.of(memory, cores, tags=tags, pool=pool, name=name, used=used, cpu=cpu)
        return place.place(self._under(settings), new, count).frame

    def capacity(
        self, size: "tuple[float | str, int | str] | str | None" = None, survive: int | None = None, *,
        tags: Sequence[str] = (), pool: str = "", name: str = "", used: float | None = None,
        cpu: float | None = None, **settings: Any,
    ) -> pd.DataFrame:  # fmt: skip
        """Room on each node; with a size, (GiB, cores) or 8G,4, how many more guests find room, or HA guests.

        `survive=1`: HA guests, so that every loss of a node is still survived; without a size, which losses of nodes
        are not survived. None: as configured. Columns as in `planner.spare`: ROOM, MORE, LOSSES.
        """
        from planner import newguest, spare

        cluster = self._under(settings if survive is None else settings | {"survive": survive})
        ha = bool(cluster.config and cluster.config.policy.survive)
        new = newguest.counted(size, ha=ha, tags=tags, pool=pool, name=name, used=used, cpu=cpu)
        if new is not None:
            return spare.more(cluster, new).frame
        return spare.losses(cluster) if ha else spare.room(cluster)

    def _under(self, settings: dict[str, Any]) -> "Cluster":
        """The cluster with settings that hold instead of those it was opened with."""
        from planner.config import chosen

        return replace(self, config=chosen(settings, self.config))

    def consolidate(
        self, keep: int | None = None, *, restart: "Restart | None" = None, solver: str = "cpsat", **settings: Any
    ) -> "Consolidation":
        """Which nodes could be emptied and switched off, so that the loss of one more is survived (`survive=0`: need
        not be); keywords as for `plan`."""
        from planner.consolidate import consolidate

        return consolidate(self._case(settings), keep, restart, solver)

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
