"""Owns clean Debian systems: made by mmdebstrap for one task, and gone after it.

What is done inside is a list of hooks of mmdebstrap (its manual, "SPECIAL HOOKS"), so that neither a container engine
nor, where user namespaces are allowed, root is needed.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from running import run


def within(suite: str, packages: Sequence[str], hooks: Sequence[str]) -> str:
    """What hooks say in a new system of a Debian suite with some packages; it has the archives of a usual one."""
    included = [f"--include={','.join(packages)}"] if packages else []
    options = [f"--customize-hook={hook}" for hook in hooks]
    command = ["mmdebstrap", "--variant=apt", "--quiet", *included, *options, suite, "/dev/null"]
    return run(command, called=f"mmdebstrap for {suite}")


def shell(script: str) -> str:
    """A hook that runs a script inside."""
    return f'chroot "$1" /bin/sh -euc {shlex.quote(script)}'


def enter(outside: Path, inside: str) -> str:
    """A hook that copies what a folder holds to a folder inside."""
    return f"sync-in {shlex.quote(str(outside))} {shlex.quote(inside)}"


def leave(inside: str, outside: Path) -> str:
    """A hook that copies what a folder inside holds to a folder."""
    return f"sync-out {shlex.quote(inside)} {shlex.quote(str(outside))}"


def upload(outside: Path, inside: str) -> str:
    """A hook that copies a file to a name inside."""
    return f"upload {shlex.quote(str(outside))} {shlex.quote(inside)}"
