"""Owns how long a migration takes on a cluster: by its own past migrations, or by assumptions that are said."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner import past
from planner.past import Past
from planner.past import asked as asked
from planner.policy import Apply
from planner.snapshot import Snapshot, Source
from planner.tasklog import Copied

OPTIONS = "/cluster/options"
FEW = 3
"""Fewer migrations than this tell nothing: one may have been an odd one."""
GIGABIT = 110.0
"""MiB/s that a network of 1 Gbit/s carries: what is assumed where nobody has said more."""
STREAM = 500.0
"""MiB/s of one migration at most where none has been measured: encrypting it keeps one core busy."""
MIRROR = 200.0
"""MiB/s of local disks at most where none has been measured: what a modest disk writes for long."""
DIRTY = 1.25
"""Times its memory that of a running machine is sent: what it writes meanwhile goes once more."""
OVERHEAD = 8.0
"""Seconds of a live migration besides copying, where none has been measured: tunnels, start on the target, clean-up."""
RESTART = 15.0
"""Seconds that a running container is down besides copying, where none has been measured."""
STOPPED = 2.0
"""Seconds for a guest that does not run, besides copying: its configuration changes hands."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long migrations take. `memory_mib` and `local_disk_mib` of a guest are what it uses, and has locally."""

    memory_mib_s: float
    disk_mib_s: float
    overhead_s: float
    """Of a running virtual machine, besides copying."""
    restart_s: float
    """For which a running container is down, besides copying."""
    says: str
    """Where this comes from."""
    downtime_s: float = 0.0
    """For which a running virtual machine is halted."""

    def seconds(self, kind: str, running: bool, memory_mib: float, local_disk_mib: float) -> float:
        """From the beginning of a migration to its end. Of kind: vm or ct."""
        return self._besides(kind, running) + sum(
            mib / speed for mib, speed in self._copied(kind, running, memory_mib, local_disk_mib)
        )

    def downtime(self, kind: str, running: bool, memory_mib: float, local_disk_mib: float) -> float:
        """Seconds for which a running guest is down: a container is stopped all the time."""
        if not running:
            return 0.0
        return self.downtime_s if kind == "vm" else self.seconds(kind, running, memory_mib, local_disk_mib)

    def rate(self, kind: str, running: bool, memory_mib: float, local_disk_mib: float) -> float:
        """MiB/s that a migration takes of the network at most; 0 where nothing is copied."""
        return max(
            (speed for mib, speed in self._copied(kind, running, memory_mib, local_disk_mib) if mib), default=0.0
        )

    def _besides(self, kind: str, running: bool) -> float:
        if not running:
            return STOPPED
        return self.overhead_s if kind == "vm" else self.restart_s

    def _copied(self, kind: str, running: bool, memory: float, disks: float) -> tuple[tuple[float, float], ...]:
        """MiB and MiB/s of what is copied, one after the other: only machines take their memory along."""
        live = running and kind == "vm"
        return ((memory * DIRTY if live else 0.0, self.memory_mib_s), (disks, self.disk_mib_s))


def finder(snapshot: Snapshot, source: Source | None, settings: Apply) -> Callable[[], Pace]:
    """Finds the pace out when it is first wanted, from the cluster itself where there is one, and remembers it."""
    return cache(lambda: read(asked(snapshot, source) if source is not None else snapshot, settings))


def read(snapshot: Snapshot, settings: Apply) -> Pace:
    """The pace by the migrations that the snapshot knows, within the limits of the settings and the datacentre."""
    known = past.read(snapshot)
    memory = [each.summary.memory for each in known if each.summary.memory.mib_per_second]
    disks = [each.summary.disks for each in known if each.summary.disks.mib_per_second]
    live = [each for each in known if each.type == "qmigrate" and each.summary.downtime_s is not None]
    # Where nothing is said of what was copied, nobody knows how much of the time was not copying.
    restarted = [each for each in known if each.summary.restarted and not each.summary.silent]
    cap = _cap(snapshot, settings)
    speed = _typical(memory) or min(settings.bandwidth or GIGABIT, STREAM)
    return Pace(
        memory_mib_s=min(speed, cap),
        disk_mib_s=min(_typical(disks) or min(speed, MIRROR), cap),
        overhead_s=_median([_besides(each) for each in live], OVERHEAD),
        restart_s=_median([_besides(each) for each in restarted], RESTART),
        downtime_s=_median([each.summary.downtime_s or 0.0 for each in live], 0.0),
        says=_says(len(known), len(memory), len(restarted), f"{min(speed, cap):.0f} MiB/s", cap < speed),
    )


def datacentre_limit(options: Any) -> float | None:
    """MiB/s that Proxmox VE lets one migration have by its own options; None: no limit."""
    value = options.get("bwlimit") if isinstance(options, Mapping) else None
    if isinstance(value, str):
        value = dict(part.partition("=")[::2] for part in value.split(","))
    if not isinstance(value, Mapping):
        return None
    told = value.get("migration", value.get("default"))
    try:
        kib = float(told)
    except (TypeError, ValueError):
        return None
    return kib / 1024 if kib > 0 and math.isfinite(kib) else None  # 0: no limit


def _cap(snapshot: Snapshot, settings: Apply) -> float:
    """What one migration cannot pass, however fast the last ones were."""
    known = (settings.bandwidth, settings.bwlimit, datacentre_limit(snapshot.get(OPTIONS)))
    return min((limit for limit in known if limit is not None), default=math.inf)


def _says(known: int, told: int, restarted: int, speed: str, limited: bool) -> str:
    """`told`: how many tell how fast memory is copied; `restarted`: how many tell how long a restart takes."""
    if told >= FEW:
        return f"from {known} migrations of this cluster{f', limited to {speed}' if limited else ''}"
    there = "no migration is recorded"
    if known:
        there = f"how fast memory is copied is told by {told or 'none'} of {known} recorded migrations: too few"
    restarts = f"; restarts of containers from {restarted} migrations" if restarted >= FEW else ""
    return f"assumed: {speed}; {there}{restarts}"


def _besides(each: Past) -> float | None:
    """Seconds of a migration in which nothing was copied; None where its duration is not known."""
    summary = each.summary
    if summary.seconds is None:
        return None
    return max(0.0, summary.seconds - summary.memory.seconds - summary.disks.seconds)


def _typical(copied: Iterable[Copied]) -> float | None:
    """The median speed; None of too few.

    What copied more counts more, as a log counts whole seconds; by its square root, so that no single one decides.
    """
    speeds = sorted((each.mib_per_second or 0.0, math.sqrt(each.mib)) for each in copied)
    if len(speeds) < FEW:
        return None
    half, so_far = sum(weight for _, weight in speeds) / 2, 0.0
    for speed, weight in speeds:
        so_far += weight
        if so_far >= half:
            return speed
    return speeds[-1][0]


def _median(values: Iterable[float | None], otherwise: float) -> float:
    """The median of what is known; of too few what is assumed."""
    known = sorted(value for value in values if value is not None)
    if len(known) < FEW:
        return otherwise
    return (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
