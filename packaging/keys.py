"""Owns what there is to set in the configuration file, as records: type, default, range, meaning, variable, flag."""

import inspect
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, MinLen
from commands import KNOWS_ALL, flags_of
from pydantic import SecretStr

from planner.config_schema import meanings
from planner.flags import APPLYING, RUNNING, SCHEDULE, SHARED
from planner.flags import SECTIONS as SERVICES
from planner.origin import PREFIX
from planner.settings import SECTIONS, TYPES

WORDS: Final[Mapping[Any, str]] = {
    bool: "true or false", int: "whole number", float: "number", str: "text", SecretStr: "text, secret",
    datetime: "date and time",
}  # fmt: skip
REQUIRED: Final = "required"


@dataclass(frozen=True)
class Key:
    """A setting, or a part of one; `default` as in YAML, `choices` to what they mean (which may go without saying)."""

    name: str
    kind: str
    default: str
    meaning: str
    variable: str
    flag: str
    choices: Mapping[str, str]
    parts: tuple["Key", ...]


@dataclass(frozen=True)
class Section:
    """Keys that stand together in the file."""

    name: str
    about: str
    keys: tuple[Key, ...]


def required(key: Key) -> bool:
    """Whether it has to be written."""
    return key.default == REQUIRED


@cache
def sections() -> tuple[Section, ...]:
    """As settings have them, in their order."""
    flags = dict(_flags())
    return tuple(Section(name, _about(kind), tuple(_keys(kind, flags, f"{name}."))) for name, kind in SECTIONS.items())


def _flags() -> Iterator[tuple[str, str]]:
    """Path of a setting to the flag that sets it."""
    every, service = flags_of(KNOWS_ALL), flags_of("run")
    for name in SHARED | SCHEDULE | APPLYING:
        section = next((section for section in ("policy", "cluster", "apply") if name in TYPES[section]), None)
        if section:
            yield f"{section}.{name}", every[name].names[0]
    for section, names in SERVICES.items():
        for name in (name for name in names if name in RUNNING):
            yield f"{section}.{name.removeprefix(f'{section}_')}", service[name].names[0]


def _keys(kind: Any, flags: Mapping[str, str], prefix: str) -> Iterator[Key]:
    """Of a section, or without a prefix of a record within one."""
    hints, said = get_type_hints(kind, include_extras=True), meanings(kind)
    for each in fields(kind):
        hint = hints[each.name]
        choices = next((found for found in _inner(hint) if issubclass(found, StrEnum)), None)
        record = next((found for found in _inner(hint) if is_dataclass(found)), None)
        yield Key(
            name=each.name,
            kind=_named(hint),
            default=_default(each),
            meaning=_joined(_said(said.get(each.name, "")), choices, record),
            variable=f"{PREFIX}{prefix.replace('.', '__')}{each.name}".upper() if prefix else "",
            flag=flags.get(prefix + each.name, ""),
            choices=_meant(choices) if choices else {},
            parts=tuple(_keys(record, {}, "")) if record else (),
        )


def _joined(said: str, choices: Any, record: Any) -> str:
    """What is said of a key; of a record what it is as well, of a choice where nothing else is said."""
    if choices is not None:
        return said or _about(choices)
    return said if record is None else f"{said} {_about(record)}".strip()


def _inner(hint: Any) -> Iterator[Any]:
    """The types that a type consists of."""
    if isinstance(hint, type):
        yield hint
    for part in get_args(hint):
        yield from _inner(part)


def _named(hint: Any) -> str:
    """What may be written, in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _named(inner[0]) + _range(hint.__metadata__)
    if origin in (Union, types.UnionType):
        return ", or ".join(_named(part) for part in inner if part is not types.NoneType)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple:
        return f"list of {_several(inner[0])}"
    if origin is dict:
        return f"mapping of names to {_several(inner[1])}"
    if is_dataclass(hint):
        return "mapping with the keys below"
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "one of " + ", ".join(hint)
    return WORDS[hint]


def _several(hint: Any) -> str:
    """The same, of more than one."""
    return re.sub("^one of", "any of", re.sub("^mapping", "mappings", _named(hint)))


def _range(metadata: tuple[Any, ...]) -> str:
    """Such as ` from 0 to 100`."""
    low = next((each.ge for each in metadata if isinstance(each, Ge)), None)
    high = next((each.le for each in metadata if isinstance(each, Le)), None)
    above = next((each.gt for each in metadata if isinstance(each, Gt)), None)
    if any(isinstance(each, MinLen) for each in metadata):
        return ", not empty"
    most = "" if high is None else f" to {high:,.0f}" if low is not None else f", at most {high:,.0f}"
    if above is not None:
        return f" above {above:g}{most}"
    return f" from {low:g}{most}" if most else f", at least {low:g}"


def _default(each: "Field[Any]") -> str:
    """What holds when nothing is written; empty where parts have defaults of their own."""
    value = each.default_factory() if each.default_factory is not MISSING else each.default
    if value is MISSING:
        return REQUIRED
    return "" if is_dataclass(value) else _yaml(value)


def _yaml(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value) or "not set"


def _meant(choices: type[StrEnum]) -> dict[str, str]:
    said = meanings(choices)
    return {each.value: _said(said.get(name, "")) for name, each in choices.__members__.items()}


def _about(kind: Any) -> str:
    return _said(re.sub(r" \(section `\w+`\)", "", " ".join((inspect.getdoc(kind) or "").split())))


def _said(text: str) -> str:
    """In words of the file, not of Python."""
    text = re.sub(r"^None:|(?<=[.] )None:", "Not set:", text)
    return re.sub(r"\bNone:", "not set:", text)
