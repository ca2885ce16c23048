"""Owns rows as text: aligned for a terminal, Markdown for documents, CSV to compare with later."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO, get_args

from tests.bench.against import Change
from tests.bench.measure import Row

DIGITS = {"before": 2, "spread": 4, "bound": 4, "gap": 4, "reached": 4, "gib": 1, "seconds": 2, "settled": 2}
"""Decimals of what is not a whole number, as printed; CSV has them all."""
WIDTHS = {"limit": 10, "solver": 7, "status": 10, **dict.fromkeys(("spread", "bound", "gap", "reached", "gib"), 8)}
"""At least so many characters, since rows are printed before the last is known; others: as wide as the name."""
LEFT = ("instance", "limit", "solver", "status")
NAMES = [item.name for item in fields(Row)]
CHANGES = [f"±{item.name}" for item in fields(Change)]
"""Columns that follow when rows are compared."""
NOTHING = "-"


def cells(row: Row) -> list[str]:
    """A row as it is printed."""
    return [_cell(name, value) for name, value in asdict(row).items()]


def changes(change: Change | None) -> list[str]:
    """What has changed as it is printed; None: there is nothing to compare with."""
    return [_cell(name, value, "+") for name, value in asdict(change).items()] if change else [NOTHING] * len(CHANGES)


def _cell(name: str, value: float | str | None, sign: str = "") -> str:
    if value is None:
        return NOTHING
    return f"{value:{sign}.{DIGITS[name]}f}" if name in DIGITS else f"{value:{sign}}"


def line(texts: Iterable[str], names: Sequence[str], instances: Iterable[str]) -> str:
    """Texts under their columns, given the names of all instances."""
    widest = max(map(len, instances), default=0)
    parts = []
    for text, name in zip(texts, names, strict=True):
        width = max(len(name), widest if name == "instance" else WIDTHS.get(name.lstrip("±"), 0))
        parts.append(text.ljust(width) if name in LEFT else text.rjust(width))
    return "  ".join(parts).rstrip()


def write_markdown(file: Path, notes: Sequence[str], names: Sequence[str], table: Iterable[Sequence[str]]) -> None:
    """A table with where it comes from above it; the last note is the command."""
    rule = [":--" if name in LEFT else "--:" for name in names]
    lines = [_pipes(texts) for texts in (names, rule, *table)]
    about = [*(f"{note}  " for note in notes[:-1]), f"`{notes[-1]}`"]
    file.write_text("\n".join([*about, "", *lines, ""]), encoding="utf-8")


def _pipes(texts: Iterable[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"


class CsvFile:
    """Rows as CSV, written as they arrive; where they come from stands above, behind `#`."""

    def __init__(self, file: TextIO, notes: Iterable[str]) -> None:
        self._file = file
        file.writelines(f"# {note}\n" for note in notes)
        self._writer = csv.DictWriter(file, NAMES, lineterminator="\n")
        self._writer.writeheader()

    def add(self, row: Row) -> None:
        """Write one row, at once: a long run may be stopped."""
        self._writer.writerow(asdict(row))
        self._file.flush()


def read_csv(file: Path) -> list[Row]:
    """Rows of an earlier run. ValueError when a column is missing or a figure is none."""
    lines = [text for text in file.read_text(encoding="utf-8").splitlines() if not text.startswith("#")]
    return [_row(values) for values in csv.DictReader(lines)]


def _row(values: dict[str, str]) -> Row:
    missing = [name for name in NAMES if values.get(name) is None]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}: the file is not of this version of the benchmark")
    return Row(**{item.name: _value(item.type, values[item.name]) for item in fields(Row)})


def _value(kind: Any, text: str) -> Any:
    """A cell in the type of its field; an empty one is None where that is allowed."""
    options = get_args(kind)
    if options and not text:
        return None
    return (options[0] if options else kind)(text)
