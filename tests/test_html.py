"""Claims about the report as a page: what it shows, what foreign names do to it, its size, and that it can be read."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

import planner as pp
from planner import html, svg
from planner.frontier import COLUMNS
from planner.html import Background, background, render
from planner.plan import Lost, Migration, NodeLoad, Plan, PlanStatus, Stranded, Survival, save
from planner.policy import Policy, Resource
from tests import plans
from tests.commandline import Cli, alone, calling

EVIL = "<script>alert(\"x\")</script><img src=x onerror='y'>&amp;"
LONG = "a-name-that-is-much-longer-than-all-the-others-of-its-kind-are-0123456789"
VOID = {"meta", "link", "br", "img", "input"}
SHAPES = {"svg", "g", "rect", "line", "circle", "text", "title", "desc"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """What a browser would make of a page, as far as these tests ask."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.unclosed: list[str] = []
        self.wrong: list[str] = []
        self.texts: list[tuple[str, str]] = []  # (innermost tag, text)
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.unclosed or self.unclosed.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.unclosed[-1] if self.unclosed else "", data))

    @property
    def said(self) -> str:
        return "\n".join(text for tag, text in self.texts if tag != "style")


def pictures(page: str) -> list[ElementTree.Element]:
    """The charts, read as XML; those of keys are left out."""
    found, at = [], 0
    while (at := page.find('<svg role="img"', at)) >= 0:
        depth, end = 0, at
        for tag in re.compile(r"<svg\b|</svg>").finditer(page, at):
            depth += 1 if tag.group() == "<svg" else -1
            end = tag.end()
            if not depth:
                break
        found.append(ElementTree.fromstring(page[at:end].replace("aria-hidden", "data-h")))
        at = end
    return found


def rows(page: str, caption: str) -> list[list[str]]:
    """The cells of a table, by its caption."""
    part = page[page.index(f"<caption><span>{caption}") :]
    found = re.findall(r"<tr>(.*?)</tr>", part[: part.index("</table>")], re.S)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in found]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in cells][1:]


@pytest.fixture(scope="module")
def small() -> Plan:
    return pp.demo().plan("descent", resource="memory,cpu", max_migrations=12)


@pytest.fixture(scope="module")
def large() -> Plan:
    plan = pp.demo("large").plan("greedy", resource="memory,cpu")
    assert len(plan.nodes) == 40 and len(plan.migrations) > 50
    return plan


FRONTIER = pd.DataFrame(
    {
        "limit": [0, 1, 2, 3], "migrations": [0, 1, 2, 3], "gib": [0.0, 4.0, 9.0, 20.0],
        "spread": [32.0, 16.0, 4.0, 3.0], "bound": [32.0, 16.0, 4.0, float("nan")],
        "exact": [True, True, True, False], "gain": [float("nan"), 16.0, 12.0, 1.0],
        "knee": [False, False, True, False], "violations": [1, 0, 0, 0], "reachable": [True, True, True, False],
    }
)  # fmt: skip


def hostile(plan: Plan) -> Plan:
    """The same with foreign text wherever text can come from outside, some of it too long for any table."""
    waves = tuple(
        tuple(
            replace(
                m, name=(EVIL, LONG, LONG.replace("-", ""))[m.number % 3], reason=f"repairs: {EVIL} {LONG}", after=()
            )
            for m in wave
        )
        for wave in plan.waves
    )
    lost = Lost("pve1", {101: EVIL, 102: ""}, 2048, False, ())
    return replace(
        plan, waves=waves, nodes=tuple(replace(n, node=f"{EVIL}{i}{LONG}") for i, n in enumerate(plan.nodes)),
        notes=(EVIL,), gave_way=(EVIL,), conflict=(EVIL, LONG * 9), helps=(EVIL,), violations_before=(EVIL, "both"),
        violations_after=("both", LONG * 3), stranded=(Stranded(1, EVIL, EVIL, EVIL),), drained=(EVIL,),
        survival=Survival((lost,), (), (EVIL,)), what_if=(EVIL,), weights={EVIL: 1.0}, taken_at=EVIL,
        schedule=replace(plan.schedule, pace=EVIL),
    )  # fmt: skip


ABOUT = Background(EVIL, EVIL, ((EVIL, EVIL),))


