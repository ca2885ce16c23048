"""Owns how clusters and plans look in a notebook: small HTML without a script, for light and dark pages."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

from planner.again import NOTE
from planner.amounts import duration, gib
from planner.errors import PlannerError
from planner.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from rich.console import Console

    from planner.cluster import Cluster
    from planner.live import Live
    from planner.plan import Plan

COLUMNS = 110
"""Characters of a line of what a terminal shows."""
ROWS = 40
"""Rows of a table before its middle is left out."""
WIDE = 7
"""Width of a bar, in em."""
CALM, BUSY, FULL = "#0072B2", "#E69F00", "#D55E00"
"""Colours of loads below 75 %, below 90 % and above, which colour-blind people can tell apart (Okabe and Ito)."""
CELL = "text-align:{};padding:.15em .7em .15em 0;border:0;background:none;white-space:nowrap;vertical-align:top"
FAINT = "opacity:.75"
CHART = (360, 80)
"""Pixels of the course of a search."""
Html = str
"""Text in which everything from outside is escaped."""


def show(item: "Plan") -> None:
    """Display a plan: in a notebook as HTML, elsewhere as a terminal shows it."""
    if in_notebook():
        from IPython.display import display

        display(item)  # type: ignore[no-untyped-call]
        return
    from planner import report

    report.plan(item, report.console())


def in_notebook() -> bool:
    """Whether what is displayed arrives in a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def cluster(item: "Cluster") -> Html:
    """What a cluster is: where it comes from, its nodes with their loads, what is assumed, what is not known."""
    from planner.capacity import TOTAL, USED

    count, running = item.guests["node"].value_counts(), int((item.guests["status"] == "running").sum())
    facts = [
        f"{len(item.nodes)} nodes", f"{len(item.guests)} guests, {running} of them running", *_rules(item),
        _moment(item.snapshot.taken_at),
    ]  # fmt: skip
    rows = []
    for row in _by_load(item.nodes).to_dict("records"):
        bars = [
            _bar(100 * row[USED[resource]] / row[TOTAL[resource]]) if row[TOTAL[resource]] else "" for resource in TOTAL
        ]
        state = "maintenance" if row["maintenance"] else str(row["status"])
        size = f"{gib(row['memory_mib'])}, {row['cpu_mcpu'] // 1000} threads" if row["memory_mib"] else ""
        rows.append([_safe(row["node"]), _safe(state), *bars, str(int(count.get(row["node"], 0))), _safe(size)])
    heads = ("node", "", *(resource.value for resource in TOTAL), "guests", "size")
    return _page(
        _title(_name(item), [" · ".join(facts)]),
        _table(heads, rows, right=("guests",)),
        _list("What if", item.assumed.steps),
        _list("Only part of it is seen", item.partial),
        _notes(item.notes, item.assumed.steps),
    )


def plan(item: "Plan") -> Html:
    """What a plan does: its outcome, loads before and after, its migrations, and what is left."""
    from planner import report

    first, *rest = report.verdict(item).splitlines()
    takes = [f"takes about {duration(item.schedule.seconds)}"] if item.schedule.seconds else []
    return _page(
        _title(first, [*rest, *takes]),
        *(_loads(item, number) for number in range(len(item.resources))),
        _migrations(item),
        _list("Still broken", item.violations_after),
        _list("Stranded", (f"{_guest(s.vmid, s.name)} on {s.node}: {s.reason}" for s in item.stranded)),
        _list("Gave way", item.gave_way),
        _list("These cannot hold together", item.conflict),
        _list("It would help to", item.helps),
        _list("What if", item.what_if),
        _notes(item.notes, item.what_if),
    )


def printed(show: "Callable[[Console], None]") -> Html:
    """What is shown on a terminal, as it is."""
    from rich.console import Console

    plain: dict[str, Any] = {"highlight": False, "markup": False, "force_terminal": False, "color_system": None}
    paper = Console(file=StringIO(), width=COLUMNS, **plain)
    show(paper)
    text = str(paper.file.getvalue())  # type: ignore[attr-defined]
    return f'<pre style="background:none;line-height:1.3;white-space:pre-wrap">{_safe_lines(text)}</pre>'


def live(item: "Live") -> Html:
    """How a search stands: a line, and its spread and bound over time."""
    return _page(_title(item.line(), ()), _course(item))


def _course(item: "Live") -> Html:
    """The best spread (blue) and the bound below it (red, dashed) as steps from the first to now."""
    history = item.history
    if history.empty:
        return ""
    wide, tall = CHART
    whole = max(item.seconds, 0.001)
    top = max(float(history["spread"].max()), 0.001)
    lines = []
    for name, style in (("spread", f"stroke:{CALM}"), ("bound", f"stroke:{FULL};stroke-dasharray:4 3")):
        known = history[history[name].notna()]
        xs = [wide * min(1.0, seconds / whole) for seconds in known["seconds"]] + [float(wide)]
        ys = [tall * (1 - min(1.0, value / top)) for value in known[name]]
        steps = "".join(f"V{y + 1:.1f}H{x:.1f}" for x, y in zip(xs[1:], ys, strict=True))
        if ys:
            lines.append(f'<path d="M{xs[0]:.1f} {ys[0] + 1:.1f}{steps}" style="fill:none;stroke-width:2;{style}"/>')
    chart = (
        f'<svg width="{wide}" height="{tall + 2}" role="img" aria-label="{_safe(item.line())}">{"".join(lines)}</svg>'
    )
    legend = f"spread (blue) and bound (dashed), 0 to {top:.2f} points; 0 to {whole:.0f} s"
    return f'{chart}<div style="{FAINT}">{legend}</div>'


