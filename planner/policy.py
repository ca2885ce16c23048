"""Owns what an operator can decide about planning, and every default: plain dataclasses, quick to import."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen

from planner.choices import (
    PRESSURES,
    RATES,
    Against,
    Cheapest,
    Combine,
    Count,
    Free,
    GuestMemory,
    GuestType,
    Lookback,
    Mode,
    OnDrift,
    PoolType,
    Profile,
    Rate,
    Resource,
    Unless,
)

__all__ = [
    "PRESSURES", "RATES", "Against", "Apply", "Cheapest", "Cluster", "Combine", "Count", "Free", "GuestMemory",
    "GuestType", "Hooks", "Lookback", "Mode", "OnDrift", "Overcommit", "Policy", "PoolRule", "PoolType", "Pressure",
    "Profile", "Rate", "Reserve", "Resource", "RuleSetting", "Unless", "Window",
]  # fmt: skip


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
class Overcommit:
    """How many times what a node can give its guests may take."""

    __pydantic_config__ = {"extra": "forbid"}

    memory: Annotated[float, Gt(0), Le(1000)] = 1.0
    """Of used or configured memory, as `fit` says."""
    cpu: Annotated[float, Gt(0), Le(1000)] | None = None
    """vCPUs of running guests per thread; None: no limit."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """From which pressures on a node or guest is hot: both sustained, or a spike, in percent of the time."""

    __pydantic_config__ = {"extra": "forbid"}

    some: Annotated[float, Ge(0), Le(100)] = 20.0
    """Some tasks waited, on average over the last hour..."""
    full: Annotated[float, Ge(0), Le(100)] = 20.0
    """...and all of them did..."""
    spikes: Annotated[float, Ge(0), Le(100)] = 50.0
    """...or all of them did at some moment of it."""


@dataclass(frozen=True, slots=True)
class PoolRule:
    """What is asked of the guests of a pool and of the pools nested in it, as ProxLB's configuration says it."""

    __pydantic_config__ = {"extra": "forbid"}

    type: PoolType | None = None
    pin: tuple[str, ...] = ()
    """Nodes."""
    strict: bool = True
    """Whether the pin must hold; otherwise it gives way."""


@dataclass(frozen=True, slots=True)
class RuleSetting:
    """One rule of `cluster.rules`: exactly one of together, apart, pin, avoid and stay, each a list of selectors."""

    __pydantic_config__ = {"extra": "forbid"}

    name: Annotated[str, MinLen(1)]
    together: tuple[str, ...] = ()
    """On one node."""
    apart: tuple[str, ...] = ()
    """No two on one node..."""
    against: tuple[str, ...] = ()
    """...or, with this, none on a node with one of these."""
    per: str = "node"
    """What apart is about: nodes, or a kind of failure domain of `cluster.domains`."""
    at_most: Annotated[int, Ge(1)] = 1
    """How many that are apart may share a node or domain."""
    pin: tuple[str, ...] = ()
    """Only on `nodes`."""
    avoid: tuple[str, ...] = ()
    """Not on `nodes`."""
    nodes: tuple[str, ...] = ()
    """Those that pin and avoid mean."""
    stay: tuple[str, ...] = ()
    """Not migrated..."""
    unless: Unless = Unless.NEVER
    """...but to repair a rule, or from a node in maintenance, or not more than once a day."""
    should: bool = False
    """Gives way where not all rules can hold..."""
    price: Annotated[float, Ge(0.01), Le(1000)] = 1.0
    """...and of those that may, the cheapest."""


@dataclass(frozen=True, slots=True)
class Window:
    """When a node is in maintenance: once, from `begin` to `end`, or again and again. Times without a zone are local
    ones."""

    __pydantic_config__ = {"extra": "forbid"}

    node: str
    """Its name."""
    begin: datetime | None = None
    """Such as 2026-12-01T22:00..."""
    end: datetime | None = None
    """...and 2026-12-02T04:00."""
    every: str | None = None
    """A calendar event of systemd, such as `Mon 22:00`, or a cron expression, such as `0 22 * * 1`..."""
    lasts: str | None = None
    """...and for how long then, such as 4h."""
    ahead: str = "0s"
    """By so much earlier guests begin to leave."""
    time_zone: str | None = None
    """Of `every`, such as Europe/Berlin; None: that of this machine."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the operator says about nodes and guests (section `cluster`)."""

    __pydantic_config__ = {"extra": "forbid"}

    maintenance_nodes: tuple[str, ...] = ()
    """Nodes that are emptied and receive nothing."""
    scheduled_maintenance: tuple[Window, ...] = ()
    """The same for a time."""
    ignore_nodes: tuple[str, ...] = ()
    """Nodes that are left alone, with all their guests."""
    ignore_guests: tuple[str, ...] = ()
    """Selectors of guests that stay where they are; their load counts."""
    domains: dict[str, dict[str, str]] = field(default_factory=dict)
    """Kind of failure domain, such as rack, to node to the domain it is in."""
    pools: dict[str, PoolRule] = field(default_factory=dict)
    """Pool to what is asked of its guests."""
    rules: tuple[RuleSetting, ...] = ()
    """Rules that are written here rather than in tags or for the HA manager."""
    should: dict[str, Annotated[float, Ge(0.01), Le(1000)]] = field(default_factory=dict)
    """Name of a rule from anywhere but the HA manager, or a pattern such as plb_affinity_*, to the price at which it
    gives way."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Commands with their arguments, run without a shell; what happens arrives as JSON on stdin."""

    __pydantic_config__ = {"extra": "forbid"}

    before_run: tuple[str, ...] = ()
    """When it does not end with 0, nothing is migrated."""
    after_run: tuple[str, ...] = ()
    """Told how the run ended."""
    before_migration: tuple[str, ...] = ()
    """When it does not end with 0, the migration is not started."""
    after_migration: tuple[str, ...] = ()
    """Told also of one that is not started after all: planned is its state then."""
    timeout: Annotated[float, Gt(0)] = 300.0
    """Seconds that each may take. Meanwhile nothing is started, nor what is under way looked at."""


