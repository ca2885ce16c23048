"""Owns consolidation: which nodes could be emptied and switched off, the plan for it, and why no more could.

Rules hold as they do today, with all nodes on. Nothing is switched off.
"""

import json
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from planner import emptying, explain, pace, staying, why_on
from planner.candidates import checked
from planner.case import Case, prepare
from planner.errors import UsageError
from planner.frames import Column
from planner.plan import Migration, Plan
from planner.planning import SCOUTED
from planner.snapshot import Snapshot
from planner.survive import NOT_RUNNING, protected
from planner.why_on import Asked
from solvers import Budget
from solvers.possible import Clock
from solvers.problem import Bools

if TYPE_CHECKING:
    from planner.session import Session

Restart = Literal["ha", "all"]
"""Guests that start on other nodes when theirs fails: those that HA manages, or all that run."""

COLUMNS = (
    Column("node", "str", "", "name"),
    Column("off", "bool", "", "whether it could be switched off"),
    Column("why", "str", "", "why it stays on whatever is migrated; empty where that is not so"),
    Column("guests", "int64", "", "guests on it today, templates not counted"),
    Column("memory_mib", "int64", "MiB", "memory of the node; 0 when not known"),
    Column("threads", "int64", "", "threads of the node"),
)
"""One row per node, in name order."""

SOLVERS = ("greedy", "descent", "cpsat")
AGAIN = 0.5
"""Part of the time that is left for each consolidation after which another may be needed..."""
QUICK = 0.1
"""...and for one that only finds the guests to ask Proxmox VE about."""
ROUNDS = 4
"""Consolidations, quick ones too, after which Proxmox VE is asked about all guests: each leaves less time."""
LEAST = 0.01
"""Seconds: a time limit is more than none."""


