"""Owns the relaxation of one metric: how little migrating brings every balanced node into a window of loads.

Guests leave node by node and arrive as counts per node and size class, so it has guests + nodes x classes columns.
A guest covers at most what a node has to lose or to gain, and a node needs whole migrations: with both, constants
of the window, the linear relaxation is nearly whole. Solved whole it leaves out only who exactly arrives where.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from solvers.linear import INFINITE, Floats, Program
from solvers.problem import PPM, Bools, Cost, Ints, Problem

CLASSES = 48
"""Size classes at most, unless sizes are given: the finer, the tighter and the slower."""
SMALLEST = 20
"""Part of the largest size that the second smallest class has: below it, what is migrated hardly differs."""
SHORTFALL = 3.0
"""Price in limits of leaving a node a whole window short: keeps every window feasible, at a price above any limit."""
UNIT = 10_000
"""ppm per unit of a row, so that coefficients are of the size of one."""
TOLERANCE = 2
"""ppm by which a window is wider when it is decided in floating point: far more than the solver's tolerances."""

ROUNDING, ROUNDED = 1e-6, 0.4
"""Part of a toll that may be a matter of floating point, and how much of it at most: tolls are whole."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What the relaxation says of a window."""

    toll: float
    """No assignment within the window costs less."""
    leaving: Ints
    """Bundles that leave, wholly or in part."""
    excess: Floats
    """(bundles of the problem,) toll by which the relaxation gets dearer, at least, when a bundle leaves; infinite
    for those that cannot."""
    arriving: Floats
    """(c, n) the same for an arrival of a class on a node."""


