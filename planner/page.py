"""Owns what a page about a plan says: sentences, figures and tables as texts, cut where they would be too long."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from planner import report
from planner.amounts import MIB_PER_GIB, duration
from planner.plan import ROLLBACK, Lost, Migration, Plan, PlanStatus
from planner.policy import Resource

if TYPE_CHECKING:
    import pandas as pd

Row = tuple[str, ...]
CELL: Final = 10
"""Bytes of the markup of a cell..."""
LINE: Final = 30
"""...and of a row, beside its cells."""
WORDS: Final = 400
"""Characters of one text: longer ones are cut."""
CUT: Final = "…"
FEW: Final = 4
"""Guests in a line of the way back."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under heads. Heads that begin with # are of figures; `named`: the column that says what a row is about."""

    caption: str
    heads: Row
    rows: tuple[Row, ...]
    total: int
    """Rows that there are; fewer may be shown."""
    named: int = 0
    elsewhere: str = "the plan file has all of them"
    """Where the others are."""

    @property
    def left_out(self) -> int:
        """Rows that are not shown."""
        return self.total - len(self.rows)

    @property
    def figures(self) -> tuple[int, ...]:
        """Columns of figures: 1, 2, ..."""
        return tuple(n for n, head in enumerate(self.heads, 1) if head.startswith("#"))

    @property
    def classes(self) -> str:
        """Of the style sheet: columns of figures, and whether the last one is of words."""
        return " ".join([*(f"c{n}" for n in self.figures), *([] if len(self.heads) in self.figures else ["words"])])


class Figure(NamedTuple):
    """A figure with its name and what there is to say of it."""

    name: str
    value: str
    says: str = ""


def table(caption: str, heads: Row, rows: Iterable[Row], room: int, named: int = 0) -> Table | None:
    """The first rows, as many as take no more bytes than there is room for; None where there are none."""
    whole = [tuple(map(cut, row)) for row in rows]
    shown, left = [], room
    for row in whole:
        left -= LINE + sum(CELL + len(escape(cell).encode()) for cell in row)
        if left < 0:
            break
        shown.append(row)
    return Table(caption, heads, tuple(shown), len(whole), named) if whole else None


def cut(text: str) -> str:
    """Text that is not too long."""
    return text if len(text) <= WORDS else f"{text[: WORDS - 1]}{CUT}"


def heading(item: Plan, cluster: str) -> str:
    """What the page is about."""
    what = "The way back" if item.solver == ROLLBACK else "Migration plan"
    return f"{what} for cluster {cluster}" if cluster else what


def verdict(item: Plan) -> str:
    """The plan in two sentences: what it does, and what is known of it."""
    known = _sentence(report.known(item))
    before, after, many = item.spread.before, item.spread.after, len(item.migrations)
    if item.status is PlanStatus.NO_ACTION:
        return f"{known} The spread is {before:.2f} points, tolerated are {item.balanciness:g}, and no rule is broken."
    if not many:
        return f"No migrations: the spread stays at {before:.2f} points. {known}"
    migrations = f"{many} migration" if many == 1 else f"{many} migrations"
    verb = "leaves" if many == 1 else "leave"
    brings = "brings" if many == 1 else "bring"
    if f"{before:.2f}" == f"{after:.2f}":
        return f"{migrations} {verb} the spread at {after:.2f} points. {known}"
    return f"{migrations} {brings} the spread from {before:.2f} to {after:.2f} points. {known}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def figures(item: Plan) -> Iterator[Figure]:
    """The figures that matter most."""
    spread, idle = item.spread, item.status is PlanStatus.NO_ACTION
    yield Figure("Status", item.status.value.replace("_", " "), f"by {item.solver}")
    after = "" if idle else f" → {spread.after:.2f}"
    yield Figure("Spread", f"{spread.before:.2f}{after}", f"points; tolerated {item.balanciness:g}")
    if spread.bound is not None and not idle:
        yield Figure("Bound", f"{spread.bound:.2f}", f"points, proven; gap {item.gap or 0:.2f}")
    limit = "no limit" if item.max_migrations is None else f"of at most {item.max_migrations}"
    yield Figure("Migrations", str(len(item.migrations)), limit)
    most = "no limit" if item.max_gib is None else f"of at most {item.max_gib:g}"
    yield Figure("Copied", f"{item.moved_gib:.1f} GiB", most)
    yield from _times(item)
    broken = len(item.violations_before)
    yield Figure("Broken rules", str(broken) if idle else f"{broken} → {len(item.violations_after)}")


def _times(item: Plan) -> Iterator[Figure]:
    if item.schedule.seconds > 0:
        yield Figure("Takes about", duration(item.schedule.seconds), f"one by one {duration(item.schedule.one_by_one)}")
    down = [m.downtime for m in item.migrations if m.type == "ct" and m.downtime > 0]
    if down:
        yield Figure("Containers down", str(len(down)), f"the longest about {duration(max(down))}")


def loads(item: Plan, resource: Resource, title: str, room: int) -> Table | None:
    """Loads of all nodes."""
    both = ((n.node, n.load_before[resource], n.load_after[resource]) for n in item.nodes)
    rows = ((node, f"{before:.1f}", f"{after:.1f}", f"{after - before:+.1f}") for node, before, after in both)
    return table(f"{title} in percent of each node", ("node", "#before", "#after", "#change"), rows, room)


