"""Owns guests that requirements tie together, as one: where such kin may be, and what it takes and costs there."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from solvers.problem import Bools, Ints, Problem
from solvers.requirement import Only, Requirement, Together


@dataclass(frozen=True, eq=False)
class Kin:
    """All guests in kins; every guest is in exactly one, most of them alone."""

    problem: Problem
    of: Ints
    """(g,) the kin of each guest."""
    allowed: Bools
    """(kins, n) where each may be by the Only of its guests."""

    @property
    def count(self) -> int:
        """Number of kins."""
        return len(self.allowed)

    @cached_property
    def members(self) -> tuple[Ints, ...]:
        """The guests of each kin."""
        order = np.argsort(self.of, kind="stable")
        return tuple(np.split(order, np.cumsum(np.bincount(self.of, minlength=self.count))[:-1]))

    @cached_property
    def needs(self) -> Ints:
        """(kins, r) what each takes of each capacity resource."""
        result = np.zeros((self.count, self.problem.needs.shape[1]), dtype=np.int64)
        np.add.at(result, self.of, self.problem.needs)
        return result

    @cached_property
    def away(self) -> Ints:
        """(kins, n) migrations that bring each onto each node."""
        return self._elsewhere(np.ones(self.problem.guests, dtype=np.int64))

    @cached_property
    def mib(self) -> Ints:
        """(kins, n) MiB copied when each is brought onto each node."""
        return self._elsewhere(self.problem.copy_mib)

    def _elsewhere(self, amounts: Ints) -> Ints:
        whole = np.zeros(self.count, dtype=np.int64)
        np.add.at(whole, self.of, amounts)
        result = np.repeat(whole[:, None], self.problem.nodes, axis=1)
        np.subtract.at(result, (self.of, self.problem.origin), amounts)
        return result

    def named(self, guests: Iterable[int]) -> list[int]:
        """The kins of some guests, each once."""
        return sorted({int(self.of[guest]) for guest in guests})


def tie(problem: Problem, requirements: Iterable[Requirement]) -> Kin:
    """Unite what is to be together, and intersect where its guests may be."""
    requirements = list(requirements)
    leader: dict[int, int] = {}

    def find(guest: int) -> int:
        while guest in leader:
            guest = leader[guest]
        return guest

    for each in requirements:
        if isinstance(each, Together):
            for guest in each.guests[1:]:
                a, b = sorted((find(each.guests[0]), find(guest)))
                if a != b:
                    leader[b] = a
    heads = np.arange(problem.guests, dtype=np.int64)
    for guest in leader:
        heads[guest] = find(guest)
    unique, of = np.unique(heads, return_inverse=True)
    allowed = np.ones((len(unique), problem.nodes), dtype=bool)
    for each in requirements:
        if isinstance(each, Only):
            row = np.zeros(problem.nodes, dtype=bool)
            row[list(each.nodes)] = True
            kins = of[list(each.guests)]
            allowed[kins] &= row
    return Kin(problem, of.astype(np.int64), allowed)
