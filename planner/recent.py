"""Owns which guests were migrated within the last day, by Proxmox VE's own list of tasks."""

from datetime import datetime

from planner.snapshot import Snapshot, rows

PATH = "/cluster/tasks"
"""The last tasks of each node, some 25 of them."""
TYPES = ("qmigrate", "vzmigrate")
DAY = 24 * 3600


def migrated(snapshot: Snapshot) -> frozenset[int]:
    """vmids whose migration ended well, or is under way, within a day of the snapshot; none where nothing is known."""
    try:
        taken_at = datetime.fromisoformat(snapshot.taken_at).timestamp()
    except ValueError:
        return frozenset()
    result = set()
    for row in rows(snapshot.get(PATH) or [], PATH):
        vmid, status = str(row.get("id") or ""), str(row.get("status") or "OK")
        began = row.get("starttime")
        lately = isinstance(began, int) and taken_at - began < DAY
        if row.get("type") in TYPES and vmid.isdecimal() and status.startswith(("OK", "WARNINGS")) and lately:
            result.add(int(vmid))
    return frozenset(result)
