"""Owns what a new guest is: its size, what is asked of it, and what it will use."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from planner.errors import UsageError

MIB, MIB_PER_GIB = 2**20, 1024
USED, CPU = 0.7, 0.1
"""Shares of memory and cores that a new guest is taken to use, where nothing else is said."""
SMALL = (1.0, 1)
"""GiB and cores of a guest of which nothing is said."""
MOST = {"memory": 2**20, "cores": 2**16}
"""GiB, cores: more is a mistake."""
SIZE = re.compile(r"(?P<memory>\d+(?:\.\d+)?)(?P<unit>[MGT]?)(?:i?B)?", re.I)
UNITS = {"M": 1 / 1024, "": 1.0, "G": 1.0, "T": 1024.0}
"""GiB."""


@dataclass(frozen=True, slots=True)
class NewGuest:
    """A virtual machine that is to be. UsageError when it makes no sense."""

    memory: float
    """GiB."""
    cores: int
    tags: tuple[str, ...] = ()
    pool: str = ""
    name: str = ""
    used: float = USED
    """Share of its memory that it uses."""
    cpu: float = CPU
    """Share of its cores that it uses."""
    ha: bool = False
    """Whether the HA manager starts it elsewhere when its node fails."""

    def __post_init__(self) -> None:
        for what, most in MOST.items():
            value = getattr(self, what)
            if not 0 < value <= most:
                raise UsageError(f"a guest with {value:g} {'GiB of memory' if what == 'memory' else what} cannot be")
        if self.cores != int(self.cores):
            raise UsageError(f"a guest with {self.cores:g} cores cannot be: they are whole ones")
        for what, least in (("used", 0.01), ("cpu", 0.0)):
            value = getattr(self, what)
            if not least <= value <= 1:
                raise UsageError(f"{what} is {value:g}: it is a share, from {least:g} to 1")
        for text in (*self.tags, self.pool, self.name):
            if not text.isprintable():
                raise UsageError(f"a guest is called, tagged or pooled {text!a}, which cannot be shown")

    def row(self, vmid: int, node: str) -> dict[str, Any]:
        """It on a node, as `/cluster/resources` would show it."""
        memory = round(self.memory * MIB_PER_GIB)
        used = max(1, round(memory * self.used)) * MIB
        more = {"tags": ";".join(self.tags), "pool": self.pool, "hastate": "started" if self.ha else ""}
        return {
            "id": f"qemu/{vmid}", "type": "qemu", "vmid": vmid, "name": self.name, "node": node, "status": "running",
            "template": 0, "maxcpu": int(self.cores), "cpu": self.cpu, "maxmem": memory * MIB, "mem": used,
            "memhost": used, "maxdisk": 0, "disk": 0, "uptime": 0,
            **{name: value for name, value in more.items() if value},
        }  # fmt: skip

    def __str__(self) -> str:
        size = f"{self.memory:g} GiB" if self.memory >= 1 else f"{self.memory * MIB_PER_GIB:g} MiB"
        return f"{size}, {self.cores} core{'s' if self.cores > 1 else ''}"


def of(
    memory: float | str, cores: int | str, *, tags: str | Iterable[str] = (), used: float | None = None,
    cpu: float | None = None, pool: str = "", name: str = "", ha: bool = False,
) -> NewGuest:  # fmt: skip
    """A new guest, of which not all has to be said; sizes may be text such as 8G, tags as Proxmox VE has them, a;b."""
    if not isinstance(tags, Iterable):
        raise UsageError(f"tags are {tags!r}: write text such as a;b, or a list")
    words = re.split(r"[;,\s]+", tags) if isinstance(tags, str) else [str(tag) for tag in tags]
    shares = {"used": USED if used is None else used, "cpu": CPU if cpu is None else cpu}
    return NewGuest(
        memory_of(memory, "memory"), whole_of(cores, "cores"), tuple(word for word in words if word), str(pool),
        str(name), **{what: number(value, what) for what, value in shares.items()}, ha=ha,
    )  # fmt: skip


def counted(
    asked: tuple[float | str, int | str] | str | None, *, ha: bool, flag: str = "", **more: Any
) -> NewGuest | None:
    """The guest of a size, (GiB, cores) or 8G,4, that is counted; None where none is, of which nothing may be said.

    `flag`: what options begin with.
    """
    if asked is None:
        said = [name for name, value in more.items() if value not in ("", None, (), [])]
        if said:
            raise UsageError(f"{flag}{said[0]} is of a new guest: say its {flag}size as well, such as 8G,4")
        return None
    if isinstance(asked, str):
        return of(*size(asked, f"{flag}size"), ha=ha, **more)
    if not isinstance(asked, tuple | list) or len(asked) != 2:
        raise UsageError(f"size is {asked!r}: write (GiB, cores), such as (8, 4), or 8G,4")
    return of(*asked, ha=ha, **more)


def number(value: object, what: str) -> float:
    """A number, perhaps as text. UsageError where it is none."""
    try:
        if not isinstance(value, bool):
            return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass
    raise UsageError(f"{what} is {value!r}: write a number")


def memory_of(value: float | str, what: str) -> float:
    """GiB, as a number or as text such as 8G."""
    return gib(value, what) if isinstance(value, str) else number(value, what)


def whole_of(value: float | str, what: str) -> int:
    """A whole number from 1, perhaps as text."""
    found = number(value, what)
    if not found >= 1 or found == float("inf") or found != int(found):
        raise UsageError(f"{what} cannot be {found:g}: write a whole number from 1")
    return int(found)


def gib(text: str, what: str) -> float:
    """GiB of a size such as 8G, 512M, 1T or 8. UsageError where it is none."""
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{what} {text}: write a size such as 8G, 512M or 8 (GiB)")
    return float(found["memory"]) * UNITS[found["unit"].upper()]


def whole(text: str, what: str) -> int:
    """A whole number from 1. UsageError where it is none."""
    if not text.strip().isdecimal() or not int(text):
        raise UsageError(f"{what} {text}: write a whole number from 1")
    return int(text)


def size(text: str, what: str) -> tuple[float, int]:
    """GiB and cores of a size such as 8G,4."""
    memory, comma, cores = text.partition(",")
    if not comma:
        raise UsageError(f"{what} {text}: write MEMORY,CORES such as 8G,4")
    return gib(memory, what), whole(cores, what)