def _loads(item: "Plan", number: int) -> Html:
    resource = item.resources[number]
    loads = [(node.node, node.load_before[resource], node.load_after[resource]) for node in item.nodes]
    if len(loads) > ROWS:
        loads.sort(key=lambda load: -load[1])
    rows = [[_safe(node), _bar(before), _bar(after)] for node, before, after in loads]
    return _table((f"{resource.value} {item.mode.value}", "before", "after"), rows)


def _migrations(item: "Plan") -> Html:
    if not item.migrations:
        return ""
    heads = ("", "wave", "guest", "name", "from", "to", "size", "begins", "why")
    rows = [
        [
            str(m.number), str(wave), str(m.vmid), _safe(m.name), _safe(m.source), _safe(m.target),
            gib(m.memory_mib + m.local_disk_mib), duration(m.begin), _long(m.reason),
        ]
        for wave, some in enumerate(item.waves, 1)
        for m in some
    ]  # fmt: skip
    return _table(heads, rows, right=("", "wave", "guest", "size", "begins"))


def _notes(notes: Iterable[str], steps: Sequence[str]) -> Html:
    """Notes, without those that only repeat what is assumed."""
    return _list("Note", (note for note in notes if note.removeprefix(NOTE) not in steps))


def _name(item: "Cluster") -> str:
    """The name of the cluster, as far as Proxmox VE tells it."""
    status = item.snapshot.get("/cluster/status")
    rows = status if isinstance(status, list) else []
    names = (row.get("name") for row in rows if isinstance(row, dict) and row.get("type") == "cluster")
    return f"Cluster {plain(str(next(names, '') or ''))}".strip()


def _by_load(nodes: "pd.DataFrame") -> "pd.DataFrame":
    """Nodes by name; of many the fullest and the emptiest are shown."""
    if len(nodes) <= ROWS:
        return nodes
    load = nodes["memory_used_mib"] / nodes["memory_mib"].where(nodes["memory_mib"] > 0)
    return nodes.loc[load.sort_values(ascending=False).index]


def _rules(item: "Cluster") -> list[str]:
    try:
        number = item.rules["rule"].nunique()
    except PlannerError as error:  # settings that make no sense are said, and not in the way
        return [str(error)]
    return [f"{number} rules"]


def _moment(taken_at: str) -> str:
    try:
        return f"{datetime.fromisoformat(taken_at).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):  # not known
        return taken_at


def _guest(vmid: int, name: str) -> str:
    return f"{vmid} ({name})" if name else str(vmid)


def _safe(text: object) -> Html:
    return escape(plain(str(text)))


def _long(text: str) -> Html:
    """Text that may take several lines."""
    return f'<span style="white-space:normal;display:inline-block;max-width:26em">{_safe(text)}</span>'


def _safe_lines(text: str) -> Html:
    return "\n".join(_safe(line) for line in text.splitlines())


def _page(*parts: Html) -> Html:
    body = "".join(part for part in parts if part)
    return f'<div style="line-height:1.4;max-width:75em">{body}</div>'


def _title(title: str, facts: Iterable[str]) -> Html:
    lines = "".join(f'<div style="{FAINT}">{_safe(fact)}</div>' for fact in facts)
    return f'<div style="margin-bottom:.5em"><strong>{_safe(title)}</strong>{lines}</div>'


def _list(title: str, lines: Iterable[str]) -> Html:
    items = "".join(f"<li>{_safe(line)}</li>" for line in lines)
    return f'<div><strong>{title}</strong><ul style="margin:.1em 0 .5em">{items}</ul></div>' if items else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[Html]], right: Iterable[str] = ()) -> Html:
    """Heads that are named in `right` stand, like what is below them, on the right."""
    sides = [CELL.format("right" if head in right else "left") for head in heads]
    head = "".join(f'<th style="{side}">{_safe(text)}</th>' for side, text in zip(sides, heads, strict=True))
    lines = [
        "<tr>" + "".join(f'<td style="{side}">{cell}</td>' for side, cell in zip(sides, row, strict=True)) + "</tr>"
        for row in rows
    ]
    if len(lines) > ROWS:
        between = f'<td style="{CELL.format("left")}" colspan="{len(heads)}">… {len(rows) - ROWS} rows between</td>'
        lines = [*lines[: ROWS // 2], f"<tr>{between}</tr>", *lines[-ROWS // 2 :]]
    style = "border-collapse:collapse;margin:0 0 .6em;border:0;font-size:inherit"
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _bar(percent: float) -> Html:
    """A load as a bar with its number: the colour says nothing that the number does not."""
    colour = FULL if percent > 90 else CALM if percent < 75 else BUSY
    width = min(100.0, max(0.0, percent))
    track = f"display:inline-block;width:{WIDE}em;height:.7em;background:rgba(128,128,128,.25)"
    fill = f"display:block;width:{width:.1f}%;height:100%;background:{colour}"
    number = "display:inline-block;width:4.2em;text-align:right;padding-right:.5em"
    return f'<span style="{number}">{percent:.1f} %</span><span style="{track}"><span style="{fill}"></span></span>'
