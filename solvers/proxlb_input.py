"""Owns the records of what ProxLB 2.3.0 looks at: names, raw tags, bytes and cores, in the order of the API.

They speak ProxLB's language: names identify guests, memory and disk are bytes, cpu is cores (of a guest that is
used: a fraction of one), pressures are percent as floats.
"""

from dataclasses import dataclass
from enum import StrEnum


class Method(StrEnum):
    """The resource that is balanced."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"


class Mode(StrEnum):
    """The number that decides which node has the most room."""

    USED = "used"
    ASSIGNED = "assigned"
    PSI = "psi"


class GuestType(StrEnum):
    VM = "vm"
    CT = "ct"


class Affinity(StrEnum):
    POSITIVE = "affinity"
    NEGATIVE = "anti-affinity"


@dataclass(frozen=True, slots=True)
class ProxlbPressure:
    """PSI of one resource, measured or as a threshold, in percent."""

    full: float = 0.0
    """Hour mean of "full"."""
    some: float = 0.0
    """Hour mean of "some"."""
    spikes: float = 0.0
    """The highest "full" of the newest six MAX rows."""

    def reaches(self, limit: "ProxlbPressure") -> bool:
        return (self.full >= limit.full and self.some >= limit.some) or self.spikes >= limit.spikes


CALM = ProxlbPressure()


@dataclass(frozen=True, slots=True)
class ProxlbResource:
    """Size and use of one resource of a node or guest: bytes for memory and disk, cores for cpu."""

    total: int
    used: float
    """For the cpu of a guest the hour mean of its own fraction 0..1: ProxLB never multiplies it by the vCPUs."""
    pressure: ProxlbPressure = CALM
    """For the cpu of a node only `some` is looked at: ProxLB takes full and spikes of it as 0."""


@dataclass(frozen=True, slots=True)
class ProxlbNode:
    """An online node that the configuration does not ignore."""

    name: str
    cpu: ProxlbResource
    memory: ProxlbResource
    """Total is maxmem, without any reserve taken off."""
    disk: ProxlbResource
    """The root file system."""
    memory_reserve: int = 0
    """Bytes; without effect when larger than the memory."""
    maintenance: bool = False


@dataclass(frozen=True, slots=True)
class ProxlbGuest:
    """A running guest."""

    vmid: int
    name: str
    type: GuestType
    node: str
    cpu: ProxlbResource
    memory: ProxlbResource
    disk: ProxlbResource
    tags: tuple[str, ...] = ()
    """All tags as the configuration of the guest has them, in its order."""


@dataclass(frozen=True, slots=True)
class ProxlbPool:
    """A resource pool that exists in the cluster and is configured in ProxLB."""

    name: str
    members: frozenset[str] = frozenset()
    """Guest names."""
    affinity: Affinity | None = None
    pins: tuple[str, ...] = ()
    strict: bool = True


@dataclass(frozen=True, slots=True)
class ProxlbRule:
    """An enabled HA rule; whatever is not a negative affinity counts as a positive one, node affinity included."""

    name: str
    members: frozenset[int] = frozenset()
    """vmids."""
    affinity: Affinity = Affinity.POSITIVE
    nodes: str = ""
    """The raw string of the API, such as "n1:2,n2"."""


@dataclass(frozen=True, slots=True)
class ProxlbInput:
    """All that ProxLB looks at, each list in the order of the API answer; defaults are those of ProxLB 2.3.0."""

    nodes: tuple[ProxlbNode, ...]
    guests: tuple[ProxlbGuest, ...]
    pools: tuple[ProxlbPool, ...] = ()
    rules: tuple[ProxlbRule, ...] = ()
    method: Method = Method.MEMORY
    mode: Mode = Mode.USED
    balanciness: int = 10
    """Percentage points."""
    threshold: int | None = None
    """Percent, the threshold of the chosen method; 0 is as good as none."""
    larger_first: bool = False
    enforce_affinity: bool = False
    enforce_pinning: bool = False
    balance_types: frozenset[GuestType] = frozenset()
    """Guests of other types are planned but never migrated; ProxLB's default is none at all."""
    ignore_guests: frozenset[str] = frozenset()
    """Guest names, in addition to those that carry a tag `plb_ignore...`."""
    node_limit: ProxlbPressure | None = None
    """From here on a node is hot, for the chosen method."""
    guest_limit: ProxlbPressure | None = None
