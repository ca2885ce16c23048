"""Owns what single migrations would gain: tables over some nodes and the bundles on them, patched as bundles migrate.

A gain is a change of the potential, which is how far loads are beyond a band. It is a sum over nodes, so a
migration's is that of the node it leaves and that of the node it comes to. Loads in the tables are floats: they
rank; what is done is done and counted in the state.
"""

from typing import NamedTuple

import numpy as np

from solvers.band import Band, Floats
from solvers.problem import PPM, Bools, Ints, Problem
from solvers.state import State

NEVER = np.inf
"""The gain of what is not allowed; gains are better the lower."""


class Traits(NamedTuple):
    """What searches ask about bundles, computed once."""

    demand: Floats
    """(k, b) what a bundle adds to each metric, in units of ability of 1 ppm."""
    size: Ints
    """(b,) guests."""
    mib: Ints
    """(b,) MiB that migrating it copies."""
    movable: Bools
    """(b,)"""
    kind: Ints
    """(b,) row of `allowed`."""
    allowed: Bools
    """(kinds, n) where bundles of a kind may be."""


def traits(problem: Problem) -> Traits:
    """The traits of all bundles of a problem."""
    demand = np.array([problem.by_bundle(row) for row in problem.demand], dtype=np.float64) * PPM
    size = problem.bundle_sizes
    kind = problem.eligible[problem.leads].astype(np.int64)
    allowed = list(problem.eligibility)
    for bundle in np.flatnonzero(size > 1):
        kind[bundle] = len(allowed)
        allowed.append(problem.allowed(problem.bundles[bundle]))
    demand = demand.reshape(problem.metrics, len(problem.bundles))
    return Traits(demand, size, problem.bundle_mib, problem.bundle_movable, kind, np.array(allowed))


class Gains:
    """Tables over some nodes (columns) and bundles on them (rows); inside, both are known by their position."""

    def __init__(self, state: State, of: Traits, band: Band, nodes: Ints, bundles: Ints) -> None:
        problem = state.problem
        self.state, self.nodes, self.bundles = state, nodes, bundles
        self.column = np.full(problem.nodes, -1)
        self.column[nodes] = np.arange(len(nodes))
        self.row = np.full(len(problem.bundles), -1)
        self.rows = self.row[bundles] = np.arange(len(bundles))
        self.demand, self.inverse = of.demand[:, bundles], 1.0 / problem.ability[:, nodes]
        self.needs, self.capacity = problem.bundle_needs[bundles], problem.capacity[nodes]
        self.size, self.mib = of.size[bundles], of.mib[bundles]
        self.home = self.column[problem.homes[bundles]]
        self.counted = problem.balanced[nodes].astype(np.float64)
        self.barred = np.where(of.allowed[of.kind[bundles]][:, nodes], 0.0, NEVER)
        self.coming = np.empty((len(bundles), len(nodes)))
        self.refresh(band)

    def refresh(self, band: Band) -> None:
        """Fill the tables from the state, for a band."""
        self.band = band
        self.at = self.column[self.state.assignment[self.state.problem.leads[self.bundles]]]
        self.loads = self.state.loads[:, self.nodes].astype(np.float64)
        self.usage = self.state.usage[self.nodes]
        self._fill(np.arange(len(self.nodes)))

    def patch(self, bundles: Ints, nodes: Ints) -> None:
        """Take over that bundles have migrated, which has changed these nodes."""
        self.at[self.row[bundles]] = self.column[self.state.assignment[self.state.problem.leads[bundles]]]
        columns = self.column[nodes]
        self.loads[:, columns] = self.state.loads[:, nodes]
        self.usage[columns] = self.state.usage[nodes]
        self._fill(columns)

    def _fill(self, columns: Ints) -> None:
        self.coming[:, columns] = self.come(columns, self.loads[:, columns], self.usage[columns]).T
        self.coming[self.rows, self.at] = NEVER
        self.weight = np.rint(self.demand * self.inverse[:, self.at])
        self.leaving = self.leave(self.rows, self.loads[:, self.at])

    def come(self, columns: Ints, loads: Floats, usage: Ints) -> Floats:
        """(c, b) gain at each of `columns` if a bundle comes to it, when loads (k, c) and usage (c, r) are these."""
        weights = np.rint(self.demand[:, None, :] * self.inverse[:, columns][:, :, None])
        result = self.band.beyond(loads[:, :, None] + weights)
        result -= self.band.beyond(loads)[:, None]
        result *= self.counted[columns][:, None]
        result += self.barred[:, columns].T
        for r, need in enumerate(self.needs.T):
            room = self.capacity[columns, r] - usage[:, r]
            result[(need > room[:, None]) & (need > 0)] = NEVER
        return result

    def leave(self, rows: Ints, loads: Floats) -> Floats:
        """Gain at the nodes that bundles leave, when the loads of those nodes (k, rows) are these."""
        change = self.band.beyond(loads - self.weight[:, rows]) - self.band.beyond(loads)
        return np.asarray(change * self.counted[self.at[rows]], dtype=np.float64)

    def excess(self) -> Floats:
        """(columns,) potential of each node."""
        return np.asarray(self.band.beyond(self.loads) * self.counted, dtype=np.float64)

    def best_two(self) -> tuple[Ints, Floats, Ints, Floats]:
        """Per bundle the best column to come to and its gain, and the second best."""
        first = self.coming.argmin(axis=1)
        gain = self.coming[self.rows, first]
        self.coming[self.rows, first] = NEVER
        second = self.coming.argmin(axis=1)
        other = self.coming[self.rows, second]
        self.coming[self.rows, first] = gain
        return first, gain, second, other
