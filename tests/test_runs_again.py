"""Claims about runs that were left open: none is destroyed by what is refused, none goes on that was told to end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planner.conduct import Times
from planner.journal import FILE, Journal
from planner.lock import locked
from planner.run import RunRecord, RunState, Step
from tests import plans
from tests.commandline import Cli, Outcome, alone, calling, write_config
from tests.fakecluster import Served, serving, small_cluster

REPO = Path(__file__).parent.parent
CLUSTER = "fakecluster"
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import planner.cli_site, planner.patience
planner.cli_site.FIGURES, planner.patience.POLL = 0.0, 0.05
from planner.cli import main
main(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("planner.cli_site.FIGURES", 0.0)
    monkeypatch.setattr("planner.patience.POLL", 0.05)
    monkeypatch.setattr("planner.patience.SETTLING", 0.1)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(small_cluster(), tmp_path) as server:
        server.pve.time_scale = 0.0
        yield server


@pytest.fixture
def planned(cli: Cli, served: Served, tmp_path: Path) -> tuple[str, ...]:
    """Plan file and configuration, as words; hooks about a run write down what they hear."""
    config, plan = write_config(tmp_path / "c.yaml", served), tmp_path / "plan.json"
    hear = ["sh", "-c", f"cat >> {tmp_path}/heard; echo >> {tmp_path}/heard"]
    hooks = {"hooks": {"before_run": hear, "after_run": hear}}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"apply": hooks}))
    words = ("--config", config, "--solver", "greedy", "--balanciness", 0, "--max-migrations", 4, "--out", plan)
    assert cli("plan", *words, "--parallel", 2, "--per-source", 2).code == 0
    return str(plan), "--config", str(config)


def journal() -> Journal:
    return Journal(Path(os.environ["STATE_DIRECTORY"]) / FILE)


def record(run: int) -> RunRecord:
    with journal() as opened:
        return opened.run(run)


def steps(run: int) -> list[Step]:
    return [entry.step for entry in record(run).entries]


def heard(tmp_path: Path) -> list[tuple[int, str]]:
    lines = (tmp_path / "heard").read_text().splitlines() if (tmp_path / "heard").exists() else []
    return [(item["run"], item["event"]) for item in map(json.loads, lines)]


def migrations(plan: str) -> list[dict[str, Any]]:
    return [m for wave in json.loads(Path(plan).read_text())["waves"] for m in wave]


def posts(served: Served) -> int:
    return sum(verb == "POST" and path.endswith("/migrate") for verb, path, _ in served.pve.requests)


def process(*words: str) -> "subprocess.Popen[str]":
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], env=os.environ | {"PYTHONPATH": str(REPO)}, **pipes
    )


def until_line(running: "subprocess.Popen[str]", word: str) -> None:
    assert running.stderr is not None
    assert any(word in line for line in running.stderr), f"no line with {word}"


def stopped(cli: Cli, served: Served, planned: tuple[str, ...]) -> None:
    """Run 1 was stopped in good order by a failure, and can go on."""
    guest = served.pve.guest(migrations(planned[0])[-1]["vmid"])
    guest.fails = "no space left"
    assert cli("apply", *planned, "--yes").code == 4
    guest.fails = ""
    assert record(1).state is RunState.STOPPED and Step.FAILED in steps(1)


def killed(served: Served, planned: tuple[str, ...]) -> None:
    """The process of run 1 was killed while something was under way."""
    served.pve.time_scale, served.pve.migration_secs = 1.0, 0.4
    with process("apply", *planned, "--yes") as running:
        until_line(running, "->")
        running.kill()
    assert record(1).state is RunState.RUNNING


# ------------------------------------------------------------------------ what is refused destroys nothing


def test_an_apply_that_is_refused_leaves_the_last_run_as_it_was(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    stopped(cli, served, planned)
    before = record(1)
    outcome = cli("apply", *planned, "--yes")
    assert outcome.code == 5, "guests of the old plan are where it took them"
    assert record(1) == before
    assert cli("resume", *planned[1:], "--yes").code == 0 and set(steps(1)) == {Step.DONE}


def test_a_resume_that_waited_while_the_run_was_aborted_says_so_and_spoils_nothing(
    cli: Cli, served: Served, planned: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(cli, served, planned)
    sent = posts(served)

    def elsewhere(times: Times, say: object) -> None:
        assert cli("abort", 1, *planned[1:]).code == 0

    monkeypatch.setattr(Times, "wait", elsewhere)
    outcome = cli("resume", 1, *planned[1:], "--yes")
    assert outcome.code == 64 and "run 1 is aborted: there is nothing to resume" in outcome.complaint
    assert record(1).state is RunState.ABORTED and Step.PLANNED not in steps(1) and posts(served) == sent


def test_a_way_back_that_waited_while_the_run_went_on_is_asked_for_again(
    cli: Cli, served: Served, planned: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(cli, served, planned)
    wait = Times.wait

    def elsewhere(times: Times, say: Any) -> None:
        monkeypatch.setattr(Times, "wait", wait)
        assert cli("resume", 1, *planned[1:], "--yes").code == 0

    monkeypatch.setattr(Times, "wait", elsewhere)
    outcome = cli("rollback", 1, *planned[1:], "--yes")
    assert outcome.code == 5 and "run 1 went on meanwhile" in outcome.complaint
    assert record(1).state is RunState.DONE
    assert cli("rollback", 1, *planned[1:], "--yes").code == 0


# ------------------------------------------------------------------------------------- abort and resume at once


@pytest.mark.parametrize("dead", [False, True])
def test_an_abort_is_heeded_while_a_resume_stands_at_its_prompt(
    cli: Cli, served: Served, planned: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, dead: bool
) -> None:
    killed(served, planned) if dead else stopped(cli, served, planned)
    sent, aborting = posts(served), []

    def answered(*args: object, **more: object) -> bool:
        aborting.append(process("abort", "1", *planned[1:]))
        until_line(aborting[0], "was asked to end")
        return True

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", answered)
    outcome: Outcome = cli("resume", 1, *planned[1:])
    assert outcome.code == 64 and "run 1 was told to end and does not go on" in outcome.err
    aborting[0].communicate(timeout=20)
    assert aborting[0].returncode == 0 and record(1).state is RunState.ABORTED and posts(served) == sent


def test_an_abort_in_the_moment_in_which_a_resume_goes_on_is_heeded(
    cli: Cli, served: Served, planned: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(cli, served, planned)
    sent, reopen = posts(served), Journal.reopen

    def asked_before(self: Journal, run: int, *more: Any) -> None:
        self.ask_to_stop(run)
        reopen(self, run, *more)

    monkeypatch.setattr(Journal, "reopen", asked_before)
    outcome = cli("resume", 1, *planned[1:], "--yes")
    assert "it was told to end" in outcome.out and posts(served) == sent and record(1).state is RunState.ABORTED


def test_a_run_that_was_told_to_end_does_not_go_on(cli: Cli, served: Served, planned: tuple[str, ...]) -> None:
    stopped(cli, served, planned)
    with journal() as opened:
        opened.ask_to_stop(1)
    outcome = cli("resume", 1, *planned[1:], "--yes")
    assert outcome.code == 64 and "`proxlb-plan abort 1` ends it" in outcome.complaint
    assert cli("abort", 1, *planned[1:]).code == 0 and record(1).state is RunState.ABORTED


def test_an_abort_does_not_wait_for_a_process_that_is_not_of_its_run(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    killed(served, planned)
    with locked(Path(os.environ["STATE_DIRECTORY"]), CLUSTER):
        outcome = cli("abort", 1, *planned[1:])
    assert outcome.code == 75 and f"process {os.getpid()} is at work" in outcome.complaint
    with journal() as opened:
        assert not opened.stop_asked(1)


# ------------------------------------------------------------------------------------------------------- hooks


def test_the_end_of_a_killed_run_is_told_by_abort(
    cli: Cli, served: Served, planned: tuple[str, ...], tmp_path: Path
) -> None:
    killed(served, planned)
    assert heard(tmp_path) == [(1, "before_run")]
    assert cli("abort", 1, *planned[1:]).code == 0
    assert heard(tmp_path) == [(1, "before_run"), (1, "after_run")]


def test_the_end_of_a_run_is_told_once(cli: Cli, served: Served, planned: tuple[str, ...], tmp_path: Path) -> None:
    stopped(cli, served, planned)
    assert cli("abort", 1, *planned[1:]).code == 0
    assert heard(tmp_path) == [(1, "before_run"), (1, "after_run")]


def test_a_second_ctrl_c_says_what_was_not_told_and_resume_tells_it(
    cli: Cli, served: Served, planned: tuple[str, ...], tmp_path: Path
) -> None:
    served.pve.time_scale, served.pve.migration_secs = 1.0, 1.5
    with process("apply", *planned, "--yes") as running:
        until_line(running, "->")
        running.send_signal(signal.SIGINT)
        until_line(running, "once more Ctrl-C")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 130 and "note: hook after_run (sh) was not told of the end of run 1" in err
    assert heard(tmp_path) == [(1, "before_run")]
    served.pve.time_scale = 0.0
    assert cli("resume", *planned[1:], "--yes").code == 0
    assert heard(tmp_path) == [(1, "before_run"), (1, "before_run"), (1, "after_run")]


def test_a_run_that_takes_the_place_of_a_killed_one_tells_of_its_end(
    cli: Cli, served: Served, planned: tuple[str, ...], tmp_path: Path
) -> None:
    Path(os.environ["STATE_DIRECTORY"]).mkdir()
    with journal() as opened:
        opened.begin(plans.plan(plans.migration(1, 100, "a", "b")), CLUSTER, 1.0)
    assert cli("apply", *planned, "--yes").code == 0
    assert heard(tmp_path) == [(1, "after_run"), (2, "before_run"), (2, "after_run")]
    assert record(1).state is RunState.ABORTED


def test_a_journal_that_can_no_longer_be_written_is_said_with_what_was_not_told(
    cli: Cli, served: Served, planned: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from planner.errors import JournalError

    def full(*args: object, **more: object) -> None:
        raise JournalError("its disk is full: make room")

    monkeypatch.setattr(Journal, "record", full)
    outcome = cli("apply", *planned, "--yes")
    assert outcome.code == 1 and "note: hook after_run (sh) was not told" in outcome.err


# --------------------------------------------------------------------------------- runs of another version


@pytest.mark.parametrize("spoilt", ["{}", "{"])
@pytest.mark.parametrize("under_way", [True, False])
def test_a_run_of_another_version_can_be_aborted(
    cli: Cli, served: Served, planned: tuple[str, ...], tmp_path: Path, spoilt: str, under_way: bool
) -> None:
    killed(served, planned) if under_way else stopped(cli, served, planned)
    with journal() as opened:
        opened._db.execute("UPDATE run SET plan = ?", (spoilt,))
    resume = cli("resume", *planned[1:], "--yes")
    assert resume.code == 64 and "another version" in resume.complaint and "abort 1` ends it" in resume.complaint
    assert "another version" in cli("rollback", 1, *planned[1:], "--yes").complaint or under_way
    assert cli("status").code == cli("history").code == 0
    done = posts(served) - (not under_way)  # one has failed
    outcome = cli("abort", *planned[1:])
    assert outcome.code == 0, outcome.err
    assert record(1).state is RunState.ABORTED and steps(1).count(Step.DONE) == done
    assert heard(tmp_path) == [(1, "before_run"), (1, "after_run")]


def test_a_run_of_another_version_with_nothing_under_way_gives_way_to_a_new_one(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    stopped(cli, served, planned)
    with journal() as opened:
        opened._db.execute("UPDATE run SET plan = '{'")
    outcome = cli("apply", *planned[1:], "--yes", "--solver", "greedy", "--balanciness", 0)
    assert outcome.code == 0, outcome.err
    assert record(1).state is RunState.ABORTED and record(2).state is RunState.DONE