@pytest.fixture(scope="module")
def pages(small: Plan, large: Plan) -> dict[str, str]:
    return {
        "small": render(small, FRONTIER),
        "large": large.to_html(),
        "hostile": render(hostile(small), FRONTIER, ABOUT),
        "nothing": render(plans.plan(status=PlanStatus.NO_ACTION)),
        "back": render(replace(small, solver="rollback", lifted=("apart",), spread=replace(small.spread, bound=None))),
    }


NAMES = ("small", "large", "hostile", "nothing", "back")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_well_formed_and_needs_nothing_else(pages: dict[str, str], name: str) -> None:
    text = pages[name]
    page = Page(text)
    assert page.wrong == [] and page.unclosed == []
    assert len(text.encode()) < 200_000
    assert not {"script", "img", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    given = [(key, value) for _, attributes in page.tags for key, value in attributes.items()]
    assert not [key for key, _ in given if key.startswith("on") or key in ("src", "srcset", "action", "xlink:href")]
    assert [value for key, value in given if key == "href"] == ["data:,"]
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_page_can_be_read_by_those_who_do_not_see_it(pages: dict[str, str], name: str) -> None:
    page = Page(pages[name])
    assert page.tags[0] == ("html", {"lang": "en"})
    assert any(tag == "title" and text.strip() for tag, text in page.texts)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")
    names = [tag for tag, _ in page.tags]
    assert names.count("table") == names.count("caption")
    for picture in pictures(pages[name]):
        assert (picture[0].tag, picture[1].tag) == ("title", "desc") and picture[0].text and picture[1].text
        assert {part.tag for part in picture.iter()} <= SHAPES


def test_every_migration_is_there_with_its_reason_as_the_plan_has_it(small: Plan, pages: dict[str, str]) -> None:
    shown = [
        (number, vmid, name, source, target, why)
        for number, vmid, name, source, target, *_, why in rows(pages["small"], "Migrations")
    ]
    assert shown == [
        (str(m.number), str(m.vmid), m.name, m.source, m.target, escape(m.reason)) for m in small.migrations
    ]


def test_all_migrations_of_a_large_cluster_are_there(large: Plan, pages: dict[str, str]) -> None:
    assert [row[1] for row in rows(pages["large"], "Migrations")] == [str(m.vmid) for m in large.migrations]


def test_bars_are_as_long_as_loads_are_high(small: Plan, pages: dict[str, str]) -> None:
    memory, cpu, *_ = pictures(pages["small"])
    for picture, resource in ((memory, Resource.MEMORY), (cpu, Resource.CPU)):
        for kind, loads in (
            ("b", [node.load_before[resource] for node in small.nodes]),
            ("a", [node.load_after[resource] for node in small.nodes]),
        ):
            widths = [float(r.attrib["width"].rstrip("%")) for r in picture.iter("rect") if r.attrib["class"] == kind]
            assert widths == pytest.approx(loads, abs=0.01)


def test_loads_beyond_100_percent_stay_within_the_picture_and_the_line_is_marked() -> None:
    picture = ElementTree.fromstring(svg.pairs("t", "d", [svg.Pair("a", 50, 150)], 150))
    before, after = (
        next(float(r.attrib["width"][:-1]) for r in picture.iter("rect") if r.attrib["class"] == kind)
        for kind in ("b", "a")
    )
    assert (before, after) == (pytest.approx(33.33), 100)
    assert next(picture.iter("line")).attrib["x1"] == "66.67%"


def test_bars_in_time_begin_and_end_when_migrations_do() -> None:
    bars = [svg.Bar("a", 0, 30), svg.Bar("b", 30, 60, "ct"), svg.Bar("c", 59.9999, 60)]
    picture = ElementTree.fromstring(svg.gantt("t", "d", bars, (60.0, "60 s"), [30]))
    drawn = [r.attrib for r in picture.iter("rect") if r.attrib["class"].startswith("a")]
    assert [(r["x"], r["width"]) for r in drawn][:2] == [("0%", "50%"), ("50%", "50%")]
    assert all(float(r["x"][:-1]) + float(r["width"][:-1]) <= 100.01 and float(r["width"][:-1]) > 0 for r in drawn)


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.3, 0.3), (1, 1), (3.1, 4), (31.7, 40), (12, 12), (13, 16), (401, 500)]
)
def test_an_axis_ends_at_a_round_number_above_what_it_shows(value: float, top: float) -> None:
    assert svg.ceiling(value) == pytest.approx(top)


