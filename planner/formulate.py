"""Owns the way from frames, rules and policy to a Problem: names become indices, frames become arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from planner.cluster import Cluster
from planner.errors import ConfigError, Forbidden, InputError
from planner.policy import Cheapest, Combine, GuestType, Mode, Policy, Reserve, Resource
from planner.rules import Kind, NodeState, Rules
from solvers.problem import PPM, Bools, Cost, Ints, Level, Problem
from solvers.stuck import beside_stuck, find_stuck

LOCAL_DISKS = "it has local disks (--with-local-disks copies them)"
"""Why a guest stays that could be migrated with its disks."""
GIB = 1024
"""MiB."""
WEIGHT = 1000
"""What the largest weight becomes: a Problem has whole numbers only."""
RESERVE_UNITS = {Resource.MEMORY: GIB, Resource.CPU: 1000, Resource.DISK: GIB}
TOTAL = {Resource.MEMORY: "memory_mib", Resource.CPU: "cpu_mcpu", Resource.DISK: "disk_mib"}
USED = {Resource.MEMORY: "memory_used_mib", Resource.CPU: "cpu_used_mcpu", Resource.DISK: "disk_used_mib"}


@dataclass(frozen=True, eq=False)
class Formulation:
    """A Problem and the names that its indices stand for."""

    problem: Problem
    nodes: tuple[str, ...]
    guests: pd.DataFrame
    """The rows of the guests frame that are in the problem, in index order."""
    rules: Rules
    fixed: dict[int, str]
    """vmid to why the guest is not migrated."""
    together: tuple[str, ...]
    """Names of the problem's together-groups."""
    apart: tuple[str, ...]
    """Names of the problem's apart-groups."""
    resources: tuple[Resource, ...]
    """What the first metrics are; after them come copies for what is stuck."""
    stuck: dict[int, tuple[int, ...]]
    """Metric to the nodes at its extremes that nothing can change, in the order of the copies."""
    remarks: tuple[str, ...] = ()
    """What a person should know about settings without effect."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about settings and rules without effect and guests that stay for lack of a flag."""
        local = sum(reason == LOCAL_DISKS for reason in self.fixed.values())
        stay = (f"{local} guests stay where they are: {LOCAL_DISKS}",) if local else ()
        return (*self.rules.notes, *stay, *self.remarks)

    def changeable(self, assignment: Ints) -> Ints | None:
        """(k,) spreads in ppm, over the nodes that something can change where some cannot; None if all can."""
        if not self.stuck:
            return None
        result = self.problem.spreads(assignment).copy()
        result[list(self.stuck)] = result[len(self.resources) :]
        return result

    def vmid(self, guest: int) -> int:
        """The vmid of a guest index."""
        return int(self.guests["vmid"].iloc[guest])


def formulate(cluster: Cluster, rules: Rules, policy: Policy) -> Formulation:
    """Everything about Proxmox is settled here. Forbidden, InputError or ConfigError say why there is no problem."""
    if cluster.partial and not policy.allow_partial:
        raise Forbidden(
            f"the token does not see the whole cluster: {'; '.join(cluster.partial)} "
            "(grant it, or plan on what is seen with --allow-partial)"
        )
    nodes = _planned(cluster.nodes, rules)
    names = tuple(str(name) for name in nodes["node"])
    _check_reserves(policy, rules)
    guests = cluster.guests[cluster.guests["node"].isin(names) & ~cluster.guests["template"]]
    fixed = _fixed(guests, rules, policy)
    index = {name: i for i, name in enumerate(names)}
    origin = np.array([index[str(node)] for node in guests["node"]], dtype=np.int64)
    demand, ability, base = _metrics(nodes, guests, origin, policy)
    eligibility, eligible = _eligibility(guests, rules, fixed, names)
    together, apart = (_groups(guests, rules, kind) for kind in (Kind.TOGETHER, Kind.APART))
    needs, capacity = _capacity(nodes, guests, origin, policy)
    problem = Problem(
        origin=origin,
        needs=needs,
        capacity=capacity,
        demand=demand,
        ability=ability,
        base=base,
        balanced=np.array([rules.states[name] is NodeState.BALANCED for name in names], dtype=bool),
        eligibility=eligibility,
        eligible=eligible,
        copy_mib=(_demand(guests, Resource.MEMORY, Mode.USED) + guests["disk_mib"].to_numpy()).astype(np.int64),
        movable=np.array([int(vmid) not in fixed for vmid in guests["vmid"]], dtype=bool),
        together=tuple(together.values()),
        apart=tuple(apart.values()),
        max_migrations=policy.max_migrations,
        max_moved_mib=None if policy.max_gib is None else int(policy.max_gib * GIB),
        levels=_levels(policy),
        **_aim(policy),
    )
    stuck = {k: tuple(map(int, np.flatnonzero(on))) for k, on in find_stuck(problem).items()}
    problem, groups = beside_stuck(problem), (tuple(together), tuple(apart))
    return Formulation(problem, names, guests, rules, fixed, *groups, policy.resource, stuck, _remarks(policy))


