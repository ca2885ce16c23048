"""Owns nodes that fail or go in a what-if, and what becomes of their guests."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from planner import settle, staying
from planner.again import again
from planner.cluster import Cluster
from planner.config import Config
from planner.errors import NoPlace, UsageError
from planner.mention import check_nodes, counted, labels, listed, some
from planner.rules import NodeState, read
from planner.settle import Settled
from planner.sheet import Sheet
from planner.survive import NOT_RUNNING, protected
from solvers.problem import Bools

Restart = Literal["ha", "all"]
UNKNOWN = "of a size that Proxmox VE does not tell while a node is offline"


def fail(cluster: Cluster, *nodes: str, restart: Restart = "ha") -> Cluster:
    """Some nodes are offline. Their HA guests start on others, or with `all`, by hand, whatever ran on them.

    All rules and capacities hold for them where that is possible: the largest chooses first, the node on which most
    memory is free, and where not all find a place so, it is searched for one for each. The HA manager knows its own
    rules and what a node can run at all, but no tags, no rules of the settings, no ignored nodes and no room: HA guests
    that are left over it starts nevertheless, where most memory is free, and it is said what is broken there. Without
    a majority of nodes it starts nothing. What stays down is named. UsageError for a node that there is not.
    """
    check_nodes(cluster, nodes)
    if restart not in ("ha", "all"):
        raise UsageError(f"restart is {restart}: choose ha or all")
    nodes, fails = tuple(dict.fromkeys(nodes)), f"{listed(nodes)} {'fails' if len(nodes) == 1 else 'fail'}"
    quorate = staying.is_quorate(cluster, _online_beside(cluster, nodes, fails))
    here, unknown = _guests_of(cluster, nodes)
    here = here[~here["template"]]
    ran: Bools = ~here["status"].isin(NOT_RUNNING).to_numpy(dtype=bool)
    by_ha = ran & protected(here) & quorate
    by_hand = ran & ~by_ha & (restart == "all")
    first = _by_ha(cluster, nodes, _vmids(here[by_ha]))
    then = settle.by_rules(_elsewhere(cluster, nodes, first.places), nodes, _vmids(here[by_hand]))
    sheet = _sheet(cluster, nodes, {**first.places, **then.places})
    for node in nodes:
        sheet.switch_off(node)
    said = [fails, *([] if quorate else [staying.NO_QUORUM]), *_restarted(here, first, then)]
    said += some("not restarted, and down", [*labels(here[ran & ~by_ha & ~by_hand]).values()])
    said += some(f"down, {UNKNOWN}", [*labels(unknown).values()])
    return again(cluster, sheet, cluster.assumed.also("; ".join(said)))


def remove_node(cluster: Cluster, *nodes: str) -> Cluster:
    """Some nodes are no more, and all their guests are on others, under all rules that are left and within capacities.

    Templates are on a node that is online and has their storages. NoPlace names those that find no place. Of a node
    that is offline Proxmox VE does not tell how large its guests are: they are named, and gone with it.
    """
    check_nodes(cluster, nodes)
    nodes = tuple(dict.fromkeys(nodes))
    if {*map(str, cluster.nodes["node"])} <= {*nodes}:
        raise UsageError(f"{listed(nodes)}: these are all nodes, and one at least has to stay")
    _online_beside(cluster, nodes, f"{listed(nodes)} removed")
    here, unknown = _guests_of(cluster, nodes)
    guests, names = here[~here["template"]], labels(here)
    found = settle.by_rules(cluster, nodes, _vmids(guests), gone=True)
    settle.check_all(found, f"{listed(nodes)} cannot be removed", names)
    templates = {vmid: _home(cluster, nodes, vmid, names[vmid]) for vmid in _vmids(here[here["template"]])}
    sheet = _sheet(cluster, nodes, {**found.places, **templates})
    for node in nodes:
        sheet.remove(node)
    said = [f"{listed(nodes)} removed, {counted(len(found.places), 'guest')} placed elsewhere"]
    said += some("templates", [f"{names[vmid]} on {node}" for vmid, node in templates.items()])
    said += some(f"gone, {UNKNOWN}", [*labels(unknown).values()])
    assumed = replace(cluster.assumed, drained=tuple(node for node in cluster.assumed.drained if node not in nodes))
    return again(cluster, sheet, assumed.also("; ".join(said), gone=nodes))


def _online_beside(cluster: Cluster, nodes: Collection[str], what: str) -> int:
    """How many other nodes are online. UsageError where there is none."""
    others = cluster.nodes[~cluster.nodes["node"].isin(nodes)]
    online = int((others["status"] == "online").sum())
    if not online:
        raise UsageError(f"{what}: no node is left online")
    return online


def _guests_of(cluster: Cluster, nodes: Collection[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The guests of nodes, as they were if these are offline: those whose size is known, and the others."""
    guests = again(cluster, settle.awake(cluster, nodes), cluster.assumed).guests
    here = guests[guests["node"].isin(nodes)]
    known = (here["memory_mib"] > 0) & (here["cpu_mcpu"] > 0)
    return here[known], here[~known]


