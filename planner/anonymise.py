"""Owns the snapshot without names: every name replaced, everything that is not known to be harmless left out."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from planner import pace, recent, rrd
from planner.disguise import Disguise
from planner.rule import Kind
from planner.snapshot import GROUPS, RESOURCES, Snapshot, content_path, rows
from planner.tags import TAGS

Row = Mapping[str, Any]
Convert = Callable[["Names", Any], Any]
"""A value to what may be shown of it; None: nothing."""
Fields = dict[str, Convert]
"""The fields of a row that may be shown; all others are left out."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STATES = _words(
    """online offline unknown running stopped paused prelaunch io-error internal-error suspended inmigrate postmigrate
    finish-migrate shutdown debug watchdog guest-panicked save-vm restore-vm available active inactive
    maintenance fence gone started disabled ignored error freeze migrate relocate recovery queued deleting
    request_start request_start_balance request_stop enabled"""
)
LOCKS = _words(
    "backup clone create migrate rollback snapshot snapshot-delete suspending suspended disk mounted destroyed"
)
CONTENTS = _words("images rootdir iso backup vztmpl snippets import none")
ROOTS = _words("/ /access /mapping /nodes /pool /sdn /storage /vms")
"""Paths of permissions that name nothing."""
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
SID = re.compile(r"(vm|ct):\d+")
PRIVILEGE = re.compile(r"[A-Z][A-Za-z]+(\.[A-Z][A-Za-z]+){1,2}")
TIME = re.compile(r"[-+:.\dTZ]{10,40}")
RELEASE = re.compile(r"\d+([.~-]\d+)*")


@dataclass(frozen=True, slots=True)
class Names:
    """Original name to new name, per kind of thing."""

    node: Mapping[str, str]
    guest: Mapping[str, str]
    storage: Mapping[str, str]
    pool: Mapping[str, str]
    tag: Mapping[str, str]
    """Of tags, or of what follows their prefix; without case, as rules are read."""
    rule: Mapping[str, str]
    group: Mapping[str, str]


def anonymised(snapshot: Snapshot) -> Snapshot:
    """The same cluster under other names. InputError when an answer is no list of objects.

    vmids stay, and nodes and tags keep their order, so that the same plan follows. What is not known to
    be harmless (descriptions, comments, addresses, users, whatever a later release adds) is left out.
    """
    names = _names(snapshot)
    disguise = Disguise(names.node, names.storage, LOCKS)
    answers: dict[str, Any] = {}
    for path, answer in snapshot.answers.items():
        if answer is None:
            continue  # not known
        if path in LISTS:
            fields = LISTS[path]
            converted = (_row(names, row, fields(row)) for row in rows(answer, path))
            answers[path] = [row for row in converted if row]
        elif path in OBJECTS:
            answers[path] = OBJECTS[path](names, answer if isinstance(answer, dict) else {})
        elif listed := _of_node(names, path):
            answers[listed[0]] = [_row(names, row, listed[1]) for row in rows(answer, path)]
        elif told := disguise.of(path, answer):
            answers[told[0]] = told[1]
    taken_at = snapshot.taken_at if TIME.fullmatch(snapshot.taken_at) else ""
    return Snapshot(answers, taken_at, "the anonymised snapshot")


def _names(snapshot: Snapshot) -> Names:
    resources = list(rows(snapshot.get(RESOURCES), RESOURCES))
    ha_rules = list(rows(snapshot.get("/cluster/ha/rules") or [], "/cluster/ha/rules"))
    ha_resources = list(rows(snapshot.get("/cluster/ha/resources") or [], "/cluster/ha/resources"))
    ha_groups = list(rows(snapshot.get(GROUPS) or [], GROUPS))
    pools = list(rows(snapshot.get("/pools") or [], "/pools"))
    guests = [row for row in resources if row.get("type") in ("qemu", "lxc")]
    tags = {_split_tag(tag)[1] for row in guests for tag in _tags(row.get("tags"))}
    return Names(
        node=_numbered("node", sorted(_texts(resources, "node"))),
        guest=_numbered("guest", _texts(sorted(guests, key=lambda row: str(row.get("vmid")).zfill(9)), "name")),
        storage=_numbered("storage", sorted(_texts(resources, "storage"))),
        pool=_numbered("pool", sorted({*_texts(resources, "pool"), *_texts(pools, "poolid")})),
        tag=_numbered("tag", sorted(tags)),
        rule=_numbered("rule", sorted(_texts(ha_rules, "rule"))),
        group=_numbered("group", sorted({*_texts(ha_resources, "group"), *_texts(ha_groups, "group")})),
    )


