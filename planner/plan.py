"""Owns the plan: what is to be migrated, what that assumes and reaches; as JSON and back."""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from annotated_types import Ge, Le

from planner.errors import InputError
from planner.notebook import InNotebook
from planner.plain import cleaned
from planner.policy import Cheapest, Combine, Count, Lookback, Mode, Profile, Rate, Resource
from planner.snapshot import read_json, write

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import TypeAdapter

    from planner.frontier import Frontier

FORMAT: Final = "proxlb-plan/2"
REPAIRS: Final = "repairs"
"""What the reason of a migration begins with that repairs a rule..."""
EMPTIES: Final = "empties"
"""...that leaves a node which is to be emptied..."""
NEEDED: Final = (REPAIRS, EMPTIES)
"""...or that has to be, one way or the other."""


ROLLBACK: Final = "rollback"
"""What stands for the solver in a way back."""

Vmid = Annotated[int, Ge(1), Le(999_999_999)]
Mib = Annotated[int, Ge(0), Le(10**15)]
Seconds = Annotated[float, Ge(0), Le(1e15)]
Points = Annotated[float, Ge(0)]
"""Percentage points."""


class PlanStatus(StrEnum):
    """What is known about a plan."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    NO_ACTION = "no_action"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Migration:
    """One guest from one node to another."""

    vmid: Vmid
    name: str
    type: Literal["vm", "ct"]
    source: str
    target: str
    memory_mib: Mib
    """MiB of memory it uses."""
    local_disk_mib: Mib
    """MiB of disks that are copied with it."""
    running: bool
    reason: str
    spread_without: Points
    """Percentage points: the spread if this migration, with those that have to go along, were left out."""
    number: Annotated[int, Ge(1)] = 0
    """1, 2, ... in the order in which they start."""
    after: tuple[int, ...] = ()
    """Numbers of the migrations that must have ended well before this one starts: safe however long each takes."""
    bundle: Annotated[int, Ge(0)] = 0
    """Migrations of one plan with the same number are of guests that travel as one."""
    begin: Seconds = 0.0
    """Seconds after the start at which it is expected to begin..."""
    end: Seconds = 0.0
    """...and to end."""
    downtime: Seconds = 0.0
    """Seconds for which the guest is expected to be down: a running container restarts."""
    rate: Annotated[float, Ge(0), Le(1e9)] = 0.0
    """MiB/s that it takes of the network of both nodes."""
    bypass: bool = False
    """Whether this is a stop on the way: the guest goes on to another node later."""


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """Load of a node in percent of what it can give."""

    node: str
    load_before: dict[Resource, float]
    load_after: dict[Resource, float]


@dataclass(frozen=True, slots=True)
class Change:
    """Percentage points between the fullest and the emptiest node, of one resource."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentage points between the fullest and the emptiest node, resources combined as asked for.

    No plan with these rules and limits beats bound. Changeable: the same over the nodes that something can change,
    None where that is all of them.
    """

    before: float
    after: float
    bound: float | None
    changeable_before: float | None = None
    changeable_after: float | None = None


@dataclass(frozen=True, slots=True)
class Stuck:
    """A node that is the fullest or the emptiest, or would be, whatever is migrated."""

    node: str
    resource: Resource
    load: float
    """Percent today."""


@dataclass(frozen=True, slots=True)
class Stranded:
    """A guest that should have been migrated and is not, and why."""

    vmid: int
    name: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A node whose loss is not survived."""

    node: str
    guests: dict[int, str]
    """vmid to name of the HA guests that find no place on the other nodes."""
    missing_mib: int
    """MiB of memory that they need."""
    proven: bool
    """That not all HA guests of the node can find a place; otherwise none was found."""
    by_rules: tuple[int, ...]
    """vmids for which rules leave no place, however much room there were."""


@dataclass(frozen=True, slots=True)
class Survival:
    """Whether the loss of any one node is survived: its HA guests find a place on the others."""

    before: tuple[Lost, ...]
    after: tuple[Lost, ...]
    impossible: tuple[str, ...]
    """Why no plan can survive the loss of every node, where that is proven."""


@dataclass(frozen=True, slots=True)
class Assumes:
    """What must still be true when the plan is carried out."""

    guests: dict[Vmid, str]
    """vmid to node, of every guest that was planned with."""
    nodes: dict[str, str]
    """Node to its state."""
    rules: str
    """Fingerprint of the rules."""
    maintenance_nodes: tuple[str, ...] = ()
    ignore_nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What has been reached when a wave has ended; the plan may be cut off there."""

    spread: Points
    """Percentage points."""
    violations: Annotated[int, Ge(0)]
    """Broken rules."""
    seconds: Seconds
    """After the start, as expected."""


@dataclass(frozen=True, slots=True)
class Handling:
    """What Proxmox VE is told with every migration."""

    bwlimit: Rate | None = None
    """MiB/s."""
    target_storage: dict[str, str] = field(default_factory=dict)
    """Storage on the source to that on the target; `default`: for all others."""
    conntrack: bool = False
    restart_timeout: Count | None = None
    """Seconds that a container has to shut down."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Over which time the use of guests was looked at."""

    window: Lookback = Lookback.NOW
    profile: Profile = Profile.ROBUST
    forecast: bool = False
    periods: Annotated[int, Ge(1)] = 1
    """How many are balanced at once: the spread is that of the worst of them."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long the migrations take, side by side under their limits."""

    seconds: Seconds = 0.0
    """From the first start to the last end, as expected."""
    bound: Seconds = 0.0
    """Seconds: proven, these migrations under these limits take no less, if each takes as long as expected."""
    one_by_one: Seconds = 0.0
    """Seconds they would take one after the other."""
    parallel: Count = 1
    """At most so many at once..."""
    per_source: Count = 1
    """...so many from one node..."""
    per_target: Count = 1
    """...and so many to one node."""
    bandwidth: Rate | None = None
    """MiB/s that a node's network carries in each direction."""
    pace: str = ""
    """Where the durations come from."""
    checkpoints: tuple[Checkpoint, ...] = ()
    """After each wave."""


