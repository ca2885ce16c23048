"""Claims about hooks: what a command of the operator is told, what it may stop, and what it never sees."""

import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.errors import HookFailed
from planner.hooks import HookRunner, Outcome
from planner.policy import Hooks
from tests.plans import migration, plan

SECRET = "0b5c3a0e-1111-4222-8333-c0ffee000001"
ONE = migration(1, 100, "pve1", "pve2")
PLAN = plan(ONE, migration(2, 101, "pve1", "pve3"))

Script = Callable[..., tuple[str, ...]]
EVENTS = ("before_run", "after_run", "before_migration", "after_migration")


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Writes a shell script; the command that runs it."""

    def write(*lines: str, name: str = "hook.sh") -> tuple[str, ...]:
        path = tmp_path / name
        path.write_text("\n".join(("#!/bin/sh", *lines, "")))
        path.chmod(stat.S_IRWXU)
        return (str(path),)

    return write


def runner(notes: list[str] | None = None, /, **hooks: Any) -> HookRunner:
    environ = {"PATH": os.environ["PATH"], "PROXLB_PLAN_API__TOKEN_SECRET": SECRET, "PROXLB_PLAN_API__PASSWORD": SECRET}
    environ |= {"CREDENTIALS_DIRECTORY": "/run/credentials/x", "PROXLB_PLAN_CONFIG": "/etc/c.yaml", "HOME": "/root"}
    return HookRunner(Hooks(**hooks), PLAN, 7, "lab", environ, (notes if notes is not None else []).append)


def all_of(hooks: HookRunner) -> None:
    hooks.before_run()
    hooks.before_migration(ONE)
    hooks.after_migration(ONE, "done", "with warnings: 1")
    hooks.after_run(Outcome("stopped", "Ctrl-C", done=1, left=1))


def test_every_event_is_told_as_one_json_object(script: Script, tmp_path: Path) -> None:
    command = script(f"cat >> {tmp_path}/told; echo >> {tmp_path}/told")
    all_of(runner(**dict.fromkeys(EVENTS, command)))
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert [one["event"] for one in told] == ["before_run", "before_migration", "after_migration", "after_run"]
    figures = {"migrations": 2, "gib": 4.0, "spread_before": 20.0, "spread_after": 3.0, "violations_before": 0}
    figures |= {"violations_after": 0, "seconds": 0.0}
    assert all((one["run"], one["cluster"], one["plan"]) == (7, "lab", figures) for one in told)
    assert told[1]["migration"] == told[2]["migration"] == {
        "number": 1, "vmid": 100, "name": "g100", "type": "vm", "source": "pve1", "target": "pve2", "running": True,
        "bypass": False, "memory_mib": 2048, "local_disk_mib": 0, "reason": "balance: from pve1 to pve2",
    }  # fmt: skip
    assert told[2]["outcome"] == {"state": "done", "note": "with warnings: 1"}
    assert told[3]["outcome"] == {"state": "stopped", "note": "Ctrl-C", "done": 1, "failed": 0, "left": 1}
    assert "outcome" not in told[0] and "migration" not in told[3]


def test_our_secrets_are_in_no_environment_and_the_rest_is(script: Script, tmp_path: Path) -> None:
    command = script(f"env > {tmp_path}/env; cat >> {tmp_path}/env")
    runner(before_run=command).before_run()
    seen = (tmp_path / "env").read_text()
    assert SECRET not in seen and "PROXLB_PLAN_API" not in seen and "CREDENTIALS" not in seen
    assert "PROXLB_PLAN_CONFIG=/etc/c.yaml" in seen and "HOME=/root" in seen


def test_a_command_that_says_no_before_something_stops_it_with_its_last_line(script: Script) -> None:
    command = script("echo checking >&2", "echo 'the backup window has begun' >&2", "echo >&2", "exit 3")
    hooks = runner(before_run=command, before_migration=command)
    with pytest.raises(HookFailed) as run:
        hooks.before_run()
    assert str(run.value) == f"hook before_run ({command[0]}) ended with 3: the backup window has begun"
    with pytest.raises(HookFailed) as one:
        hooks.before_migration(ONE)
    assert str(one.value).startswith("hook before_migration of guest 100 (") and one.value.exit_code == 1


def test_a_command_that_fails_afterwards_is_a_note_and_stops_nothing(script: Script) -> None:
    notes: list[str] = []
    command = script("echo gone >&2; exit 1")
    hooks = runner(notes, after_run=command, after_migration=command)
    all_of(hooks)
    assert notes == [
        f"note: hook after_migration of guest 100 ({command[0]}) ended with 1: gone",
        f"note: hook after_run ({command[0]}) ended with 1: gone",
    ]


def test_one_that_takes_too_long_is_killed_with_what_it_has_started(script: Script, tmp_path: Path) -> None:
    command = script(f"(sleep 1; touch {tmp_path}/late) &", "sleep 60")
    with pytest.raises(HookFailed, match=r"did not end within 0.2 s \(apply.hooks.timeout\) and was killed"):
        runner(before_run=command, timeout=0.2).before_run()
    time.sleep(1.2)
    assert not (tmp_path / "late").exists()


def test_what_a_command_leaves_running_is_not_waited_for(script: Script, tmp_path: Path) -> None:
    began = time.monotonic()
    runner(before_run=script("sleep 30 &", f"echo $! > {tmp_path}/pid")).before_run()
    assert time.monotonic() - began < 20
    os.kill(int((tmp_path / "pid").read_text()), 9)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["kill -9 $$"], "was ended by signal 9"),
        (["exit 5"], "ended with 5"),
        (["printf '\\033[31mred\\033[0m \\377' >&2; exit 1"], "ended with 1: [31mred[0m \N{REPLACEMENT CHARACTER}"),
        (["exec < /dev/null; exit 4"], "ended with 4"),
    ],
)
def test_however_it_ends_there_is_one_line_fit_for_a_terminal(script: Script, lines: list[str], says: str) -> None:
    with pytest.raises(HookFailed) as caught:
        runner(before_run=script(*lines)).before_run()
    assert str(caught.value).endswith(f"hook.sh) {says}")


def test_one_that_cannot_be_run_is_named(tmp_path: Path, script: Script) -> None:
    (tmp_path / "data").write_text("x")
    for command, says in (
        (("/nowhere/hook",), "No such file or directory"), ((str(tmp_path / "data"),), "Permission denied"),
        ((str(tmp_path),), "Permission denied"), (("\0",), "embedded null byte"),
    ):  # fmt: skip
        with pytest.raises(HookFailed, match=rf"cannot be run: {says}"):
            runner(before_run=command).before_run()


def test_no_shell_reads_the_arguments(script: Script, tmp_path: Path) -> None:
    command = (*script(f'printf "%s" "$1" > {tmp_path}/argument'), "$(touch oops); *")
    runner(before_run=command).before_run()
    assert (tmp_path / "argument").read_text() == "$(touch oops); *"


def test_without_commands_nothing_is_run() -> None:
    all_of(runner())
