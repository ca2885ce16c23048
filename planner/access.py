"""Owns what a user or token may do, by the answer of /access/permissions: which privileges it lacks, and where."""

from collections.abc import Mapping
from typing import Any

from planner.errors import InputError

PATH = "/access/permissions"
ROLE = "ProxlbPlan"
"""What the role of the planner is called, here as in the README."""
PRIVILEGES = ("Sys.Audit", "VM.Audit", "VM.Migrate", "Datastore.Audit", "Pool.Audit")
"""All that the role holds."""

Permissions = Mapping[str, Mapping[str, int]]


def read(answer: Any) -> Permissions:
    """Path to privilege to 1 (what is below inherits it) or 0; InputError when the answer is something else."""
    if not isinstance(answer, dict) or not all(isinstance(granted, dict) for granted in answer.values()):
        raise InputError(f"the answer for {PATH} is not an object of objects: is this the Proxmox VE API?")
    return {path: {name: _flag(name, value) for name, value in granted.items()} for path, granted in answer.items()}


def _flag(privilege: str, value: Any) -> int:
    if str(value) in ("1", "True"):
        return 1
    if str(value) in ("0", "False", "None", ""):
        return 0
    raise InputError(f"{PATH}: {privilege} is {value!r}, not a number")


def lacking(permissions: Permissions, privilege: str, root: str) -> str:
    """The first path at or below `root` without a privilege; empty when it is held everywhere.

    An ACL on a path replaces what it inherits, and what `root` inherits must be propagated (a value of 1).
    """
    if not permissions.get(root, permissions.get("/", {})).get(privilege):
        return root
    below = sorted(path for path in permissions if path.startswith(f"{root}/"))
    return next((path for path in below if privilege not in permissions[path]), "")


def holds(permissions: Permissions, privilege: str, path: str) -> bool:
    """Whether a privilege is held on this very path, whatever is below."""
    return privilege in permissions.get(path, {})


def grants(path: str, user: str, token: str) -> list[str]:
    """The commands that give the role on a path; a token with privilege separation needs it beside its user."""
    lines = [f"pveum acl modify {path} --users '{user}' --roles {ROLE}"]
    return [*lines, f"pveum acl modify {path} --tokens '{user}!{token}' --roles {ROLE}"] if token else lines
