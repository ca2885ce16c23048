"""Owns the linear relaxation of one metric: how few migrations bring every balanced node into a window of loads.

Guests leave node by node as fractions of themselves and arrive as counts per node and size class, so it has
guests + nodes x classes variables. A guest covers at most what a node has to lose or to gain, and a node needs
whole migrations: with both, constants of the window, the relaxation is nearly integral. Any vector of duals
gives a lower bound (Lagrange), so what is claimed does not depend on the tolerances of the linear solver.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from solvers.problem import PPM, Ints, Problem

Floats = npt.NDArray[np.float64]

CLASSES = 48
"""Size classes at most: the finer, the tighter and the slower."""
SHORTFALL = 3.0
"""Price in limits of leaving a node a whole window short: keeps every window feasible, at a price above any limit."""
UNIT = 10_000
"""ppm per unit of a row, so that coefficients are of the size of one."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What the relaxation says of a window."""

    migrations: float
    """No assignment within the window needs fewer."""
    leaving: Ints
    """Bundles that leave, wholly or in part."""
    receiving: Ints
    """Nodes that receive."""


class Rows:
    """Linear rows `sum of value x column >= bound`, collected as arrays."""

    def __init__(self) -> None:
        self.columns: list[Ints] = []
        self.values: list[Floats] = []
        self.bounds: list[float] = []

    def add(self, columns: Ints, values: npt.ArrayLike, bound: float) -> None:
        """Add one row."""
        self.columns.append(columns)
        self.values.append(np.broadcast_to(np.asarray(values, dtype=np.float64), columns.shape))
        self.bounds.append(bound)


