"""Owns the report of a plan as one page of HTML: no script, nothing loaded from elsewhere, of a limited size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pandas as pd

from planner import outlook, page, report, svg
from planner.amounts import duration
from planner.page import Table
from planner.plain import plain
from planner.plan import Migration, NodeLoad, Plan
from planner.policy import Policy, Resource
from planner.rules import NodeState

if TYPE_CHECKING:
    from jinja2 import Template

    from planner.cluster import Cluster
    from planner.frontier import Frontier

LIMIT: Final = 198_000
"""Bytes of a page: migrations have the room that the rest leaves."""
PAIRS: Final = 100
"""Loads that are drawn, of all resources together."""
PANEL: Final = 20
"""Nodes of one picture."""
BARS: Final = 40
"""Migrations that have a bar in time each; of more each wave has one, up to as many."""
MARKS: Final = 40
"""Ends of waves that are marked; more would be a wall."""
ROOM: Final = {
    "loads": 9_000, "waves": 7_000, "rules": 9_000, "stranded": 6_000, "losses": 5_000, "way_back": 18_000,
    "frontier": 6_000, "gave_way": 4_000, "conflict": 5_000, "helps": 3_000, "notes": 6_000, "remarks": 4_000,
    "what_if": 4_000,
}  # fmt: skip
"""Bytes for rows and lines of each part."""


@dataclass(frozen=True, slots=True)
class Background:
    """What a page says beside the plan, which does not record it."""

    cluster: str = ""
    """Name."""
    release: str = ""
    """Of Proxmox VE."""
    settings: tuple[tuple[str, str], ...] = ()
    """Name and value."""


class Picture(NamedTuple):
    """Charts that belong together, and the table with the same figures."""

    title: str
    says: str
    charts: tuple[str, ...]
    table: Table | None
    left_out: int = 0


def background(cluster: "Cluster", policy: Policy | None = None) -> Background:
    """What is known of a cluster, and the settings that are not the default ones, with the limits of the search."""
    from planner.state import cluster_name

    release = str((cluster.snapshot.get("/version") or {}).get("version", ""))
    settings = () if policy is None else tuple(_settings(policy))
    return Background(cluster_name(cluster.snapshot), release, settings)


def _settings(policy: Policy) -> Iterator[tuple[str, str]]:
    usual = Policy()
    for item in fields(policy):
        value = getattr(policy, item.name)
        if value != getattr(usual, item.name) or item.name in ("time_limit", "seed"):
            yield item.name, _said(value)


def _said(value: Any) -> str:
    """A setting as a configuration file has it, more or less."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_said(part)}" for key, part in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(_said, value))
    if hasattr(value, "__dataclass_fields__"):
        return f"{{{', '.join(f'{item.name}: {_said(getattr(value, item.name))}' for item in fields(value))}}}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def render(plan: Plan, frontier: "Frontier | pd.DataFrame | None" = None, about: Background | None = None) -> str:
    """The page. `frontier`, or its frame: what more migrations would buy. The same arguments give the same page."""
    parts = _parts(plan, frontier, about or Background())
    rest = len(_template().render(parts, migrations=page.migrations(plan, 0)).encode())
    return _template().render(parts, migrations=page.migrations(plan, LIMIT - rest))


def _parts(plan: Plan, frontier: "Frontier | pd.DataFrame | None", about: Background) -> dict[str, Any]:
    """All of the page but the migrations."""
    from planner import __version__

    listed = {"gave_way": plan.gave_way, "conflict": plan.conflict, "helps": plan.helps, "notes": plan.notes}
    listed |= {"what_if": plan.what_if, "remarks": (*report.remarks(plan), *outlook.words(plan))}
    tables = {name: getattr(page, name)(plan, ROOM[name]) for name in ("waves", "rules", "stranded", "losses")}
    return {
        **tables,
        **{name: page.lines(lines, ROOM[name]) for name, lines in listed.items()},
        "plan": plan, "about": about, "version": __version__, "taken_at": when(plan.taken_at),
        "heading": page.heading(plan, about.cluster), "verdict": page.verdict(plan),
        "figures": tuple(page.figures(plan)),
        "loads": [_loads(plan, resource) for resource in plan.resources],
        "way_back": page.way_back(plan, ROOM["way_back"]),
        "timeline": _timeline(plan), "frontier": None if frontier is None else _frontier(frontier),
        "curved": page.lines(getattr(frontier, "notes", ()), ROOM["remarks"]),
        "made": page.lines([f"{name}: {value}" for name, value in about.settings], ROOM["notes"]),
    }  # fmt: skip


def when(taken_at: str) -> str:
    """A moment as people read it; as it is where it is none."""
    try:
        moment = datetime.fromisoformat(taken_at)
    except ValueError:
        return taken_at
    return moment.strftime("%Y-%m-%d %H:%M %Z").strip()


