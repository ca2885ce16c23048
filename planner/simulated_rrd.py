"""Owns the history of the simulated cluster: guests with a day of their own, at offices, at night or always alike."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

DAY = 24 * 3600
STEPS = {"hour": (60, 60), "day": (300, 288), "week": (1800, 336), "month": (1800, 1440)}
"""Seconds and number of the points of a timeframe."""
PEAKS = (14.0, 3.0, 20.0, None)
"""Hours (UTC) at which kinds of guests are busiest: offices, backups, evenings, never."""
CALM, WIDTH = 0.35, 3.0
"""Part of its peak that a guest uses at other times; hours that a peak is wide."""
WEEKEND = 0.5
"""Part of what it does on other days that a guest does then, unless it works at night."""
PRESSED = 0.6
"""CPU of a guest from which on tasks in it wait."""

Row = Mapping[str, Any]


def is_simulated(frame: str) -> bool:
    """Whether there is such a timeframe."""
    return frame in STEPS


def of_guest(row: Row, frame: str, now: float) -> list[dict[str, float]]:
    """Points of a guest up to now (unix seconds), the last of them as its row says."""
    scale = 1 / _busy(row["vmid"], now)
    result = []
    for time in _times(frame, now):
        much = _busy(row["vmid"], time) * scale if row["status"] == "running" else 0.0
        cpu, memory = min(1.0, row["cpu"] * much), row["mem"] * (0.9 + 0.1 * min(much, 1.0))
        waits = 100 * max(0.0, cpu - PRESSED)
        result.append(
            {
                "time": time,
                "cpu": cpu,
                "maxcpu": row["maxcpu"],
                "mem": memory,
                "memhost": memory,
                "maxmem": row["maxmem"],
                "diskread": 2e6 * cpu,
                "diskwrite": 3e6 * cpu,
                "netin": 5e6 * cpu,
                "netout": 8e6 * cpu,
                "pressurecpusome": waits,
                "pressurecpufull": waits / 3,
                "pressureiosome": waits / 5,
                "pressureiofull": waits / 9,
                "pressurememorysome": 0.0,
                "pressurememoryfull": 0.0,
            }
        )
    return result


def of_node(row: Row, guests: Iterable[Row], frame: str, now: float) -> list[dict[str, float]]:
    """Points of a node with the guests that are on it now."""
    courses = [of_guest(guest, frame, now) for guest in guests]
    own_cpu = row["cpu"] * row["maxcpu"] - sum(course[-1]["cpu"] * course[-1]["maxcpu"] for course in courses)
    own_memory = row["mem"] - sum(course[-1]["mem"] for course in courses)
    result = []
    for index, time in enumerate(_times(frame, now)):
        points = [course[index] for course in courses]
        cpu = (max(0.0, own_cpu) + sum(point["cpu"] * point["maxcpu"] for point in points)) / row["maxcpu"]
        result.append(
            {
                "time": time,
                "cpu": min(1.0, cpu),
                "maxcpu": row["maxcpu"],
                "memtotal": row["maxmem"],
                "memused": max(0.0, own_memory) + sum(point["mem"] for point in points),
                "iowait": 0.01,
                "netin": sum(point["netin"] for point in points),
                "netout": sum(point["netout"] for point in points),
                "pressurecpusome": 100 * max(0.0, cpu - PRESSED),
                "pressureiosome": 0.5,
                "pressureiofull": 0.1,
                "pressurememorysome": 0.0,
                "pressurememoryfull": 0.0,
            }
        )
    return result


def _times(frame: str, now: float) -> list[float]:
    step, count = STEPS[frame]
    last = int(now) // step * step
    return [float(last - step * (count - 1 - index)) for index in range(count)]


def _busy(vmid: int, time: float) -> float:
    """How much a guest does at a time: 1 at its peak."""
    peak = PEAKS[vmid * 7 % 11 % len(PEAKS)]
    if peak is None:
        return 0.7
    away = abs((time / 3600 - peak + 12) % 24 - 12)
    level = CALM + (1 - CALM) * math.exp(-((away / WIDTH) ** 2))
    weekend = (int(time) // DAY + 4) % 7 in (0, 6)  # 1970 began on a Thursday
    return level * WEEKEND if weekend and peak != PEAKS[1] else level