def migrations(item: Plan, room: int) -> Table | None:
    """All migrations in the order in which they start."""
    about = ("#", "guest", "name", "from", "to", "#GiB", "type")
    heads = (*about, "#wave", "#begins", "#takes", "#down", "waits for", "why")
    rows = (_migration(wave, each) for wave, these in enumerate(item.waves, 1) for each in these)
    return table("Migrations in the order in which they start", heads, rows, room, named=1)


def _migration(wave: int, m: Migration) -> Row:
    begins, takes = (duration(m.begin), duration(m.end - m.begin)) if m.end > 0 else ("", "")
    down = duration(m.downtime) if m.downtime >= 1 else ""
    why = f"stops on its way; {m.reason}" if m.bypass and "way" not in m.reason else m.reason
    return (
        str(m.number), str(m.vmid), m.name, m.source, m.target, size(m), m.type, str(wave), begins, takes, down,
        ", ".join(map(str, m.after)), why,
    )  # fmt: skip


def size(m: Migration) -> str:
    """GiB that a migration copies."""
    return f"{(m.memory_mib + m.local_disk_mib) / MIB_PER_GIB:.1f}"


def waves(item: Plan, room: int) -> Table | None:
    """What is reached when each wave has ended."""
    pairs = zip(item.waves, item.schedule.checkpoints, strict=False)
    rows = (
        (str(n), str(len(wave)), duration(point.seconds), f"{point.spread:.2f}", str(point.violations))
        for n, (wave, point) in enumerate(pairs, 1)
    )
    heads = ("#wave", "#migrations", "#ended after", "#spread then", "#broken rules then")
    return table("What is reached after each wave", heads, rows, room)


def rules(item: Plan, room: int) -> Table | None:
    """Rules that are broken, before or after the plan, and what becomes of them."""
    before, after = dict.fromkeys(item.violations_before), dict.fromkeys(item.violations_after)
    rows = [(line, "stays broken") for line in before if line in after]
    rows += [(line, "newly broken") for line in after if line not in before]
    rows += [(line, "repaired") for line in before if line not in after]
    return table("Broken rules", ("what is broken", "with the plan"), rows, room)


def stranded(item: Plan, room: int) -> Table | None:
    """Guests that should be migrated and cannot be."""
    rows = ((str(s.vmid), s.name, s.node, s.reason) for s in item.stranded)
    return table("Guests that should be migrated and cannot be", ("guest", "name", "on", "why"), rows, room)


def losses(item: Plan, room: int) -> Table | None:
    """Nodes whose loss is not survived."""
    if item.survival is None:
        return None
    before, after = ({lost.node: lost for lost in part} for part in (item.survival.before, item.survival.after))
    names = dict.fromkeys((*before, *after))
    rows = ((name, *_lost(before.get(name)), *_lost(after.get(name))) for name in names)
    heads = ("node", "guests without a place today", "#GiB", "after the plan", "#GiB")
    return table("Nodes whose loss is not survived", heads, rows, room)


def _lost(lost: Lost | None) -> Row:
    if lost is None:
        return ("none: survived", "")
    guests = ", ".join(f"{vmid} ({name})" if name else str(vmid) for vmid, name in lost.guests.items())
    return (guests if lost.proven else f"{guests} (not proven)", f"{lost.missing_mib / MIB_PER_GIB:.1f}")


def way_back(item: Plan, room: int) -> Table | None:
    """The waves of the way back, a few guests in a line."""
    heads = ("#wave", "guests and where they go")
    lines = ((n, wave[at : at + FEW]) for n, wave in enumerate(item.rollback, 1) for at in range(0, len(wave), FEW))
    rows = ((str(n), "; ".join(f"{m.vmid} {m.source} → {m.target}" for m in few)) for n, few in lines)
    return table("The way back from the end of the plan", heads, rows, room)


def frontier(frame: "pd.DataFrame", room: int) -> Table | None:
    """What each limit buys; columns as in `planner.frontier.COLUMNS`."""
    heads = ("#at most", "#migrations", "#GiB", "#spread", "#bound", "#gain", "#broken rules", "what is known")
    found = table("The best spread under each limit", heads, (_point(row) for row in frame.to_dict("records")), room)
    return found and replace(found, elsewhere="the command frontier shows all of them")


def _point(row: Mapping[Hashable, Any]) -> Row:
    points = ["" if row[name] != row[name] else f"{row[name]:.2f}" for name in ("spread", "bound", "gain")]
    words = ["proven the best" if row["exact"] else "best found", *(["the knee"] if row["knee"] else [])]
    words += [] if row["reachable"] else ["no safe way to all of it is known"]
    limit, gib = f"{row['limit']:.6g}", f"{row['gib']:.1f}"
    return (limit, str(row["migrations"]), gib, *points, str(row["violations"]), "; ".join(words))


def lines(items: Sequence[str], room: int) -> tuple[tuple[str, ...], int]:
    """The first of some lines, and how many are left out."""
    shown = table("", ("",), ((item,) for item in items), room)
    return ((), 0) if shown is None else (tuple(row[0] for row in shown.rows), shown.left_out)
