"""Owns what a cluster has to spare: room on each node, how many more guests, and which losses it does not survive."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from planner import eligibility, missing, outlook, staying
from planner.capacity import GIB, GUESTS, MCPU, VCPUS
from planner.case import Case
from planner.cluster import Cluster
from planner.config import Config
from planner.errors import MissingDependency, UsageError
from planner.formulate import Formulation
from planner.frames import Column
from planner.newguest import NewGuest
from planner.place import MOST, WAITING_ROOM, Placement, beside_mates, on_hold
from planner.policy import Overcommit, Policy
from planner.rule import Kind, Rule
from planner.survive import Failover
from planner.waiting import Waiting, case_of, is_crowded, waiting
from solvers import check
from solvers.possible import Clock
from solvers.problem import Apart, Bools, Ints
from solvers.spare import ENDLESS, Beside, Joins, Spare, most

PROBES = 2
"""New guests that are looked at: what rules say of any two of them they say of all."""
QUICK = 5.0
"""Seconds in which it is found out which losses would not be survived with one guest more on a node."""
NOT_ALL = "then not every loss of a node would be survived"
ROOM = (
    Column("node", "str", "", "name"),
    Column("state", "str", "", "online, maintenance or ignored; only nodes that are online take guests"),
    Column("capacity", "str", "", "memory; vCPUs and guests where they are limited; local storages where they count"),
    Column("unit", "str", "", "of the figures"),
    Column("total", "float64", "unit", "what the node has for guests; empty: no limit"),
    Column("taken", "float64", "unit", "what its guests take"),
    Column("left", "float64", "unit", "what is left; below 0: it is too full; empty: no limit"),
)
"""One row per node and capacity."""
MORE = (
    Column("node", "str", "", "name"),
    Column("more", "int64", "", "guests of the size that it would take, all nodes together as many as possible"),
    Column("memory_left_gib", "float64", "GiB", "room for memory when they are there; empty: not planned with"),
    Column("refuses", "str", "", "what says no to one more"),
)
"""One row per node."""
LOSSES = (
    Column("node", "str", "", "that fails"),
    Column("survived", "bool", "", "whether all its HA guests find a place on the others"),
    Column("proven", "bool", "", "whether that is certain"),
    Column("ha_guests", "int64", "", "HA guests on it that would start elsewhere"),
    Column("without_place", "str", "", "those that find none, joined by a comma"),
    Column("missing_gib", "float64", "GiB", "memory that these need"),
)
"""One row per node."""


def _framed(rows: list[tuple[object, ...]], columns: tuple[Column, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return frame.astype({column.name: column.dtype for column in columns})


# --- what there is ------------------------------------------------------------------------------------


def room(cluster: Cluster) -> pd.DataFrame:
    """What each node has left of each capacity, columns as in `ROOM`."""
    case = case_of(cluster)
    formulation, problem = case.formulation, case.formulation.problem
    limits, usage, rows = _capacity(formulation, case.policy), problem.usage(problem.origin), list[tuple[object, ...]]()
    for n, node in enumerate(formulation.nodes):
        for r, name in enumerate(formulation.capacities):
            unit, per = ("", 1) if name == GUESTS else ("vCPUs", MCPU) if name == VCPUS else ("GiB", GIB)
            total = float("nan") if limits[n, r] == ENDLESS else limits[n, r] / per
            taken = usage[n, r] / per
            rows.append((node, formulation.rules.states[node].value, name, unit, total, taken, total - taken))
    return _framed(rows, ROOM)


def losses(cluster: Cluster) -> pd.DataFrame:
    """Which loss of a node is survived, columns as in `LOSSES`; `attrs["notes"]` says where that leaves no quorum."""
    case = case_of(_surviving(cluster))
    formulation, found = case.formulation, outlook.failover(case)
    assert found is not None
    lost = {loss.node: loss for loss in found.losses(formulation.problem.origin)}
    rows: list[tuple[object, ...]] = []
    for n, node in enumerate(formulation.nodes):
        here = int((found.protected & (formulation.problem.origin == n)).sum())
        if (loss := lost.get(n)) is None:
            rows.append((node, True, True, here, "", 0.0))
            continue
        named = ", ".join(formulation.labels[guest] for guest in loss.guests)
        rows.append((node, False, loss.proven, here, named, found.memory(loss) / GIB))
    frame = _framed(rows, LOSSES)
    frame.attrs["notes"] = staying.at_risk(cluster)
    return frame


def _surviving(cluster: Cluster) -> Cluster:
    config = cluster.config or Config()
    return replace(cluster, config=replace(config, policy=replace(config.policy, survive=1)))


def _capacity(formulation: Formulation, policy: Policy) -> Ints:
    """(n, r) what nodes have for guests, endless where nothing is limited: formulated is what today's guests need."""
    result = formulation.problem.capacity.copy()
    for r, name in enumerate(formulation.capacities):
        for n, node in enumerate(formulation.nodes):
            if name == VCPUS:
                default = policy.overcommit.get("default", Overcommit())
                limited = policy.overcommit.get(node, default).cpu is not None
                result[n, r] = result[n, r] if limited else ENDLESS
            if name == GUESTS:
                result[n, r] = policy.max_guests.get(node, policy.max_guests.get("default", ENDLESS))
    return result


