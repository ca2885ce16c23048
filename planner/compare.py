"""Owns the comparison of solvers on one problem: a row each, as a frame."""

from collections.abc import Sequence

import pandas as pd

from planner.frames import Column
from planner.planning import Case, make_plan
from solvers import Budget

COLUMNS = (
    Column("solver", "str", "", "name"),
    Column("status", "str", "", "optimal, feasible, no_action, infeasible or unknown"),
    Column("before", "float64", "percentage points", "spread today"),
    Column("after", "float64", "percentage points", "spread with the plan"),
    Column("bound", "float64", "percentage points", "no plan with these rules and limits is below; empty: not claimed"),
    Column("migrations", "int64", "", "number of migrations"),
    Column("gib", "float64", "GiB", "memory and local disks that are copied"),
    Column("violations", "int64", "", "broken rules left"),
    Column("seconds", "float64", "s", "time the solver took"),
)
"""One row per solver, in the order asked for."""


def compare(case: Case, solvers: Sequence[str], budget: Budget | None = None) -> pd.DataFrame:
    """Plan with each solver under the same rules and limits."""
    rows = []
    for name in solvers:
        plan = make_plan(case, name, budget)
        bound = float("nan") if plan.spread.bound is None else plan.spread.bound
        rows.append(
            (
                name,
                plan.status.value,
                plan.spread.before,
                plan.spread.after,
                bound,
                len(plan.migrations),
                round(plan.moved_gib, 3),
                len(plan.violations_after),
                plan.seconds,
            )
        )
    frame = pd.DataFrame(rows, columns=[column.name for column in COLUMNS])
    return frame.astype({column.name: column.dtype for column in COLUMNS})
