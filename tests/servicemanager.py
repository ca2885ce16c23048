"""A service manager for tests: starts what a unit starts, as systemd would, and hears what it is told."""

import contextlib
import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from tests import sandbox
from tests.fakecluster import TOKEN_ID, TOKEN_SECRET, Served
from tests.unitfile import Unit, allowed_calls

PATIENCE = 60.0
"""Seconds until a test gives up waiting for something."""
_numbers = itertools.count()


def confinement(of: Unit) -> list[str] | None:
    """The system calls that a unit allows; None where nothing is here that knows them, or imposes them."""
    can = shutil.which("systemd-analyze") and sandbox.library()
    return sorted(allowed_calls(of)) if can else None


class Service:
    """A unit with a state directory and a credential of its own. Its file system is that of the test."""

    def __init__(self, unit: Unit, directory: Path, config: Path, calls: list[str] | None) -> None:
        self.unit, self._config, self._calls = unit, config, calls
        self._credentials, self.state = directory / "credentials", directory / "state"
        self._log = directory / "log.txt"
        for place in (self._credentials, self.state):
            place.mkdir(parents=True, exist_ok=True)
        name = unit.value("LoadCredential").partition(":")[0]
        (self._credentials / name).write_text(f"{TOKEN_SECRET}\n")
        self.told: list[dict[str, str]] = []
        """What the process said of itself, since the last start."""
        # An abstract socket, of which systemd makes the one as well as the other; its name may be short.
        self._address = f"@proxlb-plan-test-{os.getpid()}-{next(_numbers)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self._address[1:]}")
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Start what the unit starts, within what it allows; `more`: words of a drop-in's command."""
        self.told.clear()
        asked = {"calls": self._calls, "command": [*self.unit.command, *more]}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, sandbox.__file__, json.dumps(asked)], env=self._environ(log), cwd="/",
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _environ(self, log: IO[bytes]) -> dict[str, str]:
        told = os.fstat(log.fileno())
        given = self.unit.environ(self._config, self._credentials, self.state)
        given |= {"NOTIFY_SOCKET": self._address, "JOURNAL_STREAM": f"{told.st_dev}:{told.st_ino}"}
        for seconds in self.unit.values("WatchdogSec"):
            assert seconds.endswith("min")
            given["WATCHDOG_USEC"] = str(int(seconds.removesuffix("min")) * 60 * 10**6)
        return given

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while words := self._socket.recv(1 << 16):
                self.told.append(dict(line.split("=", 1) for line in words.decode().splitlines()))

    def heard(self, key: str) -> int:
        """How often something was told."""
        return sum(key in message for message in self.told)

    def wait_until(self, holds: Callable[[], Any]) -> None:
        """Wait until something is so, as long as the process runs that is to bring it about."""
        until = time.monotonic() + PATIENCE
        while not holds():
            assert self.runs or holds(), f"it has ended: {self.log}"
            assert time.monotonic() < until, f"in vain: {self.log}"
            time.sleep(0.02)

    @property
    def log(self) -> str:
        """Everything that was written, by all processes of this service."""
        return self._log.read_text()

    def reload(self) -> None:
        """Run the command that reloads it, and wait for it to say that it has."""
        assert self._process is not None
        before = self.heard("READY")
        command = self.unit.value("ExecReload").replace("$MAINPID", str(self._process.pid))
        subprocess.run(shlex.split(command), check=True)
        self.wait_until(lambda: self.heard("READY") > before)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end; the exit code."""
        assert self._process is not None
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end: {self.log}") from None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        if self.runs:
            self.signal(signal.SIGKILL)
            self.ended()
        self._socket.sendto(b"", f"\0{self._address[1:]}")
        self._ear.join(5)
        self._socket.close()


@contextlib.contextmanager
def service(unit: Unit, directory: Path, config: Path, calls: list[str] | None) -> Iterator[Service]:
    """A service that is not there any more afterwards."""
    made = Service(unit, directory, config, calls)
    try:
        yield made
    finally:
        made.close()


def write_settings(path: Path, served: Served, **sections: dict[str, Any]) -> Path:
    """The settings of a service for a served fake, without the secret; whoever reads it finds the old or the new."""
    usual: dict[str, dict[str, Any]] = {
        "api": {"hosts": [served.at], "token_id": TOKEN_ID, "ca_file": served.ca_file},
        "policy": {"balanciness": 7, "max_migrations": 3},
        "apply": {"per_source": 2, "per_target": 2},
        "run": {"mode": "auto", "solver": "greedy", "every": "1s", "jitter": "0s", "looks": 1, "grace": "1s"},
    }
    merged = {name: usual.get(name, {}) | sections.get(name, {}) for name in {*usual, *sections}}
    written = path.with_suffix(".new")
    written.write_text(json.dumps(merged))
    written.replace(path)
    return path
