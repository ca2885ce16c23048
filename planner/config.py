"""Owns the settings of a run: where they are looked for, who wins, and what is said when one of them is wrong."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from planner import service, times
from planner.complaint import clearest, complaint, nearest, refuse_infinite
from planner.credentials import connection
from planner.errors import ConfigError
from planner.origin import CONFIG_VARIABLE, Setting, from_environment, from_file, from_mapping, path_from, strongest
from planner.settings import FOR_NODES, TYPES, Api, Config
from planner.words import with_lists, words

__all__ = ["SYSTEM_FILE", "Api", "Config", "chosen", "connection", "load"]

SYSTEM_FILE = Path("/etc/proxlb-plan/config.yaml")


def load(
    path: str | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Config:
    """Settings from file < environment < flags (section to key to value; None: not given); raises ConfigError.

    A setting replaces the weaker one as a whole. A file that is named must exist; the usual places may be empty.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    named = path or environ.get(CONFIG_VARIABLE)
    xdg = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    usual = [cwd / "proxlb-plan.yaml", Path(xdg, "proxlb-plan", "config.yaml"), SYSTEM_FILE]
    source = path_from(cwd, named) if named else next(filter(os.path.exists, usual), None)
    layers: list[Iterable[Setting]] = [from_file(source, environ)] if source else []
    layers += [from_environment(environ, cwd), from_mapping(flags or {}, "on the command line", cwd)]
    return _validated(strongest(layers), str(source) if source else None)


def chosen(settings: Mapping[str, Any], base: Config | None = None, where: str = "among the keywords") -> Config:
    """Settings given as keywords, policy, cluster and apply side by side, over others; raises ConfigError."""
    sections: dict[str, dict[str, Any]] = {"policy": {}, "cluster": {}, "apply": {}}
    for key, value in settings.items():
        section = next((name for name in sections if key in TYPES[name]), None)
        if section is None:
            known = [key for name in sections for key in TYPES[name]]
            raise ConfigError(f"there is no setting {key}: {nearest(key, known)}")
        sections[section][key] = value
    given = _validated(strongest([from_mapping(sections, where, Path())]), None)
    return given if base is None else _over(base, given, sections)


def _over(base: Config, given: Config, keys: Mapping[str, Mapping[str, Any]]) -> Config:
    """The base with those settings of its sections that were given."""
    sections = {
        section: replace(getattr(base, section), **{key: getattr(getattr(given, section), key) for key in values})
        for section, values in keys.items()
    }
    return replace(base, **sections)


def _validated(chosen: Mapping[tuple[str, str], Setting], source: str | None) -> Config:
    values: dict[str, Any] = {section: {} for section in TYPES}
    for (section, key), setting in chosen.items():
        values[section][key] = _prepared(setting)
    try:
        config = _adapter().validate_python(values | {"source": source})
    except ValidationError as error:
        first = clearest(error.errors(include_url=False))
    else:
        times.check(config.apply, _origins(chosen, "apply"))
        service.check(config.run, _origins(chosen, "run"))
        return config
    section, key = str(first["loc"][0]), str(first["loc"][1])
    keys = [item.name for inner in _inner(TYPES[section][key]) for item in fields(inner)]
    raise ConfigError(complaint(first, chosen[section, key].where, keys))  # not in the except clause: that has values


def _origins(chosen: Mapping[tuple[str, str], Setting], section: str) -> dict[str, str]:
    """Key to where it was written."""
    return {key: its.where for (of, key), its in chosen.items() if of == section}


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


def _prepared(setting: Setting) -> Any:
    """The value as pydantic takes it: lists and mappings from text, paths from where they were written."""
    section, key, value, where, base = setting
    kind = TYPES[section][key]
    if isinstance(value, str) and key.endswith("_file"):
        return str(path_from(base, value)) if value else None
    if key == "max_guests" and not isinstance(value, Mapping) and not str(value).lstrip().startswith("{"):
        value = {"default": value}
    listed, mapped = get_origin(kind) is tuple, get_origin(kind) is dict
    if isinstance(value, str) and (mapped or (listed and re.match(r'\[\s*["{\]]', value))):
        try:  # the pattern: "[fd00::1]:8006" is an address, not a list
            value = json.loads(value)
        except ValueError:
            raise ConfigError(f"{section}.{key} {where} is not JSON") from None
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
