"""Claims about the flags that ProxLB's users know: -c, -d, -j, -b and -v do here what they do there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import planner
from planner.cli import app
from tests.commandline import Cli, alone, calling, guest_row, node_row, write_config, write_snapshot
from tests.fakecluster import Served, serving, small_cluster


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(small_cluster(), tmp_path) as server:
        yield server


@pytest.fixture
def lopsided(tmp_path: Path) -> Path:
    """A snapshot of three nodes of which one holds everything."""
    guests = [guest_row(vmid, "pve1") for vmid in range(100, 108)]
    nodes = [node_row("pve1", used=34), node_row("pve2", used=9), node_row("pve3")]
    return write_snapshot(tmp_path / "s.json", *nodes, *guests)


def commands(group: Any, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command with all words that are its options."""
    for part, command in group.commands.items():
        yield f"{name} {part}".strip(), {word for parameter in command.params for word in parameter.opts}
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {part}".strip())


def test_every_command_that_reads_the_configuration_has_c_and_every_one_that_prints_json_has_j() -> None:
    found = dict(commands(typer.main.get_command(app)))
    assert {"plan", "status", "check", "run", "config show", "snapshot diff"} <= {*found}
    for name, words in found.items():
        assert ("-c" in words) == ("--config" in words), name
        assert ("-j" in words) == ("--json" in words) == ("--output" in words), name


def test_j_prints_what_output_json_prints(cli: Cli, lopsided: Path) -> None:
    given = ("--snapshot", lopsided)
    for words in (
        ("whatif", "--no-plan", "--drain", "pve1"),
        ("place", "--memory", "1G", "--cores", "1"),
        ("capacity",),
    ):
        short, long = cli(*words, "-j", *given), cli(*words, "--output", "json", *given)
        assert short == long and json.loads(short.out)
    assert json.loads(cli("-j", "--solver", "greedy", *given).out)["solver"] == "greedy"
    assert json.loads(cli("history", "--json").out) == []
    assert json.loads(cli("snapshot", "diff", lopsided, lopsided, "-j").out)


def test_j_beside_another_output_is_refused(cli: Cli) -> None:
    for words in (
        ("-j", "--output", "commands"),
        ("place", "--memory", "1G", "--cores", "1", "--output", "name", "-j"),
    ):
        outcome = cli(*words, "--demo")
        assert outcome.code == 64 and "exclude each other" in outcome.complaint


def test_c_names_the_configuration(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("policy: {solver: x}\n")
    for words in ((), ("status",), ("doctor",), ("check",), ("config", "show")):
        outcome = cli(*words, "-c", "c.yaml")
        assert "policy.solver" in outcome.out + outcome.err


def test_a_plan_that_changes_nothing_is_the_same_dry(cli: Cli, lopsided: Path) -> None:
    words = ("--snapshot", lopsided, "--solver", "greedy", "--output", "commands")
    assert cli(*words, "-d").out == cli(*words).out == cli("plan", *words, "--dry-run").out


def test_a_dry_apply_shows_the_plan_and_changes_nothing(cli: Cli, served: Served, tmp_path: Path) -> None:
    file = write_config(tmp_path / "c.yaml", served)
    words = ("-c", file, "--solver", "descent", "--balanciness", "0")
    before = served.pve.where()
    shown = cli("apply", "-d", *words)
    assert shown.code == 0 and "migrations" in shown.out
    assert cli(*words, "--out", "plan.json").code == 0
    assert cli("apply", "plan.json", "--dry-run", "-c", file).code == 0
    for words in (("-d", "-j"), ("plan.json", "-dj"), ("-d", "--output", "json")):
        printed = cli("apply", *words, "-c", file, "--solver", "descent", "--balanciness", "0")
        assert printed.code == 0 and json.loads(printed.out)["solver"] == "descent"
    assert served.pve.where() == before
    assert served.sent("POST") == 0 and json.loads(cli("history", "-j", "-c", file).out) == []


def test_json_of_an_apply_that_is_not_dry_is_refused_before_anything_is_asked(cli: Cli, served: Served) -> None:
    outcome = cli("apply", "-j", "--yes", "-c", "none.yaml")
    assert outcome.code == 64 and "--dry-run" in outcome.complaint


def test_the_best_node_is_the_one_that_place_finds(cli: Cli, lopsided: Path) -> None:
    given = ("--snapshot", lopsided)
    best = cli("-b", *given)
    assert (best.code, best.out) == (0, "pve3\n")
    assert cli("place", "--memory", "1G", "--cores", "1", "--output", "name", *given).out == best.out
    assert [row["node"] for row in json.loads(cli("--best-node", "-j", *given).out)] == ["pve3"]
    full = cli("-b", *given, "--max-guests", "0")
    assert (full.code, full.out) == (3, "") and full.err.count("\n") >= 3
    assert cli("-b", *given, "--out", "x").code == 64


def test_v_is_the_version(cli: Cli) -> None:
    for words in (("-v",), ("--version",), ("-c", "none.yaml", "-v"), ("-v", "-j"), ("--demo", "-v")):
        assert cli(*words) == cli("version") and cli(*words).out == f"{planner.__version__}\n"
