"""Owns the reading of scenario files: a small cluster as an administrator describes it becomes a snapshot and settings.

The format is described in `tests/scenarios/README.md`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import yaml

from planner import config
from planner.snapshot import RESOURCES, Snapshot, content_path
from tests import rows

HERE = Path(__file__).parent / "scenarios"
SOLVERS = ("greedy", "descent", "cpsat")
PVE8 = {"version": "8.4.1", "release": "8.4", "repoid": "0"}
UNKNOWN_KEEPS = ("id", "type", "node", "vmid", "status", "lock", "pool", "hastate", "tags")
"""What Proxmox VE says about a guest whose node is down."""


@dataclass(frozen=True)
class Node:
    """A node; GiB and threads."""

    name: str
    memory: float = 64
    cpus: int = 16
    used: float = 0  # GiB that the node itself uses
    cpu: float = 0  # threads that the node itself uses
    status: str = "online"
    maintenance: bool = False
    storages: dict[str, Any] = field(default_factory=dict)  # name to GiB, or to {size, used, shared}
    api: dict[str, Any] = field(default_factory=dict)  # of the row, as Proxmox VE writes it


@dataclass(frozen=True)
class Guest:
    """A guest; GiB and threads."""

    vmid: int
    on: str
    memory: float = 4
    used: float | None = None  # GiB in use; not given: all of its memory
    cpus: int = 2
    cpu: float = 0  # threads in use
    name: str = ""
    type: str = "vm"
    status: str = "running"
    tags: tuple[str, ...] = ()
    pool: str = ""
    lock: str = ""
    template: bool = False
    ha: Any = False  # true, or what /cluster/ha/resources says besides
    disks: dict[str, float] = field(default_factory=dict)  # storage to GiB
    api: dict[str, Any] = field(default_factory=dict)

    @property
    def taken(self) -> float:
        """GiB that it uses now."""
        return 0 if self.status == "stopped" else self.memory if self.used is None else self.used

    @property
    def sid(self) -> str:
        """Its name in the HA manager."""
        return f"{self.type}:{self.vmid}"


@dataclass(frozen=True)
class Scenario:
    """One behaviour: a cluster, settings, and what must hold of every plan."""

    behaviour: str
    nodes: dict[str, Node]
    guests: dict[int, Guest]
    expect: dict[str, Any]
    only: dict[str, dict[str, Any]] = field(default_factory=dict)  # solver to what it is expected to reach besides
    settings: dict[str, Any] = field(default_factory=dict)
    ha_rules: list[dict[str, Any]] = field(default_factory=list)
    ha_groups: list[dict[str, Any]] | None = None  # given: this is Proxmox VE 8
    answers: dict[str, Any] = field(default_factory=dict)  # path to answer; null: not known
    solvers: tuple[str, ...] = SOLVERS
    xfail: Any = ""  # why it does not hold yet, of all solvers or {solver: why}

    def carried_out(self, migrations: Iterable[Any]) -> Self:
        """The same cluster after these migrations."""
        places = {m.vmid: m.target for m in migrations}
        return replace(self, guests={v: replace(g, on=places.get(v, g.on)) for v, g in self.guests.items()})

    def snapshot(self) -> Snapshot:
        """What the API of this cluster answers."""
        resources = [*map(self._node, self.nodes.values()), *map(self._guest, self.guests.values()), *self._storages()]
        answers: dict[str, Any] = rows.KNOWN | {
            RESOURCES: resources,
            "/pools": [{"poolid": pool} for pool in self._pools()],
            "/cluster/ha/rules": self.ha_rules,
            "/cluster/ha/resources": [_resource(guest) for guest in self.guests.values() if guest.ha],
        }
        if self.ha_groups is not None:
            answers |= {"/version": PVE8, "/cluster/ha/groups": self.ha_groups, "/cluster/ha/rules": None}
        answers |= self._volumes() | self.answers
        return Snapshot({path: answer for path, answer in answers.items() if answer is not None}, rows.TAKEN_AT, "it")

    def config(self, directory: Path) -> config.Config:
        """The settings, read from a file as a user writes it."""
        path = directory / "proxlb-plan.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        return config.load(str(path), environ={}, cwd=directory)

    def on(self, node: str) -> list[Guest]:
        """The guests of a node."""
        return [guest for guest in self.guests.values() if guest.on == node]

    def _node(self, node: Node) -> rows.Row:
        if node.status != "online":
            return rows.offline(node.name) | {"status": node.status} | node.api
        used = node.used + sum(guest.taken for guest in self.on(node.name))
        threads = node.cpu + sum(guest.cpu for guest in self.on(node.name) if guest.status != "stopped")
        row = rows.node(node.name, node.memory, used, node.cpus, threads / node.cpus)
        return row | ({"hastate": "maintenance"} if node.maintenance else {}) | node.api

    def _guest(self, guest: Guest) -> rows.Row:
        make = {"vm": rows.vm, "ct": rows.ct}[guest.type]
        facts: dict[str, Any] = {"status": guest.status, "template": int(guest.template), "maxcpu": guest.cpus}
        facts |= {"cpu": guest.cpu / guest.cpus, "name": guest.name or f"g{guest.vmid}"}
        optional = {"pool": guest.pool, "lock": guest.lock, "hastate": "started" if guest.ha else ""}
        facts |= {name: value for name, value in optional.items() if value}
        row = make(guest.vmid, guest.on, guest.memory, guest.taken, ";".join(guest.tags), **facts)
        if self.nodes[guest.on].status != "online":
            row = {name: value for name, value in (row | {"status": "unknown"}).items() if name in UNKNOWN_KEEPS}
        return row | guest.api

    def _storages(self) -> Iterable[rows.Row]:
        for node in self.nodes.values():
            for name, given in node.storages.items() if node.status == "online" else ():
                facts = given if isinstance(given, dict) else {"size": given}
                used = facts.get("used", 0) + sum(guest.disks.get(name, 0) for guest in self.on(node.name))
                yield rows.storage(name, node.name, facts["size"], used, shared=int(facts.get("shared", False)))

    def _volumes(self) -> dict[str, Any]:
        """What is on each storage that belongs to one node."""
        result = {}
        for node in self.nodes.values():
            for name, given in node.storages.items():
                if not isinstance(given, dict) or not given.get("shared"):
                    held = [guest for guest in self.on(node.name) if name in guest.disks]
                    volid = f"{name}:vm-{{}}-disk-0"
                    volumes = [rows.volume(g.vmid, g.disks[name], volid=volid.format(g.vmid)) for g in held]
                    result[content_path(node.name, name)] = volumes
        return result

    def _pools(self) -> list[str]:
        """All pools, those that only hold other pools included."""
        parts = [guest.pool.split("/") for guest in self.guests.values() if guest.pool]
        return sorted({"/".join(words[: i + 1]) for words in parts for i in range(len(words))})


def _resource(guest: Guest) -> dict[str, Any]:
    said = {"sid": guest.sid, "type": guest.type, "state": "started"}
    return said | (guest.ha if isinstance(guest.ha, dict) else {})


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # where there is libyaml
    """YAML in which a key that stands twice is a mistake, not a replacement, and `on` is a word, not true."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML has it
        first: [rule for rule in rules if first in "tTfF" or not rule[0].endswith(":bool")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise ValueError(f"a key stands twice at {node.start_mark}: {keys}")
        return super().construct_mapping(node, deep)


def load(path: Path) -> Scenario:
    """Read a scenario; ValueError says what is wrong with it."""
    return parse(path.read_text())


def parse(text: str) -> Scenario:
    """Read the text of a scenario."""
    given = yaml.load(text, _Loader)
    _known(given, Scenario)
    nodes = {str(name): _node(str(name), value) for name, value in given.pop("nodes").items()}
    guests = {vmid: _guest(vmid, value) for key, value in given.pop("guests", {}).items() for vmid in _vmids(key)}
    if lost := [g.vmid for g in guests.values() if g.on not in nodes]:
        raise ValueError(f"guests {lost} are on no node of the scenario")
    if not given.get("expect"):
        raise ValueError("a scenario expects something")
    return Scenario(nodes=nodes, guests=guests, **given | {"solvers": tuple(given.get("solvers", SOLVERS))})


def _node(name: str, value: Any) -> Node:
    return Node(name, **_known(value if isinstance(value, dict) else {"memory": value}, Node))


def _guest(vmid: int, value: Any) -> Guest:
    facts = _known(value if isinstance(value, dict) else {"on": value}, Guest)
    return Guest(vmid, **facts | {"on": str(facts["on"]), "tags": tuple(facts.get("tags", ()))})


def _vmids(key: Any) -> Iterable[int]:
    """101, or 101-104."""
    first, _, last = str(key).partition("-")
    return range(int(first), int(last or first) + 1)


def _known(given: Mapping[str, Any], kind: type) -> dict[str, Any]:
    if unknown := set(given) - {item.name for item in fields(kind)}:
        raise ValueError(f"a {kind.__name__.lower()} of a scenario has no {', '.join(sorted(map(str, unknown)))}")
    return dict(given)
