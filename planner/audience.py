"""Owns who is told what of scheduled runs: section notify, with every default."""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Gt, MinLen
from pydantic import SecretStr

from planner.choices import Event


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where a JSON object is posted."""

    __pydantic_config__ = {"extra": "forbid"}

    url: Annotated[str, MinLen(1)]
    headers: dict[str, SecretStr] = field(default_factory=dict)
    ca_file: str | None = None


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
    """A file with such addresses, one a line."""
    timeout: Annotated[float, Gt(0)] = 30.0
    """Seconds for each."""
