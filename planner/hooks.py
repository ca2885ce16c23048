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
before the next one. What it prints is not shown, but for the last line on stderr of one that fails. It finds no secret
of ours in its environment, and none is in what it gets.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import IO, Any, Final

from planner.errors import HookFailed
from planner.plan import Migration, Plan
from planner.policy import Hooks

PRIVATE: Final = ("PROXLB_PLAN_API__", "CREDENTIALS_DIRECTORY")
"""What variables begin with that are ours alone."""
FIELDS: Final = (
    "number", "vmid", "name", "type", "source", "target", "running", "bypass", "memory_mib", "local_disk_mib", "reason",
)  # fmt: skip
TAIL: Final = 4096
"""Bytes of what a command says in which its last line is looked for."""
LONGEST: Final = 300
"""Characters of a last line that are shown."""


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
        self._environ = {name: value for name, value in environ.items() if not name.startswith(PRIVATE)}
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
        complaint = self._carry_out(command, json.dumps({"event": event, **self._common, **told}))
        if complaint:
            raise HookFailed(f"hook {event}{about} ({command[0]}) {complaint}")

    def _carry_out(self, command: tuple[str, ...], text: str) -> str:
        """Run a command to its end; what is wrong with that, or nothing."""
        # A file, not a pipe: what the command leaves running may hold on to it. A session of its own: Ctrl-C is for us.
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=self._environ,
                    start_new_session=True,
                )  # fmt: skip
            except (OSError, ValueError) as error:
                return f"cannot be run: {getattr(error, 'strerror', None) or error}"
            try:
                process.communicate(text.encode(), timeout=self._hooks.timeout)
            except subprocess.TimeoutExpired:
                _kill(process)
                return f"did not end within {self._hooks.timeout:g} s (apply.hooks.timeout) and was killed"
            except BaseException:  # a second Ctrl-C
                _kill(process)
                raise
            return _complaint(process.returncode, said)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a command and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _complaint(code: int, said: IO[bytes]) -> str:
    """What an exit code says, with the last line that was said."""
    if code == 0:
        return ""
    said.seek(max(0, said.seek(0, os.SEEK_END) - TAIL))
    last = _last_line(said.read())
    how = f"ended with {code}" if code > 0 else f"was ended by signal {-code}"
    return f"{how}: {last}" if last else how


def _last_line(said: bytes) -> str:
    """The last line that is not empty, fit for a terminal."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable())[:LONGEST] if lines else ""


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
