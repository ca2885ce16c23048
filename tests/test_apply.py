"""Claims about apply: what it asks of Proxmox VE, what it believes, where it stops and what it then says."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakepve import FakePve

from planner import collect, snapshot
from planner.apply import Applier, Run, check_assumptions, command, parameters
from planner.clock import FastClock
from planner.cluster import Cluster
from planner.errors import StalePlan, Unreachable
from planner.plan import Migration, Plan
from planner.planning import make_plan, prepare
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy
from planner.pve import Pve
from planner.report import console
from planner.report import run as report_run
from tests.commandline import INTERRUPTIBLE, Cli, Outcome, alone, calling, write_config
from tests.fakecluster import FakeCluster, Served, serving, small_cluster

REPO = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr("planner.cli.FIGURES", 0.0)  # the fake's figures are never late


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


def cluster_now(source: Any) -> Cluster:
    return collect.collect(snapshot.take(source))


def a_plan(source: Any, *wanted: tuple[int, str], **changes: Any) -> Plan:
    """A plan for these guests to these nodes; changes as fields of the Migrations."""
    cluster = cluster_now(source)
    rows = {int(row.vmid): row for row in cluster.guests.itertuples()}  # type: ignore[arg-type]
    waves = []
    for vmid, target in wanted:
        row: Any = rows[vmid]
        one = Migration(vmid, row.name, row.type, row.node, target, 4096, 0, row.status == "running", "test", 0.0)
        number = len(waves) + 1
        waves.append((replace(one, number=number, after=(number - 1,) if waves else (), bundle=number, **changes),))
    return replace(make_plan(prepare(cluster, Policy()), "greedy"), waves=tuple(waves))


def carried_out(source: Any, plan: Plan, timeout: float = 3600.0) -> Run:
    run = Run(plan)
    Applier(source, FastClock(200), timeout, lambda line: None).carry_out(run)
    return run


def told(run: Run, capsys: pytest.CaptureFixture[str]) -> str:
    report_run(run, console())
    return capsys.readouterr().out


def why(run: Run) -> str:
    assert run.failed is not None
    return str(run.failed[1])


class Spy:
    """A source that remembers what was posted, and can spoil it."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.lose = False

    def get(self, path: str, **params: Any) -> Any:
        return self.source.get(path, **params)

    def post(self, path: str, **data: Any) -> Any:
        self.posts.append((path, data))
        upid = self.source.post(path, **data)
        if self.lose:
            raise Unreachable("connection lost", sent=True)
        return upid


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
    assert run.failed is None
    assert [data for _, data in spy.posts] == [{"target": "pve2", **sent}]
    assert (guest.node, guest.status) == ("pve2", facts.get("status", "running"))


