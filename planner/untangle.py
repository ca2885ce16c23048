"""Owns the search for an order where bundles block each other: every order of a few, with few stops on third nodes."""

from collections.abc import Iterator

import numpy as np

from planner.order import Effort, Hop
from solvers.problem import Ints, Problem
from solvers.state import State

MOST = 48
"""Bundles that are contended at most: with more there are too many orders to look at."""
WORK = 20_000
"""Looks at whether a bundle may go somewhere, in all, about half a second."""


def untangled(
    problem: Problem, assignment: Ints, effort: Effort, limits: tuple[int, int], stops: int
) -> tuple[Hop, ...] | None:
    """Hops that bring every bundle to its target with as few stops as possible, at most so many; None if none is found.

    Each bundle stops once at most, within `limits` of migrations and MiB. A depth-first search that remembers where it
    has been, deepened by the number of stops.
    """
    search = _Search(problem, assignment, effort, limits)
    for most in range(stops + 1):
        if search.find(most):
            return tuple(search.hops)
        if search.exhausted:
            break
    return None


class _Search:
    """Bundles on their way, and the states that lead nowhere."""

    def __init__(self, problem: Problem, assignment: Ints, effort: Effort, limits: tuple[int, int]) -> None:
        self._problem, self._effort, self._limits = problem, effort, limits
        self._state = State(problem.replace(max_migrations=None, max_moved_mib=None), problem.origin)
        moved = np.unique(problem.bundle_of[problem.migrated(assignment)])
        self._target = {int(b): int(assignment[problem.leads[b]]) for b in moved}
        self._pending, self._stopped = set(self._target), set[int]()
        self._leads = problem.leads[moved]
        self._seen: dict[bytes, int] = {}
        self._work = WORK
        self._kept_apart = {int(problem.bundle_of[g]) for rule in problem.apart for g in rule.guests}
        self._kept_apart |= {int(problem.bundle_of[g]) for group in problem.together for g in group}
        self.hops: list[Hop] = []

    @property
    def exhausted(self) -> bool:
        """Whether no more is looked at."""
        return self._work <= 0

    def find(self, stops: int) -> bool:
        """Whether all pending bundles get to their targets with so many stops; `hops` then says how."""
        mark = len(self.hops)
        if not stops or len(self._pending) > MOST:  # of a few, one that stops somewhere might need the room
            self._send_the_free()
        if not self._pending:
            return True
        key = self._state.assignment[self._leads].tobytes()
        if self._seen.get(key, -1) < stops and len(self._pending) <= MOST:
            self._seen[key] = stops
            for bundle, node in self._ways(stops):
                bypass = node != self._target[bundle]
                self._go(bundle, node, bypass=bypass)
                if self.find(stops - bypass):
                    return True
                self._back()
        while len(self.hops) > mark:
            self._back()
        return False

    def _send_the_free(self) -> None:
        """Bundles that take nothing from anybody when they go to their targets now."""
        again = True
        while again and not self.exhausted:
            again = False
            wanted = np.zeros_like(self._state.usage)
            for bundle in self._pending:
                wanted[self._target[bundle]] += self._problem.bundle_needs[bundle]
            roomy = np.asarray((self._state.usage + wanted <= self._problem.capacity).all(axis=1))
            for bundle in sorted(self._pending):
                node = self._target[bundle]
                if roomy[node] and bundle not in self._kept_apart and self._may_go(bundle, node):
                    self._go(bundle, node, bypass=False)
                    again = True

    def _ways(self, stops: int) -> Iterator[tuple[int, int]]:
        """What may be done next: a bundle to its target, or to a third node, those in the way of others first."""
        order = sorted(self._pending, key=lambda b: (int(self._effort.bypass[b]), b))
        for bundle in order:
            if self._may_go(bundle, self._target[bundle]):
                yield bundle, self._target[bundle]
        if not stops:
            return
        wanted = {self._target[bundle] for bundle in self._pending}
        order.sort(key=lambda b: self._state.node(b) not in wanted and b not in self._kept_apart)
        for bundle in order:
            if bundle not in self._stopped and self._affords(bundle):
                self._work -= 1
                legal = [int(node) for node in np.flatnonzero(self._state.legal(bundle))]
                for node in sorted(legal, key=lambda n: n in wanted):
                    if node != self._target[bundle]:
                        yield bundle, node

    def _affords(self, bundle: int) -> bool:
        """Whether the limits allow one more stop."""
        stopped = [*self._stopped, bundle]
        problem, (migrations, mib) = self._problem, self._limits
        return int(problem.bundle_sizes[stopped].sum()) <= migrations and int(problem.bundle_mib[stopped].sum()) <= mib

    def _may_go(self, bundle: int, node: int) -> bool:
        self._work -= 1
        return not self.exhausted and self._state.may_go(bundle, node)

    def _go(self, bundle: int, node: int, *, bypass: bool) -> None:
        self.hops.append(Hop(bundle, self._state.node(bundle), node, bypass))
        self._state.migrate(bundle, node)
        (self._stopped.add if bypass else self._pending.remove)(bundle)

    def _back(self) -> None:
        """Take back the last hop."""
        hop = self.hops.pop()
        self._state.migrate(hop.bundle, hop.source)
        (self._stopped.remove if hop.bypass else self._pending.add)(hop.bundle)
