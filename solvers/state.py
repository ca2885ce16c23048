"""Owns an assignment in the making: which bundle may go where now, and what one migration changes."""

import numpy as np

from solvers.problem import PPM, Bools, Ints, Problem


class State:
    """A mutable assignment with its loads, usage and group counts kept up to date."""

    def __init__(self, problem: Problem, assignment: Ints) -> None:
        self.problem = problem
        self.assignment = assignment.copy()
        self.loads = problem.loads(assignment)
        self.usage = problem.usage(assignment)
        self.migrations = len(problem.migrated(assignment))
        self.moved_mib = problem.moved_mib(assignment)
        self.needs = np.array([problem.needs[b].sum(axis=0) for b in problem.bundles], dtype=np.int64)
        self.needs = self.needs.reshape(len(problem.bundles), problem.capacity.shape[1])
        self._apart = _members(problem, problem.apart)
        self._together = _members(problem, problem.together)
        self._apart_on = self._counts(problem.apart)
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

    def free_ppm(self) -> Ints:
        """(k, n) what is free on each node, in ppm; negative when overfull."""
        return PPM - self.loads

    def legal(self, bundle: int) -> Bools:
        """(n,) nodes a bundle may go to now: eligible, with room, apart, within the limits, splitting nothing."""
        problem = self.problem
        guests, now = problem.bundles[bundle], self.node(bundle)
        result = np.zeros(problem.nodes, dtype=bool)
        result[problem.targets(bundle)] = True
        home = int(problem.origin[guests[0]])
        result[home] = bool(problem.allowed(guests)[home])
        needs = self.needs[bundle]
        result &= ((self.usage + needs <= problem.capacity) | (needs == 0)).all(axis=1)
        for group in self._apart.get(bundle, {}):
            result &= self._apart_on[group] == 0
        for group, members in self._together.get(bundle, {}).items():
            if self._together_on[group][now] > members:
                result[:] = False
        if self._beyond_limits(guests, away=now != home):
            result[np.arange(problem.nodes) != home] = False
        result[now] = False
        return result

    def _beyond_limits(self, guests: Ints, *, away: bool) -> bool:
        """Whether a limit forbids that guests are away from home, beside all others that are."""
        problem = self.problem
        most, most_mib = problem.max_migrations, problem.max_moved_mib
        number, mib = (0, 0) if away else (len(guests), int(problem.copy_mib[guests].sum()))
        return (most is not None and self.migrations + number > most) or (
            most_mib is not None and self.moved_mib + mib > most_mib
        )

    def mended(self, bundle: int, node: int) -> int:
        """How many violations fewer there are when a bundle goes to a node that is legal for it."""
        problem, now = self.problem, self.node(bundle)
        guests = problem.bundles[bundle]
        result = int((~problem.eligibility[problem.eligible[guests], now]).sum())
        for group, members in self._apart.get(bundle, {}).items():
            result += int(self._apart_on[group][now] > members)
        for group in self._together.get(bundle, {}):
            result += int(self._together_on[group][node] > 0)
        over = self.usage[now] > problem.capacity[now]
        return result + int((over & (self.usage[now] - self.needs[bundle] <= problem.capacity[now])).sum())

    def offends(self, bundle: int) -> bool:
        """Whether a bundle takes part in a violation that its leaving could mend."""
        problem, now = self.problem, self.node(bundle)
        guests = problem.bundles[bundle]
        return bool(
            (~problem.eligibility[problem.eligible[guests], now]).any()
            or any(self._apart_on[g][now] > members for g, members in self._apart.get(bundle, {}).items())
            or any(self._together_on[g].sum() > self._together_on[g][now] for g in self._together.get(bundle, {}))
            or ((self.usage[now] > problem.capacity[now]) & (self.needs[bundle] > 0)).any()
        )

    def migrate(self, bundle: int, node: int) -> None:
        """Put a bundle on a node, legal or not."""
        problem, now = self.problem, self.node(bundle)
        guests = problem.bundles[bundle]
        weights = problem.bundle_weights(guests)
        home = int(problem.origin[guests[0]])
        change = int(node != home) - int(now != home)
        self.migrations += len(guests) * change
        self.moved_mib += int(problem.copy_mib[guests].sum()) * change
        self.assignment[guests] = node
        for at, sign in ((now, -1), (node, 1)):
            self.loads[:, at] += sign * weights[:, at]
            self.usage[at] += sign * self.needs[bundle]
            for member_of, counts in ((self._apart, self._apart_on), (self._together, self._together_on)):
                for group, members in member_of.get(bundle, {}).items():
                    counts[group][at] += sign * members

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
