"""Claims about systemd: it is told what it asks for, in its own words, and without it nothing happens."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.supervisor import Supervisor


@pytest.fixture(params=["file", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify") if request.param == "file" else f"\0proxlb-plan-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name)
        receiver.settimeout(5)
        yield receiver


def environ(heard: socket.socket, **more: str) -> dict[str, str]:
    name = heard.getsockname()
    shown = "@" + name[1:].decode() if isinstance(name, bytes) else name
    return {"NOTIFY_SOCKET": shown, **more}


def told(heard: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in heard.recv(4096).decode().split("\n"))


def silent(heard: socket.socket) -> bool:
    heard.settimeout(0.05)
    with pytest.raises(TimeoutError):
        heard.recv(4096)
    return True


def test_start_reload_status_and_end_are_told(heard: socket.socket) -> None:
    supervisor = Supervisor(environ(heard))
    supervisor.ready("the next look\nis at 12:00")
    assert told(heard) == {"READY": "1", "STATUS": "the next look is at 12:00"}
    before = time.monotonic_ns() // 1000
    supervisor.reloading()
    reloading = told(heard)
    assert reloading["RELOADING"] == "1" and before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    supervisor.status("planning\x1b[2J")
    assert told(heard) == {"STATUS": "planning?[2J"}
    supervisor.stopping()
    assert told(heard) == {"STOPPING": "1"}
    supervisor.stopping(90)
    assert told(heard) == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "90000000"}


def test_a_watchdog_is_fed_and_asked_for_patience_but_never_for_less_than_the_unit_says(heard: socket.socket) -> None:
    supervisor = Supervisor(environ(heard, WATCHDOG_USEC="60000000", WATCHDOG_PID=str(os.getpid())))
    assert supervisor.beat == 30
    supervisor.alive()
    assert told(heard) == {"WATCHDOG": "1"}
    supervisor.watchdog(20)
    assert silent(heard) and supervisor.beat == 30
    supervisor.watchdog(300)
    heard.settimeout(5)
    assert told(heard) == {"WATCHDOG_USEC": "300000000"} and supervisor.beat == 150


@pytest.mark.parametrize(
    "more", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "1"}]
)
def test_without_a_watchdog_or_with_that_of_another_process_none_is_fed(
    heard: socket.socket, more: dict[str, str]
) -> None:
    supervisor = Supervisor(environ(heard, **more))
    supervisor.alive()
    supervisor.watchdog(300)
    assert supervisor.beat is None and silent(heard)


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "vsock:2:99", "@", "relative", "/" + "x" * 200])
def test_without_systemd_and_where_it_does_not_listen_nothing_happens(address: str) -> None:
    for around in ({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}, {}):
        supervisor = Supervisor(around)
        supervisor.ready("x")
        supervisor.reloading()
        supervisor.status("x")
        supervisor.alive()
        supervisor.watchdog(9)
        supervisor.stopping(3)


def test_a_supervisor_that_reads_nothing_does_not_hold_a_run_up_for_long(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler, pytest.raises(BlockingIOError):
            filler.setblocking(False)
            while True:
                filler.sendto(b"x", str(tmp_path / "notify"))
        supervisor.status("unheard")