def test_migrations_go_one_at_a_time(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.01
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve3"), (200, "pve3")))
    assert run.failed is None
    assert [served.pve.where()[vmid] for vmid in (100, 101, 200)] == ["pve2", "pve3", "pve3"]
    ours = [task for task in served.pve.tasklog if "migrate" in task["type"]]
    assert all(first["endtime"] <= second["starttime"] + 1 for first, second in itertools.pairwise(ours))
    verbs = [(verb, path.endswith("/migrate")) for verb, path, _ in served.pve.requests]
    assert verbs.count(("POST", True)) == 3


# ------------------------------------------------------------------ what is believed


def test_warnings_count_as_success_and_are_mentioned(
    served: Served, pve: Pve, capsys: pytest.CaptureFixture[str]
) -> None:
    served.pve.vm(100).fails = "WARNINGS: 2"
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    assert run.failed is None
    assert "guest 100 (guest100) is on pve2 (with warnings: 2" in told(run, capsys)


def test_a_task_that_ends_well_and_moves_nothing_is_a_failure(tmp_path: Path) -> None:
    fake = FakePve()
    for vmid, node in ((100, "pve1"), (101, "pve1"), (102, "pve2")):
        fake.add_vm(vmid, f"guest{vmid}", node=node, status="running")
    with serving(fake, tmp_path) as server, Pve(server.connection()) as pve:
        run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
        posts = server.sent("POST", "/migrate")
    assert "guest 100 did not move: the task ended well" in why(run)
    assert posts == 1
    assert [m.vmid for m in run.left] == [101]
    assert run.current is None


def test_a_failed_task_is_told_with_the_line_that_says_why(
    served: Served, pve: Pve, capsys: pytest.CaptureFixture[str]
) -> None:
    served.pve.vm(101).pci = True
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2"), (102, "pve3")))
    text = told(run, capsys)
    assert "done: guest 100 (guest100) is on pve2" in text
    assert "guest 101 was not migrated, it is on pve1: migration aborted: ERROR" in text
    assert "can't migrate VM which uses local devices: hostpci0" in text
    assert "not started: guest 102 (guest102) from pve1 to pve3" in text
    assert "1 of 3 migrations done" in text
    assert served.sent("POST", "/migrate") == 2


def test_the_reason_is_found_in_a_long_log(served: Served, pve: Pve) -> None:
    async def long_failure(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        async def fail() -> None:
            guest.fails = ""
            raise served.pve.task_error("migration aborted")

        log = [f"copied {n} %" for n in range(99)] + ["ERROR: storage 'tank' is full"]
        return await served.pve.task(guest.node, kind, guest.vmid, user, fail, log=log)

    from fakepve import TaskError

    served.pve.task_error = TaskError
    served.pve._migration = long_failure
    assert "storage 'tank' is full" in why(carried_out(pve, a_plan(pve, (100, "pve2"))))


def test_a_failed_task_whose_guest_arrived_is_no_failure(served: Served, pve: Pve) -> None:
    async def trouble(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        async def move() -> None:
            from fakepve import TaskError

            guest.node = values["target"]
            raise TaskError("migration problems")

        return await served.pve.task("pve1", kind, guest.vmid, user, move)

    served.pve._migration = trouble
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert run.failed is None
    assert "migration problems" in run.done[0][1]


def test_a_container_that_arrived_and_does_not_run_ends_the_run(served: Served, pve: Pve) -> None:
    async def broken_start(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        async def move() -> None:
            from fakepve import TaskError

            guest.node, guest.status = values["target"], "stopped"
            raise TaskError("startup for container '200' failed")

        return await served.pve.task("pve1", kind, guest.vmid, user, move)

    served.pve._migration = broken_start
    run = carried_out(pve, a_plan(pve, (200, "pve3"), (100, "pve2")))
    assert "guest 200 is no longer running, it is on pve3: startup for container '200' failed" in why(run)
    assert served.sent("POST", "/migrate") == 1


# ----------------------------------------------------------------------- HA


def test_the_ha_manager_may_take_its_time(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.02
    served.pve.vm(100).ha_state = "started"
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    assert run.failed is None
    assert served.pve.where()[100] == "pve2"
    kinds = [task["type"] for task in served.pve.tasklog]
    assert kinds == ["hamigrate", "qmigrate", "qmigrate"]


def test_a_migration_that_the_ha_manager_never_starts_ends_in_doubt(
    served: Served, pve: Pve, capsys: pytest.CaptureFixture[str]
) -> None:
    served.pve.vm(100).ha_state = "started"
    served.pve.ha_rules = [{"type": "node-affinity", "resources": "vm:100", "nodes": "pve1", "strict": 1}]
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    text = told(run, capsys)
    assert "guest 100 did not move: the HA manager has not migrated it" in text
    assert "unknown: guest 100 (guest100) may still be on its way to pve2" in text
    assert "not started: guest 101" in text
    assert served.sent("POST", "/migrate") == 1


def test_a_guest_that_came_along_with_another_is_done(served: Served, pve: Pve) -> None:
    for vmid in (100, 101):
        served.pve.vm(vmid).ha_state = "started"
    served.pve.ha_rules = [{"type": "resource-affinity", "affinity": "positive", "resources": "vm:100,vm:101"}]
    served.pve.time_scale = 0.01
    served.pve.migration_secs = 0.0
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    assert run.failed is None
    assert served.pve.where()[101] == "pve2"


# ------------------------------------------------------------- what no longer holds


def gone(fake: FakeCluster) -> None:
    fake.vms.remove(fake.vm(107))


def elsewhere(fake: FakeCluster) -> None:
    fake.vm(107).node = "pve3"


def lost_node(fake: FakeCluster) -> None:
    del fake.nodes["pve3"]


def offline(fake: FakeCluster) -> None:
    fake.nodes["pve3"]["online"] = False


def maintenance(fake: FakeCluster) -> None:
    fake.nodes["pve3"]["hastate"] = "maintenance"


def other_rules(fake: FakeCluster) -> None:
    fake.vm(107).config["tags"] = "plb_pin_pve2"


@pytest.mark.parametrize(
    ("change", "message"),
    [(gone, "guest 107 is gone"), (elsewhere, "guest 107 is on pve3, not on pve2"), (lost_node, "node pve3 is gone"),
     (offline, "node pve3 is offline, not online"), (maintenance, "node pve3 is maintenance, not online"),
     (other_rules, "the rules have changed")],
)  # fmt: skip
def test_a_plan_whose_assumptions_fell_is_refused(
    cli: Cli, served: Served, tmp_path: Path, change: Any, message: str
) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)
    change(served.pve)
    outcome = cli("apply", plan, "--config", config, "--yes")
    assert outcome.code == 5
    assert message in outcome.complaint and "make a new plan" in outcome.complaint
    assert served.sent("POST") == 0


def test_a_node_put_in_maintenance_on_the_command_line_makes_the_plan_stale(
    cli: Cli, served: Served, tmp_path: Path
) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)
    outcome = cli("apply", plan, "--config", config, "--yes", "--maintenance-nodes", "pve3")
    assert outcome.code == 5
    assert "node pve3 is maintenance" in outcome.complaint
    assert served.sent("POST") == 0


def test_a_plan_with_its_own_maintenance_nodes_stays_valid(cli: Cli, served: Served, tmp_path: Path) -> None:
    config, plan = write_config(tmp_path / "c.yaml", served), tmp_path / "p.json"
    made = cli("--config", config, "--solver", "greedy", "--maintenance-nodes", "pve2", "--out", plan)
    assert made.code == 0
    outcome = cli("apply", plan, "--config", config, "--yes")
    assert outcome.code == 0
    assert "pve2" not in served.pve.where().values()


def test_a_vmid_that_became_another_guest_makes_the_plan_stale(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), type="ct")
    with pytest.raises(StalePlan, match="guest 100 is another one: a vm, not a ct"):
        check_assumptions(plan, cluster_now(pve), ClusterPolicy())


def test_a_new_guest_does_not_make_a_plan_stale(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"))
    served.pve.add_guest(900, "pve1", gib=1)
    check_assumptions(plan, cluster_now(pve))


def test_a_locked_guest_is_left_alone(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"))
    served.pve.vm(101).lock = "backup"
    run = carried_out(pve, plan)
    assert len(run.done) == 1
    assert "guest 101 is locked (backup)" in why(run)
    assert served.sent("POST", "/migrate") == 1


def test_a_guest_that_somebody_else_migrated_meanwhile_ends_the_run(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"))
    served.pve.vm(101).node = "pve3"
    run = carried_out(pve, plan)
    assert len(run.done) == 1
    assert "guest 101 is on pve3, not on pve1" in why(run)


def test_a_target_that_went_away_meanwhile_gets_nothing(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve3"))
    served.pve.nodes["pve3"]["online"] = False
    run = carried_out(pve, plan)
    assert len(run.done) == 1
    assert "node pve3 is offline" in why(run)
    assert served.sent("POST", "/migrate") == 1


def test_a_container_started_since_the_plan_is_not_restarted(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (200, "pve3"), running=False)
    assert "container 200 was started" in why(carried_out(pve, plan))
    assert served.sent("POST") == 0


def test_a_refusal_is_told_in_the_words_of_proxmox(served: Served, pve: Pve) -> None:
    served.pve.vm(100).missing_storages = {"pve2": ["tank"]}
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert "storage 'tank' is not available on node 'pve2'" in why(run)
    assert run.current is None


# ------------------------------------------------------------------- lost and broken


def test_after_a_lost_answer_the_running_task_is_found_and_nothing_is_posted_twice(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.05
    spy = Spy(pve)
    spy.lose = True
    run = carried_out(spy, a_plan(pve, (100, "pve2"), (200, "pve3")))
    assert run.failed is None
    assert len(spy.posts) == 2
    assert (served.pve.where()[100], served.pve.where()[200]) == ("pve2", "pve3")


def test_after_a_lost_answer_a_guest_that_has_arrived_is_done(served: Served, pve: Pve) -> None:
    spy = Spy(pve)  # the migration is over before anybody can look
    spy.lose = True
    run = carried_out(spy, a_plan(pve, (100, "pve2")))
    assert run.failed is None
    assert len(spy.posts) == 1


def test_a_lost_answer_with_no_trace_is_told_as_unknown(
    served: Served, pve: Pve, capsys: pytest.CaptureFixture[str]
) -> None:
    served.pve.fail("POST", "/nodes/pve1/qemu/100/migrate", 504, "Gateway Timeout")
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    text = told(run, capsys)
    assert "whether guest 100 is being migrated is not known" in text
    assert "unknown: guest 100" in text and "not started: guest 101" in text
    assert served.sent("POST", "/migrate") == 1


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
    assert run.failed is None
    assert served.sent("POST", "/migrate") == 1
    assert served.pve.where()[100] == "pve2"


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
    assert run.failed is None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.apply.PATIENCE", 0.3)
    monkeypatch.setattr("planner.apply.POLL", 0.05)


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
    assert f"failed: guest {vmids[1]}: lost sight of task UPID:" in outcome.out
    assert f"unknown: guest {vmids[1]} " in outcome.out
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

    def die(self: Any, chosen: Any) -> Any:
        served.kill()
        return self

    monkeypatch.setattr("planner.session.Session.judging", die)
    outcome = cli("apply", plan, "--config", config, "--yes")
    assert outcome.code == 0
    assert "the spread that was reached is not known" in outcome.err


def test_ctrl_c_ends_with_a_report_of_what_was_done(served: Served, tmp_path: Path, cli: Cli) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)
    served.pve.time_scale, served.pve.migration_secs = 1.0, 1.2
    words = [sys.executable, "-c", INTERRUPTIBLE, "apply", str(plan), "--config", str(config), "--yes"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPO)},
    ) as process:  # fmt: skip
        assert process.stderr is not None and process.stdout is not None
        assert process.stderr.readline().startswith("guest ")
        second = process.stderr.readline().split()[1].rstrip(":")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.strip() == "proxlb-plan: interrupted"
    assert out.count("done: guest ") == 1
    assert "not started: guest " in out
    assert f"unknown: guest {second} " in out or f"not started: guest {second} " in out
