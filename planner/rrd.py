"""Owns Proxmox VE's own records of use (rrddata): which are asked for, what of them is kept, and what they say."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from statistics import fmean
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
SPIKES = tuple(f"{name}fullmax" for name in PRESSURES.values())
"""The highest of the points of a step, where `full` is their mean."""
OF_NODE = ("memused", "memtotal", "arcsize", *OF_GUEST)
"""What is kept of each row, beside its time."""
RUNNING = ("cpu", "mem", "diskread", "diskwrite", "netin", "netout")
"""What Proxmox VE leaves out of the row of a guest that is stopped: it says then only how large the guest is."""
MOST = {"cpu": 2.0**10, "maxcpu": 2.0**20, "time": 2.0**36}
MOST |= dict.fromkeys(RUNNING[2:], 2.0**40) | dict.fromkeys((*OF_NODE[-6:], *SPIKES), 100.0)
"""Figures above this, or 1 EiB, are nonsense."""
SLACK = 3600
"""Seconds by which clocks of nodes may be ahead."""
PATH = re.compile(r"/nodes/[^/]+((?:/(?:qemu|lxc)/\d+)?/rrddata\?timeframe=(?:hour|day|week|month))")

Row = Mapping[str, Any]


def timeframes(policy: Policy) -> tuple[str, ...]:
    """What has to be asked for; nothing where the present is enough. A forecast needs the weeks before, thresholds of
    pressure the points of the last hour."""
    asked = []
    if policy.forecast:
        asked.append("month")
    elif policy.window is not Lookback.NOW:
        asked.append(policy.window.value)
    if policy.pressure or (not asked and set(policy.resource) & set(RATES)):
        asked.append("hour")
    return tuple(dict.fromkeys(asked))


def asked(snapshot: Snapshot, source: Source, frame: str) -> Snapshot:
    """The snapshot and what the guests and nodes that are online used: a call for each, in parallel.

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


def history(snapshot: Snapshot, frames: Iterable[str] = ("month", "week", "day", "hour")) -> History | None:
    """What a snapshot has recorded, of the first timeframe of which it tells of guests; None where there is none."""
    for frame in frames:
        places = list(_places(snapshot, frame))
        known = {name: snapshot.get(path) for path, _, name in places if snapshot.get(path) is not None}
        kinds = [{type(name) for name in names} for names in (known, (name for _, _, name in places))]
        if known and (int in kinds[0] or int not in kinds[1]):
            return _read(known, frame, snapshot.taken_at)
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
    """A row per step: the mean of each figure over the rows in it, and the highest of those that spike."""
    step = STEPS[frame]
    cells: dict[int, dict[str, list[float]]] = {}
    for row in answer:
        figures = _figures(row) if isinstance(row, dict) else {}
        if "time" in figures:
            cell = cells.setdefault(int(figures.pop("time")) // step * step, {})
            for name, value in figures.items():
                cell.setdefault(name, []).append(value)
    return [{"time": time} | _condensed(cell) for time, cell in sorted(cells.items())]


def _condensed(cell: Mapping[str, list[float]]) -> dict[str, float]:
    means = {name: fmean(values) for name, values in cell.items() if name not in SPIKES}
    highest = {name: max(cell.get(name, cell.get(name[:-3], ()))) for name in SPIKES if name[:-3] in cell}
    return {name: float(f"{value:.6g}") for name, value in (means | highest).items()}


def _figures(row: Row) -> dict[str, float]:
    """The time and those figures that are known; a guest that is stopped uses nothing."""
    figures = {name: _figure(row, name) for name in ("time", *OF_NODE, *SPIKES)}
    known = {name: value for name, value in figures.items() if value is not None}
    silent = all(row.get(name) is None for name in (*RUNNING, "memtotal"))
    is_stopped = "maxcpu" in known and silent
    return dict.fromkeys(RUNNING, 0.0) | known if is_stopped else known


def _figure(row: Row, name: str) -> float | None:
    """A number that may be missing or be written as a string; what is no number, or cannot be, is not known."""
    value = row.get(name)
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number <= MOST.get(name, 2.0**60) else None


def _read(known: Mapping[int | str, Any], frame: str, taken_at: str) -> History:
    step, most = STEPS[frame], round(SPAN[frame] / STEPS[frame])
    end = _last_step(taken_at, step)
    tables = {name: _by_step(answer, step, end, str(name)) for name, answer in known.items()}
    filled = [number for table in tables.values() for number, row in table.items() if len(row) > 1]
    if not filled:
        raise InputError(f"the recorded history ({frame}) has no figures of that time: record it again")
    last = max(filled)
    numbers = range(max(min(filled), last - most + 1), last + 1)
    vmids = tuple(sorted(name for name in tables if isinstance(name, int)))
    nodes = tuple(sorted(name for name in tables if isinstance(name, str)))
    guest, node = (_table(tables, names, numbers) for names in (vmids, nodes))
    memory = {Resource.MEMORY: np.where(guest["memhost"] > 0, guest["memhost"], guest["mem"]) / MIB}
    return History(
        begin=float(numbers[0] * step), step=step, vmids=vmids, nodes=nodes,
        guest=_known(memory | _shared(guest)), node=_known({Resource.MEMORY: node["memused"] / MIB} | _shared(node)),
        guest_full=_known(_full(guest, "full")), node_full=_known(_full(node, "full")),
        guest_spikes=_known(_full(guest, "fullmax")), node_spikes=_known(_full(node, "fullmax")),
    )  # fmt: skip


def _last_step(taken_at: str, step: int) -> float:
    """Number of the last step that can be known; what is later is of a clock that is wrong."""
    try:
        return (datetime.fromisoformat(taken_at).timestamp() + SLACK) // step
    except ValueError:
        return math.inf


def _table(
    tables: Mapping[int | str, Mapping[int, Mapping[str, float]]], names: Sequence[int | str], numbers: range
) -> dict[str, Series]:
    """Figure to (names, steps)."""
    figures = (*OF_NODE, *SPIKES)
    cells = [[[tables[name].get(i, {}).get(f, np.nan) for i in numbers] for name in names] for f in figures]
    return dict(zip(figures, np.array(cells).reshape(len(figures), len(names), len(numbers)), strict=True))


def _by_step(answer: Any, step: int, end: float, what: str) -> dict[int, dict[str, float]]:
    """Step number to figures."""
    found = (_figures(row) for row in rows(answer, f"the history of {what}"))
    return {int(row["time"]) // step: row for row in found if "time" in row and row["time"] // step <= end}


def _shared(of: Mapping[str, Series]) -> dict[Resource, Series]:
    """What guests and nodes are told of alike."""
    rates = {
        Resource.CPU: of["cpu"] * of["maxcpu"] * 1000,
        Resource.IO: (of["diskread"] + of["diskwrite"]) / KIB,
        Resource.NETWORK: (of["netin"] + of["netout"]) / KIB,
    }
    return rates | {resource: of[f"{name}some"] * PPM_OF_PERCENT for resource, name in PRESSURES.items()}


def _full(of: Mapping[str, Series], part: str) -> dict[Resource, Series]:
    return {resource: of[f"{name}{part}"] * PPM_OF_PERCENT for resource, name in PRESSURES.items()}


def _known(table: Mapping[Resource, Series]) -> dict[Resource, Series]:
    """Those of which there is any figure."""
    return {resource: series for resource, series in table.items() if np.isfinite(series).any()}
