"""Owns what is said of a configuration as a whole: all that is wrong with it, and what is left without effect."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.config import gathered, validated
from planner.credentials import connection
from planner.errors import ConfigError, PlannerError
from planner.settings import Config
from planner.tell import Teller


@dataclass(frozen=True, slots=True)
class Examined:
    """A configuration, and what there is to say of it, one line each."""

    config: Config
    """Without the settings that make no sense."""
    given: int
    """Settings that hold, defaults apart."""
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def examine(
    path: str | None = None, flags: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None, cwd: Path | None = None,
) -> Examined:  # fmt: skip
    """Everything that commands would complain of one by one before they ask anybody anything."""
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    try:
        chosen, source = gathered(path, flags, environ, cwd, problems.append)
    except ConfigError as error:  # of a file that cannot be read nothing more can be said
        return Examined(Config(), 0, (*problems, str(error)), ())
    config = validated(chosen, source, problems.append)
    notes = [*config.remarks, *_connecting(config, environ, problems)]
    _telling(config, environ, problems)
    return Examined(config, len(chosen), tuple(dict.fromkeys(problems)), tuple(notes))


def _connecting(config: Config, environ: Mapping[str, str], problems: list[str]) -> list[str]:
    """What keeps it from connecting is a problem, but a note where no cluster is named at all."""
    if any(re.search(r"\bapi\b", problem) for problem in problems):
        return []  # the rest would follow from these
    try:
        connection(config, environ)
    except ConfigError as error:
        if not (config.api.hosts or config.api.user or config.api.token_id):
            return [str(error)]
        problems.append(str(error))
    return []


def _telling(config: Config, environ: Mapping[str, str], problems: list[str]) -> None:
    """Whether those who are to be told of scheduled runs could be."""
    if not any(re.search(r"\bnotify\b", problem) for problem in problems):
        try:
            Teller(config.notify, problems.append, environ)
        except PlannerError as error:
            problems.append(str(error))
