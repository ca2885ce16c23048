"""Owns what is seen of a running cluster at one moment: where guests are, which tasks there are. Asks once for each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from planner.errors import BadAnswer, PlannerError
from planner.snapshot import RESOURCES, Source

KINDS = {"vm": "qemu", "ct": "lxc"}
"""Type of a guest to what the API calls it."""
TASKS = "/cluster/tasks"
QUEUED = "hamigrate"
"""A task that only tells the HA manager."""
MIGRATE = ("qmigrate", "vzmigrate", QUEUED)
ON_THE_WAY = ("migrate", "relocate")
"""States of a guest of the HA manager that is being taken elsewhere."""
LINES = 500
"""Lines of a task log per call."""
PAGES = 40
"""Calls for one task log, at most: more is asked for the next time."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a guest is."""

    vmid: int
    node: str
    running: bool | None
    """Paused counts as running; None: not known, as on a node that is offline."""
    lock: str
    hastate: str
    """Empty for a guest that the HA manager does not look after."""
    type: str = ""
    """vm or ct."""

    @property
    def busy(self) -> bool:
        """Whether it is being migrated."""
        return self.lock == "migrate" or self.hastate in ON_THE_WAY


@dataclass(frozen=True, slots=True)
class Task:
    """A task that migrates a guest."""

    upid: str
    vmid: int
    started: int
    """Unix seconds, by the clock of its node."""
    status: str | None
    """How it ended; None while it runs."""

    @property
    def queues(self) -> bool:
        """Whether it only tells the HA manager."""
        return queues(self.upid)


def queues(upid: str) -> bool:
    """Whether a task only tells the HA manager to migrate."""
    return f":{QUEUED}:" in upid


def started(upid: str) -> int:
    """When a task began, by the clock of its node; 0 when it does not say."""
    try:
        return int(upid.split(":")[4], 16)
    except (IndexError, ValueError):
        return 0


class Sight:
    """One look at a cluster: what has been asked for is not asked for again, nor what failed."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._seen: dict[str, Any] = {}

    def places(self) -> dict[int, Place]:
        """Where all guests are, by vmid."""
        return self._once("places", lambda: dict(_places(self._source.get(RESOURCES))))

    def place(self, vmid: int) -> Place | None:
        """Where a guest is; None when there is no such guest, or the token does not see it."""
        return self.places().get(vmid)

    def tasks(self, vmid: int) -> list[Task]:
        """Migrations of a guest among the tasks that the cluster lists, the newest first."""
        found = self._once(TASKS, lambda: list(_tasks(self._source.get(TASKS))))
        return sorted((task for task in found if task.vmid == vmid), key=lambda task: -task.started)

    def tasks_on(self, node: str, vmid: int) -> list[Task]:
        """The same by a node's own account, which goes back further, with those of the cluster."""
        path = f"/nodes/{node}/tasks"
        ask = lambda: list(_tasks(self._source.get(path, vmid=vmid, source="all")))  # noqa: E731
        own = self._once(f"{path} {vmid}", ask)
        found = {task.upid: task for task in (*own, *self.tasks(vmid))}
        return sorted((task for task in found.values() if task.vmid == vmid), key=lambda task: -task.started)

    def status(self, upid: str) -> str | None:
        """How a task ended, asked for through the node that runs it; None while it runs."""
        path = f"/nodes/{_node(upid)}/tasks/{upid}/status"
        answer = self._once(path, lambda: self._source.get(path))
        if not isinstance(answer, dict):
            raise BadAnswer(f"the state of task {upid} is not an object: is this the Proxmox VE API?")
        return str(answer.get("exitstatus", "")) if answer.get("status") == "stopped" else None

    def log(self, upid: str, since: int = 0) -> list[str]:
        """The lines of a task's log, without the first ones."""
        path = f"/nodes/{_node(upid)}/tasks/{upid}/log"
        lines: list[str] = []
        for _ in range(PAGES):
            start = since + len(lines)
            answer = self._source.get(path, start=start, limit=LINES)
            rows = [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []
            # A log without lines has one that says so, which is not beyond what is known.
            lines += [str(row.get("t", "")) for row in rows if int(row.get("n", start + 1)) > start]
            if len(rows) < LINES:
                break
        return lines

    def _once(self, what: str, ask: Callable[[], T]) -> T:
        if what not in self._seen:
            try:
                self._seen[what] = ask()
            except PlannerError as error:
                self._seen[what] = error
        result = self._seen[what]
        if isinstance(result, PlannerError):
            raise result
        return result  # type: ignore[no-any-return]


def _node(upid: str) -> str:
    return upid.split(":")[1]


def _rows(answer: Any, what: str) -> Iterable[dict[str, Any]]:
    if not isinstance(answer, list):
        raise BadAnswer(f"the answer for {what} is not a list: is this the Proxmox VE API?")
    return (row for row in answer if isinstance(row, dict))


def _places(answer: Any) -> Iterable[tuple[int, Place]]:
    types = {kind: name for name, kind in KINDS.items()}
    for row in _rows(answer, RESOURCES):
        if (kind := str(row.get("type"))) in types and (vmid := _number(row.get("vmid"))):
            status = str(row.get("status") or "unknown")
            running = None if status == "unknown" else status != "stopped"
            lock, hastate = (str(row.get(name) or "") for name in ("lock", "hastate"))
            yield vmid, Place(vmid, str(row.get("node")), running, lock, hastate, types[kind])


def _tasks(answer: Any) -> Iterable[Task]:
    for row in _rows(answer, TASKS):
        if row.get("type") in MIGRATE and (vmid := _number(row.get("id"))):
            status = row.get("status")
            upid = str(row.get("upid"))
            over = None if str(status).lower() in ("none", "running") else str(status)
            yield Task(upid, vmid, _number(row.get("starttime")) or started(upid), over)


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
