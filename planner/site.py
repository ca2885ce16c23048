"""Owns what a run is conducted on: a cluster by its name, the runs of this machine, time, and who is told."""

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from planner import watch
from planner.clock import Clock, RealClock
from planner.cluster import Cluster
from planner.gate import content
from planner.interrupt import heeded
from planner.plan import Migration
from planner.runs import Runs
from planner.session import Session
from planner.watch import Watch, say


class Watching(Protocol):
    """Gives who is told what happens in a run."""

    def __call__(
        self, migrations: Iterable[Migration], ended: Iterable[int], clock: Clock
    ) -> AbstractContextManager[Watch]: ...


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster, by its name, and the runs of this machine."""

    session: Session
    runs: Runs
    cluster: str
    now: Callable[[], float]
    """Unix seconds."""
    say: Callable[[str], None] = say
    watching: Watching = watch.watching
    heed: Callable[[], AbstractContextManager[Callable[[], bool]]] = heeded
    """Within what it gives, the first signal to end is only remembered, which that tells."""
    also: Callable[[Cluster, Collection[int]], None] = content
    """What else may say no with a PlannerError before a run and each of its migrations, by how the cluster is then and
    which guests are on their way for the run."""


def wall(clock: Clock) -> Callable[[], float]:
    """Unix seconds; in a demo, time goes as fast as its clock."""
    if isinstance(clock, RealClock):
        return time.time
    offset = time.time() - clock.now()
    return lambda: offset + clock.now()
