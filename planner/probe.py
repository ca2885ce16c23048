"""Owns what only a connection can tell: which hosts answer, and the version and clock of each node."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from planner.errors import ApiRefused, BadAnswer, Forbidden, PlannerError, Unreachable
from planner.snapshot import Source

THREADS = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """What a node's clock showed."""

    ahead: float
    """Seconds ahead of ours."""
    doubt: float
    """Seconds by which that may be wrong: the answer was on its way, and has whole seconds."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """What the nodes themselves say; a node that does not is not there."""

    versions: Mapping[str, str] = field(default_factory=dict)
    clocks: Mapping[str, Reading] = field(default_factory=dict)


def ask_nodes(source: Source, names: Iterable[str], now: Callable[[], float] = time.time) -> Nodes:
    """Version and clock of these nodes: two calls each, side by side."""
    order = list(names)
    with ThreadPoolExecutor(THREADS) as threads:
        versions = list(threads.map(lambda name: _version(source, name), order))
        clocks = list(threads.map(lambda name: _clock(source, name, now), order))
    return Nodes(
        {name: version for name, version in zip(order, versions, strict=True) if version},
        {name: clock for name, clock in zip(order, clocks, strict=True) if clock},
    )


def _version(source: Source, node: str) -> str:
    answer = _answer(source, f"/nodes/{node}/version")
    return str(answer.get("version") or "")


def _clock(source: Source, node: str, now: Callable[[], float]) -> Reading | None:
    asked = now()
    answer = _answer(source, f"/nodes/{node}/time")
    taken = now() - asked
    try:
        its = float(answer["time"]) + 0.5  # it tells whole seconds
    except (KeyError, TypeError, ValueError):
        return None
    return Reading(its - asked - taken / 2, taken / 2 + 0.5)


def _answer(source: Source, path: str) -> Mapping[str, Any]:
    """An answer that may be missing: of a node that has gone, or one that the token may not ask."""
    try:
        answer = source.get(path)
    except (ApiRefused, Forbidden, Unreachable, BadAnswer):
        return {}
    return answer if isinstance(answer, dict) else {}


Hosts = Mapping[str, str | PlannerError]
"""Entry of api.hosts to its version, or to why it does not tell."""


def ask_hosts(answers: Mapping[str, Any]) -> Hosts:
    """What `Pve.ask_each` got for /version."""
    return {host: _told(host, answer) for host, answer in answers.items()}


def _told(host: str, answer: Any) -> str | PlannerError:
    if isinstance(answer, PlannerError):
        return answer
    if isinstance(answer, dict) and answer.get("version"):
        return str(answer["version"])
    return BadAnswer(f"{host} tells no version: is it the Proxmox VE API?")
