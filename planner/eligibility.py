"""Owns where each guest may be: which guests stay, where the others are allowed, who together and who apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from planner import preconditions, recent
from planner.cluster import Cluster
from planner.collect import rebalances
from planner.policy import GuestType, Policy, Unless
from planner.rule import Kind, Rule
from planner.rules import NodeState, Rules
from solvers.problem import Apart, Bools, Groups, Ints

LOCAL_DISKS = "it has local disks (--with-local-disks copies them)"
"""Why a guest stays that could be migrated with its disks."""
REBALANCED = "Proxmox VE balances it itself (--with-ha-guests plans it all the same)"
ALONE = ("tag ", "rule ", "only ", REBALANCED)
"""What reasons begin with that leave a guest where somebody wants it."""


@dataclass(frozen=True, eq=False)
class Places:
    """Where the guests of a problem may be, as indices, and the names of what says so."""

    fixed: dict[int, str]
    """vmid to why the guest is not migrated."""
    barred: dict[int, Mapping[str, str]]
    """vmid to nodes where Proxmox VE would not let it run, and why."""
    eligibility: Bools
    eligible: Ints
    together: Groups
    together_names: tuple[str, ...]
    apart: tuple[Apart, ...]
    apart_names: tuple[str, ...]


def places(
    cluster: Cluster, guests: pd.DataFrame, rules: Rules, policy: Policy, names: tuple[str, ...],
    bound: Mapping[int, str],
) -> Places:  # fmt: skip
    """All that rules and Proxmox VE's preconditions say of guests, a frame's rows, and nodes, in index order.

    `bound`: vmid to why a guest stays that has nothing to do with rules.
    """
    said = preconditions.read(cluster.snapshot, guests, cluster.nodes["node"])
    refused = {vmid: item.fixed for vmid, item in said.items() if item.fixed}
    barred = _too_small(cluster, guests)
    for vmid, item in said.items():
        barred[vmid] = {**barred.get(vmid, {}), **item.barred}
    elsewhere = _balanced_elsewhere(cluster, guests, policy)
    stays = refused | dict(bound) | _fixed(guests, rules, policy, recent.migrated(cluster.snapshot), elsewhere)
    eligibility, eligible = _classes(guests, rules, stays, barred, names)
    together_names, together = _together(guests, rules)
    apart_names, apart = _apart(guests, rules, names)
    return Places(stays, barred, eligibility, eligible, together, together_names, apart, apart_names)


def _balanced_elsewhere(cluster: Cluster, guests: pd.DataFrame, policy: Policy) -> frozenset[int]:
    """Guests of the HA manager where that balances them itself: each would undo the other's work."""
    if policy.with_ha_guests or not rebalances(cluster.snapshot):
        return frozenset()
    return frozenset(map(int, guests["vmid"][guests["ha_state"] != ""]))


def _too_small(cluster: Cluster, guests: pd.DataFrame) -> dict[int, Mapping[str, str]]:
    """vmid to the nodes on which Proxmox VE would not start a virtual machine: those with fewer threads than vCPUs."""
    threads = {str(n): int(t) for n, t in zip(cluster.nodes["node"], cluster.nodes["cpu_mcpu"], strict=True) if t > 0}
    smallest = min(threads.values(), default=0)
    large = guests[(guests["type"] == "vm") & (guests["cpu_mcpu"] > smallest)]
    return {
        int(vmid): {
            node: f"it has {vcpus // 1000} vCPUs, {node} has {its // 1000} threads"
            for node, its in threads.items()
            if its < vcpus
        }
        for vmid, vcpus in zip(large["vmid"], map(int, large["cpu_mcpu"]), strict=True)
    }


def with_disks(cluster: Cluster, guests: pd.DataFrame) -> pd.DataFrame:
    """The guests with those local disks that preconditions tell of and the contents of storages did not."""
    said = preconditions.read(cluster.snapshot, guests, cluster.nodes["node"])
    told = np.array([said[v].local_mib if v in said else 0 for v in map(int, guests["vmid"])], dtype=np.int64)
    return guests.assign(disk_mib=guests["disk_mib"].where(guests["disk_mib"] > 0, told))


def remarks(cluster: Cluster, guests: pd.DataFrame) -> tuple[str, ...]:
    """What a person should know about guests of which Proxmox VE did not say whether it would migrate them."""
    return preconditions.notes(preconditions.read(cluster.snapshot, guests, cluster.nodes["node"]))


def _fixed(
    guests: pd.DataFrame, rules: Rules, policy: Policy, lately: frozenset[int], elsewhere: frozenset[int]
) -> dict[int, str]:
    """vmid to why a guest is not migrated, whatever the plan would gain.

    `lately`: migrated within a day; `elsewhere`: balanced by the HA manager.
    """
    homes = {int(vmid): str(node) for vmid, node in zip(guests["vmid"], guests["node"], strict=True)}
    ignored: dict[int, Rule] = {}
    for rule in rules.items:
        if rule.kind is Kind.IGNORE and rule.unless is not Unless.REPAIR:
            ignored |= {vmid: rule for vmid in rule.vmids if _stays(rule, vmid, rules, homes, lately)}
    vmids = [int(vmid) for vmid in guests["vmid"]]
    reasons = (_why_fixed(guest, ignored, rules, policy, elsewhere) for guest in guests.itertuples())
    return {vmid: reason for vmid, reason in zip(vmids, reasons, strict=True) if reason}


