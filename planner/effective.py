"""Owns all settings that hold as a file that would say the same, with where each comes from, and without secrets."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import yaml
from pydantic import SecretStr

from planner.audience import Webhook
from planner.origin import Settings
from planner.plain import plain
from planner.policy import Hooks
from planner.settings import SECTIONS, Config

MASK: Final = "**********"
DEFAULT: Final = "default"


def shown(config: Config, chosen: Settings, *, origin: bool = False) -> str:
    """YAML; with `origin` a comment beside each setting: the file, the variable, the command line, or default."""
    result = []
    for section, kind in SECTIONS.items():
        result.append(f"{section}:")
        values = getattr(config, section)
        for item in fields(kind):
            setting = chosen.get((section, item.name))
            where = re.sub("^(in|on the) ", "", setting.where) if setting else DEFAULT
            comment = f"  # {plain(where)}" if origin else ""
            result += lines(item.name, _masked(section, item.name, getattr(values, item.name)), comment)
    return "\n".join(result)


def lines(key: str, value: Any, comment: str = "") -> list[str]:
    """A setting as YAML has it: one line, or a block where one would be hard to read."""
    if not isinstance(value, dict | list) or not any(isinstance(part, dict | list) for part in _parts(value)):
        return [f"  {key}: {_flow(value)}{comment}"]
    if isinstance(value, list):
        return [f"  {key}:{comment}", *(f"    - {_flow(part)}" for part in value)]
    return [f"  {key}:{comment}", *(f"    {_flow(name)}: {_flow(part)}" for name, part in value.items())]


def _parts(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump([value], default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text[1:-2] if text.count("\n") == 1 and text[:-1].isprintable() else json.dumps(value)


def _masked(section: str, key: str, value: Any) -> Any:
    """Without what may be a secret that was written where none belongs."""
    if (section, key) == ("api", "hosts"):
        return [re.sub(r"^.*@", f"{MASK}@", host, flags=re.DOTALL) for host in value]
    if (section, key) == ("api", "token_id") and value:
        return re.sub(r"=.*$", f"={MASK}", value, flags=re.DOTALL)
    if (section, key) == ("notify", "command"):
        return _program(value)
    if isinstance(value, Hooks):
        parts = {item.name: getattr(value, item.name) for item in fields(value)}
        return {name: _program(part) if isinstance(part, tuple) else part for name, part in parts.items()}
    return (
        {item.name: _plain(getattr(value, item.name)) for item in fields(value)} if _is_record(value) else _plain(value)
    )


def _plain(value: Any) -> Any:
    """As YAML has it; of records what is not as it would be anyway."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Webhook):
        return _changed(value) | {"url": _address(value.url.get_secret_value())}
    if _is_record(value):
        return _changed(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, str) else value


def _program(command: Sequence[str]) -> list[str]:
    """Of a command what is run: a key of an API may be among its arguments."""
    return [*command[:1], *(MASK for _ in command[1:])]


def _is_record(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _changed(record: Any) -> dict[str, Any]:
    values = {item.name: (getattr(record, item.name), _default(item)) for item in fields(record)}
    return {name: _plain(value) for name, (value, default) in values.items() if value != default}


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _address(url: str) -> str:
    """The host: what comes after it is often all that a caller has to know."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}/{MASK}"
