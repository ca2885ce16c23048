"""Owns what is said of a configuration as a whole: all that is wrong with it, and what is left without effect."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.config import gathered, validated
from planner.credentials import connection
from planner.errors import ConfigError
from planner.settings import Config


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
    """Everything that `load`, and the first connection, would complain of one by one. Asks no cluster."""
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    try:
        chosen, source = gathered(path, flags, environ, cwd, problems.append)
    except ConfigError as error:  # of a file that cannot be read nothing more can be said
        return Examined(Config(), 0, (*problems, str(error)), ())
    config = validated(chosen, source, problems.append)
    notes = list(config.remarks)
    api = config.api
    if not any(re.search(r"\bapi\b", problem) for problem in problems):  # the rest would follow from these
        try:
            connection(config, environ)
        except ConfigError as error:
            nothing = not api.hosts and not api.user and not api.token_id
            (notes if nothing else problems).append(str(error))
    return Examined(config, len(chosen), tuple(dict.fromkeys(problems)), tuple(notes))
