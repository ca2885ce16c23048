"""Owns the lock of a cluster on this machine: one process at a time carries something out on it."""

import contextlib
import fcntl
import functools
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from planner.errors import JournalError, Locked
from planner.state import hand_over

ATTEMPTS: Final = 5
"""How often a lock is tried: who asks for its holder has it for an instant."""
INSTANT: Final = 0.05
"""Seconds between two attempts."""


class Holder(NamedTuple):
    """Who has a lock."""

    pid: int
    """0 where it has not written it yet."""
    run: int
    """The run that it is at work on; 0 as long as there is none."""


@contextlib.contextmanager
def locked(directory: Path, cluster: str) -> Iterator[Callable[[int], None]]:
    """Hold the lock of a cluster; the kernel releases it however this process ends. Locked says who has it.

    What it gives is told the run that this process is at work on.
    """
    path = _path(directory, cluster)
    try:
        # Not inherited by programs that are run meanwhile: they would keep it when this process is killed.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"the lock {path} cannot be opened: {error.strerror}; set apply.state_directory") from None
    try:
        hand_over(handle, directory)
        if not _taken(handle):
            raise Locked(_refusal(path, cluster))
        _write(handle, 0)
        yield functools.partial(_write, handle)
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def holder(directory: Path, cluster: str) -> Holder | None:
    """Who has the lock of a cluster; None when nobody has."""
    path = _path(directory, cluster)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"the lock {path} cannot be read: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
    finally:
        os.close(handle)
    return None


def _path(directory: Path, cluster: str) -> Path:
    return directory / f"{quote(cluster, safe='', errors='replace')}.lock"


def _taken(handle: int) -> bool:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(INSTANT)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _refusal(path: Path, cluster: str) -> str:
    """Who has it, and since when: the time at which the process wrote its number."""
    since = datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(sep=" ", timespec="seconds")
    who = f"process {_read(path).pid or '(unknown)'} is at work on cluster {cluster} since {since}"
    return f"{who}: wait for it, or end it with `proxlb-plan abort`"


def _write(handle: int, run: int) -> None:
    """Who reads it meanwhile finds the one or the other, not nothing."""
    text = f"{os.getpid()} {run} ".encode()
    os.pwrite(handle, text, 0)
    os.ftruncate(handle, len(text))


def _read(path: Path) -> Holder:
    words = path.read_text(errors="replace").split()
    pid, run = (int(word) if word.isdecimal() else 0 for word in (*words[:2], "", "")[:2])
    return Holder(pid, run)