# --- how many more ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class More:
    """How many more guests of one kind there can be while all others stay."""

    cluster: Cluster
    new: NewGuest
    counts: dict[str, int]
    """Node to how many."""
    bound: int
    """Proven: there cannot be more."""
    unsurvived: tuple[str, ...] = ()
    """Nodes whose loss is not survived as it is."""
    placement: Placement | None = field(default=None)
    """These guests on their nodes, and one that waits; None where losses forbid any."""

    @property
    def total(self) -> int:
        """How many there can be."""
        return sum(self.counts.values())

    @cached_property
    def refusals(self) -> dict[str, str]:
        """Node to what says no to one more there."""
        if self.placement is None:
            why = f"the loss of {', '.join(self.unsurvived)} is not survived as it is"
            return dict.fromkeys(map(str, self.cluster.nodes["node"]), why)
        said, clock = dict(self.placement.refusals), Clock(QUICK)
        for node in map(str, self.cluster.nodes["node"]):
            if node not in said:
                said[node] = self._lost_with(node, clock) if self.new.ha else "not as many with it"
        return said

    @cached_property
    def _failover(self) -> Failover:
        assert self.placement is not None
        found = outlook.failover(case_of(_surviving(self.placement.cluster)))
        assert found is not None
        return found

    def _lost_with(self, node: str, clock: Clock) -> str:
        """Which losses would not be survived with one more guest on a node, where there is time to find out."""
        if clock.left() <= 0:
            return NOT_ALL
        assert self.placement is not None
        wait, at = self.placement.waiting, self.placement.assignment.copy()
        at[list(self.placement.homeless)] = wait.formulation.node_index[node]
        lost = self._failover.losses(at, 0.0)
        names = ", ".join(wait.formulation.nodes[loss.node] for loss in lost)
        return f"then the loss of {names} would not be survived" if lost else NOT_ALL

    @property
    def frame(self) -> pd.DataFrame:
        """One row per node, columns as in `MORE`."""
        said, memory = self.refusals, self._memory_left()
        nodes = map(str, self.cluster.nodes["node"])
        return _framed(
            [(node, self.counts.get(node, 0), memory.get(node, float("nan")), said[node]) for node in nodes], MORE
        )

    def _memory_left(self) -> dict[str, float]:
        if self.placement is None:
            formulation = case_of(self.cluster).formulation
            at = formulation.problem.origin
        else:
            formulation, at = self.placement.waiting.formulation, self.placement.assignment
        left = (formulation.problem.capacity - formulation.problem.usage(at))[:, 0]
        return {node: round(int(mib) / GIB, 3) for node, mib in zip(formulation.nodes, left, strict=True)}