def _loads(plan: Plan, resource: Resource) -> Picture:
    """Bars of each node, in panels that stand side by side where there is room."""
    title = report.measured(plan, resource)
    nodes = _shown(plan.nodes, resource, PAIRS // len(plan.resources))
    rows = [svg.Pair(_node(plan, n.node), n.load_before[resource], n.load_after[resource]) for n in nodes]
    every = [load for n in plan.nodes for load in (n.load_before[resource], n.load_after[resource])]
    top = max(100.0, *every) if every else 100.0
    change = plan.spreads.get(resource)
    says = "; ".join([
        f"{len(plan.nodes)} nodes",
        *([f"spread {change.before:.2f} → {change.after:.2f} points"] if change else []),
        *(["dashed line: 100 %"] if top > 100 else []),
    ])  # fmt: skip
    count = max(1, -(-len(rows) // PANEL))
    each = -(-len(rows) // count) if rows else 1
    panels = [rows[at : at + each] for at in range(0, len(rows), each)]
    charts = tuple(svg.pairs(f"{title}, {len(part)} nodes from {part[0].name} on", says, part, top) for part in panels)
    room = ROOM["loads"] // len(plan.resources)
    return Picture(title, says, charts, page.loads(plan, resource, title, room), len(plan.nodes) - len(rows))


def _node(plan: Plan, name: str) -> str:
    """A node, with what is special about it."""
    state = plan.assumes.nodes.get(name, NodeState.BALANCED.value)
    return name if state == NodeState.BALANCED.value else f"{name} ({state})"


def _shown(nodes: Sequence[NodeLoad], resource: Resource, most: int) -> list[NodeLoad]:
    """All nodes in their order; of many those that are the fullest and the emptiest today."""
    if len(nodes) <= most:
        return list(nodes)
    by_load = sorted(nodes, key=lambda node: -node.load_before[resource])
    return [*by_load[: most // 2], *by_load[len(by_load) - most // 2 :]]


def _timeline(plan: Plan) -> Picture | None:
    """When each migration, or wave, is under way; nothing where the plan does not say how long it takes."""
    whole = plan.schedule.seconds
    if whole <= 0 or not plan.migrations:
        return None
    waves = [wave for wave in plan.waves if wave]
    if len(plan.migrations) <= BARS:
        rows = [svg.Bar(_label(m), m.begin, m.end, m.type) for m in plan.migrations]
        what = "migration"
    else:
        spans = [(min(m.begin for m in wave), max(m.end for m in wave), len(wave)) for wave in waves]
        rows = [svg.Bar(f"wave {n}: {many}", begin, end) for n, (begin, end, many) in enumerate(spans, 1)]
        what = "wave"
    left = max(0, len(rows) - BARS)
    if left:
        rows = [*rows[: BARS // 2], svg.Bar(f"{left} waves between", 0, 0), *rows[-BARS // 2 :]]
    says = f"One bar per {what}, {duration(whole)} in all"
    marks = [point.seconds for point in plan.schedule.checkpoints[:-1]] if len(waves) <= MARKS else []
    chart = svg.gantt("Timeline of migrations", says, rows, (whole, duration(whole)), marks)
    return Picture(what, says, (chart,), None, left)


def _label(m: Migration) -> str:
    """A guest in a few characters; containers are told apart by their bars as well."""
    return " ".join(word for word in ("ct" if m.type == "ct" else "", str(m.vmid), m.name) if word)


def _frontier(given: "Frontier | pd.DataFrame") -> Picture:
    """The spread under each limit, its bound, and the knee."""
    if isinstance(given, pd.DataFrame):
        frame, unit = given, "at most"
    else:
        frame, unit = given.frame, f"{given.against}, at most"
    rows = frame.to_dict("records")
    spread, bound = (tuple((r["limit"], r[name]) for r in rows if r[name] == r[name]) for name in ("spread", "bound"))
    knee = [(r["limit"], r["spread"]) for r in rows if r["knee"]]
    which = "the knee" if frame["exact"].all() else "the knee of what was found"
    says = f"Spread in points under {len(rows)} limits" + (f"; {which} is at {knee[0][0]:g}" if knee else "")
    items = [svg.Curve(bound, "bound"), svg.Curve(spread, "spread", dots=True)]
    chart = svg.curves("Spread against the limit", says, items, (unit, "spread, points"), knee)
    return Picture("frontier", says, (chart,), page.frontier(frame, ROOM["frontier"]))


@cache
def _template() -> "Template":
    """The page's template: all that it prints is escaped, cut, and freed of what cannot be shown."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return page.cut(plain(value)) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=shown
    )
    text = resources.files("planner").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(text)
