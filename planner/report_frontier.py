"""Owns how a frontier looks on a terminal: a table, a chart that needs no colour, what is known in a line or two."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from planner.frontier import Frontier
from planner.policy import Against

NARROWEST, WIDEST, TALL = 60, 100, 16
"""Columns and rows of the chart."""
PROVEN, FOUND, BOUND, KNEE, MAYBE = "●", "○", "·", "◆", "◇"
"""Marks: what is reached, proven to be the best or not; what is proven to be out of reach; the knee, likewise."""
SO_FAR = "knee of what was found"
"""What a knee is called where not all is proven."""

Row = dict[Any, Any]


def frontier(item: Frontier, out: Console, *, every: bool = False) -> None:
    """Points at which something is gained, or every one; the chart; what is known."""
    rows: list[Row] = item.frame.to_dict("records")
    shown = rows if every else _gaining(rows)
    out.print(_table(item, shown))
    for line in [*_chart(item, rows, _width(out)), *_words(item, rows, shown)]:
        out.print(Text(line), soft_wrap=True)


def _unit(item: Frontier) -> str:
    return "GiB" if item.against is Against.GIB else "migrations"


def _limit(item: Frontier, row: Row) -> str:
    """Rounded up, so that what is shown is within what is read."""
    return f"{math.ceil(row['limit'] * 100) / 100:.2f}" if item.against is Against.GIB else f"{row['limit']:.0f}"


def _counted(item: Frontier, row: Row) -> str:
    """The limit with its unit."""
    return (
        f"{_limit(item, row)} {'migration' if row['limit'] == 1 and item.against is not Against.GIB else _unit(item)}"
    )


def _gaining(rows: Sequence[Row]) -> list[Row]:
    """The first row, and those with other rules, or less spread, as far as it shows, than the one shown before."""
    result = [rows[0]]
    for row in rows[1:]:
        last = result[-1]
        other = not _are_alike(row, last)
        less = any(f"{row[name]:.2f}" != f"{last[name]:.2f}" for name in ("spread", "changeable"))
        if other or less or row["knee"]:
            result.append(row)
    return result


def _are_alike(one: Row, other: Row) -> bool:
    """Whether spreads can be compared: as many rules are broken, and as many have given way."""
    return all(one[name] == other[name] for name in ("violations", "gave_way"))


def _table(item: Frontier, rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    counted = [name for name in ("violations", "gave_way") if any(row[name] for row in rows)]
    blocked = not all(row["reachable"] for row in rows)
    gib = item.against is Against.GIB
    heads = ["limit", "migrations", "GiB", "spread", "bound", "gap", "gain"]
    heads += [name.replace("_", " ") for name in counted]
    stuck = not math.isnan(rows[0]["changeable"])
    heads += ["other nodes"] if stuck else []
    for name in heads:
        if not (gib and name == "GiB"):  # which is the limit
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    before: Row | None = None
    for row in rows:
        words = [*(["proven"] if row["exact"] else []), *([_knee(item)] if row["knee"] else [])]
        words += ["no safe way to all of it known"] if blocked and not row["reachable"] else []
        alike = before is not None and _are_alike(before, row)
        gain = f"{before['spread'] - row['spread']:.2f}" if before is not None and alike else ""
        figures = [f"{row[name]:.2f}" for name in ("spread", "bound", "gap")]
        copied = [] if gib else [f"{row['gib']:.1f}"]
        left = [str(row[name]) for name in counted]
        beside = [f"{row['changeable']:.2f}"] if stuck else []
        table.add_row(
            _limit(item, row), str(row["migrations"]), *copied, *figures, gain, *left, *beside, ", ".join(words)
        )
        before = row
    return table


def _knee(item: Frontier) -> str:
    return "knee" if item.exact else SO_FAR


def _width(out: Console) -> int:
    return max(NARROWEST, min(WIDEST, out.width))


def _chart(item: Frontier, rows: Sequence[Row], width: int) -> list[str]:
    """Spread upwards, limit to the right; where two marks would be in one place the more telling one stands."""
    right, top = rows[-1]["limit"], max(row["spread"] for row in rows)
    if right <= 0 or top <= 0:
        return []
    labels = [f"{top * (TALL - 1 - line) / (TALL - 1):.2f}" for line in range(TALL)]
    margin = max(map(len, labels))
    columns = width - margin - 2
    grid = [[" "] * columns for _ in range(TALL)]
    for column, at, mark in _marks(rows, KNEE if item.exact else MAYBE):
        x, y = round(column / right * (columns - 1)), TALL - 1 - round(at / top * (TALL - 1))
        if _telling(mark) > _telling(grid[y][x]):
            grid[y][x] = mark
    shown = [labels[line] if line % 5 == 0 else "" for line in range(TALL)]
    lines = [f"{label:>{margin}} ┤{''.join(row)}".rstrip() for label, row in zip(shown, grid, strict=True)]
    middle = right / 2 if item.against is Against.GIB else right // 2
    scale = _scale([0, middle, right] if middle else [0, right], columns, 1 if item.against is Against.GIB else 0)
    legend = f"{PROVEN} spread, proven  {FOUND} spread, not proven  {BOUND} bound"
    legend += f"  {KNEE if item.exact else MAYBE} {_knee(item)}" if item.knee is not None else ""
    return [
        f"spread in points, against {_unit(item)}", *lines, f"{'':>{margin}} └{'─' * columns}",
        f"{'':>{margin}}  {scale}", f"{'':>{margin}}  {legend}",
    ]  # fmt: skip


def _scale(values: Sequence[float], columns: int, digits: int) -> str:
    """Numbers below their places; the last one ends where the chart does."""
    line = ""
    for value in values:
        word = f"{value:.{digits}f}" if value else "0"
        place = min(round(value / values[-1] * (columns - 1)), columns - len(word))
        line = f"{line:<{place}}{word}"
    return line


def _marks(rows: Sequence[Row], knee: str) -> list[tuple[float, float, str]]:
    """Limit, spread and mark of all there is to see."""
    bounds = [(row["limit"], row["bound"], BOUND) for row in rows]
    return bounds + [(r["limit"], r["spread"], knee if r["knee"] else PROVEN if r["exact"] else FOUND) for r in rows]


def _telling(mark: str) -> int:
    return (" ", BOUND, FOUND, PROVEN, MAYBE, KNEE).index(mark)


def _words(item: Frontier, rows: Sequence[Row], shown: Sequence[Row]) -> list[str]:
    """What is proven, what is left out, and where the knee is."""
    proven, widest = sum(row["exact"] for row in rows), max(rows, key=lambda row: row["gap"])
    what = "point" if item.against is Against.GIB else "limit"
    gap = f"gap {widest['gap']:.2f} at {_counted(item, widest)}"
    if len(rows) == 1:
        known = f"the only {what} is proven" if proven else f"the only {what} is not proven, {gap}"
    elif proven == len(rows):
        known = f"all {len(rows)} {what}s are proven"
    else:
        known = f"{proven} of {len(rows)} {what}s {'is' if proven == 1 else 'are'} proven, largest {gap}"
    beyond = "beyond it" if len(rows) == 1 else "between or beyond them"
    known += "" if item.front.complete else f"; others may lie {beyond}"
    return [f"{known}; {item.front.spent:.1f} s", *_left_out(rows, shown, what), _of_knee(item, rows)]


def _left_out(rows: Sequence[Row], shown: Sequence[Row], what: str) -> list[str]:
    """What is said of rows that are not shown: where it is not proven nobody knows what they would gain."""
    left = [row for row in rows if not any(row is each for each in shown)]
    if not left:
        return []
    several = f"1 {what}" if len(left) == 1 else f"{len(left)} {what}s"
    if all(row["exact"] for row in left):
        return [f"{several} gain{'s' if len(left) == 1 else ''} nothing, or too little to show (--all)"]
    return [f"for {several} nothing better was found, or too little to show (--all)"]


def _of_knee(item: Frontier, rows: Sequence[Row]) -> str:
    """Where the knee is, or why there is none."""
    alike = [row for row in rows if _are_alike(row, rows[-1])]
    gained, marked = _gained(rows, rows[-1]), next((row for row in rows if row["knee"]), None)
    if marked is not None:
        share = f"{100 * _gained(rows, marked) / gained:.0f} % of what {'can be' if item.exact else 'was'} gained"
        return f"{_knee(item)}: {_counted(item, marked)}, spread {marked['spread']:.2f} points, {share}"
    if len(alike) == 1 and len({row["gave_way"] for row in rows}) > 1:
        return "no knee: within no other limit the same rules hold"
    if gained > 0:
        return "no knee: each more gains as much as the one before, or more"
    if not item.exact:
        return "no knee: no smaller spread was found, but none is ruled out"
    return f"no knee: nothing is gained{' beyond the repairs' if len(alike) < len(rows) else ''}"


def _gained(rows: Sequence[Row], row: Row) -> float:
    """Less spread than at the first limit with which it compares."""
    first = next(each for each in rows if _are_alike(each, row))
    return float(first["spread"] - row["spread"])
