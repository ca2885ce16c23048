"""Claims about runs whose process died: the cluster is asked what became of them; nothing is lost or sent twice."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner import patience
from planner.clock import FastClock
from planner.errors import Unreachable
from planner.journal import Journal
from planner.plan import Plan
from planner.pve import Pve
from planner.resume import again, on_either_end, reconcile
from planner.run import Entry, RunState, Step
from tests.applying import SPEED, Spy, Wall, a_plan, continued
from tests.fakecluster import Served, serving, small_cluster

BEGUN = 1_000_000_000.0
"""Long before any task of the fake, whose clock is the real one."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(small_cluster(), tmp_path) as server:
        yield server


@pytest.fixture
def pve(served: Served) -> Iterator[Pve]:
    with Pve(served.connection()) as session:
        yield session


class Interrupted:
    """A run of one plan whose process is gone, and what is found out about it."""

    def __init__(self, source: Any, plan: Plan, at: float = BEGUN) -> None:
        self.journal, self.spy, self.clock = Journal(None), Spy(source), FastClock(SPEED)
        self.run = self.journal.begin(plan, "test", at)
        self.at, self.now = at, Wall(self.clock, at)
        self.said: list[str] = []

    def was(self, number: int, *steps: Step, upid: str | None = None) -> "Interrupted":
        for step in steps:
            self.journal.record(self.run, number, step, self.at, upid=upid if step is Step.STARTED else None)
        return self

    def long_ago(self) -> "Interrupted":
        self.now = Wall(self.clock, self.at + 3600)
        return self

    def reconciled(self) -> tuple[Entry, ...]:
        record = reconcile(self.journal, self.run, self.spy, clock=self.clock, now=self.now, say=self.said.append)
        return record.entries

    def resumed(self) -> list[Step]:
        self.reconciled()
        self.journal.reopen(self.run, self.now(), again(self.journal.run(self.run), self.spy))
        return continued(self.spy, self.journal, self.run, clock=self.clock, now=self.now).steps


def begun(served: Served, vmid: int, target: str, kind: str = "qmigrate") -> str:
    """A task of the cluster that migrates a guest; its upid."""
    guest = served.pve.guest(vmid)
    values = {"target": target, "online": 1, "restart": 1}
    return str(served.run(served.pve._start(guest, kind, values, "root@pam!t1")))


# ---------------------------------------------------------------- it may have been sent


def test_what_was_about_to_be_sent_is_planned_again_only_after_a_while(served: Served, pve: Pve) -> None:
    case = Interrupted(pve, a_plan(pve, (100, "pve2"))).was(1, Step.CHECKED)
    (entry,) = case.reconciled()
    assert entry.step is Step.PLANNED
    assert case.clock.now() >= patience.SETTLING
    assert case.resumed() == [Step.DONE]
    assert case.spy.sent == {100: 1}


def test_what_was_about_to_be_sent_long_ago_is_planned_again_at_once(served: Served, pve: Pve) -> None:
    case = Interrupted(pve, a_plan(pve, (100, "pve2"))).was(1, Step.CHECKED).long_ago()
    assert case.reconciled()[0].step is Step.PLANNED
    assert case.clock.now() < patience.SETTLING


def test_a_clock_that_was_set_back_does_not_make_it_wait_for_ever(served: Served, pve: Pve) -> None:
    case = Interrupted(pve, a_plan(pve, (100, "pve2"))).was(1, Step.CHECKED)
    case.now = Wall(case.clock, BEGUN - 1e6)
    assert case.reconciled()[0].step is Step.PLANNED
    assert case.clock.now() < 2 * patience.SETTLING