class Relaxation:
    """The relaxation of metric `k` of a problem, for any window."""

    def __init__(self, problem: Problem, k: int) -> None:
        self.problem, self.k = problem, k
        self.load = problem.loads(problem.origin)[k]
        self.balanced = np.flatnonzero(problem.balanced)
        can_leave = np.array([len(problem.targets(b)) > 0 for b in range(len(problem.bundles))], dtype=bool)
        demand = np.bincount(problem.bundle_of, problem.demand[k], len(problem.bundles)).astype(np.int64)
        self.bundles = np.flatnonzero(can_leave & (demand > 0))
        self.size = demand[self.bundles]
        self.count = np.bincount(problem.bundle_of, minlength=len(problem.bundles))[self.bundles]
        home = problem.homes[self.bundles]
        weight = problem.weights(np.arange(problem.guests), problem.origin)[k]
        self.weight = np.bincount(problem.bundle_of, weight, len(problem.bundles)).astype(np.int64)[self.bundles]
        self.on = {int(node): np.flatnonzero(home == node) for node in self.balanced}
        limit = problem.max_migrations
        self.limit = int(self.count.sum()) if limit is None else min(limit, int(self.count.sum()))

    @cached_property
    def classes(self) -> Ints:
        """(leaving bundles,) size class of each."""
        if not len(self.size):
            return np.empty(0, dtype=np.int64)
        sizes = np.unique(self.size)
        if len(sizes) > CLASSES:
            most = float(sizes[-1])
            sizes = np.exp(np.linspace(np.log(max(most / 300, float(sizes[0]))), np.log(most), CLASSES))
        drawn = np.clip(np.searchsorted(sizes, self.size, side="right") - 1, 0, None)
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
        return np.sort(self.size)[::-1][: self.limit]

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
        return self.fewest(low, high).migrations <= self.limit + 1e-6

    def fewest(self, low: int, high: int) -> Fit:
        """Fewest migrations into the window [low, high], in ppm, by the relaxation."""
        rows = self._rows(low, high)
        bundles, number = len(self.bundles), len(self._extent[0])
        width = bundles + number * self.problem.nodes
        upper = np.concatenate([np.ones(bundles), np.full(number * self.problem.nodes, float(self.limit))])
        cost = np.concatenate([self.count.astype(np.float64), np.zeros(width - bundles)])
        values, duals = self._solve(rows, upper, cost)
        arriving = values[bundles:].reshape(number, self.problem.nodes).sum(axis=0)
        return Fit(
            _lagrange(rows, upper, cost, duals),
            self.bundles[values[:bundles] > 1e-6],
            np.flatnonzero(arriving > 1e-6),
        )

    def _rows(self, low: int, high: int) -> Rows:
        rows = Rows()
        for node in map(int, self.balanced):
            self._add_node(rows, node, low, high)
        bundles = len(self.bundles)
        for c in range(len(self._extent[0])):
            leaving = np.flatnonzero(self.classes == c)
            arriving = bundles + c * self.problem.nodes + np.arange(self.problem.nodes)
            columns = np.concatenate([leaving, arriving])
            balance = np.concatenate([np.ones(len(leaving)), -np.ones(len(arriving))])
            rows.add(columns, balance, 0.0)
            rows.add(columns, -balance, 0.0)
        return rows

    def _add_node(self, rows: Rows, node: int, low: int, high: int) -> None:
        """What a node has to lose and to gain: exactly, truncated, and as a number of migrations."""
        problem, leaving = self.problem, self.on[node]
        least, most, largest = self._extent
        ability = int(problem.ability[self.k, node])
        light, heavy = least * PPM // ability - largest, most * PPM // ability + largest + 1
        arriving = len(self.bundles) + np.arange(len(least)) * problem.nodes + node
        columns = np.concatenate([leaving, arriving])
        weight, excess, lack = self.weight[leaving], int(self.load[node]) - high, low - int(self.load[node])
        rows.add(columns, np.concatenate([weight, -np.maximum(light, 0)]) / UNIT, excess / UNIT)
        rows.add(columns, np.concatenate([-weight, heavy]) / UNIT, lack / UNIT)
        if excess > 0:
            rows.add(leaving, np.minimum(weight, excess) / UNIT, excess / UNIT)
            rows.add(leaving, 1.0, _whole(weight, excess))
        if lack > 0:
            rows.add(arriving, np.minimum(heavy, lack) / UNIT, lack / UNIT)
            rows.add(arriving, 1.0, _whole(self._largest * PPM // ability + largest.max(initial=0) + 1, lack))

    def _solve(self, rows: Rows, upper: Floats, cost: Floats) -> tuple[Floats, Floats]:
        """Values of the variables and duals of the rows."""
        from ortools.linear_solver.python import model_builder

        model = model_builder.Model()  # type: ignore[no-untyped-call]
        columns = [model.new_num_var(0.0, float(most), None) for most in upper]
        price = SHORTFALL * max(1, self.limit)
        prices, constraints = [], []
        for indices, values, bound in zip(rows.columns, rows.values, rows.bounds, strict=True):
            terms, factors = [columns[i] for i in indices.tolist()], values.tolist()
            if bound > 0:
                prices.append(model.new_num_var(0.0, 1.0, None))
                terms, factors = [*terms, prices[-1]], [*factors, bound]
            constraints.append(
                model.add_linear_constraint(model_builder.LinearExpr.weighted_sum(terms, factors), lb=bound)
            )
        model.minimize(
            model_builder.LinearExpr.weighted_sum([*columns, *prices], [*cost.tolist(), *[price] * len(prices)])
        )
        solver = model_builder.Solver("GLOP")
        if solver.solve(model) != model_builder.SolveStatus.OPTIMAL:
            return np.zeros(len(upper)), np.zeros(len(constraints))
        values = np.array([solver.value(column) for column in columns])
        return values, np.array([solver.dual_value(row) for row in constraints])


def _whole(weights: Ints, amount: int) -> float:
    """Fewest of some weights that add up to an amount; more than there are if all are too little."""
    reached = np.cumsum(np.sort(weights)[::-1])
    return float(np.searchsorted(reached, amount) + 1)


def _lagrange(rows: Rows, upper: Floats, cost: Floats, duals: Floats) -> float:
    """The bound that any duals >= 0 prove: sum of duals x bounds, less what columns in the box can win back."""
    duals = np.maximum(duals, 0.0)
    lengths = [len(columns) for columns in rows.columns]
    priced = (
        np.bincount(np.concatenate(rows.columns), np.concatenate(rows.values) * np.repeat(duals, lengths), len(cost))
        if lengths
        else np.zeros(len(cost))
    )
    return float(duals @ np.array(rows.bounds) - (np.maximum(priced - cost, 0.0) * upper).sum())
