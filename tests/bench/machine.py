"""Owns the note of where figures come from: when, on which machine, with which versions, by which command."""

import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.bench import hbal

ROOT = Path(__file__).parents[2]
MEASURED = ("planner", "solvers", "tests/bench")
"""What a change of changes the figures."""


def provenance(arguments: Sequence[str]) -> list[str]:
    """Lines with which a figure can be reproduced."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    versions = [f"Python {platform.python_version()}", f"ortools {version('ortools')}", f"numpy {version('numpy')}"]
    if hbal.installed():
        versions.append(_first_line("hbal", "--version"))
    return [
        f"{now}, {_cpu()}, {len(os.sched_getaffinity(0))} cores, {_memory_gib():.1f} GiB",
        f"{', '.join(versions)}; {_commit()}",
        shlex.join(["python", "-m", "tests.bench", *arguments]),
    ]


def _cpu() -> str:
    """Model of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _commit() -> str:
    """The commit that was measured, and whether the files were as in it."""
    commit = _first_line("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    if not commit:
        return "not a git repository"
    changed = _first_line("git", "-C", str(ROOT), "status", "--porcelain", "--", *MEASURED)
    return f"commit {commit}{' with changes' if changed else ''}"


def _first_line(*command: str) -> str:
    """What a command says first; empty when it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.partition("\n")[0].strip()
