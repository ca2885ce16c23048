"""Owns the loop that asks Proxmox VE about what a plan migrates, and plans again where that is refused."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import pandas as pd

from planner import preconditions
from planner.admission import Admission
from planner.cluster import Cluster
from planner.snapshot import Snapshot, Source

ROUNDS = 10
"""Plans that are made before all guests that could be migrated are asked about at once."""
LONG_ROUNDS = 3
"""How many of them may be long ones where there is a scout: asking about everything takes seconds, planning may not."""


class Migrated(Protocol):
    """What of a migration matters here."""

    @property
    def vmid(self) -> int: ...

    @property
    def target(self) -> str: ...


class Planned(Protocol):
    """What of a plan matters here."""

    @property
    def migrations(self) -> Sequence[Migrated]: ...


P = TypeVar("P", bound=Planned)


@dataclass(frozen=True, slots=True)
class Checked(Generic[P]):
    """A plan that Proxmox VE admits as far as it says, and what it is made from."""

    plan: P
    snapshot: Snapshot
    """With the answers about the guests that were asked about: the plan can be made again from it."""
    asked: int
    """Guests that were asked about."""


def checked(
    cluster: Cluster,
    movable: Collection[int],
    plan_once: Callable[[Snapshot], P],
    source: Source | None,
    *,
    scout: Callable[[Snapshot], P] | None = None,
    rounds: int = ROUNDS,
) -> Checked[P]:
    """Plan, ask about the guests that would be migrated, plan again with the answers, until none forbids the plan.

    `movable`: vmids that a plan may migrate. `scout` plans quickly, and finds the guests to ask about before the
    first long plan. Each guest is asked about once; without a source the plan is made from what is recorded.
    """
    inquiry = _Inquiry(cluster, source)
    planner, long_left = scout or plan_once, LONG_ROUNDS if scout else rounds
    for _ in range(rounds if source else 0):
        plan = planner(inquiry.snapshot)
        admitted = inquiry.admits(plan)
        if planner is plan_once:
            if admitted:
                return inquiry.result(plan)
            long_left -= 1
        if not long_left:
            break
        planner = plan_once if admitted or scout is None else scout
    inquiry.ask(movable)
    return inquiry.result(plan_once(inquiry.snapshot))


class _Inquiry:
    """The snapshot that grows by answers."""

    def __init__(self, cluster: Cluster, source: Source | None) -> None:
        self.snapshot = cluster.snapshot
        self._cluster, self._source, self._asked = cluster, source, 0

    def ask(self, vmids: Collection[int]) -> pd.DataFrame:
        """Ask about those of the guests about which nothing is known yet; their rows."""
        guests = self._cluster.guests
        rows = guests[guests["vmid"].isin(list(vmids))]
        new = [path not in self.snapshot.answers for path in preconditions.paths(rows).values()]
        rows = rows[np.array(new, dtype=bool)]
        if self._source is not None:
            answers = preconditions.ask(self._source, rows, self.snapshot.answers)
            self.snapshot = preconditions.with_answers(self.snapshot, answers)
            self._asked += len(answers)
            known = preconditions.ask_cpus(self._source, self._cluster, rows, self.snapshot.answers)
            self.snapshot = preconditions.with_answers(self.snapshot, known)
        return rows

    def admits(self, plan: Planned) -> bool:
        """Whether no answer about what is asked now forbids a migration of the plan, or makes it cost more."""
        rows = self.ask({migration.vmid for migration in plan.migrations})
        said = preconditions.read(self.snapshot, rows, self._cluster.nodes["node"])
        disks = dict(zip(map(int, rows["vmid"]), map(int, rows["disk_mib"]), strict=True))
        return all(_holds(said[m.vmid], m.target, disks[m.vmid]) for m in plan.migrations if m.vmid in disks)

    def result(self, plan: P) -> Checked[P]:
        return Checked(plan, self.snapshot, self._asked)


def _holds(admission: Admission, target: str, disk_mib: int) -> bool:
    """Local disks are news only where the contents of the storages did not tell of them."""
    news = admission.local_mib > 0 and not disk_mib
    return not admission.fixed and target not in admission.barred and not news
