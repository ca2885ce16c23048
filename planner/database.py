"""Owns the file of the journal: its tables, its transactions, and what is said when it cannot be used."""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from planner.errors import JournalError
from planner.state import hand_over

APPLICATION: Final = 0x506C6250
"""Tells a journal from other SQLite files."""
VERSION: Final = 2
LOOKED: Final = 2
"""The first version with looks."""
LOOKS: Final = """
CREATE TABLE look (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    cluster TEXT NOT NULL,
    at REAL NOT NULL,
    outcome TEXT NOT NULL,
    above INTEGER NOT NULL,
    document TEXT NOT NULL,
    plan TEXT  -- of the last looks alone
);
CREATE INDEX look_of_cluster ON look (cluster, at);
"""
SCHEMA: Final = f"""
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- a number is never used twice
    cluster TEXT NOT NULL,
    kind TEXT NOT NULL,
    of INTEGER,
    plan TEXT NOT NULL,
    state TEXT NOT NULL,
    began_at REAL NOT NULL,
    resumed_at REAL,
    ended_at REAL,
    why TEXT NOT NULL DEFAULT '',
    stop_asked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE migration (
    run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    number INTEGER NOT NULL,
    vmid INTEGER NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    step TEXT NOT NULL,
    upid TEXT,
    note TEXT NOT NULL DEFAULT '',
    changed_at REAL NOT NULL,
    PRIMARY KEY (run, number)
);
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
    number INTEGER NOT NULL,
    step TEXT NOT NULL,
    upid TEXT,
    note TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX event_of_run ON event (run);
{LOOKS}
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
UPGRADES: Final = {1: f"{LOOKS} PRAGMA user_version = 2"}
"""Version of an older journal to what makes it one of the next."""
WAIT: Final = 10.0
"""Seconds that are waited for another process that writes at this moment; each write is short."""
PRIMARY: Final = 0xFF
"""What is left of SQLite's error codes without their details."""
RESUME: Final = "what was recorded before is safe, and resume goes on from there"
COMPLAINTS: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_FULL: f"its disk is full: make room; {RESUME}",
    sqlite3.SQLITE_IOERR: f"its disk does not answer as it should, or is full: look at that; {RESUME}",
    sqlite3.SQLITE_READONLY: "it cannot be written: see who owns it, or set apply.state_directory",
    sqlite3.SQLITE_PERM: "it cannot be written: see who owns it, or set apply.state_directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: see who owns it, or set apply.state_directory",
    sqlite3.SQLITE_BUSY: f"another process keeps it busy: wait for that; {RESUME}",
    sqlite3.SQLITE_CORRUPT: "it is damaged: rename it and begin a new one; no run in it can be resumed",
    sqlite3.SQLITE_NOTADB: "it is damaged, or no journal: rename it and begin a new one",
}
"""What is wrong, by SQLite's own code, and what to do."""


class Database:
    """An SQLite file with a write-ahead log, which is on the disk at the end of each transaction.

    See https://www.sqlite.org/pragma.html#pragma_synchronous: FULL.
    """

    def __init__(self, path: Path | None) -> None:
        """Open it, or make it; without a path in memory. JournalError when it cannot be used."""
        if path is not None:
            _made(path)
        with self._opening(str(path or ":memory:"), ""):
            if not self._is_empty():
                self._check()
            for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self.execute(f"PRAGMA {setting}")
            with self.writing():
                if self._is_empty():
                    self._run(SCHEMA)
                while (found := self.version) in UPGRADES:
                    self._run(UPGRADES[found])

    @classmethod
    def reading(cls, path: Path) -> Self:
        """Open one that exists to read it; changes nothing, not even in its directory."""
        self = cls.__new__(cls)
        # SQLite would leave two files behind. Without the one of a writer there is none, and nothing to coordinate.
        how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
        with self._opening(str(path), f"{path.absolute().as_uri()}?{how}"):
            empty = self._is_empty()
            if not empty:
                self._check()
        if empty:  # its process died, or its disk was full, before it began
            self.close()
            return cls(None)
        return self

    @property
    def version(self) -> int:
        """Of its format."""
        return int(self.execute("PRAGMA user_version").fetchone()[0])

    def _run(self, script: str) -> None:
        for statement in script.split(";"):
            self.execute(statement)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):  # everything is on the disk already
            self._connection.close()

    def execute(self, statement: str, values: Iterable[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(statement, tuple(values))

    def executemany(self, statement: str, values: Iterable[Iterable[Any]]) -> None:
        """Run one statement once for each of several rows."""
        self._connection.executemany(statement, map(tuple, values))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """All of it is on the disk at the end, or nothing."""
        with self._complaining():
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            finally:
                self._undo()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """All of it is of the same moment."""
        with self._complaining():
            self.execute("BEGIN")
            try:
                yield
            finally:
                self._undo()

    def _undo(self) -> None:
        """What was not committed; SQLite has done so itself when the disk was full."""
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def _is_empty(self) -> bool:
        return not self.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]

    def _check(self) -> None:
        """JournalError for a file that is not a journal that this version can read."""
        of, version = self.execute("PRAGMA application_id").fetchone()[0], self.version
        if of != APPLICATION:
            raise JournalError(f"{self.name} is a database, but no journal: rename it, or set apply.state_directory")
        if version != VERSION and version not in UPGRADES:
            what = f"the journal {self.name} is of format {version}, and this version reads {VERSION}"
            raise JournalError(f"{what}: use the version that wrote it, or rename it and begin a new one")

    @contextlib.contextmanager
    def _opening(self, name: str, uri: str) -> Iterator[None]:
        """Connect, and close the file again when it cannot be used."""
        self.name = name
        with self._complaining():
            self._connection = sqlite3.connect(uri or name, uri=bool(uri), isolation_level=None, timeout=WAIT)
            self._connection.row_factory = sqlite3.Row
            try:
                yield
            except BaseException:
                self.close()
                raise

    @contextlib.contextmanager
    def _complaining(self) -> Iterator[None]:
        """SQLite's errors in one line."""
        try:
            yield
        except sqlite3.Error as error:
            said = COMPLAINTS.get(getattr(error, "sqlite_errorcode", 0) & PRIMARY)
            raise JournalError(f"the journal {self.name} cannot be used: {said or error}") from None


def is_there(path: Path) -> bool:
    """Whether there is a journal to read. JournalError when that cannot be told."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        what = f"the journal {path} cannot be read: {error.strerror}"
        raise JournalError(f"{what}; see who owns it, or set apply.state_directory") from None
    return True


def _made(path: Path) -> None:
    """Make a file that only its owner can read; SQLite gives those that it puts beside it the same mode."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            hand_over(handle, path.parent)
        finally:
            os.close(handle)
    except OSError as error:
        what = f"the journal {path} cannot be opened: {error.strerror}"
        raise JournalError(f"{what}; see who owns it, or set apply.state_directory") from None