class Relaxation:
    """The relaxation of metric `k` of a problem, for any window; size classes begin at `sizes` (demands, rising)."""

    def __init__(self, problem: Problem, k: int, sizes: Ints | None = None) -> None:
        self.problem, self.k, self._sizes = problem, k, sizes
        self.load = problem.loads(problem.origin)[k]
        self.balanced = np.flatnonzero(problem.balanced)
        can_leave = np.array([len(problem.targets(b)) > 0 for b in range(len(problem.bundles))], dtype=bool)
        demand = problem.by_bundle(problem.demand[k])
        self.bundles = np.flatnonzero(can_leave & (demand > 0))
        self.size = demand[self.bundles]
        self.count = problem.bundle_sizes[self.bundles]
        self._mib = problem.bundle_mib[self.bundles]
        home = problem.homes[self.bundles]
        weight = problem.weights(np.arange(problem.guests), problem.origin)[k]
        self.weight = problem.by_bundle(weight)[self.bundles]
        order = np.argsort(home, kind="stable")
        ends = np.searchsorted(home[order], self.balanced, side="right")
        starts = np.searchsorted(home[order], self.balanced, side="left")
        self.on = {int(n): order[a:b] for n, a, b in zip(self.balanced, starts, ends, strict=True)}
        self._settle_tolls()

    def _settle_tolls(self) -> None:
        """What is minimised, and its limit; the other limit is a row."""
        problem = self.problem
        first, second = (self.count, problem.max_migrations), (self._mib, problem.max_moved_mib)
        (self.toll, limit), (self._other, self._other_limit) = (
            (second, first) if counts_mib(problem) else (first, second)
        )
        whole = int(self.toll.sum())
        self.limit = whole if limit is None else min(limit, whole)
        number = int(self.count.sum())
        self.most = number if problem.max_migrations is None else min(problem.max_migrations, number)

    def refined(self, bundles: Ints) -> Self:
        """The same with a size class of its own for each of some bundles."""
        sizes = self.problem.by_bundle(self.problem.demand[self.k])[bundles]
        return type(self)(self.problem, self.k, np.union1d(self._grid, sizes[sizes > 0]))

    @cached_property
    def _grid(self) -> Ints:
        sizes = np.unique(self.size)
        if len(sizes) <= CLASSES:
            return sizes
        most = float(sizes[-1])
        grid = np.exp(np.linspace(np.log(max(most / SMALLEST, float(sizes[0]))), np.log(most), CLASSES))
        return np.unique(grid.astype(np.int64))

    @cached_property
    def classes(self) -> Ints:
        """(leaving bundles,) size class of each."""
        if not len(self.size):
            return np.empty(0, dtype=np.int64)
        grid = self._grid if self._sizes is None else self._sizes
        drawn = np.clip(np.searchsorted(grid, self.size, side="right") - 1, 0, None)
        return np.unique(drawn, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def _extent(self) -> tuple[Ints, Ints, Ints]:
        """(c,) smallest and largest demand of a class, and its largest bundle."""
        number = int(self.classes.max(initial=-1)) + 1
        low, high, most = (
            np.full(number, np.iinfo(np.int64).max),
            np.zeros(number, np.int64),
            np.zeros(number, np.int64),
        )
        np.minimum.at(low, self.classes, self.size)
        np.maximum.at(high, self.classes, self.size)
        np.maximum.at(most, self.classes, self.count)
        return low, high, most

    @cached_property
    def _largest(self) -> Ints:
        """Demands of the largest bundles, as many as the limit allows to arrive."""
        return np.sort(self.size)[::-1][: self.most]

    @property
    def least(self) -> int:
        """ppm that no load goes below."""
        return int(self.problem.base[self.k, self.balanced].min()) - 1

    @property
    def mean(self) -> int:
        """ppm that the emptiest balanced node never exceeds: the load if all guests were spread evenly over them."""
        return self.problem.mean(self.k)

    def fits(self, low: int, high: int) -> bool:
        """False: proven that no assignment within the limits has every balanced load within [low, high] ppm."""
        return not self.exceeds(self._priced(low, high)[0].relaxed().bound)

    def possible(self, fit: Fit) -> Bools:
        """(bundles, n) migrations that may be part of an assignment within the limit, as far as what the relaxation
        says of its window shows: others make it dearer than that (reduced costs)."""
        left = self.limit + rounding(self.limit) - fit.toll
        result = np.zeros((len(self.problem.bundles), self.problem.nodes), dtype=bool)
        result[self.bundles] = fit.excess[self.bundles, None] + fit.arriving[self.classes] <= left
        return result

    def exceeds(self, toll: float) -> bool:
        """Whether a toll is beyond the limit by more than rounding."""
        return toll > self.limit + rounding(self.limit)

    def fewest(self, low: int, high: int) -> Fit:
        """Least toll into the window [low, high], in ppm, by the linear relaxation."""
        program, leave, arrive = self._priced(low, high)
        solution = program.relaxed()
        dearer = np.maximum(program.reduced(solution.duals), 0.0)
        excess = np.full(len(self.problem.bundles), INFINITE)
        values = np.zeros(program.width) if solution.values is None else solution.values
        excess[self.bundles] = np.where(values[leave] > 1e-6, 0.0, dearer[leave])
        leaving = self.bundles[values[leave] > 1e-6]
        return Fit(solution.bound, leaving, excess, dearer[arrive].reshape(-1, self.problem.nodes))

    def rules_out(self, low: int, high: int, seconds: float, seed: int = 0, nodes: int = 0) -> bool:
        """Whether whole migrations within the limit are proven not to reach the window, whoever arrives where."""
        program, _, _ = self._program(low - TOLERANCE, high + TOLERANCE)
        return self.exceeds(program.whole(seconds, seed, nodes=nodes, limit=self.limit).bound)

    def _priced(self, low: int, high: int) -> tuple[Program, Ints, Ints]:
        """The program that always has a solution: it buys what nodes are short of."""
        return self._program(low, high, price=SHORTFALL * max(1, self.limit))

    def _program(self, low: int, high: int, price: float = 0.0) -> tuple[Program, Ints, Ints]:
        """Columns: who leaves, then how many of each class arrive on each node; with a price, what nodes are short."""
        program, bundles = Program(), len(self.bundles)
        leave = program.add_columns(bundles, 1.0, self.toll)
        arrive = program.add_columns(len(self._extent[0]) * self.problem.nodes, float(self.most), 0.0)
        for node in map(int, self.balanced):
            self._add_node(program, node, low, high, price)
        for c in range(len(self._extent[0])):
            leaving = np.flatnonzero(self.classes == c)
            columns = np.concatenate([leaving, bundles + c * self.problem.nodes + np.arange(self.problem.nodes)])
            balance = np.concatenate([np.ones(len(leaving)), -np.ones(self.problem.nodes)])
            program.add_row(columns, balance, 0.0)
            program.add_row(columns, -balance, 0.0)
        if self._other_limit is not None:
            program.add_row(leave, -self._other / max(1, self._other_limit), -1.0 - 1e-9)
        return program, leave, arrive

    def _add_node(self, program: Program, node: int, low: int, high: int, price: float) -> None:
        """What a node has to lose and to gain: exactly, truncated, and as a number of migrations."""
        problem, leaving = self.problem, self.on[node]
        least, most, largest = self._extent
        ability = int(problem.ability[self.k, node])
        light, heavy = least * PPM // ability - largest, most * PPM // ability + largest + 1
        arriving = len(self.bundles) + np.arange(len(least)) * problem.nodes + node
        columns = np.concatenate([leaving, arriving])
        weight, excess, lack = self.weight[leaving], int(self.load[node]) - high, low - int(self.load[node])

        def need(columns: Ints, values: Floats, bound: float) -> None:
            if bound > 0 and price:
                short = program.add_columns(1, 1.0, price, slack=True)
                columns, values = np.concatenate([columns, short]), np.concatenate([values, [bound]])
            program.add_row(columns, values, bound)

        need(columns, np.concatenate([weight, -np.maximum(light, 0)]) / UNIT, excess / UNIT)
        need(columns, np.concatenate([-weight, heavy]) / UNIT, lack / UNIT)
        if excess > 0:
            need(leaving, np.minimum(weight, excess) / UNIT, excess / UNIT)
            need(leaving, np.ones(len(leaving)), _whole(weight, excess))
        if lack > 0:
            need(arriving, np.minimum(heavy, lack) / UNIT, lack / UNIT)
            most_each = self._largest * PPM // ability + largest.max(initial=0) + 1
            need(arriving, np.ones(len(arriving)), _whole(most_each, lack))


def _whole(weights: Ints, amount: int) -> float:
    """Fewest of some weights that add up to an amount; more than there are if all are too little."""
    reached = np.cumsum(np.sort(weights)[::-1])
    return float(np.searchsorted(reached, amount) + 1)


def rounding(toll: float) -> float:
    """How much of a toll may be a matter of floating point."""
    return min(ROUNDED, ROUNDING * max(1.0, toll))


def columns(problem: Problem) -> int:
    """Columns of a relaxation, about: who leaves, and what arrives where."""
    return problem.nodes * CLASSES + problem.guests


def counts_mib(problem: Problem) -> bool:
    """Whether the toll is MiB copied, as a plan of least GiB asks for, and not migrations."""
    return problem.goal > 0 and problem.prefer is Cost.MIB
