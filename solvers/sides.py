"""Owns the counts of one rule that keeps guests apart: how many sides each domain has while bundles come and go."""

import numpy as np

from solvers.problem import Apart, Bools, Ints, Problem


class Sides:
    """Sides present in each domain under an assignment in the making.

    Where sides are single guests their number says it all; otherwise the guests of each are counted.
    """

    def __init__(self, problem: Problem, rule: Apart, assignment: Ints) -> None:
        self._most = rule.most
        self._domain = rule.domain_of(problem.nodes)
        self.by_domain = bool(rule.domains)
        """Whether domains may be of several nodes."""
        self.of: dict[int, dict[int, int]] = {}
        """bundle -> side -> how many of the bundle's guests are of it."""
        for side, members in enumerate(rule.sides):
            for guest in members:
                sides = self.of.setdefault(int(problem.bundle_of[guest]), {})
                sides[side] = sides.get(side, 0) + 1
        guests, domains = list(rule.guests), int(self._domain.max(initial=-1)) + 1
        at = self._domain[assignment[guests]]
        self._guests: Ints | None = None
        if len(guests) == len(rule.sides):
            self._present = np.bincount(at, minlength=domains).astype(np.int64)
        else:
            self._guests = np.zeros((len(rule.sides), domains), dtype=np.int64)
            np.add.at(self._guests, (np.repeat(np.arange(len(rule.sides)), [len(s) for s in rule.sides]), at), 1)
            self._present = np.count_nonzero(self._guests, axis=0).astype(np.int64)

    def admits(self, bundle: int, now: int, nodes: int | slice) -> Bools:
        """Whether a bundle that is on node `now` may come to others: as one for `int` and (n,) for `slice`.

        In a domain that it does not leave nothing changes. One that is too much by itself may be alone.
        """
        if not self.by_domain and self._guests is None and len(self.of[bundle]) <= self._most:  # as most rules are
            return np.asarray(self._present[nodes] + len(self.of[bundle]) <= self._most, dtype=np.bool_)
        to, home = self._domain[nodes], int(self._domain[now])
        present, own = self._present[to], len(self.of[bundle])
        result = (to == home) | (present + self._joining(bundle, to) <= self._most)
        if own > self._most:
            left = max(self._most, int(self._present[home]) - self._leaving(bundle, home))
            result |= (present == 0) & (left + own <= self._present[home])
        return np.asarray(result, dtype=np.bool_)

    def mended(self, bundle: int, now: int, node: int) -> int:
        """How many violations fewer there are when a bundle goes from node `now` to another."""
        to, home = int(self._domain[node]), int(self._domain[now])
        if to == home:
            return 0
        here, there = int(self._present[home]), int(self._present[to])
        left, full = here - self._leaving(bundle, home), there + int(self._joining(bundle, self._domain[node]))
        return self._beyond(here) + self._beyond(there) - self._beyond(left) - self._beyond(full)

    def offends(self, bundle: int, now: int) -> bool:
        """Whether there are fewer violations when a bundle leaves node `now` and is alone."""
        home = int(self._domain[now])
        here = int(self._present[home])
        left = here - self._leaving(bundle, home)
        return self._beyond(here) > self._beyond(left) + self._beyond(len(self.of[bundle]))

    def migrate(self, bundle: int, now: int, node: int) -> None:
        """Take over that a bundle goes from node `now` to another."""
        to, home = int(self._domain[node]), int(self._domain[now])
        if to != home:
            self._leave(bundle, home)
            self._arrive(bundle, to)

    def arrive(self, bundle: int, now: int, node: int) -> None:
        """Take over that a bundle on node `now` is on another as well."""
        to = int(self._domain[node])
        if to != self._domain[now]:
            self._arrive(bundle, to)

    def leave(self, bundle: int, node: int, target: int) -> None:
        """Take over that a bundle which is on `target` as well is no longer on a node."""
        home = int(self._domain[node])
        if home != self._domain[target]:
            self._leave(bundle, home)

    def _arrive(self, bundle: int, to: int) -> None:
        self._present[to] += self._joining(bundle, to)
        if self._guests is not None:
            for side, guests in self.of[bundle].items():
                self._guests[side, to] += guests

    def _leave(self, bundle: int, home: int) -> None:
        self._present[home] -= self._leaving(bundle, home)
        if self._guests is not None:
            for side, guests in self.of[bundle].items():
                self._guests[side, home] -= guests

    def _beyond(self, sides: int) -> int:
        return max(0, sides - self._most)

    def _leaving(self, bundle: int, home: int) -> int:
        """Sides that its domain loses with a bundle."""
        if self._guests is None:
            return len(self.of[bundle])
        return sum(int(self._guests[side, home] == guests) for side, guests in self.of[bundle].items())

    def _joining(self, bundle: int, to: int | Ints) -> Ints:
        """Sides that domains gain with a bundle that is in none of them."""
        if self._guests is None:
            return np.full(np.shape(to), len(self.of[bundle]), dtype=np.int64)
        return np.asarray((self._guests[list(self.of[bundle])][:, to] == 0).sum(axis=0), dtype=np.int64)