def _planned(nodes: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """The nodes that are online and whose figures are known; the rest, with its guests, is left out."""
    online = nodes["node"].map(lambda name: rules.states[name] is not NodeState.OFFLINE).astype(bool)
    planned = nodes[online & (nodes["memory_mib"] > 0) & (nodes["cpu_mcpu"] > 0)]
    if not any(rules.states[name] is NodeState.BALANCED for name in planned["node"]):
        states = ", ".join(f"{name} is {state}" for name, state in rules.states.items())
        raise InputError(f"there is no node to plan for: {states}")
    return planned


def _check_reserves(policy: Policy, rules: Rules) -> None:
    for name in policy.reserve:
        if name not in rules.states and name != "default":
            raise ConfigError(
                f"policy.reserve names node {name}, which does not exist: there are {', '.join(rules.states)}"
            )


def reserve(policy: Policy, node: str, resource: Resource) -> int:
    """What a node keeps for itself, in the units of the frames."""
    default = policy.reserve.get("default", Reserve())
    amount: float = getattr(policy.reserve.get(node, default), resource.value)
    return round(amount * RESERVE_UNITS[resource])


def _ability(nodes: pd.DataFrame, policy: Policy, resource: Resource) -> Ints:
    """(n,) what each node can give: what it has less its reserve."""
    result = []
    for node, total in zip(nodes["node"], nodes[TOTAL[resource]], strict=True):
        kept = reserve(policy, str(node), resource)
        if kept >= total > 0:
            raise ConfigError(f"policy.reserve leaves node {node} no {resource}: lower it")
        result.append(max(1, int(total) - kept))
    return np.array(result, dtype=np.int64)


def _demand(guests: pd.DataFrame, resource: Resource, mode: Mode) -> Ints:
    """(g,) what each guest takes; a stopped guest takes nothing but disk."""
    column = (USED if mode is Mode.USED else TOTAL)[resource]
    amount = guests[column].to_numpy(dtype=np.int64)
    if resource is Resource.DISK:
        return amount
    return np.where(guests["status"].to_numpy() == "stopped", 0, amount)


def _metrics(nodes: pd.DataFrame, guests: pd.DataFrame, origin: Ints, policy: Policy) -> tuple[Ints, Ints, Ints]:
    """Demand (k, g), ability (k, n) and base (k, n): one metric per resource."""
    demand = [_demand(guests, resource, policy.mode) for resource in policy.resource]
    ability = [_ability(nodes, policy, resource) for resource in policy.resource]
    base = [
        _base(nodes, d, origin, a, resource, policy.mode)
        for d, a, resource in zip(demand, ability, policy.resource, strict=True)
    ]
    return np.stack(demand), np.stack(ability), np.stack(base)


def _levels(policy: Policy) -> tuple[Level, ...]:
    """How several resources count. ConfigError for weights of what is no resource, or a resource named twice."""
    for name in policy.weights:
        if name not in list(Resource):
            raise ConfigError(f"policy.weights names {name}, which is no resource: there are {', '.join(Resource)}")
    if len(set(policy.resource)) < len(policy.resource):
        raise ConfigError(f"policy.resource names a resource twice: {', '.join(policy.resource)}")
    metrics = tuple(range(len(policy.resource)))
    if policy.combine is Combine.ORDER:
        return tuple(Level((k,)) for k in metrics)
    if policy.combine is Combine.WORST:
        return (Level(metrics),)
    weights = [policy.weights.get(resource, 1.0) for resource in policy.resource]
    return (Level(metrics, tuple(max(1, round(WEIGHT * weight / max(weights))) for weight in weights)),)


def _aim(policy: Policy) -> dict[str, Any]:
    """What is tolerated and what is wanted: the smallest spread, or the cheapest plan that is tolerable."""
    tolerance = round(policy.balanciness * PPM / 100)
    if not policy.until_balanced:
        return {"tolerance": tolerance}
    prefer = Cost.MIGRATIONS if policy.cheapest is Cheapest.MIGRATIONS else Cost.MIB
    return {"tolerance": tolerance, "goal": tolerance, "prefer": prefer}


def _remarks(policy: Policy) -> tuple[str, ...]:
    if policy.weights and policy.combine is not Combine.WEIGHTED:
        return (f"weights have no effect: resources are combined by {policy.combine}, not weighted",)
    return ()


def _own_use(nodes: pd.DataFrame, demand: Ints, origin: Ints, resource: Resource, mode: Mode) -> Ints:
    """(n,) what the nodes use beyond their guests; not counted where configured figures are looked at."""
    if mode is Mode.ASSIGNED:
        return np.zeros(len(nodes), dtype=np.int64)
    guests = np.bincount(origin, weights=demand, minlength=len(nodes)).astype(np.int64)
    return np.maximum(0, nodes[USED[resource]].to_numpy(dtype=np.int64) - guests)


def _base(nodes: pd.DataFrame, demand: Ints, origin: Ints, ability: Ints, resource: Resource, mode: Mode) -> Ints:
    """(n,) ppm beyond the guests, such that today's loads are exact whatever the rounding of single guests."""
    own = _own_use(nodes, demand, origin, resource, mode)
    whole = own + np.bincount(origin, weights=demand, minlength=len(nodes)).astype(np.int64)
    rounded = (demand * PPM + ability[origin] // 2) // ability[origin]
    guests = np.bincount(origin, weights=rounded, minlength=len(nodes)).astype(np.int64)
    return (whole * PPM + ability // 2) // ability - guests


def _capacity(nodes: pd.DataFrame, guests: pd.DataFrame, origin: Ints, policy: Policy) -> tuple[Ints, Ints]:
    """Needs (g, r) and capacity (n, r): memory always, local disk where it is balanced or copied."""
    wanted: list[tuple[Resource, Mode, Mode]] = [(Resource.MEMORY, policy.fit, policy.fit)]
    if Resource.DISK in policy.resource or policy.with_local_disks:  # what is not of guests fills a storage too
        wanted.append((Resource.DISK, Mode.ASSIGNED, Mode.USED))
    needs, capacity = [], []
    for resource, mode, own_mode in wanted:
        needs.append(_demand(guests, resource, mode))
        own = _own_use(nodes, _demand(guests, resource, own_mode), origin, resource, own_mode)
        capacity.append(np.maximum(0, _ability(nodes, policy, resource) - own))
    return np.stack(needs, axis=1), np.stack(capacity, axis=1)


def _fixed(guests: pd.DataFrame, rules: Rules, policy: Policy) -> dict[int, str]:
    """vmid to why a guest is not migrated, whatever the plan would gain."""
    ignored = {vmid: rule for rule, vmids in rules.of(Kind.IGNORE).items() for vmid in vmids}
    vmids = [int(vmid) for vmid in guests["vmid"]]
    reasons = (_why_fixed(guest, ignored, rules, policy) for guest in guests.itertuples())
    return {vmid: reason for vmid, reason in zip(vmids, reasons, strict=True) if reason}


def _why_fixed(guest: Any, ignored: dict[int, str], rules: Rules, policy: Policy) -> str:
    checks = (
        (guest.vmid in ignored, f"tag {ignored.get(guest.vmid)}"),
        (rules.states[guest.node] is NodeState.IGNORED, f"node {guest.node} is ignored"),
        (policy.guests not in (GuestType.ALL, guest.type), f"only {policy.guests} guests are planned"),
        (guest.status == "unknown", "its status is unknown"),
        (bool(guest.lock), f"it is locked ({guest.lock})"),
        (guest.disk_mib > 0 and not policy.with_local_disks, LOCAL_DISKS),
    )
    return next((reason for holds, reason in checks if holds), "")


def _eligibility(
    guests: pd.DataFrame, rules: Rules, fixed: dict[int, str], names: tuple[str, ...]
) -> tuple[Bools, Ints]:
    """Classes of guests that are allowed on the same nodes."""
    open_nodes = frozenset(name for name in names if rules.states[name] is NodeState.BALANCED)
    pins = rules.pins()
    classes: dict[frozenset[str], int] = {}
    eligible = []
    for vmid, node in zip(guests["vmid"], guests["node"], strict=True):
        allowed = open_nodes & pins[int(vmid)] if int(vmid) in pins else open_nodes
        if _left_alone(fixed.get(int(vmid), ""), rules.states[str(node)]):
            allowed = frozenset(names)
        eligible.append(classes.setdefault(allowed, len(classes)))
    rows = [[name in allowed for name in names] for allowed in classes]
    return np.array(rows, dtype=bool).reshape(len(classes), len(names)), np.array(eligible, dtype=np.int64)


def _left_alone(reason: str, state: NodeState) -> bool:
    """Whether the operator chose that a guest stays: then it is in no violation where it is."""
    return state is NodeState.IGNORED or reason.startswith(("tag ", "only "))


def _groups(guests: pd.DataFrame, rules: Rules, kind: Kind) -> dict[str, tuple[int, ...]]:
    index = {int(vmid): i for i, vmid in enumerate(guests["vmid"])}
    groups = {rule: tuple(index[v] for v in vmids if v in index) for rule, vmids in rules.of(kind).items()}
    return {rule: group for rule, group in groups.items() if len(group) > 1}
