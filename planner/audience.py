"""Owns who is told what of scheduled runs: section notify, with every default."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from annotated_types import Gt, Le, MinLen
from pydantic import SecretStr

from planner.choices import Event
from planner.errors import ConfigError

KEY: Final = 16
"""From so many characters on, a part of a path with a digit in it is taken for a key, as chat systems give them."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a JSON object is posted."""

    __pydantic_config__ = {"extra": "forbid"}

    url: Annotated[SecretStr, MinLen(1)]
    """https://... or http://...; never shown but for the host, as those of chat systems are secrets."""
    headers: dict[str, SecretStr] = field(default_factory=dict)
    """Such as {Authorization: Bearer ...}."""
    ca_file: str | None = None
    """Who has signed its certificate; None: the authorities that this machine trusts."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Who is told what (section `notify`)."""

    __pydantic_config__ = {"extra": "forbid"}

    events: tuple[Event, ...] = (
        Event.PROPOSED, Event.DONE, Event.FAILED, Event.CONFLICT, Event.ERROR, Event.RECOVERED,
    )  # fmt: skip
    webhooks: tuple[Webhook, ...] = ()
    command: tuple[str, ...] = ()
    """A command with its arguments, run without a shell; what happens arrives as JSON on stdin."""
    apprise: tuple[SecretStr, ...] = ()
    """Addresses of the package apprise, such as mailto://..., ntfy://..."""
    apprise_file: str | None = None
    """A file with such addresses, one a line, that others may not read; None: the credential `apprise` of systemd."""
    timeout: Annotated[float, Gt(0), Le(3600)] = 30.0
    """Seconds for each of them, with all tries."""


def check(settings: Notify, where: Mapping[str, str]) -> None:
    """ConfigError for what pydantic cannot see; `where`: key to where it was written."""
    for number, webhook in enumerate(settings.webhooks):
        name = f"notify.webhooks[{number}]"
        if not _is_address(webhook.url.get_secret_value()):
            raise ConfigError(f"{name}.url {where.get('webhooks', '')} is not an address such as https://host/path")
        for header, value in webhook.headers.items():
            # requests quotes an unfit header in its own error, and with it the secret.
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", header):
                raise ConfigError(f"{name}.headers {where.get('webhooks', '')} has a name that no header may have")
            if not re.fullmatch(r"[!-~]+([ \t]+[!-~]+)*", value.get_secret_value()):
                raise ConfigError(f"{name}.headers.{header} {where.get('webhooks', '')} is not one line of ASCII")
    if settings.command and not settings.command[0]:
        raise ConfigError(f"notify.command {where.get('command', '')} begins with nothing: name the program first")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        return False


def parts(key: str, text: str) -> list[str]:
    """A list that was written as one text: addresses may have commas in them, and a command is one word."""
    if key == "command":
        return [text]
    between = r"[,\s]+(?=[\w+.-]+://)" if key == "apprise" else r"[,\s]+"
    return [part for part in re.split(between, text.strip()) if part]


def holds_secret(key: str, value: Any) -> bool:
    """Whether a setting, as it was written, has a secret in it."""
    if key == "webhooks":
        return any(_reveals(each) for each in value if isinstance(each, Mapping)) if isinstance(value, list) else True
    return key == "apprise" and bool(value)


def _reveals(webhook: Mapping[Any, Any]) -> bool:
    try:
        url = urlsplit(str(webhook.get("url", "")))
    except ValueError:
        return True
    keys = (len(part) >= KEY and re.search(r"\d", part) for part in url.path.split("/"))
    return bool(webhook.get("headers") or "@" in url.netloc or url.query or any(keys))
