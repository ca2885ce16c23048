"""Owns a quick attempt at an assignment that keeps requirements: what can stay stays, the rest goes where room is."""

from collections.abc import Sequence

import numpy as np

from solvers.kin import Kin, tie
from solvers.problem import Apart, Ints, Problem
from solvers.requirement import Requirement, Room, broken

PER_MILLE = 1000


def fit(problem: Problem, requirements: Sequence[Requirement]) -> Ints | None:
    """An assignment that keeps all; None: none was found, which proves nothing."""
    if not broken(problem, requirements, problem.origin):
        return problem.origin
    attempt = _Attempt(tie(problem, requirements), requirements)
    assignment = attempt.run()
    return None if assignment is None or broken(problem, requirements, assignment) else assignment


class _Attempt:
    """Kins placed one after the other, never taken back."""

    def __init__(self, kin: Kin, requirements: Sequence[Requirement]) -> None:
        self._kin = kin
        self._free = np.full(kin.problem.capacity.shape, np.iinfo(np.int64).max)
        for each in requirements:
            if isinstance(each, Room):
                self._free[each.node, each.resource] = kin.problem.capacity[each.node, each.resource]
        self._bounded = self._free < np.iinfo(np.int64).max
        self._aparts = [each for each in requirements if isinstance(each, Apart)]
        self._sides: dict[int, list[tuple[int, int]]] = {}
        for number, apart in enumerate(self._aparts):
            for side, guests in enumerate(apart.sides):
                for one in kin.named(guests):
                    self._sides.setdefault(one, []).append((number, side))
        self._present: dict[tuple[int, int], set[int]] = {}

    def run(self) -> Ints | None:
        """First those with little choice, then the others; of each what can stay, then the rest, the largest first."""
        kin = self._kin
        node_of = np.full(kin.count, -1, dtype=np.int64)
        choice = kin.allowed.sum(axis=1)
        bound = choice <= kin.problem.nodes // 2
        bound[list(self._sides)] = True
        order = np.lexsort((-kin.needs.sum(axis=1), choice))
        for group in (order[bound[order]].tolist(), order[~bound[order]].tolist()):
            for one in group:
                homes = np.flatnonzero(kin.away[one] == 0)
                if len(homes) and self._may(one, int(homes[0])):
                    node_of[one] = self._take(one, int(homes[0]))
            for one in group:
                if node_of[one] < 0:
                    node = self._roomiest(one)
                    if node is None:
                        return None
                    node_of[one] = self._take(one, node)
        return np.asarray(node_of[kin.of], dtype=np.int64)

    def _roomiest(self, one: int) -> int | None:
        """Of the nodes that take kin with the fewest migrations, the one with most of its scarcest resource left."""
        whole = np.maximum(self._kin.problem.capacity, 1)
        left = np.where(self._bounded, np.minimum(self._free, whole) * PER_MILLE // whole, PER_MILLE + 1)
        best = np.lexsort((-left.min(axis=1, initial=PER_MILLE + 1), self._kin.away[one]))
        return next((node for node in best.tolist() if self._may(one, node)), None)

    def _may(self, one: int, node: int) -> bool:
        if not self._kin.allowed[one, node] or (self._kin.needs[one] > self._free[node]).any():
            return False
        coming: dict[int, set[int]] = {}
        for number, side in self._sides.get(one, []):
            coming.setdefault(number, set()).add(side)
        for number, sides in coming.items():
            apart = self._aparts[number]
            if len(sides | self._present.get((number, apart.domain(node)), set())) > apart.most:
                return False
        return True

    def _take(self, one: int, node: int) -> int:
        self._free[node] -= np.where(self._bounded[node], self._kin.needs[one], 0)
        for number, side in self._sides.get(one, []):
            self._present.setdefault((number, self._aparts[number].domain(node)), set()).add(side)
        return node
