"""Owns places for guests whose node fails or goes: under all rules, and as the HA manager alone would start them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from planner import explain
from planner.again import again
from planner.cluster import Cluster
from planner.config import Config
from planner.errors import NoPlace
from planner.mention import shortened
from planner.place import Placement
from planner.policy import Cluster as ClusterPolicy
from planner.rule import Kind
from planner.rules import NodeState, read
from planner.sheet import Sheet
from planner.survive import ENDLESS, starts
from planner.waiting import Waiting, by_room, case_of, is_crowded, one_by_one, waiting
from solvers import check
from solvers.check import Rule
from solvers.problem import Ints

SHOWN_WHY = 3
"""Guests without a place of which it is said why."""


@dataclass(frozen=True)
class Settled:
    """Guests, by vmid, and the nodes where they start."""

    places: Mapping[int, str]
    left: tuple[int, ...] = ()
    """Those without a place."""
    proven: bool = True
    """That not all can have one."""
    why: Mapping[int, str] = field(default_factory=dict)
    """Of some without a place: what each node says; of some with one: what is broken there."""


def on_hold(cluster: Cluster, nodes: Collection[str], vmids: Collection[int], *, gone: bool = False) -> Cluster:
    """Some guests of nodes wait there for a place on others. These take none, and have no other guests.

    `gone`: what rules and settings say of these nodes has no effect any more.
    """
    sheet = awake(cluster, nodes)
    for vmid in [int(row["vmid"]) for node in nodes for row in sheet.guests(node)]:
        if vmid not in vmids:
            sheet.drop(vmid)
    assumed = replace(
        cluster.assumed, drained=(*cluster.assumed.drained, *nodes),
        gone=(*cluster.assumed.gone, *(nodes if gone else ())),
    )  # fmt: skip
    return again(cluster, sheet, assumed)


def awake(cluster: Cluster, nodes: Collection[str]) -> Sheet:
    """The cluster in which nodes are online, with their guests as they were where that is known."""
    sheet = Sheet(cluster.snapshot)
    for node in nodes:
        sheet.revive(node)
        for row in list(sheet.guests(node)):
            sheet.wake(int(row["vmid"]))
    return sheet


def by_rules(cluster: Cluster, nodes: Collection[str], vmids: Collection[int], *, gone: bool = False) -> Settled:
    """Places under all rules within all capacities: the largest chooses first, where most memory is free.

    Where not all find one so, it is searched for places for all of them.
    """
    held = on_hold(cluster, nodes, vmids, gone=gone)
    if not vmids:
        return Settled({})
    if not _takes(held):
        return Settled({}, tuple(vmids))
    case = case_of(held)
    wait = waiting(case, vmids)
    at, proven = one_by_one(wait, _largest_first(wait), by_room), True
    if (at == wait.problem.origin)[list(wait.guests)].any():
        found, proven = starts(wait.problem, wait.guests, case.policy.seed)
        at = at if found is None else _checked(wait, found)
    return _settled(wait, at, held, nodes, proven)


def by_ha(cluster: Cluster, nodes: Collection[str], vmids: Collection[int]) -> Settled:
    """Places that the HA manager would find: it knows its own rules and what a node can run at all, and no more."""
    held = on_hold(cluster, nodes, vmids)
    view = _as_ha_sees(held)
    if not vmids or not _takes(view):
        return Settled({}, tuple(vmids), why=dict.fromkeys(vmids, "no node is left that takes guests"))
    wait = waiting(case_of(view), vmids)
    roomy = wait.problem.replace(capacity=wait.problem.capacity + ENDLESS)
    wait = replace(wait, formulation=replace(wait.formulation, problem=roomy))
    found = _settled(wait, one_by_one(wait, _largest_first(wait), by_room), view, nodes, proven=True)
    return replace(found, why={**found.why, **_broken(held, found.places)})


def check_all(found: Settled, what: str, names: Mapping[int, str]) -> None:
    """NoPlace where guests have none, with what the nodes say."""
    if found.left:
        says = [f"{names[vmid]} ({found.why[vmid]})" if vmid in found.why else names[vmid] for vmid in found.left]
        none = "find no place" if found.proven else "found no place in time"
        raise NoPlace(f"{what}: {len(found.left)} of its {len(found.left) + len(found.places)} guests {none}: "
                      f"{shortened(says)}")  # fmt: skip


def _takes(cluster: Cluster) -> bool:
    """Whether any node takes guests."""
    states = read(cluster, (cluster.config or Config()).cluster).states
    known = cluster.nodes[(cluster.nodes["memory_mib"] > 0) & (cluster.nodes["cpu_mcpu"] > 0)]
    return any(states[str(node)] is NodeState.BALANCED for node in known["node"])


def _largest_first(wait: Waiting) -> list[int]:
    return sorted(wait.bundles, key=lambda bundle: -int(wait.problem.bundle_needs[bundle, 0]))


def _checked(wait: Waiting, at: Ints) -> Ints:
    if check.broken(wait.problem.replace(together=()), at) or is_crowded(wait, at):
        raise RuntimeError("a mistake in planner.survive: its places break a rule")
    return at


def _settled(wait: Waiting, at: Ints, held: Cluster, nodes: Collection[str], proven: bool) -> Settled:
    places, placement = wait.places(at), Placement(wait, at, held, tuple(nodes))
    left = tuple(guest for guest in wait.guests if at[guest] == wait.problem.origin[guest])
    why = {wait.formulation.vmid(g): shortened(_said(placement.refused(g)), "; ") for g in left[:SHOWN_WHY]}
    said = {vmid: says for vmid, says in why.items() if says}
    return Settled(places, tuple(map(wait.formulation.vmid, left)), proven, said)


def _said(refusals: Mapping[str, str]) -> list[str]:
    """What nodes say, those that say the same together."""
    saying: dict[str, list[str]] = {}
    for node, says in refusals.items():
        saying.setdefault(says, []).append(node)
    return [f"{shortened(names)}: {says}" for says, names in saying.items()]


# --- what the HA manager does not know ----------------------------------------------------------------


def _as_ha_sees(cluster: Cluster) -> Cluster:
    """The cluster without tags and settings but for maintenance."""
    config = cluster.config or Config()
    kept = ClusterPolicy(
        maintenance_nodes=config.cluster.maintenance_nodes, scheduled_maintenance=config.cluster.scheduled_maintenance
    )
    return replace(
        cluster, guests=cluster.guests.assign(tags=""), config=replace(config, cluster=kept),
        assumed=replace(cluster.assumed, rules=()),
    )  # fmt: skip


def _broken(held: Cluster, places: Mapping[int, str]) -> dict[int, str]:
    """vmid to what all rules and capacities have against the place of a guest."""
    states = read(held, (held.config or Config()).cluster).states
    ignored = {v: f"{node} is left alone (cluster.ignore_nodes)"
               for v, node in places.items() if states[node] is NodeState.IGNORED}  # fmt: skip
    if not _takes(held) or not places:
        return ignored
    wait = waiting(case_of(held), list(places))
    at = np.array(wait.problem.origin)
    for vmid, node in places.items():
        at[wait.formulation.index[vmid]] = wait.formulation.node_index[node]
    said = {vmid: [*_against(wait, at, vmid, places[vmid])] for vmid in places}
    for vmid, says in ignored.items():
        said[vmid].insert(0, says)
    return {vmid: " and ".join(dict.fromkeys(says)) for vmid, says in said.items() if says}


def _against(wait: Waiting, at: Ints, vmid: int, node: str) -> Iterator[str]:
    formulation, problem = wait.formulation, wait.problem
    guest, n = formulation.index[vmid], formulation.node_index[node]
    for rule in formulation.rules.items:
        if rule.kind is Kind.PIN and vmid in rule.vmids and node not in rule.nodes:
            yield f"{'tag ' if rule.name.startswith('plb_') else ''}{rule.name} forbids it"
    for item in check.violations(problem, at):
        full = item.rule is Rule.CAPACITY and item.node == n and problem.needs[guest, item.index] > 0
        if full or (item.rule in (Rule.APART, Rule.TOGETHER) and guest in item.guests):
            yield explain.violation(formulation, item)
