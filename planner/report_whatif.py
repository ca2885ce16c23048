"""Owns how what-ifs, places and capacity look on a terminal and as JSON: tables and lines, no decisions."""

import math
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from planner import outlook
from planner.cluster import Cluster
from planner.effect import Effect
from planner.newguest import NewGuest
from planner.report import bar
from planner.spare import More


def effect(supposed: Cluster, item: Effect, out: Console) -> None:
    """The steps, loads today and in the what-if, and rules that are broken there."""
    for step in supposed.assumed.steps:
        _line(out, f"what if: {step}")
    for resource, rows in item.loads.groupby("resource", sort=False):
        table = _table(str(resource), "node", ">today", "", ">what if", "")
        for row in rows.to_dict("records"):
            today, then = row["today"], row["what_if"]
            table.add_row(row["node"], _percent(today), _bar(today), _percent(then), _bar(then))
        out.print(table)
    _line(out, f"spread {item.spreads[0]:.2f} -> {item.spreads[1]:.2f} points, before anything is migrated")
    for rule in item.broken:
        _line(out, f"Broken{'' if rule in item.broken_today else ' then'}: {rule}", "yellow")


def placement(frame: pd.DataFrame, new: NewGuest, out: Console) -> None:
    """One row per new guest, and the nodes that refuse one."""
    table = _table(f"{len(frame)} new: {new}", ">guest", "node", ">spread", ">left")
    for row in frame.to_dict("records"):
        left = "" if math.isnan(row["memory_left_gib"]) else f"{row['memory_left_gib']:.1f} GiB"
        spread = f"{row['spread_before']:.2f} -> {row['spread_after']:.2f}" if row["node"] else ""
        table.add_row(str(row["vmid"]), row["node"] or "no place", spread, left)
    out.print(table)
    for refused in dict.fromkeys(row for row in frame["refused"] if row):
        _line(out, f"refused by {refused}", "dim")


def room(frame: pd.DataFrame, out: Console) -> None:
    """One row per node and capacity."""
    table = _table("room for guests", "node", "state", "of", ">total", ">taken", ">left")
    for row in frame.to_dict("records"):
        figures = (_figure(row[name], row["unit"]) for name in ("total", "taken", "left"))
        table.add_row(row["node"], row["state"], row["capacity"], *figures)
    out.print(table)


def more(item: More, out: Console) -> None:
    """How many more guests on each node, and what says no to another one."""
    kind = f"HA guests of {item.new}" if item.new.ha else f"guests of {item.new}"
    table = _table(f"more {kind}", "node", ">more", ">left", "what says no to another one")
    for row in item.frame.to_dict("records"):
        left = "" if math.isnan(row["memory_left_gib"]) else f"{row['memory_left_gib']:.1f} GiB"
        table.add_row(row["node"], str(row["more"]), left, row["refuses"])
    out.print(table)
    most = "proven: not one more" if item.bound <= item.total else f"at most {item.bound}: a longer time limit may tell"
    survived = ", every loss of a node still being survived" if item.new.ha and not item.unsurvived else ""
    used = f"each uses {item.new.used:.0%} of its memory, nothing is migrated for them"
    found = (
        f"1 more {kind.replace('guests', 'guest', 1)} finds" if item.total == 1 else f"{item.total} more {kind} find"
    )
    _line(out, f"{found} room{survived} ({most}); {used}")


def losses(frame: pd.DataFrame, out: Console) -> None:
    """Which loss of a node is survived."""
    table = _table("if this node fails", "node", ">HA guests", "survived", "without a place")
    for row in frame.to_dict("records"):
        answer = "yes" if row["survived"] else "no" if row["proven"] else "not known"
        needs = f" (need {row['missing_gib']:.1f} GiB)" if row["without_place"] else ""
        table.add_row(row["node"], str(row["ha_guests"]), answer, f"{row['without_place']}{needs}")
    out.print(table)
    lost = int((~frame["survived"]).sum())
    some = f"the loss of {lost} of {len(frame)} nodes is not survived"
    _line(out, some if lost else "survives the loss of any one node" if frame["ha_guests"].any() else outlook.NONE)


def document(supposed: Cluster, item: Effect, plan: dict[str, Any] | None) -> dict[str, Any]:
    """A what-if as JSON."""
    return {
        "what_if": supposed.assumed.steps,
        "loads": records(item.loads),
        "spread": {"today": round(item.spreads[0], 4), "what_if": round(item.spreads[1], 4)},
        "broken": {"today": item.broken_today, "what_if": item.broken},
        "plan": plan,
    }


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame for JSON, which knows no NaN."""
    rows = frame.to_dict("records")
    return [{str(name): None if value != value else value for name, value in row.items()} for row in rows]


def _table(title: str, *columns: str) -> Table:
    """A table whose columns with > are aligned right."""
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    return table


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f} %"


def _bar(value: float) -> Text:
    return Text("not planned with", style="dim") if math.isnan(value) else bar(value)


def _figure(value: float, unit: str) -> str:
    return "no limit" if math.isnan(value) else f"{value:.0f}" if not unit else f"{value:.1f} {unit}"


def _line(out: Console, text: str, style: str = "") -> None:
    """A line that is not broken, however long: people search for its words."""
    out.print(Text(text, style=style), soft_wrap=True)
