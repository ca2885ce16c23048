"""Owns how a back-test looks on a terminal."""

import math

import pandas as pd
from rich.console import Console
from rich.table import Table

HEADS = (
    "policy", "overload min", "spread", "p95", "migrations/day", "GiB/day", "ping-pongs", "broken min", "memory min",
    "plans", "planning p95",
)  # fmt: skip
"""Of the columns of `planner.backtesting.COLUMNS`, in that order, but for the last: a note says that."""


def table(frame: pd.DataFrame, out: Console) -> None:
    """One row per policy."""
    result = Table(box=None, pad_edge=False)
    for head in HEADS:
        result.add_column(head, justify="left" if head == "policy" else "right", no_wrap=True)
    for row in frame.to_dict("records"):
        result.add_row(
            row["policy"], f"{row['overload_minutes']:.0f}", _known(row["spread_mean"]), _known(row["spread_p95"]),
            f"{row['migrations']:.1f}", f"{row['gib']:.1f}", str(row["ping_pongs"]), f"{row['broken_minutes']:.0f}",
            f"{row['memory_minutes']:.0f}", str(row["plans"]), _known(row["planning_p95"], ".2f", " s"),
        )  # fmt: skip
    out.print(result)


def _known(value: float, form: str = ".1f", unit: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{form}}{unit}"
