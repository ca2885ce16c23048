"""Owns how the difference of two snapshots looks on a terminal."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from planner.amounts import gib
from planner.differ import CAME, MIGRATED, NODE, WENT, Difference

SHOWN = 60
"""Rows of a table before the rest is counted: `--output json` has all."""
SEEN = 0.05
"""Points that show."""
SIZES = ("memory", "disk")


def difference(item: Difference, out: Console) -> None:
    """What changed, and the loads, in tables; one line in the end."""
    _changes(out, "nodes", item.nodes, ("node",))
    _changes(out, "guests", item.guests, ("vmid", "name"))
    _changes(out, "rules", item.rules, ("rule",))
    for resource in item.spreads["resource"]:
        _loads(out, item, str(resource))
    for line in lines(item):
        out.print(line, soft_wrap=True, markup=False)


def lines(item: Difference) -> Iterator[str]:
    """The difference in a few words."""
    for row in _rows(item.spreads):
        yield f"{row.resource} spread {_points(row.before)} -> {_points(row.after)} points"
    when = f"from {item.before or 'an unknown time'} to {item.after or 'an unknown time'}"
    if item.is_empty:
        yield f"nothing changed in nodes, guests and rules {when}"
        return
    counts = [_count(frame[key], name) for frame, key, name in (
        (item.nodes, "node", "node"), (item.guests, "vmid", "guest"), (item.rules, "rule", "rule"))]  # fmt: skip
    yield f"changed {when}: {', '.join(count for count in counts if count)}"


def _count(keys: "pd.Series", name: str) -> str:
    number = keys.nunique()
    return f"{number} {name}{'' if number == 1 else 's'}" if number else ""


def _changes(out: Console, title: str, frame: pd.DataFrame, names: tuple[str, ...]) -> None:
    if frame.empty:
        return
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for name in (*names, "change", "before", "after"):
        table.add_column(name, justify="right" if name == "vmid" else "left", overflow="fold")
    for row in _rows(frame.head(SHOWN)):
        cells = (*(str(getattr(row, name)) for name in names), _change(row), *_values(row))
        table.add_row(*map(Text, cells))  # [words] of operators are no markup
    out.print(table)
    if len(frame) > SHOWN:
        out.print(f"… {len(frame) - SHOWN} more: --output json has all", markup=False)


def _change(row: Any) -> str:
    what = getattr(row, "what", "")
    return row.change if row.change in (CAME, WENT, MIGRATED) or not what else what


def _values(row: Any) -> tuple[str, str]:
    what = getattr(row, "what", "")
    if what in ("", NODE):
        return row.before, row.after
    before, after = (_value(what, text) for text in (row.before, row.after))
    return before, after


def _value(what: str, text: str) -> str:
    if what in SIZES:
        return gib(int(text))
    if what == "cpu":
        return f"{int(text) / 1000:g}"
    return text or "none"


def _loads(out: Console, item: Difference, resource: str) -> None:
    frame = item.loads[item.loads["resource"] == resource]
    if frame.empty:
        return
    table = Table(box=None, pad_edge=False, title=resource, title_justify="left")
    for name in ("node", "before", "after", "change"):
        table.add_column(name, justify="left" if name == "node" else "right")
    largest = frame.reindex((frame["after"] - frame["before"]).abs().sort_values(ascending=False).index)
    kept = frame[frame["node"].isin(largest["node"].head(SHOWN))]
    for row in _rows(kept):
        change = row.after - row.before
        said = f"{change:+.1f}" if abs(change) > SEEN else ""
        table.add_row(row.node, _percent(row.before), _percent(row.after), said)
    out.print(table)
    if len(frame) > len(kept):
        out.print(f"… {len(frame) - len(kept)} more nodes, which changed less", markup=False)


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    return iter(frame.itertuples())


def _percent(value: float) -> str:
    return "-" if value != value else f"{value:.1f} %"


def _points(value: float) -> str:
    return "-" if value != value else f"{value:.2f}"
