"""Owns the way from frames, rules and policy to a Problem: names become indices, frames become arrays."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from planner import capacity, eligibility, periods, pressure, threshold
from planner.cluster import Cluster
from planner.eligibility import LOCAL_DISKS, REBALANCED
from planner.errors import ConfigError, Forbidden, NoNode
from planner.periods import Metric
from planner.plan import Migration
from planner.policy import Cheapest, Combine, Mode, Policy, Resource
from planner.rules import NodeState, Rules
from solvers import check
from solvers.problem import PPM, Cost, Ints, Level, Problem
from solvers.stuck import beside_stuck, find_stuck

WEIGHT = 1000
"""What the largest weight becomes: a Problem has whole numbers only."""


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
    barred: dict[int, Mapping[str, str]]
    """vmid to nodes where Proxmox VE would not let it run, and why."""
    together: tuple[str, ...]
    """Names of the problem's together-groups."""
    apart: tuple[str, ...]
    """Names of the problem's apart-rules."""
    metrics: tuple[Metric, ...]
    """What the first metrics are; after them come copies for what is stuck."""
    stuck: dict[int, tuple[int, ...]]
    """Metric to the nodes at its extremes that nothing can change, in the order of the copies."""
    capacities: tuple[str, ...]
    """Names of the problem's capacity resources."""
    remarks: tuple[str, ...] = ()
    """What a person should know about settings without effect."""
    hot: tuple[str, ...] | None = None
    """Nodes and guests whose pressure is above a threshold, in words; None: there is no threshold."""
    below: str = ""
    """That every node is below its threshold, in words; empty: one is not, or there is no threshold."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about settings and rules without effect and guests that stay for lack of a flag."""
        local = sum(reason == LOCAL_DISKS for reason in self.fixed.values())
        stay: tuple[str, ...] = (f"{local} guests stay where they are: {LOCAL_DISKS}",) if local else ()
        elsewhere = sum(reason == REBALANCED for reason in self.fixed.values())
        stay += (f"{elsewhere} HA guests stay where they are: {REBALANCED}",) if elsewhere else ()
        warm = (self.hot or ("nothing is hot: no pressure is above its threshold",)) if self.hot is not None else ()
        return (*self.rules.notes, *stay, *self.remarks, *warm, *((self.below,) if self.below else ()))

    @property
    def is_cool(self) -> bool:
        """Whether thresholds say that nothing is to be balanced, however uneven it is."""
        return self.hot == () or bool(self.below)

    def changeable(self, assignment: Ints) -> Ints | None:
        """(k,) spreads in ppm, over the nodes that something can change where some cannot; None if all can."""
        if not self.stuck:
            return None
        result = self.problem.spreads(assignment).copy()
        result[list(self.stuck)] = result[len(self.metrics) :]
        return result

    @cached_property
    def resources(self) -> tuple[Resource, ...]:
        """What is balanced, the most important first."""
        return tuple(dict.fromkeys(metric.resource for metric in self.metrics))

    def periods(self, resource: Resource) -> tuple[int, ...]:
        """The metrics of a resource."""
        return tuple(k for k, metric in enumerate(self.metrics) if metric.resource is resource)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Guests as people call them, by vmid and name, in index order."""
        both = zip(self.guests["vmid"], self.guests["name"], strict=True)
        return tuple(f"{vmid} ({name})" if name else str(vmid) for vmid, name in both)

    def after(self, migrations: Iterable[Migration]) -> Ints:
        """(g,) where the guests are when some migrations have ended."""
        result = self.problem.origin.copy()
        for migration in migrations:
            result[self.index[migration.vmid]] = self.node_index[migration.target]
        return result

    @cached_property
    def index(self) -> Mapping[int, int]:
        """vmid to guest index."""
        return {int(vmid): i for i, vmid in enumerate(self.guests["vmid"])}

    @cached_property
    def node_index(self) -> Mapping[str, int]:
        """Name of a node to its index."""
        return {name: i for i, name in enumerate(self.nodes)}

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
    capacity.check_names(policy, (*rules.states, *cluster.assumed.gone))
    pressure.check_names(policy)
    threshold.check_names(policy)
    guests = cluster.guests[cluster.guests["node"].isin(names) & ~cluster.guests["template"]]
    guests = eligibility.with_disks(cluster, guests)
    places = eligibility.places(cluster, guests, rules, policy, names, capacity.bound(cluster, guests, names))
    index = {name: i for i, name in enumerate(names)}
    origin = np.array([index[str(node)] for node in guests["node"]], dtype=np.int64)
    balance = capacity.metrics(cluster, nodes, guests, origin, policy)
    held = capacity.capacities(cluster, nodes, guests, origin, policy)
    problem = Problem(
        origin=origin,
        needs=held.needs,
        capacity=held.room,
        demand=balance.demand,
        ability=balance.ability,
        base=balance.base,
        balanced=np.array([rules.states[name] is NodeState.BALANCED for name in names], dtype=bool),
        eligibility=places.eligibility,
        eligible=places.eligible,
        copy_mib=(capacity.demand(guests, Resource.MEMORY, Mode.USED) + guests["disk_mib"].to_numpy()).astype(np.int64),
        movable=np.array([int(vmid) not in places.fixed for vmid in guests["vmid"]], dtype=bool),
        together=places.together,
        apart=places.apart,
        max_migrations=policy.max_migrations,
        max_moved_mib=None if policy.max_gib is None else int(policy.max_gib * capacity.GIB),
        levels=_levels(policy, balance.names),
        **_aim(policy),
    )
    problem, only = _without_rest(problem, guests, eligibility.only_repaired(rules))
    several = len(balance.names) > len(policy.resource)  # then what is stuck differs from period to period
    stuck = {} if several else {k: tuple(map(int, np.flatnonzero(on))) for k, on in find_stuck(problem).items()}
    return Formulation(
        beside_stuck(problem) if stuck else problem, names, guests, rules, places.fixed | only, places.barred,
        places.together_names, places.apart_names, balance.names, stuck, held.names,
        (*_remarks(policy), *balance.remarks, *capacity.remarks(nodes, policy), *eligibility.remarks(cluster, guests)),
        pressure.hot(cluster, nodes, guests, policy),
        threshold.below(problem, names, balance.names, policy),
    )  # fmt: skip


def _without_rest(problem: Problem, guests: pd.DataFrame, only: dict[int, str]) -> tuple[Problem, dict[int, str]]:
    """The problem in which guests that are migrated for repairs only stay unless they can repair one."""
    if not only:
        return problem, {}
    broken = {g for item in check.violations(problem, problem.origin) for g in check.leavers(problem, item)}
    stay = {int(vmid): only[vmid] for g, vmid in enumerate(guests["vmid"]) if vmid in only and g not in broken}
    vmids = guests["vmid"].to_numpy()
    return problem.replace(movable=problem.movable & ~np.isin(vmids, list(stay))), stay


def _planned(nodes: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """The nodes that are online and whose figures are known; the rest, with its guests, is left out."""
    online = nodes["node"].map(lambda name: rules.states[name] is not NodeState.OFFLINE).astype(bool)
    planned = nodes[online & (nodes["memory_mib"] > 0) & (nodes["cpu_mcpu"] > 0)]
    if not any(rules.states[name] is NodeState.BALANCED for name in planned["node"]):
        states = ", ".join(f"{name} is {state}" for name, state in rules.states.items())
        raise NoNode(f"there is no node to plan for: {states}")
    return planned


def _levels(policy: Policy, metrics: tuple[Metric, ...]) -> tuple[Level, ...]:
    """How several resources count, each by the worst of its periods. ConfigError for what cannot be combined."""
    for name in policy.weights:
        if name not in list(Resource):
            raise ConfigError(f"policy.weights names {name}, which is no resource: there are {', '.join(Resource)}")
    if len(set(policy.resource)) < len(policy.resource):
        raise ConfigError(f"policy.resource names a resource twice: {', '.join(policy.resource)}")
    of = {r: tuple(k for k, metric in enumerate(metrics) if metric.resource is r) for r in policy.resource}
    if policy.combine is Combine.ORDER:
        return tuple(Level(of[resource]) for resource in policy.resource)
    if policy.combine is Combine.WORST:
        return (Level(tuple(range(len(metrics)))),)
    if len(metrics) > len(policy.resource):
        raise ConfigError(
            "a weighted mean of resources needs one figure of each: with combine weighted, choose --profile mean, p95 "
            "or peak and no forecast, or combine by worst or order"
        )
    weights = [policy.weights.get(resource, 1.0) for resource in policy.resource]
    level = Level(
        tuple(range(len(metrics))), tuple(max(1, round(WEIGHT * weight / max(weights))) for weight in weights)
    )
    return (level,)


def _aim(policy: Policy) -> dict[str, Any]:
    """What is tolerated and what is wanted: the smallest spread, or the cheapest plan that is tolerable."""
    tolerance = round(policy.balanciness * PPM / 100)
    if not policy.until_balanced:
        return {"tolerance": tolerance}
    prefer = Cost.MIGRATIONS if policy.cheapest is Cheapest.MIGRATIONS else Cost.MIB
    return {"tolerance": tolerance, "goal": tolerance, "prefer": prefer}


def _remarks(policy: Policy) -> tuple[str, ...]:
    return (*_of_weights(policy), *threshold.remarks(policy), *periods.remarks(policy))


def _of_weights(policy: Policy) -> tuple[str, ...]:
    if policy.weights and policy.combine is not Combine.WEIGHTED:
        return (f"weights have no effect: resources are combined by {policy.combine}, not weighted",)
    return ()
