"""Owns the process that takes scheduled looks: one, or one after the other until it is told to end."""

import logging
import os
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from planner import logs
from planner.clock import Clock
from planner.config import Config
from planner.errors import JournalError, PlannerError
from planner.look import Look, Outcome
from planner.lookout import Lookout, Taken, ToldToEnd
from planner.metrics import Exporter
from planner.notice import notices
from planner.runs import Runs
from planner.session import Session
from planner.signals import Pulse, Signals
from planner.site import wall
from planner.state import UNNAMED
from planner.supervisor import Supervisor
from planner.tell import Teller
from planner.times import span

BEFORE = 50
"""Looks before the last that tell whether it is the first of its kind."""
MARGIN = 60.0
"""Seconds more than for migrations until this process ends: an answer is waited for, or a command of the operator."""
LEVELS = {
    Outcome.ERROR: logging.ERROR, Outcome.FAILED: logging.ERROR, Outcome.PARTLY: logging.WARNING,
    Outcome.STANDBY: logging.DEBUG,
}  # fmt: skip
"""How grave a look is; else it is for information."""
FIELDS = (
    "cluster", "outcome", "spread_before", "spread_after", "bound", "migrations", "gib", "status", "solver_seconds",
    "run", "done", "failed", "left",
)  # fmt: skip
"""What of a look is a field of its message."""
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
        self._use(self.config, session)

    def __enter__(self) -> "Daemon":
        return self

    def __exit__(self, *_: object) -> None:
        self._lookout.session.close()

    def look(self) -> Taken:
        """One look, told of. ToldToEnd or KeyboardInterrupt when the end was asked for before it did anything."""
        self._supervisor.status("looking at the cluster")
        self._exporter.begins()
        taken = self._lookout.look()
        self._tell(taken.look)
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
                self._wait(span(self.config.run.delay))
                while not self.signals.ending():
                    began = self._clock.now()
                    self.look()
                    wait = span(self.config.run.every) + self._draw.uniform(0.0, span(self.config.run.jitter))
                    self._wait(wait - (self._clock.now() - began), "next look")
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

    def _wait(self, seconds: float, what: str = "first look") -> None:
        """Wait for the next look; settings are read again as soon as that is asked for."""
        seconds = max(0.0, seconds)
        until, at = self._clock.now() + seconds, datetime.fromtimestamp(self._now() + seconds, UTC).astimezone()
        self._supervisor.status(f"{what} at {at:%H:%M:%S}")
        while not self.signals.ending() and (left := until - self._clock.now()) > 0:
            if self.signals.reload():
                self._reload()
            self._pulse.sleep(min(left, 1.0))
        if self.signals.reload():
            self._reload()

    def _reload(self) -> None:
        """Read the settings again; where they make no sense those before hold."""
        self._supervisor.reloading()
        try:
            config, session = self._opened()
            self._exporter.change(config.metrics, span(config.run.every))
            before, listens = self._lookout.session, self.config.metrics.listen
            self._use(config, session)
            before.close()
            log.info(f"settings read again: mode {config.run.mode}, every {config.run.every}")
            if config.metrics.listen != listens:
                log.warning("metrics.listen has changed: that takes a restart")
        except PlannerError as error:
            log.error(f"the settings are not read again, those before hold: {error}")
        self._supervisor.ready()

    def _use(self, config: Config, session: Session) -> None:
        self._teller = Teller(config.notify, log.warning, os.environ)  # which may say no: then all stays as it was
        self.config = config
        logs.setup(config.log, sys.stderr, os.environ)
        self._supervisor.watchdog(_silence(config))
        grace = span(config.run.grace)
        self._pulse = Pulse(self._clock, self.signals, grace, self._supervisor.alive)
        self._lookout = Lookout(
            config.run, replace(session, clock=self._pulse), self._runs, self._now, say=log.info,
            heed=self.signals.heeded, stop=self.signals.ending,
        )  # fmt: skip

    def _tell(self, look: Look) -> None:
        """Tell of a look: messages, metrics, and whoever wants to hear of what it means."""
        _say(look)
        try:
            last = self._runs.journal.looks.last(limit=BEFORE)
            self._exporter.look(look)
        except JournalError as error:
            log.error(str(error))
            return
        names = (look.cluster, UNNAMED)  # that of a cluster which has never said its name may have been this one
        before = [each for each in last if each.number != look.number and each.cluster in names]
        for notice in filter(self._teller.wants, notices(look, before)):
            self._exporter.notified(failed=not self._teller.tell(notice))
        try:
            self._exporter.write()
        except PlannerError as error:
            log.error(str(error))


def _silence(config: Config) -> float:
    """Seconds that may pass without a sign of life: while it is planned, a host does not answer, or a command runs."""
    waits = 10 * config.policy.time_limit + 20 * config.api.timeout
    return waits + config.apply.hooks.timeout + 10 * config.notify.timeout


def _say(look: Look) -> None:
    """One line for a look, and one for each gate that says no."""
    fields = {name: getattr(look, name) for name in FIELDS}
    log.log(LEVELS.get(look.outcome, logging.INFO), summary(look), extra={"fields": fields})
    for refusal in look.refusals:
        level = LEVELS.get(look.outcome, logging.INFO)
        log.log(level, f"gate {refusal.gate}: {refusal.why}", extra={"fields": {"gate": refusal.gate}})


def summary(look: Look) -> str:
    """A look in one line."""
    number = f"look {look.number} of {look.cluster}" if look.number else f"look at {look.cluster}"
    if look.spread_before is None:
        return f"{number}: {look.outcome}: {look.why}"
    figures = f"spread {look.spread_before:.2f} points"
    if look.migrations:
        bound = "not known" if look.bound is None else f"{look.bound:.2f}"
        figures += f" -> {look.spread_after:.2f} with {look.migrations} migrations, {look.gib:.1f} GiB (bound {bound})"
    why = f": {look.why}" if look.why and not look.refusals else ""
    done = f"; {look.done} done, {look.failed} failed, {look.left} left" if look.done or look.failed else ""
    return f"{number}: {figures}; {look.outcome}{why}{done}"
