"""Owns how lists of what happened fit a terminal: all in one row where there is room, and else the reasons below."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

ROOMY: Final = 120
"""Columns of a terminal from which on all is in one row."""
INDENT: Final = 4
CLUSTER, WHY = "cluster", "why"
Row = Mapping[str, str | Text]
"""Name of a column to what stands there."""


def show(rows: Sequence[Row], out: Console, *, right: Collection[str], spare: Collection[str]) -> None:
    """A table with the columns of its rows. `right`: those of numbers; `spare`: those that a narrow terminal lacks, as
    it lacks the cluster where there is but one."""
    if out.width >= ROOMY:
        out.print(_table(rows, list(rows[0]), right))
        return
    less = {*spare, WHY} | ({CLUSTER} if len({str(row[CLUSTER]) for row in rows}) == 1 else set())
    table = _table(rows, [name for name in rows[0] if name not in less], right)
    whys = [Text(), *(Text(str(row[WHY])) for row in rows)]
    for line, why in zip(out.render_lines(table, pad=False), whys, strict=True):  # none of them is broken
        out.print(Segments([*line, Segment.line()]))
        if why:
            out.print(Padding(why, (0, 0, 0, INDENT)))


def _table(rows: Sequence[Row], names: Sequence[str], right: Collection[str]) -> Table:
    result = Table(box=None, pad_edge=False)
    for name in names:
        result.add_column(name, justify="right" if name in right else "left", no_wrap=name != WHY)
    for row in rows:
        result.add_row(*(row[name] for name in names))
    return result
