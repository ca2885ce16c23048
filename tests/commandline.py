"""What tests of the command line share: running it in this process, configuration files, hand-made snapshots."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from planner.cli import main
from tests.fakecluster import GIB, TOKEN_ID, TOKEN_SECRET, Served

INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from planner.cli import main
main(sys.argv[1:])
"""
"""The command line for a process that hears Ctrl-C even where the tests run in the background, which ignores it."""
SEARCHING = """
import sys, threading
wait = threading.Event.wait
def waited(event, timeout=None):
    done = wait(event, timeout)
    if timeout == 0.1 and threading.Event.wait is waited:
        threading.Event.wait = wait
        print("searching", file=sys.stderr, flush=True)
    return done
threading.Event.wait = waited
"""
"""Says so once it waits for a solver: see solvers.run."""


@dataclass(frozen=True)
class Outcome:
    """What a person sees of one run."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line that says what is wrong."""
        lines = [line for line in self.err.splitlines() if not line.startswith("note: ")]
        assert len(lines) == 1 and lines[0].startswith("proxlb-plan: "), self.err
        assert "Traceback" not in self.err and "internal error" not in self.err
        return lines[0]


Cli = Callable[..., Outcome]


def calling(capsys: pytest.CaptureFixture[str]) -> Cli:
    """A function that runs the command line in this process."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main([str(word) for word in words])
        shown = capsys.readouterr()
        assert TOKEN_SECRET not in shown.out + shown.err
        return Outcome(int(exit_info.value.code or 0), shown.out, shown.err)

    return run


def interrupted(*words: str, directory: Path) -> Outcome:
    """What comes of a Ctrl-C once a search is under way."""
    command = [sys.executable, "-c", SEARCHING + INTERRUPTIBLE, *words]
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=directory, env=environ, **pipes) as process:
        for line in process.stderr:
            if line == "searching\n":
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    return Outcome(process.returncode, out, err)


def alone(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """No configuration of the machine that the tests run on, and no journal of its own runs."""
    for name in ("PROXLB_PLAN_CONFIG", "XDG_CONFIG_HOME", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.setenv("STATE_DIRECTORY", str(directory / "state"))
    monkeypatch.chdir(directory)


def write_config(path: Path, served: Served, **api: Any) -> Path:
    """A configuration file for a served fake; `api` replaces keys."""
    keys = {"hosts": [served.at], "token_id": TOKEN_ID, "token_secret": TOKEN_SECRET, "ca_file": served.ca_file}
    path.write_text(json.dumps({"api": keys | api}))
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return path


def node_row(name: str, gib: float = 64, used: float = 2, **more: Any) -> dict[str, Any]:
    """A node as /cluster/resources shows it; `used` GiB include its guests."""
    row = {"id": f"node/{name}", "type": "node", "node": name, "status": "online", "maxcpu": 16, "cpu": 0.1}
    return row | {"maxmem": int(gib * GIB), "mem": int(used * GIB), "maxdisk": 10**11, "disk": 10**10} | more


def guest_row(vmid: int, node: str, gib: float = 4, **more: Any) -> dict[str, Any]:
    """A running VM as /cluster/resources shows it."""
    row = {"id": f"qemu/{vmid}", "type": "qemu", "vmid": vmid, "name": f"guest{vmid}", "node": node}
    row |= {"status": "running", "template": 0, "maxcpu": 2, "cpu": 0.1, "maxmem": int(gib * GIB)}
    return row | {"mem": int(gib * GIB), "memhost": int(gib * GIB), "maxdisk": 10**10, "disk": 0} | more


def write_snapshot(path: Path, *rows: dict[str, Any]) -> Path:
    """A snapshot file with these resources."""
    answers = {"/cluster/resources": list(rows), "/access/permissions": {"/": {"Sys.Audit": 1, "VM.Audit": 1}}}
    document = {"format": "proxlb-plan-snapshot/1", "taken_at": "2026-01-01T00:00:00+00:00", "answers": answers}
    path.write_text(json.dumps(document))
    return path