def test_a_request_that_arrives_after_its_process_died_is_not_sent_again(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.02
    case = Interrupted(pve, a_plan(pve, (100, "pve2"))).was(1, Step.CHECKED)

    def late(path: str) -> None:
        if case.clock.now() > patience.SETTLING / 2 and not served.pve.tasklog:
            begun(served, 100, "pve2")

    case.spy.before = late
    assert case.resumed() == [Step.DONE]
    assert case.spy.sent == {}
    assert len(served.pve.tasklog) == 1


def test_a_task_that_runs_is_followed(served: Served, pve: Pve) -> None:
    served.pve.time_scale = 0.05
    case = Interrupted(pve, a_plan(pve, (100, "pve2"), (101, "pve2"))).was(1, Step.CHECKED)
    upid = begun(served, 100, "pve2")
    first, second = case.reconciled()
    assert (first.step, first.upid, second.step) == (Step.STARTED, upid, Step.PLANNED)
    assert case.resumed() == [Step.DONE, Step.DONE]
    assert case.spy.sent == {101: 1}


def test_a_guest_that_has_arrived_is_done(served: Served, pve: Pve) -> None:
    case = Interrupted(pve, a_plan(pve, (100, "pve2"), (101, "pve2"))).was(1, Step.CHECKED)
    served.pve.vm(100).node = "pve2"
    assert [entry.step for entry in case.reconciled()] == [Step.DONE, Step.PLANNED]


def test_a_task_that_failed_meanwhile_is_found_with_the_reason(served: Served, pve: Pve) -> None:
    case = Interrupted(pve, a_plan(pve, (100, "pve2"))).was(1, Step.CHECKED)
    served.pve.vm(100).pci = True
    begun(served, 100, "pve2")
    (entry,) = case.reconciled()
    assert entry.step is Step.FAILED
    assert "can't migrate VM which uses local devices: hostpci0" in entry.note


def test_a_task_from_before_is_not_taken_for_ours(served: Served, pve: Pve) -> None:
    begun(served, 100, "pve2")
    served.pve.vm(100).node = "pve1"
    now = served.pve.tasklog[0]["starttime"] + 3600.0
    case = Interrupted(pve, a_plan(pve, (100, "pve2")), at=now).was(1, Step.CHECKED)
    assert case.reconciled()[0].step is Step.PLANNED


# -------------------------------------------------------------------- it had a task


@pytest.mark.parametrize(
    ("end", "node", "step"),
    [("", "pve2", Step.DONE), ("migration aborted", "pve1", Step.FAILED), ("WARNINGS: 1", "pve2", Step.DONE)],
)
def test_a_task_that_is_over_is_read(served: Served, pve: Pve, end: str, node: str, step: Step) -> None:
    plan = a_plan(pve, (100, "pve2"))
    served.pve.vm(100).fails = end
    upid = begun(served, 100, "pve2")
    case = Interrupted(pve, plan).was(1, Step.CHECKED, Step.STARTED, upid=upid)
    (entry,) = case.reconciled()
    assert served.pve.where()[100] == node
    assert entry.step is step
    assert end.lower() in entry.note


@pytest.mark.parametrize(("node", "step"), [("pve2", Step.DONE), ("pve1", Step.PLANNED)])
def test_of_a_task_that_its_node_has_forgotten_the_place_of_the_guest_tells(
    served: Served, pve: Pve, node: str, step: Step
) -> None:
    plan = a_plan(pve, (100, "pve2"))
    upid = begun(served, 100, "pve2")
    served.pve.tasks.clear()
    served.pve.tasklog.clear()
    served.pve.vm(100).node = node
    case = Interrupted(pve, plan).was(1, Step.CHECKED, Step.STARTED, upid=upid).long_ago()
    assert case.reconciled()[0].step is step


def test_what_was_unknown_is_found_out(served: Served, pve: Pve) -> None:
    served.pve.time_scale, served.pve.migration_secs = 0.02, 1e6
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"), (102, "pve2"), chain=False)
    upid = begun(served, 100, "pve2")
    case = Interrupted(pve, plan).long_ago()
    case.was(1, Step.CHECKED, Step.STARTED, Step.UNKNOWN, upid=upid)
    case.was(2, Step.CHECKED, Step.UNKNOWN)
    case.was(3, Step.CHECKED, Step.UNKNOWN)
    served.pve.vm(102).node = "pve2"
    first, second, third = case.reconciled()
    assert (first.step, first.upid) == (Step.STARTED, upid)
    assert second.step is Step.PLANNED and third.step is Step.DONE


@pytest.mark.parametrize("step", [Step.CHECKED, Step.STARTED])
def test_a_guest_that_is_gone_or_elsewhere_has_failed(served: Served, pve: Pve, step: Step) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"), chain=False)
    case = Interrupted(pve, plan).long_ago()
    for number in (1, 2):
        upid = begun(served, 99 + number, "pve2") if step is Step.STARTED else None
        case.was(number, Step.CHECKED, *(s for s in (step,) if s is Step.STARTED), upid=upid)
    served.pve.vms.remove(served.pve.vm(100))
    served.pve.vm(101).node = "pve3"
    first, second = case.reconciled()
    assert first.step is Step.FAILED and "guest 100 is gone" in first.note
    assert second.step is Step.FAILED and "is on pve3" in second.note


def test_a_lock_that_a_dead_migration_has_left_is_told(served: Served, pve: Pve) -> None:
    case = Interrupted(pve, a_plan(pve, (100, "pve2"))).was(1, Step.CHECKED).long_ago()
    served.pve.vm(100).lock = "migrate"
    (entry,) = case.reconciled()
    assert entry.step is Step.FAILED
    assert "guest 100 is locked (migrate) on pve1, and no task migrates it" in entry.note


# ------------------------------------------------------------------------------- HA


def test_what_the_ha_manager_has_begun_is_followed(served: Served, pve: Pve) -> None:
    served.pve.time_scale, served.pve.ha_delay = 0.02, 20.0
    served.pve.vm(100).ha_state = "started"
    plan = a_plan(pve, (100, "pve2"))
    case = Interrupted(pve, plan).was(1, Step.CHECKED)
    begun(served, 100, "pve2")
    assert case.resumed() == [Step.DONE]
    assert case.spy.sent == {}


def test_what_the_ha_manager_never_did_is_planned_again(served: Served, pve: Pve) -> None:
    served.pve.vm(100).ha_state = "started"
    rule = {"type": "node-affinity", "resources": "vm:100", "nodes": "pve1", "strict": 1}
    served.pve.ha_rules = [rule]
    plan = a_plan(pve, (100, "pve2"))
    upid = begun(served, 100, "pve2")
    case = Interrupted(pve, plan).was(1, Step.CHECKED, Step.STARTED, upid=upid).long_ago()
    (entry,) = case.reconciled()
    assert (entry.step, entry.note) == (Step.PLANNED, "the HA manager did nothing about it")
    served.pve.ha_rules = []
    assert case.resumed() == [Step.DONE]


def test_guests_that_came_along_while_nobody_looked_are_done(served: Served, pve: Pve) -> None:
    for vmid in (100, 101):
        served.pve.vm(vmid).ha_state = "started"
    served.pve.ha_rules = [{"type": "resource-affinity", "affinity": "positive", "resources": "vm:100,vm:101"}]
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"), bundle=1)
    served.pve.time_scale = 0.02
    upid = begun(served, 100, "pve2")
    case = Interrupted(pve, plan).was(1, Step.CHECKED, Step.STARTED, upid=upid)
    assert case.resumed() == [Step.DONE, Step.DONE]
    assert case.spy.sent == {}
    assert case.journal.run(case.run).entries[1].note == "came along with guest 100"


# -------------------------------------------------------------------- trouble while asking


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.patience.PATIENCE", 2.0)  # each attempt takes real time


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("step", [Step.CHECKED, Step.UNKNOWN])
def test_without_an_api_nothing_is_concluded(served: Served, pve: Pve, step: Step) -> None:
    case = Interrupted(pve, a_plan(pve, (100, "pve2"))).was(1, Step.CHECKED, *(s for s in (step,) if s != "checked"))
    served.kill()
    with pytest.raises(Unreachable):
        case.long_ago().reconciled()
    assert case.journal.run(case.run).entries[0].step is step
    served.start()
    assert case.reconciled()[0].step is Step.PLANNED


@pytest.mark.usefixtures("impatient")
def test_a_source_that_is_away_leaves_its_guest_unknown_and_the_rest_is_settled(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (106, "pve3"), chain=False)
    case = Interrupted(pve, plan).was(1, Step.CHECKED).was(2, Step.CHECKED).long_ago()
    served.pve.nodes["pve1"]["online"] = False
    first, second = case.reconciled()
    assert first.step is Step.UNKNOWN and "node pve1 is away" in first.note
    assert second.step is Step.PLANNED
    served.pve.nodes["pve1"]["online"] = True
    assert case.resumed() == [Step.DONE, Step.DONE]


# ------------------------------------------------------------------------ tried again


def test_what_failed_is_tried_again_with_what_waited_for_it(served: Served, pve: Pve) -> None:
    served.pve.vm(100).fails = "migration aborted"
    case = Interrupted(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    failed = continued(case.spy, case.journal, case.run)
    assert failed.steps == [Step.FAILED, Step.SKIPPED] and failed.record.state is RunState.STOPPED
    served.pve.vm(100).fails = ""
    case.journal.reopen(case.run, case.now())
    assert case.resumed() == [Step.DONE, Step.DONE]
    assert case.spy.sent == {100: 2, 101: 1}
    assert case.journal.run(case.run).state is RunState.DONE


def test_a_guest_that_no_longer_runs_is_not_called_done_by_trying_again(served: Served, pve: Pve) -> None:
    case = Interrupted(pve, a_plan(pve, (100, "pve2"))).was(1, Step.CHECKED, Step.FAILED)
    served.pve.vm(100).node, served.pve.vm(100).status = "pve2", "stopped"
    assert case.resumed() == [Step.FAILED]


# ------------------------------------------------------------------------ every instant


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """Dies before or after a certain write to the journal or request."""

    def __init__(self, moments: int) -> None:
        self.left = moments

    def breath(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class MortalJournal(Journal):
    mortal = Mortal(0)

    def record(self, run: int, number: int, step: Step, at: float, **more: Any) -> None:
        self.mortal.breath()
        super().record(run, number, step, at, **more)
        self.mortal.breath()


class Guarded(Spy):
    """A source that is asked to migrate by something mortal, and that minds being asked twice."""

    def __init__(self, source: Any, served: Served, mortal: Mortal) -> None:
        super().__init__(source)
        self.served, self.mortal = served, mortal

    def post(self, path: str, **data: Any) -> Any:
        vmid = path.split("/")[4]
        runs = [t for t in self.served.pve.tasklog if t["id"] == vmid and t["status"] == "running"]
        assert not runs, f"guest {vmid} is asked for while {runs} runs"
        self.mortal.breath()
        upid = super().post(path, **data)
        self.mortal.breath()
        return upid


def test_killed_at_any_instant_a_run_loses_nothing_and_sends_nothing_twice(served: Served, pve: Pve) -> None:
    served.pve.time_scale, served.pve.ha_delay = 0.005, 4.0
    for vmid in (100, 101):
        served.pve.vm(vmid).ha_state = "started"
    served.pve.ha_rules = [{"type": "resource-affinity", "affinity": "positive", "resources": "vm:100,vm:101"}]
    start = served.pve.where()
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"), (102, "pve3"), (200, "pve3"), chain=False)
    first, second, third, fourth = plan.migrations
    plan = replace(plan, waves=((first, replace(second, bundle=1), third, replace(fourth, after=(3,))),))
    killed = 0
    for moment in range(1, 200):
        for guest in served.pve.guests:
            guest.node = start[guest.vmid]
        served.pve.tasklog.clear()
        mortal = Mortal(moment)
        case = Interrupted(pve, plan)
        case.journal, case.spy = MortalJournal(None), Guarded(pve, served, mortal)
        case.journal.mortal = mortal  # type: ignore[attr-defined]
        case.run = case.journal.begin(plan, "test", case.at)
        try:
            steps = continued(case.spy, case.journal, case.run, clock=case.clock, now=case.now).steps
        except Killed:
            killed += 1
            case.now = Wall(FastClock(), case.now() + 1)
            case.clock = case.now.clock = FastClock(SPEED)
            steps = case.resumed()
        assert steps == [Step.DONE] * 4, moment
        assert served.pve.where() == start | {100: "pve2", 101: "pve2", 102: "pve3", 200: "pve3"}
        assert all(count == 1 for count in case.spy.sent.values()), (moment, case.spy.sent)
        if mortal.left > 0:
            break
    assert killed == moment - 1 > 20


def test_only_what_may_have_moved_is_expected_on_either_end(served: Served, pve: Pve) -> None:
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"), (102, "pve2"), (103, "pve3"), (104, "pve2"), chain=False)
    waves = [tuple(replace(m, bundle=1 if m.vmid < 103 else m.vmid) for m in wave) for wave in plan.waves]
    case = Interrupted(pve, replace(plan, waves=tuple(waves))).was(1, Step.CHECKED, Step.STARTED, Step.DONE, upid="U")
    case.was(2, Step.CHECKED).was(4, Step.CHECKED, Step.FAILED)
    assert [m.vmid for m in on_either_end(case.journal.run(case.run))] == [101, 102, 103]


@pytest.mark.parametrize("arrived", [True, False])
def test_what_was_taken_along_is_known_before_anything_goes_on(served: Served, pve: Pve, arrived: bool) -> None:
    for vmid in (100, 101):
        served.pve.vm(vmid).ha_state = "started"
    served.pve.ha_rules = [{"type": "resource-affinity", "affinity": "positive", "resources": "vm:100,vm:101"}]
    plan = a_plan(pve, (100, "pve2"), (101, "pve2"), (102, "pve2"), bundle=1)
    served.pve.time_scale = 0.0 if arrived else 0.02
    served.pve.ha_delay = 0.0
    upid = begun(served, 100, "pve2")
    while not (served.pve.vm(101).lock or served.pve.where()[101] == "pve2"):
        time.sleep(0.01)
    case = Interrupted(pve, plan).was(1, Step.CHECKED, Step.STARTED, upid=upid)
    entries = case.reconciled()
    assert entries[1].step is (Step.DONE if arrived else Step.STARTED)
    assert entries[1].note == ("came along with guest 100" if arrived else "")
    assert entries[2].step is Step.PLANNED and case.spy.sent == {}
