"""Claims about the commands whatif, place and capacity: what is shown, for whom, and what wrong input is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.snapshot import save
from tests.commandline import Cli, Outcome, alone, calling
from tests.fakecluster import serving, small_cluster
from tests.rows import Row, node, snapshot, vm
from tests.test_pages import configure
from tests.test_schemas import PLAN, problems

ROWS = (
    node("a", 64, 26), node("b", 64, 10), node("c", 64, 2),
    vm(1, "a", 8, hastate="started"), vm(2, "a", 8, tags="web"), vm(3, "a", 8, tags="plb_anti_affinity_x"),
    vm(4, "b", 8, tags="plb_anti_affinity_x"),
)  # fmt: skip
Run = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    alone(monkeypatch, tmp_path)
    return calling(capsys)


@pytest.fixture
def run(cli: Cli, tmp_path: Path) -> Run:
    """Runs a command on a cluster of these rows."""

    def call(*words: object, rows: tuple[Row, ...] = ROWS) -> Outcome:
        save(snapshot(*rows), tmp_path / "s.json")
        return cli(*words, "--snapshot", tmp_path / "s.json")

    return call


def shown(outcome: Outcome) -> Any:
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


# whatif


def test_steps_are_taken_in_the_order_in_which_they_stand_there(run: Run) -> None:
    one = shown(run("whatif", "--no-plan", "--output", "json", "--fail", "a", "--grow", "@node-c=2"))
    other = shown(run("whatif", "--no-plan", "--output", "json", "--grow=@node-a=2", "--fail=a", "--fail", "b"))
    assert [step.split()[0] for step in one["what_if"]] == ["a", "@node-c"], "1 has come to c by then"
    assert one["what_if"][0] == "a fails; 1 guest restarted elsewhere; not restarted, and down: 2 (g2), 3 (g3)"
    assert [step.split()[0] for step in other["what_if"]] == ["@node-a", "a", "b"]
    assert {row["node"]: row["what_if"] for row in one["loads"]} == {"a": None, "b": 15.625, "c": 28.125}


def test_a_what_if_shows_loads_before_and_after_and_a_plan(run: Run) -> None:
    out = run("whatif", "--drain", "a", "--add-node", "d=b", "--pin", "2=d", "--solver", "descent")
    assert out.code == 0 and "what if: d is added, like b" in out.out and "not planned with" in out.out
    assert "spread 37.50 -> 12.50 points, before anything is migrated" in out.out
    assert "3 migrations" in out.out


@pytest.mark.parametrize("more", [(), ("--no-plan",), ("--output", "json")])
def test_what_is_assumed_is_said_once(run: Run, more: tuple[str, ...]) -> None:
    out = run("whatif", "--drain", "a", "--fail", "b", "--solver", "descent", *more)
    assert "what if:" not in out.err and out.out.count("what if: a in maintenance") == (
        0 if more[:1] == ("--output",) else 1
    )


def test_one_guest_is_one_and_small_ones_are_counted_in_mib(run: Run) -> None:
    few = (node("a", 10, 2), node("b", 4, 2))
    assert "1 more guest of 8 GiB, 1 core finds room" in run("capacity", "--size", "8G,1", "--used", "1", rows=few).out
    assert "guests of 512 MiB, 1 core find room" in run("capacity", "--size", "512M,1", rows=few).out


def test_a_name_however_long_takes_no_room_from_figures(run: Run) -> None:
    rows = (node("a", 64, 40), node("b", 64, 2), vm(1, "a", 20, name="n" * 200), vm(2, "a", 20))
    out = run("whatif", "--grow", "1=1", "--solver", "descent", rows=rows).out
    assert "guest" in out and "n" * 29 + "…" in out and "balance: from a to b" in out


def test_broken_rules_of_a_what_if_are_named_and_can_be_lifted(run: Run) -> None:
    words = ("--no-plan", "--drain", "c", "--pin", "3=b")
    assert "Broken then: guest 3 (g3) is on a, but pinned to b" in run("whatif", *words).out
    assert shown(run("whatif", *words, "--without-rule", "what if*", "--output", "json"))["broken"]["what_if"] == []


def test_the_plan_of_a_what_if_is_never_applied(cli: Cli, run: Run, tmp_path: Path) -> None:
    found = shown(run("whatif", "--drain", "a", "--solver", "descent", "--output", "json"))["plan"]
    assert found["what_if"] == ["a in maintenance"] and not problems(PLAN, found) and found["waves"]
    (tmp_path / "plan.json").write_text(json.dumps(found))
    with serving(small_cluster(), tmp_path) as served:
        configure(served, tmp_path)
        refused = cli("apply", tmp_path / "plan.json", "--yes")
    assert (
        refused.code == 5
        and "the plan of a what-if, which is never carried out (a in maintenance)" in refused.complaint
    )


def test_there_is_no_way_to_write_the_plan_of_a_what_if_to_a_file(run: Run, tmp_path: Path) -> None:
    refused = run("whatif", "--drain", "a", "--out", tmp_path / "plan.json")
    assert refused.code == 64 and "No such option: --out" in refused.complaint


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "what if what? Say it with --drain, --fail"),
        (["--drain", "z"], "there is no node z: there are a, b, c"),
        (["--add-node", "d=z"], "there is no node z"),
        (["--grow", "web=x"], "--grow web=x: write SELECTOR[:RESOURCE]=FACTOR"),
        (["--grow", "1.2"], "--grow 1.2: write SELECTOR"),
        (["--grow", "@pool=2"], "grow: '@pool' names no guests"),
        (["--resize", "101"], "--resize 101: write NODE or VMID:memory=SIZE"),
        (["--resize", "1:memory=x"], "--resize x: write a size such as 8G"),
        (["--resize", "1:disk=8"], "--resize 1:disk=8: write NODE or VMID"),
        (["--add-guest", "8G"], "--add-guest 8G: write MEMORY,CORES"),
        (["--add-guest", "8G,4,ha=1"], "--add-guest 8G,4,ha=1: write MEMORY,CORES"),
        (["--add-guest", "8G,x"], "--add-guest x: write a whole number"),
        (["--without-rule", "plb_anti_affinity_y"], "there is no rule plb_anti_affinity_y: did you mean"),
        (["--pin", "1"], "--pin 1: write SELECTOR=NODE"),
    ],
)
def test_a_step_that_makes_no_sense_is_told_in_one_line(run: Run, words: list[str], says: str) -> None:
    refused = run("whatif", *words)
    assert refused.code == 64 and says in refused.complaint


def test_a_node_that_cannot_be_removed_ends_a_what_if_and_one_that_leaves_none_is_told(run: Run) -> None:
    full = (node("a", 64, 42), node("b", 64, 40), vm(1, "a", 40))
    refused = run("whatif", "--remove-node", "a", rows=full)
    assert (
        refused.code == 3
        and "a cannot be removed: 1 of its 1 guests find no place: 1 (g1) (b: no room" in refused.complaint
    )
    none = run("whatif", "--fail", "a,b", rows=full)
    assert none.code == 64 and "a, b fail: no node is left online" in none.complaint


def test_guests_for_whom_there_is_no_place_end_a_what_if(run: Run) -> None:
    refused = run("whatif", "--add-guest", "100G,4,count=2")
    assert (
        refused.code == 3 and "no place: a: no room: needs 70.0 GiB of memory, 38.0 GiB left; b:" in refused.complaint
    )


def test_selectors_with_a_range_and_resources_are_understood(run: Run) -> None:
    found = shown(run("whatif", "--no-plan", "--output", "json", "--grow", "1:2=1.5", "--grow", "1:2:cpu=2"))
    assert found["what_if"] == ["1:2 (2 guests): memory x 1.5", "1:2 (2 guests): cpu x 2"]


# place


def test_names_of_nodes_alone_are_printed_for_other_tools(run: Run) -> None:
    out = run("place", "--memory", "8G", "--cores", "2", "--tags", "plb_anti_affinity_x", "--output", "name")
    assert (out.code, out.out, out.err) == (0, "c\n", "")
    three = run("place", "--memory", "8G", "--cores", "2", "--count", "3", "--output", "name")
    assert three.out.split() == ["c", "c", "c"] or set(three.out.split()) == {"b", "c"}


def test_why_nodes_refuse_a_guest_is_told(run: Run) -> None:
    words = ("place", "--memory", "8G", "--cores", "2", "--tags", "plb_anti_affinity_x", "--count", "2")
    out = run(*words)
    assert out.code == 3 and "no place" in out.out
    assert "a: would break plb_anti_affinity_x: guest 3 (g3) is there" in out.err.splitlines()
    assert "c: would break plb_anti_affinity_x: guest 100 is there" in out.err.splitlines()
    named = run(*words, "--output", "name")
    assert (named.code, named.out) == (3, "")
    rows = json.loads(run(*words, "--output", "json").out)
    assert [(row["vmid"], row["node"]) for row in rows] == [(100, "c"), (101, "")] and "b: would break" in rows[1][
        "refused"
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--memory", "x", "--cores", "2"], "--memory x: write a size such as 8G"),
        (["--memory", "0", "--cores", "2"], "a guest with 0 GiB of memory cannot be"),
        (["--memory", "8G", "--cores", "0"], "--cores"),
        (["--memory", "8G", "--cores", "2", "--used", "7"], "used is 7: it is a share"),
        (["--memory", "8G", "--cores", "2", "--count", "20000"], "20000 new guests: from 1 to 10000"),
        (["--cores", "2"], "--memory"),
    ],
)
def test_a_guest_that_makes_no_sense_is_told_in_one_line(run: Run, words: list[str], says: str) -> None:
    refused = run("place", *words)
    assert refused.code == 64 and says in refused.complaint


# capacity


def test_capacity_alone_is_the_room_on_each_node(run: Run) -> None:
    rows = shown(run("capacity", "--output", "json"))
    assert [(row["node"], row["capacity"], row["left"]) for row in rows] == [
        ("a", "memory", 38.0), ("b", "memory", 54.0), ("c", "memory", 62.0),
    ]  # fmt: skip
    assert "38.0 GiB" in run("capacity").out and "no limit" in run("capacity", "--overcommit", "a:cpu=2").out


def test_how_many_more_guests_find_room_and_what_says_no_is_told(run: Run) -> None:
    out = run("capacity", "--size", "10G,2", "--used", "1")
    assert out.code == 0 and "14 more guests of 10 GiB, 2 cores find room (proven: not one more)" in out.out
    assert "no room: needs 10.0 GiB of memory, 8.0 GiB left" in out.out
    found = shown(run("capacity", "--size", "10G,2", "--used", "1", "--survive", "1", "--output", "json"))
    assert found["total"] == found["bound"] == 8, "3, 5 and 6 fit: without c 8 are left"
    assert any("would not be survived" in row["refuses"] for row in found["nodes"])


def test_losses_that_are_not_survived_are_told(run: Run) -> None:
    assert "survives the loss of any one node" in run("capacity", "--survive", "1").out
    full = (node("a", 64, 40), node("b", 64, 40), vm(1, "a", 38, hastate="started"), vm(2, "b", 38))
    out = run("capacity", "--survive", "1", rows=full)
    assert "note: 2 of 2 nodes are online: when one more fails, no quorum is left" in out.err
    assert "the loss of 1 of 2 nodes is not survived" in out.out and "1 (g1) (need 38.0 GiB)" in out.out
    more = run("capacity", "--survive", "1", "--size", "1G,1", rows=full)
    assert "0 more HA guests" in more.out and "the loss of a is not survived as it is" in more.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", "8G"], "--size 8G: write MEMORY,CORES such as 8G,4"),
        (["--size", "8G,0"], "--size 0: write a whole number"),
        (["--tags", "web"], "--tags is of a new guest: say its --size as well"),
        (["--size", "1M,1"], "ask for larger ones"),
    ],
)
def test_a_size_that_makes_no_sense_is_told_in_one_line(run: Run, words: list[str], says: str) -> None:
    refused = run("capacity", *words)
    assert refused.code == 64 and says in refused.complaint
