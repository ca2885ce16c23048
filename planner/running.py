"""Owns what is at work in a cluster now: migrations and backups among its running tasks, and who has asked for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from planner.recent import PATH, TYPES
from planner.snapshot import Snapshot, rows

MIGRATE = (*TYPES, "hamigrate")
BACKUP = "vzdump"


@dataclass(frozen=True, slots=True)
class Running:
    """A task that is not over."""

    upid: str
    type: str
    vmid: int
    user: str
    """Who has asked for it: root@pam, or root@pam!token."""


def migrations(snapshot: Snapshot) -> list[Running]:
    """Running migrations; none where the tasks are not known."""
    return [task for task in _running(snapshot) if task.type in MIGRATE]


def backups(snapshot: Snapshot) -> list[Running]:
    """Running backups of one guest each: those of a job over several show in the lock of the guest alone."""
    return [task for task in _running(snapshot) if task.type == BACKUP]


def backup_jobs(snapshot: Snapshot) -> list[str]:
    """UPIDs of running backups, those of jobs over several guests too; none where the tasks are not known."""
    return [str(row.get("upid") or "") for row in _active(snapshot) if row.get("type") == BACKUP]


def _running(snapshot: Snapshot) -> Iterator[Running]:
    for row in _active(snapshot):
        upid, vmid = str(row.get("upid") or ""), str(row.get("id") or "")
        if vmid.isdecimal():
            parts = upid.split(":")
            user = parts[7] if len(parts) > 7 else str(row.get("user") or "")
            yield Running(upid, str(row.get("type")), int(vmid), user)


def _active(snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    """Tasks that are not over."""
    for row in rows(snapshot.get(PATH) or [], PATH):
        if not row.get("endtime") and str(row.get("status") or "running").lower() == "running":
            yield row
