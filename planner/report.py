"""Owns how plans, comparisons and findings look on a terminal: tables and lines, no decisions."""

import math
from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from planner import outlook, report_when
from planner.amounts import duration
from planner.finding import Finding, Level
from planner.plan import ROLLBACK, Looks, Migration, NodeLoad, Plan, PlanStatus
from planner.policy import RATES, Cheapest, Combine, Lookback, Profile, Resource

BAR = 20
"""Characters of a load bar."""
ROWS = 40
"""Nodes shown before the middle of the list is left out."""
WIDTH = 140
"""Columns when the output is not a terminal."""
NAME = 30
"""Columns of a guest's name."""
NEARLY = 0.01
"""Points of spread that are not worth a longer search: cpsat ends there."""
STATUS = {
    PlanStatus.OPTIMAL: "proven: no plan with these rules and limits has a smaller spread",
    PlanStatus.FEASIBLE: "good, not proven to be the best",
    PlanStatus.NO_ACTION: "nothing to do",
    PlanStatus.INFEASIBLE: "proven: not all rules can hold; this is the best effort",
    PlanStatus.UNKNOWN: "nothing found within the time limit",
}
WITHIN = {
    PlanStatus.OPTIMAL: "proven: no plan within balanciness is cheaper",
    PlanStatus.FEASIBLE: "within balanciness, not proven to be the cheapest",
}
"""Where the cheapest plan was asked for and balanciness is reached."""
REPAIRED = {
    PlanStatus.OPTIMAL: "proven: rules are repaired with the fewest migrations; balance was not looked for",
    PlanStatus.FEASIBLE: "rules are repaired as far as possible; balance was not looked for",
    PlanStatus.NO_ACTION: "nothing to repair",
}
"""Where only rules were to be repaired."""
SPREAD = {
    Combine.WORST: "the spread is the worst",
    Combine.WEIGHTED: "the spread is the weighted mean",
    Combine.ORDER: "the spread is the first",
}
"""What the spread of several resources is."""

LEVELS = {Level.OK: "green", Level.NOTE: "", Level.WARNING: "yellow", Level.ERROR: "red"}
"""How findings look."""


def console(*, stderr: bool = False) -> Console:
    """A console that keeps a fixed width when its output goes to a file or a pipe."""
    result = Console(stderr=stderr, highlight=False, markup=False)
    return result if result.is_terminal else Console(stderr=stderr, highlight=False, markup=False, width=WIDTH)


def plan(item: Plan, out: Console, *, explained: bool = False) -> None:
    """Loads before and after, migrations with their reasons, spread, bound and gap; explained: what each gains."""
    for resource in item.resources:
        out.print(_loads(item, resource))
    if item.migrations:
        out.print(_migrations(item, explained))
    for line in report_when.lines(item):
        _line(out, line)
    if explained:
        _names(out, "No gain in spread", [f"{_guest(m.vmid, m.name)}: {m.reason}" for m in _ties(item)])
    _names(out, "Still broken", item.violations_after)
    _names(out, "Stranded", [f"{_guest(s.vmid, s.name)} on {s.node}: {s.reason}" for s in item.stranded])
    _names(out, "Gave way", item.gave_way)
    _clash(out, item)
    _line(out, verdict(item))


def _clash(out: Console, item: Plan) -> None:
    """What cannot hold together, and what would help."""
    if not item.conflict:
        return
    minimal = " (without any one of these the others can)" if item.conflict_minimal else ""
    _line(out, f"These cannot hold together{minimal}:", "red")
    for line in item.conflict:
        _line(out, f"  {line}")
    if item.helps:
        _line(out, "It would help to:", "red")
        for line in item.helps:
            _line(out, f"  {line}")


def verdict(item: Plan) -> str:
    """The plan in one or two lines."""
    spread = item.spread
    lines = [f"{item.solver}: {item.status.value} ({known(item)})"]
    if item.status is PlanStatus.NO_ACTION:
        lines.append(f"spread {spread.before:.2f} points, tolerated {item.balanciness:g}; no rule is broken")
        return "\n".join([*lines, *remarks(item), *outlook.words(item)])
    limit = "" if item.max_migrations is None else f" of at most {item.max_migrations}"
    most_gib = "" if item.max_gib is None else f" of at most {item.max_gib:g}"
    lines.append(
        f"spread {spread.before:.2f} -> {spread.after:.2f} points, {_bound(item)}; "
        f"{len(item.migrations)}{limit} migrations, {item.moved_gib:.1f}{most_gib} GiB, {item.seconds:.1f} s"
    )
    return "\n".join([*lines, *remarks(item), *outlook.words(item)])