def more(cluster: Cluster, new: NewGuest) -> More:
    """How many more guests find room, and of HA guests so that every loss of a node is still survived.

    Nothing is migrated for them. UsageError where there would be too many to count.
    """
    held, vmids = on_hold(_surviving(cluster) if new.ha else cluster, new, PROBES)
    case = case_of(held)
    wait = waiting(case, vmids)
    found = outlook.failover(case) if new.ha else None
    if found is not None:
        real = [n for n, node in enumerate(wait.formulation.nodes) if node != WAITING_ROOM]
        lost = found.losses(wait.problem.origin, nodes=real)
        if lost:
            names = tuple(wait.formulation.nodes[loss.node] for loss in lost)
            return More(cluster, new, {}, 0 if all(loss.proven for loss in lost) else MOST, names)
    try:
        answer = most(_spare(case, wait, found), case.policy.time_limit, case.policy.seed)
    except ModuleNotFoundError:
        raise MissingDependency(missing.ortools("the search for this capacity")) from None
    pairs = zip(wait.formulation.nodes, answer.counts.tolist(), strict=True)
    counts = {node: count for node, count in pairs if count}
    if sum(counts.values()) >= MOST:
        raise UsageError(f"more than {MOST - 1} guests of {new} find room: ask for larger ones")
    return More(cluster, new, counts, answer.bound, (), _placed(cluster, new, counts))


def _placed(cluster: Cluster, new: NewGuest, counts: dict[str, int]) -> Placement:
    """So many new guests on nodes, and one more that waits."""
    held, vmids = on_hold(cluster, new, sum(counts.values()) + 1)
    wait = waiting(case_of(held), vmids)
    at, guests = np.array(wait.problem.origin), list(wait.guests)
    there = [wait.formulation.node_index[node] for node, count in counts.items() for _ in range(count)]
    at[guests[: len(there)]] = there
    if check.broken(wait.problem.replace(together=()), at) or is_crowded(wait, at):
        raise RuntimeError("a mistake in solvers.spare: its answer breaks a rule")
    return Placement(wait, at, held)


def _spare(case: Case, wait: Waiting, found: Failover | None) -> Spare:
    """The question in numbers."""
    formulation, probes = wait.formulation, set(wait.guests)
    problem, probe = (found.problem if found else wait.problem), wait.guests[0]
    near, names = beside_mates(wait), [WAITING_ROOM]
    mates = {m for group in problem.together if probes <= {*group} for m in group} - probes
    protected: Bools | None = None
    if found is not None:
        protected = found.protected & ~np.isin(np.arange(problem.guests), list(probes))
    there = np.isin(formulation.nodes, names, invert=True)
    return Spare(
        problem=problem,
        size=problem.needs[probe],
        room=np.maximum(0, _capacity(formulation, case.policy) - problem.usage(problem.origin)),
        open=near.eligibility[near.eligible[probe]] & there,
        starts=wait.problem.eligibility[wait.problem.eligible[probe]] & there,
        rules=tuple(_beside(formulation, rule, probes) for rule in formulation.rules.items if rule.kind is Kind.APART),
        united=any(probes <= {*group} for group in problem.together),
        mates=frozenset(mates),
        protected=protected,
    )


def _beside(formulation: Formulation, rule: Rule, probes: set[int]) -> Beside:
    """A rule that keeps guests apart, and what the new ones are to it."""
    index, nodes = formulation.index, formulation.nodes
    sides = [{index[v] for v in side if v in index} for side in rule.sides]
    joined = [i for i, side in enumerate(sides) if side & probes]
    joins = Joins.NOT if not joined else Joins.EACH if len(joined) > 1 else joined[0]
    others = tuple(tuple(sorted(side - probes)) for side in sides)
    where = eligibility.domains(formulation.rules, rule.per, nodes)
    return Beside(others, rule.most, Apart(others, rule.most, where).domain_of(len(nodes)), joins)
