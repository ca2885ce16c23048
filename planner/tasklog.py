"""Owns what the lines of a migration's task log say: how far it is, how fast it was, why it failed."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

MIB = {"B": 2**-20, "KiB": 2**-10, "MiB": 1, "GiB": 2**10, "TiB": 2**20, "PiB": 2**30}
"""MiB in each unit that Proxmox VE writes."""
SIZE = r"(\d+(?:\.\d+)?) ?([KMGTP]?i?B)"
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?= )")
"""At the start of what Proxmox VE itself says; what its tools print has none."""
MEMORY = re.compile(rf"migration [a-z-]+, transferred {SIZE} of {SIZE} VM-state(?:, {SIZE}/s)?")
DISK = re.compile(
    rf"(?:drive|mirror)-([a-z]+\d+): transferred {SIZE} of {SIZE} \([\d.]+%\) in ((?:\d+[dhms] ?)+)(?:, (ready))?"
)
"""A running machine's disk: drive-scsi0 up to Proxmox VE 8, mirror-scsi0 since."""
COPIED = re.compile(r"(\d+) bytes \([^)]*\) copied, (\d+(?:\.\d+)?) s")
"""A volume of a stopped guest, by dd: what has been copied, not of how much."""
ESTIMATED = re.compile(r"total estimated size is (\d+(?:\.\d+)?)([KMGTP]?)")
"""A volume of a stopped guest on ZFS: by `zfs send`, which then counts once a second."""
SNAPSHOT = re.compile(r"TIME +SENT +SNAPSHOT")
"""The count starts again, with the next snapshot of the volume."""
SENT = re.compile(r"(?<!\S)(\d\d):(\d\d):(\d\d) {3,}(\d+(?:\.\d+)?)([BKMGTP]?)(?= {3}|\s*$)")
FOUND = re.compile(r"found local volume")
"""Of a container, to be copied."""
BEGUN = re.compile(r"start migrate command|starting online/live migration")
AVERAGE = re.compile(rf"average migration speed: {SIZE}/s - downtime (\d+) ms")
DURATION = re.compile(r"migration (?:finished [a-z ]+|aborted) \(duration (\d+):(\d\d):(\d\d)\)")
RESTARTED = re.compile(r"shutdown CT(?= \d)|start container on target node")
"""Of a container that ran."""
TELLING = (MEMORY, DISK, COPIED, ESTIMATED, SNAPSHOT, SENT, FOUND, BEGUN, AVERAGE, DURATION, RESTARTED)
ERROR = re.compile(r"ERROR: |can't |migration status error: ")
TASK_ERROR = "TASK ERROR: "
SPAN = 10
"""Seconds over which the speed of a disk is taken."""
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of the memory and the local disks that are being copied has been."""

    done_mib: float
    total_mib: float
    mib_per_second: float | None
    """Now; None: not known."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied, and in what time."""

    mib: float = 0.0
    seconds: float = 0.0

    @property
    def mib_per_second(self) -> float | None:
        """None where that is not known: the log counts whole seconds."""
        return self.mib / self.seconds if self.mib and self.seconds else None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a task log says of a migration that is over. What it does not say is None, or nothing copied."""

    seconds: float | None = None
    """From beginning to end."""
    memory: Copied = field(default_factory=Copied)
    """What the network carried: memory that never was used is not, memory written meanwhile is more than once."""
    disks: Copied = field(default_factory=Copied)
    average_mib_s: float | None = None
    """By Proxmox VE's account: memory that the machine has, used or not, per second."""
    downtime_s: float | None = None
    """For which a running machine was halted."""
    restarted: bool = False
    """Whether it was a container that ran: it was down all the time."""
    silent: bool = False
    """Whether volumes of a container were copied of which nothing is said that could be read."""

    @property
    def mib(self) -> float:
        """What was copied in all."""
        return self.memory.mib + self.disks.mib

    @property
    def mib_per_second(self) -> float | None:
        """How fast it was copied."""
        return Copied(self.mib, self.memory.seconds + self.disks.seconds).mib_per_second


@dataclass(slots=True)
class _Disk:
    """The samples of one disk or volume: (seconds, MiB done), until it is ready."""

    total: float
    samples: list[tuple[float, float]]
    ready: bool = False


