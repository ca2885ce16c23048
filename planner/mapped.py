"""Owns traces mapped onto a made-up cluster: whose a trace is, how large guests and nodes are, where guests begin."""

from pathlib import Path
from typing import Any

import numpy as np

from planner import access
from planner.errors import InputError
from planner.measure import Floats, Places
from planner.policy import Resource
from planner.recording import Recording
from planner.shape import Shape as Shape
from planner.snapshot import RESOURCES
from planner.traces import SYNTHETIC_BEGIN, Traces, load, synthetic

GIB, MIB = 2**30, 2**20
VCPUS = (1, 2, 4, 8)
MEMORY = (1, 2, 4, 8, 16)
"""GiB."""
USED = 0.7
"""Part of its memory that a guest uses, where that is constant..."""
IDLE = 0.4
"""...and what it uses at least where memory follows CPU."""
MEMORY_LOAD = 0.5
"""Of the memory of all nodes, what guests use..."""
CROWDED = 0.85
"""...and of the nodes that they begin on, at most."""
OWN_MCPU, OWN_MIB = 200, 2048
"""What a node uses itself."""
FULL = 0.95
"""Part of a node's memory that guests are placed on at most, as long as another has room."""
FIRST_VMID = 100


def from_files(played: Path, past: Path | None, shape: Shape) -> Recording:
    """A recording of traces in files; with a past that the planners know, of the guests that are in both."""
    return from_traces(load(played), shape, load(past) if past else None)


def from_synthetic(shape: Shape, known: int = 1) -> Recording:
    """A recording of a made-up day, with so many days before it as past."""
    made = synthetic(shape.guests, days=known + 1, seed=shape.seed)
    begin = made.use.shape[1] * known // (known + 1)
    past = Traces(made.names, made.use[:, :begin].copy(), made.step)
    return from_traces(Traces(made.names, made.use[:, begin:].copy(), made.step), shape, past)


def from_traces(traces: Traces, shape: Shape | None = None, past: Traces | None = None) -> Recording:
    """Traces as the CPU use of guests. InputError where there are fewer than guests.

    Without a past the first step is it, and not played: somebody who plans knows something.
    """
    shape = shape or Shape()
    rng = np.random.default_rng(shape.seed)
    names, use, before = _joined(traces, past)
    first = max(1, before)
    if first >= use.shape[1]:
        raise InputError("traces of one line: it is only known, and nothing is left to play: give more lines")
    if shape.guests > len(names):
        both = " that both days have" if past else ""
        raise InputError(f"{shape.guests} guests are asked for, and there are {len(names)} traces{both}: ask for fewer")
    chosen = np.sort(rng.choice(len(names), shape.guests, replace=False))
    vcpus = rng.choice(VCPUS, shape.guests)
    memory = rng.choice(MEMORY, shape.guests)
    part = use[chosen]
    cpu = part * vcpus[:, None] * 1000
    mib = memory[:, None] * 1024 * (IDLE + (1 - IDLE) * part if shape.follows else np.full_like(part, USED))
    threads, node_mib = _threads(cpu[:, first:], int(vcpus.max()), shape), _node_mib(mib, shape)
    homes = _placed(mib[:, 0], node_mib - OWN_MIB, shape, rng)
    managed = rng.random(shape.guests) < shape.ha
    nodes = [f"pve{n + 1:02d}" for n in range(shape.nodes)]
    guests = [
        _guest(FIRST_VMID + g, names[c], nodes[homes[g]], int(vcpus[g]), int(memory[g]), bool(managed[g]))
        for g, c in enumerate(chosen)
    ]
    ones = np.ones((shape.nodes, part.shape[1]))
    return Recording(
        begin=SYNTHETIC_BEGIN - before * traces.step,
        step=traces.step,
        first=first,
        vmids=tuple(row["vmid"] for row in guests),
        nodes=tuple(nodes),
        demand={Resource.CPU: cpu, Resource.MEMORY: mib},
        own={Resource.CPU: ones * OWN_MCPU, Resource.MEMORY: ones * OWN_MIB},
        ability={Resource.CPU: ones * threads * 1000, Resource.MEMORY: ones * node_mib},
        homes=np.repeat(homes[:, None], part.shape[1], axis=1),
        answers=({RESOURCES: [*(_node(name, threads, node_mib) for name in nodes), *guests], **_rest(guests)},),
    )


