"""Owns linear programs as arrays, and their solving: relaxed by GLOP, whole by SCIP; the bound that duals prove."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ortools.linear_solver.python.model_builder import SolveStatus, Variable
from ortools.linear_solver.python.model_builder_helper import ModelBuilderHelper, ModelSolverHelper

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
        self._upper.append(_of_length(number, upper))
        self._cost.append(_of_length(number, cost))
        self._slack.append(np.full(number, slack))
        self.width += number
        return np.arange(self.width - number, self.width)

    def add_row(self, columns: Ints, values: npt.ArrayLike, bound: float) -> None:
        """A row `sum of value x column >= bound`."""
        self._columns.append(columns)
        self._values.append(_of_length(len(columns), values))
        self._bounds.append(float(bound))

    def relaxed(self) -> Solution:
        """Solve with fractions. The bound comes from the duals alone, whatever the solver's tolerances, and is that of
        the program without slack."""
        solver = ModelSolverHelper("GLOP")
        solver.solve(self._model(whole=False))
        if solver.status() != SolveStatus.OPTIMAL:
            return Solution(None, 0.0, np.zeros(len(self._bounds)))
        duals = np.array(solver.dual_values())
        return Solution(np.array(solver.variable_values()), self.lagrange(duals), duals)

    def whole(self, seconds: float, seed: int = 0, *, nodes: int = 0, limit: int | None = None) -> Solution:
        """Solve with whole numbers; `nodes` limits the search tree, and with a `limit` on costs, which are whole but
        for slack, it ends with values that cost no more, or when there can be none.

        SCIP cannot be interrupted here: see solvers.run.in_threads for how Ctrl-C is heard."""
        # SCIP would keep Ctrl-C for itself: Python never heard of it, and the search went on.
        settings = ["misc/catchctrlc = FALSE", f"randomization/randomseedshift = {seed % 2**31}"]
        settings += [f"limits/nodes = {nodes}"] * (nodes > 0)
        if limit is not None:
            settings += [f"limits/primal = {limit + 0.5}", f"limits/dual = {limit + 0.5}"]
        solver = ModelSolverHelper("SCIP")
        solver.set_solver_specific_parameters("\n".join(settings))
        solver.set_time_limit_in_seconds(max(seconds, 0.01))
        solver.solve(self._model(whole=True))
        status = solver.status()
        proven = status == SolveStatus.OPTIMAL
        if proven or status == SolveStatus.FEASIBLE:
            values, bound = np.array(solver.variable_values()), float(solver.best_objective_bound())
            return Solution(values, bound, np.empty(0), proven)
        impossible = status == SolveStatus.INFEASIBLE
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

    def _model(self, *, whole: bool) -> ModelBuilderHelper:
        """The program as OR-Tools takes it; arrays, since one call for each column would take longer than to solve."""
        model = ModelBuilderHelper()
        upper, integral = np.concatenate(self._upper), ~np.concatenate(self._slack) & whole
        indices = model.add_var_array_with_bounds(np.zeros(self.width), upper, integral, "").tolist()  # type: ignore[arg-type]
        model.set_objective_coefficients(indices, np.concatenate(self._cost).tolist())
        variables = [Variable(model, index) for index in indices]
        for columns, values, bound in zip(self._columns, self._values, self._bounds, strict=True):
            row = model.add_linear_constraint()
            model.set_constraint_lower_bound(row, bound)
            model.add_terms_to_constraint(row, [variables[i] for i in columns.tolist()], values.tolist())
        return model


def _of_length(number: int, values: npt.ArrayLike) -> Floats:
    """(number,) A number for each, or numbers as they are: broadcast_to takes several times as long."""
    given = np.asarray(values, dtype=np.float64)
    if given.ndim == 0:
        return np.full(number, given)
    if given.shape != (number,):
        raise ValueError(f"{number} numbers are needed, not {given.shape}")
    return given
