"""What guests of a living cluster are like: how their loads follow the day and wander; and a cluster full of them."""

import math
import random
from dataclasses import dataclass
from typing import Any, Final

from planner.simulate import GIB

BACK: Final = 1 / 144
"""Part of its way back to normal that a guest goes in a step: it forgets within a day."""
STEP: Final = 0.03
"""How far a guest wanders from its normal memory in a step; after a day it is about a quarter away."""
SWING: Final = 0.1
"""Part of its memory that a guest has more or less in the course of a day."""
PEAKS: Final = (14.0, 3.0, 20.0)
"""Hours (UTC) at which guests are busiest."""


@dataclass(slots=True)
class Life:
    """What a guest is like."""

    draw: random.Random
    memory: float
    """Part of its memory that it normally uses..."""
    cpu: float
    """...and of its CPU at its peak."""
    peak: float
    """Hour of the day."""
    away: float = 0.0
    """How far its memory is from normal."""

    def step(self) -> None:
        self.away += -BACK * self.away + self.draw.gauss(0.0, STEP)

    def figures(self, row: dict[str, Any], now: float) -> dict[str, Any]:
        """What its row says while it runs."""
        busy = 0.5 + 0.5 * math.cos((now / 3600 - self.peak) / 24 * 2 * math.pi)
        part = min(0.97, max(0.05, self.memory * (1 + self.away) * (1 - SWING + 2 * SWING * busy)))
        used = int(row["maxmem"] * part)
        return {"mem": used, "memhost": used, "cpu": min(1.0, self.cpu * (0.3 + 0.7 * busy))}


def life(row: dict[str, Any], seed: int) -> Life:
    """Of a guest with such a row."""
    draw = random.Random(f"{seed}-{row['vmid']}")
    return Life(draw, row["mem"] / row["maxmem"], max(0.02, row["cpu"]), PEAKS[row["vmid"] % len(PEAKS)])


def resources(nodes: int = 5, guests: int = 40, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a cluster that is about half full and as even as chance has it, with a few rules."""
    draw = random.Random(f"rows-{seed}")
    names = [f"pve{number + 1}" for number in range(nodes)]
    own: dict[str, Any] = {
        "type": "node",
        "status": "online",
        "level": "",
        "uptime": 864000,
        "cpu": 0.01,
        "mem": 3 * GIB,
    }
    own |= {"maxcpu": 64, "maxmem": 128 * GIB, "maxdisk": 100 * GIB, "disk": 12 * GIB}
    rows = {name: own | {"id": f"node/{name}", "node": name} for name in names}
    found = []
    for number in range(guests):
        vmid, kind, node = 100 + number, "lxc" if number % 5 == 4 else "qemu", names[number % nodes]
        memory, cores = draw.choice((4, 8, 16, 24)) * GIB, draw.choice((1, 2, 4))
        used, cpu = int(memory * draw.uniform(0.4, 0.8)), round(draw.uniform(0.05, 0.5), 3)
        rows[node]["mem"] += used
        rows[node]["cpu"] += cpu * cores / 64
        found.append({
            "id": f"{kind}/{vmid}", "type": kind, "vmid": vmid, "name": f"g{vmid}", "node": node, "status": "running",
            "template": 0, "maxcpu": cores, "cpu": cpu, "maxmem": memory, "mem": used, "memhost": used,
            "maxdisk": 32 * GIB, "disk": 0, "uptime": 864000,
        })  # fmt: skip
    for row, tag in zip(found[3:], ("plb_anti_affinity_web",) * 2 + ("plb_affinity_app",) * 2, strict=False):
        row["tags"] = tag
    return [*rows.values(), *found]
