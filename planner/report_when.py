"""Owns how the order of a plan looks on a terminal: how long it takes, what runs when, what each wave reaches."""

from collections.abc import Sequence

from planner.amounts import duration
from planner.plan import Checkpoint, Migration, Plan

COLUMNS = 40
"""Characters of the bars."""
ROWS = 24
"""Migrations that have a bar each; of more than that each wave has one."""
SHOWN = 4
"""Waves at the beginning and at the end whose outcome is shown, where there are many."""


def lines(item: Plan) -> list[str]:
    """Nothing where the plan does not say how long it takes."""
    if item.schedule.seconds <= 0 or not item.migrations:
        return []
    return [*_bars(item), _time(item), *_downtime(item.migrations), *_waves(item)]


def _time(item: Plan) -> str:
    """How long it takes, and under which limits."""
    schedule = item.schedule
    text = f"takes about {duration(schedule.seconds)}"
    if duration(schedule.bound) != duration(schedule.seconds):
        text += f", at least {duration(schedule.bound)}"
    if duration(schedule.one_by_one) != duration(schedule.seconds):
        text += f"; one by one {duration(schedule.one_by_one)}"
    limits = f"at most {schedule.parallel} at once, {schedule.per_source} from and {schedule.per_target} to a node"
    network = "" if schedule.bandwidth is None else f", {schedule.bandwidth:g} MiB/s"
    return f"{text} ({limits}{network}{f'; {schedule.pace}' if schedule.pace else ''})"


def _bars(item: Plan) -> list[str]:
    """When each migration, or wave, is under way."""
    if len(item.migrations) <= ROWS:
        digits = len(str(len(item.migrations)))
        rows = [(f"{m.number:>{digits}} guest {m.vmid}", m.begin, m.end) for m in item.migrations]
    else:
        waves = [wave for wave in item.waves if wave]
        rows = [
            (_wave(n, wave), min(m.begin for m in wave), max(m.end for m in wave)) for n, wave in enumerate(waves, 1)
        ]
    if len(rows) > ROWS:
        rows = [*rows[: ROWS // 2], ("…", 0.0, 0.0), *rows[-ROWS // 2 :]]
    width, whole = max(len(name) for name, _, _ in rows), item.schedule.seconds
    drawn = [f"{name:<{width}}  {_bar(begin / whole, end / whole)}".rstrip() for name, begin, end in rows]
    until = duration(whole)
    return [f"{'when':<{width}}  0{until:>{COLUMNS - 1}}", *drawn]


def _wave(number: int, wave: Sequence[Migration]) -> str:
    return f"wave {number}: {len(wave)} migration{'s' if len(wave) > 1 else ''}"


def _bar(begin: float, end: float) -> str:
    """A bar from one share of the whole to another; whatever takes time is seen."""
    if end <= begin:
        return ""
    first = min(COLUMNS - 1, int(begin * COLUMNS))
    last = min(COLUMNS, max(first + 1, round(end * COLUMNS)))
    return "·" * first + "█" * (last - first) + "·" * (COLUMNS - last)


def _downtime(migrations: Sequence[Migration]) -> list[str]:
    """What restarts, and for how long it is down."""
    down = [m for m in migrations if m.downtime > 0 and m.type == "ct"]
    if not down:
        return []
    most = max(down, key=lambda m: m.downtime)
    longest = f"{duration(most.downtime)} (guest {most.vmid})"
    if len(down) == 1:
        return [f"1 container restarts and is down for about {longest}"]
    return [f"{len(down)} containers restart and are down, the longest for about {longest}"]


def _waves(item: Plan) -> list[str]:
    """What is reached if the plan is cut off after a wave."""
    points = list(item.schedule.checkpoints)
    if len(points) < 2:
        return []
    shown: list[Checkpoint | None] = list(points)
    if len(points) > 2 * SHOWN + 1:
        shown = [*points[:SHOWN], None, *points[-SHOWN:]]
    spreads = " -> ".join("…" if point is None else f"{point.spread:.2f}" for point in shown)
    result = [f"spread after each of {len(points)} waves: {spreads}"]
    if item.violations_before or any(point.violations for point in points):
        broken = " -> ".join("…" if point is None else str(point.violations) for point in shown)
        result.append(f"broken rules after each wave: {broken}")
    return result
