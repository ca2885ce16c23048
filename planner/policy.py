"""Owns what an operator can decide about planning, and every default: plain dataclasses, quick to import."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Le


class Resource(StrEnum):
    """What is balanced."""

    MEMORY = "memory"
    CPU = "cpu"
    DISK = "disk"


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

    resource: Resource = Resource.MEMORY
    mode: Mode = Mode.USED
    balanciness: Annotated[float, Ge(0), Le(100)] = 10.0
    """Tolerated spread in percentage points: within it nothing is planned."""
    max_migrations: Annotated[int, Ge(0)] | None = None
    """Hard limit; None: no limit."""
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