def remarks(item: Plan) -> list[str]:
    """What there is to say beside the spread: cost, nodes that are stuck, each resource, broken rules."""
    if item.status is PlanStatus.NO_ACTION:
        return _beside(item)
    lines = _cheapest(item) + _beside(item)
    if len(item.resources) > 1:
        each = (f"{name.value} {s.before:.2f} -> {s.after:.2f}" for name, s in item.spreads.items())
        lines.append(f"{SPREAD[item.combine]} of: {', '.join(each)}")
    if item.violations_before:
        lines.append(f"broken rules {len(item.violations_before)} -> {len(item.violations_after)}")
    return lines


def known(item: Plan) -> str:
    """What is known of a plan; within balanciness a smaller spread was not looked for where the cheapest was asked."""
    if item.solver == ROLLBACK:
        return "back to where guests were" + (f", breaking again {', '.join(item.lifted)}" if item.lifted else "")
    if item.cheapest and item.balanced and item.status in WITHIN:
        return WITHIN[item.status]
    if item.repair_only and item.status in REPAIRED:
        return REPAIRED[item.status]
    if item.drained and item.status is PlanStatus.OPTIMAL:
        return f"proven: no plan that {_of_drained(item)} has a smaller spread"
    if item.status is PlanStatus.FEASIBLE and _was_balanced(item):
        return "within balanciness: rules are repaired, a smaller spread was not looked for"
    if item.status is PlanStatus.FEASIBLE and item.gap is not None and round(item.gap, 4) <= NEARLY:
        nearly = f"proven: at most {NEARLY:g} points from the smallest possible spread"
        return f"{nearly} of a plan that {_of_drained(item)}" if item.drained else nearly
    return STATUS[item.status]


def _of_drained(item: Plan) -> str:
    """Which plans alone were looked for."""
    return f"migrates only guests of {', '.join(item.drained)}"


def _was_balanced(item: Plan) -> bool:
    changes = item.spreads.values() if item.combine is Combine.ORDER else (item.spread,)
    return all(change.before <= item.balanciness for change in changes)


def _bound(item: Plan) -> str:
    if item.spread.bound is None:
        return "no bound" if item.solver == ROLLBACK else "no bound: this plan breaks a rule that held"
    if item.cheapest and item.balanced:
        return f"tolerated {item.balanciness:g}"
    return f"bound {item.spread.bound:.2f}, gap {item.gap or 0:.2f}"


def _cheapest(item: Plan) -> list[str]:
    """How far a plan that should be cheap is from the cheapest."""
    if item.cheapest is None:
        return []
    if not item.balanced:
        out = (item.spread.bound or 0) > item.balanciness and not item.drained  # then others might help
        return [f"balanciness {item.balanciness:g} is {'out of reach: proven' if out else 'not reached'}"]
    if item.cost_bound is None or item.cost_gap is None:
        return []
    if item.cost_gap < 1e-9:
        return ["cheapest: proven"]
    unit, digits = ("migrations", 0) if item.cheapest is Cheapest.MIGRATIONS else ("GiB", 1)
    return [f"at least {item.cost_bound:.{digits}f} {unit} are needed, gap {item.cost_gap:.{digits}f}"]


def _beside(item: Plan) -> list[str]:
    """What is balanced where nodes are stuck."""
    if not item.stuck or item.spread.changeable_before is None:
        return []
    several = len(item.resources) > 1
    names = [
        f"{s.node} ({s.resource.value} {s.load:.1f} %)" if several else f"{s.node} ({s.load:.1f} %)" for s in item.stuck
    ]
    after = "" if item.status is PlanStatus.NO_ACTION else f" -> {item.spread.changeable_after or 0:.2f}"
    return [
        f"nothing can change the load of {', '.join(names)}: the spread over the other nodes is "
        f"{item.spread.changeable_before:.2f}{after}"
    ]


def _guest(vmid: int, name: str) -> str:
    return f"{vmid} ({name})" if name else str(vmid)


def _names(out: Console, title: str, lines: Sequence[str]) -> None:
    for line in lines:
        _line(out, f"{title}: {line}", "yellow")


