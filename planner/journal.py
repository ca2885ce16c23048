"""Owns the journal: a durable record of runs and their migrations, in SQLite.

What a method was told is on the disk when it returns, or it raises JournalError and nothing of it is. Times are unix
seconds and come in as arguments.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final, Self

from planner import plan as plans
from planner.database import Database, is_there
from planner.errors import InputError, JournalError
from planner.looks import Looks
from planner.plan import Migration, Plan
from planner.run import ENDS, LEGAL, Entry, Event, Kind, Moved, RunRecord, RunState, Step, Summary
from planner.state import cluster_name, state_directory, state_path

__all__ = [
    "ENDS", "LEGAL", "Entry", "Event", "Journal", "Moved", "RunRecord", "RunState", "Step", "Summary", "cluster_name",
    "is_there", "state_directory", "state_path",
]  # fmt: skip

FILE: Final = "journal.sqlite3"
REMEDY: Final = "; make a new one"
"""What is advised of a plan file, and helps with no run."""
SHORT: Final = "id, cluster, kind, of, state, began_at, resumed_at, ended_at, why, stop_asked"
"""Columns of a run without its plan."""
SUPERSEDED: Final = "another run was begun"
"""Why a run has ended in whose place there is another."""


class Journal:
    """The runs of this machine. A context manager; of one thread, while other processes may have it open as well."""

    def __init__(self, path: Path | None) -> None:
        """Open a journal, or begin one; without a path in memory. JournalError when it cannot be used."""
        self._db = Database(path)
        self.looks = Looks(self._db)

    @classmethod
    def reading(cls, path: Path) -> Self:
        """Open a journal that exists to read it; changes nothing, not even in its directory."""
        self = cls.__new__(cls)
        self._db = Database.reading(path)
        self.looks = Looks(self._db)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def begin(
        self, plan: Plan, cluster: str, at: float, kind: Kind = "apply", of: int | None = None,
        instead_of: Iterable[int] = (), state: RunState = RunState.RUNNING,
    ) -> int:  # fmt: skip
        """A new run, all of its migrations PLANNED; its number. Those in whose place it comes are abandoned with that.

        RUNNING, or PROPOSED.

        InputError for a plan that could not be read again.
        """
        document = plan.to_json()
        plans.parse(json.loads(document), "the plan")
        with self._db.writing():
            for other in instead_of:
                self._abandon(other, at, SUPERSEDED)
            run = self._db.execute(
                "INSERT INTO run (cluster, kind, of, plan, state, began_at) VALUES (?, ?, ?, ?, ?, ?)",
                (_text(cluster), kind, of, document, state, at),
            ).lastrowid
            self._db.executemany(
                "INSERT INTO migration (run, number, vmid, source, target, step, changed_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(run, m.number, m.vmid, _text(m.source), _text(m.target), Step.PLANNED, at) for m in plan.migrations],
            )
        assert run is not None
        return run

    def record(self, run: int, number: int, step: Step, at: float, *, upid: str | None = None, note: str = "") -> None:
        """A migration has come to a step. ValueError when that cannot follow on the last one."""
        with self._db.writing():
            self._record(run, number, step, at, upid and _text(upid), _text(note))

    def _record(self, run: int, number: int, step: Step, at: float, upid: str | None, note: str) -> None:
        where = (run, number)
        found = self._db.execute("SELECT step, upid FROM migration WHERE run = ? AND number = ?", where).fetchone()
        if found is None:
            raise ValueError(f"run {run} has no migration {number}")
        if step not in LEGAL[Step(found[0])]:
            raise ValueError(f"migration {number} of run {run} is {found[0]}: it cannot become {step}")
        last = upid or (None if step is Step.PLANNED else found[1])  # what is planned again has no task yet
        self._db.execute(
            "UPDATE migration SET step = ?, upid = ?, note = ?, changed_at = ? WHERE run = ? AND number = ?",
            (step, last, note, at, *where),
        )
        self._db.execute(
            "INSERT INTO event (run, number, step, upid, note, at) VALUES (?, ?, ?, ?, ?, ?)",
            (*where, step, upid, note, at),
        )

    def end(self, run: int, state: RunState, at: float, why: str = "") -> None:
        """A run has ended; a way back that is DONE has undone the other one. ValueError when that cannot be."""
        if state is RunState.RUNNING:
            raise ValueError("a run does not end as running: reopen it")
        with self._db.writing():
            self._end(run, state, at, why)

    def abandon(self, run: int, at: float, why: str) -> None:
        """A run is ended for good: it is ABORTED, and what was not started is SKIPPED. ValueError if it is over."""
        with self._db.writing():
            self._abandon(run, at, why)

    def approve(self, run: int, at: float) -> None:
        """A run that was proposed begins. ValueError when it is no longer proposed."""
        with self._db.writing():
            self._set_state(run, RunState.RUNNING, "began_at = ?", at)

    def withdraw(self, run: int, at: float, why: str) -> None:
        """A run that was proposed is not carried out. ValueError when it is no longer proposed."""
        with self._db.writing():
            self._end(run, RunState.WITHDRAWN, at, why)
            self._leave_out(run, at, why)

    def proposed(self, cluster: str) -> RunRecord | None:
        """The newest run of a cluster that waits to be approved."""
        with self._db.at_once():
            row = self._db.execute(
                "SELECT max(id) FROM run WHERE cluster = ? AND state = ?", (_text(cluster), RunState.PROPOSED)
            ).fetchone()
        return None if row[0] is None else self.run(row[0])

    def leave_out(self, run: int, at: float, why: str) -> None:
        """What was not started is not going to be."""
        with self._db.writing():
            self._leave_out(run, at, why)

    def reopen(self, run: int, at: float, anew: Iterable[int] = ()) -> None:
        """A run that was stopped or interrupted goes on, some of its migrations PLANNED anew. ValueError if it is over.

        Whoever has asked it to stop has done so still.
        """
        with self._db.writing():
            self._set_state(run, RunState.RUNNING, "ended_at = NULL, why = '', resumed_at = ?", at)
            for number in anew:
                self._record(run, number, Step.PLANNED, at, None, "to be tried again")

    def _end(self, run: int, state: RunState, at: float, why: str) -> None:
        self._set_state(run, state, "ended_at = coalesce(ended_at, ?), why = ?", at, _text(why))

    def _abandon(self, run: int, at: float, why: str) -> None:
        self._end(run, RunState.ABORTED, at, why)
        self._leave_out(run, at, why)

    def _leave_out(self, run: int, at: float, why: str) -> None:
        query = "SELECT number FROM migration WHERE run = ? AND step = ?"
        for (number,) in self._db.execute(query, (run, Step.PLANNED)).fetchall():
            self._record(run, number, Step.SKIPPED, at, None, why)

    def _set_state(self, run: int, state: RunState, also: str, *values: object) -> None:
        row = self._row(run)
        last = RunState(row["state"])
        if state not in ENDS[last]:
            raise ValueError(f"run {run} is {last}: it cannot become {state}")
        self._db.execute(f"UPDATE run SET state = ?, {also} WHERE id = ?", (state, *values, run))
        if state is RunState.DONE and row["of"] is not None:
            self._db.execute(
                "UPDATE run SET state = ?, why = ?,"
                " ended_at = coalesce(ended_at, (SELECT ended_at FROM run WHERE id = ?)) WHERE id = ?",
                (RunState.ROLLED_BACK, f"by run {run}", run, row["of"]),
            )

    def run(self, run: int) -> RunRecord:
        """All that is known of a run, whether its plan can be read or not. JournalError when there is none."""
        with self._db.at_once():
            row = self._row(run)
            found = self._db.execute("SELECT * FROM migration WHERE run = ? ORDER BY number", (run,)).fetchall()
            summary = self._summary(row)
        written = _read(row["plan"], [r["number"] for r in found])
        known = () if isinstance(written, str) else written.migrations
        migrations: Mapping[int, Migration] = {migration.number: migration for migration in known}
        entries = tuple(
            Entry(r["number"], migrations.get(r["number"]) or _bare(r), Step(r["step"]), r["upid"], r["note"],
                  r["changed_at"])
            for r in found
        )  # fmt: skip
        facts = {item.name: getattr(summary, item.name) for item in fields(Summary)}
        return RunRecord(**facts, written=written, entries=entries)

    def runs(self, cluster: str | None = None, limit: int = 20) -> tuple[Summary, ...]:
        """The last runs, newest first."""
        with self._db.at_once():
            found = self._db.execute(
                f"SELECT {SHORT} FROM run WHERE ?1 IS NULL OR cluster = ?1 ORDER BY id DESC LIMIT ?2",
                (cluster and _text(cluster), limit),
            ).fetchall()
            return tuple(map(self._summary, found))

    def ways_back(self, run: int) -> tuple[RunRecord, ...]:
        """The runs that took a run back, or tried to, in their order."""
        with self._db.at_once():
            found = self._db.execute("SELECT id FROM run WHERE of = ? ORDER BY id", (run,)).fetchall()
        return tuple(self.run(number) for (number,) in found)

    def unfinished(self, cluster: str) -> RunRecord | None:
        """The newest run of a cluster that can be resumed, or is under way."""
        return next(self.open(cluster), None)

    def open(self, cluster: str) -> Iterator[RunRecord]:
        """All of these, the newest first."""
        with self._db.at_once():
            found = self._db.execute(
                "SELECT id FROM run WHERE cluster = ? AND state IN (?, ?) ORDER BY id DESC",
                (_text(cluster), RunState.RUNNING, RunState.STOPPED),
            ).fetchall()
        return (self.run(number) for (number,) in found)

    def events(self, run: int) -> tuple[Event, ...]:
        """All that was recorded of the migrations of a run, in that order."""
        with self._db.at_once():
            query = "SELECT at, number, step, upid, note FROM event WHERE run = ? ORDER BY id"
            found = self._db.execute(query, (run,)).fetchall()
        return tuple(Event(r["at"], r["number"], Step(r["step"]), r["upid"], r["note"]) for r in found)

    def ask_to_stop(self, run: int) -> None:
        """Ask the process that carries a run out to start no more migrations."""
        with self._db.writing():
            self._row(run)
            self._db.execute("UPDATE run SET stop_asked = 1 WHERE id = ?", (run,))

    def stop_asked(self, run: int) -> bool:
        """Whether somebody has."""
        with self._db.at_once():
            return bool(self._row(run)["stop_asked"])

    def moved(self, cluster: str, since: float) -> tuple[Moved, ...]:
        """Migrations of a cluster that were carried out since then, also those of the way back; the oldest first."""
        return self._ended(cluster, Step.DONE, since)

    def failed(self, cluster: str, since: float) -> tuple[Moved, ...]:
        """The same of those that failed, and were not tried again in the same run."""
        return self._ended(cluster, Step.FAILED, since)

    def _ended(self, cluster: str, step: Step, since: float) -> tuple[Moved, ...]:
        query = """
            SELECT vmid, source, target, changed_at, run FROM migration JOIN run ON run.id = migration.run
            WHERE cluster = ? AND step = ? AND changed_at >= ? ORDER BY changed_at, run, number
        """
        with self._db.at_once():
            found = self._db.execute(query, (_text(cluster), step, since)).fetchall()
        return tuple(Moved(r["vmid"], r["source"], r["target"], r["changed_at"], r["run"]) for r in found)

    def started(self, cluster: str, since: float) -> tuple[float, ...]:
        """When migrations of a cluster were asked for since then, whatever became of them; the earliest first. Not
        those of which nothing was sent."""
        query = """
            SELECT at FROM (
                SELECT at, step, lead(step) OVER (PARTITION BY event.run, number ORDER BY event.id) AS next
                FROM event JOIN run ON run.id = event.run WHERE cluster = ? AND at >= ?
            ) WHERE step = ? AND next IS NOT ? ORDER BY at
        """
        with self._db.at_once():
            found = self._db.execute(query, (_text(cluster), since, Step.CHECKED, Step.PLANNED)).fetchall()
        return tuple(row["at"] for row in found)

    def prune(self, before: float, withdrawn_before: float | None = None) -> None:
        """Forget runs that ended before then, or that were never carried out; those that can be resumed stay."""
        with self._db.writing():
            self._db.execute(
                "DELETE FROM run WHERE (ended_at < ? AND state NOT IN (?, ?)) OR (ended_at < ? AND state = ?)",
                (before, RunState.RUNNING, RunState.STOPPED, withdrawn_before, RunState.WITHDRAWN),
            )

    def _row(self, run: int) -> sqlite3.Row:
        found: sqlite3.Row | None = self._db.execute("SELECT * FROM run WHERE id = ?", (run,)).fetchone()
        if found is None:
            raise JournalError(f"there is no run {run} in the journal {self._db.name}: history lists them")
        return found

    def _summary(self, row: sqlite3.Row) -> Summary:
        query = "SELECT step, count(*) AS many FROM migration WHERE run = ? GROUP BY step"
        counts = {Step(r["step"]): int(r["many"]) for r in self._db.execute(query, (row["id"],))}
        return Summary(
            id=row["id"], cluster=row["cluster"], kind=row["kind"], of=row["of"], state=RunState(row["state"]),
            began_at=row["began_at"], resumed_at=row["resumed_at"], ended_at=row["ended_at"], why=row["why"],
            stop_asked=bool(row["stop_asked"]), counts=counts,
        )  # fmt: skip


def _read(document: str, numbers: Collection[int]) -> Plan | str:
    """The plan of a run, or why it cannot be read."""
    try:
        plan = plans.parse(json.loads(document), "its plan")
    except InputError as error:
        return str(error).removesuffix(REMEDY)
    except (ValueError, RecursionError):
        return "its plan is no JSON"
    return plan if [m.number for m in plan.migrations] == list(numbers) else "its plan is not the one that was begun"


def _bare(row: sqlite3.Row) -> Migration:
    """A migration of which no more is known than the journal itself says."""
    return Migration(
        row["vmid"], "", "vm", row["source"], row["target"], 0, 0, running=False, reason="", spread_without=0.0,
        number=row["number"],
    )  # fmt: skip


def _text(text: str) -> str:
    """Text that SQLite takes: what answered may have sent half a character."""
    return text.encode(errors="replace").decode()
