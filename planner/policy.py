"""Owns what an operator can decide about planning, and every default: plain dataclasses, quick to import."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Le, MinLen


class Resource(StrEnum):
    """What is balanced."""

    MEMORY = "memory"
    CPU = "cpu"
    DISK = "disk"


class Combine(StrEnum):
    """How the spreads of several resources become one aim."""

    WORST = "worst"
    WEIGHTED = "weighted"
    ORDER = "order"


class Cheapest(StrEnum):
    """What a plan should need least of, once it is within balanciness."""

    MIGRATIONS = "migrations"
    GIB = "gib"


class Mode(StrEnum):
    """Which figure of a resource counts: what guests use now, or what they are configured with."""

    USED = "used"
    ASSIGNED = "assigned"


class GuestType(StrEnum):
    """Which guests may be migrated."""

    VM = "vm"
    CT = "ct"
    ALL = "all"


class Free(StrEnum):
    """How `greedy` finds the most free node."""

    PERCENT = "percent"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Reserve:
    """What a node keeps for itself and does not give to guests."""

    __pydantic_config__ = {"extra": "forbid"}

    memory: Annotated[float, Ge(0)] = 0.0
    """GiB."""
    cpu: Annotated[float, Ge(0)] = 0.0
    """Cores."""
    disk: Annotated[float, Ge(0)] = 0.0
    """GiB."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the operator says about nodes (section `cluster`)."""

    __pydantic_config__ = {"extra": "forbid"}

    maintenance_nodes: tuple[str, ...] = ()
    """Nodes that are emptied and receive nothing."""
    ignore_nodes: tuple[str, ...] = ()
    """Nodes that are left alone, with all their guests."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How to plan (section `policy`), named like the flags."""

    __pydantic_config__ = {"extra": "forbid"}

    resource: Annotated[tuple[Resource, ...], MinLen(1)] = (Resource.MEMORY,)
    """One or several, the most important first."""
    mode: Mode = Mode.USED
    balanciness: Annotated[float, Ge(0), Le(100)] = 10.0
    """Tolerated spread in percentage points: within it nothing is planned."""
    max_migrations: Annotated[int, Ge(0)] | None = None
    """Hard limit; None: no limit."""
    max_gib: Annotated[float, Ge(0)] | None = None
    """Hard limit on the GiB that all migrations together copy; None: no limit."""
    until_balanced: bool = False
    """Plan the cheapest way to a spread within balanciness, instead of the smallest spread."""
    cheapest: Cheapest = Cheapest.MIGRATIONS
    """What is cheapest with until_balanced."""
    combine: Combine = Combine.WORST
    weights: dict[str, Annotated[float, Gt(0)]] = field(default_factory=dict)
    """Resource to its weight when combined as weighted; 1 for one that is not named."""
    guests: GuestType = GuestType.ALL
    fit: Mode = Mode.USED
    """A target must hold the memory that guests use, or that they are configured with."""
    free: Free = Free.PERCENT
    reserve: dict[str, Reserve] = field(default_factory=dict)
    """Node name, or `default`, to what is kept back."""
    with_local_disks: bool = False
    """Whether guests with disks on local storage may be migrated, which copies the disks."""
    allow_partial: bool = False
    """Plan although the token sees only part of the cluster."""
    time_limit: Annotated[float, Gt(0)] = 20.0
    """Seconds for one solver."""
    seed: Annotated[int, Ge(0)] = 0
    migration_timeout: Annotated[float, Gt(0)] = 3600.0
    """Seconds after which `apply` no longer waits for one migration."""

    def __post_init__(self) -> None:
        """One resource, or names separated by commas, may be given as text."""
        given: object = self.resource
        if isinstance(given, str):
            object.__setattr__(self, "resource", tuple(Resource(name.strip()) for name in given.split(",")))
