"""Owns guests that wait for a node: the problem in which they alone go somewhere, and places found one by one."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from planner.case import Case, prepare
from planner.cluster import Cluster
from planner.config import Config
from planner.cpu import only_while_running
from planner.formulate import Formulation
from solvers.problem import Bools, Ints, Problem
from solvers.state import State

Rank = Callable[[State, int, int], tuple[int, ...]]
"""How good it is to have a bundle on a node: the smaller the better."""


@dataclass(frozen=True, eq=False)
class Waiting:
    """Guests that wait on nodes where they may not be, such as one that has failed."""

    formulation: Formulation
    """Its problem is the one in which they alone migrate, at no cost."""
    guests: tuple[int, ...]
    """Their indices, in the order in which they are asked for."""

    @property
    def problem(self) -> Problem:
        """The problem in which they alone migrate."""
        return self.formulation.problem

    @property
    def bundles(self) -> list[int]:
        """Those that they travel in, in order."""
        return list(dict.fromkeys(self.problem.bundle_of[list(self.guests)].tolist()))

    def places(self, assignment: Ints) -> dict[int, str]:
        """vmid to the node where an assignment has a guest, of those that no longer wait."""
        problem = self.problem
        gone = [g for g in self.guests if assignment[g] != problem.origin[g]]
        return {self.formulation.vmid(g): self.formulation.nodes[assignment[g]] for g in gone}


def case_of(cluster: Cluster) -> Case:
    """A cluster under the settings it was opened with."""
    config = cluster.config or Config()
    return prepare(cluster, config.policy, config.cluster, config.apply)


def waiting(case: Case, vmids: Collection[int]) -> Waiting:
    """Some guests wait. Where they start, it is no matter what keeps them from being migrated."""
    formulation = case.anywhere
    problem, guests = formulation.problem, tuple(formulation.index[vmid] for vmid in vmids)
    rows, eligible = list(problem.eligibility), problem.eligible.copy()
    for guest in guests:
        eligible[guest] = len(rows)
        rows.append(_open_to(formulation, formulation.vmid(guest)))
    alone = problem.replace(
        eligibility=np.array(rows, dtype=bool).reshape(-1, problem.nodes), eligible=eligible,
        movable=np.isin(np.arange(problem.guests), guests), copy_mib=np.zeros_like(problem.copy_mib),
        max_migrations=None, max_moved_mib=None, goal=0, tolerance=0,
    )  # fmt: skip
    return Waiting(replace(formulation, problem=alone), guests)


def _open_to(formulation: Formulation, vmid: int) -> Bools:
    """(n,) nodes that take a guest when it starts there."""
    barred, pins = formulation.barred.get(vmid, {}), formulation.rules.pins()
    named = [vmid not in pins or node in pins[vmid] for node in formulation.nodes]
    fits = [node not in barred or only_while_running(barred[node]) for node in formulation.nodes]
    return np.asarray(formulation.problem.balanced & named & fits, dtype=np.bool_)


def one_by_one(waiting: Waiting, bundles: Collection[int], rank: Rank) -> Ints:
    """(g,) where each bundle goes in turn to the node that breaks fewest rules, and of these to that of the best rank.

    A bundle that breaks a rule that holds, or lacks room, wherever it went, goes on waiting.
    """
    problem = waiting.problem
    state = State(problem, problem.origin)
    for bundle in bundles:
        apart = _apart(problem, state.assignment, set(problem.bundles[bundle].tolist()), {*waiting.guests})
        nodes = np.flatnonzero(state.legal(bundle) & apart).tolist()
        if nodes:
            state.migrate(bundle, min(nodes, key=lambda n: (-state.mended(bundle, n), *rank(state, bundle, n), n)))
    return state.assignment


def is_crowded(waiting: Waiting, assignment: Ints) -> bool:
    """Whether a guest that no longer waits is where a rule that keeps it apart is broken.

    To others that came from the same node that is no matter: they shared it before.
    """
    placed = [g for g in waiting.guests if assignment[g] != waiting.problem.origin[g]]
    return any(
        not _apart(waiting.problem, assignment, {g}, {*waiting.guests} - {*placed})[assignment[g]] for g in placed
    )


def _apart(problem: Problem, assignment: Ints, coming: set[int], waits: set[int]) -> Bools:
    """(n,) nodes where some guests would share no domain with too many; those that wait, at home, are nowhere yet."""
    result = np.ones(problem.nodes, dtype=bool)
    for rule in problem.apart:
        if not coming.intersection(rule.guests):
            continue
        domain, there = rule.domain_of(problem.nodes), dict[int, set[int]]()
        own = {i for i, side in enumerate(rule.sides) if coming.intersection(side)}
        for i, side in enumerate(rule.sides):
            for guest in side:
                if guest not in coming and not (guest in waits and assignment[guest] == problem.origin[guest]):
                    there.setdefault(int(domain[assignment[guest]]), set()).add(i)
        full = [d for d, sides in there.items() if len(sides | own) > rule.most]
        result &= ~np.isin(domain, full) if len(own) <= rule.most else False
    return result


def by_room(state: State, bundle: int, node: int) -> tuple[int, ...]:
    """Most memory free, as the first capacity is memory."""
    return (int(state.usage[node, 0] - state.problem.capacity[node, 0]),)


def by_balance(state: State, bundle: int, node: int) -> tuple[int, ...]:
    """The best balance with the bundle there, and where several are as good the lowest loads."""
    problem, guests = state.problem, state.problem.bundles[bundle]
    loads = state.loads.copy()
    loads[:, node] += problem.weights(guests, node).sum(axis=1)
    spreads = problem.spreads_of(loads)
    return (*(level.value(spreads) for level in problem.aims), *loads[:, node].tolist())