def test_a_frontier_is_shown_as_curve_and_table_with_its_knee(pages: dict[str, str]) -> None:
    table = rows(pages["small"], "The best spread under each limit")
    assert [row[0] for row in table] == ["0", "1", "2", "3"] and [row[3] for row in table][:2] == ["32.00", "16.00"]
    assert [row[-1] for row in table] == [
        *["proven the best"] * 2,
        "proven the best; the knee",
        "best found; no safe way to all of it is known",
    ]
    assert table[0][5] == "" and table[3][4] == ""  # what is not known
    assert [row[6] for row in table] == ["1", "0", "0", "0"]
    curve = pictures(pages["small"])[-1]
    dots = [c.attrib for c in curve.iter("circle") if c.attrib["class"] == "spread"]
    ring = next(c.attrib for c in curve.iter("circle") if c.attrib["class"] == "ring")
    assert len(dots) == 4 and (ring["cx"], ring["cy"]) == (dots[2]["cx"], dots[2]["cy"])
    heights = [float(dot["cy"]) for dot in dots]
    assert heights == sorted(heights) and (heights[1] - heights[0]) / (heights[2] - heights[0]) == pytest.approx(
        16 / 28, abs=0.01
    )
    assert "The best spread" not in pages["large"]


def test_foreign_names_are_text_and_nothing_else(small: Plan, pages: dict[str, str]) -> None:
    harmless = {
        tag
        for tag, _ in Page(render(replace(small, what_if=("x",)), FRONTIER, Background("c", "9", (("a", "b"),)))).tags
    }
    page = Page(pages["hostile"])
    assert {tag for tag, _ in page.tags} <= harmless
    assert page.said.count(EVIL) >= 15
    assert "&amp;amp;" in pages["hostile"] and "&amp;lt;" not in pages["hostile"]


def test_what_cannot_be_shown_is_replaced() -> None:
    page = render(plans.plan(notes=("a\x00b\x1bc\u202ed\nz",)), None, Background("n\x07"))
    assert "a?b?c?d?z" in page and "cluster n?" in page
    assert not [c for c in page if not c.isprintable() and c != "\n"]


def test_the_same_plan_gives_the_same_page(small: Plan) -> None:
    assert render(small, FRONTIER, ABOUT) == render(small, FRONTIER, ABOUT)
    assert small.to_html(FRONTIER) == render(small, FRONTIER)


def many(waves: int, **facts: Any) -> tuple[tuple[Migration, ...], ...]:
    made = iter(range(1, 4 * waves + 1))
    return tuple(
        tuple(
            plans.migration(n := next(made), 1000 + n, "pve1", "pve2", begin=60.0 * w, end=60.0 * w + 50, **facts)
            for _ in range(4)
        )
        for w in range(waves)
    )


def test_of_a_thousand_migrations_the_first_are_shown_and_the_rest_is_counted(small: Plan) -> None:
    waves = many(250)
    page = render(replace(small, waves=waves, rollback=waves, schedule=replace(small.schedule, seconds=15000.0)))
    shown = [int(row[0]) for row in rows(page, "Migrations")]
    assert len(page.encode()) < 200_000 and shown == list(range(1, len(shown) + 1)) and len(shown) > 300
    assert f"{1000 - len(shown)} more of 1000 rows are left out here" in page
    assert "210 in the middle are not drawn" in page


def test_a_page_stays_below_its_size_whatever_is_in_it(small: Plan) -> None:
    foul = "<" * 300
    waves = tuple(tuple(replace(m, name=foul, reason=foul * 3, source=foul, target=foul) for m in w) for w in many(250))
    everything = dict.fromkeys(Resource, 99.0)
    lines, lost = (foul,) * 999, Lost(foul, dict.fromkeys(range(1, 99), foul), 1, True, ())
    worst = replace(
        small, resources=tuple(Resource), spreads={}, waves=waves, rollback=waves, drained=(),
        nodes=tuple(NodeLoad(f"{foul}{n}", everything, everything) for n in range(999)), notes=lines, helps=lines,
        conflict=lines, gave_way=lines, violations_before=tuple(f"{n}{foul}" for n in range(999)),
        violations_after=lines, stranded=(Stranded(1, foul, foul, foul),) * 999,
        survival=Survival((lost,) * 99, (lost,) * 99, lines), what_if=lines,
    )  # fmt: skip
    wide = pd.concat([FRONTIER] * 99)
    page = render(worst, wide, Background(foul, foul, ((foul, foul),) * 99))
    assert len(page.encode()) < 200_000 and "are left out here" in page


