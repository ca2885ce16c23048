"""Owns what is remembered of a run: the states of its migrations, and which of them may follow which."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from planner.errors import JournalError
from planner.plan import Migration, Plan

Kind = Literal["apply", "scheduled", "rollback"]
"""Whether a person has begun a run, a scheduled look has, or it takes another one back."""


class Step(StrEnum):
    """How far one migration is."""

    PLANNED = "planned"
    """Nothing was sent."""
    CHECKED = "checked"
    """About to be sent: it may have been."""
    STARTED = "started"
    """Proxmox VE gave it a task."""
    DONE = "done"
    """The guest was seen on its target."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """What became of it could not be found out."""
    SKIPPED = "skipped"


class RunState(StrEnum):
    """How far a run is."""

    RUNNING = "running"
    """Or its process was killed: then it can be resumed."""
    DONE = "done"
    STOPPED = "stopped"
    """It can be resumed."""
    ABORTED = "aborted"
    ROLLED_BACK = "rolled_back"
    PROPOSED = "proposed"
    """It waits for a person to approve of it; nothing of it was started."""
    WITHDRAWN = "withdrawn"
    """It was proposed, and is not carried out."""


LEGAL: Mapping[Step, frozenset[Step]] = {
    Step.PLANNED: frozenset({Step.CHECKED, Step.SKIPPED, Step.DONE}),
    # Back to PLANNED only where it is proven that nothing was sent, or that what was sent is over and had no effect.
    Step.CHECKED: frozenset({Step.STARTED, Step.DONE, Step.FAILED, Step.UNKNOWN, Step.PLANNED, Step.SKIPPED}),
    Step.STARTED: frozenset({Step.DONE, Step.FAILED, Step.UNKNOWN}),
    Step.UNKNOWN: frozenset({Step.STARTED, Step.DONE, Step.FAILED, Step.PLANNED}),
    Step.FAILED: frozenset({Step.PLANNED}),
    Step.SKIPPED: frozenset({Step.PLANNED}),
    Step.DONE: frozenset(),
}
"""Step of a migration to those that may follow."""

ENDS: Mapping[RunState, frozenset[RunState]] = {
    RunState.RUNNING: frozenset(RunState) - {RunState.PROPOSED, RunState.WITHDRAWN},
    RunState.STOPPED: frozenset(RunState) - {RunState.PROPOSED, RunState.WITHDRAWN},
    RunState.PROPOSED: frozenset({RunState.RUNNING, RunState.WITHDRAWN}),
    RunState.WITHDRAWN: frozenset(),
    RunState.DONE: frozenset({RunState.ROLLED_BACK}),
    RunState.ABORTED: frozenset({RunState.ROLLED_BACK}),
    RunState.ROLLED_BACK: frozenset(),
}
"""State of a run to those that may follow."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One migration of a run."""

    number: int
    migration: Migration
    step: Step
    upid: str | None
    """The task of its last attempt."""
    note: str
    changed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One run, without its plan. Times are unix seconds."""

    id: int
    cluster: str
    kind: Kind
    of: int | None
    """The run that is rolled back."""
    state: RunState
    began_at: float
    resumed_at: float | None
    """Last."""
    ended_at: float | None
    """None while it is RUNNING."""
    why: str
    """Why it ended as it did."""
    stop_asked: bool
    counts: Mapping[Step, int]
    """How many migrations are how far; steps that none has are missing."""

    @property
    def size(self) -> int:
        """All its migrations."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(Summary):
    """One run, all that is known of it."""

    written: Plan | str
    """Its plan, or why that cannot be read. Then its migrations say from where to where, and no more that counts."""
    entries: tuple[Entry, ...]
    """In the order of their numbers."""

    @property
    def readable(self) -> bool:
        """Whether its plan is known."""
        return isinstance(self.written, Plan)

    @property
    def plan(self) -> Plan:
        """What it carries out. JournalError where another version has written it."""
        if isinstance(self.written, Plan):
            return self.written
        raise JournalError(f"the plan of run {self.id} is of another version, or damaged: {self.written}")


class Event(NamedTuple):
    """One transition of a migration."""

    at: float
    number: int
    step: Step
    upid: str | None
    note: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A migration that was carried out."""

    vmid: int
    source: str
    target: str
    at: float
    run: int
