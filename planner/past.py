"""Owns the migrations of the past: Proxmox VE's tasks and their logs, asked for in parallel, and what they took."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner import tasklog
from planner.preconditions import ask_all, with_answers
from planner.recent import TYPES
from planner.snapshot import RESOURCES, Snapshot, Source, key
from planner.tasklog import Summary

LISTED = 30
"""Tasks of each kind that a node is asked for: the newest."""
LOGS = {"qmigrate": 24, "vzmigrate": 6}
"""Logs of each kind that are read in all: the newest. More would take longer and say the same."""
LINES = 2000
"""Lines of a log that are asked for: half an hour at a line per second."""
WELL = ("OK", "WARNINGS")
"""How the status of a task begins that ended well."""
UPID = re.compile(r"UPID:([^:/]+)((?::[0-9A-Fa-f]+){3}):([a-z]+):(\d+):[^:/]*:")
USER = "user@pve"
"""Stands for whoever started a task, in snapshots without names."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Past:
    """A migration that ended well."""

    type: str
    """qmigrate or vzmigrate."""
    summary: Summary


def tasks_path(node: str, kind: str) -> str:
    """Where the migrations that a node sent away and that ended well are listed, the newest first."""
    return key(f"/nodes/{node}/tasks", {"limit": LISTED, "statusfilter": "ok", "typefilter": kind})


def log_path(upid: str) -> str:
    """Where the log of a task is: on the node that ran it."""
    return key(f"/nodes/{upid.split(':')[1]}/tasks/{upid}/log", {"limit": LINES})


def renamed(upid: str, nodes: Mapping[str, str]) -> str | None:
    """The same task by another name of its node, of nobody; None when it is no task of a known node."""
    told = UPID.fullmatch(upid)
    return f"UPID:{nodes[told[1]]}{told[2]}:{told[3]}:{told[4]}:{USER}:" if told and told[1] in nodes else None


def asked(snapshot: Snapshot, source: Source) -> Snapshot:
    """The snapshot and what tells how long migrations took: two calls per node, and some thirty logs in all.

    What is not answered is not known, and no error. Of the logs only those lines are kept that tell something.
    """
    places = {tasks_path(node, kind): node for node in _online(snapshot) for kind in TYPES}
    listed = with_answers(snapshot, ask_all(source, places, snapshot.answers))
    logs = {log_path(upid): upid.split(":")[1] for kind in TYPES for upid in _newest(listed, kind)}
    told = {path: _shortened(answer) for path, answer in ask_all(source, logs, listed.answers).items()}
    return with_answers(listed, told)


def read(snapshot: Snapshot) -> list[Past]:
    """The migrations whose logs the snapshot has; what makes no sense is left out."""
    found = ((kind, tasklog.texts(snapshot.get(log_path(upid)))) for kind in TYPES for upid in _newest(snapshot, kind))
    return [Past(kind, tasklog.summary(lines)) for kind, lines in found if lines]


def _online(snapshot: Snapshot) -> list[str]:
    return [row["node"] for row in _nodes(snapshot) if row.get("status") == "online"]


def _nodes(snapshot: Snapshot) -> Iterator[Row]:
    for row in _rows(snapshot.get(RESOURCES)):
        if row.get("type") == "node" and isinstance(row.get("node"), str):
            yield row


def _newest(snapshot: Snapshot, kind: str) -> list[str]:
    """UPIDs of those tasks of a kind whose logs count."""
    found = []
    for node in (row["node"] for row in _nodes(snapshot)):
        for row in _rows(snapshot.get(tasks_path(node, kind))):
            upid, began = row.get("upid"), row.get("starttime")
            told = UPID.fullmatch(upid) if isinstance(upid, str) else None
            well = str(row.get("status", "")).startswith(WELL)
            if told and told[1] == node and told[3] == kind and isinstance(began, int) and well:
                found.append((-began, told[0]))
    return [upid for _, upid in sorted(set(found))[: LOGS[kind]]]


def _rows(answer: Any) -> list[Row]:
    return [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []


def _shortened(answer: Any) -> Any:
    """A log without the lines that tell nothing; a refusal as it is."""
    if not isinstance(answer, list):
        return answer
    return [{"n": number, "t": line} for number, line in enumerate(tasklog.essence(tasklog.texts(answer)), 1)]
