"""Owns what is known of all limits at once: the best assignment within each, and what is proven of them.

What keeps a limit keeps every larger one, and what is proven within a limit holds within every smaller one. A bound is
proven of assignments with at most so many violations: of those with more it says nothing.
"""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from solvers import check
from solvers.problem import Ints, Problem, Score


class Found(NamedTuple):
    """An assignment and what it is worth."""

    cost: int
    """Migrations or MiB: what the problem prefers."""
    score: Score
    assignment: Ints


class _Proof(NamedTuple):
    limit: int
    violations: int
    bound: int


class Known:
    """Of a problem whose own limit is the largest; limits count what the problem prefers, migrations or MiB."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._stairs: list[Found] = []
        self._proofs: list[_Proof] = []
        self._least: list[tuple[int, int]] = []
        self.offer(problem.origin)

    def offer(self, assignment: Ints) -> bool:
        """Take an assignment if it is acceptable and better than all that are as cheap."""
        score = check.score(self.problem, assignment)
        cost = score.cost[0]
        at = bisect_right(self._stairs, cost, key=lambda item: item.cost)
        if (at and self._stairs[at - 1].score <= score) or check.broken(self.problem, assignment):
            return False
        taken = assignment.copy()
        taken.setflags(write=False)
        dearer = [item for item in self._stairs[at:] if item.score < score]
        cheaper = [item for item in self._stairs[:at] if item.cost < cost]
        self._stairs = [*cheaper, Found(cost, score, taken), *dearer]
        return True

    def best(self, limit: int) -> Found:
        """The best that is known within a limit, and of the same the cheapest."""
        return self._stairs[bisect_right(self._stairs, limit, key=lambda item: item.cost) - 1]

    def prove(self, limit: int, bound: int, violations: int | None = None) -> None:
        """No acceptable assignment within a limit with at most so many violations has a spread below a bound in ppm."""
        most = np.iinfo(np.int64).max if violations is None else violations
        self._proofs.append(_Proof(limit, int(most), bound))

    def bound(self, limit: int, violations: int) -> int:
        """ppm below which no acceptable assignment within a limit, with at most so many violations, has a spread."""
        proofs = self._proofs
        return max((p.bound for p in proofs if p.limit >= limit and p.violations >= violations), default=0)

    def prove_least(self, limit: int, violations: int) -> None:
        """No acceptable assignment within a limit has fewer violations."""
        self._least.append((limit, violations))

    def least(self, limit: int) -> int:
        """Violations that every acceptable assignment within a limit has at least."""
        return max((least for proven, least in self._least if proven >= limit), default=0)

    def gap(self, limit: int) -> int:
        """ppm between what is reached within a limit and what is proven of it."""
        best = self.best(limit)
        return max(0, best.score.spread - self.bound(limit, best.score.violations))

    def exact(self, limit: int) -> bool:
        """Whether the best that is known within a limit is proven to be the best in violations and spread."""
        return self.gap(limit) == 0 and self.best(limit).score.violations <= self.least(limit)
