"""Every error a person can meet, each with its exit code.

    PlannerError            1   something went wrong that has no better name
    ├── UsageError         64   the command line does not make sense
    ├── ConfigError        78   the configuration does not make sense
    │   └── NotConfigured  78   no cluster is configured
    ├── InputError          1   a snapshot or plan file cannot be used
    │   └── NoNode          1   no node is online and takes part
    ├── Unreachable        69   no API host answered, or an answer was lost on the way
    ├── BadAnswer          69   what answered is not the Proxmox VE API
    ├── Forbidden          77   the token may not do this, or sees only part of the cluster
    ├── ApiRefused          1   Proxmox VE answered with an error of its own
    ├── Locked             75   somebody else is at work
    ├── NoQuorum            1   the cluster has no quorum
    ├── StalePlan           5   what the plan assumes no longer holds
    │   └── Drift           5   a guest or node is not as one migration needs it
    ├── PartlyApplied       4   some migrations were carried out, some were not
    ├── HookFailed          1   a command of the operator says no, or cannot be run
    ├── NoPlace             3   no node takes a new guest, or one whose node is to go
    ├── JournalError        1   the journal cannot be read or written
    └── MissingDependency   1   an optional package is not installed

A message is one line: what is wrong with which thing, and what to do about it.
"""

from enum import IntEnum
from pathlib import Path

from planner import missing
from planner.plain import plain


class Exit(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    """All is well."""
    ERROR = 1
    """Something went wrong, and the message says what."""
    CHANGES = 2
    """With `--detailed-exitcode`: migrations are planned, nodes can be switched off, or more changed than loads. Of
    `check`, which ends as plugins of Nagios do: critical (1: warning, 3: unknown)."""
    INFEASIBLE = 3
    """Proven: not all rules can hold within the limits. Or a node is not emptied, or a guest has no place."""
    PARTLY_APPLIED = 4
    """A plan was carried out in part, or the fate of a migration is not known."""
    STALE = 5
    """The cluster is no longer what the plan was made for: plan anew."""
    USAGE = 64
    """The command line does not make sense."""
    UNREACHABLE = 69
    """The API cannot be reached, or what answers is not that of Proxmox VE."""
    LOCKED = 75
    """Somebody else is at work on this cluster."""
    FORBIDDEN = 77
    """The token or user may not do this, or sees only part of the cluster."""
    CONFIG = 78
    """The configuration is missing or wrong."""
    INTERRUPTED = 130
    """Ctrl-C."""


class PlannerError(Exception):
    """Root of all errors that are shown to a person as one line."""

    exit_code = Exit.ERROR

    def __str__(self) -> str:
        """Safe to show, whatever it quotes: files and answers may hold what does harm to a terminal."""
        return "\n".join(plain(" ".join(line.split())) for line in super().__str__().split("\n"))


class UsageError(PlannerError):
    """The command line asks for something that does not make sense."""

    exit_code = Exit.USAGE


class ConfigError(PlannerError):
    """A configuration file, variable or flag is wrong."""

    exit_code = Exit.CONFIG


class NotConfigured(ConfigError):
    """Nothing says where a cluster is."""


class InputError(PlannerError):
    """A file given as input (snapshot, plan) is not what it should be."""


class NoNode(InputError):
    """Every node of the cluster is offline, in maintenance or ignored."""


class Unreachable(PlannerError):
    """No API host answered; `sent` tells that a write may have arrived nevertheless."""

    exit_code = Exit.UNREACHABLE

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class BadAnswer(PlannerError):
    """The answer is not what the Proxmox VE API gives."""

    exit_code = Exit.UNREACHABLE


class Forbidden(PlannerError):
    """The credentials were refused or lack a privilege."""

    exit_code = Exit.FORBIDDEN


class ApiRefused(PlannerError):
    """Proxmox VE refused a request; `status` is the HTTP status, `reason` PVE's own words."""

    def __init__(self, message: str, *, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Locked(PlannerError):
    """Another run holds the lock."""

    exit_code = Exit.LOCKED


class NoQuorum(PlannerError):
    """The cluster has no quorum: Proxmox VE migrates nothing."""


class StalePlan(PlannerError):
    """The cluster is no longer what the plan was made for."""

    exit_code = Exit.STALE


class Drift(StalePlan):
    """A guest or a node is not as a migration needs it; the rest of the plan may still hold."""


class PartlyApplied(PlannerError):
    """A plan was carried out only in part."""

    exit_code = Exit.PARTLY_APPLIED


class HookFailed(PlannerError):
    """A command of the operator stopped what was about to be done."""


class NoPlace(PlannerError):
    """Rules and capacities leave no node to a new guest, or to one whose node is to go."""

    exit_code = Exit.INFEASIBLE


class JournalError(PlannerError):
    """The journal of runs cannot be read or written."""


class MissingDependency(PlannerError):
    """An optional package is needed for this and is not installed."""


def internal(error: BaseException) -> str:
    """What is said of an error that nobody foresaw, in one line: what to install, or which it is, and where."""
    if isinstance(error, ImportError) and (said := missing.said(error)):
        return said
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    place = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else "?"
    return f"internal error at {place}: {type(error).__name__}: {error}; please report it"
