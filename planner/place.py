"""Owns the best nodes for new guests: under all rules, within all capacities, while all other guests stay."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from planner import demands, verdict
from planner.again import again
from planner.capacity import GIB, MCPU, VCPUS
from planner.cluster import Cluster
from planner.errors import NoPlace, UsageError
from planner.frames import Column
from planner.newguest import NewGuest, number, whole_of
from planner.policy import Policy
from planner.question import Question, about
from planner.sheet import Sheet, amount
from planner.verdict import Ground
from planner.waiting import Waiting, by_balance, case_of, is_crowded, one_by_one, waiting
from solvers import Budget, check, solve
from solvers.problem import PPM, Ints, Problem

WAITING_ROOM = "(new guests)"
"""The node on which new guests wait; Proxmox VE gives no such name."""
MOST = 10_000
"""New guests at once."""
OPEN = (Ground.POSSIBLE, Ground.LIMIT, Ground.PLANNED)
"""What is said of a node that could take a guest."""
COLUMNS = (
    Column("guest", "int64", "", "1, 2, ... in the order asked for"),
    Column("vmid", "int64", "", "number that it would have"),
    Column("node", "str", "", "where it is best; empty: no node takes it"),
    Column("spread_before", "float64", "percentage points", "spread before it is there"),
    Column("spread_after", "float64", "percentage points", "spread with it"),
    Column("memory_left_gib", "float64", "GiB", "room for memory on its node when all are there"),
    Column("vcpus_left", "float64", "", "room for vCPUs on its node when all are there; empty: no limit"),
    Column("refused", "str", "", "nodes that do not take it, and why"),
)
"""One row per new guest."""


@dataclass(frozen=True, eq=False)
class Placement:
    """New guests and the nodes that are best for them."""

    waiting: Waiting
    assignment: Ints
    """(g,) of its problem."""
    cluster: Cluster
    """Where the guests are waiting."""
    out: tuple[str, ...] = (WAITING_ROOM,)
    """Nodes on which they wait."""

    @property
    def vmids(self) -> list[int]:
        """Their numbers."""
        return [self.waiting.formulation.vmid(guest) for guest in self.waiting.guests]

    @cached_property
    def nodes(self) -> dict[int, str]:
        """vmid to node; a guest without a place is missing."""
        return self.waiting.places(self.assignment)

    @cached_property
    def homeless(self) -> tuple[int, ...]:
        """Indices of the guests without a place."""
        problem = self.waiting.problem
        return tuple(g for g in self.waiting.guests if self.assignment[g] == problem.origin[g])

    @cached_property
    def refusals(self) -> dict[str, str]:
        """Node to why it does not take the first guest without a place, or if all have one the first of all."""
        return self.refused(self.homeless[0] if self.homeless else self.waiting.guests[0])

    def refused(self, guest: int) -> dict[str, str]:
        """Node to why it does not take a guest."""
        at = self.assignment if self.homeless else self._until(0)
        known = at.copy()  # guests that have a place are in the way as if they had always been there
        known[guest] = self.waiting.problem.origin[guest]
        settled = replace(self.waiting.formulation, problem=self.waiting.problem.replace(origin=known))
        formulation = about(settled, guest)
        question = Question(formulation, guest, at, demands.read(settled))
        names = [str(name) for name in self.cluster.nodes["node"] if name not in self.out]
        judged = {name: verdict.judge(question, name) for name in names}
        said = {name: self._away(guest, name) if item.ground in OPEN else item.says for name, item in judged.items()}
        return {name: says for name, says in said.items() if says}

    def _away(self, guest: int, node: str) -> str:
        """Which guests that a guest belongs together with are elsewhere; nothing where some are on the node."""
        formulation, at = self.waiting.formulation, self.assignment
        for name, group in zip(formulation.together, self.waiting.problem.together, strict=True):
            mates = {*group} - {guest, *self.homeless} if guest in group else set[int]()
            on = {formulation.nodes[at[mate]] for mate in mates}
            if on and node not in on:
                return f"would break {name}: it belongs on {' or '.join(sorted(on))}"
        return ""

    def check(self) -> None:
        """NoPlace where a guest has none, with the reason of each node."""
        if self.homeless:
            why = "; ".join(f"{node}: {says}" for node, says in self.refusals.items())
            count = f"{len(self.homeless)} of {len(self.waiting.guests)} new guests find" if self.nodes else "it finds"
            raise NoPlace(f"{count} no place: {why}")

    @property
    def frame(self) -> pd.DataFrame:
        """One row per guest, columns as in `COLUMNS`."""
        spreads = [self._spread(-1), *(self._spread(i) for i in range(len(self.waiting.guests)))]
        refused = "; ".join(f"{node}: {says}" for node, says in self.refusals.items())
        rows = []
        for i, vmid in enumerate(self.vmids):
            node = self.nodes.get(vmid, "")
            said = refused if not node or (not i and not self.homeless) else ""
            rows.append((i + 1, vmid, node, spreads[i], spreads[i + 1], *self._left(node), said))
        frame = pd.DataFrame(rows, columns=[column.name for column in COLUMNS])
        return frame.astype({column.name: column.dtype for column in COLUMNS})

    def _until(self, last: int) -> Ints:
        """(g,) with the guests up to one on their nodes, and the others waiting."""
        result = np.array(self.waiting.problem.origin)
        there = list(self.waiting.guests[: last + 1])
        result[there] = self.assignment[there]
        return result

    def _spread(self, last: int) -> float:
        return round(self.waiting.problem.spread(self._until(last)) * 100 / PPM, 4)

    def _left(self, node: str) -> tuple[float, float]:
        """GiB of memory and vCPUs that a node has left."""
        if not node:
            return float("nan"), float("nan")
        problem, names = self.waiting.problem, self.waiting.formulation.capacities
        left = (problem.capacity - problem.usage(self.assignment))[self.waiting.formulation.node_index[node]]
        vcpus = left[names.index(VCPUS)] / MCPU if VCPUS in names else float("nan")
        return round(left[0] / GIB, 3), float(vcpus)


def place(cluster: Cluster, new: NewGuest, count: int = 1) -> Placement:
    """The best nodes for new guests of one kind: fewest broken rules, then the smallest spread, then the lowest load.

    Several are placed one after the other, and then, where OR-Tools is there, as well as all at once can be.
    """
    held, vmids = on_hold(cluster, new, count)
    case = case_of(held)
    wait = waiting(case, vmids)
    near = replace(wait, formulation=replace(wait.formulation, problem=beside_mates(wait)))
    at = one_by_one(near, near.bundles, by_balance)
    if len(near.bundles) > 1:
        at = _improved(near, at, case.policy)
    return Placement(wait, at, held)


def on_hold(cluster: Cluster, new: NewGuest, count: int) -> tuple[Cluster, list[int]]:
    """The cluster with new guests on a node that has to be left, and their numbers."""
    if not 1 <= number(count, "count") <= MOST:
        raise UsageError(f"{count} new guests: from 1 to {MOST} can be asked for")
    count = whole_of(count, "count")
    sheet = Sheet(cluster.snapshot)
    online = [row for row in sheet.rows if row.get("type") == "node" and row.get("status") == "online"]
    size = {name: max((amount(row, name) for row in online), default=0) for name in ("maxmem", "maxcpu")}
    sheet.rows.append(
        {"id": f"node/{WAITING_ROOM}", "type": "node", "node": WAITING_ROOM, "status": "online", "cpu": 0.0, "mem": 0}
        | size | {"maxdisk": 0, "disk": 0}
    )  # fmt: skip
    vmids = sheet.free_vmids(count)
    for vmid in vmids:
        sheet.add(new.row(vmid, WAITING_ROOM))
    assumed = replace(cluster.assumed, drained=(*cluster.assumed.drained, WAITING_ROOM))
    return again(cluster, sheet, assumed), vmids


def beside_mates(wait: Waiting) -> Problem:
    """The problem in which guests may only be with those that they belong together with, where these have a node."""
    problem, guests = wait.problem, set(wait.guests)
    rows, eligible = list(problem.eligibility), problem.eligible.copy()
    for group in problem.together:
        there = {int(problem.origin[mate]) for mate in group if mate not in guests}
        for guest in guests.intersection(group) if there else ():
            rows.append(rows[eligible[guest]] & np.isin(np.arange(problem.nodes), list(there)))
            eligible[guest] = len(rows) - 1
    return problem.replace(eligibility=np.array(rows, dtype=bool).reshape(-1, problem.nodes), eligible=eligible)


def _improved(wait: Waiting, start: Ints, policy: Policy) -> Ints:
    """As good as it can be proven to be, or found within the time limit."""
    problem, budget = wait.problem, Budget(seconds=policy.time_limit, seed=policy.seed)
    try:
        found = solve(problem, "cpsat", budget, start).assignment
    except ModuleNotFoundError:  # no OR-Tools
        return start
    better = _value(problem, found) < _value(problem, start)
    return found if better and not is_crowded(wait, found) else start


def _value(problem: Problem, assignment: Ints) -> tuple[int, ...]:
    """What is to be small."""
    return (len(check.violations(problem, assignment)), *problem.values(assignment))
