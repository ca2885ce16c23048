"""Claims about what a notebook gets: clusters and plans that show themselves, frames, plots, settings that are kept."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import planner as pp
from planner import display, mapped, plots, tables
from planner.cluster import Cluster
from planner.collect import collect
from planner.errors import ConfigError, InputError, UsageError
from planner.frames import Column
from planner.history import History
from planner.plan import Plan
from planner.policy import Resource
from planner.snapshot import RESOURCES, Snapshot
from tests.rows import DATA, KNOWN, TAKEN_AT, Row, node, offline, vm

EVIL = "<script>alert('x')</script>"
VOID = ("meta", "br", "hr")


class _Page(HTMLParser):
    """Tags that are open, those that were there, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def cluster_of(*rows: Row, name: str = "c") -> Cluster:
    status = [{"type": "cluster", "id": "cluster", "name": name, "quorate": 1}]
    return collect(Snapshot({**KNOWN, "/cluster/status": status, RESOURCES: list(rows)}, TAKEN_AT))


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return pp.demo("medium")


@pytest.fixture(scope="module")
def plan(cluster: Cluster) -> Plan:
    return cluster.plan("descent", max_migrations=12, resource="memory,cpu")


@pytest.fixture(scope="module")
def idle() -> Plan:
    return cluster_of(node("a", 64, 32), node("b", 64, 32), vm(1, "a"), vm(2, "b")).plan("descent")


# ---------------------------------------------------------------------- display


def test_a_cluster_shows_every_node_with_its_loads_and_how_many_guests_it_has(cluster: Cluster) -> None:
    page = _Page(cluster._repr_html_())
    assert "16 nodes · 190 guests, 190 of them running" in page.text
    for row in cluster.nodes.itertuples():
        assert row.node in page.texts
        assert f"{100 * row.memory_used_mib / row.memory_mib:.1f} %" in page.texts
        assert f"{100 * row.cpu_used_mcpu / row.cpu_mcpu:.1f} %" in page.texts
        assert str((cluster.guests["node"] == row.node).sum()) in page.texts


def test_names_from_outside_are_text_and_nothing_else() -> None:
    nodes = node("a", 64, 60), node("b", 64, 4)
    evil = cluster_of(*nodes, vm(1, "a", 20, name=EVIL), vm(2, "a", 20, tags=f"plb_pin_{EVIL}"), name=EVIL)
    assumed = replace(evil, assumed=evil.assumed.also(EVIL), notes=(EVIL,), partial=(EVIL,))
    plan = evil.plan("descent")
    assert plan.migrations[0].vmid == 1
    for html in (assumed._repr_html_(), plan._repr_html_()):
        page = _Page(html)
        assert EVIL in page.text and not {"script", "style", "img", "a"} & page.tags


def test_what_is_assumed_and_what_is_not_known_is_said_once(cluster: Cluster) -> None:
    lost = cluster.fail("pve03", restart="all")
    (step,) = lost.assumed.steps
    told = replace(lost, notes=(*lost.notes, "no storages"))
    for item in (told, told.plan("greedy")):
        page = _Page(item._repr_html_())
        assert "no storages" in page.texts and page.text.count(step) == 1


def test_a_node_that_is_down_has_no_load_and_a_cluster_without_a_time_or_a_name_is_shown() -> None:
    broken = cluster_of(node("a", 64, 60), offline("b"), vm(1, "a"))
    text = _Page(replace(broken, snapshot=Snapshot({RESOURCES: []}, "who knows"))._repr_html_()).text
    assert "offline" in text and "who knows" in text


def test_of_many_nodes_the_fullest_and_the_emptiest_are_shown() -> None:
    many = cluster_of(*(node(f"n{i:03}", 100, i) for i in range(100)), vm(1, "n050"))
    page = _Page(many._repr_html_())
    shown = [text for text in page.texts if text.startswith("n0")]
    assert shown == [f"n{i:03}" for i in (*range(99, 79, -1), *range(19, -1, -1))]
    assert "… 60 rows between" in page.texts


def test_a_plan_shows_its_outcome_loads_and_migrations(plan: Plan) -> None:
    page = _Page(plan._repr_html_())
    assert f"spread {plan.spread.before:.2f} -> {plan.spread.after:.2f}" in page.text
    for migration in plan.migrations:
        assert {str(migration.vmid), migration.name, migration.reason} <= set(page.texts)
    for load in plan.nodes:
        assert {f"{load.load_after[resource]:.1f} %" for resource in plan.resources} <= set(page.texts)


