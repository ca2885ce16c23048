"""Owns draining: which nodes can be emptied at all, and what is still on them after a plan."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from planner.cluster import Cluster
from planner.errors import InputError, UsageError
from planner.plan import Plan

SHOWN = 8
"""Guests that are named before the rest of them is counted."""
IN_MAINTENANCE = "stays in maintenance: "
"""What the reasons of a plan begin with, and is known of all guests here."""
NO_PLACE = "the plan has no place for it within the rules and limits"


@dataclass(frozen=True, slots=True)
class Left:
    """What is on a drained node after a plan, in words."""

    node: str
    guests: tuple[str, ...]
    """With the reason why each of them stays."""
    templates: tuple[str, ...]
    """They are never migrated, and nothing stops when their node does."""

    def lines(self) -> Iterator[str]:
        """One line that says so for each of the two."""
        if self.guests:
            stay = "stays" if len(self.guests) == 1 else "stay"
            yield f"{self.node} is not empty after this plan: {_some(self.guests)} {stay}"
        if self.templates:
            what = "template" if len(self.templates) == 1 else "templates"
            yield f"note: {self.node} keeps {what} {_some(self.templates)}, which no plan migrates"


def check(cluster: Cluster, nodes: Iterable[str], ignored: Collection[str]) -> None:
    """UsageError or InputError for a node that cannot be drained."""
    statuses = {str(n): str(s) for n, s in zip(cluster.nodes["node"], cluster.nodes["status"], strict=True)}
    for node in nodes:
        if node not in statuses:
            raise UsageError(f"there is no node {node}: there are {', '.join(statuses)}")
        if node in ignored:
            raise UsageError(f"node {node} is left alone: take it out of cluster.ignore_nodes (--ignore-nodes) first")
        if statuses[node] != "online":
            raise InputError(f"node {node} is {statuses[node]}: its guests cannot be migrated")


def left(cluster: Cluster, plan: Plan, nodes: Iterable[str]) -> tuple[Left, ...]:
    """What a plan leaves on drained nodes, for each on which something stays."""
    gone = {migration.vmid for migration in plan.migrations}
    why = {item.vmid: item.reason.removeprefix(IN_MAINTENANCE) for item in plan.stranded}
    rows: list[Any] = [row for row in cluster.guests.itertuples() if row.vmid not in gone]
    found = []
    for node in nodes:
        here = [row for row in rows if row.node == node]
        guests = tuple(f"guest {_called(row, why.get(row.vmid, NO_PLACE))}" for row in here if not row.template)
        found.append(Left(node, guests, tuple(_called(row) for row in here if row.template)))
    return tuple(item for item in found if item.guests or item.templates)


def _called(row: Any, reason: str = "") -> str:
    """A guest by number, and in brackets its name and what else is said of it."""
    said = ": ".join(part for part in (str(row.name), reason) if part)
    return f"{row.vmid} ({said})" if said else str(row.vmid)


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