def _stays(rule: Rule, vmid: int, rules: Rules, homes: Mapping[int, str], lately: frozenset[int]) -> bool:
    """Whether a rule keeps a guest where it is today."""
    match rule.unless:
        case Unless.DAILY:
            return vmid in lately
        case Unless.MAINTENANCE:
            return vmid in homes and rules.states[homes[vmid]] is not NodeState.MAINTENANCE
        case _:
            return True


def only_repaired(rules: Rules) -> dict[int, str]:
    """vmid to why a guest stays unless its migration repairs a rule."""
    chosen = [rule for rule in rules.items if rule.kind is Kind.IGNORE and rule.unless is Unless.REPAIR]
    return {vmid: f"rule {rule.name}: it is migrated for repairs only" for rule in chosen for vmid in rule.vmids}


def _why_fixed(guest: Any, ignored: Mapping[int, Rule], rules: Rules, policy: Policy, elsewhere: frozenset[int]) -> str:
    rule = ignored.get(guest.vmid)
    checks = (  # first what somebody wants: such a guest breaks no rule, whatever else keeps it
        (rule is not None, _says(rule)),
        (rules.states[guest.node] is NodeState.IGNORED, f"node {guest.node} is ignored"),
        (policy.guests not in (GuestType.ALL, guest.type), f"only {policy.guests} guests are planned"),
        (guest.vmid in elsewhere, REBALANCED),
        (guest.status == "unknown", "its status is unknown"),
        (bool(guest.lock), f"it is locked ({guest.lock})"),
        (guest.disk_mib > 0 and not policy.with_local_disks, LOCAL_DISKS),
    )
    return next((reason for holds, reason in checks if holds), "")


def _says(rule: Rule | None) -> str:
    if rule is None:
        return ""
    if rule.unless is Unless.DAILY:
        return f"rule {rule.name}: it was migrated within the last day"
    return f"tag {rule.name}" if rule.name.startswith("plb_") else f"rule {rule.name}"


def is_left_alone(reason: str, state: NodeState) -> bool:
    """Whether the operator chose that a guest stays: then it is in no violation where it is."""
    return state is NodeState.IGNORED or reason.startswith(ALONE)


def _classes(
    guests: pd.DataFrame, rules: Rules, stays: Mapping[int, str],
    barred: Mapping[int, Mapping[str, str]],
    names: tuple[str, ...],
) -> tuple[Bools, Ints]:  # fmt: skip
    """Classes of guests that are allowed on the same nodes, (e, n), and the class of each guest, (g,).

    `barred`: vmid to nodes where Proxmox VE would not let it run; where a guest is already it may stay.
    """
    open_nodes = frozenset(name for name in names if rules.states[name] is NodeState.BALANCED)
    pins = rules.pins()
    found: dict[frozenset[str], int] = {}
    eligible = []
    for vmid, node in zip(map(int, guests["vmid"]), map(str, guests["node"]), strict=True):
        allowed = open_nodes & pins[vmid] if vmid in pins else open_nodes
        allowed -= frozenset(barred.get(vmid, {})) - {node}
        if is_left_alone(stays.get(vmid, ""), rules.states[node]):
            allowed = frozenset(names)
        eligible.append(found.setdefault(allowed, len(found)))
    rows = [[name in allowed for name in names] for allowed in found]
    return np.array(rows, dtype=bool).reshape(len(found), len(names)), np.array(eligible, dtype=np.int64)


def _together(guests: pd.DataFrame, rules: Rules) -> tuple[tuple[str, ...], Groups]:
    """Names and guest indices of the groups that belong on one node."""
    index = _index(guests)
    groups = [
        (rule.name, tuple(index[v] for v in rule.vmids if v in index))
        for rule in rules.items
        if rule.kind is Kind.TOGETHER
    ]
    kept = [(name, group) for name, group in groups if len(group) > 1]
    return tuple(name for name, _ in kept), tuple(group for _, group in kept)


def _apart(guests: pd.DataFrame, rules: Rules, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Apart, ...]]:
    """Names of the rules that keep guests apart, and the rules as indices; those that cannot be broken are left out."""
    index = _index(guests)
    kept = []
    for rule in rules.items:
        sides = [tuple(index[v] for v in side if v in index) for side in rule.sides]
        sides = [side for side in sides if side]
        if rule.kind is Kind.APART and len(sides) > rule.most:
            kept.append((rule.name, Apart(tuple(sides), rule.most, domains(rules, rule.per, names))))
    return tuple(name for name, _ in kept), tuple(item for _, item in kept)


def domains(rules: Rules, per: str, names: tuple[str, ...]) -> tuple[int, ...]:
    """(n,) failure domain of each node; none where every node is one of its own."""
    if not per:
        return ()
    # A node without a label is a domain that no label can name.
    labels = [(True, rules.domains[per][name]) if name in rules.domains[per] else (False, name) for name in names]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return tuple(numbers[label] for label in labels)


def _index(guests: pd.DataFrame) -> dict[int, int]:
    return {int(vmid): i for i, vmid in enumerate(guests["vmid"])}
