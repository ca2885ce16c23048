"""Owns the reading of rules: what operators write as tags and settings becomes groups and eligibility, with reasons."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pandas as pd

from planner import frames, ha
from planner.cluster import Cluster
from planner.errors import ConfigError
from planner.policy import Cluster as ClusterPolicy


class Kind(StrEnum):
    """What a rule asks for."""

    TOGETHER = "together"
    APART = "apart"
    PIN = "pin"
    IGNORE = "ignore"


PIN_TAG = "plb_pin_"
TAGS: tuple[tuple[str, Kind], ...] = (
    ("plb_affinity_", Kind.TOGETHER),
    ("plb_anti_affinity_", Kind.APART),
    (PIN_TAG, Kind.PIN),
    ("plb_ignore", Kind.IGNORE),
)
"""Prefixes of the tags that ProxLB understands."""


class NodeState(StrEnum):
    """What a node is to the planner."""

    BALANCED = "online"
    MAINTENANCE = "maintenance"
    IGNORED = "ignored"
    OFFLINE = "offline"


@dataclass(frozen=True, eq=False)
class Rules:
    """Everything that restricts where guests may be."""

    frame: pd.DataFrame
    """See `planner.frames.RULES`."""
    states: dict[str, NodeState]
    """Node name to its state."""
    notes: tuple[str, ...] = field(default=())

    def of(self, kind: Kind) -> dict[str, list[int]]:
        """Rule name to the vmids it is about."""
        chosen = self.frame[self.frame["kind"] == kind.value]
        return {str(rule): [int(v) for v in rows["vmid"]] for rule, rows in chosen.groupby("rule", sort=True)}

    def pins(self) -> dict[int, set[str]]:
        """vmid to the nodes it is pinned to; several tags mean any of them, and every HA rule is to be kept."""
        tagged: dict[int, set[str]] = {}
        others: list[tuple[int, set[str]]] = []
        pinned = self.frame[self.frame["kind"] == Kind.PIN.value]
        for rule, vmid, nodes in zip(pinned["rule"], pinned["vmid"], pinned["nodes"], strict=True):
            on = {name for name in str(nodes).split(",") if name}
            if str(rule).startswith(PIN_TAG):
                tagged.setdefault(int(vmid), set()).update(on)
            else:
                others.append((int(vmid), on))
        for vmid, on in others:
            tagged[vmid] = tagged[vmid] & on if vmid in tagged else on
        return tagged

    def digest(self) -> str:
        """A fingerprint that changes when any rule does."""
        lines = sorted("\t".join(map(str, row)) for row in self.frame.itertuples(index=False))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def read(cluster: Cluster, settings: ClusterPolicy | None = None) -> Rules:
    """The rules in force. ConfigError when a setting names a node that does not exist."""
    settings = settings or ClusterPolicy()
    names = {str(name).casefold(): str(name) for name in cluster.nodes["node"]}
    notes: list[str] = []
    found: list[dict[str, Any]] = []
    guests = cluster.guests[~cluster.guests["template"]]
    for vmid, tags in zip(guests["vmid"], guests["tags"], strict=True):
        found += _from_tags(int(vmid), str(tags).split(";"), names, notes.append)
    states = _states(cluster, settings)
    found += _from_ha(cluster, states, set(map(int, guests["vmid"])), notes.append)
    frame = frames.conform(sorted(found, key=lambda r: (r["rule"], r["vmid"])), frames.RULES, "rule")
    return Rules(frame, states, tuple(dict.fromkeys(notes)))


def _from_tags(
    vmid: int, tags: Iterable[str], names: dict[str, str], note: Callable[[str], None]
) -> Iterable[dict[str, Any]]:
    for tag in dict.fromkeys(tag.casefold() for tag in tags):
        kind = next((kind for prefix, kind in TAGS if tag.startswith(prefix)), None)
        if kind is None:
            continue
        node = names.get(tag.removeprefix(PIN_TAG), "") if kind is Kind.PIN else ""
        if kind is Kind.PIN and not node:
            note(f"tag {tag} of guest {vmid} names no node of this cluster: it has no effect")
            continue
        yield {"rule": tag, "kind": kind.value, "vmid": vmid, "nodes": node}


def _from_ha(
    cluster: Cluster, states: dict[str, NodeState], vmids: set[int], note: Callable[[str], None]
) -> Iterable[dict[str, Any]]:
    """What the HA manager's rules say; an ignored node is as available to it as any other."""
    available = {name for name, state in states.items() if state in (NodeState.BALANCED, NodeState.IGNORED)}
    for rule in ha.read(cluster.snapshot, note):
        nodes, kind = None, Kind.APART if rule.negative else Kind.TOGETHER
        if rule.kind == "node-affinity":
            nodes, kind = rule.allowed(available, set(states)), Kind.PIN
            if nodes is None:
                note(f"none of the nodes of {rule.name} is available: its guests may be anywhere")
                continue
        for vmid in rule.vmids:
            if vmid in vmids:
                yield {"rule": rule.name, "kind": kind.value, "vmid": vmid, "nodes": ",".join(sorted(nodes or ()))}


def _states(cluster: Cluster, settings: ClusterPolicy) -> dict[str, NodeState]:
    known = [str(name) for name in cluster.nodes["node"]]
    for name, key in [(n, "maintenance_nodes") for n in settings.maintenance_nodes] + [
        (n, "ignore_nodes") for n in settings.ignore_nodes
    ]:
        if name not in known:
            raise ConfigError(f"cluster.{key} names node {name}, which does not exist: there are {', '.join(known)}")
    result = {}
    for row in cluster.nodes.itertuples():
        name = str(row.node)
        if row.status != "online":
            result[name] = NodeState.OFFLINE
        elif name in settings.ignore_nodes:
            result[name] = NodeState.IGNORED
        elif row.maintenance or name in settings.maintenance_nodes:
            result[name] = NodeState.MAINTENANCE
        else:
            result[name] = NodeState.BALANCED
    return result
