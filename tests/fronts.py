"""Owns the slow truth about fronts: cost, violations and spread of every acceptable assignment, and what that says."""

from typing import NamedTuple

from solvers.problem import Cost, Problem
from tests.brute import Plain


class Outcome(NamedTuple):
    """One acceptable assignment; spread in ppm."""

    cost: int
    violations: int
    spread: int


class Outcomes:
    """Of every acceptable assignment of a problem, with its largest limit; cost is what the problem prefers."""

    def __init__(self, problem: Problem) -> None:
        plain = Plain(problem)
        self.all: set[Outcome] = set()
        for at in plain.assignments():
            moved = [guest for guest in plain.guests if at[guest] != plain.origin[guest]]
            mib = sum(plain.copy_mib[guest] for guest in moved)
            cost = mib if problem.prefer is Cost.MIB else len(moved)
            self.all.add(Outcome(cost, plain.violations(at), plain.spread(at)))

    def best(self, limit: int) -> tuple[int, int]:
        """The fewest violations within a limit, and the smallest spread with as few."""
        return min(item[1:] for item in self.all if item.cost <= limit)

    def least_spread(self, limit: int, violations: int) -> int:
        """The smallest spread within a limit with at most so many violations."""
        return min(item.spread for item in self.all if item.cost <= limit and item.violations <= violations)

    def front(self) -> list[Outcome]:
        """What nothing is better than that costs no more, by rising cost."""
        result: list[Outcome] = []
        for item in sorted(self.all):
            if not result or item[1:] < result[-1][1:]:
                result.append(item)
        return result