def texts(answer: Any) -> list[str]:
    """The lines in the answer of `/nodes/{node}/tasks/{upid}/log`; none where it is something else."""
    rows = answer if isinstance(answer, list) else []
    return [str(row["t"]) for row in rows if isinstance(row, dict) and row.get("t") is not None]


def progress(lines: Iterable[str]) -> Progress | None:
    """How far a migration is; None as long as nothing is said of that. A disk may be ready long before the memory."""
    lines = list(lines)
    disks, memory = [*_disks(lines), *_streams(lines)], _memory(lines)
    if not disks and memory is None:
        return None
    done, total = sum(disk.samples[-1][1] for disk in disks), sum(disk.total for disk in disks)
    speed = _sum(_speed(disk) for disk in disks if not disk.ready)
    if memory:
        done, total, speed = done + memory.done_mib, total + memory.total_mib, memory.mib_per_second
    if memory and any(AVERAGE.search(line) for line in lines):
        done, speed = total, None  # pages that are all zero were never sent
    return Progress(min(done, total), total, speed)


def summary(lines: Iterable[str]) -> Summary:
    """What the log of a migration that is over says of it."""
    lines = list(lines)
    result = Summary(memory=_memory_copied(lines), disks=_disks_copied(lines), silent=_silent(lines))
    for line in lines:
        if told := DURATION.search(line):
            hours, minutes, seconds = map(int, told.groups())
            result = replace(result, seconds=float(hours * 3600 + minutes * 60 + seconds))
        elif told := AVERAGE.search(line):
            result = replace(result, average_mib_s=_mib(told[1], told[2]), downtime_s=int(told[3]) / 1000)
        elif RESTARTED.search(line):
            result = replace(result, restarted=True)
    return result


def errors(lines: Iterable[str]) -> tuple[str, ...]:
    """The lines that say why a migration failed, without their time, each once; what led to the end comes first."""
    found = dict.fromkeys(TIME.sub("", line, count=1).strip() for line in lines if ERROR.search(line))
    others = [line for line in found if not line.startswith(TASK_ERROR)]
    last = [line for line in found if line.startswith(TASK_ERROR)]
    return tuple(others + [line for line in last if not any(line.removeprefix(TASK_ERROR) in o for o in others)])


def figures(line: str) -> str | None:
    """The part of a line that this module understands, with its time: it names no guest, node or storage."""
    told = next((found for pattern in TELLING if (found := pattern.search(line))), None)
    if told is None:
        return None
    at = TIME.match(line)
    return f"{at[0]} {told[0]}" if at else told[0]


def essence(lines: Iterable[str]) -> list[str]:
    """The lines that a summary is made of: of those that only count on, the last, of `zfs send` also the first; of a
    disk none after it is ready."""
    telling, ready = [], set()
    for line in lines:
        disk = DISK.search(line)
        if figures(line) is not None and not (disk and disk[1] in ready):
            telling.append(line)
        if disk and disk[7]:
            ready.add(disk[1])
    beside = zip(["", *telling], telling, [*telling[1:], ""], strict=False)
    return [line for before, line, then in beside if not _counts_on(before, line, then)]


def _counts_on(before: str, line: str, then: str) -> bool:
    """Whether its neighbours say all that this line says."""
    if SENT.search(line):  # only the first one tells when it began
        return SENT.search(before) is not None and SENT.search(then) is not None
    if MEMORY.search(line):
        return MEMORY.search(then) is not None
    if told := DISK.search(line):
        later = DISK.search(then)
        return later is not None and (told[1], told[7]) == (later[1], later[7])
    told, later = COPIED.search(line), COPIED.search(then)
    return told is not None and later is not None and float(later[2]) >= float(told[2])


def _mib(number: str, unit: str) -> float:
    return float(number) * MIB.get(unit, 0)


def _seconds(text: str) -> float:
    """Seconds of 1h 2m 3s."""
    return float(sum(int(part[:-1]) * UNITS[part[-1]] for part in text.split()))


def _sum(speeds: Iterable[float | None]) -> float | None:
    known = [speed for speed in speeds if speed is not None]
    return sum(known) if known else None


