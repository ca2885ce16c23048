"""Owns the settings of a run: where they are looked for, who wins, and what is said when one of them is wrong."""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from planner import audience, maintenance, openings, service, times
from planner.complaint import Refuse, clear, complaint, nearest, refuse_infinite, stop
from planner.credentials import connection
from planner.errors import ConfigError
from planner.origin import (
    CONFIG_VARIABLE,
    Setting,
    Settings,
    Written,
    from_environment,
    from_file,
    from_mapping,
    path_from,
    strongest,
)
from planner.settings import FOR_NODES, TYPES, Api, Config
from planner.words import with_lists, words

__all__ = ["SYSTEM_FILE", "Api", "Config", "chosen", "connection", "gathered", "load", "validated"]

SYSTEM_FILE = Path("/etc/proxlb-plan/config.yaml")
CHECKS: tuple[tuple[str, Callable[[Any, Mapping[str, str]], None]], ...] = (
    ("cluster", maintenance.check), ("apply", times.check), ("run", service.check), ("run", openings.check),
    ("notify", audience.check), ("metrics", service.check_metrics),
)  # fmt: skip
"""Section and what raises ConfigError for what makes no sense in it; it is told where each key was written."""


def load(
    path: str | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Config:
    """Settings from file < environment < flags (section to key to value; None: not given); raises ConfigError.

    A setting replaces the weaker one as a whole. A file that is named must exist; the usual places may be empty.
    """
    return validated(*gathered(path, flags, environ, cwd))


def gathered(
    path: str | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    refuse: Refuse = stop,
) -> tuple[Settings, str | None]:
    """The settings that hold, with where each was written, not yet validated; and the file that was read."""
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    named = path or environ.get(CONFIG_VARIABLE)
    xdg = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    usual = [cwd / "proxlb-plan.yaml", Path(xdg, "proxlb-plan", "config.yaml"), SYSTEM_FILE]
    source = path_from(cwd, named) if named else next(filter(os.path.exists, usual), None)
    file = from_file(source, environ, refuse) if source else Written([])
    layers: list[Iterable[Setting]] = [file.settings]
    layers += [from_environment(environ, cwd, refuse), from_mapping(flags or {}, "on the command line", cwd, refuse)]
    found = strongest(layers)
    found.remarks = file.remarks
    return found, str(source) if source else None


def chosen(settings: Mapping[str, Any], base: Config | None = None, where: str = "among the keywords") -> Config:
    """Settings given as keywords, policy, cluster and apply side by side, over others; raises ConfigError."""
    sections: dict[str, dict[str, Any]] = {"policy": {}, "cluster": {}, "apply": {}}
    for key, value in settings.items():
        section = next((name for name in sections if key in TYPES[name]), None)
        if section is None:
            known = [key for name in sections for key in TYPES[name]]
            raise ConfigError(f"there is no setting {key}: {nearest(key, known)}")
        sections[section][key] = value
    given = validated(strongest([from_mapping(sections, where, Path())]), None)
    return given if base is None else _over(base, given, sections)


def _over(base: Config, given: Config, keys: Mapping[str, Mapping[str, Any]]) -> Config:
    """The base with those settings of its sections that were given."""
    sections = {
        section: replace(getattr(base, section), **{key: getattr(getattr(given, section), key) for key in values})
        for section, values in keys.items()
    }
    return replace(base, **sections)


def validated(chosen: Settings, source: str | None, refuse: Refuse = stop) -> Config:
    """The settings as types; those that are refused are left out."""
    values: dict[str, dict[str, Any]] = {section: {} for section in TYPES}
    for (section, key), setting in chosen.items():
        try:
            values[section][key] = _prepared(setting)
        except ConfigError as error:
            refuse(str(error))
    left = {(section, key): chosen[section, key] for section, keys in values.items() for key in keys}
    try:
        config = _adapter().validate_python(values | {"source": source, "remarks": chosen.remarks})
    except ValidationError as error:
        wrong = clear(error.errors(include_url=False))
    else:
        _check(config, left, refuse)
        return config
    places = [_place(item) for item in wrong]
    for item, place in zip(wrong, places, strict=True):  # not in the except clause: that has values
        refuse(complaint(item, left[place].where, _keys(*place)))
    good = Settings({place: its for place, its in left.items() if place not in places})
    good.remarks = chosen.remarks
    return validated(good, source, refuse)


def _check(config: Config, chosen: Mapping[tuple[str, str], Setting], refuse: Refuse) -> None:
    """What pydantic cannot see."""
    for section, check in CHECKS:
        try:
            check(getattr(config, section), {key: its.where for (of, key), its in chosen.items() if of == section})
        except ConfigError as error:
            refuse(str(error))


def _place(error: ErrorDetails) -> tuple[str, str]:
    """Section and key."""
    return str(error["loc"][0]), str(error["loc"][1])


def _keys(section: str, key: str) -> list[str]:
    """Those of the mappings that a setting consists of."""
    return [item.name for inner in _inner(TYPES[section][key]) for item in fields(inner)]


@cache
def _adapter() -> TypeAdapter[Config]:
    """Made once: it takes longer than all the rest."""
    return TypeAdapter(Config)


def _inner(kind: Any) -> Iterator[Any]:
    """The dataclasses that a setting consists of."""
    if is_dataclass(kind):
        yield kind
    for part in get_args(kind):
        yield from _inner(part)


def _located(value: Any, base: Path) -> Any:
    """Paths in mappings of a list, from where they were written."""
    if isinstance(value, list):
        return [_located(part, base) for part in value]
    if not isinstance(value, Mapping):
        return value
    files = {
        key: str(path_from(base, part)) if part else None
        for key, part in value.items()
        if isinstance(part, str) and str(key).endswith("_file")
    }
    return {**value, **files}


def _prepared(setting: Setting) -> Any:
    """The value as pydantic takes it: lists and mappings from text, paths from where they were written."""
    section, key, value, where, base = setting
    kind = TYPES[section][key]
    if isinstance(value, str) and key.endswith(("_file", "textfile")):
        return str(path_from(base, value)) if value else None
    if key == "max_guests" and not isinstance(value, Mapping) and not str(value).lstrip().startswith("{"):
        value = {"default": value}
    listed, mapped = get_origin(kind) is tuple, get_origin(kind) is dict
    if isinstance(value, str) and (mapped or (listed and re.match(r'\[\s*["{\]]', value))):
        try:  # the pattern: "[fd00::1]:8006" is an address, not a list
            value = json.loads(value)
        except ValueError:
            raise ConfigError(f"{section}.{key} {where} is not JSON") from None
    if section == "notify":
        value = _located(audience.parts(key, value) if isinstance(value, str) and listed else value, base)
    if isinstance(value, str) and listed:
        return [word for word in re.split(r"[,\s]+", value) if word]
    if kind == tuple[str, ...]:
        value = words(value)
    flat = isinstance(value, Mapping) and not any(isinstance(part, Mapping) for part in value.values())
    if key in FOR_NODES and value and flat:
        value = {"default": value}
    for inner in _inner(kind):
        value = with_lists(value, inner)
    if (mapped and section == "policy") or kind in (float, float | None):
        refuse_infinite(value, f"{section}.{key}", where)
    return value
