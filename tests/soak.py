"""A daemon at a living cluster for many days, played in no time, in a process of its own: what it takes is measured.

`python -m tests.soak DIRECTORY DAYS` writes one JSON object for each day. Nothing is tidied up for the measurement.
"""

import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from planner import conduct
from planner.choices import Event, RunMode, SolverName
from planner.clock import FastClock
from planner.config import Config
from planner.daemon import Daemon
from planner.journal import FILE, Journal
from planner.policy import Apply, Policy
from planner.runs import opened
from planner.service import Metrics, Run
from planner.session import Session
from tests.faults import DAY, drawn
from tests.lives import resources
from tests.livingcluster import LivingCluster

BEGIN: Final = 1_790_000_000.0
KEPT: Final = 7
"""Days for which looks, and here runs as well, are remembered."""
TABLES: Final = ("look", "run", "migration", "event")
NODES: Final = 4


class Days(FastClock):
    """A clock on which a measurement is taken at the end of each day; settings are read again then. SIGTERM at last."""

    def __init__(self, days: int) -> None:
        super().__init__(None)
        self._days, self._over = days, 0
        self.measured: Callable[[], dict[str, Any]] = dict

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.now() // DAY > self._over:
            self._over += 1
            print(json.dumps({"day": self._over} | self.measured()), flush=True)
            os.kill(os.getpid(), signal.SIGTERM if self._over == self._days else signal.SIGHUP)


def measured(directory: Path, journal: Journal) -> dict[str, Any]:
    """What this process takes, and what it has written."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    files = [path for path in directory.iterdir() if path.name.startswith(FILE)]
    return {
        "rss": pages * os.sysconf("SC_PAGESIZE"), "files": len(os.listdir("/proc/self/fd")),
        "threads": int(status["Threads"]), "children": len(children()),
        "bytes": sum(path.stat().st_size for path in files), "rows": dict(rows(journal)),
    }  # fmt: skip


def children() -> list[str]:
    """Processes that this one has begun and not waited for."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def rows(journal: Journal) -> Iterator[tuple[str, int]]:
    """How many each table has; another connection would be a file more."""
    for table in TABLES:
        yield table, journal._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def main(directory: Path, days: int) -> None:
    """Serve for so many days."""
    conduct.KEPT = KEPT * DAY
    clock = Days(days)
    names = [f"pve{number + 1}" for number in range(NODES)]
    cluster = LivingCluster(resources(NODES, 20), clock, epoch=BEGIN, faults=drawn(BEGIN, days, names))
    config = Config(
        policy=Policy(until_balanced=True, balanciness=6, time_limit=2),
        apply=Apply(state_directory=str(directory)),
        run=Run(mode=RunMode.AUTO, solver=SolverName.DESCENT, every="10m", looks=2, per_hour=6, keep=KEPT),
        metrics=Metrics(textfile=str(directory / "proxlb_plan.prom")),
    )
    config = replace(config, notify=replace(config.notify, events=tuple(Event), command=("/bin/true",)))

    def begun() -> tuple[Config, Session]:
        return config, Session(config.policy, config.cluster, config.apply, cluster, clock)

    with (
        opened(config.apply) as runs,
        Daemon(begun, runs, clock=clock, now=lambda: BEGIN + clock.now(), draw=random.Random(0)) as daemon,
    ):
        clock.measured = lambda: measured(directory, runs.journal)
        daemon.serve()
    print(json.dumps({"asked": len(cluster.asked), "failed": len(cluster.failed)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]))
