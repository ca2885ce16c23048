"""Owns where this machine keeps what it knows of runs, and by which name it knows a cluster."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from planner.errors import JournalError
from planner.policy import Apply
from planner.snapshot import rows

STATUS: Final = "/cluster/status"
UNNAMED: Final = "cluster"
"""What a cluster is called that does not say."""
SYSTEM: Final = Path("/var/lib/proxlb-plan")
"""Where root keeps it."""


class Answers(Protocol):
    """A snapshot, or a cluster itself."""

    def get(self, path: str, /) -> Any: ...


def cluster_name(answers: Answers) -> str:
    """The name of a cluster, or of the single node where there is none."""
    names = {str(row.get("type")): str(row.get("name") or "") for row in rows(answers.get(STATUS) or [], STATUS)}
    name = names.get("cluster") or names.get("node") or UNNAMED
    return name.encode(errors="replace").decode()  # what answers may have sent half a character


def state_path(settings: Apply, environ: Mapping[str, str]) -> Path:
    """Where the journal and the locks are, or would be."""
    if settings.state_directory:
        return Path(os.path.expanduser(settings.state_directory))  # noqa: PTH111 - Path's raises for unknown users
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])  # systemd may name several
    if os.geteuid() == 0:
        return SYSTEM
    home = Path(environ.get("XDG_STATE_HOME", ""))
    if not home.is_absolute():  # the specification says to ignore such
        home = Path(environ.get("HOME") or "~").expanduser() / ".local" / "state"
    return home / "proxlb-plan"


def state_directory(settings: Apply, environ: Mapping[str, str]) -> Path:
    """The same, which is made where it is missing, for its owner alone. JournalError when it cannot be."""
    path = state_path(settings, environ)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        what = f"the state directory {path} cannot be made: {error.strerror}"
        raise JournalError(f"{what}; set apply.state_directory, or $STATE_DIRECTORY") from None
    return path


def hand_over(handle: int, directory: Path) -> None:
    """What root makes in the state directory of a service has to be the service's, which could not open it else."""
    owner = directory.stat()
    if os.geteuid() == 0 and os.fstat(handle).st_uid != owner.st_uid:
        os.fchown(handle, owner.st_uid, owner.st_gid)