def _loads(item: Plan, resource: Resource) -> Table:
    table = Table(box=None, pad_edge=False, title=measured(item, resource), title_justify="left")
    for name, justify in (("node", "left"), ("before", "right"), ("", "left"), ("after", "right"), ("", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    nodes = list(item.nodes)
    for node in _shown(nodes, resource):
        if node is None:
            table.add_row(f"… {len(nodes) - ROWS} nodes between", "", "", "", "")
            continue
        before, after = node.load_before[resource], node.load_after[resource]
        table.add_row(node.node, f"{before:.1f} %", bar(before), f"{after:.1f} %", bar(after))
    return table


def measured(item: Plan, resource: Resource) -> str:
    """What the loads are of, and of when."""
    return f"{resource.value}{', ' if resource in RATES else f' {item.mode.value}, '}{when(item.looks)}".rstrip(", ")


def when(looks: Looks) -> str:
    """Over which time the figures are; empty for the present."""
    if looks == Looks():
        return ""
    ahead = " and the next day" if looks.forecast else ""
    if looks.window is Lookback.NOW:
        return f"now{ahead}" if looks.forecast else ""
    span = f"the last {looks.window}{ahead}"
    if looks.profile is Profile.ROBUST or looks.forecast:
        return f"in the worst of {looks.periods} periods of {span}"
    return f"{looks.profile} of {span}"


def _shown(nodes: list[NodeLoad], resource: Resource) -> list[NodeLoad | None]:
    """All nodes by name; of many only the fullest and the emptiest, with a gap (None) between."""
    if len(nodes) <= ROWS:
        return list(nodes)
    by_load = sorted(nodes, key=lambda node: -node.load_before[resource])
    return [*by_load[: ROWS // 2], None, *by_load[-ROWS // 2 :]]


def bar(percent: float) -> Text:
    """A load as a bar: full blocks up to 100 %, red above 90."""
    filled = min(BAR, max(0, round(percent * BAR / 100)))
    style = "red" if percent > 90 else "green" if percent < 75 else "yellow"
    return Text("█" * filled + "·" * (BAR - filled), style=style)


def _migrations(item: Plan, explained: bool) -> Table:
    table = Table(box=None, pad_edge=False, title=f"{len(item.migrations)} migrations", title_justify="left")
    gain = ("without it",) if explained else ()
    begins = ("begins",) if item.schedule.seconds else ()
    for name in ("", "guest", "name", "type", "from", "to", "size", *begins, *gain, "why"):
        right = name in ("", "guest", "size", *begins, *gain)
        most = NAME if name == "name" else None  # the number says who is meant
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "why", max_width=most)
    for number, m in enumerate(item.migrations, 1):
        size = f"{(m.memory_mib + m.local_disk_mib) / 1024:.1f} GiB"
        begin = (duration(m.begin),) if begins else ()
        without = (f"{m.spread_without:.2f}",) if explained else ()
        table.add_row(str(number), str(m.vmid), m.name, m.type, m.source, m.target, size, *begin, *without, m.reason)
    return table


def _ties(item: Plan) -> list[Migration]:
    """Migrations without which the spread would look the same."""
    return [m for m in item.migrations if f"{m.spread_without:.2f}" == f"{item.spread.after:.2f}"]


def comparison(frame: pd.DataFrame, out: Console) -> None:
    """One row per solver."""
    table = Table(box=None, pad_edge=False)
    heads = ("solver", "status", "before", "after", "bound", "gap", "migrations", "GiB", "violations", "seconds")
    for name in heads:
        table.add_column(name, justify="left" if name in ("solver", "status") else "right", no_wrap=True)
    for row in frame.to_dict("records"):
        known = not math.isnan(row["bound"])
        table.add_row(
            row["solver"], row["status"], f"{row['before']:.2f}", f"{row['after']:.2f}",
            f"{row['bound']:.2f}" if known else "-",
            f"{max(0.0, row['after'] - row['bound']):.2f}" if known else "-",
            str(row["migrations"]), f"{row['gib']:.1f}", str(row["violations"]), f"{row['seconds']:.2f}",
        )  # fmt: skip
    out.print(table)


def findings(items: Sequence[Finding], out: Console) -> None:
    """By level, what matters most last; below each the way to mend it."""
    for level in Level:
        here = [item for item in items if item.level is level]
        if here:
            _line(out, level.value, LEVELS[level])
        for item in here:
            _line(out, f"  {' '.join(item.what.split())}")
            for advice in item.advice:
                _line(out, f"      {advice}", "dim")
    counts = {level: sum(item.level is level for item in items) for level in reversed(Level)}
    said = [f"{n} {level.value}{'s' if n != 1 and level is not Level.OK else ''}" for level, n in counts.items()]
    _line(out, ", ".join(said))


def _line(out: Console, text: str, style: str = "") -> None:
    """A line that is not broken, however long: people search for its words."""
    out.print(Text(text, style=style), soft_wrap=True)
