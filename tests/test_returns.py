"""Claims about the guard against ping-pong: who is not sent back, who is not migrated too often, and who is all the
same."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import returns
from planner.errors import StalePlan
from planner.plan import Migration
from planner.policy import Apply
from planner.run import Moved
from tests.plans import migration, plan

NOW, HOUR = 1_800_000_000.0, 3600.0
BACK = migration(1, 100, "b", "a", bundle=1)


def refused(migrations: tuple[Migration, ...], moved: tuple[Moved, ...], **settings: Any) -> str:
    try:
        returns.check(plan(*migrations), moved, NOW, Apply(**settings))
    except StalePlan as error:
        return str(error)
    return ""


def test_a_guest_is_not_sent_back_to_where_it_was_taken_from_for_a_while() -> None:
    moved = (Moved(100, "a", "b", NOW - 23 * HOUR, 1),)
    assert "guest 100 (g100) was taken away from a on " in refused((BACK,), moved)
    assert "within 24 hours (apply.no_return)" in refused((BACK,), moved)
    assert not refused((BACK,), moved, no_return=22)
    assert not refused((BACK,), moved, no_return=0)
    assert not refused((replace(BACK, target="c"),), moved)
    assert not refused((replace(BACK, vmid=101),), moved)


def test_also_not_after_it_has_been_elsewhere() -> None:
    assert refused((replace(BACK, source="c"),), (Moved(100, "a", "b", NOW - 9, 1), Moved(100, "b", "c", NOW - 5, 2)))


def test_a_guest_is_not_migrated_more_often_than_is_allowed() -> None:
    moved = tuple(Moved(100, f"n{run}", f"n{run + 1}", NOW - run * HOUR, run) for run in (1, 2, 25))
    assert "guest 100 (g100) was migrated 2 times within a day" in refused((BACK,), moved, max_per_day=2)
    assert "(apply.max_per_day: 2)" in refused((BACK,), moved, max_per_day=2)
    assert not refused((BACK,), moved, max_per_day=3)
    assert not refused((BACK,), moved)


def test_what_repairs_a_rule_may_go_wherever_that_is_with_those_that_travel_with_it() -> None:
    moved = tuple(Moved(vmid, "a", "b", NOW - 9, 1) for vmid in (100, 101, 102))
    repair = replace(BACK, reason="repairs: plb_pin_a: ...")
    mate, other = (replace(BACK, vmid=vmid, bundle=bundle) for vmid, bundle in ((101, 1), (102, 2)))
    assert not refused((repair, mate), moved, max_per_day=1)
    assert "guest 102" in refused((repair, mate, other), moved)


def test_what_the_planner_could_not_help_is_not_held_against_its_plan() -> None:
    moved = (Moved(100, "a", "b", NOW - 9, 1), Moved(101, "a", "b", NOW - 9, 1))
    why = "repairs: rules could not hold otherwise; it was taken from a 3 h ago (apply.no_return)"
    helpless, other = replace(BACK, reason=why), replace(BACK, vmid=101, bundle=2)
    assert not refused((helpless,), moved, max_per_day=1)
    assert "guest 101" in refused((helpless, other), moved)


def test_a_stop_on_the_way_is_no_place_that_a_guest_was_sent_to() -> None:
    way = (replace(BACK, target="c", bypass=True), replace(BACK, number=2, source="c", target="d"))
    assert not refused(way, (Moved(100, "c", "b", NOW - 9, 1),))  # it only stops on c
    assert refused((way[0], replace(way[1], target="c")), (Moved(100, "c", "b", NOW - 9, 1),))
    stopped = (Moved(100, "a", "c", NOW - 9, 1), Moved(100, "c", "b", NOW - 5, 1))
    assert not refused((replace(BACK, target="c"),), stopped)  # it only stopped on c
    assert "from a" in refused((BACK,), stopped)
    assert not refused((replace(BACK, target="d"),), stopped, max_per_day=2)


Trips = st.lists(
    st.builds(
        Moved, st.integers(100, 102), st.sampled_from("abc"), st.sampled_from("abc"),
        st.integers(0, 50).map(lambda hours: NOW - hours * HOUR - 1), st.integers(1, 10**6),
    ), max_size=8, unique_by=lambda moved: moved.run,
)  # fmt: skip


@given(moved=Trips, hours=st.integers(0, 48), often=st.none() | st.integers(1, 3))
def test_it_says_no_exactly_where_a_look_at_every_trip_does(moved: list[Moved], hours: int, often: int | None) -> None:
    real = [m for m in moved if m.vmid == 100 and m.source != m.target]
    back = any(m.source == "a" and m.at > NOW - hours * HOUR for m in real)
    too_often = often is not None and sum(m.at > NOW - 24 * HOUR for m in real) >= often
    assert bool(refused((BACK,), tuple(moved), no_return=hours, max_per_day=often)) == (back or too_often)


@pytest.mark.parametrize(
    ("settings", "hours"), [({}, 24), ({"no_return": 1}, 1), ({"no_return": 1, "max_per_day": 2}, 24)]
)
def test_so_far_back_the_journal_is_asked(settings: dict[str, Any], hours: int) -> None:
    assert returns.memory(Apply(**settings)) == hours * HOUR