@dataclass(frozen=True, slots=True)
class Plan(InNotebook):
    """A plan; `apply` carries out exactly this."""

    __pydantic_config__: ClassVar[dict[str, bool]] = {"allow_inf_nan": False}

    format: Literal["proxlb-plan/2"]
    solver: str
    status: PlanStatus
    resources: tuple[Resource, ...]
    combine: Combine
    weights: dict[str, float]
    mode: Mode
    taken_at: str
    """When the figures it was made from were taken."""
    balanciness: float
    max_migrations: int | None
    max_gib: float | None
    cheapest: Cheapest | None
    """What the plan should need least of, once it is within balanciness; None: the smallest spread was asked for."""
    repair_only: bool
    """Whether only rules were to be repaired."""
    drained: tuple[str, ...]
    """Nodes whose guests alone were to be migrated; none: all guests could be."""
    cost_bound: float | None
    """Migrations, or GiB unless cheapest is migrations, that every plan needs that is as good as this one."""
    seconds: float
    spread: Spread
    spreads: dict[Resource, Change]
    stuck: tuple[Stuck, ...]
    violations_before: tuple[str, ...]
    violations_after: tuple[str, ...]
    nodes: tuple[NodeLoad, ...]
    waves: tuple[tuple[Migration, ...], ...]
    """Migrations that run side by side as far as `after` lets them; after each nothing is worse, but for repairs."""
    schedule: Schedule
    rollback: tuple[tuple[Migration, ...], ...]
    """The way back from the end of the plan, in waves."""
    handling: Handling
    stranded: tuple[Stranded, ...]
    gave_way: tuple[str, ...]
    """Should-rules that cannot hold beside the others, with their prices."""
    conflict: tuple[str, ...]
    """What cannot hold together, where it is proven that not all rules can."""
    conflict_minimal: bool
    """Proven: without any one of these the others can hold together."""
    helps: tuple[str, ...]
    """What to give up so that the rest can hold."""
    notes: tuple[str, ...]
    assumes: Assumes
    lifted: tuple[str, ...] = ()
    """Names of rules that are broken knowingly: a way back to where they did not hold."""
    survival: Survival | None = None
    """None: not asked for."""
    looks: Looks = field(default_factory=Looks)
    what_if: tuple[str, ...] = ()
    """What is assumed that is not so; such a plan is never carried out."""

    @property
    def migrations(self) -> tuple[Migration, ...]:
        """All migrations, in the order in which they start."""
        return tuple(migration for wave in self.waves for migration in wave)

    @property
    def moved_gib(self) -> float:
        """GiB of memory and local disks that are copied."""
        return sum(m.memory_mib + m.local_disk_mib for m in self.migrations) / 1024

    @property
    def gap(self) -> float | None:
        """Percentage points between what is reached and what is proven to be out of reach."""
        return None if self.spread.bound is None else max(0.0, self.spread.after - self.spread.bound)

    @property
    def cost(self) -> float:
        """What cost_bound is a bound of: migrations, or GiB."""
        return len(self.migrations) if self.cheapest is Cheapest.MIGRATIONS else self.moved_gib

    @property
    def cost_gap(self) -> float | None:
        """Migrations or GiB between what the plan needs and what every plan that is as good needs."""
        return None if self.cost_bound is None else max(0.0, self.cost - self.cost_bound)

    @property
    def balanced(self) -> bool:
        """Whether the plan brings every spread that counts within balanciness."""
        return self.spread.after <= self.balanciness and (
            self.combine is not Combine.ORDER or all(s.after <= self.balanciness for s in self.spreads.values())
        )

    def to_json(self) -> str:
        """The plan as JSON, as described by `planner/schemas/plan.json`."""
        return json.dumps(asdict(self), indent=2)

    def to_html(self, frontier: "Frontier | pd.DataFrame | None" = None) -> str:
        """The plan as one page for people; with a frontier, or its frame, also what more migrations would buy."""
        from planner.html import render

        return render(self, frontier)


def save(plan: Plan, path: Path) -> None:
    """Write a plan file; all of it or nothing."""
    write(path, plan.to_json().encode() + b"\n")


def load(path: Path) -> Plan:
    """Read a plan file; InputError says what is wrong with it."""
    from planner.sense import check_sense

    document = read_json(path, "plan")
    if document.get("format") != FORMAT:
        raise InputError(f"{path} is not a plan: its format is {document.get('format')!r}, not {FORMAT!r}")
    plan = parse(cleaned(document, f"plan {path}"), f"plan {path}")
    check_sense(plan, f"plan {path}")
    return plan


def parse(document: dict[str, Any], what: str) -> Plan:
    """The plan that a JSON object describes; InputError says what is wrong with `what`."""
    from pydantic import ValidationError

    from planner.sense import check_order

    try:
        plan = _adapter().validate_python(document)
    except ValidationError as error:
        first: Any = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{what} is damaged at {where}: {first['msg'].lower()}; make a new one") from None
    check_order(plan, what)
    return plan


@cache
def _adapter() -> "TypeAdapter[Plan]":
    from pydantic import TypeAdapter  # slow to import

    return TypeAdapter(Plan)
