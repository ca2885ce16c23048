"""Owns the carrying out of a plan: exactly that plan, one migration at a time, believing only where guests are."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from planner.assumptions import check_assumptions
from planner.clock import Clock
from planner.errors import BadAnswer, Locked, PlannerError, StalePlan, Unreachable
from planner.plan import Migration, Plan
from planner.snapshot import RESOURCES, Source

__all__ = ["Applier", "MigrationFailed", "Run", "check_assumptions", "command", "parameters"]

POLL = 1.0
"""Seconds between two looks at a task."""
PATIENCE = 60.0
"""Seconds for which an API that does not answer is asked again while a migration runs."""
SETTLE = 30.0
"""Seconds within which a guest must show up on its target after its task has ended well, or a lost task be found."""
HA_PATIENCE = 120.0
"""Seconds for which the HA manager may do nothing visible about a migration that was handed to it."""
LOG_LINES = 500
"""Lines of a task log that are searched for the reason of a failure."""
KINDS = {"vm": "qemu", "ct": "lxc"}


@dataclass(slots=True)
class Run:
    """What has become of a plan so far."""

    plan: Plan
    done: list[tuple[Migration, str]] = field(default_factory=list)
    """Migrations whose guest was re-read on its target, with a note."""
    failed: tuple[Migration, PlannerError] | None = None
    """The migration that ended the run, and why."""
    current: Migration | None = None
    """The migration that has been asked for and may still be under way."""

    @property
    def left(self) -> list[Migration]:
        """Migrations that were not started."""
        begun = {migration.vmid for migration, _ in self.done}
        for migration in (self.current, self.failed[0] if self.failed else None):
            if migration:
                begun.add(migration.vmid)
        return [migration for migration in self.plan.migrations if migration.vmid not in begun]


class MigrationFailed(PlannerError):
    """A migration did not bring its guest to its target; `unknown` when it may still do so."""

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class Applier:
    """Carries out migrations on a source. `timeout` is in seconds, per migration."""

    def __init__(self, source: Source, clock: Clock, timeout: float, watch: Callable[[str], None]) -> None:
        self._source, self._clock, self._timeout, self._watch = source, clock, timeout, watch

    def carry_out(self, run: Run) -> None:
        """All migrations of the plan in order, until one does not succeed; `run` tells what happened."""
        for migration in run.plan.migrations:
            try:
                note = self._migrate(run, migration)
            except PlannerError as error:
                run.failed = (migration, error)
                if not getattr(error, "unknown", False):
                    run.current = None
                return
            run.done.append((migration, note))
            run.current = None

    def _migrate(self, run: Run, migration: Migration) -> str:
        row = self._guest(migration.vmid)
        if row["node"] == migration.target:  # the HA manager takes guests with positive affinity along
            return "it was there already"
        self._check_start(migration, row)
        self._watch(f"guest {migration.vmid}: {migration.source} -> {migration.target}")
        running = row["status"] != "stopped"
        run.current = migration
        upid = self._start(migration, running)
        return "its task was not seen" if upid is None else self._follow(migration, upid, running)

    def _follow(self, migration: Migration, upid: str, running: bool) -> str:
        """Wait for a task and for the guest; a note when there is something to say."""
        try:
            exitstatus = self._wait(migration, upid)
            if exitstatus != "OK" and not exitstatus.startswith("WARNINGS"):
                return self._after_failure(migration, exitstatus, upid, running)
            self._arrive(migration, queued=":hamigrate:" in upid)
        except MigrationFailed:
            raise
        except PlannerError as error:
            raise MigrationFailed(f"guest {migration.vmid}: lost sight of task {upid}: {error}", unknown=True) from None
        return "" if exitstatus == "OK" else f"with {exitstatus.lower()}: see task {upid}"

    def _guest(self, vmid: int) -> dict[str, Any]:
        for row in self._ask(RESOURCES):
            if row.get("vmid") == vmid and row.get("type") in KINDS.values():
                return dict(row)
        raise StalePlan(f"guest {vmid} is gone: make a new plan")

    def _check_start(self, migration: Migration, row: dict[str, Any]) -> None:
        """The guest must be where the plan says and free to go, the target online: PVE does not check that."""
        vmid = migration.vmid
        if row["node"] != migration.source:
            raise StalePlan(f"guest {vmid} is on {row['node']}, not on {migration.source}: make a new plan")
        if row.get("lock"):
            raise Locked(f"guest {vmid} is locked ({row['lock']}): wait for that to end")
        if migration.type == "ct" and row["status"] == "running" and not migration.running:
            raise StalePlan(f"container {vmid} was started, migrating it would restart it: make a new plan")
        nodes = {r["node"]: r for r in self._ask(RESOURCES) if r.get("type") == "node"}
        target = nodes.get(migration.target, {"status": "gone"})
        state = "maintenance" if target.get("hastate") == "maintenance" else target.get("status")
        if state != "online":
            raise StalePlan(f"node {migration.target} is {state}: make a new plan")

    def _start(self, migration: Migration, running: bool) -> str | None:
        """The task that was started; None when its answer was lost and the guest has arrived meanwhile."""
        path = f"/nodes/{migration.source}/{KINDS[migration.type]}/{migration.vmid}/migrate"
        try:
            return str(self._source.post(path, **parameters(migration, running)))
        except Unreachable as error:
            if not error.sent:
                raise
            return self._find_task(migration, error)
        except BadAnswer as error:
            return self._find_task(migration, error)

    def _find_task(self, migration: Migration, lost: PlannerError) -> str | None:
        """The answer to a POST was lost: never send it twice, look for the task or for what it has done."""
        vmid = migration.vmid
        deadline = self._clock.now() + SETTLE
        try:
            while True:
                for task in self._ask("/cluster/tasks"):
                    migrates = str(task.get("id")) == str(vmid) and "migrate" in str(task.get("type"))
                    if migrates and task.get("status") in (None, "running"):
                        return str(task["upid"])
                row = self._guest(vmid)
                if row["node"] == migration.target and row.get("lock") != "migrate":
                    return None
                if self._clock.now() >= deadline:
                    break
                self._clock.sleep(POLL)
        except PlannerError as error:
            lost = error
        raise MigrationFailed(f"whether guest {vmid} is being migrated is not known: {lost}", unknown=True)

    def _ask(self, path: str) -> Any:
        """A GET that rides out an API that does not answer for a while."""
        deadline = self._clock.now() + PATIENCE
        while True:
            try:
                return self._source.get(path)
            except (Unreachable, BadAnswer):
                if self._clock.now() >= deadline:
                    raise
                self._clock.sleep(5 * POLL)

    def _wait(self, migration: Migration, upid: str) -> str:
        """Exit status of the task, asked for through the node that runs it."""
        deadline = self._clock.now() + self._timeout
        path = f"/nodes/{upid.split(':')[1]}/tasks/{upid}/status"
        while True:
            status = self._ask(path)
            if status.get("status") == "stopped":
                return str(status.get("exitstatus", ""))
            if self._clock.now() >= deadline:
                raise MigrationFailed(
                    f"guest {migration.vmid} is still migrating after {self._timeout:.0f} s (task {upid})", unknown=True
                )
            self._clock.sleep(POLL)

    def _arrive(self, migration: Migration, *, queued: bool) -> None:
        """Only where the guest is counts: a task may end well and have moved nothing, or only queued a request."""
        patience = HA_PATIENCE if queued else SETTLE
        began = seen = self._clock.now()
        while True:
            row, now = self._guest(migration.vmid), self._clock.now()
            busy = row.get("lock") == "migrate" or row.get("hastate") in ("migrate", "relocate")
            if row["node"] == migration.target and not busy:
                return
            seen = now if busy else seen
            if now - seen >= patience or now - began >= max(patience, self._timeout):
                break
            self._clock.sleep(POLL)
        what = "the HA manager has not migrated it" if queued else "the task ended well"
        raise MigrationFailed(
            f"guest {migration.vmid} did not move: {what}, but after {now - began:.0f} s it is on {row['node']}",
            unknown=queued or bool(busy),
        )

    def _after_failure(self, migration: Migration, exitstatus: str, upid: str, running: bool) -> str:
        """A task that failed may have moved its guest nevertheless ("migration problems")."""
        row = self._guest(migration.vmid)
        arrived = row["node"] == migration.target
        if arrived and (row["status"] != "stopped" or not running):
            return f"the task ended with '{exitstatus}', but the guest is on {migration.target}: see task {upid}"
        what = "is no longer running" if arrived else "was not migrated"
        raise MigrationFailed(
            f"guest {migration.vmid} {what}, it is on {row['node']}: {exitstatus}{self._why(upid)} (task {upid})"
        )

    def _why(self, upid: str) -> str:
        """The line of the task log that says why."""
        try:
            log = self._source.get(f"/nodes/{upid.split(':')[1]}/tasks/{upid}/log", limit=LOG_LINES)
        except PlannerError:
            return ""
        lines = [str(line.get("t", "")) for line in log if isinstance(line, dict)]
        telling = [line for line in lines if "ERROR" in line or "can't" in line]
        return f": {telling[0]}" if telling else ""


def parameters(migration: Migration, running: bool) -> dict[str, Any]:
    """What PVE wants to hear for this guest in this state."""
    result: dict[str, Any] = {"target": migration.target}
    if running:
        result["online" if migration.type == "vm" else "restart"] = 1
    if migration.local_disk_mib and migration.type == "vm":
        result["with-local-disks"] = 1
    return result


def command(migration: Migration) -> str:
    """The same as a line for a shell on a node."""
    words = " ".join(f"--{key} {value}" for key, value in parameters(migration, migration.running).items())
    return f"pvesh create /nodes/{migration.source}/{KINDS[migration.type]}/{migration.vmid}/migrate {words}"
