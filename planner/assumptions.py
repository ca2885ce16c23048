"""Owns what a plan assumes of a cluster, and whether that still holds."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from planner.cluster import Cluster
from planner.errors import StalePlan
from planner.plan import Migration, Plan
from planner.policy import Cluster as ClusterPolicy
from planner.policy import OnDrift
from planner.rules import Rules, read

SHOWN = 3
"""Differences that are named before the rest is counted."""


def check_assumptions(
    plan: Plan,
    cluster: Cluster,
    settings: ClusterPolicy | None = None,
    *,
    done: Collection[Migration] = (),
    under_way: Collection[Migration] = (),
    on_drift: OnDrift = OnDrift.STOP,
) -> None:
    """StalePlan when guests, nodes or rules are not as the plan assumes; with SKIP nodes and rules alone count, as
    guests are looked at one by one when it is carried out.

    What is said of nodes today (`settings`) counts as well: a node that was put in maintenance since receives nothing.
    Of a plan that was carried out in part, guests whose migration is done are expected on its target, and those under
    way on either end.
    """
    check_real(plan)
    rules = rules_in_force(plan, cluster, settings or ClusterPolicy())
    found = [*_of_nodes(plan, rules)]
    if on_drift is OnDrift.STOP:
        found += _of_guests(plan, cluster, done, under_way)
    if rules.digest() != plan.assumes.rules:
        found.append("the rules have changed")
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise StalePlan(f"the plan is stale: {'; '.join(found[:SHOWN])}{more}; make a new plan")


def check_real(plan: Plan) -> None:
    """StalePlan for a plan of a cluster that there is not."""
    if plan.what_if:
        steps = "; ".join(plan.what_if)
        raise StalePlan(f"this is the plan of a what-if, which is never carried out ({steps}): make a new plan")


def rules_in_force(plan: Plan, cluster: Cluster, today: ClusterPolicy) -> Rules:
    """The rules by what is said today and what the plan assumes of nodes. StalePlan when one of these is gone."""
    known = set(cluster.nodes["node"])
    assumed = (*plan.assumes.maintenance_nodes, *plan.assumes.ignore_nodes)
    if missing := [name for name in assumed if name not in known]:
        raise StalePlan(f"the plan is stale: node {missing[0]} is gone; make a new plan")
    both = replace(
        today,
        maintenance_nodes=(*plan.assumes.maintenance_nodes, *today.maintenance_nodes),
        ignore_nodes=(*plan.assumes.ignore_nodes, *today.ignore_nodes),
    )
    return read(cluster, both)


def _of_nodes(plan: Plan, rules: Rules) -> Iterable[str]:
    for node, state in plan.assumes.nodes.items():
        if node not in rules.states:
            yield f"node {node} is gone"
        elif rules.states[node].value != state:
            yield f"node {node} is {rules.states[node].value}, not {state}"


def _of_guests(
    plan: Plan, cluster: Cluster, done: Collection[Migration], under_way: Collection[Migration]
) -> Iterable[str]:
    vmids = [int(vmid) for vmid in cluster.guests["vmid"]]
    places, types = (dict(zip(vmids, map(str, cluster.guests[name]), strict=True)) for name in ("node", "type"))
    expected = {vmid: {node} for vmid, node in plan.assumes.guests.items()}
    expected |= {migration.vmid: {migration.target} for migration in sorted(done, key=lambda m: m.number)}
    expected |= {migration.vmid: {migration.source, migration.target} for migration in under_way}
    for vmid, nodes in expected.items():
        if vmid not in places:
            yield f"guest {vmid} is gone"
        elif places[vmid] not in nodes:
            yield f"guest {vmid} is on {places[vmid]}, not on {' or '.join(sorted(nodes))}"
    for migration in plan.migrations:
        if not migration.bypass and types.get(migration.vmid, migration.type) != migration.type:
            yield f"guest {migration.vmid} is another one: a {types[migration.vmid]}, not a {migration.type}"