def _disks(lines: Iterable[str]) -> list[_Disk]:
    """A running machine's disks, in the order in which they are copied."""
    result: dict[str, _Disk] = {}
    for told in filter(None, map(DISK.search, lines)):
        disk = result.setdefault(told[1], _Disk(0.0, []))
        disk.total = _mib(told[4], told[5])
        if not disk.ready:  # what comes later is only what the guest writes meanwhile
            disk.samples.append((_seconds(told[6]), _mib(told[2], told[3])))
        disk.ready = disk.ready or bool(told[7])
    return list(result.values())


def _speed(disk: _Disk) -> float | None:
    """MiB/s within the last seconds: sizes are written in tenths of a GiB, which is much within one."""
    now, has = disk.samples[-1]
    before, had = next((sample for sample in reversed(disk.samples) if now - sample[0] >= SPAN), disk.samples[0])
    return (has - had) / (now - before) if now > before else None


def _memory(lines: Iterable[str]) -> Progress | None:
    """The last that is said of the memory."""
    told = [found for found in map(MEMORY.search, lines) if found]
    if not told:
        return None
    last = told[-1]
    total = _mib(last[3], last[4])
    return Progress(min(_mib(last[1], last[2]), total), total, _mib(last[5], last[6]) if last[5] else None)


def _memory_copied(lines: list[str]) -> Copied:
    """What was sent until the last time it was said, and the seconds since the beginning."""
    begun: datetime | None = None
    result = Copied()
    for line in lines:
        at = _time(line)
        if BEGUN.search(line):
            begun = at or begun
        elif told := MEMORY.search(line):
            seconds = (at - begun).total_seconds() if at and begun else 0.0
            result = Copied(_mib(told[1], told[2]), max(0.0, seconds))
    return result


def _time(line: str) -> datetime | None:
    """Local time of the node, of which only differences count; None also for a date that is none."""
    try:
        told = TIME.match(line)
        return datetime.fromisoformat(told[0]) if told else None
    except ValueError:
        return None


def _disks_copied(lines: list[str]) -> Copied:
    """One disk after the other, as Proxmox VE does it."""
    disks = (*_disks(lines), *_streams(lines))
    parts = [Copied(disk.samples[-1][1], disk.samples[-1][0]) for disk in disks] + list(_volumes(lines))
    return Copied(sum(part.mib for part in parts), sum(part.seconds for part in parts))


def _volumes(lines: Iterable[str]) -> Iterator[Copied]:
    """Volumes of a stopped guest: the count starts again with each."""
    told = [(int(found[1]) * MIB["B"], float(found[2])) for found in map(COPIED.search, lines) if found]
    for (mib, seconds), (_, following) in pairwise([*told, (0.0, -1.0)]):
        if following < seconds:
            yield Copied(mib, seconds)


def _streams(lines: list[str]) -> list[_Disk]:
    """Volumes on ZFS, in the order in which they are sent."""
    begins = [number for number, line in enumerate(lines) if ESTIMATED.search(line)]
    return [_stream(lines[begin:end], end < len(lines)) for begin, end in pairwise([*begins, len(lines)])]


def _stream(lines: list[str], ready: bool) -> _Disk:
    """One of them, from the line that estimates its size; its snapshots come one after the other."""
    estimated = ESTIMATED.search(lines[0])
    total = _mib(estimated[1], _unit(estimated[2])) if estimated else 0.0
    begun, before, samples = None, 0.0, [(0.0, 0.0)]
    for line in lines:
        if SNAPSHOT.search(line):
            before = samples[-1][1]
        elif told := SENT.search(line):
            at = 3600.0 * int(told[1]) + 60 * int(told[2]) + int(told[3])
            begun = at - 1 if begun is None else begun  # it is said for the first time after a second
            samples.append(((at - begun) % UNITS["d"], before + _mib(told[4], _unit(told[5]))))
    return _Disk(max(total, samples[-1][1]), samples, ready)


def _unit(letter: str) -> str:
    """Of `zfs`: 1.05G are GiB."""
    return f"{letter}iB" if letter not in ("", "B") else "B"


def _silent(lines: list[str]) -> bool:
    found = sum(FOUND.search(line) is not None for line in lines)
    return found > len(_streams(lines)) + len(list(_volumes(lines)))
