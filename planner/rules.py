"""Owns the rules of a cluster: those from every place where operators write them, and the states of nodes."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase

import pandas as pd

from planner import frames, ha, maintenance, tags, written
from planner.cluster import Cluster
from planner.errors import ConfigError
from planner.policy import Cluster as ClusterPolicy
from planner.rule import Kind, Rule, apart, pin, together


class NodeState(StrEnum):
    """What a node is to the planner."""

    BALANCED = "online"
    MAINTENANCE = "maintenance"
    IGNORED = "ignored"
    OFFLINE = "offline"


@dataclass(frozen=True, eq=False)
class Rules:
    """Everything that restricts where guests may be."""

    items: tuple[Rule, ...]
    """In the order of their names."""
    states: dict[str, NodeState]
    """Node name to its state."""
    domains: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Kind of failure domain to node to its domain; a node that is missing is one of its own."""
    notes: tuple[str, ...] = ()
    leaving: Mapping[int, str] = field(default_factory=dict)
    """vmid to the node that it only has to leave because that is to be emptied."""

    @property
    def frame(self) -> pd.DataFrame:
        """One row per rule and guest, see `planner.frames.RULES`."""
        return frames.conform((row for rule in self.items for row in rule.rows()), frames.RULES, "rule")

    def pins(self) -> dict[int, set[str]]:
        """vmid to the nodes where all its pins let it be."""
        result: dict[int, set[str]] = {}
        for rule in self.items:
            for vmid in rule.vmids if rule.kind is Kind.PIN else ():
                result[vmid] = result[vmid] & rule.nodes if vmid in result else set(rule.nodes)
        return result

    def without(self, names: Iterable[str]) -> "Rules":
        """The same less some rules that give way."""
        given_up = set(names)
        return replace(self, items=tuple(rule for rule in self.items if rule.name not in given_up))

    def also(self, items: Iterable[Rule], notes: Iterable[str]) -> "Rules":
        """The same and some more; itself where there are none."""
        more = tuple(items)
        if not more:
            return self
        return replace(self, items=tuple(sorted((*self.items, *more), key=_order)), notes=(*self.notes, *notes))

    def digest(self) -> str:
        """A fingerprint that changes when any rule does."""
        lines = ["\t".join(map(str, row.values())) for rule in self.items for row in rule.rows()]
        for kind in sorted({rule.per for rule in self.items if rule.per}):
            lines += [f"{kind}\t{node}\t{domain}" for node, domain in sorted(self.domains[kind].items())]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def read(cluster: Cluster, settings: ClusterPolicy | None = None) -> Rules:
    """The rules in force. ConfigError when a setting names a node that does not exist."""
    settings = cluster.assumed.to(settings or ClusterPolicy())
    names = [str(name) for name in cluster.nodes["node"] if name not in cluster.assumed.gone]
    notes: list[str] = []
    guests = cluster.guests[~cluster.guests["template"]]
    states = _states(cluster, settings)
    tagged = list(tags.read(guests, {name.casefold(): name for name in names}, notes.append))
    of_ha = [rule for rule in _from_ha(cluster, states, set(map(int, guests["vmid"])), notes.append) if rule.vmids]
    found = [rule for rule in (*tagged, *written.read(settings, guests, names, notes.append)) if rule.vmids]
    priced = _with_prices(found, of_ha, settings, notes.append)
    holding = (rule for rule in (*of_ha, *priced) if not cluster.assumed.lifts(rule.name))
    items = tuple(sorted(holding, key=_order))
    return Rules(items, states, settings.domains, tuple(dict.fromkeys(notes)))


def _order(rule: Rule) -> tuple[str, Kind, tuple[int, ...]]:
    return rule.name, rule.kind, rule.vmids


def _from_ha(
    cluster: Cluster, states: dict[str, NodeState], vmids: set[int], note: Callable[[str], None]
) -> Iterator[Rule]:
    """What the HA manager's rules say; an ignored node is as available to it as any other."""
    available = {name for name, state in states.items() if state in (NodeState.BALANCED, NodeState.IGNORED)}
    for rule in ha.read(cluster.snapshot, note):
        known = [vmid for vmid in rule.vmids if vmid in vmids]
        if rule.kind != "node-affinity":
            yield (apart if rule.negative else together)(rule.name, known)
            continue
        on: dict[frozenset[str] | None, list[int]] = {}
        for vmid in known:
            nodes = rule.allowed(vmid, available, {*states} - {*cluster.assumed.gone})
            on.setdefault(None if nodes is None else frozenset(nodes), []).append(vmid)
        if on.pop(None, None) and not rule.staying:
            note(f"none of the nodes of {rule.name} is available: its guests may be anywhere")
        for some, members in on.items():
            yield pin(rule.name, members, some or ())


def _with_prices(
    rules: list[Rule], of_ha: Iterable[Rule], settings: ClusterPolicy, note: Callable[[str], None]
) -> list[Rule]:
    """The rules with the prices of those that `should` names; those of the HA manager have none."""
    for pattern, price in settings.should.items():
        in_vain = list(dict.fromkeys(rule.name for rule in of_ha if fnmatchcase(rule.name, pattern)))
        if in_vain:
            why = "HA rules must hold, as Proxmox VE keeps them itself"
            note(f"{why}: cluster.should names {', '.join(in_vain)} in vain")
        named = [rule for rule in rules if rule.kind is not Kind.IGNORE and fnmatchcase(rule.name, pattern)]
        if not named and not in_vain:
            note(f"cluster.should names {pattern}, which is no rule of this cluster: it has no effect")
        rules = [replace(rule, price=price) if rule in named else rule for rule in rules]
    return rules


def _states(cluster: Cluster, settings: ClusterPolicy) -> dict[str, NodeState]:
    maintained = {*settings.maintenance_nodes, *maintenance.nodes(settings, cluster.snapshot.taken_at)}
    known = [str(name) for name in cluster.nodes["node"]]
    windows = [window.node for window in settings.scheduled_maintenance]
    for key, names in (
        ("maintenance_nodes", settings.maintenance_nodes),
        ("scheduled_maintenance", windows),
        ("ignore_nodes", settings.ignore_nodes),
    ):
        for name in names:
            if name not in known:
                there = ", ".join(known)
                raise ConfigError(f"cluster.{key} names node {name}, which does not exist: there are {there}")
    result = {}
    for row in cluster.nodes.itertuples():
        name = str(row.node)
        if row.status != "online":
            result[name] = NodeState.OFFLINE
        elif name in settings.ignore_nodes:
            result[name] = NodeState.IGNORED
        elif row.maintenance or name in maintained:
            result[name] = NodeState.MAINTENANCE
        else:
            result[name] = NodeState.BALANCED
    return result