def _texts(rows_: Iterable[Row], field: str) -> list[str]:
    """The different texts in a field, in the order in which they appear."""
    return list(dict.fromkeys(row[field] for row in rows_ if isinstance(row.get(field), str) and row[field]))


def _numbered(kind: str, names: list[str]) -> dict[str, str]:
    """Numbers of one width, so that new names sort as the originals were given."""
    width = len(str(len(names)))
    return {name: f"{kind}{number:0{width}d}" for number, name in enumerate(names, 1)}


def _number(names: Names, value: Any) -> Any:
    return value if isinstance(value, int | float) or (isinstance(value, str) and NUMBER.fullmatch(value)) else None


def _one_of(words: Iterable[str], other: str | None = None) -> Convert:
    """A known word; `other` stands for any that is not known."""
    known = frozenset(words)
    return lambda names, value: value if isinstance(value, str) and value in known else (other if value else None)


def _named(kind: str) -> Convert:
    return lambda names, value: getattr(names, kind).get(value) if isinstance(value, str) else None


def _matching(pattern: re.Pattern[str]) -> Convert:
    return lambda names, value: value if isinstance(value, str) and pattern.fullmatch(value) else None


def _joined(convert: Convert) -> Convert:
    """A list in a text, joined by commas; parts that may not be shown are left out."""

    def each(names: Names, value: Any) -> str:
        parts = (convert(names, part.strip()) for part in str(value).split(","))
        return ",".join(part for part in parts if part is not None)

    return each


def _node_priority(names: Names, value: str) -> str | None:
    node, colon, priority = value.partition(":")
    return f"{names.node[node]}{colon}{priority}" if node in names.node and (priority or "0").isdigit() else None


def _tags(value: Any) -> list[str]:
    return [tag for tag in re.split(r"[;, ]", str(value or "")) if tag]


def _split_tag(tag: str) -> tuple[str, str]:
    """The prefix that makes a tag a rule, and the name that follows it."""
    folded = tag.casefold()
    prefix = next((prefix for prefix, _ in TAGS if folded.startswith(prefix)), "")
    return prefix, folded.removeprefix(prefix)


def _tag(names: Names, tag: str) -> str:
    prefix, name = _split_tag(tag)
    kind = dict(TAGS).get(prefix)
    if kind is Kind.IGNORE:
        return prefix
    if kind is Kind.PIN:
        nodes = {node.casefold(): new for node, new in names.node.items()}
        return prefix + nodes.get(name, f"no{names.tag[name]}")  # a pin to no node stays one
    return prefix + names.tag[name]


def _new_tags(names: Names, value: Any) -> str:
    return ";".join(_tag(names, tag) for tag in _tags(value))


def _ha_errors(names: Names, value: Any) -> Any:
    """Only that there are some: their text names guests and nodes."""
    return {"rule": ["left out"]} if value else None


def _fields(**converters: Convert) -> Fields:
    return converters


FIGURES: Fields = dict.fromkeys(("maxcpu", "cpu", "maxmem", "mem", "maxdisk", "disk", "uptime"), _number)
GUEST: Fields = FIGURES | _fields(
    vmid=_number, memhost=_number, template=_number, name=_named("guest"), node=_named("node"), pool=_named("pool"),
    status=_one_of(STATES), hastate=_one_of(STATES, "unknown"), lock=_one_of(LOCKS, "other"), tags=_new_tags,
)  # fmt: skip
RESOURCE: dict[str, Fields] = {
    "node": FIGURES | _fields(node=_named("node"), status=_one_of(STATES), hastate=_one_of(STATES)),
    "qemu": GUEST,
    "lxc": GUEST,
    "storage": FIGURES | _fields(
        node=_named("node"), storage=_named("storage"), status=_one_of(STATES), shared=_number,
        content=_joined(_one_of(CONTENTS)),
    ),
    "pool": _fields(pool=_named("pool")),
}  # fmt: skip
STATUS: dict[str, Fields] = {
    "cluster": _fields(quorate=_number, nodes=_number, version=_number),
    "node": _fields(name=_named("node"), online=_number),
}
HA_RULE: dict[str, Fields] = dict.fromkeys(
    ("node-affinity", "resource-affinity"),
    _fields(
        rule=_named("rule"), order=_number, disable=_number, strict=_number, resources=_joined(_matching(SID)),
        affinity=_one_of(("positive", "negative")), nodes=_joined(_node_priority), errors=_ha_errors,
    ),
)  # fmt: skip
HA_RESOURCE: dict[str, Fields] = dict.fromkeys(
    ("vm", "ct"),
    _fields(sid=_matching(SID), state=_one_of(STATES), group=_named("group"), failback=_number,
            max_restart=_number, max_relocate=_number),
)  # fmt: skip
HA_GROUP = _fields(
    group=_named("group"), type=_one_of(("group",)), restricted=_number, nofailback=_number,
    nodes=_joined(_node_priority),
)  # fmt: skip
TASK = _fields(
    node=_named("node"), type=_one_of(recent.TYPES), id=_number, starttime=_number, endtime=_number,
    status=_one_of(("OK",), "other"),
)  # fmt: skip
RRD = _fields(time=_number, **dict.fromkeys(rrd.OF_NODE, _number))
VOLUME = _fields(vmid=_number, size=_number, used=_number, content=_one_of(CONTENTS))


