"""Owns who hears of a look: messages, figures for Prometheus, and those who are told what it means."""

import logging
import os

from planner import before, logs
from planner.before import Before
from planner.errors import JournalError, PlannerError
from planner.journal import Journal
from planner.look import Look, Outcome
from planner.metrics import Exporter
from planner.notice import notices
from planner.settings import Config
from planner.tell import Teller

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
        self._exporter, self._journal = exporter, journal
        self._before: dict[str, Before] = {}
        self._number: int | None = None
        """Of the last look when a look began..."""
        self._own: set[int] = set()
        """...and of those that were told here since then."""

    def use(self, config: Config) -> None:
        """Tell whom the settings name. PlannerError when that makes no sense: then it is as it was before."""
        self._teller = Teller(config.notify, log.warning, os.environ)

    def begins(self) -> None:
        """A look begins. What others have recorded since the last one is taken over, and was told by them: somebody
        may have approved of a run."""
        try:
            found = self._journal.looks.after(self._number)
            for look in found if self._number is not None else ():
                if look.number not in self._own:
                    self._before[look.cluster] = self._known(look).then(look)
                    self._exporter.look(look)
            self._number = max((look.number for look in found), default=self._number or 0)
            self._own.clear()
        except JournalError as error:
            log.error(str(error))
        self._exporter.begins()

    def settled(self, look: Look) -> None:
        """Tell of a look at what was left before another look, which goes on."""
        self.look(look)
        self._exporter.begins()

    def look(self, look: Look) -> None:
        """Tell of a look."""
        say(look)
        self._own.add(look.number)
        known = self._known(look)
        self._before[look.cluster] = known.then(look)
        try:
            self._exporter.look(look)
        except JournalError as error:
            log.error(str(error))
        for notice in filter(self._teller.wants, notices(look, known)):
            self._exporter.notified(failed=not self._teller.tell(notice))
        try:
            self._exporter.write()
        except PlannerError as error:
            log.error(str(error))

    def _known(self, look: Look) -> Before:
        """What was so before a look: what earlier processes saw is asked of the journal, once."""
        if look.cluster in self._before:
            return self._before[look.cluster]
        try:
            return before.of(self._journal.looks, look)
        except JournalError as error:
            log.error(str(error))
            return Before()


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
