"""Owns an assignment in the making: which bundle may go where now, and what one migration changes."""

import numpy as np

from solvers.presence import admits, apart_by_bundle
from solvers.problem import Bools, Ints, Problem


class State:
    """A mutable assignment with its loads, usage and group counts kept up to date."""

    def __init__(self, problem: Problem, assignment: Ints) -> None:
        self.problem = problem
        self.assignment = assignment.copy()
        self.loads = problem.loads(assignment)
        self.usage = problem.usage(assignment)
        self.migrations = len(problem.migrated(assignment))
        self.moved_mib = problem.moved_mib(assignment)
        self._apart = apart_by_bundle(problem, assignment)
        self._together = _members(problem, problem.together)
        self._together_on = self._counts(problem.together)

    def node(self, bundle: int) -> int:
        """Where a bundle is now."""
        return int(self.assignment[self.problem.bundles[bundle][0]])

    def on(self, node: int) -> Ints:
        """Bundles on a node."""
        return np.unique(self.problem.bundle_of[self.assignment == node])

    def spread(self) -> int:
        """Spread now, in ppm."""
        return self.problem.spread_of(self.loads)

    def legal(self, bundle: int) -> Bools:
        """(n,) nodes a bundle may go to now: eligible, with room, apart, within the limits, splitting nothing."""
        result = self._admits(bundle, slice(None))
        if self.held(bundle):
            result[np.arange(self.problem.nodes) != self.problem.homes[bundle]] = False
        result[self.node(bundle)] = False
        return result

    def may_go(self, bundle: int, node: int) -> bool:
        """Whether a node is legal for a bundle, without a look at the others."""
        if node == self.node(bundle) or (node != self.problem.homes[bundle] and self.held(bundle)):
            return False
        return bool(self._admits(bundle, node))

    def held(self, bundle: int) -> bool:
        """Whether a bundle may go home at most: it is fixed, or a limit is reached."""
        return not self.problem.bundle_movable[bundle] or self._beyond_limits(bundle)

    def _admits(self, bundle: int, nodes: int | slice) -> Bools:
        """Whether eligibility, room and groups let a bundle go to nodes, as one for `int` and (n,) for `slice`."""
        now = self.node(bundle)
        result = admits(self.problem, self.usage, self._apart, bundle, now, nodes)
        for group, members in self._together.get(bundle, {}).items():
            result = result & (self._together_on[group][now] <= members)
        return np.asarray(result, dtype=np.bool_)

    def _beyond_limits(self, bundle: int) -> bool:
        """Whether a limit forbids that a bundle is away from home, beside all others that are."""
        problem = self.problem
        most, most_mib = problem.max_migrations, problem.max_moved_mib
        away = self.node(bundle) != problem.homes[bundle]
        number, mib = (0, 0) if away else (len(problem.bundles[bundle]), int(self.problem.bundle_mib[bundle]))
        return (most is not None and self.migrations + number > most) or (
            most_mib is not None and self.moved_mib + mib > most_mib
        )

    def mended(self, bundle: int, node: int) -> int:
        """How many violations fewer there are when a bundle goes to a node that is legal for it."""
        problem, now = self.problem, self.node(bundle)
        guests = problem.bundles[bundle]
        result = int((~problem.eligibility[problem.eligible[guests], now]).sum())
        for sides in self._apart.get(bundle, ()):
            result += sides.mended(bundle, now, node)
        for group in self._together.get(bundle, {}):
            result += int(self._together_on[group][node] > 0)
        over = self.usage[now] > problem.capacity[now]
        return result + int((over & (self.usage[now] - problem.bundle_needs[bundle] <= problem.capacity[now])).sum())

    def offends(self, bundle: int) -> bool:
        """Whether a bundle takes part in a violation that its leaving could mend."""
        problem, now = self.problem, self.node(bundle)
        guests = problem.bundles[bundle]
        return bool(
            (~problem.eligibility[problem.eligible[guests], now]).any()
            or any(sides.offends(bundle, now) for sides in self._apart.get(bundle, ()))
            or any(len(problem.together[g]) > self._together_on[g][now] for g in self._together.get(bundle, {}))
            or ((self.usage[now] > problem.capacity[now]) & (problem.bundle_needs[bundle] > 0)).any()
        )

    def shares_domains(self, bundle: int) -> bool:
        """Whether a rule keeps a bundle apart from others in domains of several nodes."""
        return any(sides.by_domain for sides in self._apart.get(bundle, ()))

    def suspects(self) -> Ints:
        """Bundles that may offend: members of groups, those on nodes that are overfull or not for them."""
        problem = self.problem
        odd = np.asarray((self.usage > problem.capacity).any(axis=1))[self.assignment]
        odd |= ~problem.eligibility[problem.eligible, self.assignment]
        return np.unique(np.array([*self._apart, *self._together, *problem.bundle_of[odd]], dtype=np.int64))

    def mates(self, bundle: int) -> set[int]:
        """Other nodes that hold guests a bundle belongs together with."""
        groups = (self.problem.together[group] for group in self._together.get(bundle, {}))
        return {int(self.assignment[guest]) for group in groups for guest in group} - {self.node(bundle)}

    def migrate(self, bundle: int, node: int) -> None:
        """Put a bundle on a node, legal or not."""
        problem, now = self.problem, self.node(bundle)
        guests = problem.bundles[bundle]
        home = int(problem.origin[guests[0]])
        change = int(node != home) - int(now != home)
        self.migrations += len(guests) * change
        self.moved_mib += int(self.problem.bundle_mib[bundle]) * change
        self.assignment[guests] = node
        weights = problem.weights(np.array((guests, guests)), np.array(((now,), (node,)))).sum(axis=-1)
        for at, sign, weight in ((now, -1, weights[:, 0]), (node, 1, weights[:, 1])):
            self.loads[:, at] += sign * weight
            self.usage[at] += sign * problem.bundle_needs[bundle]
            for group, members in self._together.get(bundle, {}).items():
                self._together_on[group][at] += sign * members
        for sides in self._apart.get(bundle, ()):
            sides.migrate(bundle, now, node)

    def _counts(self, groups: tuple[tuple[int, ...], ...]) -> list[Ints]:
        nodes = self.problem.nodes
        return [np.bincount(self.assignment[list(group)], minlength=nodes).astype(np.int64) for group in groups]


def _members(problem: Problem, groups: tuple[tuple[int, ...], ...]) -> dict[int, dict[int, int]]:
    """bundle -> group -> how many of the bundle's guests are in the group."""
    result: dict[int, dict[int, int]] = {}
    for index, group in enumerate(groups):
        for guest in group:
            of = result.setdefault(int(problem.bundle_of[guest]), {})
            of[index] = of.get(index, 0) + 1
    return result