STATUSES = {
    PlanStatus.OPTIMAL: "Proven: no plan with these rules and limits has a smaller spread.",
    PlanStatus.FEASIBLE: "Good, not proven to be the best.",
    PlanStatus.INFEASIBLE: "Proven: not all rules can hold; this is the best effort.",
    PlanStatus.UNKNOWN: "Nothing found within the time limit.",
}


@pytest.mark.parametrize("status", STATUSES)
def test_the_verdict_says_what_the_plan_does_and_what_is_known_of_it(status: PlanStatus) -> None:
    one = plans.migration(1, 101, "a", "b")
    said = Page(render(plans.plan(one, status=status))).said
    assert f"1 migration brings the spread from 20.00 to 3.00 points. {STATUSES[status]}" in said
    said = Page(render(plans.plan(status=status))).said
    assert f"No migrations: the spread stays at 20.00 points. {STATUSES[status]}" in said


def test_where_nothing_is_to_do_that_is_said(pages: dict[str, str]) -> None:
    said = Page(pages["nothing"]).said
    assert "Nothing to do. The spread is 20.00 points, tolerated are 5, and no rule is broken." in said
    assert "Timeline" not in said and "The way back" not in said


def test_a_way_back_says_that_it_is_one_and_which_rules_it_breaks_again(pages: dict[str, str]) -> None:
    said = Page(pages["back"]).said
    assert said.count("The way back") >= 2 and "Back to where guests were, breaking again apart." in said


def test_the_page_of_a_what_if_says_first_of_all_that_it_is_one(pages: dict[str, str]) -> None:
    page = pp.demo().fail("pve3").drain("pve1").plan("greedy").to_html()
    banner, heading = page.index('<div class="supposed" role="note">'), page.index("<h1>")
    assert banner < heading and "never carried out" in page[banner:heading]
    assert "<li>pve3 fails" in page[banner:heading] and "<li>pve1 in maintenance</li>" in page[banner:heading]
    assert 'class="supposed"' not in pages["small"]


def test_what_becomes_of_broken_rules_is_said(pages: dict[str, str]) -> None:
    found = {row[0][:8]: row[1] for row in rows(pages["hostile"], "Broken rules")}
    assert found == {"both": "stays broken", "a-name-t": "newly broken", "&lt;scri": "repaired"}


def test_it_says_from_what_the_plan_can_be_made_again() -> None:
    cluster = pp.demo()
    policy = Policy(seed=7, max_migrations=3, weights={"cpu": 0.5})
    about = background(cluster, policy)
    assert (about.cluster, about.release) == ("demo", "9.2.6")
    assert dict(about.settings) == {"max_migrations": "3", "weights": "cpu: 0.5", "time_limit": "20", "seed": "7"}
    said = Page(render(cluster.plan("greedy", max_migrations=3), None, about)).said
    assert "seed: 7" in said and "solver greedy" in said and f"proxlb-plan {pp.__version__}" in said
    assert "at most 3 migrations" in said and "cluster demo" in said


