"""Owns how a sweep looks on a terminal: how far it is, and its rows."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from planner.results import FAILED, Row

NAMES = ("snapshot", "whatif", "policy", "solver", "status")
POINTS = ("before", "after", "bound", "gap")
COUNTS = ("migrations", "gib", "violations_after", "stranded", "seconds")
HEADS = {"gib": "GiB", "violations_after": "violations"}
"""What a column is called where it is not by its name."""
DIGITS = {"gib": 1, "seconds": 2} | dict.fromkeys(POINTS, 2)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Row, int, int], None]]:
    """What is told of each row, as one line where stderr is a terminal."""
    failed = 0
    with Console(stderr=True).status("sweep: starting") as status:

        def told(row: Row, count: int, total: int) -> None:
            nonlocal failed
            failed += row.status == FAILED
            status.update(f"sweep: {count} of {total} scenarios{f', {failed} failed' if failed else ''}")

        yield told


def table(frame: pd.DataFrame, out: Console) -> None:
    """One row per scenario, then why some could not be planned."""
    result, figures = Table(box=None, pad_edge=False), (*POINTS, *COUNTS)
    for name in NAMES:
        result.add_column(name, overflow="fold")
    for name in figures:
        result.add_column(HEADS.get(name, name), justify="right", no_wrap=True)
    for row in frame.to_dict("records"):
        result.add_row(*(Text(row[name]) for name in NAMES), *(_shown(name, row[name]) for name in figures))
    out.print(result)
    for error, count in Counter(frame.loc[frame["status"] == FAILED, "error"]).items():
        out.print(Text(f"{count} failed: {error}"), soft_wrap=True)


def _shown(name: str, value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.{DIGITS.get(name, 0)}f}"
