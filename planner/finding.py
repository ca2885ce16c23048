"""Owns what an examination comes to: findings, each with its level and the way to mend it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from planner.errors import Exit, PlannerError


class Level(StrEnum):
    """How much a finding matters, the least first."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    advice: tuple[str, ...] = ()
    """Lines that say how to mend it: sentences, or commands to copy."""
    exit_code: int = Exit.ERROR
    """What a command ends with, if this is an error."""


def ok(what: str) -> Finding:
    """All is well with this."""
    return Finding(Level.OK, what)


def note(what: str, *advice: str) -> Finding:
    """Good to know."""
    return Finding(Level.NOTE, what, advice)


def warning(what: str, *advice: str) -> Finding:
    """Plans are possible, and may be worse or fail for this."""
    return Finding(Level.WARNING, what, advice)


def error(what: str, *advice: str) -> Finding:
    """Nothing can be planned, or nothing that can be trusted."""
    return Finding(Level.ERROR, what, advice)


def failure(problem: PlannerError, *advice: str) -> Finding:
    """An error that a command would end with."""
    return Finding(Level.ERROR, str(problem), advice, problem.exit_code)


def exit_code(findings: Iterable[Finding]) -> int:
    """That of the first error; errors of configuration or connection come before all others."""
    codes = [finding.exit_code for finding in findings if finding.level is Level.ERROR]
    return next((code for code in codes if code != Exit.ERROR), codes[0] if codes else Exit.OK)


def listed(names: Iterable[object], most: int = 3) -> str:
    """The first few of some names, and how many more there are."""
    known = [str(name) for name in names]
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")
