"""What goes wrong in a living cluster, and when: a schedule that both the cluster and an oracle read."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

HOUR, DAY = 3600.0, 24 * 3600.0


class Trouble(StrEnum):
    """What may be wrong."""

    UNREACHABLE = "no API host answers"
    FAILING = "migrations that begin now fail"
    OFFLINE = "a node is offline"
    BACKUP = "a backup job goes through the guests of a node"
    FOREIGN = "somebody else migrates a guest"
    NO_QUORUM = "the cluster has no quorum"
    MASTER = "another node is the master of the HA manager"
    BALANCER = "Proxmox VE balances HA guests itself"
    CROWD = "somebody has taken a handful of guests to a node"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong from a time until another, which no longer belongs to it (unix seconds)."""

    trouble: Trouble
    begin: float
    end: float
    node: str = ""

    def holds(self, at: float) -> bool:
        return self.begin <= at < self.end


class Faults:
    """The schedule. Of one kind there may be several at a time."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.all: Sequence[Fault] = tuple(sorted(faults, key=lambda fault: (fault.begin, fault.trouble, fault.node)))

    def at(self, moment: float, *troubles: Trouble) -> list[Fault]:
        """Which hold at a moment; of some kinds, if any are named."""
        return [fault for fault in self.all if fault.holds(moment) and (not troubles or fault.trouble in troubles)]

    def within(self, begin: float, end: float, *troubles: Trouble) -> list[Fault]:
        """Which hold at any time of a while."""
        return [
            fault
            for fault in self.all
            if fault.begin <= end and begin < fault.end and (not troubles or fault.trouble in troubles)
        ]


def drawn(begin: float, days: int, nodes: Sequence[str], seed: int = 0) -> list[Fault]:
    """Something of each kind every few days, none for long."""
    draw = random.Random(f"faults-{seed}")
    result = []
    for trouble in Trouble:
        at = begin + draw.uniform(0.2, 2) * DAY
        while at < begin + days * DAY:
            end = at + draw.uniform(0.2, 3) * HOUR
            result.append(Fault(trouble, at, end, draw.choice(nodes)))
            at = end + draw.uniform(1, 4) * DAY
    return result