def test_a_plan_says_what_cannot_hold_together() -> None:
    crowded = cluster_of(
        node("a", 64, 8), node("b", 64, 8), *(vm(i, "a", tags="plb_anti_affinity_x") for i in (1, 2, 3))
    )
    page = _Page(crowded.plan("descent", time_limit=5)._repr_html_())
    assert {"Still broken", "These cannot hold together", "It would help to"} <= set(page.texts)


def test_a_plan_is_shown_as_a_table_on_a_terminal(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    plan.show()
    out = capsys.readouterr().out
    assert "12 migrations" in out and "descent: feasible" in out


def test_a_plan_is_shown_as_html_in_a_notebook(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("planner.display.in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    plan.show()
    assert shown == [plan]


def test_other_answers_are_shown_as_on_a_terminal(cluster: Cluster) -> None:
    answers = {
        "here now, and stays": cluster.explain(cluster.guests["vmid"].iloc[0], solver="greedy", max_migrations=0),
        "could be switched off": cluster.consolidate(solver="descent", time_limit=1),
        "limits are proven": pp.demo().frontier(max_migrations=2, time_limit=0.5),
        "1 node, 18 guests": cluster.diff(cluster.fail("pve03")),
    }
    for words, answer in answers.items():
        page = _Page(answer._repr_html_())
        assert page.tags == {"pre"} and words in page.text, words


def test_no_notebook_is_seen_where_there_is_none() -> None:
    assert not display.in_notebook()


# ----------------------------------------------------------------------- frames


@pytest.mark.parametrize(
    ("name", "columns"),
    [("frame", tables.MIGRATIONS), ("loads", tables.LOADS), ("checkpoints", tables.CHECKPOINTS)],
)
def test_frames_have_the_documented_columns_also_when_there_is_nothing_in_them(
    plan: Plan, idle: Plan, name: str, columns: tuple[Column, ...]
) -> None:
    assert not idle.migrations
    for frame in (getattr(plan, name), getattr(idle, name)):
        assert list(frame.columns) == [column.name for column in columns]
        for column in columns:
            assert pd.api.types.pandas_dtype(column.dtype) == frame[column.name].dtype


def test_the_frame_of_a_plan_holds_its_migrations(plan: Plan) -> None:
    frame = plan.frame
    assert frame["vmid"].tolist() == [m.vmid for m in plan.migrations]
    assert frame["gib"].sum() == pytest.approx(plan.moved_gib)
    assert frame.groupby("wave").size().tolist() == [len(wave) for wave in plan.waves]
    for row, migration in zip(frame.itertuples(), plan.migrations, strict=True):
        assert tuple(int(n) for n in row.after.split(",") if n) == migration.after
        assert (row.source, row.target, row.end) == (migration.source, migration.target, migration.end)


def test_the_loads_of_a_plan_have_its_spreads(plan: Plan) -> None:
    for resource, change in plan.spreads.items():
        rows = plan.loads[plan.loads["resource"] == resource.value]
        assert rows["before"].max() - rows["before"].min() == pytest.approx(change.before, abs=1e-3)
        assert rows["after"].max() - rows["after"].min() == pytest.approx(change.after, abs=1e-3)
        assert (rows["before"] + rows["change"]).tolist() == pytest.approx(rows["after"].tolist())


def test_checkpoints_lead_from_today_to_the_end_of_the_plan(plan: Plan) -> None:
    points = plan.checkpoints
    assert points["spread"].iloc[0] == plan.spread.before
    assert points["spread"].iloc[-1] == pytest.approx(plan.spread.after)
    assert points["migrations"].sum() == len(plan.migrations)
    assert points["end"].iloc[-1] == pytest.approx(max(m.end for m in plan.migrations))


def with_history(cluster: Cluster) -> Cluster:
    used = np.outer(cluster.nodes["memory_mib"], np.linspace(0.2, 1.1, 24))
    used[3, 5] = np.nan
    history = History(1_790_000_000.0, 3600, (), tuple(cluster.nodes["node"]), {}, {Resource.MEMORY: used})
    return replace(cluster, history=history)


def test_loads_over_time_are_shares_of_what_each_node_has(cluster: Cluster) -> None:
    loads = with_history(cluster).node_loads()
    assert loads.shape == (24, 16)
    assert loads["pve01"].tolist() == pytest.approx(np.linspace(20, 110, 24).tolist())
    assert loads.isna().sum().sum() == 1 and np.isnan(loads["pve04"].iloc[5])


def test_without_a_history_it_is_said_how_to_get_one(cluster: Cluster) -> None:
    with pytest.raises(InputError, match='no history of memory: read it with window="day"'):
        cluster.plot()


@pytest.mark.parametrize("resource", ["network", "colour"])
def test_only_what_nodes_have_so_much_of_has_loads_in_percent(cluster: Cluster, resource: str) -> None:
    with pytest.raises(UsageError, match=f"no size in {resource}: choose from memory, cpu, disk"):
        cluster.node_loads(resource)


# ------------------------------------------------------------------------ plots


def frontier() -> pd.DataFrame:
    limits = range(8)
    return pd.DataFrame(
        {
            "limit": limits, "migrations": limits, "gib": [4.0 * n for n in limits],
            "spread": [40.0 / (n + 1) for n in limits], "bound": [39.0 / (n + 1) for n in limits],
            "exact": [n < 4 for n in limits], "gain": 1.0, "knee": [n == 3 for n in limits],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def figures(cluster: Cluster, plan: Plan, idle: Plan) -> dict[str, Any]:
    steps = pd.DataFrame({"seconds": [0.1, 2.0], "spread": [4.0, 3.0], "bound": [0.0, float("nan")]})
    drawn = {f"{kind} of {name}": item.plot(kind) for name, item in (("plan", plan), ("idle", idle))
             for kind in ("loads", "sankey", "timeline")}  # fmt: skip
    return drawn | {
        "frontier": plots.frontier(frontier()), "progress": plots.progress(steps),
        "comparison": plots.comparison(cluster.compare(["greedy", "proxlb"], max_migrations=5)),
        "history": with_history(cluster).plot(), "recorded": plots.history(plan.loads.pivot_table(
            index="resource", columns="node", values="after")),
    }  # fmt: skip


def _axes(figure: Any) -> Iterator[Any]:
    for name, axis in figure.to_dict()["layout"].items():
        if name.startswith(("xaxis", "yaxis")):
            yield name, axis


def test_every_plot_has_a_title_and_says_what_its_axes_are(figures: dict[str, Any]) -> None:
    for name, figure in figures.items():
        assert figure.layout.title.text, name
        if not name.startswith("sankey"):
            titled = {axis[0] for axis, content in _axes(figure) if content.get("title", {}).get("text")}
            assert titled >= ({"y"} if name.startswith("timeline") else {"x", "y"}), name
            units = str([content.get("title") for _, content in _axes(figure)]) + figure.layout.title.text
            assert any(unit in units for unit in ("%", "points", "seconds", "minutes", "hours", "migrations")), name


def test_every_plot_leaves_light_and_dark_to_the_page_and_needs_no_network(figures: dict[str, Any]) -> None:
    for name, figure in figures.items():
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)", name
        assert figure.layout.font.color == plots.INK
        assert "http" not in figure.to_json()


def _luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_of_plots_reads_on_white_and_on_black() -> None:
    ink = _luminance(plots.INK) + 0.05
    assert min(1.05 / ink, ink / 0.05) >= 4.5  # what WCAG asks of text


def test_loads_before_and_after_are_those_of_the_plan(plan: Plan, figures: dict[str, Any]) -> None:
    bars = {(bar.name, number // 2): bar for number, bar in enumerate(figures["loads of plan"].data)}
    for number, resource in enumerate(plan.resources):
        assert list(bars["after", number].y) == [load.load_after[resource] for load in plan.nodes]
        assert list(bars["before", number].x) == [load.node for load in plan.nodes]


def test_a_sankey_carries_as_much_as_the_plan_copies(plan: Plan, figures: dict[str, Any]) -> None:
    (flow,) = figures["sankey of plan"].data
    assert sum(flow.link.value) == pytest.approx(plan.moved_gib)
    ends = {(flow.node.label[a], flow.node.label[b]) for a, b in zip(flow.link.source, flow.link.target, strict=True)}
    assert ends == {(m.source, m.target) for m in plan.migrations}
    assert all(str(m.vmid) in " ".join(flow.link.customdata) for m in plan.migrations)


def test_a_timeline_shows_each_migration_when_it_runs(plan: Plan, figures: dict[str, Any]) -> None:
    bars = [bar for bar in figures["timeline of plan"].data if bar.type == "bar"]
    found = {name: (begin, long) for bar in bars for name, begin, long in zip(bar.y, bar.base, bar.x, strict=True)}
    for m in plan.migrations:
        begin, long = found[f"{m.vmid} {m.name}"]
        assert (begin * 60, long * 60) == (pytest.approx(m.begin), pytest.approx(m.end - m.begin))
    assert [bar.name for bar in bars] == [f"wave {n}" for n in range(1, len(plan.waves) + 1)]


def test_a_long_timeline_shows_waves() -> None:
    crowd = [vm(100 + i, "a", 1) for i in range(160)]
    plan = cluster_of(node("a", 256, 200), *(node(n, 256, 2) for n in "bcd"), *crowd).plan("descent")
    assert len(plan.migrations) > plots.ROWS
    bars = [bar for bar in plan.plot("timeline").data if bar.type == "bar"]
    assert sum(len(bar.y) for bar in bars) == len(plan.waves)


def test_a_frontier_marks_its_knee_and_what_is_not_proven(figures: dict[str, Any]) -> None:
    bound, reached, knee = figures["frontier"].data
    assert list(reached.marker.symbol) == ["circle"] * 4 + ["circle-open"] * 4
    assert (list(knee.x), list(bound.y)) == ([3], frontier()["bound"].tolist())


def test_the_brightest_colour_of_a_heat_map_is_its_highest_load_or_what_was_asked_for(
    cluster: Cluster, figures: dict[str, Any]
) -> None:
    (drawn,), (asked,) = figures["history"].data, plots.history(cluster_loads(cluster), top=60).data
    assert (drawn.zmin, drawn.zmax, asked.zmax) == (0, pytest.approx(110), 60)


def cluster_loads(cluster: Cluster) -> pd.DataFrame:
    return with_history(cluster).node_loads()


def test_names_in_plots_are_text() -> None:
    evil = cluster_of(node("a", 64, 60), node("b", 64, 4), vm(1, "a", 20, name=EVIL), vm(2, "a", 20)).plan("descent")
    for kind in ("sankey", "timeline"):
        assert "<script" not in evil.plot(kind).to_json().replace("\\u003c", "<")


def test_a_plot_that_there_is_not_is_refused_with_those_there_are(plan: Plan) -> None:
    with pytest.raises(UsageError, match="no plot pie of a plan: choose from loads, sankey, timeline"):
        plan.plot("pie")


def test_without_plotly_plots_say_what_to_install_and_all_else_works(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["plotly"] = sys.modules["ipywidgets"] = sys.modules["IPython"] = None
import planner as pp
plan = pp.demo().plan("greedy", max_migrations=2)
assert plan._repr_html_() and len(plan.frame) == 2
try:
    plan.plot()
except pp.errors.MissingDependency as error:
    print(error)
live = pp.demo().plan_live("greedy")
print(sorted(live._repr_mimebundle_()), live.result().solver)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "plots need plotly: pip install 'plotly>=6' (it is part of the extra notebook)"
    assert second == "['text/html', 'text/plain'] greedy"


# ------------------------------------------------------------------- the module


def test_the_module_is_quick_to_import() -> None:
    program = "import sys, planner; print(*{'pandas', 'numpy', 'ortools', 'plotly', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_settings_are_kept_and_overridden(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("policy: {max_migrations: 3, balanciness: 2}\ncluster: {maintenance_nodes: [pve3]}\n")
    snapshot = next(DATA.rglob("*.json*"))
    assert pp.load(snapshot).config == pp.load(snapshot, balanciness=10).config
    settings = pp.load(snapshot, config, max_migrations=4).config
    assert settings is not None and settings.cluster.maintenance_nodes == ("pve3",)
    assert (settings.policy.max_migrations, settings.policy.balanciness) == (4, 2)
    few = pp.demo(max_migrations=2)
    assert len(few.plan("greedy").migrations) == 2
    assert len(few.plan("greedy", max_migrations=1).migrations) == 1


def test_settings_and_sizes_that_there_are_not_are_refused() -> None:
    with pytest.raises(ConfigError, match="no setting max_migration: did you mean max_migrations"):
        pp.demo(max_migration=3)
    with pytest.raises(UsageError, match="choose small, medium, large"):
        pp.demo("huge")


def test_a_backtest_stays_a_function_after_its_modules_are_imported() -> None:
    recording = mapped.from_synthetic(mapped.Shape(nodes=2, guests=4))
    for _ in range(2):
        assert pp.backtest(recording, ["nothing"])["policy"].tolist() == ["nothing"]


def test_all_that_is_exported_is_there_and_documented() -> None:
    for name in pp.__all__:
        assert getattr(pp, name)
        assert name.startswith("__") or getattr(pp, name).__doc__


def test_what_is_done_with_a_frame_changes_no_cluster() -> None:
    cluster = pp.demo()
    drained = cluster.drain("pve1")
    nodes, guests = cluster.nodes, cluster.guests
    nodes.loc[0, "memory_mib"] = 1
    nodes["memory_used_mib"] = 0
    guests["more"] = 0
    for one in (cluster, drained):
        assert one.nodes["memory_mib"].min() > 1 and one.nodes["memory_used_mib"].min() > 0
        assert "more" not in one.guests
