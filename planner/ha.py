"""Owns the reading of the HA manager's rules: where a guest may be, who belongs together and who apart.

As Proxmox VE 9 understands them (pve-ha-manager, PVE::HA::Rules): a rule that is disabled or has errors has no effect;
of the nodes of a rule those of the highest priority count that are available; a rule that is not strict gives way when
none is, and only then, since the HA manager takes guests back to the nodes they prefer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import InputError
from planner.snapshot import Snapshot, rows

PATH = "/cluster/ha/rules"
NAME = "HA rule {}"
"""What a rule is called beside those from elsewhere."""
OFF, ON = ("0", "None", ""), ("1",)


@dataclass(frozen=True, slots=True)
class HaRule:
    """One rule as it is written."""

    name: str
    kind: str
    """node-affinity or resource-affinity."""
    vmids: tuple[int, ...]
    negative: bool = False
    strict: bool = False
    nodes: tuple[tuple[str, int], ...] = ()
    """Name and priority."""

    def allowed(self, available: set[str], known: set[str]) -> set[str] | None:
        """Nodes where its guests may be, as long as no more nodes become available; None: anywhere."""
        named = {name for name, _ in self.nodes}
        if self.negative:
            others = known - named
            return others if self.strict or others & available else None
        for priority in sorted({priority for _, priority in self.nodes}, reverse=True):
            level = {name for name, its in self.nodes if its == priority}
            if level & available:
                return level
        return named if self.strict else None


def read(snapshot: Snapshot, note: Callable[[str], None]) -> Iterator[HaRule]:
    """The rules in force; InputError names one that makes no sense."""
    answer = snapshot.get(PATH)
    for row in rows([] if answer is None else answer, PATH):
        name = str(row.get("rule") or "")
        if str(row.get("disable")) not in OFF:
            continue
        if row.get("errors"):
            note(f"HA rule {name} has errors: Proxmox VE ignores it, and so does the plan")
            continue
        if row.get("type") not in ("node-affinity", "resource-affinity"):
            note(f"HA rule {name} is a {row.get('type')} rule, which is not known here: it has no effect on the plan")
            continue
        yield HaRule(
            NAME.format(name),
            str(row["type"]),
            tuple(dict.fromkeys(_vmids(row, name))),
            row.get("affinity") == "negative",
            str(row.get("strict")) in ON,
            tuple(_nodes(row, name)) if row["type"] == "node-affinity" else (),
        )


def _vmids(row: Mapping[str, Any], name: str) -> Iterable[int]:
    """The guests of a rule, written as vm:100,ct:200."""
    for word in _words(row, "resources", name):
        _, _, vmid = word.partition(":")
        if not vmid.isdecimal():
            raise InputError(f"HA rule {name}: resources has {word!r}, which is no guest such as vm:100")
        yield int(vmid)


def _nodes(row: Mapping[str, Any], name: str) -> Iterable[tuple[str, int]]:
    """The nodes of a rule and their priorities, written as pve1:2,pve2."""
    for word in _words(row, "nodes", name):
        node, _, priority = word.partition(":")
        if not node or not (priority or "0").isdecimal():
            raise InputError(f"HA rule {name}: nodes has {word!r}, which is no node such as pve1 or pve1:2")
        yield node, int(priority or 0)


def _words(row: Mapping[str, Any], field: str, name: str) -> list[str]:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"HA rule {name} has no {field}: {value!r}")
    return [word.strip() for word in value.split(",") if word.strip()]
