"""Claims about apply: what it asks of Proxmox VE, what it believes, where it stops and what it then says."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakepve import FakePve, TaskError

from planner.clock import FastClock
from planner.errors import Unreachable
from planner.journal import Journal
from planner.plan import Handling, Migration, Schedule
from planner.pve import Pve
from planner.request import IN_TURN, command, parameters, script
from planner.run import RunState, Step
from tests.applying import SPEED, RowGate, Spy, a_plan, carried_out, continued
from tests.commandline import Cli, alone, calling, write_config
from tests.fakecluster import Served, serving, small_cluster


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("planner.cli_site.FIGURES", 0.0)  # the fake's figures are never late
    monkeypatch.setattr("planner.patience.POLL", 0.2)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(small_cluster(), tmp_path) as server:
        yield server


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def pve(served: Served) -> Iterator[Pve]:
    with Pve(served.connection()) as session:
        yield session


# ------------------------------------------------------------ one whole way, over TLS


def planned_to_file(cli: Cli, served: Served, directory: Path) -> tuple[Path, Path]:
    """Snapshot and plan: (configuration, plan file)."""
    config = write_config(directory / "c.yaml", served)
    shot, plan = directory / "s.json.gz", directory / "plan.json"
    assert cli("snapshot", "--config", config, "--out", shot).code == 0
    assert cli("plan", "--snapshot", shot, "--solver", "greedy", "--out", plan).code == 0
    return config, plan


def test_a_plan_from_a_snapshot_is_carried_out_to_the_letter(cli: Cli, served: Served, tmp_path: Path) -> None:
    before = served.pve.where()
    config, plan = planned_to_file(cli, served, tmp_path)
    migrations = [m for wave in json.loads(plan.read_text())["waves"] for m in wave]
    outcome = cli("apply", plan, "--config", config, "--yes")
    assert outcome.code == 0
    assert served.pve.where() == before | {m["vmid"]: m["target"] for m in migrations}
    assert served.sent("POST", "/migrate") == len(migrations) > 0
    assert f"{len(migrations)} of {len(migrations)} migrations done" in outcome.out
    assert "spread now " in outcome.out
    reached = float(outcome.out.split("spread now ")[1].split()[0])
    assert reached == pytest.approx(json.loads(plan.read_text())["spread"]["after"], abs=0.1)


def test_without_a_file_apply_plans_shows_and_carries_out(cli: Cli, served: Served, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", served)
    outcome = cli("apply", "--config", config, "--solver", "greedy", "--max-migrations", 1, "--yes")
    assert outcome.code == 0
    assert served.sent("POST", "/migrate") == 1
    assert "1 of at most 1 migrations" in outcome.out


def test_without_a_terminal_and_without_yes_nothing_is_even_planned(cli: Cli, served: Served, tmp_path: Path) -> None:
    outcome = cli("apply", "--config", write_config(tmp_path / "c.yaml", served), "--solver", "greedy")
    assert outcome.code == 64
    assert "--yes" in outcome.complaint
    assert not served.pve.requests


def test_answering_no_does_nothing(cli: Cli, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *args, **kwargs: False)
    outcome = cli("apply", "--config", write_config(tmp_path / "c.yaml", served), "--solver", "greedy")
    assert outcome.code == 0
    assert "nothing was done" in outcome.err
    assert served.sent("POST") == 0


def test_answering_yes_applies(cli: Cli, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *args, **kwargs: True)
    outcome = cli("apply", "--config", write_config(tmp_path / "c.yaml", served), "--solver", "greedy")
    assert outcome.code == 0
    assert served.sent("POST", "/migrate") > 0


def test_a_balanced_cluster_needs_no_answer(cli: Cli, served: Served, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.yaml", served)
    outcome = cli("apply", "--config", config, "--solver", "greedy", "--balanciness", 90, "--yes")
    assert outcome.code == 0
    assert "nothing to do" in outcome.out
    assert served.sent("POST") == 0


def test_the_demo_ends_with_an_applied_plan_and_its_spread(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.session.DEMO_SPEED", 5000.0)
    outcome = cli("apply", "--demo", "--solver", "greedy", "--yes")
    assert outcome.code == 0
    assert "migrations done" in outcome.out
    before, planned = (
        outcome.out.split(word)[-1].split(end)[0] for word, end in (("(before ", ","), ("planned ", ")"))
    )
    now = outcome.out.split("spread now ")[1].split()[0]
    assert now == planned
    assert float(now) < float(before)


def test_a_demo_plan_file_fits_the_demo(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.session.DEMO_SPEED", 5000.0)
    assert cli("--demo", "--solver", "greedy", "--max-migrations", 2, "--out", tmp_path / "p.json").code == 0
    assert cli("apply", tmp_path / "p.json", "--demo", "--yes").code == 0


# ------------------------------------------------------------------ what is asked for


def test_each_kind_of_guest_gets_its_parameters() -> None:
    vm = Migration(100, "a", "vm", "pve1", "pve2", 4096, 0, True, "", 0.0)
    ct = replace(vm, type="ct")
    assert parameters(vm, True) == {"target": "pve2", "online": 1}
    assert parameters(vm, False) == {"target": "pve2"}
    assert parameters(ct, True) == {"target": "pve2", "restart": 1}
    assert parameters(ct, False) == {"target": "pve2"}
    assert parameters(replace(vm, local_disk_mib=9), True) == {"target": "pve2", "online": 1, "with-local-disks": 1}
    assert parameters(replace(ct, local_disk_mib=9), True) == {"target": "pve2", "restart": 1}
    assert command(vm) == "pvesh create /nodes/pve1/qemu/100/migrate --target pve2 --online 1"


def test_what_the_plan_says_of_handling_is_told_where_it_has_a_meaning() -> None:
    vm = Migration(100, "a", "vm", "pve1", "pve2", 4096, 0, True, "", 0.0)
    ct = replace(vm, type="ct")
    told = Handling(bwlimit=2.5, target_storage={"old": "new", "default": "tank"}, conntrack=True, restart_timeout=60)
    common = {"target": "pve2", "bwlimit": 2560}
    assert parameters(vm, True, told) == common | {"online": 1, "with-conntrack-state": 1}
    assert parameters(vm, False, told) == common
    assert parameters(ct, True, told) == common | {"restart": 1, "timeout": 60}
    assert parameters(ct, False, told) == common
    with_disk = replace(vm, local_disk_mib=9), replace(ct, local_disk_mib=9)
    assert parameters(with_disk[0], False, told)["targetstorage"] == "old:new,tank"
    assert parameters(with_disk[1], False, told)["target-storage"] == "old:new,tank"


def test_lines_for_a_shell_say_what_they_have_to_wait_for_and_carry_the_handling(pve: Pve) -> None:
    handling = Handling(bwlimit=100.0)
    plan = a_plan(pve, (100, "pve2"), (200, "pve3"), (100, "pve3"), handling=handling)
    plan = replace(plan, waves=(*plan.waves[:2], tuple(replace(m, after=(1, 2)) for m in plan.waves[2])))
    assert list(script(plan)) == [
        IN_TURN,
        "pvesh create /nodes/pve1/qemu/100/migrate --target pve2 --online 1 --bwlimit 102400",
        "# Not before guest 100 is on pve2:",
        "pvesh create /nodes/pve1/lxc/200/migrate --target pve3 --restart 1 --bwlimit 102400",
        "# Not before guest 100 is on pve2, guest 200 is on pve3:",
        "pvesh create /nodes/pve2/qemu/100/migrate --target pve3 --online 1 --bwlimit 102400",
    ]


def test_the_handling_of_a_plan_reaches_proxmox_ve(served: Served, pve: Pve) -> None:
    spy = Spy(pve)
    handling = Handling(bwlimit=100.0, conntrack=True, restart_timeout=30)
    run = carried_out(spy, a_plan(pve, (100, "pve2"), (200, "pve3"), handling=handling))
    assert run.record.state is RunState.DONE
    assert [data for _, data in spy.posts] == [
        {"target": "pve2", "online": 1, "bwlimit": 102400, "with-conntrack-state": 1},
        {"target": "pve3", "restart": 1, "bwlimit": 102400, "timeout": 30},
    ]


@pytest.mark.parametrize(
    ("vmid", "facts", "sent"),
    [(300, {}, {"online": 1}), (301, {"status": "stopped"}, {}), (302, {"kind": "lxc"}, {"restart": 1}),
     (303, {"kind": "lxc", "status": "stopped"}, {}),
     (304, {"local_disk": True}, {"online": 1, "with-local-disks": 1})],
)  # fmt: skip
def test_guests_of_every_kind_arrive(
    served: Served, pve: Pve, vmid: int, facts: dict[str, Any], sent: dict[str, Any]
) -> None:
    guest = served.pve.add_guest(vmid, "pve1", **facts)
    spy = Spy(pve)
    changes = {"local_disk_mib": 1024} if facts.get("local_disk") else {}
    run = carried_out(spy, a_plan(pve, (vmid, "pve2"), **changes))
    assert run.steps == [Step.DONE] and run.error is None
    assert [data for _, data in spy.posts] == [{"target": "pve2", **sent}]
    assert (guest.node, guest.status) == ("pve2", facts.get("status", "running"))


def at_once(served: Served) -> int:
    """How many migrations ran side by side at most."""
    most, now = 0, 0
    for event in served.pve.course:
        now += event
        most = max(most, now)
    return most


def counted(served: Served) -> None:
    """Have the fake write down +1 and -1 as migrations begin and end."""
    served.pve.course, original = [], served.pve.task

    async def task(node: str, kind: str, tid: Any, user: str, body: Any, **more: Any) -> Any:
        async def counting() -> Any:
            served.pve.course.append(1)
            try:
                return await body()
            finally:
                served.pve.course.append(-1)

        return await original(node, kind, tid, user, counting, **more)

    served.pve.task = task


@pytest.mark.parametrize(("parallel", "per_source", "most"), [(1, 9, 1), (2, 9, 2), (9, 1, 1), (9, 9, 3)])
def test_the_limits_of_the_plan_hold(served: Served, pve: Pve, parallel: int, per_source: int, most: int) -> None:
    served.pve.time_scale = 0.02
    counted(served)
    limits = Schedule(parallel=parallel, per_source=per_source, per_target=9)
    plan = a_plan(pve, (100, "pve2"), (101, "pve3"), (200, "pve3"), schedule=limits, chain=False)
    run = carried_out(pve, plan)
    assert run.steps == [Step.DONE] * 3
    assert [served.pve.where()[vmid] for vmid in (100, 101, 200)] == ["pve2", "pve3", "pve3"]
    assert at_once(served) == most
    assert served.sent("POST", "/migrate") == 3


def test_what_waits_for_another_starts_when_that_has_arrived(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.01
    counted(served)
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve3"), (200, "pve3")))
    assert run.steps == [Step.DONE] * 3
    assert at_once(served) == 1
    steps = [(event.number, event.step) for event in run.journal.events(run.record.id)]
    assert steps == [(n, step) for n in (1, 2, 3) for step in (Step.CHECKED, Step.STARTED, Step.DONE)]


def test_a_guest_that_stops_on_its_way_goes_twice(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (100, "pve3"))
    first, second = plan.migrations
    run = carried_out(pve, replace(plan, waves=((replace(first, bypass=True),), (second,))))
    assert run.steps == [Step.DONE, Step.DONE]
    assert served.pve.where()[100] == "pve3"
    assert {(m.source, m.target) for m in run.journal.moved("test", 0.0)} == {("pve1", "pve2"), ("pve2", "pve3")}


def test_every_request_is_in_the_journal_before_it_is_sent(served: Served, pve: Pve) -> None:
    told: list[Step] = []
    spy, clock = Spy(pve), FastClock(SPEED)
    journal = Journal(None)
    run = journal.begin(a_plan(pve, (100, "pve2"), (101, "pve2")), "test", 0.0)
    post = spy.post

    def recorded_first(path: str, **data: Any) -> Any:
        told.append(journal.run(run).entries[len(told)].step)
        return post(path, **data)

    spy.post = recorded_first  # type: ignore[method-assign]
    assert continued(spy, journal, run, clock=clock).record.state is RunState.DONE
    assert told == [Step.CHECKED, Step.CHECKED]


def test_how_far_a_migration_is_is_told_as_its_log_says(served: Served, pve: Pve) -> None:
    served.pve.time_scale, served.pve.migration_secs = 0.01, 40.0
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert run.steps == [Step.DONE]
    assert [number for number, _ in run.watch.begun] == [1]
    done = [progress.done_mib for _, progress in run.watch.figures]
    assert len(done) > 1 and done == sorted(done)
    assert all(0 <= mib <= 4096 for mib in done)
    assert run.watch.ends == [(1, Step.DONE, "")]


class Refusing(RowGate):
    """A gate that finds no API a few times."""

    def __init__(self, source: Any, times: int) -> None:
        super().__init__(source)
        self.times = times

    def check(self, migration: Migration, under_way: Sequence[Migration]) -> None:
        self.times -= 1
        if self.times >= 0:
            raise Unreachable("no API host answered")
        super().check(migration, under_way)


def test_a_check_that_gets_no_answer_is_made_again_and_others_go_on(served: Served, pve: Pve) -> None:
    gate = Refusing(pve, 3)
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve3"), chain=False), gate=gate)
    assert run.steps == [Step.DONE, Step.DONE]
    assert any("waits: no API host answered" in words for words in run.watch.words)


def test_the_gate_hears_of_all_that_is_under_way(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.02
    gate = RowGate(pve)
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve3"), (200, "pve3"), chain=False), gate=gate)
    assert run.steps == [Step.DONE] * 3
    assert gate.seen == [(1, ()), (2, (1,)), (3, (1, 2))]


# ------------------------------------------------------------------ what is believed


def test_warnings_count_as_success_and_are_mentioned(served: Served, pve: Pve) -> None:
    served.pve.vm(100).fails = "WARNINGS: 2"
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    assert run.steps == [Step.DONE, Step.DONE]
    assert run.notes[0].startswith("with warnings: 2: see task UPID:pve1:")


def test_a_task_that_ends_well_and_moves_nothing_is_a_failure(tmp_path: Path) -> None:
    fake = FakePve()
    for vmid, node in ((100, "pve1"), (101, "pve1"), (102, "pve2")):
        fake.add_vm(vmid, f"guest{vmid}", node=node, status="running")
    with serving(fake, tmp_path) as server, Pve(server.connection()) as pve:
        run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2"), chain=False))
        posts = server.sent("POST", "/migrate")
    assert "guest 100 did not move: the task ended well" in run.notes[0]
    assert posts == 2  # side by side
    assert run.steps == [Step.FAILED, Step.FAILED]


def test_a_failed_task_is_told_with_the_line_that_says_why(served: Served, pve: Pve) -> None:
    served.pve.vm(101).pci = True
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2"), (102, "pve3")))
    assert run.steps == [Step.DONE, Step.FAILED, Step.SKIPPED]
    assert "guest 101 was not migrated, it is on pve1: migration aborted: ERROR" in run.notes[1]
    assert "can't migrate VM which uses local devices: hostpci0" in run.notes[1]
    assert run.notes[2] == "waits for guest 101, which failed"
    assert run.record.state is RunState.STOPPED and run.why == run.notes[1]
    assert served.sent("POST", "/migrate") == 2


def test_the_reason_is_found_in_a_long_log(served: Served, pve: Pve) -> None:
    async def long_failure(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        async def fail() -> None:
            raise TaskError("migration aborted")

        log = [f"copied {n} %" for n in range(1700)] + ["ERROR: storage 'tank' is full"]
        return await served.pve.task(guest.node, kind, guest.vmid, user, fail, log=log)

    served.pve._migration = long_failure
    assert "storage 'tank' is full" in carried_out(pve, a_plan(pve, (100, "pve2"))).why


def test_a_failed_task_whose_guest_arrived_is_no_failure(served: Served, pve: Pve) -> None:
    async def trouble(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        async def move() -> None:
            guest.node = values["target"]
            raise TaskError("migration problems")

        return await served.pve.task("pve1", kind, guest.vmid, user, move)

    served.pve._migration = trouble
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert run.steps == [Step.DONE]
    assert "migration problems" in run.notes[0]


def test_a_container_that_arrived_and_does_not_run_ends_the_run(served: Served, pve: Pve) -> None:
    async def broken_start(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        async def move() -> None:
            guest.node, guest.status = values["target"], "stopped"
            raise TaskError("startup for container '200' failed")

        return await served.pve.task("pve1", kind, guest.vmid, user, move)

    served.pve._migration = broken_start
    run = carried_out(pve, a_plan(pve, (200, "pve3"), (100, "pve2")))
    assert "guest 200 is no longer running, it is on pve3: startup for container '200' failed" in run.why
    assert run.steps == [Step.FAILED, Step.SKIPPED]
    assert served.sent("POST", "/migrate") == 1


def test_a_task_that_ends_well_and_leaves_its_guest_stopped_is_a_failure(served: Served, pve: Pve) -> None:
    async def dies(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        async def move() -> None:
            guest.node, guest.status = values["target"], "stopped"

        return await served.pve.task("pve1", kind, guest.vmid, user, move)

    served.pve._migration = dies
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert run.steps == [Step.FAILED]
    assert "guest 100 is no longer running, it is on pve2" in run.why


def test_a_guest_that_is_there_already_is_not_asked_for(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"))
    served.pve.vm(100).node = "pve2"
    run = carried_out(pve, plan)
    assert run.steps == [Step.DONE, Step.DONE]
    assert run.notes[0] == "it was there already"
    assert served.sent("POST", "/migrate") == 1
