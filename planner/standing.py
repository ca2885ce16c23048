"""Owns whether this installation is the one at work for a cluster, where there may be several."""

import socket

from planner.choices import Active
from planner.errors import ApiRefused, Forbidden
from planner.service import Run
from planner.snapshot import Source

MANAGER = "/cluster/ha/status/manager_status"


def standby(settings: Run, source: Source) -> str:
    """Why another installation is at work, in one line; empty where this one is.

    With `ha-manager` that is the one on the node which is the master of the HA manager: there is one at most, and when
    its node fails another takes over. Where nobody is the master, nobody is at work.
    """
    if settings.active is Active.ALWAYS:
        return ""
    me = settings.node or socket.gethostname().partition(".")[0]
    master = master_of(source)
    if master is None:
        return "the HA manager has no master, or does not say who it is (run.active)"
    return "" if master == me else f"the master of the HA manager is {master}, and this is {me} (run.active, run.node)"


def master_of(source: Source) -> str | None:
    """The node that is the master of the HA manager; None where there is none or it is not told."""
    try:
        answer = source.get(MANAGER)
    except (ApiRefused, Forbidden):
        return None
    status = answer.get("manager_status", answer) if isinstance(answer, dict) else {}
    master = status.get("master_node") if isinstance(status, dict) else None
    return str(master) if master else None
