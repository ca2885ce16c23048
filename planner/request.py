"""Owns what Proxmox VE is told to migrate a guest: as a call of the API, and as lines for a shell."""

from collections.abc import Iterator
from typing import Any

from planner.errors import BadAnswer, PlannerError, Unreachable
from planner.plan import Handling, Migration, Plan
from planner.sight import KINDS
from planner.snapshot import Source

KIB_PER_MIB = 1024
DEFAULT = "default"
"""Stands for all storages that are not named."""


IN_TURN = (
    "# One after the other, each when the guest of the line before has arrived: "
    "of guests that HA manages a line only queues the request."
)
"""What a shell does not do by itself."""


class AnswerLost(PlannerError):
    """The request was sent, and what came of it is not known."""


def path(migration: Migration) -> str:
    """Where the request goes."""
    return f"/nodes/{migration.source}/{KINDS[migration.type]}/{migration.vmid}/migrate"


def parameters(migration: Migration, running: bool, handling: Handling | None = None) -> dict[str, Any]:
    """What Proxmox VE wants to hear for this guest in this state."""
    handling, machine = handling or Handling(), migration.type == "vm"
    result: dict[str, Any] = {"target": migration.target}
    if running:
        result["online" if machine else "restart"] = 1
    if migration.local_disk_mib and machine:
        result["with-local-disks"] = 1
    if migration.local_disk_mib and handling.target_storage:
        result["targetstorage" if machine else "target-storage"] = _mapping(handling.target_storage)
    if handling.bwlimit is not None:
        result["bwlimit"] = max(1, round(handling.bwlimit * KIB_PER_MIB))  # 0 would mean no limit
    if handling.conntrack and machine and running:
        result["with-conntrack-state"] = 1
    if handling.restart_timeout is not None and running and not machine:
        result["timeout"] = handling.restart_timeout
    return result


def _mapping(storages: dict[str, str]) -> str:
    """Pairs, and alone the one for all that are not named."""
    return ",".join(target if source == DEFAULT else f"{source}:{target}" for source, target in storages.items())


def send(source: Source, migration: Migration, handling: Handling, running: bool) -> str:
    """Ask for a migration, once; the task that was started.

    AnswerLost when it may have been started. Any other error means that it surely was not.
    """
    try:
        upid = source.post(path(migration), **parameters(migration, running, handling))
    except Unreachable as error:
        if not error.sent:
            raise
        raise AnswerLost(str(error)) from error
    except BadAnswer as error:
        raise AnswerLost(str(error)) from error
    if not isinstance(upid, str) or not upid.startswith("UPID:"):
        raise AnswerLost(f"the answer to the request to migrate guest {migration.vmid} names no task")
    return upid


def command(migration: Migration, handling: Handling | None = None) -> str:
    """The same as a line for a shell on a node."""
    words = " ".join(f"--{key} {value}" for key, value in parameters(migration, migration.running, handling).items())
    return f"pvesh create {path(migration)} {words}"


def script(plan: Plan) -> Iterator[str]:
    """A plan as lines for a shell on a node; what a line has to wait for is a comment before it."""
    if plan.migrations:
        yield IN_TURN
    numbered = {migration.number: migration for migration in plan.migrations}
    for migration in plan.migrations:
        before = (numbered[number] for number in migration.after)
        if waits := ", ".join(f"guest {other.vmid} is on {other.target}" for other in before):
            yield f"# Not before {waits}:"
        yield command(migration, plan.handling)
