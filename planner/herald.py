"""Owns who hears of a look: messages, figures for Prometheus, and those who are told what it means."""

import logging
import os
from collections import deque
from contextlib import suppress

from planner import logs
from planner.errors import JournalError, PlannerError
from planner.journal import Journal
from planner.look import Look, Outcome
from planner.metrics import Exporter
from planner.notice import notices
from planner.settings import Config
from planner.state import UNNAMED
from planner.tell import Teller

BEFORE = 50
"""Looks before the last that tell whether it is the first of its kind."""
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


class Herald:
    """Tells of looks. What cannot be told is said, and ends nothing."""

    def __init__(self, exporter: Exporter, journal: Journal) -> None:
        """Of earlier processes the journal knows what they saw."""
        self._exporter = exporter
        self._before: deque[Look] = deque(maxlen=BEFORE)
        with suppress(JournalError):
            self._before.extend(journal.looks.last(limit=BEFORE))

    def use(self, config: Config) -> None:
        """Tell whom the settings name. PlannerError when that makes no sense: then it is as it was before."""
        self._teller = Teller(config.notify, log.warning, os.environ)

    def look(self, look: Look) -> None:
        """Tell of a look."""
        say(look)
        names = (look.cluster, UNNAMED)  # that of a cluster which has never said its name may have been this one
        before = [each for each in self._before if each.cluster in names]
        self._before.appendleft(look)
        try:
            self._exporter.look(look)
        except JournalError as error:
            log.error(str(error))
        for notice in filter(self._teller.wants, notices(look, before)):
            self._exporter.notified(failed=not self._teller.tell(notice))
        try:
            self._exporter.write()
        except PlannerError as error:
            log.error(str(error))


def say(look: Look) -> None:
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
    unsure = "under way" if look.outcome is Outcome.CUT else "failed"
    done = f"; {look.done} done, {look.failed} {unsure}, {look.left} left" if look.done or look.failed else ""
    return f"{number}: {figures}; {look.outcome}{why}{done}"
