"""Owns one migration from its request to its end: looked at again and again, without waiting for anything."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from planner import patience, tasklog
from planner.errors import PlannerError, Unreachable
from planner.logreader import LogReader
from planner.plan import Migration
from planner.run import Step
from planner.sight import Place, Sight, queues, started

SLOWER = 2.0
"""How many times as long as expected a migration may take whose log says nothing, at least."""
SAID = 3
"""Lines of a task log that are said of a failure."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What has become of a migration: DONE, FAILED or UNKNOWN."""

    step: Step
    note: str = ""


def well(status: str) -> bool:
    """Whether a task ended well."""
    return status == "OK" or status.startswith("WARNINGS")


class Follow:
    """A migration that has been asked for.

    `running`: whether the guest ran then. `timeout`: seconds without any progress after which it is given up, where it
    is not expected to take long. `upid` None: the answer was lost, and its task is looked for, which is none of those
    `known` before. `age`: seconds for which the HA manager may have been at it already. Only where the guest is counts
    in the end.
    """

    def __init__(
        self, migration: Migration, running: bool, now: float, timeout: float, upid: str | None = None,
        *, known: Collection[str] = (), lost: str = "", age: float = 0.0,
    ) -> None:  # fmt: skip
        self.migration, self.running, self.upid = migration, running, upid
        self.began, self._timeout = now, max(timeout, SLOWER * (migration.end - migration.begin))
        self._known, self._lost, self._age = frozenset(known), lost, age
        self._phase: Callable[[Sight, float], Ending | None] = self._of_task if upid else self._search
        self._since = self._looked = now
        """When it was last seen to get on, and last looked at..."""
        self._said = now
        """...and when its log last said something new."""
        self._gone: float | None = None
        self._work: str | None = None
        """The task that carries out what the HA manager was told."""
        self._taken = False
        """Whether the HA manager was seen at work on the guest."""
        self._exit = ""
        self._blind: float | None = None
        self._tries, self._next = 0, now
        self.trouble: PlannerError | None = None
        """Why it cannot be seen right now."""
        self._reader = LogReader()

    @property
    def waits_for_ha(self) -> bool:
        """Whether its task only told the HA manager."""
        return self.upid is not None and queues(self.upid)

    def look(self, sight: Sight, now: float) -> Ending | None:
        """How it ended; None while that is not known. Never raises what the API says."""
        if now < self._next:
            return None
        try:
            ending = self._phase(sight, now)
        except PlannerError as error:
            self._since += now - self._looked  # what cannot be seen may get on
            self._said += now - self._looked
            return self._not_seen(sight, now, error)
        finally:
            self._looked = now
        self.trouble = self._blind = None
        self._tries = 0
        if ending is None and now - self._said >= self._timeout:
            task = f" (task {self.upid})" if self.upid else ""
            idle = f", {now - self._said:.0f} s without progress" if self._said > self.began else ""
            return self._unknown(f"guest {self.vmid} is still migrating after {now - self.began:.0f} s{idle}{task}")
        return ending

    @property
    def vmid(self) -> int:
        """Of its guest."""
        return self.migration.vmid

    def progress(self, sight: Sight, now: float) -> tasklog.Progress | None:
        """How far it is, by the log of its task; None when there is nothing new."""
        task = self._work or (None if self.waits_for_ha else self.upid)
        told = self._reader.read(sight, task, now) if task and self.trouble is None else None
        self._said = now if self._reader.changed == now else self._said
        return told

    # ------------------------------------------------------------------ phases

    def _search(self, sight: Sight, now: float) -> Ending | None:
        """The answer was lost: never ask twice, look for the task or for what it has done."""
        if found := [task for task in sight.tasks(self.vmid) if task.upid not in self._known]:
            self.upid, self._phase = found[0].upid, self._of_task
            return self._of_task(sight, now)
        place = self._place(sight, now)
        if place and self._arrived(place):
            return Ending(Step.DONE, "its task was not seen")
        if place and place.busy:
            self._since = now
        if self._waited(now, patience.SETTLE):
            return self._unknown(f"whether guest {self.vmid} is being migrated is not known: {self._lost}")
        return None

    def _of_task(self, sight: Sight, now: float) -> Ending | None:
        """Its task runs."""
        assert self.upid is not None
        status = sight.status(self.upid)
        if status is None:
            return None
        self._exit, self._since = status, now
        after = self._of_ha if self.waits_for_ha else self._of_arrival
        self._phase = after if well(status) else self._of_failure
        return self._phase(sight, now)

    def _of_arrival(self, sight: Sight, now: float) -> Ending | None:
        """Its task ended well, which alone means nothing."""
        place = self._place(sight, now)
        if place is None:
            return self._if_gone(now)
        if self._arrived(place):
            return Ending(Step.DONE, self._remark())
        if place.node != self.migration.target and place.busy:
            self._since = now
        if not self._waited(now, patience.SETTLE):
            return None
        if place.node == self.migration.target:
            return self._there(place)
        return self._failed(f"guest {self.vmid} did not move: the task ended well, but after "
                            f"{now - self._since:.0f} s it is on {place.node}")  # fmt: skip

    def _of_ha(self, sight: Sight, now: float) -> Ending | None:
        """The HA manager was told, and carries it out some time later, or never, and does not say."""
        place = self._place(sight, now)
        if place is None:
            return self._if_gone(now)
        if self._arrived(place):
            return Ending(Step.DONE, self._remark())
        if place.node == self.migration.target:
            return self._there(place) if self._waited(now, patience.SETTLE) else None
        if place.node != self.migration.source:
            return self._failed(f"guest {self.vmid} is on {place.node}: the HA manager has taken it there")
        if place.busy:
            self._taken, self._since = True, now
        if (ended := self._work_failed(sight, now)) and not place.busy:
            return self._failed(ended)
        if not self._waited(now, patience.SETTLE if self._taken else patience.HA_PATIENCE - self._age):
            return None
        told = f"guest {self.vmid} did not move: the HA manager"
        if self._taken:
            return self._failed(f"{told} began to migrate it and gave up; it is on {place.node}")
        return self._unknown(
            f"{told} has not migrated it, after {now - self._since:.0f} s it is on {place.node}: it may still do so, "
            "or one of its rules forbids it"
        )

    def _of_failure(self, sight: Sight, now: float) -> Ending | None:
        """Its task failed, which may have moved the guest nevertheless ("migration problems")."""
        place = self._place(sight, now)
        if place is None:
            return self._if_gone(now)
        target, at = self.migration.target, place.node
        if self._arrived(place):
            return Ending(Step.DONE, f"the task ended with '{self._exit}', but it is on {target}: see task {self.upid}")
        as_before = not self.running or place.running is True  # figures lag behind
        if not self._waited(now, 2 * patience.POLL if as_before and at != target else patience.SETTLE):
            return None
        what = "was not migrated" if at != target else "is still locked" if as_before else "is no longer running"
        what += " and is no longer running" if at != target and not as_before else ""
        why = self._why(sight, self.upid)
        return self._failed(f"guest {self.vmid} {what}, it is on {at}: {self._exit}{why} (task {self.upid})")

    # ----------------------------------------------------------------- findings

    def _place(self, sight: Sight, now: float) -> Place | None:
        place = sight.place(self.vmid)
        self._gone = None if place else now if self._gone is None else self._gone
        return place

    def _if_gone(self, now: float) -> Ending | None:
        """A guest that is not listed may be so for a moment only."""
        if self._gone is None or now - self._gone < patience.SETTLE:
            return None
        return self._failed(f"guest {self.vmid} is gone: it was deleted, or the token no longer sees it")

    def _arrived(self, place: Place) -> bool:
        as_before = not self.running or place.running is True
        return place.node == self.migration.target and not place.busy and as_before

    def _there(self, place: Place) -> Ending:
        """It is on its target, and something is not as it was."""
        if self.running and place.running is None:
            return self._unknown(f"guest {self.vmid} is on {place.node}, whether it runs is not known")
        if self.running and not place.running:
            return self._failed(f"guest {self.vmid} is no longer running, it is on {place.node} (task {self.upid})")
        return Ending(Step.DONE, f"it is still locked or busy there: see task {self.upid}")

    def _work_failed(self, sight: Sight, now: float) -> str:
        """Why the task failed that the HA manager started; empty when there is none, or it did not."""
        assert self.upid is not None
        began = started(self.upid)
        fresh = (task for task in sight.tasks(self.vmid) if not task.queues and task.upid not in self._known)
        later = [task for task in fresh if task.started >= began]
        if not later:
            return ""
        if self._work != later[0].upid:
            self._work, self._taken, self._since = later[0].upid, True, now
        status = later[0].status
        if status is None:
            self._since = now
        if status is None or well(status):
            self._exit = status or self._exit
            return ""
        why = self._why(sight, self._work)
        return f"guest {self.vmid} was not migrated by the HA manager: {status}{why} (task {self._work})"

    def _why(self, sight: Sight, upid: str | None) -> str:
        """The lines of a task log that say why."""
        try:
            lines = tasklog.errors(sight.log(upid)) if upid else ()
        except PlannerError:
            return ""
        return f": {'; '.join(lines[:SAID])}" if lines else ""

    def _remark(self) -> str:
        task = self._work or self.upid
        return f"with {self._exit.lower()}: see task {task}" if self._exit.startswith("WARNINGS") else ""

    def _waited(self, now: float, seconds: float) -> bool:
        return now - self._since >= seconds

    def _not_seen(self, sight: Sight, now: float, error: PlannerError) -> Ending | None:
        """The API gave no answer, or refused one: that may pass."""
        self.trouble = error
        self._blind = now if self._blind is None else self._blind
        self._next, self._tries = now + patience.pause(self._tries), self._tries + 1
        if now - self._blind < patience.PATIENCE:
            return None
        try:
            place = sight.place(self.vmid)
        except PlannerError:
            place = None
        if place and self._arrived(place):
            return Ending(Step.DONE, f"its task could not be read: {error}")
        hint = "" if isinstance(error, Unreachable) else "; resume looks again"
        what = f"task {self.upid}" if self.upid else "it"
        return self._unknown(f"guest {self.vmid}: lost sight of {what}: {error}{hint}")

    def _failed(self, note: str) -> Ending:
        return Ending(Step.FAILED, note)

    def _unknown(self, note: str) -> Ending:
        return Ending(Step.UNKNOWN, note)
