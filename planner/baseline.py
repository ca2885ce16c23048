"""Owns the view that ProxLB has of a cluster, for the `proxlb` baseline: names, raw tags, API order and all."""

from typing import Any

import numpy as np

from planner.capacity import reserve
from planner.cluster import Cluster
from planner.errors import UsageError
from planner.formulate import Formulation
from planner.policy import RATES, GuestType, Policy, Resource
from planner.rules import NodeState
from planner.snapshot import RESOURCES
from solvers import proxlb, proxlb_input
from solvers.problem import Ints, Problem
from solvers.result import Answer, Budget

MIB = 2**20
BALANCED_TYPES = {
    GuestType.ALL: frozenset({proxlb_input.GuestType.VM, proxlb_input.GuestType.CT}),
    GuestType.VM: frozenset({proxlb_input.GuestType.VM}),
    GuestType.CT: frozenset({proxlb_input.GuestType.CT}),
}


class Proxlb:
    """A solver that answers as ProxLB 2.3 would; it knows neither the problem's rules nor its limit.

    Of its migrations only as many are taken as the limits allow, in the order in which ProxLB starts them.
    """

    def __init__(self, cluster: Cluster, formulation: Formulation, policy: Policy) -> None:
        """UsageError for what ProxLB does not balance."""
        self._view = view(cluster, formulation, policy)
        self._node = {name: index for index, name in enumerate(formulation.nodes)}
        self._guest = {int(vmid): index for index, vmid in enumerate(formulation.guests["vmid"])}

    def __call__(self, problem: Problem, budget: Budget, start: Ints) -> Answer:
        assignment = np.array(problem.origin)
        copied = 0
        for vmid, target in proxlb.migrations(self._view)[: problem.max_migrations]:
            copied += int(problem.copy_mib[self._guest[vmid]])
            if problem.max_moved_mib is not None and copied > problem.max_moved_mib:
                break
            assignment[self._guest[vmid]] = self._node[target]
        return Answer(assignment)


def view(cluster: Cluster, formulation: Formulation, policy: Policy) -> proxlb_input.ProxlbInput:
    """What ProxLB would read; the current CPU figure of a guest stands for its hour mean."""
    if policy.resource[0] in RATES:
        raise UsageError(f"proxlb knows memory, cpu and disk, not {policy.resource[0]}: choose another solver")
    rows = [row for row in cluster.snapshot.get(RESOURCES) if row.get("node") in formulation.nodes]
    states = formulation.rules.states
    nodes = [
        _node(row, policy, states)
        for row in rows
        if row["type"] == "node" and states[row["node"]] is not NodeState.IGNORED
    ]
    # ProxLB lists node by node, and on each its virtual machines before its containers.
    guests = [
        _guest(row, kind)
        for node in nodes
        for kind in ("qemu", "lxc")
        for row in rows
        if row["type"] == kind and row["node"] == node.name and row["status"] == "running" and not row.get("template")
    ]
    return proxlb_input.ProxlbInput(
        tuple(nodes),
        tuple(guests),
        method=proxlb_input.Method(policy.resource[0].value),
        mode=proxlb_input.Mode(policy.mode.value),
        balanciness=round(policy.balanciness),
        balance_types=BALANCED_TYPES[policy.guests],
    )


def _node(row: dict[str, Any], policy: Policy, states: dict[str, NodeState]) -> proxlb_input.ProxlbNode:
    cores = int(float(row["maxcpu"]))
    return proxlb_input.ProxlbNode(
        row["node"],
        proxlb_input.ProxlbResource(cores, float(row.get("cpu", 0)) * cores),
        _bytes(row, "maxmem", "mem"),
        _bytes(row, "maxdisk", "disk"),
        reserve(policy, row["node"], Resource.MEMORY) * MIB,
        states[row["node"]] is NodeState.MAINTENANCE,
    )


def _guest(row: dict[str, Any], kind: str) -> proxlb_input.ProxlbGuest:
    return proxlb_input.ProxlbGuest(
        int(row["vmid"]),
        str(row.get("name", "")),
        proxlb_input.GuestType.VM if kind == "qemu" else proxlb_input.GuestType.CT,
        row["node"],
        proxlb_input.ProxlbResource(int(float(row.get("maxcpu", 0))), float(row.get("cpu", 0))),
        _bytes(row, "maxmem", "mem"),
        _bytes(row, "maxdisk", "disk"),
        tuple(tag for tag in str(row.get("tags") or "").split(";") if tag),
    )


def _bytes(row: dict[str, Any], total: str, used: str) -> proxlb_input.ProxlbResource:
    return proxlb_input.ProxlbResource(int(float(row.get(total, 0))), float(row.get(used, 0)))
