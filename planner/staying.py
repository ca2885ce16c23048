"""Owns which nodes cannot be switched off whatever is migrated, and how many have to stay on for the quorum."""

from collections.abc import Iterator

import pandas as pd

from planner import explain
from planner.cluster import Cluster
from planner.formulate import Formulation
from planner.rules import NodeState

SHOWN = 3
"""Reasons that are named for a node before the rest is counted."""
STATES = {
    NodeState.MAINTENANCE: "it is in maintenance",
    NodeState.IGNORED: "it is left alone (cluster.ignore_nodes)",
    NodeState.OFFLINE: "it is offline",
}

NO_QUORUM = "no quorum is left, so HA restarts nothing (unless there is a QDevice, which is not seen here)"


def reasons(cluster: Cluster, formulation: Formulation) -> dict[str, tuple[str, ...]]:
    """Node to why it is no candidate; nothing for those that are."""
    result: dict[str, tuple[str, ...]] = {}
    templates = _templates(cluster.guests[cluster.guests["template"]])
    for node in map(str, cluster.nodes["node"]):
        state = formulation.rules.states[node]
        if state is not NodeState.BALANCED:
            result[node] = (STATES[state],)
        elif node not in formulation.node_index:
            result[node] = ("its memory and threads are not known",)
        elif found := [*templates.get(node, ()), *_fixed(formulation, node)]:
            result[node] = tuple(found)
    return result


def _templates(templates: pd.DataFrame) -> dict[str, list[str]]:
    """Node to what is said of the templates on it."""
    result: dict[str, list[str]] = {}
    columns = (map(str, templates["node"]), map(int, templates["vmid"]), map(str, templates["name"]))
    for node, vmid, name in zip(*columns, strict=True):
        named = f"{vmid} ({name})" if name else str(vmid)
        result.setdefault(node, []).append(f"template {named} is never migrated")
    return result


def _fixed(formulation: Formulation, node: str) -> Iterator[str]:
    """Guests that stay on a node by themselves, or because of those that travel with them."""
    problem, n = formulation.problem, formulation.node_index[node]
    for bundle in map(int, (problem.homes == n).nonzero()[0]):
        guests = problem.bundles[bundle]
        if len(problem.targets(bundle)):
            continue
        why = [(int(g), formulation.fixed[formulation.vmid(int(g))]) for g in guests if not problem.movable[g]]
        for guest, reason in why:
            yield f"{explain.guest(formulation, guest)} stays: {reason}"
        if not why:
            yield f"{explain.guest(formulation, int(guests[0]))} may be on no other node"


def shown(why: tuple[str, ...]) -> str:
    """Reasons in one line."""
    more = f" and {len(why) - SHOWN} more" if len(why) > SHOWN else ""
    return f"{'; '.join(why[:SHOWN])}{more}"


def quorum(cluster: Cluster, survive: int) -> int:
    """Nodes that have to be online so that more than half are, even when so many of these fail; each has one vote."""
    return len(cluster.nodes) // 2 + 1 + survive


def is_quorate(cluster: Cluster, online: int) -> bool:
    """Whether so many nodes that are online are enough for the HA manager."""
    return online >= quorum(cluster, 0)


def at_risk(cluster: Cluster) -> tuple[str, ...]:
    """What a person should know where the loss of one node leaves no quorum."""
    online = int((cluster.nodes["status"] == "online").sum())
    if is_quorate(cluster, online - 1):
        return ()
    return (f"{online} of {len(cluster.nodes)} nodes are online: when one more fails, {NO_QUORUM}",)


def online(cluster: Cluster) -> int:
    """Nodes that are online."""
    return int((cluster.nodes["status"] == "online").sum())


def least(cluster: Cluster, formulation: Formulation, survive: int) -> int:
    """How many balanced nodes have to stay on for that, beside the others that are online."""
    online = {str(n) for n, s in zip(cluster.nodes["node"], cluster.nodes["status"], strict=True) if s == "online"}
    balanced = {name for name in online if formulation.rules.states[name] is NodeState.BALANCED}
    return max(1, quorum(cluster, survive) - len(online - balanced))
