"""Owns the JSON Schema of the configuration file, for editors: made from the types that settings are read into.

What may be written shorter than it is kept is allowed as well: a word for a list of one, a vmid as a number, a setting
for all nodes without `default`, nothing for what is not set.
"""

import ast
import inspect
import itertools
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import StrEnum
from typing import Any, Final, get_args, get_type_hints

from pydantic import TypeAdapter

from planner.settings import FOR_NODES, SECTIONS, Config

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
NOTHING: Final = {"type": "null"}
TOLD: Final = ("title", "format", "writeOnly")
"""What pydantic tells and nobody needs; passwords and times are text like other text."""
Schema = dict[str, Any]


def schema() -> Schema:
    """As of draft 2020-12."""
    made = TypeAdapter(Config).json_schema()["$defs"]
    parts: Schema = {kind.__name__: _part(made[kind.__name__], kind) for kind in set(_kinds(Config))}
    policy = parts["Policy"]["properties"]
    for key in FOR_NODES:
        policy[key]["anyOf"].insert(0, policy[key]["anyOf"][0]["additionalProperties"])
    policy["max_guests"]["anyOf"].insert(0, {"type": "integer", "minimum": 0})
    sections = {name: {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"}, NOTHING]} for name, kind in SECTIONS.items()}
    return {
        "$schema": DRAFT, "title": "proxlb-plan", "description": "The configuration file of proxlb-plan.",
        "type": "object", "additionalProperties": False, "properties": sections, "$defs": dict(sorted(parts.items())),
    }  # fmt: skip


def _kinds(kind: Any) -> Iterator[Any]:
    """Records and choices that settings consist of."""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        yield kind
    if is_dataclass(kind):
        if kind is not Config:
            yield kind
        for part in get_type_hints(kind).values():
            yield from _kinds(part)
    for part in get_args(kind):
        yield from _kinds(part)


def _part(made: Schema, kind: Any) -> Schema:
    """The schema of a record or choice."""
    said, about = meanings(kind), inspect.getdoc(kind) or ""
    part = {key: value for key, value in made.items() if key not in TOLD} | {"description": " ".join(about.split())}
    if "enum" in made:
        lines = [f"{value}: {said[name]}" for name, value in kind.__members__.items() if name in said]
        return part | {"description": " ".join([part["description"], *lines])}
    is_section = kind in SECTIONS.values()
    properties = {key: _property(value, is_section) for key, value in made["properties"].items()}
    for key in said.keys() & properties.keys():
        properties[key]["description"] = said[key]
    return part | {"additionalProperties": False, "properties": properties}


def _property(made: Schema, is_setting: bool) -> Schema:
    """The schema of a key; only settings themselves may be left empty."""
    ways = [_way(way) for way in made.get("anyOf", [{key: made[key] for key in made if key != "default"}])]
    for way in list(ways):
        if way.get("type") == "array":
            ways += _single(way["items"])
    if is_setting and NOTHING not in ways:
        ways.append(NOTHING)
    default = {"default": made["default"]} if made.get("default") is not None else {}
    return {"anyOf": ways} | default


def _way(made: Schema) -> Schema:
    """One way to write a value."""
    way = {key: value for key, value in made.items() if key not in TOLD}
    for key in ("items", "additionalProperties"):
        if isinstance(way.get(key), dict):
            way[key] = _way(way[key])
    if way.get("type") == "array" and way["items"].get("type") == "string":
        way["items"] = way["items"] | {"type": ["string", "integer"]}
    return way


def _single(items: Schema) -> list[Schema]:
    """A word instead of a list of words; mappings stand in lists."""
    name = items.get("$ref", "").rpartition("/")[2]
    is_record = any(kind.__name__ == name and is_dataclass(kind) for kind in _kinds(Config))
    return [] if is_record else [items]


def meanings(kind: Any) -> dict[str, str]:
    """What stands below each field or member; sentences may go on from one to the next."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
    said = {}
    for node, after in itertools.pairwise(body):
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said[_name(node)] = " ".join(str(after.value.value).split())
    return said


def _name(node: ast.stmt) -> str:
    """What a statement assigns to."""
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets if isinstance(node, ast.Assign) else []
    return next((target.id for target in targets if isinstance(target, ast.Name)), "")
