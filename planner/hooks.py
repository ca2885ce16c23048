"""Owns the commands of the operator that are run before and after a run and each of its migrations.

A command is started without a shell and gets one JSON object on stdin:

    event      before_run, after_run, before_migration or after_migration
    run        number of the run, as `history` shows it
    cluster    name of the cluster
    plan       what is planned: migrations (number), gib, spread_before, spread_after (points), violations_before,
               violations_after (broken rules), seconds (expected); null where it can no longer be read
    migration  of the events of a migration: number, vmid, name, type (vm or ct), source, target, running, bypass,
               memory_mib, local_disk_mib, reason
    outcome    of the events after something: state (of the run: done, stopped, ...; of a migration: done, failed, ...,
               or planned: it was not started after all),
               note, and of a run done, failed and left (numbers of migrations)

While one runs nothing is started, and what is under way in the cluster goes on without being looked at: that is done
before the next one. It finds no secret of ours in its environment, and none is in what it gets.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from planner.command import carry_out
from planner.errors import HookFailed
from planner.plan import Migration, Plan
from planner.policy import Hooks

FIELDS: Final = (
    "number", "vmid", "name", "type", "source", "target", "running", "bypass", "memory_mib", "local_disk_mib", "reason",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a run."""

    state: str
    note: str = ""
    done: int = 0
    """Migrations that ended well..."""
    failed: int = 0
    """...that did not, or whose fate is not known..."""
    left: int = 0
    """...and that were not started."""


class HookRunner:
    """The commands of one run. `note` is told what a command that cannot stop anything complains of."""

    def __init__(
        self, hooks: Hooks, plan: Plan | None, run: int, cluster: str, environ: Mapping[str, str],
        note: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._hooks, self._note = hooks, note
        self._environ = environ
        self._common = {"run": run, "cluster": cluster, "plan": plan and _figures(plan)}
        self.owed = False
        """Whether a command was told that the run begins, and one has still to be told of its end."""

    def before_run(self) -> None:
        """HookFailed when the command says no."""
        self.owed = bool(self._hooks.after_run)
        self._run("before_run", self._hooks.before_run, {})

    def before_migration(self, migration: Migration) -> None:
        """HookFailed when the command says no."""
        self._run("before_migration", self._hooks.before_migration, {"migration": _fields(migration)})

    def after_migration(self, migration: Migration, state: str, note: str = "") -> None:
        """Tell what has become of a migration."""
        told = {"migration": _fields(migration), "outcome": {"state": state, "note": note}}
        self._tell("after_migration", self._hooks.after_migration, told)

    def after_run(self, outcome: Outcome) -> None:
        """Tell what has become of the run."""
        self.owed = False
        self._tell("after_run", self._hooks.after_run, {"outcome": asdict(outcome)})

    def _tell(self, event: str, command: tuple[str, ...], told: dict[str, Any]) -> None:
        try:
            self._run(event, command, told)
        except HookFailed as error:
            self._note(f"note: {error}")

    def _run(self, event: str, command: tuple[str, ...], told: dict[str, Any]) -> None:
        if not command:
            return
        about = f" of guest {told['migration']['vmid']}" if "migration" in told else ""
        text = json.dumps({"event": event, **self._common, **told})
        complaint = carry_out(command, text, self._environ, self._hooks.timeout, "apply.hooks.timeout")
        if complaint:
            raise HookFailed(f"hook {event}{about} ({command[0]}) {complaint}")


def _figures(plan: Plan) -> dict[str, Any]:
    return {
        "migrations": len(plan.migrations),
        "gib": round(plan.moved_gib, 1),
        "spread_before": plan.spread.before,
        "spread_after": plan.spread.after,
        "violations_before": len(plan.violations_before),
        "violations_after": len(plan.violations_after),
        "seconds": plan.schedule.seconds,
    }


def _fields(migration: Migration) -> dict[str, Any]:
    return {name: getattr(migration, name) for name in FIELDS}
