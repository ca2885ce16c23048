"""Owns what is asked of guests that were migrated lately: not to go back where they came from, and not to go too often;
and of those whose migration failed: to stay for a while.

These are rules of the lowest price: they give way, one by one, where a rule that must hold could not hold otherwise.
They are no part of the fingerprint of the rules that a plan assumes, as they change by themselves.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from planner.journal import FILE, Journal, is_there
from planner.policy import Apply
from planner.returns import DAY, HOUR, memory, trips
from planner.rule import Rule, pin
from planner.run import Moved
from planner.snapshot import Snapshot
from planner.state import cluster_name, state_path

if TYPE_CHECKING:
    from planner.cluster import Cluster

SLACK: Final = 60.0
"""Seconds after the figures were taken that are taken for now: what is later was written by a clock that was wrong."""
FAILED: Final = "its migration failed"
PRICE: Final = 0.01
"""The lowest that a rule may have."""


def remembered(settings: Apply, snapshot: Snapshot, environ: Mapping[str, str]) -> tuple[Moved, ...]:
    """Migrations of a cluster that this machine carried out lately; none where it has never done so."""
    path, now = state_path(settings, environ) / FILE, _taken_at(snapshot)
    if now is None or not is_there(path):
        return ()
    with Journal.reading(path) as journal:
        return journal.moved(cluster_name(snapshot), now - memory(settings))


def rules(cluster: "Cluster", settings: Apply) -> tuple[Rule, ...]:
    """What is asked of guests because of what was migrated before the figures of a cluster were taken."""
    now = _taken_at(cluster.snapshot)
    if now is None or not (cluster.moved or cluster.failed):
        return ()
    guests = cluster.guests
    homes = {int(vmid): str(node) for vmid, node in zip(guests["vmid"], guests["node"], strict=True)}
    known = [trip for trip in trips(cluster.moved) if trip.vmid in homes and trip.at < now + SLACK]
    often = _too_often(known, homes, settings, now)
    nodes = frozenset(map(str, cluster.nodes["node"]))
    failed = [one for one in cluster.failed if one.vmid in homes and now - DAY < one.at < now + SLACK]
    still = often | _in_vain(failed, homes, now)
    back = [moved for moved in known if moved.vmid not in still]
    return (*still.values(), *_not_back(back, homes, nodes, settings, now))


def notes(items: tuple[Rule, ...]) -> tuple[str, ...]:
    """What a person should know of these rules."""
    guests = len({vmid for rule in items for vmid in rule.vmids})
    if not guests:
        return ()
    who = "1 guest that was" if guests == 1 else f"{guests} guests that were"
    vain = " or failed to be" if any(FAILED in rule.name for rule in items) else ""
    return (
        f"{who}{vain} migrated lately may not go everywhere (apply.no_return, apply.max_per_day; explain says why)",
    )


def _too_often(known: list[Moved], homes: Mapping[int, str], settings: Apply, now: float) -> dict[int, Rule]:
    """vmid to what keeps a guest where it is that was migrated as often as it may be within a day."""
    if settings.max_per_day is None:
        return {}
    times = Counter(moved.vmid for moved in known if now - moved.at < DAY)
    return {
        vmid: pin(f"migrated {many} times within a day (apply.max_per_day)", [vmid], [homes[vmid]], PRICE)
        for vmid, many in times.items()
        if many >= settings.max_per_day
    }


def _in_vain(failed: list[Moved], homes: Mapping[int, str], now: float) -> dict[int, Rule]:
    """vmid to what keeps a guest where it is whose migration failed: for an hour, or as many as it did within a day, so
    that what always fails does not keep others from being migrated."""
    times = Counter(one.vmid for one in failed)
    last = {one.vmid: one.at for one in sorted(failed, key=lambda one: one.at)}
    return {
        vmid: pin(f"{FAILED} {_ago(now - at)} ago (tried again {times[vmid]} h after)", [vmid], [homes[vmid]], PRICE)
        for vmid, at in last.items()
        if now - at < times[vmid] * HOUR
    }


def _not_back(
    known: list[Moved], homes: Mapping[int, str], nodes: frozenset[str], settings: Apply, now: float
) -> Iterator[Rule]:
    """What keeps guests from nodes that they were taken from; not from where they are again already."""
    last = {(moved.vmid, moved.source): moved.at for moved in known if now - moved.at < settings.no_return * HOUR}
    for (vmid, source), at in last.items():
        if source in nodes and source != homes[vmid]:
            yield pin(f"taken from {source} {_ago(now - at)} ago (apply.no_return)", [vmid], nodes - {source}, PRICE)


def _ago(seconds: float) -> str:
    return f"{seconds / HOUR:.0f} h" if seconds >= HOUR else f"{max(0.0, seconds) / 60:.0f} min"


def _taken_at(snapshot: Snapshot) -> float | None:
    """Unix seconds; None for a snapshot of no time."""
    try:
        return datetime.fromisoformat(snapshot.taken_at).timestamp()
    except ValueError:
        return None