def luminance(colour: str) -> float:
    full = colour if len(colour) == 6 else "".join(c * 2 for c in colour)
    parts = [int(full[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def palettes() -> Iterator[dict[str, str]]:
    page = render(plans.plan())
    for block in re.findall(r":root\{(--page.*?)\}", page):
        yield dict(re.findall(r"--(\w+):#([0-9a-f]+)", block))


def test_contrasts_are_those_of_wcag_aa_in_light_dark_and_print() -> None:
    found = list(palettes())
    assert len(found) == 3
    for colours in found:
        for text in ("ink", "soft"):
            assert min(contrast(colours[text], colours[ground]) for ground in ("page", "card")) >= 4.5
        for shape in ("after", "edge", "ct"):
            assert min(contrast(colours[shape], colours[ground]) for ground in ("page", "track")) >= 3


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_nothing_is_wider_than_a_phone_or_a_desk_and_the_dark_is_dark(pages: dict[str, str], tmp_path: Path) -> None:
    frames = [(name, width) for width in (360, 1280) for name in pages]
    body = "".join(
        f'<iframe id="{name}-{width}" srcdoc="{escape(pages[name])}" style="width:{width}px;height:800px"></iframe>'
        for name, width in frames
    )
    script = """onload = () => { document.body.textContent = [...document.querySelectorAll('iframe')].map(f => {
      const page = f.contentDocument, root = page.documentElement, width = root.clientWidth
      const boxes = [...page.querySelectorAll('.box,svg[role],h1,li,p,dl')].filter(b => b.checkVisibility())
      const out = boxes.filter(b => b.getBoundingClientRect().right > width + 0.5).length
      return [f.id, root.scrollWidth - width, out, getComputedStyle(page.body).backgroundColor].join('|')
    }).join('\\n') }"""
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(f"<!DOCTYPE html><script>{script}</script><body>{body}")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --blink-settings=preferredColorScheme=0 --dump-dom"
    done = subprocess.run(
        [str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", wrapper.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.findall(r"^(?:.*>)?([a-z]+-\d+)\|(-?\d+)\|(\d+)\|(rgb.*?\))", done.stdout, re.M)
    assert [name for name, *_ in found] == [f"{name}-{width}" for name, width in frames], done.stdout[-500:]
    assert [row for row in found if row[1:3] != ("0", "0")] == []
    assert {row[3] for row in found} == {"rgb(20, 23, 26)"}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    alone(monkeypatch, tmp_path)
    return calling(capsys)


def test_a_page_is_written_for_a_plan_that_is_made_now(cli: Cli, tmp_path: Path) -> None:
    done = cli("report", "--demo", "--solver", "greedy", "--seed", "3", "--html", tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text()
    assert done.code == 0 and done.out == "" and f"wrote {tmp_path / 'out.html'}" in done.err
    assert "<h1>Migration plan for cluster demo</h1>" in page and "seed: 3" in page


def test_a_saved_plan_is_reported_without_asking_any_cluster(cli: Cli, tmp_path: Path, small: Plan) -> None:
    save(small, tmp_path / "p.json")
    done = cli("report", "--plan", tmp_path / "p.json", "--html", "-")
    assert done.code == 0 and done.err == "" and done.out == render(small)


def test_a_saved_plan_that_is_not_of_the_cluster_named_beside_it_is_refused(
    cli: Cli, tmp_path: Path, small: Plan
) -> None:
    save(small, tmp_path / "p.json")
    done = cli("report", "--plan", tmp_path / "p.json", "--demo", "medium", "--html", tmp_path / "o.html")
    assert done.code == 5 and "stale" in done.complaint and not (tmp_path / "o.html").exists()
    done = cli("report", "--plan", tmp_path / "p.json", "--demo", "--html", tmp_path / "o.html")
    assert done.code == 0 and "cluster demo" in (tmp_path / "o.html").read_text()


def test_where_it_cannot_be_written_that_is_said_before_anything_is_planned(cli: Cli, tmp_path: Path) -> None:
    done = cli("report", "--plan", tmp_path / "no.json", "--html", tmp_path / "none" / "o.html")
    assert done.code == 1 and f"there is no directory {tmp_path / 'none'}" in done.complaint
    assert "it is a directory" in cli("report", "--demo", "--html", tmp_path).complaint
    assert cli("report", "--demo").code == 64


def test_a_plan_that_cannot_keep_all_rules_is_reported_and_ends_with_3(cli: Cli, tmp_path: Path, small: Plan) -> None:
    save(replace(small, status=PlanStatus.INFEASIBLE), tmp_path / "p.json")
    done = cli("report", "--plan", tmp_path / "p.json", "--html", "-")
    assert done.code == 3 and "Proven: not all rules can hold" in done.out


def test_what_more_would_buy_is_looked_at_when_asked_for(cli: Cli, tmp_path: Path) -> None:
    words = ("--demo", "--solver", "greedy", "--max-migrations", "1", "--time-limit", "0.2", "--frontier", "2")
    done = cli("report", *words, "--html", tmp_path / "o.html")
    page = (tmp_path / "o.html").read_text()
    assert done.code == 0 and "migrations, at most" in page
    assert [row[0] for row in rows(page, "The best spread under each limit")] == ["0", "1", "2"]
    assert set(FRONTIER) <= {column.name for column in COLUMNS}


def test_the_template_is_part_of_the_package() -> None:
    assert (Path(html.__file__).parent / "templates" / "report.html.j2").is_file()