@dataclass(frozen=True, slots=True)
class Consolidation:
    """Which nodes could be switched off."""

    nodes: tuple[str, ...]
    """Those that could; none where no node can be emptied."""
    plan: Plan | None
    """How they are emptied; None where there are none."""
    bound: int
    """Proven: so many could be switched off at most."""
    why: tuple[str, ...]
    """Why not more, in sentences."""
    stays: dict[str, tuple[str, ...]]
    """Node to why it stays on whatever is migrated."""
    keep: int
    """So many nodes that take guests had to stay on."""
    survive: int
    """Losses of one more node that are survived: 0 or 1."""
    restart: Restart
    """Guests that have to find a place when a node fails: those of HA, or all that run."""
    ha_starts: bool
    """Whether HA starts these then by itself; where it does not, there would be room for them."""
    online: int
    """Nodes that are online when those are off..."""
    quorum: int
    """...and how many have to be, so that the cluster can act; more votes than nodes (a QDevice) are not known."""
    exempt: tuple[str, ...]
    """Those of them, with their names, that find none whatever is on or off: they may be on no other node."""
    guests: dict[str, int]
    memory_mib: dict[str, int]
    threads: dict[str, int]
    """Of each node."""
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether it is proven that no more nodes could be switched off."""
        return len(self.nodes) >= self.bound

    @property
    def quorum_after_loss(self) -> bool:
        """Whether so many are online then even without one more of them: else HA starts nothing."""
        return self.online - 1 >= self.quorum

    @property
    def migrations(self) -> tuple[Migration, ...]:
        """Those of the plan."""
        return self.plan.migrations if self.plan else ()

    @property
    def freed(self) -> tuple[int, int]:
        """MiB of memory and threads of the nodes."""
        return sum(self.memory_mib[n] for n in self.nodes), sum(self.threads[n] for n in self.nodes)

    @property
    def frame(self) -> pd.DataFrame:
        """One row per node, columns as in `COLUMNS`."""
        rows = [
            (n, n in self.nodes, "; ".join(self.stays.get(n, ())), self.guests[n], self.memory_mib[n], self.threads[n])
            for n in self.guests
        ]
        frame = pd.DataFrame(rows, columns=[column.name for column in COLUMNS])
        return frame.astype({column.name: column.dtype for column in COLUMNS})

    def _repr_html_(self) -> str:
        from planner import display, report_consolidate

        return display.printed(lambda out: report_consolidate.consolidation(self, out))

    def to_json(self) -> str:
        """All of it, with the plan as in plan files."""
        memory, threads = self.freed
        said: dict[str, Any] = {"proven": self.proven, "freed": {"memory_mib": memory, "threads": threads},
                                "quorum_after_loss": self.quorum_after_loss}  # fmt: skip
        return json.dumps(asdict(self) | said, indent=2)


def consolidate(
    case: Case, keep: int | None = None, restart: Restart | None = None, solver: str = "cpsat",
    budget: Budget | None = None,
) -> Consolidation:  # fmt: skip
    """The largest set of nodes that can be emptied, so that as many losses as the policy says are survived then.

    `keep`: so many nodes that take guests stay on; None: as many as the quorum needs. `restart` None: guests of HA, or
    all that run where HA manages none. UsageError or MissingDependency where it cannot be asked.
    """
    _check(case, keep, restart, solver)
    if case.policy.survive is None:
        case = replace(case, policy=replace(case.policy, survive=1))
    began = time.monotonic()
    budget = budget or Budget(seconds=case.policy.time_limit, seed=case.policy.seed)
    formulation, survive = case.formulation, case.policy.survive or 0
    stays = staying.reasons(case.cluster, formulation)
    least = staying.least(case.cluster, formulation, survive) if keep is None else keep
    restart, guests = _starting(case, restart)
    guarded = emptying.guarded(case, guests)
    candidates = np.array([node not in stays for node in formulation.nodes], dtype=bool)
    found = emptying.chosen(case, guarded, candidates, least, solver, budget)
    asked = Asked(least, keep is not None, survive, restart)
    return Consolidation(
        nodes=tuple(formulation.nodes[n] for n in np.flatnonzero(found.off)),
        plan=found.plan,
        bound=found.bound,
        why=tuple(why_on.sentences(case, asked, found, guarded)),
        stays=stays,
        keep=least,
        survive=survive,
        restart=restart,
        ha_starts=guarded.by_ha or (restart == "ha" and bool(guests.any())),
        online=staying.online(case.cluster) - int(found.off.sum()),
        quorum=staying.quorum(case.cluster, 0),
        exempt=tuple(explain.guest(formulation, guest) for guest in guarded.exempt),
        **_sizes(case),
        seconds=round(time.monotonic() - began, 3),
        notes=(*case.cluster.notes, *formulation.notes, *why_on.notes(case, asked, found, guarded)),
    )


def checked_consolidation(
    session: "Session", keep: int | None, restart: Restart | None, solver: str, budget: Budget
) -> Consolidation:
    """The same, where Proxmox VE would admit all migrations, as far as it says; within the budget's time altogether.

    Each time a migration is refused it is consolidated anew, in half of the time that is left; who asks about the
    migrations of a quick one first seldom needs that.
    """
    cluster, source, clock = session.cluster(), session.source, Clock(budget.seconds)
    measured = pace.finder(cluster.snapshot, source, session.apply)

    def once(share: float, snapshot: Snapshot) -> Consolidation:
        seconds = share * max(0.0, clock.left())
        policy = replace(session.policy, time_limit=max(LEAST, seconds))
        case = prepare(replace(cluster, snapshot=snapshot), policy, session.settings, session.apply, measured)
        return consolidate(case, keep, restart, solver, replace(budget, seconds=policy.time_limit))

    movable = [int(vmid) for vmid in cluster.guests["vmid"][~cluster.guests["template"]]]
    long = partial(once, AGAIN if source is not None else 1.0)
    scout = partial(once, QUICK) if source is not None and budget.seconds >= SCOUTED else None
    return checked(cluster, movable, long, source, scout=scout, rounds=ROUNDS).plan


def _check(case: Case, keep: int | None, restart: str | None, solver: str) -> None:
    take = int(case.formulation.problem.balanced.sum())
    if keep is not None and not 0 <= keep <= take:
        raise UsageError(f"keep is {keep}: {take} nodes take guests, so that 0 to {take} of them can stay on")
    if restart not in (None, "ha", "all"):
        raise UsageError(f"restart is {restart}: choose ha or all")
    if solver not in SOLVERS:
        raise UsageError(f"{solver} does not empty nodes: choose from {', '.join(SOLVERS)}")


def _starting(case: Case, restart: Restart | None) -> tuple[Restart, Bools]:
    """Whose guests start elsewhere when a node fails, and which these are."""
    guests = case.formulation.guests
    managed = protected(guests)
    if restart is None:
        restart = "ha" if managed.any() else "all"
    runs: Bools = ~guests["status"].isin(NOT_RUNNING).to_numpy(dtype=bool)
    return restart, managed if restart == "ha" else runs


def _sizes(case: Case) -> dict[str, dict[str, int]]:
    nodes, guests = case.cluster.nodes, case.cluster.guests
    names = [str(name) for name in nodes["node"]]
    on = guests[~guests["template"]]["node"].value_counts()
    return {
        "guests": {name: int(on.get(name, 0)) for name in names},
        "memory_mib": dict(zip(names, map(int, nodes["memory_mib"]), strict=True)),
        "threads": {n: int(t) // 1000 for n, t in zip(names, nodes["cpu_mcpu"], strict=True)},
    }
