"""Owns Proxmox VE's own records of use (rrddata): which are asked for, what of them is kept, and what they say."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from planner.errors import ApiRefused, InputError
from planner.history import History, Series
from planner.policy import RATES, Lookback, Policy, Resource
from planner.preconditions import ERROR, ask_all
from planner.snapshot import RESOURCES, Snapshot, Source, key, rows

MIB, KIB = 2**20, 2**10
PPM_OF_PERCENT = 10_000
STEPS = {"hour": 300, "day": 300, "week": 1800, "month": 1800}
"""Seconds of the steps that are kept of what a timeframe has: a day comes by the minute, which would be too much."""
SPAN = {"hour": 3600, "day": 24 * 3600, "week": 7 * 24 * 3600, "month": 30 * 24 * 3600}
"""Seconds of each timeframe."""
PRESSURES = {
    Resource.MEMORY_PRESSURE: "pressurememory",
    Resource.CPU_PRESSURE: "pressurecpu",
    Resource.IO_PRESSURE: "pressureio",
}
OF_GUEST = (
    "cpu", "maxcpu", "mem", "memhost", "diskread", "diskwrite", "netin", "netout",
    *(f"{name}{part}" for name in PRESSURES.values() for part in ("some", "full")),
)  # fmt: skip
OF_NODE = ("memused", "memtotal", "arcsize", *OF_GUEST)
"""What is kept of each row, beside its time."""
PATH = re.compile(r"/nodes/[^/]+((?:/(?:qemu|lxc)/\d+)?/rrddata\?timeframe=(?:hour|day|week|month))")

Row = Mapping[str, Any]


def timeframe(policy: Policy) -> str:
    """What has to be asked for; empty where the present is enough. A forecast needs the weeks before."""
    if policy.forecast:
        return "month"
    if policy.window is not Lookback.NOW:
        return policy.window.value
    return "hour" if policy.pressure or set(policy.resource) & set(RATES) else ""


def asked(snapshot: Snapshot, source: Source, frame: str) -> Snapshot:
    """The snapshot and what its running guests and online nodes used: a call for each, in parallel.

    What is not answered is not known. Rows are averaged to the steps above, and only figures that are read are kept.
    """
    places = {path: node for path, node, _ in _places(snapshot, frame)}
    answers = ask_all(source, places, ())
    kept = {path: _thinned(answer, frame) for path, answer in answers.items() if isinstance(answer, list)}
    if places and not kept:
        raise ApiRefused(
            "the cluster tells no history (rrddata): leave out --window, --forecast, pressures and rates",
            status=501, reason=_first_refusal(answers.values()),
        )  # fmt: skip
    return replace(snapshot, answers={**snapshot.answers, **kept})


def history(snapshot: Snapshot) -> History | None:
    """What a snapshot has recorded, of its longest timeframe; None where there is nothing."""
    for frame in reversed(STEPS):
        known = {name: snapshot.get(path) for path, _, name in _places(snapshot, frame) if snapshot.get(path)}
        if any(isinstance(name, int) for name in known):
            return _read(known, frame)
    return None


def path(kind: str, node: str, vmid: int, frame: str) -> str:
    """Where the records of a guest are; kind is qemu or lxc."""
    return key(f"/nodes/{node}/{kind}/{vmid}/rrddata", {"timeframe": frame})


def node_path(node: str, frame: str) -> str:
    """Where those of a node are."""
    return key(f"/nodes/{node}/rrddata", {"timeframe": frame})


def renamed(path: str, node: str) -> str | None:
    """Where the same records are by another name of the node; None for a path of something else."""
    found = PATH.fullmatch(path)
    return f"/nodes/{node}{found[1]}" if found else None


def _places(snapshot: Snapshot, frame: str) -> Iterator[tuple[str, str, int | str]]:
    """Path, node that answers, and whose records those are: vmid or node."""
    found = list(rows(snapshot.get(RESOURCES), RESOURCES))
    online = {row.get("node") for row in found if row.get("type") == "node" and row.get("status") == "online"}
    for row in found:
        kind, node, vmid = str(row.get("type")), str(row.get("node")), row.get("vmid")
        if row.get("node") not in online:
            continue
        if kind == "node":
            yield node_path(node, frame), node, node
        elif kind in ("qemu", "lxc") and not row.get("template") and str(vmid).isdecimal():
            yield path(kind, node, int(str(vmid)), frame), node, int(str(vmid))


def _first_refusal(answers: Iterable[Any]) -> str:
    return next((str(answer[ERROR]) for answer in answers if isinstance(answer, dict) and ERROR in answer), "")


def _thinned(answer: Sequence[Any], frame: str) -> list[dict[str, float]]:
    """A row per step: the mean of each figure over the rows in it."""
    step = STEPS[frame]
    cells: dict[int, dict[str, list[float]]] = {}
    for row in answer:
        time = _figure(row, "time") if isinstance(row, dict) else None
        if time is None:
            continue
        cell = cells.setdefault(int(time) // step * step, {})
        for name in OF_NODE:
            value = _figure(row, name)
            if value is not None:
                cell.setdefault(name, []).append(value)
    means = ((time, {name: float(np.mean(values)) for name, values in cell.items()}) for time, cell in cells.items())
    return [
        {"time": time} | {name: float(f"{value:.6g}") for name, value in row.items()} for time, row in sorted(means)
    ]


def _figure(row: Row, name: str) -> float | None:
    """A number that may be missing or be written as a string; what is no number, or negative, is not known."""
    value = row.get(name)
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**62 else None


def _read(known: Mapping[int | str, Any], frame: str) -> History:
    step, most = STEPS[frame], round(SPAN[frame] / STEPS[frame])
    tables = {name: _by_step(answer, step, str(name)) for name, answer in known.items()}
    filled = [number for table in tables.values() for number, row in table.items() if len(row) > 1]
    if not filled:
        raise InputError(f"the recorded history ({frame}) has no figures: record it again")
    last = max(filled)
    numbers = range(max(min(filled), last - most + 1), last + 1)
    vmids = tuple(sorted(name for name in tables if isinstance(name, int)))
    nodes = tuple(sorted(name for name in tables if isinstance(name, str)))

    def series(names: Sequence[int | str], figures: Sequence[str]) -> dict[str, Series]:
        cells = np.array(
            [[[tables[name].get(i, {}).get(f, np.nan) for i in numbers] for name in names] for f in figures]
        )
        return dict(zip(figures, cells.reshape(len(figures), len(names), len(numbers)), strict=True))

    guest, node = series(vmids, OF_GUEST), series(nodes, OF_NODE)
    memory = {Resource.MEMORY: np.where(guest["memhost"] > 0, guest["memhost"], guest["mem"]) / MIB}
    return History(
        begin=float(numbers[0] * step), step=step, vmids=vmids, nodes=nodes,
        guest=_known(memory | _shared(guest)), node=_known({Resource.MEMORY: node["memused"] / MIB} | _shared(node)),
        guest_full=_known(_full(guest)), node_full=_known(_full(node)),
    )  # fmt: skip


def _by_step(answer: Any, step: int, what: str) -> dict[int, dict[str, float]]:
    """Step number to figures."""
    result = {}
    for row in rows(answer, f"the history of {what}"):
        time = _figure(row, "time")
        if time is not None:
            figures = ((name, _figure(row, name)) for name in ("time", *OF_NODE))
            result[int(time) // step] = {name: value for name, value in figures if value is not None}
    return result


def _shared(of: Mapping[str, Series]) -> dict[Resource, Series]:
    """What guests and nodes are told of alike."""
    rates = {
        Resource.CPU: of["cpu"] * of["maxcpu"] * 1000,
        Resource.IO: (of["diskread"] + of["diskwrite"]) / KIB,
        Resource.NETWORK: (of["netin"] + of["netout"]) / KIB,
    }
    return rates | {resource: of[f"{name}some"] * PPM_OF_PERCENT for resource, name in PRESSURES.items()}


def _full(of: Mapping[str, Series]) -> dict[Resource, Series]:
    return {resource: of[f"{name}full"] * PPM_OF_PERCENT for resource, name in PRESSURES.items()}


def _known(table: Mapping[Resource, Series]) -> dict[Resource, Series]:
    """Those of which there is any figure."""
    return {resource: series for resource, series in table.items() if np.isfinite(series).any()}
