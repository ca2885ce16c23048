"""Owns the seeded generator of realistic clusters: `python -m tests.bench.generate M@7 FILE` writes one as a snapshot.

A grown cluster: node generations side by side, log-normal guests that use part of what they are given,
62 % of all memory in use, nodes between 31 and 98 % full, tags for every kind of rule. All rules hold.
"""

import itertools
import random
import sys
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from planner.snapshot import RESOURCES, Snapshot, save

SIZES = {"S": (5, 60), "M": (16, 400), "L": (32, 1500), "XL": (100, 5000), "XXL": (1000, 50_000)}
"""Nodes and guests."""
GENERATIONS = {
    128: (16, 24, 32),
    192: (24, 32, 48),
    256: (32, 48, 64),
    512: (48, 64),
    768: (64, 96, 128),
    1024: (96, 128),
}
"""GiB of memory of a generation of nodes, and the threads it may have."""
GUEST_GIB = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Memory that people give to guests; the amounts are log-normal with this deviation of the binary logarithm."""
GUEST_DEVIATION = 1.4
USED_SHAPE = (5.8, 2.2)
"""Beta distribution of the part of its memory that a guest uses: mean 0.72, deviation 0.15."""
IN_USE, EMPTIEST, FULLEST = 0.62, 0.31, 0.98
"""Part of the memory in use: of the cluster, of the emptiest and of the fullest node."""
VCPUS_PER_THREAD = 1.5
APART, TOGETHER, PINNED, IGNORED = 0.15, 0.04, 0.03, 0.02
"""Part of the guests that has such a rule."""
MIB, GIB = 2**20, 2**30
TAKEN_AT = "2026-11-23T08:00:00Z"


@dataclass(slots=True)
class _Guest:
    vmid: int
    gib: float
    used_mib: int
    vcpus: int = 1
    node: int = 0
    tags: str = ""


def parse(name: str) -> tuple[str, int] | None:
    """(size, seed) of an instance name such as `M` (seed 1) or `M@7`; None when it is not one."""
    size, _, seed = name.partition("@")
    if size not in SIZES or (seed and not seed.isdecimal()):
        return None
    return size, int(seed or 1)


def generate(size: str, seed: int = 1) -> Snapshot:
    """A cluster of a size (see SIZES), the same for the same seed."""
    rng = random.Random(f"{size}@{seed}")
    count, guest_count = SIZES[size]
    nodes = _nodes(rng, count)
    guests = _guests(rng, guest_count, sum(memory for memory, _ in nodes) * IN_USE)
    _give_vcpus(rng, guests, VCPUS_PER_THREAD * sum(threads for _, threads in nodes))
    _place(rng, guests, np.array([memory for memory, _ in nodes]))
    names = [f"pve{i + 1:0{len(str(count))}d}" for i in range(count)]
    _tag(rng, guests, names)
    rows = [_guest_row(rng, guest, names[guest.node]) for guest in guests]
    answers = {
        "/version": {"version": "9.2.6", "release": "9.2", "repoid": "0"},
        RESOURCES: [*_node_rows(names, nodes, rows), *rows],
        "/cluster/options": {"migration": {"type": "secure"}},
        "/cluster/ha/rules": [],
        "/cluster/ha/resources": [],
        "/pools": [],
    }
    return Snapshot(answers, TAKEN_AT, f"{size}@{seed}")


def _meet(total: Callable[[float], float], goal: float, low: float, high: float) -> float:
    """Where an increasing total is closest below a goal: 20 halvings."""
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) <= goal else (low, middle)
    return low


def _nodes(rng: random.Random, count: int) -> list[tuple[int, int]]:
    """(MiB, threads) of each node: three to five generations; firmware keeps a little of the memory."""
    bought = [(gib, rng.choice(GENERATIONS[gib])) for gib in rng.sample(sorted(GENERATIONS), rng.randint(3, 5))]
    chosen = [rng.choice(bought) for _ in range(count)]
    return [(round((gib - rng.uniform(0.3, 1.6)) * 1024), threads) for gib, threads in chosen]


def _guests(rng: random.Random, count: int, in_use_mib: float) -> list[_Guest]:
    """Guests whose sizes are scaled until together they use what they should."""
    drawn = [(rng.gauss(0, GUEST_DEVIATION), rng.betavariate(*USED_SHAPE)) for _ in range(count)]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(GUEST_GIB)]

    def size(x: float, scale: float) -> float:
        return GUEST_GIB[bisect(middles, 2 ** (x + scale))]

    scale = _meet(lambda s: sum(size(x, s) * part * 1024 for x, part in drawn), in_use_mib, -5, 10)
    sizes = [size(x, scale) for x, _ in drawn]
    return [_Guest(100 + i, gib, int(gib * 1024 * drawn[i][1])) for i, gib in enumerate(sizes)]


def _give_vcpus(rng: random.Random, guests: list[_Guest], total: float) -> None:
    """Every guest a whole number, at least one, by its memory and its taste."""
    tastes = [guest.gib * rng.choice((1, 2, 4)) for guest in guests]
    scale = _meet(lambda s: sum(max(1, round(taste * s)) for taste in tastes), total, 0, 1)
    for guest, taste in zip(guests, tastes, strict=True):
        guest.vcpus = max(1, round(taste * scale))


def _place(rng: random.Random, guests: list[_Guest], memory: Any) -> None:
    """Every node has a level of its own; guests, large ones first, go by chance where most is missing to it."""
    parts = [i / (len(memory) - 1) for i in range(len(memory))]
    rng.shuffle(parts)
    rank = np.array(parts)

    def levels(skew: float) -> Any:
        return memory * (EMPTIEST + (FULLEST - EMPTIEST) * rank ** (1 / skew))

    most, used = memory * FULLEST, np.zeros(len(memory))
    level = levels(_meet(lambda skew: levels(skew).sum(), sum(guest.used_mib for guest in guests), 0.05, 20))
    for guest in sorted(guests, key=lambda guest: (-guest.used_mib, guest.vmid)):
        missing = np.where(used + guest.used_mib <= most, np.maximum(level - used, 0), 0)
        if not missing.any():
            missing = np.maximum(memory - used - guest.used_mib, 0)
        sums = np.cumsum(missing)
        guest.node = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
        used[guest.node] += guest.used_mib


def _tag(rng: random.Random, guests: list[_Guest], names: list[str]) -> None:
    """Groups that are together or apart already, pins to a few nodes, and guests that are left alone."""
    free = rng.sample(guests, len(guests))
    mates: dict[int, list[_Guest]] = defaultdict(list)
    for guest in free:
        mates[guest.node].append(guest)
    for index in range(round(len(guests) * TOGETHER / 2.4)):
        node = next(guest.node for guest in free if not guest.tags)
        for guest in [mate for mate in mates[node] if not mate.tags][: rng.choice((2, 2, 3))]:
            guest.tags = f"plb_affinity_t{index}"
    free = [guest for guest in free if not guest.tags]
    for index in range(round(len(guests) * APART / 3.2)):
        taken: dict[int, _Guest] = {}
        for guest in free[: 3 * len(names)]:
            taken.setdefault(guest.node, guest)
        for guest in list(taken.values())[: rng.choice((2, 3, 3, 4, 5))]:
            guest.tags = f"plb_anti_affinity_a{index}"
        free = [guest for guest in free if not guest.tags]
    for guest in free[: round(len(guests) * PINNED)]:
        others = [name for name in names if name != names[guest.node]]
        pins = [names[guest.node], *rng.sample(others, min(len(others), rng.randint(1, 3)))]
        guest.tags = ";".join(f"plb_pin_{name}" for name in sorted(pins))
    for guest in free[round(len(guests) * PINNED) :][: max(1, round(len(guests) * IGNORED))]:
        guest.tags = "plb_ignore"


def _guest_row(rng: random.Random, guest: _Guest, node: str) -> dict[str, Any]:
    kind = "lxc" if rng.random() < 0.25 else "qemu"
    used = guest.used_mib * MIB
    row = {
        "id": f"{kind}/{guest.vmid}", "type": kind, "vmid": guest.vmid, "name": f"g{guest.vmid}", "node": node,
        "status": "running", "template": 0, "maxcpu": guest.vcpus,
        "cpu": round(min(1.0, rng.lognormvariate(-2.85, 1.1)), 4), "maxmem": round(guest.gib * GIB), "mem": used,
        "memhost": used if kind == "qemu" else 0, "maxdisk": 32 * GIB, "disk": 0, "uptime": 864000,
    }  # fmt: skip
    return {**row, "tags": guest.tags} if guest.tags else row


def _node_rows(names: list[str], nodes: list[tuple[int, int]], guests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Nodes use nothing beyond their guests."""
    memory: dict[str, int] = defaultdict(int)
    cores: dict[str, float] = defaultdict(float)
    for row in guests:
        memory[row["node"]] += row["mem"]
        cores[row["node"]] += row["cpu"] * row["maxcpu"]
    return [
        {
            "id": f"node/{name}", "type": "node", "node": name, "status": "online", "level": "", "maxcpu": threads,
            "cpu": round(min(1.0, cores[name] / threads), 6), "maxmem": mib * MIB, "mem": memory[name],
            "maxdisk": 100 * GIB, "disk": 10 * GIB, "uptime": 864000,
        }
        for name, (mib, threads) in zip(names, nodes, strict=True)
    ]  # fmt: skip


def main(name: str, file: str) -> None:
    """Write one instance."""
    parsed = parse(name)
    if parsed is None:
        sys.exit(f"there is no instance {name}: {', '.join(SIZES)}, each with a seed if wanted, such as M@7")
    save(generate(*parsed), Path(file))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tests.bench.generate NAME FILE")
    main(*sys.argv[1:])
