"""Claims about what no longer holds: stale plans and drift, what is refused and what is left out."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.apply import exit_code
from planner.assumptions import check_assumptions
from planner.errors import StalePlan
from planner.plan import Migration, load
from planner.policy import Cluster as ClusterPolicy
from planner.policy import OnDrift
from planner.pve import Pve
from planner.resume import again
from planner.run import RunState, Step
from tests.applying import a_plan, carried_out, cluster_now, continued
from tests.commandline import Cli, alone, calling, write_config
from tests.fakecluster import FakeCluster, Served, serving, small_cluster


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


def planned_to_file(cli: Cli, served: Served, directory: Path) -> tuple[Path, Path]:
    """Snapshot and plan: (configuration, plan file)."""
    config = write_config(directory / "c.yaml", served)
    shot, plan = directory / "s.json.gz", directory / "plan.json"
    assert cli("snapshot", "--config", config, "--out", shot).code == 0
    assert cli("plan", "--snapshot", shot, "--solver", "greedy", "--out", plan).code == 0
    return config, plan


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
    assert run.steps == [Step.DONE, Step.PLANNED]
    assert run.record.state is RunState.STOPPED
    assert "guest 101 is locked (backup)" in run.why
    assert run.error is not None and run.error.exit_code == 75
    assert exit_code(run.record, run.error) == 4
    assert served.sent("POST", "/migrate") == 1


def test_a_guest_that_somebody_else_migrated_meanwhile_ends_the_run(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"))
    served.pve.vm(101).node = "pve3"
    run = carried_out(pve, plan)
    assert run.steps == [Step.DONE, Step.PLANNED]
    assert "guest 101 is on pve3, not on pve1" in run.why


def test_what_is_not_as_planned_before_anything_was_done_is_a_stale_plan(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (101, "pve2"))
    served.pve.vm(101).node = "pve3"
    run = carried_out(pve, plan)
    assert run.steps == [Step.PLANNED]
    assert exit_code(run.record, run.error) == 5


def test_drift_is_left_out_with_all_that_needs_it_where_that_is_wanted(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"), (102, "pve3"), chain=False)
    first, second, third = plan.migrations
    plan = replace(
        plan, waves=((first,), (second,), (third,), (replace(first, number=4, vmid=103, after=(2,), bundle=4),))
    )
    served.pve.vm(101).node = "pve3"
    run = carried_out(pve, plan, on_drift=OnDrift.SKIP)
    assert run.steps == [Step.DONE, Step.SKIPPED, Step.DONE, Step.SKIPPED]
    assert run.notes[1] == "guest 101 is on pve3, not on pve1: make a new plan"
    assert run.notes[3] == "waits for guest 101, which is left out"
    assert run.record.state is RunState.DONE
    assert exit_code(run.record, run.error) == 4


def test_what_is_locked_is_left_out_for_now_and_can_be_resumed(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"), chain=False)
    served.pve.vm(101).lock = "snapshot"
    run = carried_out(pve, plan, on_drift=OnDrift.SKIP)
    assert run.steps == [Step.DONE, Step.SKIPPED]
    assert run.record.state is RunState.STOPPED
    assert run.why == "guest 101 is locked (snapshot): wait for that to end"
    served.pve.vm(101).lock = ""
    run.journal.reopen(run.record.id, 1.0, again(run.record, pve))
    assert continued(pve, run.journal, run.record.id, on_drift=OnDrift.SKIP).steps == [Step.DONE, Step.DONE]


def test_guests_that_belong_together_stay_together_when_one_of_them_is_not_as_planned(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"), (102, "pve3"), chain=False)
    first, second, third = plan.migrations
    plan = replace(plan, waves=((first, replace(second, bundle=first.bundle), third),))
    served.pve.vm(101).node = "pve3"
    run = carried_out(pve, plan, on_drift=OnDrift.SKIP)
    assert run.steps == [Step.SKIPPED, Step.SKIPPED, Step.DONE]
    assert served.sent("POST", "/migrate") == 1


def test_when_all_is_left_out_that_is_a_stale_plan(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (101, "pve2"))
    served.pve.vm(101).node = "pve3"
    run = carried_out(pve, plan, on_drift=OnDrift.SKIP)
    assert run.steps == [Step.SKIPPED]
    assert exit_code(run.record, run.error) == 5


def deleted(fake: FakeCluster, migration: Migration) -> None:
    fake.vms.remove(fake.vm(migration.vmid))


def taken_elsewhere(fake: FakeCluster, migration: Migration) -> None:
    fake.vm(migration.vmid).node = next(n for n in fake.nodes if n not in (migration.source, migration.target))


def taken_there(fake: FakeCluster, migration: Migration) -> None:
    fake.vm(migration.vmid).node = migration.target


def another_taken(fake: FakeCluster, migration: Migration) -> None:
    fake.vm(107).node = "pve3"


@pytest.mark.parametrize(
    ("change", "message", "code"),
    [(deleted, "is gone: make a new plan", 4), (taken_elsewhere, ", not on pve1: make a new plan", 4),
     (taken_there, "it was there already", 0), (another_taken, "migrations done", 0)],
)  # fmt: skip
def test_with_skip_a_plan_is_carried_out_but_for_guests_that_are_not_as_planned(
    cli: Cli, served: Served, tmp_path: Path, change: Any, message: str, code: int
) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)
    first, *others = load(plan).migrations
    assert others and 107 not in {m.vmid for m in others}
    change(served.pve, first)
    outcome = cli("apply", plan, "--config", config, "--yes", "--on-drift", "skip")
    assert outcome.code == code
    assert message in outcome.out
    assert all(served.pve.where()[m.vmid] == m.target for m in others)


def test_with_skip_a_run_is_resumed_without_a_guest_that_was_taken_elsewhere(
    cli: Cli, served: Served, tmp_path: Path
) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)
    _, second, *others = load(plan).migrations
    served.pve.vm(second.vmid).fails = "migration aborted"
    assert cli("apply", plan, "--config", config, "--yes").code == 4
    served.pve.vm(second.vmid).fails = ""
    taken_elsewhere(served.pve, second)
    assert cli("resume", "--config", config, "--yes").code == 5
    outcome = cli("resume", "--config", config, "--yes", "--on-drift", "skip")
    assert outcome.code == 4
    assert f"guest {second.vmid}" in outcome.out
    assert all(served.pve.where()[m.vmid] == m.target for m in others)
    assert served.pve.where()[second.vmid] not in (second.source, second.target)


@pytest.mark.parametrize("change", [offline, maintenance, other_rules])
def test_with_skip_other_nodes_or_rules_make_the_whole_plan_stale_still(
    cli: Cli, served: Served, tmp_path: Path, change: Any
) -> None:
    config, plan = planned_to_file(cli, served, tmp_path)
    change(served.pve)
    assert cli("apply", plan, "--config", config, "--yes", "--on-drift", "skip").code == 5
    assert served.sent("POST") == 0


def test_a_target_that_went_away_meanwhile_gets_nothing(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve3"))
    served.pve.nodes["pve3"]["online"] = False
    run = carried_out(pve, plan)
    assert run.steps == [Step.DONE, Step.PLANNED]
    assert "node pve3 is offline" in run.why
    assert served.sent("POST", "/migrate") == 1


def test_a_refusal_is_told_in_the_words_of_proxmox(served: Served, pve: Pve) -> None:
    served.pve.vm(100).missing_storages = {"pve2": ["tank"]}
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert "storage 'tank' is not available on node 'pve2'" in run.why
    assert run.steps == [Step.FAILED]
    assert exit_code(run.record, run.error) == 1
