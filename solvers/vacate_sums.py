"""Owns what follows for the nodes that stay on, whoever is on which of them: sums of room, guests with few places.

A small model of nodes alone: it says how many can be off at most, and which ones are worth an attempt.
"""

from __future__ import annotations  # OR-Tools 9.14 has no CpSolverStatus

from collections.abc import Iterator

import numpy as np
from ortools.sat.python import cp_model

from solvers.problem import Bools
from solvers.run import run
from solvers.vacate_bound import Counted, Limit, Wish, bound_to, room

SECONDS = 1.0
"""For one question; they take milliseconds."""


class Sums:
    """Answers which nodes can be off by sums alone."""

    def __init__(self, wish: Wish, seed: int) -> None:
        problem = wish.problem
        self.wish, self._seed = wish, seed
        self._room = room(problem)
        needs = np.where(bound_to(problem)[:, None], problem.needs, 0)
        self._needs, self._again = needs.sum(axis=0), needs[wish.protected].sum(axis=0)
        most = wish.most
        self.few = sorted(few for few in set(self._few_places()) if len(few[0]) - most < few[1])
        """Nodes of which so many have to stay on, for a guest that may be on few."""
        self._guests = np.bincount(problem.origin, minlength=problem.nodes)

    def most(self, counted: Counted) -> Counted:
        """What is proven of the number of nodes that can be off."""
        possible, out = 0, counted.most + 1  # what is possible with so many nodes off is with fewer
        number = counted.most
        while out - possible > 1:
            if self._ask(number, 0.0)[0] == cp_model.INFEASIBLE:
                out = number
            else:
                possible = number
            number = (possible + out) // 2
        return counted if possible == counted.most else Counted(possible, Limit.NONE)

    def cheapest(self, number: int, margin: float = 0.0) -> Bools | None:
        """(n,) so many nodes with the fewest guests, so that the others have room for all and a part more."""
        return self._ask(number, margin)[1]

    def fewest(self, number: int) -> int:
        """Proven: to empty so many nodes takes at least so many migrations."""
        status, off = self._ask(number, 0.0)
        return int(self._guests[off].sum()) if status == cp_model.OPTIMAL and off is not None else 0

    def _ask(self, number: int, margin: float) -> tuple[cp_model.CpSolverStatus, Bools | None]:
        wish, proto = self.wish, cp_model.CpModel()
        stays = {node: proto.new_bool_var("") for node in np.flatnonzero(wish.candidates).tolist()}
        always = wish.problem.balanced & ~wish.candidates
        proto.add(sum(stays.values()) == len(stays) - number)
        for nodes, least in self.few:
            there = [stays[node] for node in nodes if node in stays]
            proto.add(sum(there) >= least - int(always[list(nodes)].sum()))
        nodes_on = int(wish.problem.balanced.sum()) - number
        for r in range(self._room.shape[1]):
            holds = [(stay, int(self._room[node, r])) for node, stay in stays.items()]
            least_room = self._least_room(r, nodes_on, margin) - int(self._room[always, r].sum())
            proto.add(_weighted(holds) >= least_room)
            if self._again[r]:
                self._add_largest(proto, r, stays, margin)
        proto.minimize(-_weighted([(stay, int(self._guests[node])) for node, stay in stays.items()]))
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = SECONDS
        solver.parameters.random_seed, solver.parameters.num_workers = self._seed, 1
        status = run(solver, proto)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return status, None
        off = np.zeros(wish.problem.nodes, dtype=bool)
        off[[node for node, stay in stays.items() if not solver.value(stay)]] = True
        return status, off

    def _least_room(self, resource: int, nodes_on: int, margin: float) -> int:
        """Guests of each node fit into what is free on the others: summed up over all nodes."""
        needs, again = int(self._needs[resource]), int(self._again[resource])
        if again and nodes_on < 2:
            return 2 * int(self._room[:, resource].sum()) + 1
        return needs + int(margin * needs) + (-(-again // (nodes_on - 1)) if again else 0)

    def _add_largest(
        self, proto: cp_model.CpModel, resource: int, stays: dict[int, cp_model.IntVar], margin: float
    ) -> None:
        """Without any one node the others hold all but what need not be taken over."""
        space, always = self._room[:, resource], self.wish.problem.balanced & ~self.wish.candidates
        largest = proto.new_int_var(int(space[always].max(initial=0)), int(space.max(initial=0)), "")
        for node, stay in stays.items():
            proto.add(largest >= int(space[node]) * stay)
        holds = [(stay, int(space[node])) for node, stay in stays.items()]
        least = int(self._again[resource]) + int(margin * int(self._needs[resource]))
        proto.add(_weighted([*holds, (largest, -1)]) >= least - int(space[always].sum()))

    def _few_places(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """Nodes of which so many have to be on, because of a guest that may be nowhere else."""
        problem, wish = self.wish.problem, self.wish
        for bundle, guests in enumerate(problem.bundles):
            home = int(problem.homes[bundle])
            homes = {home, *problem.targets(bundle).tolist()}
            if problem.balanced[list(homes)].all():
                yield tuple(sorted(homes)), 1
            for guest in guests[wish.protected[guests]].tolist():
                starts = set(np.flatnonzero(wish.starting.allowed(np.array([guest])) & problem.balanced).tolist())
                if len(homes) == 1:
                    yield tuple(sorted(starts - homes)), 1
                else:
                    yield tuple(sorted(starts)), 1 + (homes <= starts)


def _weighted(terms: list[tuple[cp_model.IntVar, int]]) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.weighted_sum([x for x, _ in terms], [w for _, w in terms]) if terms else 0
