"""A look that has nothing to carry out says why, as far as that is known."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from planner import collect, draft, ledger, planning
from planner.choices import Resource
from planner.clock import FastClock
from planner.eligibility import LOCAL_DISKS, REBALANCED
from planner.formulate import Formulation
from planner.plan import Plan, PlanStatus, Stuck
from planner.policy import Apply, Cluster, Policy
from planner.rule import pin
from planner.schedule import Reach
from planner.seen import NOTHING, nothing
from planner.session import Session
from planner.simulate import Size, demo
from solvers import Budget
from solvers.check import Score

USELESS = "tag plb_pin_gone of guest 105 names no node of this cluster: it has no effect"


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Of a cluster out of balance whose guests all stay."""
    policy, settings, clock = Policy(balanciness=5.0, time_limit=2.0), Cluster(ignore_guests=("*",)), FastClock()
    session = Session(policy, settings, Apply(), demo(Size.SMALL, clock), clock)
    cluster = collect.collect(session.snapshot())
    return planning.checked_plan(cluster, policy, settings, "descent", Budget(seconds=2.0), session.source)


def why(plan: Plan) -> str:
    (refusal,) = nothing(plan)
    return refusal.why


def formulated(**more: Any) -> tuple[str, ...]:
    given = {"rules": SimpleNamespace(notes=()), "fixed": {}, "remarks": (), "hot": None, "below": ""}
    notes = Formulation.notes.fget  # type: ignore[attr-defined]
    return tuple(notes(SimpleNamespace(**(given | more))))


def test_how_far_from_the_best_it_is_is_said(plan: Plan) -> None:
    assert why(replace(plan, notes=(USELESS,))) == f"{NOTHING} (bound {plan.spread.before:.2f} points)"
    assert why(replace(plan, spread=replace(plan.spread, bound=None))) == NOTHING


NOTES = {
    "local disks": lambda: formulated(fixed={1: LOCAL_DISKS}),
    "Proxmox VE balances them": lambda: formulated(fixed={1: REBALANCED}),
    "lately": lambda: ledger.notes((pin("taken from pve1", [1], ["pve2"], 1),)),
    "no way": lambda: draft._beyond(Reach(np.array([0]), (), (), Score(0, 20_000, (), 0))),
    "offline": lambda: tuple(collect._notes([{"node": "pve9", "status": "offline"}], SimpleNamespace(get=lambda _: [])))
}  # fmt: skip


@pytest.mark.parametrize("what", NOTES)
def test_what_keeps_guests_where_they_are_is_said_and_what_is_without_effect_is_not(plan: Plan, what: str) -> None:
    (note,) = NOTES[what]()
    assert why(replace(plan, notes=(USELESS, note, "another of them: they stay where they are"))).endswith(f"; {note}")


def test_nodes_that_nothing_can_change_come_first(plan: Plan) -> None:
    stuck = tuple(Stuck("pve3", resource, 80.0) for resource in (Resource.MEMORY, Resource.CPU))
    assert why(replace(plan, stuck=stuck)).endswith("; nothing can change the load of pve3")


def test_a_plan_that_was_not_found_is_not_taken_for_one_that_is_not_there(plan: Plan) -> None:
    assert why(replace(plan, status=PlanStatus.UNKNOWN)).startswith("no plan was found in time (policy.time_limit)")
