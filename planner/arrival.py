"""Owns the question whether a node may take a guest now, while others are under way and count on both ends."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from planner.formulate import Formulation
from planner.plan import Migration
from planner.verdict import lacks
from solvers.presence import Presence
from solvers.problem import Problem


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A bundle on its way, as indices."""

    bundle: int
    source: int
    target: int


def obstacle(formulation: Formulation, migration: Migration, under_way: Collection[Migration]) -> str:
    """Why the target cannot take a guest now, with those that travel with it; empty when it can.

    The formulation is of the cluster as it is, with the rules that hold at every moment.
    """
    problem, nodes = formulation.problem, {name: node for node, name in enumerate(formulation.nodes)}
    index = {int(vmid): guest for guest, vmid in enumerate(formulation.guests["vmid"])}
    if migration.vmid not in index or migration.target not in nodes:
        what = f"guest {migration.vmid}" if migration.vmid not in index else f"node {migration.target}"
        return f"the figures of {what} are not known"
    own = int(problem.bundle_of[index[migration.vmid]])
    others = {
        _Arrival(int(problem.bundle_of[guest]), int(problem.origin[guest]), nodes[end])
        for trip in under_way
        if (guest := index.get(trip.vmid)) is not None
        for end in (trip.source, trip.target)
        if end in nodes and nodes[end] != problem.origin[guest]
    }
    arrivals = [item for item in others if item.bundle != own]
    asked = _Arrival(own, int(problem.origin[index[migration.vmid]]), nodes[migration.target])
    if _presence(problem, arrivals).admits(asked.bundle, asked.source, asked.target):
        return ""
    return "; ".join(_reasons(formulation, asked, arrivals))


def _presence(problem: Problem, arrivals: Collection[_Arrival]) -> Presence:
    presence = Presence(problem, problem.origin)
    for item in arrivals:
        presence.arrive(item.bundle, item.source, item.target)
    return presence


def _reasons(formulation: Formulation, asked: _Arrival, arrivals: Collection[_Arrival]) -> Iterator[str]:
    """What it lacks or breaks there, each by itself."""
    problem, node = formulation.problem, formulation.nodes[asked.target]
    for guest in map(int, problem.bundles[asked.bundle]):
        if not problem.eligibility[problem.eligible[guest], asked.target]:
            barred = formulation.barred.get(formulation.vmid(guest), {}).get(node)
            yield f"guest {formulation.labels[guest]} may not be there{f': {barred}' if barred else ''}"
    left = (problem.capacity - _presence(problem, arrivals).usage)[asked.target]
    for r, need in enumerate(problem.bundle_needs[asked.bundle].tolist()):
        if need > left[r] and need:
            yield lacks(formulation.capacities[r], need, int(left[r]))
    roomy = problem.replace(capacity=np.full_like(problem.capacity, problem.needs.sum() * 2))
    everywhere = roomy.replace(eligibility=np.ones_like(problem.eligibility))
    for name, rule in zip(formulation.apart, problem.apart, strict=True):
        alone = _presence(everywhere.replace(apart=(rule,)), arrivals)
        if not alone.admits(asked.bundle, asked.source, asked.target):
            yield f"it would break {name}"
