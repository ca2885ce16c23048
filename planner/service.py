"""Owns what an operator decides about scheduled runs: sections run, metrics and log, with every default."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le, MinLen

from planner import times
from planner.choices import Active, Backups, Count, LogFormat, LogLevel, RunMode, SolverName
from planner.errors import ConfigError

DAYS = 366
"""Days for which looks are kept at most."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A time that comes again and again: it begins when an expression says so, and ends `until` a time of the day, or
    `lasts` a while."""

    __pydantic_config__ = {"extra": "forbid"}

    begin: Annotated[str, MinLen(1)]
    """A calendar event of systemd, such as `Mon..Fri 22:00`, or a cron expression, such as `0 22 * * 1-5`."""
    until: str | None = None
    """A time of the day such as 06:00..."""
    lasts: str | None = None
    """...or a while such as 8h."""
    time_zone: str | None = None
    """Such as Europe/Berlin; None: that of this machine."""


@dataclass(frozen=True, slots=True)
class Run:
    """When looks are taken, and what has to be so before anything is migrated (section `run`)."""

    __pydantic_config__ = {"extra": "forbid"}

    mode: RunMode = RunMode.OBSERVE
    solver: SolverName = SolverName.CPSAT
    every: str = "10m"
    """Between the beginnings of two looks of a daemon."""
    jitter: str = "30s"
    """By up to so much each look comes later, so that several installations do not ask at once."""
    delay: str = "0s"
    """Before the first look of a daemon."""
    looks: Count = 3
    """Consecutive looks that have to find the cluster out of balance; rules are repaired at the first."""
    min_gain: Annotated[float, Ge(0)] = 0.0
    """Points of spread that a plan has to gain for each GiB that it migrates, but to repair rules."""
    per_hour: Count | None = None
    """Migrations of this cluster that this machine starts within an hour..."""
    per_day: Count | None = None
    """...and within a day, at most: also a limit of each plan."""
    windows: tuple[Opening, ...] = ()
    """When migrations may start; none: always."""
    blackouts: tuple[Opening, ...] = ()
    """When they may not."""
    backups: Backups = Backups.PAUSE
    last_week: bool = False
    """Whether a plan must be no worse under the loads of the last week either; always so with a `policy.window`."""
    active: Active = Active.ALWAYS
    node: str | None = None
    """The name of the node that this machine is, where `active` is ha-manager; None: its host name."""
    grace: str = "60s"
    """For which migrations under way are waited for when the daemon is told to end; then they are left to Proxmox VE,
    and the next one finds them."""
    valid: str = "24h"
    """For which a plan waits to be approved before another one takes its place."""
    keep: Annotated[int, Ge(1), Le(DAYS)] = 30
    """Days for which looks are remembered."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where figures for Prometheus go (section `metrics`)."""

    __pydantic_config__ = {"extra": "forbid"}

    textfile: str | None = None
    """A file for the textfile collector of node_exporter, replaced after each look."""
    listen: str | None = None
    """HOST:PORT on which a daemon answers, such as 127.0.0.1:9106."""


@dataclass(frozen=True, slots=True)
class Log:
    """How messages of scheduled runs are written (section `log`)."""

    __pydantic_config__ = {"extra": "forbid"}

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.AUTO


SPANS = ("every", "jitter", "delay", "grace", "valid")
"""Settings of section run that are whiles."""


def check(settings: Run, where: Mapping[str, str]) -> None:
    """ConfigError for what pydantic cannot see; `where`: key to where it was written."""
    for key in SPANS:
        try:
            seconds = times.span(getattr(settings, key))
        except ConfigError as error:
            raise ConfigError(f"run.{key} {where.get(key, '')}: {error}") from None
        if key == "every" and seconds < 1:
            raise ConfigError(f"run.every {where.get(key, '')}: {settings.every} is less than a second")


LISTEN = re.compile(r"(?P<host>\[[^\[\]\s]+\]|[^\[\]:\s]*):(?P<port>\d{1,5})")
"""An IPv6 address is in brackets."""


def check_metrics(settings: Metrics, where: Mapping[str, str]) -> None:
    """ConfigError for a file that nobody would read, and for what is no address; `where` as above."""

    def wrong(key: str, text: str) -> ConfigError:
        return ConfigError(f"metrics.{key}{f' {where[key]}' if key in where else ''}: {text}")

    if settings.textfile is not None and not settings.textfile.endswith(".prom"):
        reads = "node_exporter reads no files but those whose names end in .prom"
        raise wrong("textfile", f"{settings.textfile} would not be read: {reads}")
    try:
        address(settings.listen or "127.0.0.1:9106")
    except ConfigError as error:
        raise wrong("listen", str(error)) from None


def address(listen: str) -> tuple[str, int]:
    """Host and port, the host being empty where all addresses are meant. ConfigError."""
    found = LISTEN.fullmatch(listen.strip())
    if found is None or int(found["port"]) > 65535:
        raise ConfigError(f"{listen} is no address such as 127.0.0.1:9106 or [::1]:9106")
    return found["host"].strip("[]"), int(found["port"])