def _maintenance(names: Names, value: Any) -> str:
    return "maintenance mode" if "maintenance mode" in str(value) else "active"


def _by_type(tables: dict[str, Fields]) -> Callable[[Row], Fields]:
    """The fields of a row by its type; none, and so no row, when that is not known."""

    def fields(row: Row) -> Fields:
        kind = row.get("type")
        return tables[kind] | {"type": _one_of(tables)} if isinstance(kind, str) and kind in tables else {}

    return fields


LISTS: dict[str, Callable[[Row], Fields]] = {
    RESOURCES: _by_type(RESOURCE),
    "/cluster/status": _by_type(STATUS),
    "/cluster/ha/rules": _by_type(HA_RULE),
    "/cluster/ha/resources": _by_type(HA_RESOURCE),
    "/cluster/ha/status/current": _by_type({"lrm": _fields(node=_named("node"), status=_maintenance)}),
    GROUPS: lambda row: HA_GROUP,
    recent.PATH: lambda row: TASK if row.get("type") in recent.TYPES else {},
    "/pools": lambda row: _fields(poolid=_named("pool")),
}


def _row(names: Names, row: Row, fields: Fields) -> dict[str, Any]:
    """A row with those of its fields that may be shown, and an id made of them."""
    converted = {name: fields[name](names, row[name]) for name in row if name in fields}
    result = {name: value for name, value in converted.items() if value is not None}
    match result:
        case {"type": "node", "node": node}:
            result["id"] = f"node/{node}"
        case {"type": "qemu" | "lxc" as kind, "vmid": vmid}:
            result["id"] = f"{kind}/{vmid}"
        case {"type": "storage", "storage": storage, "node": node}:
            result["id"] = f"storage/{node}/{storage}"
        case {"type": "pool", "pool": pool}:
            result["id"] = f"/pool/{pool}"
    return result


def _version(names: Names, answer: Row) -> dict[str, Any]:
    return _row(names, answer, _fields(version=_matching(RELEASE), release=_matching(RELEASE)))


def _options(names: Names, answer: Row) -> dict[str, Any]:
    words = _one_of(("static", "basic", "dynamic", "bruteforce", "topsis", "secure", "insecure"))
    crs: Fields = {"ha": words, "ha-auto-rebalance-method": words, "ha-rebalance-on-start": _number}
    crs |= {f"ha-auto-rebalance{end}": _number for end in ("", "-threshold", "-margin", "-hold-duration")}
    parts: dict[str, Fields] = {"crs": crs, "migration": {"type": words}}
    shown = {name: _row(names, answer[name], parts[name]) for name in parts if isinstance(answer.get(name), dict)}
    limit = pace.datacentre_limit(answer)
    return shown if limit is None else shown | {"bwlimit": {"migration": limit * 1024}}


def _permissions(names: Names, answer: Row) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path, granted in answer.items():
        new = _new_permission_path(names, path)
        if new and isinstance(granted, dict):
            shown = {name: _number(names, value) for name, value in granted.items() if PRIVILEGE.fullmatch(name)}
            result[new] = {name: value for name, value in shown.items() if value is not None}
    return result


def _new_permission_path(names: Names, path: str) -> str | None:
    if path in ROOTS:
        return path
    _, root, name = [*path.split("/", 2), "", ""][:3]
    if root == "vms":
        return path if name.isdecimal() else None
    known = {"nodes": names.node, "storage": names.storage, "pool": names.pool}.get(root, {})
    return f"/{root}/{known[name]}" if name in known else None


OBJECTS: dict[str, Callable[[Names, Row], dict[str, Any]]] = {
    "/version": _version,
    "/cluster/options": _options,
    "/access/permissions": _permissions,
}


def _of_node(names: Names, path: str) -> tuple[str, Fields] | None:
    """The new path of a list that a node gives, and the fields of its rows that may be shown."""
    match path.split("/"):
        case ["", "nodes", node, "storage", storage, "content"] if node in names.node and storage in names.storage:
            return content_path(names.node[node], names.storage[storage]), VOLUME
        case ["", "nodes", node, *_] if node in names.node and (told := rrd.renamed(path, names.node[node])):
            return told, RRD
    return None