def _joined(traces: Traces, past: Traces | None) -> tuple[tuple[str, ...], Floats, int]:
    """Names, parts of 1, and how many steps are past."""
    if past is None:
        return traces.names, traces.use, 0
    if past.step != traces.step:
        raise InputError(f"the past has steps of {past.step} s, and what is played {traces.step} s: they must be equal")
    index, before = ({name: i for i, name in enumerate(each.names)} for each in (traces, past))
    names = tuple(name for name in traces.names if name in before)
    lately = past.use[[before[name] for name in names]]
    return names, np.hstack([lately, traces.use[[index[name] for name in names]]]), lately.shape[1]


def _threads(cpu: Floats, largest: int, shape: Shape) -> int:
    """Threads of a node for the mean load asked for; no fewer than the largest guest has vCPUs."""
    mean = float(cpu.sum(axis=0).mean()) / shape.nodes + OWN_MCPU
    return max(largest, round(mean / shape.load / 1000))


def _node_mib(mib: Floats, shape: Shape) -> int:
    """MiB of a node, such that guests fit on those that they begin on."""
    nodes = min(MEMORY_LOAD * shape.nodes, CROWDED * (shape.begin_on or shape.nodes))
    return round(float(mib.mean(axis=1).sum()) / nodes) + OWN_MIB


def _placed(mib: Floats, room: int, shape: Shape, rng: np.random.Generator) -> Places:
    """(g,) each guest on the node that is furthest below its own share of memory, as long as it has room."""
    nodes = shape.begin_on or shape.nodes
    shares = 1 - shape.skew * rng.random(nodes)
    taken = np.zeros(nodes)
    homes = np.zeros(len(mib), dtype=np.int64)
    for guest in rng.permutation(len(mib)):
        fits = taken + mib[guest] <= FULL * room
        cost = np.where(fits, (taken + mib[guest]) / shares, np.inf)
        node = int(np.argmin(cost)) if fits.any() else int(np.argmin(taken))
        homes[guest], taken[node] = node, taken[node] + mib[guest]
    return homes


def _node(name: str, threads: int, mib: int) -> dict[str, Any]:
    return {
        "id": f"node/{name}", "type": "node", "node": name, "status": "online", "maxcpu": threads, "cpu": 0.0,
        "maxmem": mib * MIB, "mem": 0, "maxdisk": 100 * GIB, "disk": 10 * GIB, "uptime": 864000,
    }  # fmt: skip


def _guest(vmid: int, name: str, node: str, vcpus: int, memory: int, managed: bool) -> dict[str, Any]:
    row = {
        "id": f"qemu/{vmid}", "type": "qemu", "vmid": vmid, "name": name, "node": node, "status": "running",
        "template": 0, "maxcpu": vcpus, "cpu": 0.0, "maxmem": memory * GIB, "mem": 0, "memhost": 0, "maxdisk": 0,
        "disk": 0, "uptime": 864000,
    }  # fmt: skip
    return row | ({"hastate": "started"} if managed else {})


def _rest(guests: list[dict[str, Any]]) -> dict[str, Any]:
    """What else the API would say: no rules, and which guests the HA manager has."""
    managed = [{"sid": f"vm:{row['vmid']}", "state": "started"} for row in guests if "hastate" in row]
    return {
        "/version": {"version": "9.2.6", "release": "9.2"},
        "/cluster/status": [{"type": "cluster", "name": "recording", "id": "cluster", "quorate": 1}],
        "/cluster/options": {}, "/access/permissions": {"/": dict.fromkeys(access.PRIVILEGES, 1)},
        "/cluster/ha/rules": [],
        "/cluster/ha/resources": managed, "/cluster/ha/status/current": [], "/cluster/tasks": [], "/pools": [],
    }  # fmt: skip
