"""Owns what systemd is told of this process: ready, reloading, stopping, alive; without systemd it is told nothing.

The protocol is that of sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

from planner.plain import plain

SEND_SECONDS: Final = 1.0
"""For which systemd is waited for where it has much to read."""
BEATS: Final = 2
"""Times within the time of the watchdog that this process says that it is alive."""
MICRO: Final = 1_000_000


class Supervisor:
    """systemd, or nobody. What cannot be told is not: a run does not end for that."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # An abstract socket is written with @ for the zero byte that its name begins with.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address if address[:1] == "/" else ""
        self._seconds = _watchdog(environ) if self._address else None

    @property
    def beat(self) -> float | None:
        """Seconds after which `alive` has to come again; None without a watchdog."""
        return None if self._seconds is None else self._seconds / BEATS

    def ready(self, status: str = "") -> None:
        """What was begun, the start or a reload, has ended."""
        self._send("READY=1", *_status(status))

    def reloading(self) -> None:
        """The settings are being read again; `ready` ends that."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, seconds: float = 0.0) -> None:
        """The end has begun, and may take so long, even if the unit allows less."""
        more = [f"EXTEND_TIMEOUT_USEC={int(seconds * MICRO)}"] if seconds > 0 else []
        self._send("STOPPING=1", *more)

    def status(self, text: str) -> None:
        """What is being done, in a line that `systemctl status` shows."""
        self._send(*_status(text))

    def alive(self) -> None:
        """This process is not stuck."""
        if self._seconds is not None:
            self._send("WATCHDOG=1")

    def watchdog(self, seconds: float) -> None:
        """Let the watchdog of the unit, if it has one, wait for at least so long from now on."""
        if self._seconds is not None and seconds > self._seconds:
            self._seconds = seconds
            self._send(f"WATCHDOG_USEC={int(seconds * MICRO)}")

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(SEND_SECONDS)
            sender.sendto("\n".join(lines).encode(errors="replace"), self._address)


def _status(text: str) -> list[str]:
    return [f"STATUS={plain(' '.join(text.split()))}"] if text else []


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Seconds after which the unit's watchdog bites; None where there is none, or it watches another process."""
    text, watched = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(text) / MICRO if text.isdecimal() and int(text) and watched == str(os.getpid()) else None
