"""Owns linear programs as arrays, and their solving: relaxed by GLOP, whole by SCIP; the bound that duals prove."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ortools.linear_solver.python import model_builder

from solvers.problem import Bools, Ints

Floats = npt.NDArray[np.float64]

INFINITE = float("inf")


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solver says of a program."""

    values: Floats | None
    """(columns,) None when nothing was found."""
    bound: float
    """No values cost less; infinite when there are none at all."""
    duals: Floats
    """(rows,) of the relaxed program; otherwise empty."""
    proven: bool = False
    """Whether no other values cost less, within the solver's tolerances, or there are none."""


class Program:
    """Minimise cost over 0 <= column <= upper, with rows `sum of value x column >= bound`."""

    def __init__(self) -> None:
        self._upper: list[Floats] = []
        self._cost: list[Floats] = []
        self._slack: list[Bools] = []
        self._columns: list[Ints] = []
        self._values: list[Floats] = []
        self._bounds: list[float] = []
        self.width = 0

    def add_columns(self, number: int, upper: npt.ArrayLike, cost: npt.ArrayLike, *, slack: bool = False) -> Ints:
        """Indices of new columns. They are whole numbers when the program is solved whole, except slack: that buys
        what a row is short of."""
        self._upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), (number,)))
        self._cost.append(np.broadcast_to(np.asarray(cost, dtype=np.float64), (number,)))
        self._slack.append(np.full(number, slack))
        self.width += number
        return np.arange(self.width - number, self.width)

    def add_row(self, columns: Ints, values: npt.ArrayLike, bound: float) -> None:
        """A row `sum of value x column >= bound`."""
        self._columns.append(columns)
        self._values.append(np.broadcast_to(np.asarray(values, dtype=np.float64), columns.shape))
        self._bounds.append(float(bound))

    def relaxed(self) -> Solution:
        """Solve with fractions. The bound comes from the duals alone, whatever the solver's tolerances, and is that of
        the program without slack."""
        model, rows = self._model(whole=False)
        solver = model_builder.Solver("GLOP")
        if solver.solve(model) != model_builder.SolveStatus.OPTIMAL:
            return Solution(None, 0.0, np.zeros(len(rows)))
        duals = np.array([solver.dual_value(row) for row in rows])
        return Solution(self._read(solver), self.lagrange(duals), duals)

    def whole(self, seconds: float, seed: int = 0, *, first: bool = False, nodes: int = 0) -> Solution:
        """Solve with whole numbers; `first` ends with the first values found, `nodes` limits the search tree.

        SCIP cannot be interrupted here: see solvers.run.in_threads for how Ctrl-C is heard."""
        model, _ = self._model(whole=True)
        solver = model_builder.Solver("SCIP")
        # SCIP would keep Ctrl-C for itself: Python never heard of it, and the search went on.
        settings = ["misc/catchctrlc = FALSE", f"randomization/randomseedshift = {seed % 2**31}"]
        settings += ["limits/solutions = 1"] * first + [f"limits/nodes = {nodes}"] * (nodes > 0)
        solver.set_solver_specific_parameters("\n".join(settings))
        solver.set_time_limit_in_seconds(max(seconds, 0.01))
        status = solver.solve(model)
        proven = status == model_builder.SolveStatus.OPTIMAL
        if proven or status == model_builder.SolveStatus.FEASIBLE:
            return Solution(self._read(solver), float(solver.best_objective_bound), np.empty(0), proven)
        impossible = status == model_builder.SolveStatus.INFEASIBLE
        return Solution(None, INFINITE if impossible else 0.0, np.empty(0), impossible)

    def reduced(self, duals: Floats) -> Floats:
        """(columns,) what each costs beyond what it is worth at duals >= 0."""
        cost = np.concatenate(self._cost)
        if not self._columns:
            return cost
        lengths = [len(columns) for columns in self._columns]
        values = np.concatenate(self._values) * np.repeat(np.maximum(duals, 0.0), lengths)
        return np.asarray(cost - np.bincount(np.concatenate(self._columns), values, self.width), dtype=np.float64)

    def lagrange(self, duals: Floats) -> float:
        """The bound that any duals >= 0 prove: sum of duals x bounds, less what columns in the box can win back."""
        kept = ~np.concatenate(self._slack)
        won = np.minimum(self.reduced(duals), 0.0)[kept] * np.concatenate(self._upper)[kept]
        return float(np.maximum(duals, 0.0) @ np.array(self._bounds) + won.sum())

    def _read(self, solver: model_builder.Solver) -> Floats:
        return np.array([solver.value(variable) for variable in self._variables], dtype=np.float64)

    def _model(self, *, whole: bool) -> tuple[model_builder.Model, list[model_builder.LinearConstraint]]:
        model = model_builder.Model()  # type: ignore[no-untyped-call]
        upper, cost, slack = (np.concatenate(part).tolist() for part in (self._upper, self._cost, self._slack))
        variables = [model.new_var(0.0, most, whole and not s, None) for most, s in zip(upper, slack, strict=True)]
        rows = [
            model.add_linear_constraint(
                model_builder.LinearExpr.weighted_sum([variables[i] for i in columns.tolist()], values.tolist()),
                lb=bound,
            )
            for columns, values, bound in zip(self._columns, self._values, self._bounds, strict=True)
        ]
        model.minimize(model_builder.LinearExpr.weighted_sum(variables, cost))
        self._variables = variables
        return model, rows
