"""Owns which run is meant: the runs of this machine, which of them are alive, and what may be done with one."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from planner.errors import Locked, UsageError
from planner.journal import FILE, Journal, is_there
from planner.lock import Holder, holder, locked
from planner.policy import Apply
from planner.run import RunRecord, RunState, Step, Summary
from planner.state import state_directory, state_path

OPEN = (RunState.RUNNING, RunState.STOPPED)
"""States of runs that are not over."""
UNSETTLED = (Step.CHECKED, Step.STARTED, Step.UNKNOWN)
"""Steps after which a migration may be under way."""
NO_RUN = "there is no run yet: `proxlb-plan apply` makes one"


@dataclass(frozen=True, slots=True)
class Runs:
    """A journal, and the directory with the locks; None: in memory, where nobody else is."""

    journal: Journal
    directory: Path | None

    def lock(self, cluster: str) -> AbstractContextManager[Callable[[int], None]]:
        """One process at a time carries something out on a cluster. Locked says which one does.

        What it gives is told the run that this is about.
        """
        return nullcontext(lambda run: None) if self.directory is None else locked(self.directory, cluster)

    def process(self, item: Summary) -> int | None:
        """The process that is at work on a run: carries it out, is about to, or ends it."""
        held: Holder | None = None if self.directory is None else holder(self.directory, item.cluster)
        return held.pid if held and held.run == item.id else None

    def is_alive(self, item: Summary) -> bool:
        """Whether a process carries it out now."""
        return item.state is RunState.RUNNING and self.process(item) is not None

    def alive(self, items: Iterable[Summary]) -> list[int]:
        """Numbers of the runs that are carried out now."""
        return [item.id for item in items if self.is_alive(item)]

    def newest(self) -> RunRecord:
        """The last run of all. UsageError when there is none."""
        found = self.journal.runs(limit=1)
        if not found:
            raise UsageError(NO_RUN)
        return self.journal.run(found[0].id)

    def chosen(self, number: int | None, cluster: str) -> RunRecord:
        """The run of a cluster that a person means: without a number the newest that is not over. UsageError."""
        if number is None:
            found = self.journal.unfinished(cluster)
            if found is None:
                raise UsageError(f"no run on cluster {cluster} is unfinished: `proxlb-plan history` lists all runs")
            return found
        found = self.journal.run(number)
        if found.cluster != cluster:
            raise UsageError(f"run {number} is of cluster {found.cluster}, and this is {cluster}: choose its --config")
        return found


@contextmanager
def opened(settings: Apply, environ: Mapping[str, str] | None = None) -> Iterator[Runs]:
    """The runs of this machine, to carry out more."""
    directory = state_directory(settings, os.environ if environ is None else environ)
    with Journal(directory / FILE) as journal:
        yield Runs(journal, directory)


@contextmanager
def in_memory() -> Iterator[Runs]:
    """No run, and none that outlives this process: for the demo."""
    with Journal(None) as journal:
        yield Runs(journal, None)


@contextmanager
def reading(settings: Apply, environ: Mapping[str, str] | None = None) -> Iterator[Runs | None]:
    """The runs of this machine, to look at them; None where there has never been one."""
    directory = state_path(settings, os.environ if environ is None else environ)
    if not is_there(directory / FILE):
        yield None
        return
    with Journal.reading(directory / FILE) as journal:
        yield Runs(journal, directory)


def unsettled(item: RunRecord) -> list[str]:
    """Guests that may be under way, as far as the journal knows."""
    return [f"guest {entry.migration.vmid}" for entry in item.entries if entry.step in UNSETTLED]


def check_resumable(runs: Runs, item: RunRecord) -> None:
    """UsageError when it does not go on; Locked when it is alive."""
    if runs.is_alive(item):
        raise Locked(f"run {item.id} is alive, as process {runs.process(item)}: see `proxlb-plan status`")
    check_open(runs, item)


def check_open(runs: Runs, item: RunRecord) -> None:
    """UsageError when it is over, was told to end, or a later one is not over, or nobody can read what it is to do."""
    if item.state is RunState.PROPOSED:
        raise UsageError(f"run {item.id} is proposed: `proxlb-plan approve {item.id}` begins it")
    if item.state not in OPEN:
        raise UsageError(f"run {item.id} is {item.state.value.replace('_', ' ')}: there is nothing to resume")
    last = runs.journal.unfinished(item.cluster)
    if last is not None and last.id != item.id:
        raise UsageError(f"run {last.id} came later and is not over: resume or abort that first")
    if item.stop_asked:
        raise UsageError(f"run {item.id} was told to end and does not go on: `proxlb-plan abort {item.id}` ends it")
    if isinstance(item.written, str):
        what = f"run {item.id} cannot go on, as its plan is of another version, or damaged ({item.written})"
        raise UsageError(f"{what}: `proxlb-plan abort {item.id}` ends it, then make a new plan")


def check_proposed(item: RunRecord) -> None:
    """UsageError when it does not wait to be approved, or nobody can read what it is to do."""
    if item.state is not RunState.PROPOSED:
        why = f": {item.why}" if item.why else ""
        raise UsageError(f"run {item.id} is {item.state.value.replace('_', ' ')}, not proposed{why}")
    if isinstance(item.written, str):
        raise UsageError(f"run {item.id} cannot begin, as its plan is of another version, or damaged ({item.written})")


def check_abortable(item: RunRecord) -> None:
    """UsageError when it is over."""
    if item.state not in (*OPEN, RunState.PROPOSED):
        raise UsageError(f"run {item.id} is {item.state.value.replace('_', ' ')}: there is nothing to abort")


def check_revocable(runs: Runs, item: RunRecord) -> None:
    """UsageError when nothing of it can be taken back, Locked while it is alive or something may be under way."""
    if item.kind == "rollback":
        raise UsageError(f"run {item.id} is a way back itself: apply a new plan instead")
    if item.state is RunState.ROLLED_BACK:
        raise UsageError(f"run {item.id} is rolled back already")
    if runs.is_alive(item):
        raise Locked(f"run {item.id} is alive: `proxlb-plan abort {item.id}` ends it")
    if guests := unsettled(item):
        find_out = f"`proxlb-plan abort {item.id}` finds out" if item.state in OPEN else "make a new plan instead"
        raise Locked(f"what became of {', '.join(guests[:3])} in run {item.id} is not known: {find_out}")
    if not item.counts.get(Step.DONE):
        raise UsageError(f"run {item.id} has migrated nothing: there is nothing to take back")
