"""Owns where settings are written: files, the environment, mappings; which place wins, and what is no setting."""

import difflib
import os
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from planner import proxlb_settings, yamlfile
from planner.audience import holds_secret
from planner.complaint import Refuse, nearest, stop
from planner.errors import ConfigError
from planner.settings import OTHER, PATHS, SECRETS, TYPES

PREFIX = "PROXLB_PLAN_"
CONFIG_VARIABLE = "PROXLB_PLAN_CONFIG"
VARIABLES = {PREFIX + path.upper().replace(".", "__"): found for path, found in PATHS.items()}


class Setting(NamedTuple):
    """A value, and where it was written."""

    section: str
    key: str
    value: Any
    where: str  # as in "policy.seed <where>: ..."
    base: Path  # what relative paths are relative to


class Settings(dict[tuple[str, str], Setting]):
    """Section and key to what holds."""

    remarks: tuple[str, ...] = ()
    """What a person should know about the file that was read."""


class Written(NamedTuple):
    """What stands in a file."""

    settings: list[Setting]
    remarks: tuple[str, ...] = ()


def path_from(base: Path, text: str) -> Path:
    """What a path means that was written where relative ones are relative to `base`."""
    return base / os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises for a user that does not exist


def from_file(path: Path, environ: Mapping[str, str], refuse: Refuse = stop) -> Written:
    """The settings of a file, ours or ProxLB's; ConfigError when it cannot be used, or holds a secret that others may
    read."""
    content, shared = read(path, "configuration file", environ)
    settings, remarks = _settings(content, path, refuse)
    held = [f"api.{s.key}" for s in settings if s.section == "api" and s.key in SECRETS and s.value is not None]
    held += [f"notify.{s.key}" for s in settings if s.section == "notify" and holds_secret(s.key, s.value)]
    if held and shared:
        refuse(f"{path} holds {held[0]} and others may read it: run {shared}")
    return Written(settings, remarks)


def _settings(content: str, path: Path, refuse: Refuse) -> Written:
    if proxlb_settings.is_proxlb(content, str(path)):
        found = proxlb_settings.translate(content, str(path), refuse)
        said = [Setting(t.section, t.key, t.value, f"in {path} ({t.origin})", path.parent) for t in found.settings]
        return Written(said, tuple(map(str, found.remarks)))
    sections = yamlfile.parse(content, str(path))
    if not isinstance(sections, dict | None):
        raise ConfigError(f"{path} is not a mapping: start it with one of {', '.join(TYPES)}")
    return Written(list(from_mapping(sections or {}, f"in {path}", path.parent, refuse)))


def read(path: Path, what: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The text, and where group or others may read it the command that ends that."""
    directory = environ.get("CREDENTIALS_DIRECTORY")  # guarded by systemd, with modes that look too wide
    guarded = directory and path.is_relative_to(directory)
    try:
        with path.open(encoding="utf-8-sig") as file:
            shared = os.fstat(file.fileno()).st_mode & (stat.S_IRGRP | stat.S_IROTH)
            return file.read(), f"`chmod 600 {shlex.quote(str(path))}`" if shared and not guarded else ""
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", "it is not UTF-8 text")
        raise ConfigError(f"{what} {path} cannot be read: {reason}") from None  # a UnicodeError holds the bytes


def from_mapping(sections: Mapping[Any, Any], where: str, base: Path, refuse: Refuse = stop) -> Iterator[Setting]:
    """The settings of sections; what is none is refused."""
    for section, values in sections.items():
        if section not in TYPES:
            refuse(f"unknown key {section} {where}: {_nearest(section, list(TYPES))}")
        elif not isinstance(values, Mapping | None):
            refuse(f"{section} {where} is not a mapping: it has {', '.join(TYPES[section])}")
        else:
            for key, value in (values or {}).items():
                if key in TYPES[section]:
                    yield Setting(section, key, value, where, base)
                else:
                    refuse(f"unknown key {section}.{key} {where}: {_nearest(key, list(TYPES[section]))}")


def from_environment(environ: Mapping[str, str], cwd: Path, refuse: Refuse = stop) -> Iterator[Setting]:
    """An empty variable counts as not given: container tools pass on what is not set that way."""
    for name, value in environ.items():
        if name in VARIABLES:
            yield Setting(*VARIABLES[name], value or None, f"in ${name}", cwd)
        elif name.startswith(PREFIX) and name != CONFIG_VARIABLE:
            close = difflib.get_close_matches(name, [*VARIABLES, CONFIG_VARIABLE], 1, 0)[0]
            refuse(f"unknown variable ${name}: did you mean ${close}?")


def _nearest(word: str, known: Sequence[str]) -> str:
    return nearest(word, known, {key: path for path, (_, key) in PATHS.items()})


def strongest(layers: Iterable[Iterable[Setting]]) -> Settings:
    """The strongest setting of each key, the last layer being the strongest."""
    chosen = Settings()
    for layer in layers:
        given = {(setting.section, setting.key): setting for setting in layer if setting.value is not None}
        for section, key in given:
            chosen.pop((section, OTHER.get(key, "")), None)
        chosen |= given
    return chosen
