"""Owns how values of ProxLB's configuration are read, and what can become of a key: settings, or a remark."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from planner.complaint import Refuse, nearest, stop
from planner.errors import ConfigError
from planner.plain import plain

Reader = Callable[[Any, str], Any]
"""The value of a key, of which the name is given; ConfigError where it makes no sense."""
YES: Final = ("true", "yes", "on", "1", "y", "t", "enable")
NO: Final = ("false", "no", "off", "0", "n", "f", "disable")
IDLE: Final = "has no effect: "
PRIVATE: Final = "proxmox"
"""How sections begin whose values are never shown."""


class Taken(NamedTuple):
    """A setting of ours, and which keys of ProxLB say so."""

    section: str
    key: str
    value: Any
    of: tuple[str, ...]
    default: bool = False
    """Whether none of them is written, and it is what ProxLB does without."""

    @property
    def origin(self) -> str:
        """Whose it was, in words."""
        of = ", ".join(self.of)
        return plain(f"what ProxLB does without {of}" if self.default else of)


class Remark(NamedTuple):
    """What an operator should know about a key."""

    key: str
    text: str
    idle: bool = True
    """Whether it has no effect; otherwise it has another one."""

    def __str__(self) -> str:
        return plain(f"{self.key} {IDLE if self.idle else ''}{self.text}")


class Kept(NamedTuple):
    """A key that asks for what is done anyway."""

    key: str


Outcome = Taken | Remark | Kept


@dataclass(frozen=True)
class Document:
    """What is written, by the dotted names of the keys."""

    values: Mapping[str, Any]

    def has(self, *keys: str) -> bool:
        """Whether one of some keys is written."""
        return any(key in self.values for key in keys)

    def get(self, key: str, default: Any = None) -> Any:
        """What is written, or what ProxLB does without."""
        return self.values.get(key, default)

    def taken(self, path: str, value: Any, *of: str) -> Taken:
        """A setting that keys give, or ProxLB's default for the first of them."""
        section, key = path.split(".")
        written = tuple(name for name in of if self.has(name))
        return Taken(section, key, value, written or of[:1], not written)


Fate = Callable[[Document, str], Iterator[Outcome]]


class Key(NamedTuple):
    """How a key is read, and what becomes of it; without a fate it is one of several that are looked at together."""

    read: Reader
    fate: Fate | None = None


def becomes(path: str, default: Any = None) -> Fate:
    """The same by another name. A default is given where ours is another one."""

    def fate(document: Document, key: str) -> Iterator[Outcome]:
        value = document.get(key, default)
        if value is not None:
            yield document.taken(path, value, key)

    return fate


def idle(why: str, kept: Any = None) -> Fate:
    """No effect, unless it is asked for what is done anyway."""

    def fate(document: Document, key: str) -> Iterator[Outcome]:
        if document.has(key):
            yield Kept(key) if kept is not None and document.get(key) == kept else Remark(key, why)

    return fate


def flag(value: Any, key: str) -> bool:
    """Yes or no, as YAML and INI files write it."""
    word = str(value).strip().casefold()
    if word not in YES + NO:
        raise _wrong(value, key, "is not true or false")
    return word in YES


def whole(value: Any, key: str) -> int:
    """A whole number."""
    found = number(value, key)
    if not isinstance(found, int):
        raise _wrong(value, key, "is not a whole number")
    return found


def number(value: Any, key: str) -> float:
    """Any number."""
    try:
        found = float(str(value).strip())
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise _wrong(value, key, "is not a number")
    return int(found) if found.is_integer() else found


def text(value: Any, key: str) -> str:
    """A single value."""
    if not isinstance(value, str):
        raise _wrong(value, key, "is not text")
    return value


def words(value: Any, key: str) -> list[str]:
    """A list, or names separated by commas."""
    if isinstance(value, str):
        return [word for word in re.split(r"[,\s]+", value) if word]
    if not isinstance(value, list):
        raise _wrong(value, key, "is not a list")
    return [text(part, key) for part in value]


def one_of(*names: str) -> Reader:
    """One of some names."""

    def read(value: Any, key: str) -> str:
        if value not in names:
            raise _wrong(value, key, f"is not one of {', '.join(names)}")
        return str(value)

    return read


def list_of(*names: str) -> Reader:
    """Some of these names."""
    return lambda value, key: [one_of(*names)(word, key) for word in words(value, key)]


def each(inner: Reader) -> Reader:
    """A mapping with any names."""
    return lambda value, key: {
        name: inner(part, f"{key}.{name}") for name, part in _mapping(value, key).items() if part is not None
    }


def part(**known: Reader) -> Reader:
    """A mapping with these names."""

    def read(value: Any, key: str) -> dict[str, Any]:
        given = _mapping(value, key)
        for name in given:
            if name not in known:
                raise ConfigError(f"unknown key {key}.{name}: {nearest(name, list(known))}")
        return {name: known[name](inner, f"{key}.{name}") for name, inner in given.items() if inner is not None}

    return read


def document(sections: Mapping[str, Any], keys: Mapping[str, Key], refuse: Refuse = stop) -> Document:
    """All that is written in nested mappings. A key that there is not, or a value without sense, is refused."""
    return Document(dict(_written(sections, keys, "", refuse)))


def _written(
    value: Mapping[str, Any], keys: Mapping[str, Key], prefix: str, refuse: Refuse
) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        path = f"{prefix}{name}"
        try:
            if path in keys:
                if inner is not None:
                    yield path, keys[path].read(inner, path)
                continue
            _check_known(path, prefix, keys)
            below = _mapping({} if inner is None else inner, path)
        except ConfigError as error:
            refuse(str(error))
        else:
            yield from _written(below, keys, f"{path}.", refuse)


def _check_known(path: str, prefix: str, keys: Mapping[str, Key]) -> None:
    """ConfigError where there is no key below a path."""
    if not any(key.startswith(f"{path}.") for key in keys):
        here = dict.fromkeys(key.removeprefix(prefix).split(".")[0] for key in keys if key.startswith(prefix))
        elsewhere = {key.rpartition(".")[2]: key for key in keys}
        raise ConfigError(f"unknown key {path}: {nearest(path.removeprefix(prefix), list(here), elsewhere)}")


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(value, key, "is not a mapping")
    return value


def _wrong(value: Any, key: str, why: str) -> ConfigError:
    shown = f'"{value}"' if isinstance(value, str) and not key.startswith(PRIVATE) else "the value"
    return ConfigError(f"{key}: {shown} {why}")


def translated(
    found: Document, keys: Mapping[str, Key], together: tuple[Callable[[Document], Iterator[Outcome]], ...],
    refuse: Refuse = stop,
) -> Iterator[Outcome]:  # fmt: skip
    """What becomes of all that is written, key by key and then of those that are looked at together."""
    fates = [key.fate(found, name) for name, key in keys.items() if key.fate is not None]
    for outcomes in (*fates, *(several(found) for several in together)):
        try:
            yield from outcomes
        except ConfigError as error:
            refuse(str(error))
