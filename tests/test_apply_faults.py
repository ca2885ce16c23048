"""Claims about apply in bad weather: what is reported, how the journal has it, that nothing is lost or sent twice."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakepve import TaskError

from planner.apply import exit_code
from planner.clock import RealClock
from planner.plan import Schedule
from planner.pve import Pve
from planner.run import RunState, Step
from tests.applying import Spy, a_plan, carried_out
from tests.commandline import Cli, Outcome, alone, calling, write_config
from tests.fakecluster import TOKEN_ID, TOKEN_SECRET, Served, serving, small_cluster


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("planner.cli_site.FIGURES", 0.0)  # the fake's figures are never late


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(small_cluster(), tmp_path) as server:
        yield server


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setattr("planner.patience.POLL", 0.2)  # the command line takes the real clock
    return calling(capsys)


@pytest.fixture
def pve(served: Served) -> Iterator[Pve]:
    with Pve(served.connection()) as session:
        yield session


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.patience.PATIENCE", 0.6)
    monkeypatch.setattr("planner.patience.POLL", 0.05)


# ----------------------------------------------------------------- lost answers


def test_after_a_lost_answer_the_running_task_is_found_and_nothing_is_posted_twice(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.05
    spy = Spy(pve)
    spy.lose = True
    run = carried_out(spy, a_plan(pve, (100, "pve2"), (200, "pve3")))
    assert run.steps == [Step.DONE, Step.DONE]
    assert spy.sent == {100: 1, 200: 1}
    assert all(entry.upid for entry in run.record.entries)
    assert (served.pve.where()[100], served.pve.where()[200]) == ("pve2", "pve3")


def test_after_a_lost_answer_a_task_that_is_over_is_found_with_its_fate(served: Served, pve: Pve) -> None:
    served.pve.vm(101).fails = "migration aborted"
    spy = Spy(pve)  # both are over before anybody can look
    spy.lose = True
    run = carried_out(spy, a_plan(pve, (100, "pve2"), (101, "pve2")))
    assert run.steps == [Step.DONE, Step.FAILED]
    assert "guest 101 was not migrated, it is on pve1: migration aborted" in run.why
    assert spy.sent == {100: 1, 101: 1}


def test_a_lost_answer_with_no_trace_is_told_as_unknown(served: Served, pve: Pve) -> None:
    served.pve.fail("POST", "/nodes/pve1/qemu/100/migrate", 504, "Gateway Timeout")
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    assert run.steps == [Step.UNKNOWN, Step.PLANNED]
    assert "whether guest 100 is being migrated is not known" in run.why
    assert run.record.state is RunState.STOPPED
    assert exit_code(run.record, run.error) == 4
    assert served.sent("POST", "/migrate") == 1


def test_a_request_that_surely_was_not_sent_is_sent_again(served: Served, pve: Pve) -> None:
    served.pve.fail("POST", "/nodes/pve1/qemu/100/migrate", 595, "No route to host", times=3)
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    assert run.steps == [Step.DONE, Step.DONE]
    events = [event.step for event in run.journal.events(run.record.id) if event.number == 1]
    assert events == [Step.CHECKED, Step.PLANNED] * 3 + [Step.CHECKED, Step.STARTED, Step.DONE]


def test_a_request_that_never_gets_through_ends_the_run_with_nothing_done(served: Served, pve: Pve) -> None:
    served.pve.fail("POST", "/nodes/pve1/qemu/100/migrate", 595, "No route to host")
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    assert run.steps == [Step.PLANNED, Step.PLANNED]
    assert "node pve1 is away" in run.why
    assert exit_code(run.record, run.error) == 69
    assert not served.pve.tasklog


def test_a_connection_that_breaks_while_the_answer_is_due_posts_once(served: Served, pve: Pve) -> None:
    """The API host dies after it has started the task and before it has answered, and is back at once."""
    original = served.pve._start

    async def die(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        served.pve._start = original
        await original(guest, kind, values, user)

        async def restart() -> None:
            await served._kill()
            await served.pve.start(served.ca_file, served._key)

        served.pve.restarting = asyncio.ensure_future(restart())
        await asyncio.sleep(20)

    served.pve.time_scale = 0.1
    served.pve._start = die
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert run.steps == [Step.DONE]
    assert served.sent("POST", "/migrate") == 1
    assert served.pve.where()[100] == "pve2"


# ------------------------------------------------------------ an API in trouble


def test_an_api_that_comes_back_is_waited_for(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.05
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"))

    def hiccup() -> None:
        served.kill()
        served.start()

    timer = threading.Timer(0.1, hiccup)
    timer.start()
    run = carried_out(pve, plan)
    timer.join()
    assert run.steps == [Step.DONE, Step.DONE]
    assert served.sent("POST", "/migrate") == 2


@pytest.mark.parametrize("seed", range(3))
def test_dropped_connections_lose_and_double_nothing(
    served: Served, pve: Pve, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.patience.SETTLE", 6.0)  # each look takes real time
    served.pve.time_scale = 0.01
    plan = a_plan(pve, (100, "pve2"), (101, "pve3"), (102, "pve2"), (200, "pve3"), chain=False)
    served.pve.flaky_network(drop_rate=0.25, seed=seed)
    served.pve._random.seed(seed)
    run = carried_out(pve, plan, max_failures=9)
    served.pve.flaky_network()
    migrated = [task["id"] for task in served.pve.tasklog if task["type"] in ("qmigrate", "vzmigrate")]
    assert len(migrated) == len(set(migrated))
    for entry in run.record.entries:
        assert entry.step in (Step.DONE, Step.UNKNOWN, Step.PLANNED)
        there = served.pve.where()[entry.migration.vmid] == entry.migration.target
        assert there or entry.step is not Step.DONE


def test_a_slow_network_only_takes_longer(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (200, "pve3"))
    served.pve.time_scale = 0.02
    served.pve.slow_network(1.0, jitter=1.0)
    run = carried_out(pve, plan)
    assert run.steps == [Step.DONE, Step.DONE]
    assert served.sent("POST", "/migrate") == 2


@pytest.mark.usefixtures("impatient")
def test_a_source_that_goes_offline_is_looked_for_until_its_guest_is_seen_on_the_target(
    served: Served, pve: Pve
) -> None:
    """The source dies after its guest has left it: its task can no longer be asked for."""
    original = served.pve._migration

    async def last_words(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        upid = await original(guest, kind, values, user)
        served.pve.nodes["pve1"]["online"] = False
        return upid

    served.pve._migration = last_words
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert run.steps == [Step.DONE]
    assert "its task could not be read" in run.notes[0]


@pytest.mark.usefixtures("impatient")
def test_a_source_that_goes_offline_with_its_guest_leaves_its_fate_open(served: Served, pve: Pve) -> None:
    served.pve.time_scale, served.pve.migration_secs = 0.02, 1e6

    def gone(path: str) -> None:
        if "/tasks/" in path:
            served.pve.nodes["pve1"]["online"] = False

    spy = Spy(pve)
    spy.before = gone
    run = carried_out(spy, a_plan(pve, (100, "pve2"), (101, "pve3")))
    assert run.steps == [Step.UNKNOWN, Step.PLANNED]
    assert "lost sight of task" in run.why and "node pve1 is away" in run.why
    assert run.record.state is RunState.STOPPED
    assert exit_code(run.record, run.error) == 4


def test_a_hanging_task_is_given_up_and_told_as_unknown(served: Served, pve: Pve) -> None:
    served.pve.time_scale, served.pve.migration_secs = 0.01, 1e6
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")), timeout=20.0)
    assert run.steps == [Step.UNKNOWN, Step.PLANNED]
    assert "guest 100 is still migrating after 2" in run.why and "(task UPID:pve1:" in run.why
    assert exit_code(run.record, run.error) == 4
    assert served.sent("POST", "/migrate") == 1


# --------------------------------------------------------------------- refusals


def test_without_quorum_nothing_is_started(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"))
    served.pve.lose_quorum()
    run = carried_out(pve, plan)
    assert run.steps == [Step.FAILED, Step.SKIPPED]
    assert "quorum" in run.why
    assert not served.pve.tasklog


def test_quorum_lost_in_mid_run_ends_it_after_what_runs(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.02
    original = served.pve._migration

    async def lost(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        upid = await original(guest, kind, values, user)
        served.pve.lose_quorum()
        return upid

    served.pve._migration = lost
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2"), (102, "pve2")))
    assert run.steps == [Step.DONE, Step.FAILED, Step.SKIPPED]
    assert "quorum" in run.why
    assert len(served.pve.tasklog) == 1


def test_a_token_revoked_in_mid_run_starts_no_more_and_leaves_open_what_runs(served: Served, pve: Pve) -> None:
    served.pve.time_scale, served.pve.migration_secs = 0.02, 1e6
    plan = a_plan(pve, (100, "pve2"), (101, "pve3"), (102, "pve2"), schedule=Schedule(2, 0, 0, 2, 2, 2), chain=False)
    spy = Spy(pve)

    def revoked(path: str) -> None:
        if len(spy.posts) == 2:
            served.pve.apitokens.clear()

    spy.before = revoked
    run = carried_out(spy, plan)
    assert run.steps == [Step.UNKNOWN, Step.UNKNOWN, Step.PLANNED]
    assert "was refused by" in run.why and TOKEN_ID in run.why
    assert TOKEN_SECRET not in run.why + "".join(run.notes)
    assert exit_code(run.record, run.error) == 4
    assert spy.sent == {100: 1, 101: 1}


def test_a_token_that_is_back_in_time_loses_no_migration(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.02
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"))
    spy, looks = Spy(pve), [0]

    def revoked(path: str) -> None:
        looks[0] += "/tasks/" in path
        served.pve.apitokens.clear()
        if not 2 <= looks[0] <= 5:
            served.pve.apitokens[TOKEN_ID] = TOKEN_SECRET

    spy.before = revoked
    run = carried_out(spy, plan)
    assert run.steps == [Step.DONE, Step.PLANNED]
    assert "was refused by" in run.why


def test_a_backup_that_begins_between_the_look_and_the_request_is_told_by_proxmox_ve(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"))
    spy, post = Spy(pve), None

    def backed_up(path: str, **data: Any) -> Any:
        served.pve.vm(100).lock = "backup"
        return post(path, **data)  # type: ignore[misc]

    post, spy.post = spy.post, backed_up  # type: ignore[method-assign]
    run = carried_out(spy, plan)
    assert run.steps == [Step.FAILED, Step.SKIPPED]
    assert "VM is locked (backup)" in run.why


# ----------------------------------------------------------- others at work too


def meddling(served: Served, change: Any) -> None:
    """Somebody changes something while the first migration runs."""

    async def migration(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        async def move() -> None:
            await served.pve.pause(3.0)
            change(guest)
            raise TaskError("migration aborted")

        return await served.pve.task(guest.node, kind, guest.vmid, user, move)

    served.pve.time_scale, served.pve._migration = 0.02, migration


def test_a_guest_deleted_while_it_is_migrated_has_failed(served: Served, pve: Pve) -> None:
    meddling(served, lambda guest: served.pve.vms.remove(guest))
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    assert run.steps == [Step.FAILED, Step.SKIPPED]
    assert "guest 100 is gone" in run.why


def test_a_guest_deleted_before_its_turn_is_drift(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"))
    served.pve.vms.remove(served.pve.vm(101))
    run = carried_out(pve, plan)
    assert run.steps == [Step.DONE, Step.PLANNED]
    assert "guest 101 is gone" in run.why


def test_a_guest_that_somebody_took_elsewhere_meanwhile_is_told_with_where_it_is(served: Served, pve: Pve) -> None:
    meddling(served, lambda guest: setattr(guest, "node", "pve3"))
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert run.steps == [Step.FAILED]
    assert "guest 100 was not migrated, it is on pve3: migration aborted" in run.why


def test_a_target_that_is_back_gets_its_guests_when_the_run_is_begun_again(served: Served, pve: Pve) -> None:
    served.pve.nodes["pve3"]["online"] = False
    refused = carried_out(pve, a_plan(pve, (100, "pve3")))
    assert refused.steps == [Step.PLANNED] and "node pve3 is offline" in refused.why
    served.pve.nodes["pve3"]["online"] = True
    assert carried_out(pve, a_plan(pve, (100, "pve3"))).steps == [Step.DONE]


def test_what_the_journal_cannot_take_is_not_sent(served: Served, pve: Pve) -> None:
    from planner.errors import JournalError
    from planner.journal import Journal
    from tests.applying import continued

    class Full(Journal):
        def record(self, run: int, number: int, step: Step, at: float, **more: Any) -> None:
            if step is Step.CHECKED and number == 2:
                raise JournalError("the disk is full")
            super().record(run, number, step, at, **more)

    journal, spy = Full(None), Spy(pve)
    run = journal.begin(a_plan(pve, (100, "pve2"), (101, "pve2")), "test", 0.0)
    with pytest.raises(JournalError, match="disk is full"):
        continued(spy, journal, run)
    assert spy.sent == {100: 1}
    assert [entry.step for entry in journal.run(run).entries] == [Step.DONE, Step.PLANNED]


# ---------------------------------------------------------- on the command line


def planned_to_file(cli: Cli, served: Served, directory: Path) -> tuple[Path, Path]:
    """Snapshot and plan: (configuration, plan file)."""
    config = write_config(directory / "c.yaml", served)
    plan = directory / "plan.json"
    assert cli("plan", "--config", config, "--solver", "greedy", "--out", plan).code == 0
    return config, plan


def applied_until(server: Served, moment: int, cli: Cli, *words: object) -> Outcome:
    """Apply while the server dies as the POST number `moment` has been answered."""
    original = server.pve.task

    async def task(*args: Any, **kwargs: Any) -> Any:
        upid = await original(*args, **kwargs)
        if server.sent("POST", "/migrate") == moment:
            server.pve.dying = asyncio.get_running_loop().call_later(0.2, lambda: asyncio.ensure_future(server._kill()))
        return upid

    server.pve.task = task
    return cli(*words)


@pytest.mark.usefixtures("impatient")
def test_a_server_killed_in_between_leaves_a_true_report(cli: Cli, served: Served, tmp_path: Path) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)
    served.pve.time_scale, served.pve.migration_secs = 1.0, 0.5
    outcome = applied_until(served, 2, cli, "apply", plan, "--config", config, "--yes")
    vmids = [m["vmid"] for wave in json.loads(plan.read_text())["waves"] for m in wave]
    assert outcome.code == 4
    assert f"done: guest {vmids[0]} " in outcome.out
    assert f"unknown: guest {vmids[1]} " in outcome.out
    assert f"guest {vmids[1]}: lost sight of task UPID:" in outcome.out
    assert all(f"not started: guest {vmid} " in outcome.out for vmid in vmids[2:])
    assert "spread now" not in outcome.out
    assert served.sent("POST", "/migrate") == 2


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_dead_from_the_start_is_unreachable(cli: Cli, served: Served, tmp_path: Path) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)
    served.kill()
    outcome = cli("apply", plan, "--config", config, "--yes")
    assert outcome.code == 69
    assert "no API host answered" in outcome.complaint


def test_a_run_that_fails_before_anything_moved_is_no_partial_one(cli: Cli, served: Served, tmp_path: Path) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)
    for guest in served.pve.guests:
        guest.fails = "migration aborted"
    outcome = cli("apply", plan, "--config", config, "--yes")
    assert outcome.code == 1
    assert "0 of " in outcome.out and "migration aborted" in outcome.out


def test_a_run_that_fails_half_way_is_a_partial_one(cli: Cli, served: Served, tmp_path: Path) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)
    vmids = [m["vmid"] for wave in json.loads(plan.read_text())["waves"] for m in wave]
    served.pve.guest(vmids[1]).fails = "migration aborted"
    outcome = cli("apply", plan, "--config", config, "--yes")
    assert outcome.code == 4
    assert f"1 of {len(vmids)} migrations done" in outcome.out


def test_a_token_that_may_not_migrate_changes_nothing(cli: Cli, served: Served, tmp_path: Path) -> None:
    served.pve.apitokens["reader@pve!t"] = secret = "11111111-2222-4333-8444-555555555555"
    served.pve.grant("reader@pve", "/", "Sys.Audit", "VM.Audit", "Datastore.Audit", "Pool.Audit")
    config = write_config(tmp_path / "c.yaml", served, token_id="reader@pve!t", token_secret=secret)
    outcome = cli("apply", "--config", config, "--solver", "greedy", "--yes")
    assert outcome.code == 77
    assert "VM.Migrate" in outcome.out
    assert secret not in outcome.out + outcome.err


def test_the_spread_that_cannot_be_read_does_not_undo_a_success(
    cli: Cli, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)

    def sleep(self: RealClock, seconds: float) -> None:
        if seconds == 0.125:
            served.kill()
        time.sleep(seconds)

    monkeypatch.setattr("planner.cli_site.FIGURES", 0.125)
    monkeypatch.setattr(RealClock, "sleep", sleep)
    outcome = cli("apply", plan, "--config", config, "--yes")
    assert outcome.code == 0
    assert "the spread that was reached is not known" in outcome.err
