"""Owns where a command gets its cluster from: the API, a snapshot, or the demo."""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner import collect, proxlb_settings, rrd, snapshot
from planner.clock import Clock, FastClock, RealClock
from planner.cluster import Cluster
from planner.errors import UsageError
from planner.policy import Apply, Policy
from planner.policy import Cluster as ClusterPolicy
from planner.simulate import Size, demo
from planner.snapshot import Snapshot, Source

if TYPE_CHECKING:
    from planner.config import Config
    from planner.plan import Plan
    from planner.pve import Pve

DEMO_SPEED = 15.0
"""Times as fast as real: a demo is watched by people."""


@dataclass(frozen=True, slots=True)
class Session:
    """A policy, and something to plan for. `source` is None when there is only a snapshot."""

    policy: Policy
    settings: ClusterPolicy
    apply: Apply
    source: Source | None
    clock: Clock
    recorded: Snapshot | None = None
    connected: "Pve | None" = None
    """What has to be closed in the end."""

    def close(self) -> None:
        """Close the connections, if there are any."""
        if self.connected is not None:
            self.connected.close()

    def snapshot(self, now: datetime | None = None) -> Snapshot:
        """The recorded answers, or fresh ones; `now` where time is simulated."""
        if self.source is None:
            assert self.recorded is not None
            return self.recorded
        taken = snapshot.take(self.source, now=now)
        for frame in rrd.timeframes(self.policy):
            taken = rrd.asked(taken, self.source, frame)
        return snapshot.with_last_hour(taken, self.source) if self.policy.reclaim_arc else taken

    def cluster(self) -> Cluster:
        """The cluster as it is now, with what this machine migrated lately, or as it was recorded."""
        found = collect.collect(self.snapshot())
        if self.connected is None:
            return found
        from planner.ledger import remembered

        return replace(found, moved=remembered(self.apply, found.snapshot, os.environ))

    def writable(self) -> Source:
        """The source, for commands that change something."""
        if self.source is None:
            raise UsageError("a snapshot cannot be changed: apply needs the cluster itself, or --demo")
        return self.source

    def draining(self, nodes: Iterable[str]) -> "Session":
        """This session with some more nodes in maintenance."""
        nodes = (*self.settings.maintenance_nodes, *nodes)
        return replace(self, settings=replace(self.settings, maintenance_nodes=nodes))

    def judging(self, plan: "Plan") -> "Session":
        """This session, measuring what the plan measured, under its limits and the settings that it assumed."""
        policy = replace(
            self.policy, resource=plan.resources, combine=plan.combine, weights=plan.weights, mode=plan.mode,
            balanciness=plan.balanciness, max_migrations=plan.max_migrations, max_gib=plan.max_gib,
            until_balanced=plan.cheapest is not None, cheapest=plan.cheapest or self.policy.cheapest,
            window=plan.looks.window, profile=plan.looks.profile, forecast=plan.looks.forecast,
        )  # fmt: skip
        assumed = plan.assumes
        settings = replace(
            self.settings, maintenance_nodes=assumed.maintenance_nodes, ignore_nodes=assumed.ignore_nodes
        )
        return replace(self, policy=policy, settings=settings)


def open_session(
    config: str | None, flags: Mapping[str, Mapping[str, Any]], file: Path | None, demo_size: str | None
) -> Session:
    """Read the configuration and decide where the cluster comes from."""
    from planner.config import load

    if file is not None and demo_size is not None:
        raise UsageError("--snapshot and --demo exclude each other: choose one")
    settings = load(config, flags)
    if note := proxlb_settings.note(settings.remarks):
        logging.getLogger(__name__).warning(note)
    if demo_size is not None:
        return demonstrate(settings, demo_size)
    if file is not None:
        return Session(settings.policy, settings.cluster, settings.apply, None, RealClock(), snapshot.load(file))
    return connect(settings)


def connect(settings: "Config") -> Session:
    """The cluster that is configured."""
    from planner.config import connection
    from planner.pve import Pve

    pve = Pve(connection(settings))
    return Session(settings.policy, settings.cluster, settings.apply, pve, RealClock(), connected=pve)


def demonstrate(settings: "Config", size: str) -> Session:
    """The built-in cluster of some size. UsageError for a size that there is not."""
    clock = FastClock(DEMO_SPEED)
    return Session(settings.policy, settings.cluster, settings.apply, demo(_size(size), clock), clock)


def _size(name: str) -> Size:
    try:
        return Size(name)
    except ValueError:
        raise UsageError(f"--demo {name}: choose {', '.join(Size)}") from None
