"""Owns the settings of a run: where they are looked for, who wins, and what is said when one of them is wrong."""

import difflib
import json
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from annotated_types import Gt
from pydantic import SecretStr, TypeAdapter, ValidationError

from planner import service, times, yamlfile
from planner.audience import Notify
from planner.complaint import clearest, complaint, nearest, refuse_infinite
from planner.connection import Connection
from planner.errors import ConfigError
from planner.policy import Apply, Cluster, Policy
from planner.service import Log, Metrics, Run
from planner.words import with_lists, words


@dataclass(frozen=True, slots=True)
class Api:
    """Where the Proxmox VE API is and who asks (section `api`); what is needed is checked by `connection`."""

    hosts: tuple[str, ...] = ()  # tried in order: name, IPv4 or IPv6, the port being optional
    user: str = ""
    token_id: str | None = None  # "name" or "user@realm!name"
    token_secret: SecretStr | None = None
    token_secret_file: str | None = None
    password: SecretStr | None = None
    password_file: str | None = None
    verify_tls: bool = True
    ca_file: str | None = None
    fingerprint: str | None = None  # SHA-256 of the certificate
    timeout: Annotated[float, Gt(0)] = 30.0  # seconds without a byte of answer


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a run."""

    api: Api = field(default_factory=Api)
    cluster: Cluster = field(default_factory=Cluster)
    policy: Policy = field(default_factory=Policy)
    apply: Apply = field(default_factory=Apply)
    run: Run = field(default_factory=Run)
    notify: Notify = field(default_factory=Notify)
    metrics: Metrics = field(default_factory=Metrics)
    log: Log = field(default_factory=Log)
    source: str | None = None  # path of the file that was read


class _Setting(NamedTuple):
    section: str
    key: str
    value: Any
    where: str  # as in "policy.seed <where>: ..."
    base: Path  # what relative paths are relative to


PREFIX = "PROXLB_PLAN_"
CONFIG_VARIABLE = "PROXLB_PLAN_CONFIG"
SYSTEM_FILE = Path("/etc/proxlb-plan/config.yaml")
SECRETS = ("token_secret", "password")
# What is set for one of these replaces what a weaker place set for the other.
_OTHER = {key: f"{key}_file" for key in SECRETS} | {f"{key}_file": key for key in SECRETS}
_SECTIONS = {
    "api": Api, "cluster": Cluster, "policy": Policy, "apply": Apply,
    "run": Run, "notify": Notify, "metrics": Metrics, "log": Log,
}  # fmt: skip
_TYPES = {name: get_type_hints(section) for name, section in _SECTIONS.items()}
_PATHS = {f"{section}.{key}": (section, key) for section, types in _TYPES.items() for key in types}
FOR_NODES = ("reserve", "overcommit")
"""Settings of several parts for each node; the parts alone are for all of them."""
_VARIABLES = {PREFIX + path.upper().replace(".", "__"): found for path, found in _PATHS.items()}


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
    source = _path(cwd, named) if named else next(filter(os.path.exists, usual), None)
    layers: list[Iterable[_Setting]] = [_from_file(source, environ)] if source else []
    layers += [_from_environment(environ, cwd), _from_mapping(flags or {}, "on the command line", cwd)]
    return _validated(_choose(layers), str(source) if source else None)


def chosen(settings: Mapping[str, Any], base: Config | None = None, where: str = "among the keywords") -> Config:
    """Settings given as keywords, policy, cluster and apply side by side, over others; raises ConfigError."""
    sections: dict[str, dict[str, Any]] = {"policy": {}, "cluster": {}, "apply": {}}
    for key, value in settings.items():
        section = next((name for name in sections if key in _TYPES[name]), None)
        if section is None:
            known = [key for name in sections for key in _TYPES[name]]
            raise ConfigError(f"there is no setting {key}: {nearest(key, known)}")
        sections[section][key] = value
    given = _validated(_choose([_from_mapping(sections, where, Path())]), None)
    return given if base is None else _over(base, given, sections)


def _over(base: Config, given: Config, keys: Mapping[str, Mapping[str, Any]]) -> Config:
    """The base with those settings of its sections that were given."""
    sections = {
        section: replace(getattr(base, section), **{key: getattr(getattr(given, section), key) for key in values})
        for section, values in keys.items()
    }
    return replace(base, **sections)


def _path(base: Path, text: str) -> Path:
    return base / os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises for a user that does not exist


def _from_file(path: Path, environ: Mapping[str, str]) -> list[_Setting]:
    content, shared = _read(path, "configuration file", environ)
    sections = yamlfile.parse(content, str(path))
    if not isinstance(sections, dict | None):
        raise ConfigError(f"{path} is not a mapping: start it with one of {', '.join(_SECTIONS)}")
    settings = list(_from_mapping(sections or {}, f"in {path}", path.parent))
    held = [f"api.{s.key}" for s in settings if s.section == "api" and s.key in SECRETS and s.value is not None]
    if held and shared:
        raise ConfigError(f"{path} holds {held[0]} and others may read it: run {shared}")
    return settings


def _read(path: Path, what: str, environ: Mapping[str, str]) -> tuple[str, str]:
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


def _from_mapping(sections: Mapping[Any, Any], where: str, base: Path) -> Iterator[_Setting]:
    for section, values in sections.items():
        if section not in _TYPES:
            raise ConfigError(f"unknown key {section} {where}: {_nearest(section, list(_TYPES))}")
        if not isinstance(values, Mapping | None):
            raise ConfigError(f"{section} {where} is not a mapping: it has {', '.join(_TYPES[section])}")
        for key, value in (values or {}).items():
            if key not in _TYPES[section]:
                raise ConfigError(f"unknown key {section}.{key} {where}: {_nearest(key, list(_TYPES[section]))}")
            yield _Setting(section, key, value, where, base)


def _from_environment(environ: Mapping[str, str], cwd: Path) -> Iterator[_Setting]:
    """An empty variable counts as not given: container tools pass on what is not set that way."""
    for name, value in environ.items():
        if name in _VARIABLES:
            yield _Setting(*_VARIABLES[name], value or None, f"in ${name}", cwd)
        elif name.startswith(PREFIX) and name != CONFIG_VARIABLE:
            nearest = difflib.get_close_matches(name, [*_VARIABLES, CONFIG_VARIABLE], 1, 0)[0]
            raise ConfigError(f"unknown variable ${name}: did you mean ${nearest}?")


def _nearest(word: str, known: Sequence[str]) -> str:
    return nearest(word, known, {key: path for path, (_, key) in _PATHS.items()})


def _choose(layers: Iterable[Iterable[_Setting]]) -> dict[tuple[str, str], _Setting]:
    """The strongest setting of each key, the last layer being the strongest."""
    chosen: dict[tuple[str, str], _Setting] = {}
    for layer in layers:
        given = {(setting.section, setting.key): setting for setting in layer if setting.value is not None}
        for section, key in given:
            chosen.pop((section, _OTHER.get(key, "")), None)
        chosen |= given
    return chosen


def _validated(chosen: Mapping[tuple[str, str], _Setting], source: str | None) -> Config:
    values: dict[str, Any] = {section: {} for section in _TYPES}
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
    keys = [item.name for inner in _inner(_TYPES[section][key]) for item in fields(inner)]
    raise ConfigError(complaint(first, chosen[section, key].where, keys))  # not in the except clause: that has values


def _origins(chosen: Mapping[tuple[str, str], _Setting], section: str) -> dict[str, str]:
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


def _prepared(setting: _Setting) -> Any:
    """The value as pydantic takes it: lists and mappings from text, paths from where they were written."""
    section, key, value, where, base = setting
    kind = _TYPES[section][key]
    if isinstance(value, str) and key.endswith("_file"):
        return str(_path(base, value)) if value else None
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


def connection(config: Config, environ: Mapping[str, str] | None = None) -> Connection:
    """What a session with the API needs, secrets read from their files; raises ConfigError."""
    api = config.api
    if not api.hosts and not api.user and not api.token_id:
        needed = "set api.hosts, api.token_id and api.token_secret_file in proxlb-plan.yaml"
        raise ConfigError(f"no Proxmox VE API is configured: {needed}, or try --demo or --snapshot FILE")
    if (api.token_id or api.token_secret or api.token_secret_file) and (api.password or api.password_file):
        raise ConfigError("api has both a token and a password: keep api.token_id with its secret, or the password")
    if "=" in (api.token_id or ""):  # the form of the HTTP header, secret included: messages name the token id
        raise ConfigError("api.token_id has a = in it: what follows it is the secret and belongs in api.token_secret")
    if api.ca_file and not os.access(api.ca_file, os.F_OK):
        raise ConfigError(f"api.ca_file {api.ca_file} does not exist: copy /etc/pve/pve-root-ca.pem there from a node")
    same = ("hosts", "user", "token_id", "verify_tls", "ca_file", "fingerprint", "timeout")
    given: dict[str, Any] = {key: getattr(api, key) for key in same}
    given |= {key: _secret(api, key, os.environ if environ is None else environ) for key in SECRETS}
    return Connection(**given)


def _secret(api: Api, key: str, environ: Mapping[str, str]) -> str | None:
    """The secret itself: given, in its file, or handed over by systemd (LoadCredential=token_secret: or password:)."""
    value, file, name = getattr(api, key), getattr(api, _OTHER[key]), f"api.{_OTHER[key]}"
    if value and file:
        raise ConfigError(f"api.{key} and {name} are both set: keep one")
    credential = f"{environ.get('CREDENTIALS_DIRECTORY') or os.devnull}/{key}"
    if not value and not file and (key == "token_secret") == bool(api.token_id) and os.access(credential, os.F_OK):
        file = credential
    if not file:
        return value.get_secret_value() if value else None
    text, shared = _read(Path(file), name, environ)
    if shared:
        raise ConfigError(f"{name} {file} may be read by others: run {shared}")
    if not text.strip():
        raise ConfigError(f"{name} {file} is empty: write the secret to it")
    return text.rstrip("\r\n")