def _vmids(guests: pd.DataFrame) -> list[int]:
    return [int(vmid) for vmid in guests["vmid"]]


def _sheet(cluster: Cluster, nodes: Collection[str], places: Mapping[int, str]) -> Sheet:
    """The cluster with some guests of nodes elsewhere."""
    sheet = settle.awake(cluster, nodes)
    for vmid, node in places.items():
        sheet.relocate(vmid, node)
    return sheet


def _elsewhere(cluster: Cluster, nodes: Collection[str], places: Mapping[int, str]) -> Cluster:
    return again(cluster, _sheet(cluster, nodes, places), cluster.assumed) if places else cluster


# --- nodes that fail ----------------------------------------------------------------------------------


def _by_ha(cluster: Cluster, nodes: Collection[str], vmids: list[int]) -> Settled:
    """Places of HA guests: under all rules, and of those that are left over where the HA manager starts them."""
    found = settle.by_rules(cluster, nodes, vmids)
    if not found.left:
        return found
    more = settle.by_ha(_elsewhere(cluster, nodes, found.places), nodes, found.left)
    return Settled({**found.places, **more.places}, more.left, found.proven, more.why)


def _restarted(here: pd.DataFrame, first: Settled, then: Settled) -> list[str]:
    """What became of guests that start elsewhere: by the HA manager, and by hand."""
    names, places = labels(here), {**first.places, **then.places}
    said = [f"{counted(len(places), 'guest')} restarted elsewhere"] if places else []
    local = int(np.count_nonzero(here["disk_mib"][here["vmid"].isin(places)]))
    said += [f"{counted(local, 'guest')} of them with local disks, taken to be replicated"] if local else []
    against = {vmid: node for vmid, node in first.places.items() if vmid in first.why}
    broken = [f"{names[vmid]} starts on {node} although {first.why[vmid]}" for vmid, node in against.items()]
    said += some("by the HA manager, which knows no other rules than its own and no room", broken)
    if against and not first.proven:
        said.append("whether all could start within all rules and room is not known")
    said += some("without a node where HA may start it, and down", _with_reasons(names, first))
    none = "without a place, and down" if then.proven else "no place found in time, and down"
    return [*said, *some(none, _with_reasons(names, then))]


def _with_reasons(names: Mapping[int, str], found: Settled) -> list[str]:
    return [f"{names[vmid]} ({found.why[vmid]})" if vmid in found.why else names[vmid] for vmid in found.left]


# --- nodes that go ------------------------------------------------------------------------------------


def _home(cluster: Cluster, nodes: Collection[str], vmid: int, name: str) -> str:
    """A node for a template: online, and with the local storages that it has volumes on."""
    needs = {*cluster.volumes["storage"][cluster.volumes["vmid"] == vmid]}
    states = read(cluster, (cluster.config or Config()).cluster).states
    known = [node for node, state in states.items() if node not in nodes and state is not NodeState.OFFLINE]
    has = {node: {*cluster.storages["storage"][cluster.storages["node"] == node]} for node in known}
    able = [node for node in known if needs <= has[node]]
    if not able:
        raise NoPlace(f"{listed(nodes)} cannot be removed: no other node that is online has storage {listed(needs)} of "
                      f"template {name}")  # fmt: skip
    return min(able, key=lambda node: (states[node] is not NodeState.BALANCED, node))
