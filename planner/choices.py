"""Owns the closed choices that settings offer, and the kinds of numbers that they take."""

from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Le

Count = Annotated[int, Ge(1), Le(1_000_000)]
"""How many there may be of something."""
Rate = Annotated[float, Ge(0.001), Le(1e9)]
"""MiB/s; Proxmox VE counts in KiB/s."""


class Resource(StrEnum):
    """What is balanced."""

    MEMORY = "memory"
    CPU = "cpu"
    DISK = "disk"
    IO = "io"
    """Bytes read from and written to disks."""
    NETWORK = "network"
    """Bytes received and sent."""
    MEMORY_PRESSURE = "memory-pressure"
    CPU_PRESSURE = "cpu-pressure"
    IO_PRESSURE = "io-pressure"


PRESSURES = (Resource.MEMORY_PRESSURE, Resource.CPU_PRESSURE, Resource.IO_PRESSURE)
"""Part of the time in which something waits for the resource, as the kernel says (PSI); Proxmox VE 9."""
RATES = (Resource.IO, Resource.NETWORK, *PRESSURES)
"""What only the history knows (rrd)."""


class Lookback(StrEnum):
    """Over which time the use of guests counts."""

    NOW = "now"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


class Profile(StrEnum):
    """Which figure of a window counts: one for all of it, or robust: every period of it at once, the worst deciding."""

    MEAN = "mean"
    P95 = "p95"
    PEAK = "peak"
    ROBUST = "robust"


class Combine(StrEnum):
    """How the spreads of several resources become one aim."""

    WORST = "worst"
    WEIGHTED = "weighted"
    ORDER = "order"


class Cheapest(StrEnum):
    """What a plan should need least of, once it is within balanciness."""

    MIGRATIONS = "migrations"
    GIB = "gib"


class Against(StrEnum):
    """What of a plan's cost a frontier shows the spread against."""

    MIGRATIONS = "migrations"
    GIB = "gib"


class Mode(StrEnum):
    """Which figure of a resource counts: what guests use now, or what they are configured with."""

    USED = "used"
    ASSIGNED = "assigned"


class GuestMemory(StrEnum):
    """Whose figure of the memory that a guest uses counts: what it costs its node, or what it says itself."""

    HOST = "host"
    GUEST = "guest"


class GuestType(StrEnum):
    """Which guests may be migrated."""

    VM = "vm"
    CT = "ct"
    ALL = "all"


class Unless(StrEnum):
    """When a guest that stays may be migrated nevertheless."""

    NEVER = "never"
    REPAIR = "repair"
    MAINTENANCE = "maintenance"
    DAILY = "daily"


class PoolType(StrEnum):
    """What the guests of a pool are to each other."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"


class OnDrift(StrEnum):
    """What a run does when something is not as the plan assumes."""

    STOP = "stop"
    SKIP = "skip"


class Free(StrEnum):
    """How `greedy` finds the most free node."""

    PERCENT = "percent"
    BYTES = "bytes"


PLAYED = ("nothing", "proxlb", "crs", "greedy", "cpsat", "cpsat-robust")
"""Who plans in a back-test, unless others are named."""


class SolverName(StrEnum):
    """Who plans."""

    GREEDY = "greedy"
    PROXLB = "proxlb"
    DESCENT = "descent"
    CPSAT = "cpsat"


class RunMode(StrEnum):
    """What a scheduled look does with its plan."""

    OBSERVE = "observe"
    """Records what it would do, and changes nothing."""
    APPROVE = "approve"
    """Keeps it until a person approves of it."""
    AUTO = "auto"
    """Carries it out."""


class Backups(StrEnum):
    """What scheduled looks do while a backup job is running."""

    PAUSE = "pause"
    IGNORE = "ignore"


class Active(StrEnum):
    """Where scheduled looks are at work, if there are several installations for one cluster."""

    ALWAYS = "always"
    HA_MANAGER = "ha-manager"
    """On the node alone that is the master of the HA manager."""


class Event(StrEnum):
    """What is told of scheduled looks."""

    PROPOSED = "proposed"
    """A plan waits for a person to approve of it."""
    DONE = "done"
    """A plan was carried out."""
    FAILED = "failed"
    """A plan was not carried out, or only in part."""
    REFUSED = "refused"
    """Something is to be done, and a gate says no: the first time that it does."""
    CONFLICT = "conflict"
    """The rules cannot all hold: the first time that it is so."""
    ERROR = "error"
    """A look came to nothing, as the API did not answer or the like: the first time that it is so."""
    RECOVERED = "recovered"
    """Looks are well again."""


class LogLevel(StrEnum):
    """From which severity messages are shown."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class LogFormat(StrEnum):
    """How messages are written."""

    AUTO = "auto"
    """For the journal of systemd where that listens, as text elsewhere."""
    TEXT = "text"
    JOURNAL = "journal"
    JSON = "json"
