"""Owns the process that takes scheduled looks: one, or one after the other until it is told to end."""

import logging
import os
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter

from planner import logs, metrics
from planner.clock import Clock
from planner.config import Config
from planner.errors import PlannerError
from planner.herald import Herald
from planner.lookout import Lookout, Taken, ToldToEnd
from planner.metrics import Exporter
from planner.runs import Runs
from planner.service import Run
from planner.session import Session
from planner.signals import SLICE, Pulse, Signals
from planner.site import wall
from planner.state import UNNAMED
from planner.supervisor import Supervisor
from planner.times import span

MARGIN = 60.0
"""Seconds more than for migrations until this process ends: an answer is waited for, or a command of the operator."""
FIXED = ("metrics.listen", "apply.state_directory")
"""Settings that hold until the process ends."""
log = logging.getLogger(logs.LOGGER)

Opened = Callable[[], tuple[Config, Session]]
"""Reads the settings and opens the cluster that they name. PlannerError when that cannot be."""


class Daemon:
    """Takes looks and tells of them. A context manager; what it was opened with is closed with it."""

    def __init__(
        self, opened: Opened, runs: Runs, *, clock: Clock | None = None, now: Callable[[], float] | None = None,
        draw: random.Random | None = None,
    ) -> None:  # fmt: skip
        """`clock` and `now` (unix seconds) where time is simulated; `draw` gives the jitter."""
        self._opened, self._runs, self._draw = opened, runs, draw or random.Random()
        self.config, session = opened()
        self._clock = clock or session.clock
        self._now = now or wall(self._clock)
        self.signals = Signals(self._clock, self._ending)
        self._supervisor = Supervisor(os.environ)
        self._exporter = Exporter(self.config.metrics, runs.journal, span(self.config.run.every))
        self._herald = Herald(self._exporter, runs.journal)
        self._use(self.config, session, UNNAMED)

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        self._lookout.session.close()

    def look(self) -> Taken:
        """One look, told of. ToldToEnd or KeyboardInterrupt when the end was asked for before it did anything."""
        self._supervisor.status("looking at the cluster")
        self._herald.begins()
        taken = self._lookout.look()
        self._herald.look(taken.look)
        return taken

    def once(self) -> int:
        """One look; the exit code."""
        self._exporter.change(self.config.metrics)  # when the next one comes is a matter of whoever has begun this one
        with self.signals.heard():
            self._supervisor.ready()
            for line in self.config.remarks:
                log.info(line)
            return self.look().exit_code

    def serve(self) -> None:
        """Looks until the end is asked for. PlannerError when what it needs from the beginning is not to be had."""
        with self._exporter.listening(), self.signals.heard():
            self._begin()
            try:
                began = self._clock.now()
                self._wait(began, _delay, "first look")
                while not self.signals.ending():
                    began, late = self._clock.now(), self._draw.random()
                    self.look()
                    self._wait(began, partial(_pause, late), "next look")
            except (ToldToEnd, KeyboardInterrupt):
                pass  # it was asked for, and what is under way is in the journal
            finally:
                log.info("ended")

    def _begin(self) -> None:
        run = self.config.run
        source = self.config.source or "no configuration file"
        log.info(f"looking every {run.every} in mode {run.mode} ({source}); SIGHUP reads the settings again")
        for line in self.config.remarks:
            log.info(line)
        self._supervisor.ready("waiting for the first look")

    def _ending(self) -> None:
        """The end has been asked for: the service manager is to wait as long as migrations are waited for."""
        self._supervisor.stopping(span(self.config.run.grace) + MARGIN)

    def _wait(self, began: float, after: Callable[[Run], float], what: str) -> None:
        """Wait until so long after a moment, by the settings as they are then: they are read again when that is asked
        for."""
        said = None
        while not self.signals.ending():
            if self.signals.reload():
                self._reload()
            left = began + after(self.config.run) - self._clock.now()
            if left <= 0:
                return
            at = f"{datetime.fromtimestamp(self._now() + left, UTC).astimezone():%H:%M:%S}"
            if said != (said := after(self.config.run)):
                self._supervisor.status(f"{what} at {at}")
            self._pulse.sleep(min(left, SLICE))

    def _reload(self) -> None:
        """Read the settings again; where they make no sense those before hold."""
        self._supervisor.reloading()
        try:
            config, session = self._opened()
            try:
                self._take_over(config, session)
            except PlannerError:
                session.close()
                raise
        except PlannerError as error:
            log.error(f"the settings are not read again, those before hold: {error}")
        self._supervisor.ready()

    def _take_over(self, config: Config, session: Session) -> None:
        before, lookout = self.config, self._lookout
        metrics.check(config.metrics)
        self._use(config, session, lookout.name)
        self._exporter.change(config.metrics, span(config.run.every))
        lookout.session.close()
        log.info(f"settings read again: mode {config.run.mode}, every {config.run.every}")
        for name in FIXED:
            if attrgetter(name)(config) != attrgetter(name)(before):
                log.warning(f"{name} has changed: that takes a restart")

    def _use(self, config: Config, session: Session, name: str) -> None:
        self._herald.use(config)  # which may say no: then all stays as it was
        self.config = config
        logs.setup(config.log, sys.stderr, os.environ)
        self._supervisor.watchdog(_silence(config))
        grace = span(config.run.grace)
        self._pulse = Pulse(self._clock, self.signals, grace, self._supervisor.alive)
        self._lookout = Lookout(
            config.run, replace(session, clock=self._pulse), self._runs, self._now, say=log.info,
            heed=self.signals.heeded, stop=self.signals.ending, name=name, told=self._herald.settled,
        )  # fmt: skip


def _delay(run: Run) -> float:
    """Seconds before the first look."""
    return span(run.delay)


def _pause(late: float, run: Run) -> float:
    """Seconds from the beginning of a look to that of the next, which comes later by a part of the jitter."""
    return span(run.every) + late * span(run.jitter)


def _silence(config: Config) -> float:
    """Seconds that may pass without a sign of life: while it is planned, a host does not answer, or a command runs."""
    waits = 10 * config.policy.time_limit + 20 * config.api.timeout
    return waits + config.apply.hooks.timeout + 10 * config.notify.timeout
