"""Owns the journal: a durable record of runs and their migrations, in SQLite.

What a method was told is on the disk when it returns, or it raises JournalError and nothing of it is. Times are unix
seconds and come in as arguments.
"""

import json
import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import Final, Self

from planner import plan as plans
from planner.database import Database, is_there
from planner.errors import InputError, JournalError
from planner.plan import Plan
from planner.run import ENDS, LEGAL, Entry, Event, Kind, Moved, RunRecord, RunState, Step, Summary
from planner.state import cluster_name, state_directory, state_path

__all__ = [
    "ENDS", "LEGAL", "Entry", "Event", "Journal", "Moved", "RunRecord", "RunState", "Step", "Summary", "cluster_name",
    "is_there", "state_directory", "state_path",
]  # fmt: skip

FILE: Final = "journal.sqlite3"
SHORT: Final = "id, cluster, kind, of, state, began_at, resumed_at, ended_at, why, stop_asked"
"""Columns of a run without its plan."""


class Journal:
    """The runs of this machine. A context manager; of one thread, while other processes may have it open as well."""

    def __init__(self, path: Path | None) -> None:
        """Open a journal, or begin one; without a path in memory. JournalError when it cannot be used."""
        self._db = Database(path)

    @classmethod
    def reading(cls, path: Path) -> Self:
        """Open a journal that exists to read it; changes nothing, not even in its directory."""
        self = cls.__new__(cls)
        self._db = Database.reading(path)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def begin(self, plan: Plan, cluster: str, at: float, kind: Kind = "apply", of: int | None = None) -> int:
        """A new run, all of its migrations PLANNED; its number."""
        with self._db.writing():
            run = self._db.execute(
                "INSERT INTO run (cluster, kind, of, plan, state, began_at) VALUES (?, ?, ?, ?, ?, ?)",
                (_text(cluster), kind, of, plan.to_json(), RunState.RUNNING, at),
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
        upid, note = upid and _text(upid), _text(note)
        with self._db.writing():
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
        self._set_state(run, state, "ended_at = coalesce(ended_at, ?), why = ?", at, _text(why))

    def reopen(self, run: int, at: float) -> None:
        """A run that was stopped or interrupted goes on; nobody has asked it to stop. ValueError if it is over."""
        self._set_state(run, RunState.RUNNING, "ended_at = NULL, stop_asked = 0, why = '', resumed_at = ?", at)

    def _set_state(self, run: int, state: RunState, also: str, *values: object) -> None:
        with self._db.writing():
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
        """All that is known of a run. JournalError when there is none of that number."""
        with self._db.at_once():
            row = self._row(run)
            found = self._db.execute("SELECT * FROM migration WHERE run = ? ORDER BY number", (run,)).fetchall()
            summary = self._summary(row)
        document = json.loads(row["plan"])
        try:
            plan = plans.parse(document, "its plan")
        except InputError as error:
            raise JournalError(f"run {run} of the journal {self._db.name} is of another version: {error}") from None
        migrations = {m.number: m for m in plan.migrations}
        entries = tuple(
            Entry(r["number"], migrations[r["number"]], Step(r["step"]), r["upid"], r["note"], r["changed_at"])
            for r in found
        )
        facts = {item.name: getattr(summary, item.name) for item in fields(Summary)}
        return RunRecord(**facts, plan=plan, entries=entries)

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
        found = self._db.execute("SELECT id FROM run WHERE of = ? ORDER BY id", (run,)).fetchall()
        return tuple(self.run(number) for (number,) in found)

    def unfinished(self, cluster: str) -> RunRecord | None:
        """The newest run of a cluster that can be resumed, or is under way."""
        with self._db.at_once():
            found = self._db.execute(
                "SELECT max(id) FROM run WHERE cluster = ? AND state IN (?, ?)",
                (_text(cluster), RunState.RUNNING, RunState.STOPPED),
            ).fetchone()[0]
        return None if found is None else self.run(found)

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
        """Whether somebody has, since the run began or was resumed."""
        with self._db.at_once():
            return bool(self._row(run)["stop_asked"])

    def moved(self, cluster: str, since: float) -> tuple[Moved, ...]:
        """Migrations of a cluster that were carried out since then, also those of the way back; the oldest first."""
        query = """
            SELECT vmid, source, target, changed_at, run FROM migration JOIN run ON run.id = migration.run
            WHERE cluster = ? AND step = ? AND changed_at >= ? ORDER BY changed_at, run, number
        """
        with self._db.at_once():
            found = self._db.execute(query, (_text(cluster), Step.DONE, since)).fetchall()
        return tuple(Moved(r["vmid"], r["source"], r["target"], r["changed_at"], r["run"]) for r in found)

    def prune(self, before: float) -> None:
        """Forget runs that ended before then; those that can be resumed stay."""
        with self._db.writing():
            self._db.execute(
                "DELETE FROM run WHERE ended_at < ? AND state NOT IN (?, ?)",
                (before, RunState.RUNNING, RunState.STOPPED),
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


def _text(text: str) -> str:
    """Text that SQLite takes: what answered may have sent half a character."""
    return text.encode(errors="replace").decode()
