"""Owns what is recorded of one scheduled look at a cluster: what was seen, planned, refused and done."""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from planner.choices import Resource, RunMode
from planner.errors import JournalError

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class Outcome(StrEnum):
    """What came of a look."""

    BALANCED = "balanced"
    """There is nothing to do."""
    REFUSED = "refused"
    """Something is to be done, and a gate says no."""
    OBSERVED = "observed"
    """All gates are open; nothing is changed, as that is the mode."""
    PROPOSED = "proposed"
    """A plan waits to be approved."""
    DONE = "done"
    """A plan was carried out..."""
    CUT = "cut"
    """...up to some point, as its time was over, a gate closed or the end was asked for; the next look plans anew..."""
    PARTLY = "partly"
    """...in part, as something failed..."""
    FAILED = "failed"
    """...or none of it."""
    ERROR = "error"
    """It could not be looked, or planned."""
    STANDBY = "standby"
    """Another installation is at work for this cluster."""


class GateName(StrEnum):
    """What may say no before anything is migrated."""

    ACTIVE = "active"
    """Another installation is at work: this node is not the master of the HA manager."""
    LOCK = "lock"
    """Another process on this machine is at work on the cluster."""
    UNFINISHED = "unfinished"
    """An earlier run may be under way, or waits for a person."""
    QUORUM = "quorum"
    FOREIGN = "foreign"
    """Somebody else migrates guests."""
    BACKUP = "backup"
    WINDOW = "window"
    BLACKOUT = "blackout"
    HOURS = "hours"
    """Outside of `apply.hours`."""
    LOOKS = "looks"
    """Out of balance for too few consecutive looks."""
    PER_HOUR = "per_hour"
    PER_DAY = "per_day"
    GAIN = "gain"
    LAST_WEEK = "last_week"
    """The plan would have been worse under the loads of last week."""
    BALANCER = "balancer"
    """Proxmox VE balances the same guests."""
    PLAN = "plan"
    """The plan no longer holds, or none was found."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A gate that says no."""

    gate: GateName
    why: str
    """One line."""


@dataclass(frozen=True, slots=True)
class Load:
    """Percent of what a node can give, of one resource."""

    node: str
    resource: Resource
    before: float
    after: float
    """As planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look. Spreads and bound in percentage points; times are unix seconds. What is not known is None."""

    at: float
    seconds: float = 0.0
    """That it took, a run included."""
    cluster: str
    mode: RunMode
    outcome: Outcome
    why: str = ""
    """One line; may be empty."""
    refusals: tuple[Refusal, ...] = ()
    above: bool = False
    """Whether the cluster is out of balance: what consecutive looks are counted by."""
    nodes: int = 0
    guests: int = 0
    spread_before: float | None = None
    spread_after: float | None = None
    """As planned."""
    bound: float | None = None
    solver: str = ""
    status: str = ""
    """Of the plan: optimal, feasible, no_action, infeasible, unknown."""
    solver_seconds: float | None = None
    migrations: int = 0
    """Planned..."""
    gib: float = 0.0
    """...and what they copy."""
    violations_before: tuple[str, ...] = ()
    """Rules that are broken today..."""
    violations_after: tuple[str, ...] = ()
    """...and after the plan."""
    loads: tuple[Load, ...] = ()
    run: int | None = None
    """The run that carries its plan out, or would if it were approved: then the plan is that of this run."""
    done: int = 0
    failed: int = 0
    """Migrations of that run that failed, or whose fate is not known."""
    left: int = 0
    """Migrations of that run that were not started."""
    number: int = field(default=0)
    """In the journal."""

    @property
    def gap(self) -> float | None:
        """Points between the planned spread and the bound."""
        if self.spread_after is None or self.bound is None:
            return None
        return max(0.0, self.spread_after - self.bound)

    def to_json(self) -> str:
        """As one JSON object, described by `planner/schemas/look.json`."""
        return json.dumps({"format": FORMAT} | asdict(self))


FORMAT = "proxlb-plan-look/1"


def parse(text: str | None, number: int) -> Look:
    """A look that was written. JournalError when it is of another version, or damaged."""
    try:
        document = json.loads(text or "")
        if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
            raise ValueError
        return _adapter().validate_python(document | {"number": number})
    except ValueError:
        raise JournalError(f"look {number} in the journal is of another version, or damaged") from None


@cache
def _adapter() -> "TypeAdapter[Look]":
    from pydantic import TypeAdapter

    return TypeAdapter(Look)
