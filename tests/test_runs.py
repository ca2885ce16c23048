"""Claims about runs as processes: interrupted, killed, aborted, two at once, taken back; over TLS, by real commands."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from planner.clock import FastClock
from planner.conduct import Site, Times, wall
from planner.errors import UsageError
from planner.journal import FILE, Journal
from planner.policy import Apply, Cluster, Policy
from planner.run import RunRecord, RunState, Step
from planner.runs import Runs
from planner.session import Session
from planner.simulate import Size, demo
from tests import plans
from tests.commandline import Cli, alone, calling, write_config
from tests.fakecluster import Served, serving, small_cluster

REPO = Path(__file__).parent.parent
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import planner.cli_site, planner.patience
planner.cli_site.FIGURES, planner.patience.POLL = 0.0, 0.1
from planner.cli import main
main(sys.argv[1:])
"""
"""The command line, hearing Ctrl-C also where the tests run in the background, and looking more often."""


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("planner.cli_site.FIGURES", 0.0)
    monkeypatch.setattr("planner.patience.POLL", 0.1)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A cluster whose migrations take a while."""
    with serving(small_cluster(), tmp_path) as server:
        server.pve.time_scale, server.pve.migration_secs = 1.0, 0.5
        yield server


@pytest.fixture
def planned(cli: Cli, served: Served, tmp_path: Path) -> tuple[str, ...]:
    """Plan file and configuration, as words: a plan of several migrations, two at once at most."""
    config, plan = write_config(tmp_path / "c.yaml", served), tmp_path / "plan.json"
    words = ("--config", config, "--solver", "greedy", "--balanciness", 0, "--max-migrations", 4, "--out", plan)
    assert cli("plan", *words, "--parallel", 2, "--per-source", 2).code == 0
    return str(plan), "--config", str(config)


@contextmanager
def process(*words: str) -> Iterator["subprocess.Popen[str]"]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environ = os.environ | {"PYTHONPATH": str(REPO)}
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *words], env=environ, **pipes) as running:
        try:
            yield running
        finally:
            running.kill()


def until_line(running: "subprocess.Popen[str]", *words: str) -> str:
    """The next line on stderr with all of these words."""
    assert running.stderr is not None
    for line in running.stderr:
        if all(word in line for word in words):
            return line
    raise AssertionError(f"no line with {words}: {running.stdout.read() if running.stdout else ''}")


def record(run: int) -> RunRecord:
    with Journal(Path(os.environ["STATE_DIRECTORY"]) / FILE) as journal:
        return journal.run(run)


def steps(run: int) -> list[Step]:
    return [entry.step for entry in record(run).entries]


def migrations(plan: str) -> list[dict[str, Any]]:
    return [m for wave in json.loads(Path(plan).read_text())["waves"] for m in wave]


def posts(served: Served) -> list[str]:
    return [path for verb, path, _ in served.pve.requests if verb == "POST" and path.endswith("/migrate")]


def arrived(served: Served, plan: str) -> bool:
    where = served.pve.where()
    return all(where[m["vmid"]] == m["target"] for m in migrations(plan))


def idle(served: Served) -> None:
    """Wait until nothing is under way in the cluster."""
    while any(guest.lock for guest in served.pve.guests):
        time.sleep(0.05)


def test_ctrl_c_waits_for_what_is_under_way_and_resume_does_the_rest(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    with process("apply", *planned, "--yes") as running:
        until_line(running, "guest ", "->")
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert "no more is started, what is under way is waited for" in err
    assert not any(guest.lock for guest in served.pve.guests)
    assert record(1).state is RunState.STOPPED and set(steps(1)) == {Step.DONE, Step.PLANNED}
    assert out.count("done: guest ") == steps(1).count(Step.DONE) == len(posts(served))
    assert "not started: guest " in out and "`proxlb-plan resume 1` goes on" in out
    served.pve.migration_secs = 0.1
    resumed = cli("resume", *planned[1:], "--yes")
    assert resumed.code == 0, resumed.err
    assert arrived(served, planned[0]) and record(1).state is RunState.DONE
    assert len(posts(served)) == len(set(posts(served))) == len(migrations(planned[0]))


def test_a_second_ctrl_c_leaves_at_once_and_resume_finds_what_goes_on(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    served.pve.migration_secs = 2.5
    with process("apply", *planned, "--yes") as running:
        until_line(running, "guest ", "->")
        running.send_signal(signal.SIGINT)
        until_line(running, "once more Ctrl-C leaves at once")
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert any(guest.lock for guest in served.pve.guests)
    served.pve.migration_secs = 0.1
    assert running.returncode == 130 and err.splitlines()[-1] == "proxlb-plan: interrupted"
    assert "may still be on its way to" in out and "`proxlb-plan resume 1` goes on" in out
    assert "interrupted" in cli("status").out
    assert cli("resume", 1, *planned[1:], "--yes").code == 0
    assert arrived(served, planned[0]) and len(posts(served)) == len(set(posts(served)))


@pytest.mark.parametrize("pause", [0.0, 0.7])
def test_kill_9_loses_nothing_and_doubles_nothing(
    cli: Cli, served: Served, planned: tuple[str, ...], pause: float
) -> None:
    with process("apply", *planned, "--yes") as running:
        until_line(running, "guest ", "->")
        time.sleep(pause)
        running.kill()
        running.wait(20)
    assert record(1).state is RunState.RUNNING
    assert "its process is gone" in cli("status", 1).out
    served.pve.migration_secs = 0.1
    resumed = cli("resume", *planned[1:], "--yes")
    assert resumed.code == 0, resumed.err
    assert arrived(served, planned[0]) and set(steps(1)) == {Step.DONE}
    assert len(posts(served)) == len(set(posts(served)))


def test_abort_from_another_process_ends_a_run_in_good_order(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    with process("apply", *planned, "--yes") as running:
        until_line(running, "guest ", "->")
        outcome = cli("abort", *planned[1:])
        running.communicate(timeout=20)
    assert outcome.code == 0 and f"(process {running.pid}) was asked to end" in outcome.err
    assert running.returncode == 4
    assert record(1).state is RunState.ABORTED and set(steps(1)) <= {Step.DONE, Step.SKIPPED, Step.PLANNED}
    assert not any(guest.lock for guest in served.pve.guests)
    assert "there is nothing to resume" in cli("resume", 1, *planned[1:], "--yes").complaint
    assert "there is nothing to abort" in cli("abort", 1, *planned[1:]).complaint


@pytest.mark.parametrize("over", [True, False])
def test_abort_of_a_killed_run_finds_out_how_far_it_was(
    cli: Cli, served: Served, planned: tuple[str, ...], over: bool
) -> None:
    served.pve.migration_secs = 0.5 if over else 2.0
    with process("apply", *planned, "--yes") as running:
        until_line(running, "guest ", "->")
        running.kill()
        running.wait(20)
    if over:
        idle(served)
    outcome = cli("abort", 1, *planned[1:])
    assert outcome.code == 0, outcome.err
    assert record(1).state is RunState.ABORTED and set(steps(1)) == {Step.DONE, Step.SKIPPED}
    assert ("still on its way" in outcome.err) is not over
    assert steps(1).count(Step.DONE) == len(posts(served))
    assert f"{len(posts(served))} of {len(steps(1))} migrations done" in outcome.out


def test_a_second_apply_and_resume_at_the_same_time_are_refused(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    served.pve.migration_secs = 1.0
    with process("apply", *planned, "--yes") as running:
        until_line(running, "guest ", "->")
        second = cli("apply", *planned[1:], "--yes", "--solver", "greedy")
        resume = cli("resume", 1, *planned[1:], "--yes")
        rollback = cli("rollback", 1, *planned[1:], "--yes")
        assert "running" in cli("status").out and "abort 1` ends it" in cli("status").out
        running.communicate(timeout=30)
    assert [outcome.code for outcome in (second, resume, rollback)] == [75, 75, 75]
    assert f"process {running.pid} is at work" in second.complaint
    assert running.returncode == 0 and arrived(served, planned[0])


def test_while_a_killed_run_is_not_settled_no_other_begins(cli: Cli, served: Served, planned: tuple[str, ...]) -> None:
    with process("apply", *planned, "--yes") as running:
        until_line(running, "guest ", "->")
        running.kill()
        running.wait(20)
    outcome = cli("apply", *planned[1:], "--yes", "--solver", "greedy")
    assert outcome.code == 75 and "run 1 was interrupted" in outcome.err and "resume 1" in outcome.err
    assert "in run 1 is not known" in cli("rollback", 1, *planned[1:], "--yes").complaint


def test_a_run_that_is_alive_is_aborted_also_where_the_cluster_does_not_answer(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    with process("apply", *planned, "--yes") as running:
        until_line(running, "guest ", "->")
        served.kill()
        asked = subprocess.Popen([sys.executable, "-c", PROGRAM, "abort", "1", *planned[1:]], stderr=subprocess.PIPE,
                                 env=os.environ | {"PYTHONPATH": str(REPO)}, text=True)  # fmt: skip
        until_line(asked, "was asked to end")
        served.start()
        running.communicate(timeout=30)
        assert asked.communicate(timeout=30) and asked.returncode == 0
    assert record(1).state is RunState.ABORTED


def test_only_the_newest_run_that_is_not_over_is_resumed(cli: Cli, served: Served, planned: tuple[str, ...]) -> None:
    Path(os.environ["STATE_DIRECTORY"]).mkdir()
    with Journal(Path(os.environ["STATE_DIRECTORY"]) / FILE) as journal:
        one, two = (journal.begin(plans.plan(plans.migration(1, 100, "a", "b")), "fakecluster", 1.0) for _ in range(2))
    assert f"run {two} came later and is not over" in cli("resume", one, *planned[1:], "--yes").complaint


def test_a_run_that_was_stopped_with_nothing_under_way_gives_way_to_a_new_one(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    served.pve.time_scale = 0.0
    served.pve.guest(migrations(planned[0])[0]["vmid"]).fails = "migration aborted"
    first = cli("apply", *planned, "--yes")
    assert first.code in (1, 4) and record(1).state is RunState.STOPPED
    served.pve.guest(migrations(planned[0])[0]["vmid"]).fails = ""
    assert cli("apply", *planned[1:], "--yes", "--solver", "greedy", "--balanciness", 0).code == 0
    assert record(1).state is RunState.ABORTED and record(2).state is RunState.DONE


def test_rollback_brings_every_guest_back(cli: Cli, served: Served, planned: tuple[str, ...]) -> None:
    before = served.pve.where()
    served.pve.time_scale = 0.0
    assert cli("apply", *planned, "--yes").code == 0
    assert served.pve.where() != before
    outcome = cli("rollback", 1, *planned[1:], "--yes")
    assert outcome.code == 0, outcome.err
    assert served.pve.where() == before and "Still broken" not in outcome.out
    assert record(1).state is RunState.ROLLED_BACK and (record(2).kind, record(2).of) == ("rollback", 1)
    assert "is rolled back already" in cli("rollback", 1, *planned[1:], "--yes").complaint
    assert "is a way back itself" in cli("rollback", 2, *planned[1:], "--yes").complaint
    assert "rollback of 1" in cli("history").out


def test_runs_of_another_cluster_are_not_touched(cli: Cli, served: Served, planned: tuple[str, ...]) -> None:
    assert "no run on cluster" in cli("resume", *planned[1:], "--yes").complaint
    with Journal(Path(os.environ["STATE_DIRECTORY"]) / FILE) as journal:
        other = journal.begin(plans.plan(plans.migration(1, 100, "a", "b")), "elsewhere", time.time())
    for command in ("resume", "abort", "rollback"):
        words = ("--yes",) if command != "abort" else ()
        assert "is of cluster elsewhere" in cli(command, other, *planned[1:], *words).complaint
    assert "is unfinished" in cli("abort", *planned[1:]).complaint


def configured(tmp_path: Path, served: Served, **apply: Any) -> Path:
    """A configuration with a section apply."""
    path = write_config(tmp_path / "apply.yaml", served)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"apply": apply}))
    return path


def test_a_deadline_ends_a_run_that_goes_on_when_it_is_resumed(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    outcome = cli("apply", *planned, "--yes", "--deadline", "1s")
    assert outcome.code == 4 and "the deadline has come" in outcome.out
    assert record(1).state is RunState.STOPPED and Step.PLANNED in steps(1)
    served.pve.time_scale = 0.0
    assert cli("resume", *planned[1:], "--yes").code == 0 and arrived(served, planned[0])


def test_a_hook_that_says_no_keeps_a_run_from_beginning(
    cli: Cli, served: Served, planned: tuple[str, ...], tmp_path: Path
) -> None:
    config = configured(tmp_path, served, hooks={"before_run": ["sh", "-c", "echo it is sunday >&2; exit 1"]})
    outcome = cli("apply", planned[0], "--config", config, "--yes")
    assert outcome.code == 1 and "it is sunday" in outcome.out and posts(served) == []
    assert record(1).state is RunState.STOPPED


def test_with_on_drift_skip_what_is_not_as_planned_is_left_out(
    cli: Cli, served: Served, planned: tuple[str, ...]
) -> None:
    served.pve.migration_secs = 0.2
    last = migrations(planned[0])[-1]["vmid"]
    with process("apply", *planned, "--yes", "--on-drift", "skip") as running:
        until_line(running, "guest ", "->")
        served.pve.guest(last).lock = "backup"
        out, _ = running.communicate(timeout=30)
    assert running.returncode == 4 and f"skipped: guest {last} " in out and "backed up" in out
    assert set(steps(1)) == {Step.DONE, Step.SKIPPED}


def test_hooks_hear_of_a_run_and_its_migrations(
    cli: Cli, served: Served, planned: tuple[str, ...], tmp_path: Path
) -> None:
    served.pve.time_scale = 0.0
    command = ["sh", "-c", f"cat >> {tmp_path}/heard; echo >> {tmp_path}/heard"]
    names = ("before_run", "before_migration", "after_migration", "after_run")
    config = configured(tmp_path, served, hooks=dict.fromkeys(names, command))
    assert cli("apply", planned[0], "--config", config, "--yes").code == 0
    heard = [json.loads(line) for line in (tmp_path / "heard").read_text().splitlines()]
    many = len(migrations(planned[0]))
    assert [sum(item["event"] == name for item in heard) for name in names] == [1, many, many, 1]
    assert {item["run"] for item in heard} == {1} and heard[-1]["outcome"]["done"] == many


def test_a_run_goes_on_when_nobody_reads_what_it_says(cli: Cli, served: Served, planned: tuple[str, ...]) -> None:
    served.pve.migration_secs = 0.2
    with process("apply", *planned, "--yes") as running:
        until_line(running, "guest ", "->")
        assert running.stderr is not None and running.stdout is not None
        running.stderr.close()
        running.stdout.close()
        running.wait(20)
    assert record(1).state is RunState.DONE and arrived(served, planned[0])


def test_a_plan_that_no_longer_holds_begins_no_run(cli: Cli, served: Served, planned: tuple[str, ...]) -> None:
    served.pve.guest(migrations(planned[0])[0]["vmid"]).node = "pve3"
    outcome = cli("apply", *planned, "--yes")
    assert outcome.code == 5 and "is on pve3" in outcome.complaint and posts(served) == []
    assert cli("history").out == "no run yet\n"


def test_what_failed_is_tried_again_by_resume(cli: Cli, served: Served, planned: tuple[str, ...]) -> None:
    served.pve.time_scale = 0.0
    guest = served.pve.guest(migrations(planned[0])[0]["vmid"])
    guest.fails = "no space left"
    outcome = cli("apply", *planned, "--yes", "--max-failures", 9)
    assert outcome.code == 4 and outcome.out.count("failed: guest") == 1
    assert set(steps(1)) <= {Step.DONE, Step.FAILED, Step.SKIPPED} and Step.FAILED in steps(1)
    guest.fails = ""
    assert cli("resume", *planned[1:], "--yes").code == 0 and set(steps(1)) == {Step.DONE}


def test_nothing_is_done_without_an_answer_or_with_no(
    cli: Cli, served: Served, planned: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.pve.time_scale = 0.0
    assert cli("apply", *planned, "--yes", "--deadline", "10m").code == 0
    for command in (("rollback", 1), ("resume", 1)):
        assert "use --yes" in cli(*command, *planned[1:]).complaint
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *args, **kwargs: False)
    outcome = cli("rollback", 1, *planned[1:])
    assert outcome.code == 0 and "nothing was done" in outcome.err and arrived(served, planned[0])


@pytest.fixture
def in_memory() -> Iterator[Journal]:
    with Journal(None) as journal:
        yield journal


def site(journal: Journal, **apply: Any) -> Site:
    """The demo with a section apply, in a time that jumps."""
    clock = FastClock()
    session = Session(Policy(), Cluster(), Apply(**apply), demo(Size.SMALL, clock), clock)
    return Site(session, Runs(journal, None), "demo", wall(clock))


def test_a_window_is_waited_for_and_then_open(in_memory: Journal) -> None:
    at = site(in_memory, hours=(later(60, 120),))
    times, said = Times(at), []
    assert not times.may_start(at.now())
    times.wait(said.append)
    assert times.may_start(at.now()) and said[0].startswith("waiting until ")
    assert not times.may_start(at.now() + 3600 + 60)
    again: list[str] = []
    times.wait(again.append)
    assert again == []


def test_a_deadline_before_the_window_makes_no_sense(in_memory: Journal) -> None:
    with pytest.raises(UsageError, match="over before the hours"):
        Times(site(in_memory, hours=(later(60, 120),), deadline="30m"))
    assert not Times(site(in_memory, deadline="30m")).may_start(time.time() + 1801)


def later(begin: int, end: int) -> str:
    """A window that begins and ends so many minutes from now."""
    now = datetime.now(UTC).astimezone()
    return "-".join((now + timedelta(minutes=minutes)).strftime("%H:%M") for minutes in (begin, end))