@dataclass(frozen=True, slots=True)
class Apply:
    """How plans are put in order and carried out (section `apply`)."""

    __pydantic_config__ = {"extra": "forbid"}

    parallel: Count = 4
    """At most so many migrations at once in the cluster..."""
    per_source: Count = 1
    """...so many from one node..."""
    per_target: Count = 1
    """...and so many to one node."""
    bandwidth: Rate | None = None
    """MiB/s that the migration network of a node carries in each direction; None: not known."""
    bwlimit: Rate | None = None
    """MiB/s that one migration may take, told to Proxmox VE; None: what that has configured."""
    bypass: bool = True
    """Whether a guest may stop on a third node on its way, where it blocks others otherwise."""
    target_storage: dict[str, str] = field(default_factory=dict)
    """Storage on the source to that on the target, for local disks; `default`: for all others."""
    conntrack: bool | Literal["auto"] = False
    """Whether connections that the firewall of Proxmox VE 9 knows are handed over with a virtual machine; auto: unless
    this is an older one."""
    restart_timeout: Count | None = None
    """Seconds that a container has to shut down; None: Proxmox VE's own default."""
    migration_timeout: Annotated[float, Gt(0)] = 3600.0
    """Seconds without any progress in its task log after which no longer is waited for a migration; never less than
    twice as long as it was expected to take."""
    max_failures: Annotated[int, Ge(0)] = 0
    """Migrations that may fail before no more are started."""
    on_drift: OnDrift = OnDrift.STOP
    """What happens when a guest or its target is not as the plan assumes."""
    deadline: str | None = None
    """When no more migrations are started: a time such as 06:00, or a while such as 90m or 2h30m."""
    hours: tuple[str, ...] = ()
    """Times of the day within which migrations are started, such as 22:00-06:00; none: at any time."""
    no_return: Annotated[float, Ge(0)] = 24.0
    """Hours within which a guest is not sent back to where it was taken from, but to repair a rule."""
    max_per_day: Annotated[int, Ge(1)] | None = None
    """How often a guest is migrated within a day, but to repair a rule."""
    hooks: Hooks = field(default_factory=Hooks)
    state_directory: str | None = None
    """Where the journal is; None: $STATE_DIRECTORY, or the usual place."""


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
    repair_only: bool = False
    """Repair broken rules with the fewest migrations, and balance nothing."""
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
    """Node name, or `default`, to what is kept back; `{memory: 4}` without a name is the default."""
    overcommit: dict[str, Overcommit] = field(default_factory=dict)
    """Node name, or `default`, to factors; `{cpu: 4}` without a name is the default."""
    max_guests: dict[str, Annotated[int, Ge(0)]] = field(default_factory=dict)
    """Node name, or `default`, to how many guests it may hold, running or not; a number alone is the default."""
    guest_memory: GuestMemory = GuestMemory.HOST
    """What a guest holds and no longer uses counts with `host`, and does not with `guest`."""
    reclaim_arc: bool = False
    """Whether the ZFS ARC is free memory: it gives way to guests, but not at once, and Proxmox VE shows it as used."""
    survive: Annotated[int, Ge(0), Le(1)] | None = None
    """Loss of how many nodes, whichever they are, is to be survived: their HA guests find a place on the others. None:
    1 for a consolidation, and 0 for everything else."""
    with_ha_guests: bool = False
    """Plan guests of the HA manager although Proxmox VE balances them itself."""
    with_local_disks: bool = False
    """Whether guests with disks on local storage may be migrated, which copies the disks."""
    allow_partial: bool = False
    """Plan although the token sees only part of the cluster."""
    window: Lookback = Lookback.NOW
    """Over which time the use of guests is looked at; with `mode` used."""
    profile: Profile = Profile.ROBUST
    """Which figure of the window counts."""
    forecast: bool = False
    """Whether the next day, as the same hours of the last days foretell it, is one more set of periods."""
    threshold: dict[str, Annotated[float, Ge(0), Le(1000)]] = field(default_factory=dict)
    """Resource to the load in percent from which on it is balanced: where every node is below, rules are repaired and
    no more; with several, one node at one of them is enough."""
    pressure: dict[str, Pressure] = field(default_factory=dict)
    """Resource such as memory-pressure to the thresholds from which a node or guest is hot; where some are given, a
    cluster without anything hot is left as it is."""
    capacity_rates: dict[str, Rate] = field(default_factory=dict)
    """`io` and `network` to the MiB/s that are 100 % of a node."""
    time_limit: Annotated[float, Gt(0)] = 20.0
    """Seconds for one solver."""
    seed: Annotated[int, Ge(0)] = 0
    """Of the search: with another one, another plan may be found that is as good."""

    def __post_init__(self) -> None:
        """One resource, or names separated by commas, may be given as text."""
        given: object = self.resource
        if isinstance(given, str):
            object.__setattr__(self, "resource", tuple(Resource(name.strip()) for name in given.split(",")))
