"""Claims about guests of the HA manager: what only queues, what is taken along, what is refused or taken elsewhere."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakepve import TaskError

from planner.plan import Plan
from planner.pve import Pve
from planner.run import RunState, Step
from tests.applying import Spy, a_plan, carried_out
from tests.fakecluster import Served, serving, small_cluster


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(small_cluster(), tmp_path) as server:
        for vmid in (100, 101, 102):
            server.pve.vm(vmid).ha_state = "started"
        server.pve.time_scale = 0.01
        yield server


@pytest.fixture
def pve(served: Served) -> Iterator[Pve]:
    with Pve(served.connection()) as session:
        yield session


def together(plan: Plan) -> Plan:
    """All migrations as one bundle, side by side."""
    return replace(plan, waves=tuple((replace(m, bundle=1, after=()),) for m in plan.migrations))


def affine(*vmids: int, affinity: str = "positive") -> dict[str, Any]:
    return {"type": "resource-affinity", "affinity": affinity, "resources": ",".join(f"vm:{vmid}" for vmid in vmids)}


def test_the_ha_manager_may_take_its_time(served: Served, pve: Pve) -> None:
    served.pve.ha_delay = 30.0
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (105, "pve2")))
    assert run.steps == [Step.DONE, Step.DONE]
    assert served.pve.where()[100] == "pve2"
    kinds = [task["type"] for task in served.pve.tasklog]
    assert kinds == ["hamigrate", "qmigrate", "qmigrate"]


def test_a_migration_that_the_ha_manager_never_starts_ends_in_doubt(served: Served, pve: Pve) -> None:
    served.pve.ha_rules = [{"type": "node-affinity", "resources": "vm:100", "nodes": "pve1", "strict": 1}]
    run = carried_out(pve, a_plan(pve, (100, "pve2"), (101, "pve2")))
    assert run.steps == [Step.UNKNOWN, Step.PLANNED]
    assert "guest 100 did not move: the HA manager has not migrated it" in run.why
    assert run.record.state is RunState.STOPPED
    assert served.sent("POST", "/migrate") == 1


def test_guests_that_came_along_are_not_asked_for_and_are_done(served: Served, pve: Pve) -> None:
    served.pve.ha_rules = [affine(100, 101, 102)]
    spy = Spy(pve)
    run = carried_out(spy, together(a_plan(pve, (100, "pve2"), (101, "pve2"), (102, "pve2"))))
    assert run.steps == [Step.DONE] * 3
    assert run.notes[1:] == ["came along with guest 100"] * 2
    assert spy.sent == {100: 1}
    assert all(served.pve.where()[vmid] == "pve2" for vmid in (100, 101, 102))
    assert len(run.journal.moved("test", 0.0)) == 3


def test_guests_that_came_along_before_anybody_looked_are_done_as_well(served: Served, pve: Pve) -> None:
    served.pve.ha_rules = [affine(100, 101)]
    served.pve.migration_secs = 0.0
    spy = Spy(pve)
    run = carried_out(spy, together(a_plan(pve, (100, "pve2"), (101, "pve2"))))
    assert run.steps == [Step.DONE] * 2
    assert run.notes[1] == "came along with guest 100"
    assert spy.sent == {100: 1}


def test_guests_of_a_bundle_that_the_ha_manager_does_not_take_along_are_asked_for(served: Served, pve: Pve) -> None:
    spy = Spy(pve)
    run = carried_out(spy, together(a_plan(pve, (100, "pve2"), (101, "pve2"))))
    assert run.steps == [Step.DONE] * 2
    assert spy.sent == {100: 1, 101: 1}


def spoiled(served: Served, end: str, to: str | None = None) -> None:
    """The task that the HA manager starts fails, or the guest lands elsewhere."""

    async def migration(guest: Any, kind: str, values: dict[str, Any], user: str) -> Any:
        async def move() -> None:
            guest.lock = "migrate"
            await served.pve.pause(3.0)
            guest.lock, guest.node = None, to or guest.node
            if end:
                raise TaskError(end)

        return await served.pve.task("pve1", kind, guest.vmid, user, move, log=["ERROR: no route to pve2"])

    served.pve._migration = migration


def test_what_the_ha_manager_tried_and_failed_is_told_with_the_reason(served: Served, pve: Pve) -> None:
    spoiled(served, "migration aborted")
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert run.steps == [Step.FAILED]
    assert "guest 100 was not migrated by the HA manager: migration aborted: ERROR: no route to pve2" in run.why
    assert served.sent("POST", "/migrate") == 1


def test_a_guest_that_the_ha_manager_took_elsewhere_has_failed(served: Served, pve: Pve) -> None:
    spoiled(served, "", "pve3")
    run = carried_out(pve, a_plan(pve, (100, "pve2")))
    assert run.steps == [Step.FAILED]
    assert "guest 100 is on pve3: the HA manager has taken it there" in run.why


def test_after_a_lost_answer_the_queued_request_is_found(served: Served, pve: Pve) -> None:
    spy = Spy(pve)
    spy.lose = True
    run = carried_out(spy, a_plan(pve, (100, "pve2")))
    assert run.steps == [Step.DONE]
    assert spy.sent == {100: 1}
