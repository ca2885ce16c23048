"""Owns what is at work in a cluster now: migrations and backups among its running tasks, and who has asked for them."""

from collections.abc import Iterator
from dataclasses import dataclass

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


def _running(snapshot: Snapshot) -> Iterator[Running]:
    for row in rows(snapshot.get(PATH) or [], PATH):
        upid, vmid = str(row.get("upid") or ""), str(row.get("id") or "")
        over = row.get("endtime") or str(row.get("status") or "running").lower() != "running"
        if not over and vmid.isdecimal():
            parts = upid.split(":")
            user = parts[7] if len(parts) > 7 else str(row.get("user") or "")
            yield Running(upid, str(row.get("type")), int(vmid), user)
