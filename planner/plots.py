"""Owns the plots: plotly figures that work offline, in light and dark, in print, and for colour-blind people."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from planner import tables
from planner.amounts import HOUR, MINUTE
from planner.errors import MissingDependency, UsageError
from planner.plain import plain
from planner.policy import Resource

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from planner.cluster import Cluster
    from planner.live import Live
    from planner.plan import Plan

BLUE, ORANGE, GREEN, RED, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
"""Okabe and Ito's colours, which colour-blind people can tell apart."""
WAVES = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
BEFORE, AFTER = ORANGE, BLUE
INK, GRID = "#767676", "rgba(128,128,128,0.3)"
"""Text and lines that read on white and on black alike."""
ROWS = 60
"""Migrations that have a bar each in a timeline; of more than that each wave has one."""
SHOWN = 8
"""Guests that are named before the rest is counted."""
TALL, LINE = 120, 18
"""Pixels of a plot without its rows, and of a row."""
LEAST_TALL = 380
NAMED = 60
"""Nodes of a heat map that are named each; of more only some are."""
WORDS = {"cpu": "CPU"}
"""What resources are called, if not by their names."""
POINTS = "spread (percentage points)"


class Framed(Protocol):
    """Whatever has a frame, such as a `Frontier`."""

    @property
    def frame(self) -> "pd.DataFrame": ...


def of_plan(plan: "Plan", kind: str = "loads") -> "Figure":
    """One of the plots of a plan, by its name. UsageError for a name that there is not."""
    kinds: Mapping[str, Callable[[Plan], Figure]] = {"loads": loads, "sankey": sankey, "timeline": timeline}
    if kind not in kinds:
        raise UsageError(f"there is no plot {kind} of a plan: choose from {', '.join(kinds)}")
    return kinds[kind](plan)


def loads(plan: "Plan") -> "Figure":
    """Load of each node before and after a plan, a panel for each resource."""
    frame = plan.loads
    figure = _panels(len(plan.resources))
    for number, resource in enumerate(plan.resources, 1):
        rows = frame[frame["resource"] == resource.value]
        for name, colour, pattern in (("before", BEFORE, "/"), ("after", AFTER, "")):
            figure.add_bar(
                x=rows["node"].map(_safe), y=rows[name], name=name,
                marker={"color": colour, "pattern": {"shape": pattern}},
                legendgroup=name, showlegend=number == 1, row=number, col=1,
                hovertemplate="%{x} " + name + ": %{y:.1f} %<extra></extra>",
            )  # fmt: skip
        figure.update_yaxes(title=f"{resource.value} {plan.mode.value} (%)", rangemode="tozero", row=number, col=1)
    figure.update_xaxes(title="node", row=len(plan.resources), col=1)
    figure.update_xaxes(type="category")
    title = f"Load of the nodes: spread {plan.spread.before:.2f} → {plan.spread.after:.2f} percentage points"
    return _styled(figure, title, height=TALL + 260 * len(plan.resources), barmode="group")


def sankey(plan: "Plan") -> "Figure":
    """Which nodes give guests to which, as wide as what is copied."""
    frame = plan.frame
    flows = frame.groupby(["source", "target"], sort=True)
    pairs = list(zip(*(flows[side].first() for side in ("source", "target")), strict=True))
    left, right = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    colour = {name: WAVES[i % len(WAVES)] for i, name in enumerate(left)}
    guests = [_guests(part) for _, part in flows]
    figure = _figure()
    figure.add_sankey(
        arrangement="fixed" if not pairs else "snap",
        node={
            "label": [_safe(name) for name in (*left, *right)],
            "color": [*(colour[name] for name in left), *(INK for _ in right)],
            "pad": 14, "thickness": 14, "line": {"width": 0},
            "hovertemplate": "%{label}: %{value:.1f} GiB<extra></extra>",
        },
        link={
            "source": [left.index(source) for source, _ in pairs],
            "target": [len(left) + right.index(target) for _, target in pairs],
            "value": [float(part["gib"].sum()) for _, part in flows], "customdata": guests,
            "color": [_faint(colour[source]) for source, _ in pairs],
            "hovertemplate": "%{source.label} → %{target.label}: %{value:.1f} GiB<br>%{customdata}<extra></extra>",
        },
        textfont={"color": INK, "size": 14, "shadow": "none", "weight": "bold"},
    )  # fmt: skip
    title = f"{len(frame)} migrations, {plan.moved_gib:.1f} GiB: from the nodes on the left to those on the right"
    return _styled(figure, title, height=max(LEAST_TALL, TALL + 2 * LINE * max(len(left), len(right))))


