"""Owns the rows of a sweep: their columns, and the file in which they are kept as they arrive."""

import contextlib
import csv
import fcntl
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd

from planner.errors import InputError, Locked, UsageError
from planner.frames import Column
from planner.snapshot import write

FAILED = "failed"
"""Status of a scenario of which there is no plan; its error says why."""
COLUMNS = (
    Column("id", "str", "", "digest of all that determines the row"),
    Column("snapshot", "str", "", "as the file of scenarios names it"),
    Column("whatif", "str", "", "name"),
    Column("policy", "str", "", "name"),
    Column("solver", "str", "", "name"),
    Column("status", "str", "", "optimal, feasible, no_action, infeasible, unknown; or failed: there is no plan"),
    Column("before", "float64", "percentage points", "spread today"),
    Column("after", "float64", "percentage points", "spread with the plan"),
    Column("bound", "float64", "percentage points", "no plan with these rules and limits is below; empty: not claimed"),
    Column("gap", "float64", "percentage points", "how far after is above bound"),
    Column("migrations", "Int64", "", "number of migrations"),
    Column("gib", "float64", "GiB", "memory and local disks that are copied"),
    Column("violations_before", "Int64", "", "broken rules today"),
    Column("violations_after", "Int64", "", "broken rules left"),
    Column("stranded", "Int64", "", "guests that should be migrated and cannot be"),
    Column("error", "str", "", "why there is no plan, in one line; empty where there is one"),
    Column("seconds", "float64", "s", "time the solver took: the only column that differs from run to run"),
)
"""One row per scenario, in the order of the file of scenarios."""
NAMES = [column.name for column in COLUMNS]
TYPES = {"str": str, "float64": float, "Int64": int}
SUFFIXES = (".csv", ".jsonl")


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one scenario, see COLUMNS."""

    id: str
    snapshot: str
    whatif: str
    policy: str
    solver: str
    status: str
    before: float | None = None
    after: float | None = None
    bound: float | None = None
    gap: float | None = None
    migrations: int | None = None
    gib: float | None = None
    violations_before: int | None = None
    violations_after: int | None = None
    stranded: int | None = None
    error: str = ""
    seconds: float | None = None


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as a frame, see COLUMNS."""
    values = {name: [getattr(row, name) for row in rows] for name in NAMES}
    return pd.DataFrame({column.name: pd.Series(values[column.name], dtype=column.dtype) for column in COLUMNS})


class Results:
    """Rows by the id of their scenario, and where there is a file each of them in it at once."""

    def __init__(self, path: Path | None = None, file: IO[bytes] | None = None) -> None:
        self._path, self._file = path, file
        self.rows: dict[str, Row] = {}

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.rows[row.id] = row
        self._append(_line(self._path, row))

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the file anew: these, then those of other scenarios."""
        asked = {row.id for row in rows}
        others = [row for row in self.rows.values() if row.id not in asked]
        if self._path is not None:
            write(self._path, b"".join([_head(self._path), *(_line(self._path, row) for row in (*rows, *others))]))

    def _append(self, line: bytes) -> None:
        if self._file is None:
            return
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror}") from None

    def take_up(self) -> None:
        """Read what the file has already, and cut off a last line that was not written to its end."""
        if self._path is None or self._file is None:
            return
        content = self._file.read()
        whole, _, torn = content.rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        head = _head(self._path).rstrip(b"\n")
        if (head and lines and lines[0] != head) or not (lines or _may_begin(self._path, torn)):
            raise InputError(f"{self._path} is not what this version of sweep writes: name another --out")
        for number, line in enumerate(lines, 1):
            if number > 1 or not head:
                row = _row(self._path, number, line)
                self.rows[row.id] = row
        self._file.truncate(len(content) - len(torn) if lines else 0)
        self._file.seek(0, os.SEEK_END)
        if not lines:
            self._append(_head(self._path))


@contextlib.contextmanager
def kept(path: Path | None) -> Iterator[Results]:
    """The results that a file has, to add to them; nobody else does meanwhile. None: there is no file."""
    if path is None:
        yield Results()
        return
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--out {path}: its name has to end in {' or '.join(SUFFIXES)}")
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write {path}: it is not a file")
    try:
        file = path.open("r+b" if path.exists() else "x+b")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"another sweep writes to {path}: wait for it, or name another --out") from None
        results = Results(path, file)
        results.take_up()
        yield results


def _head(path: Path) -> bytes:
    """What a file of results begins with."""
    return f"{','.join(NAMES)}\n".encode() if path.suffix == ".csv" else b""


def _may_begin(path: Path, torn: bytes) -> bool:
    """Whether a file without a whole line may be one of which the first was not written to its end."""
    begin = _head(path) or b'{"id": "'
    return begin.startswith(torn) or (not _head(path) and torn.startswith(begin))


def _line(path: Path | None, row: Row) -> bytes:
    if path is None:
        return b""
    if path.suffix == ".jsonl":
        return f"{json.dumps(asdict(row))}\n".encode()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if v is None else v for v in asdict(row).values()])
    return text.getvalue().encode(errors="backslashreplace")


def _row(path: Path, number: int, line: bytes) -> Row:
    """The row of a line. What is empty is None, but for text."""
    try:
        if path.suffix == ".jsonl":
            values = json.loads(line)
        else:
            [cells] = csv.reader([line.decode()], strict=True)
            values = dict(zip(NAMES, cells, strict=True))
        if values.keys() != set(NAMES):
            raise ValueError("its columns are others")
        return Row(**{column.name: _value(column, values[column.name]) for column in COLUMNS})
    except (ValueError, TypeError, AttributeError, csv.Error):
        raise InputError(f"{path}, line {number}: not a row of a sweep: mend or remove it") from None


def _value(column: Column, value: Any) -> Any:
    if column.dtype == "str":
        if not isinstance(value, str):
            raise ValueError(f"{column.name} is no text")
        return value
    return None if value in ("", None) else TYPES[column.dtype](value)
