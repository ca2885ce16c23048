"""Owns the reading of the HA manager's rules: where a guest may be, who belongs together and who apart.

As Proxmox VE 9 understands them (pve-ha-manager, PVE::HA::Rules): a rule that is disabled or has errors has no effect;
of the nodes of a rule those of the highest priority count that are available; a rule that is not strict gives way when
none is, and only then, since the HA manager takes guests back to the nodes they prefer. It does not do so with guests
whose failback is switched off: they may be on all nodes of the rule, or anywhere if it is not strict. The groups of
Proxmox VE 8 are node affinity under other names: restricted for strict, nofailback for the group as a whole.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import InputError
from planner.snapshot import GROUPS, RULES, Snapshot, rows

MANAGED = "/cluster/ha/resources"
NAME, GROUP_NAME = "HA rule {}", "HA group {}"
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
    staying: frozenset[int] = frozenset()
    """vmids that the HA manager does not take back to nodes of a higher priority."""

    def allowed(self, vmid: int, available: set[str], known: set[str]) -> set[str] | None:
        """Nodes where one of its guests may be, as long as no more nodes become available; None: anywhere."""
        named = {name for name, _ in self.nodes}
        if self.negative:
            others = known - named
            return others if self.strict or others & available else None
        if vmid in self.staying:
            return named if self.strict else None
        for priority in sorted({priority for _, priority in self.nodes}, reverse=True):
            level = {name for name, its in self.nodes if its == priority}
            if level & available:
                return level
        return named if self.strict else None


def read(snapshot: Snapshot, note: Callable[[str], None]) -> Iterator[HaRule]:
    """The rules in force; InputError names one that makes no sense."""
    if snapshot.get(RULES) is None:
        yield from _groups(snapshot)
        return
    managed = rows(snapshot.get(MANAGED) or [], MANAGED)
    staying = frozenset(_vmid(row) for row in managed if str(row.get("failback", 1)) == "0")
    for row in rows(snapshot.get(RULES), RULES):
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
            tuple(_nodes(row, NAME.format(name))) if row["type"] == "node-affinity" else (),
            staying,
        )


def without_effect(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Names of rules that have none, with the reason."""
    for row in rows(snapshot.get(RULES) or [], RULES):
        why = "disabled" if str(row.get("disable")) not in OFF else "it has errors" if row.get("errors") else ""
        if why:
            yield NAME.format(str(row.get("rule") or "")), why


def _groups(snapshot: Snapshot) -> Iterator[HaRule]:
    members: dict[str, list[int]] = {}
    for row in rows(snapshot.get(MANAGED) or [], MANAGED):
        if row.get("group"):
            members.setdefault(str(row["group"]), []).append(_vmid(row))
    for row in rows(snapshot.get(GROUPS) or [], GROUPS):
        vmids = tuple(members.get(str(row.get("group")), ()))
        if vmids:
            name = GROUP_NAME.format(row["group"])
            staying = frozenset(vmids if str(row.get("nofailback")) in ON else ())
            strict, nodes = str(row.get("restricted")) in ON, tuple(_nodes(row, name))
            yield HaRule(name, "node-affinity", vmids, strict=strict, nodes=nodes, staying=staying)


def _vmid(row: Mapping[str, Any]) -> int:
    """The guest of an HA resource, written as vm:100."""
    vmid = str(row.get("sid")).partition(":")[2]
    if not vmid.isdecimal():
        raise InputError(f"HA resource {row.get('sid')!r} is no guest such as vm:100")
    return int(vmid)


def _vmids(row: Mapping[str, Any], name: str) -> Iterable[int]:
    """The guests of a rule, written as vm:100,ct:200."""
    for word in _words(row, "resources", NAME.format(name)):
        _, _, vmid = word.partition(":")
        if not vmid.isdecimal():
            raise InputError(f"HA rule {name}: resources has {word!r}, which is no guest such as vm:100")
        yield int(vmid)


def _nodes(row: Mapping[str, Any], name: str) -> Iterable[tuple[str, int]]:
    """The nodes of a rule and their priorities, written as pve1:2,pve2."""
    for word in _words(row, "nodes", name):
        node, _, priority = word.partition(":")
        if not node or not (priority or "0").isdecimal():
            raise InputError(f"{name}: nodes has {word!r}, which is no node such as pve1 or pve1:2")
        yield node, int(priority or 0)


def _words(row: Mapping[str, Any], field: str, name: str) -> list[str]:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} has no {field}: {value!r}")
    return [word.strip() for word in value.split(",") if word.strip()]
