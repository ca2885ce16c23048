"""Owns the carrying out of a plan: exactly that plan, one migration at a time, believing only where guests really are."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from planner.clock import Clock
from planner.cluster import Cluster
from planner.errors import BadAnswer, PlannerError, StalePlan, Unreachable
from planner.plan import Migration, Plan
from planner.policy import Cluster as ClusterPolicy
from planner.rules import read
from planner.snapshot import RESOURCES, Source

POLL = 1.0
"""Seconds between two looks at a task."""
PATIENCE = 60.0
"""Seconds for which an API that does not answer is asked again while a migration runs."""
SETTLE = 30.0
"""Seconds within which a guest must show up on its target after its task has ended well."""
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
    """The migration that may still be under way."""

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


def check_assumptions(plan: Plan, cluster: Cluster) -> None:
    """StalePlan when guests, nodes or rules are not as the plan assumes."""
    settings = ClusterPolicy(plan.assumes.maintenance_nodes, plan.assumes.ignore_nodes)
    missing = [n for n in (*settings.maintenance_nodes, *settings.ignore_nodes) if n not in set(cluster.nodes["node"])]
    if missing:
        raise StalePlan(f"the plan is stale: node {missing[0]} is gone; make a new plan")
    rules = read(cluster, settings)
    now = dict(zip(map(int, cluster.guests["vmid"]), map(str, cluster.guests["node"]), strict=True))
    found = []
    for node, state in plan.assumes.nodes.items():
        if node not in rules.states:
            found.append(f"node {node} is gone")
        elif rules.states[node].value != state:
            found.append(f"node {node} is {rules.states[node].value}, not {state}")
    for vmid, node in plan.assumes.guests.items():
        if vmid not in now:
            found.append(f"guest {vmid} is gone")
        elif now[vmid] != node:
            found.append(f"guest {vmid} is on {now[vmid]}, not on {node}")
    if rules.digest() != plan.assumes.rules:
        found.append("the rules have changed")
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise StalePlan(f"the plan is stale: {'; '.join(found[:3])}{more}; make a new plan")


class Applier:
    """Carries out migrations on a source. `timeout` is in seconds, per migration."""

    def __init__(self, source: Source, clock: Clock, timeout: float, watch: Callable[[str], None]) -> None:
        self._source, self._clock, self._timeout, self._watch = source, clock, timeout, watch

    def carry_out(self, run: Run) -> None:
        """All migrations of the plan in order, until one does not succeed; `run` tells what happened."""
        for migration in run.plan.migrations:
            run.current = migration
            try:
                note = self._migrate(migration)
            except PlannerError as error:
                run.failed = (migration, error)
                if not getattr(error, "unknown", False):
                    run.current = None
                return
            run.done.append((migration, note))
            run.current = None

    def _migrate(self, migration: Migration) -> str:
        row = self._guest(migration.vmid)
        self._check_start(migration, row)
        self._watch(f"guest {migration.vmid}: {migration.source} -> {migration.target}")
        upid = self._start(migration, row["status"] != "stopped")
        try:
            return self._follow(migration, upid)
        except MigrationFailed:
            raise
        except PlannerError as error:
            raise MigrationFailed(f"guest {migration.vmid}: lost sight of task {upid}: {error}", unknown=True) from None

    def _follow(self, migration: Migration, upid: str) -> str:
        """Wait for a task and for the guest; a note when there is something to say."""
        exitstatus = self._wait(migration, upid)
        queued = ":hamigrate:" in upid
        if exitstatus != "OK" and not exitstatus.startswith("WARNINGS"):
            return self._after_failure(migration, exitstatus, upid)
        self._wait_for_arrival(migration, self._timeout if queued else SETTLE)
        return "" if exitstatus == "OK" else f"with {exitstatus.lower()}: see task {upid}"

    def _guest(self, vmid: int) -> dict[str, Any]:
        for row in self._ask(RESOURCES):
            if row.get("vmid") == vmid and row.get("type") in KINDS.values():
                return dict(row)
        raise StalePlan(f"guest {vmid} is gone: make a new plan")

    def _check_start(self, migration: Migration, row: dict[str, Any]) -> None:
        """The guest must be where the plan says and free to go, the target online: PVE does not check that."""
        if row["node"] != migration.source:
            raise StalePlan(f"guest {migration.vmid} is on {row['node']}, not on {migration.source}: make a new plan")
        if row.get("lock"):
            raise MigrationFailed(f"guest {migration.vmid} is locked ({row['lock']}): wait for that to end")
        nodes = {r["node"]: r for r in self._source.get(RESOURCES) if r.get("type") == "node"}
        target = nodes.get(migration.target)
        if target is None or target.get("status") != "online" or target.get("hastate") == "maintenance":
            state = target.get("hastate") or target.get("status") if target else "gone"
            raise StalePlan(f"node {migration.target} is {state}: make a new plan")

    def _start(self, migration: Migration, running: bool) -> str:
        path = f"/nodes/{migration.source}/{KINDS[migration.type]}/{migration.vmid}/migrate"
        try:
            return str(self._source.post(path, **parameters(migration, running)))
        except Unreachable as error:
            if not error.sent:
                raise
            return self._find_task(migration, error)

    def _find_task(self, migration: Migration, lost: Unreachable) -> str:
        """The answer to a POST was lost: never send it twice, look for the task it may have started."""
        try:
            tasks = self._ask("/cluster/tasks")
        except PlannerError:
            tasks = []
        for task in tasks:
            if str(task.get("id")) == str(migration.vmid) and "migrate" in str(task.get("type")):
                if task.get("status") in (None, "running"):
                    return str(task["upid"])
        raise MigrationFailed(f"{lost}: whether guest {migration.vmid} is being migrated is not known", unknown=True)

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

    def _wait_for_arrival(self, migration: Migration, timeout: float) -> None:
        """Only where the guest is counts: a task may end well and have moved nothing, or only queued a request."""
        deadline = self._clock.now() + timeout
        while True:
            node = self._guest(migration.vmid)["node"]
            if node == migration.target:
                return
            if self._clock.now() >= deadline:
                raise MigrationFailed(
                    f"guest {migration.vmid} did not move: the task ended well, but it is still on {node}"
                )
            self._clock.sleep(POLL)

    def _after_failure(self, migration: Migration, exitstatus: str, upid: str) -> str:
        """A task that failed may have moved its guest nevertheless ("migration problems")."""
        if self._guest(migration.vmid)["node"] == migration.target:
            return f"the task ended with '{exitstatus}', but the guest is on {migration.target}: see task {upid}"
        raise MigrationFailed(
            f"guest {migration.vmid} was not migrated: {exitstatus}{self._why(upid)} (task {upid})"
        )

    def _why(self, upid: str) -> str:
        """The lines of the task log that say why."""
        try:
            log = self._source.get(f"/nodes/{upid.split(':')[1]}/tasks/{upid}/log")
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