def timeline(plan: "Plan") -> "Figure":
    """When each migration is expected to run, and the spread if the plan is cut off after each wave."""
    frame, points = plan.frame, plan.checkpoints
    unit, seconds = _unit(plan.schedule.seconds)
    figure = _panels(2, heights=(0.3, 0.7), shared_xaxes=True)
    figure.add_scatter(
        x=points["end"] / seconds, y=points["spread"], mode="lines+markers", showlegend=False,
        line={"color": BLUE, "shape": "hv", "width": 2}, customdata=points["wave"], row=1, col=1,
        hovertemplate="after wave %{customdata}: %{y:.2f}<extra></extra>",
    )  # fmt: skip
    rows = frame.assign(name=_labels(frame)) if len(frame) <= ROWS else _by_wave(frame)
    names = [_safe(name) for name in rows["name"]]
    for wave, colour in zip(sorted(set(rows["wave"])), WAVES * len(rows), strict=False):
        mine = (rows["wave"] == wave).to_numpy()
        figure.add_bar(
            y=[name for name, here in zip(names, mine, strict=True) if here], orientation="h", name=f"wave {wave}",
            base=rows["begin"][mine] / seconds, x=(rows["end"] - rows["begin"])[mine] / seconds,
            marker={"color": colour}, customdata=rows["reason"][mine].map(_safe), row=2, col=1,
            hovertemplate="%{y}: from %{base:.1f} for %{x:.1f} " + unit + "<br>%{customdata}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(title="spread<br>(points)", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1], row=2, col=1)
    figure.update_xaxes(title=f"{unit} after the start", row=2, col=1)
    figure.update_xaxes(showticklabels=False, row=1, col=1)
    title = f"What runs when: {len(frame)} migrations in {len(points) - 1} waves"
    return _styled(figure, title, height=max(LEAST_TALL, TALL + 140 + LINE * len(names)), barmode="overlay")


def frontier(item: "Framed | pd.DataFrame") -> "Figure":
    """What each migration more, or each GiB more, buys: spreads that are reached, and the bound below."""
    import pandas as pd

    frame = item if isinstance(item, pd.DataFrame) else item.frame
    gib = getattr(item, "against", "migrations") == "gib"
    figure = _figure()
    figure.add_scatter(
        x=frame["limit"], y=frame["bound"], name="proven: no plan is below", mode="lines",
        # Between two limits the bound of the higher one holds.
        line={"color": INK, "dash": "dash", "shape": "vh" if gib else "hv", "width": 2},
        hovertemplate="bound %{y:.2f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=frame["limit"], y=frame["spread"], name="best plan found", mode="lines+markers",
        line={"color": BLUE, "shape": "hv", "width": 2}, customdata=frame[["migrations", "gib"]],
        marker={"size": 7, "symbol": ["circle" if exact else "circle-open" for exact in frame["exact"]]},
        hovertemplate="spread %{y:.2f}: %{customdata[0]} migrations, %{customdata[1]:.1f} GiB<extra></extra>",
    )  # fmt: skip
    knee = frame[frame["knee"]]
    figure.add_scatter(
        x=knee["limit"], y=knee["spread"], name="knee", mode="markers",
        marker={"color": RED, "symbol": "diamond", "size": 13}, hoverinfo="skip",
    )  # fmt: skip
    figure.update_xaxes(title="GiB that may be copied" if gib else "migrations that are allowed", rangemode="tozero")
    figure.update_yaxes(title=POINTS, rangemode="tozero")
    return _styled(figure, "What more would buy (open circles: not proven to be the best)", hovermode="x unified")


def comparison(frame: "pd.DataFrame") -> "Figure":
    """What several solvers reach under the same rules and limits, beside what is proven: see `planner.compare`."""
    figure = _figure()
    both = zip(frame["after"], frame["violations"], strict=True)
    label = [f"{after:.2f}" + (f"<br>{broken} broken rules" if broken else "") for after, broken in both]
    figure.add_bar(
        x=frame["solver"], y=frame["after"], name="spread reached", marker={"color": BLUE}, text=label,
        textposition="outside", cliponaxis=False, hovertemplate="%{x}: %{y:.2f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=frame["solver"], y=frame["bound"], name="proven: no plan is below", mode="markers",
        marker={"symbol": "line-ew", "size": 46, "line": {"width": 3, "color": RED}},
        hovertemplate="%{x}: bound %{y:.2f}<extra></extra>", cliponaxis=False,
    )  # fmt: skip
    figure.add_hline(y=float(frame["before"].max()), line={"color": INK, "dash": "dot"}, annotation_text="today")
    figure.update_xaxes(title="solver", type="category")
    figure.update_yaxes(title=POINTS, rangemode="tozero")
    return _styled(figure, "What each solver reaches")


def progress(item: "Live | pd.DataFrame") -> "Figure":
    """How a search got on: the best spread and the bound over time, of a `Live` or its history."""
    import pandas as pd

    frame = item if isinstance(item, pd.DataFrame) else item.history
    figure = _figure()
    for column, name, colour, dash in (("spread", "best plan found", BLUE, "solid"), ("bound", "bound", RED, "dash")):
        figure.add_scatter(
            x=frame["seconds"], y=frame[column], name=name, mode="lines+markers",
            line={"color": colour, "dash": dash, "shape": "hv", "width": 2},
            hovertemplate="%{x:.1f} s: %{y:.2f}<extra>" + name + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(title="seconds", rangemode="tozero")
    figure.update_yaxes(title=POINTS, rangemode="tozero")
    return _styled(figure, "How the search got on")


def history(
    item: "Cluster | pd.DataFrame", resource: Resource | str = Resource.MEMORY, top: float | None = None
) -> "Figure":
    """Load of each node over time as a heat map.

    Of a cluster that has a history, or of loads in percent: one row per time, one column per node. `top`: percent of
    the brightest colour, so that several can be compared.
    """
    import numpy as np
    import pandas as pd

    what = "load" if isinstance(item, pd.DataFrame) else WORDS.get(resource, str(resource))
    frame = item if isinstance(item, pd.DataFrame) else tables.node_loads(item, resource)
    highest = float(np.nanmax(frame.to_numpy(), initial=0.0))
    figure = _figure()
    figure.add_heatmap(
        x=frame.index, y=[_safe(str(name)) for name in frame.columns], z=frame.to_numpy().T, colorscale="Cividis",
        zmin=0, zmax=top or max(10.0, highest), colorbar={"title": {"text": "%"}},
        hovertemplate="%{y}, %{x}: %{z:.1f} %<extra></extra>",
    )  # fmt: skip
    each = {"dtick": 1} if frame.shape[1] <= NAMED else {}
    figure.update_yaxes(title="node", type="category", autorange="reversed", showgrid=False, **each)
    dated = isinstance(frame.index, pd.DatetimeIndex)
    figure.update_xaxes(title="time (UTC)" if dated else str(frame.index.name or "time"), showgrid=False)
    return _styled(figure, f"{what[0].upper()}{what[1:]} of the nodes over time (%)", height=_height(frame.shape[1]))


def _by_wave(frame: "pd.DataFrame") -> "pd.DataFrame":
    """One row per wave instead of one per migration."""
    waves = frame.groupby("wave", as_index=False).agg(begin=("begin", "min"), end=("end", "max"), n=("vmid", "size"))
    names = [f"wave {wave}: {n} migrations" for wave, n in zip(waves["wave"], waves["n"], strict=True)]
    return waves.assign(name=names, reason=names)


def _unit(seconds: float) -> tuple[str, int]:
    """In what a time of that length is said, and its seconds."""
    if seconds < 3 * MINUTE:
        return "seconds", 1
    return ("minutes", MINUTE) if seconds < 3 * HOUR else ("hours", HOUR)


def _labels(frame: "pd.DataFrame") -> list[str]:
    """Guests of migrations as people call them; one that stops on its way has a row for each leg."""
    names = [f"{vmid} {name}".strip() for vmid, name in zip(frame["vmid"], frame["name"], strict=True)]
    return [
        f"{name} to {to}" if names.count(name) > 1 else name for name, to in zip(names, frame["target"], strict=True)
    ]


def _guests(frame: "pd.DataFrame") -> str:
    some = [_safe(name) for name in _labels(frame)]
    return ", ".join(some[:SHOWN]) + (f" and {len(some) - SHOWN} more" if len(some) > SHOWN else "")


def _safe(text: str) -> str:
    """Text that plotly shows as it is, though it reads some HTML."""
    return escape(plain(text).strip())


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.3)"


def _height(rows: int) -> int:
    return max(LEAST_TALL, TALL + LINE * rows)


def _figure() -> Any:
    return _plotly().Figure()


def _panels(rows: int, heights: Sequence[float] | None = None, **more: Any) -> Any:
    _plotly()
    from plotly.subplots import make_subplots

    gap = 0.12 / rows
    return make_subplots(rows=rows, cols=1, row_heights=heights, vertical_spacing=gap, **more)


def _plotly() -> Any:
    try:
        import plotly.graph_objects as go
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] != "plotly":
            raise
        raise MissingDependency(
            "plots need plotly: pip install 'plotly>=6' (it is part of the extra notebook)"
        ) from None
    return go


def _styled(figure: Any, title: str, height: int = LEAST_TALL, **layout: Any) -> Any:
    """Transparent, with neutral lines: the page decides whether it is light or dark."""
    clear, heading = "rgba(0,0,0,0)", {"text": title, "font": {"size": 15}, "x": 0, "xref": "paper"}
    figure.update_layout(
        template="none", title=heading, height=height, paper_bgcolor=clear, plot_bgcolor=clear,
        font={"color": INK, "size": 13}, margin={"l": 70, "r": 20, "t": 84, "b": 55},
        modebar={"bgcolor": clear, "color": INK, "activecolor": BLUE},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"}, **layout,
    )  # fmt: skip
    lines = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True}
    figure.update_xaxes(**lines)
    figure.update_yaxes(**lines)
    return figure
