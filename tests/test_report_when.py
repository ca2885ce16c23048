"""Claims about how the order of a plan looks: what runs when, how long it takes, what each wave reaches."""

from dataclasses import replace

import pytest

from planner import report, report_when
from planner.plan import Checkpoint, Migration, Plan, Schedule
from tests import plans


def timed(number: int, begin: float, end: float, **facts: object) -> Migration:
    return replace(plans.migration(number, 100 + number, "a", "b"), begin=begin, end=end, **facts)  # type: ignore[arg-type]


def a_plan(*waves: tuple[Migration, ...], **facts: object) -> Plan:
    points = tuple(Checkpoint(10.0 - n, 0, 0.0) for n in range(len(waves)))
    seconds = max(m.end for wave in waves for m in wave)
    given = {"seconds": seconds, "bound": seconds, "one_by_one": seconds, "parallel": 4, "checkpoints": points}
    schedule = Schedule(**(given | facts))  # type: ignore[arg-type]
    return replace(plans.plan(*(m for wave in waves for m in wave)), waves=waves, schedule=schedule)


def test_each_migration_has_a_bar_from_its_begin_to_its_end() -> None:
    head, first, second, third, *_ = report_when.lines(
        a_plan((timed(1, 0, 300), timed(2, 0, 1)), (timed(3, 300, 600),))
    )
    assert head.split() == ["when", "0", "10", "min"]
    bars = [line.split()[-1] for line in (first, second, third)]
    assert bars == ["█" * 20 + "·" * 20, "█" + "·" * 39, "·" * 20 + "█" * 20]
    assert first.startswith("1 guest 101") and max(map(len, (head, first, second, third))) <= 60


def test_of_many_migrations_each_wave_has_a_bar() -> None:
    waves = tuple(tuple(timed(10 * w + n, 60 * w, 60 * w + 60) for n in range(1, 11)) for w in range(4))
    shown = report_when.lines(a_plan(*waves))
    assert shown[1].startswith("wave 1: 10 migrations  ██████████·") and shown[4].endswith("·██████████")
    assert all(len(line) <= 70 for line in shown[:5])


def test_of_very_many_waves_the_middle_is_left_out() -> None:
    waves = tuple((timed(n, n, n + 1),) for n in range(1, 101))
    shown = report_when.lines(a_plan(*waves))
    assert "…" in shown[13] and shown[1].startswith("wave 1: 1 migration ") and shown[25].startswith("wave 100:")
    assert (
        shown[-1]
        == "spread after each of 100 waves: 10.00 -> 9.00 -> 8.00 -> 7.00 -> … -> -86.00 -> -87.00 -> -88.00 -> -89.00"
    )


def test_how_long_it_takes_is_said_with_its_bound_its_limits_and_where_that_comes_from() -> None:
    plan = a_plan((timed(1, 0, 720),), bound=600.0, one_by_one=2100.0, bandwidth=1100.0, pace="by 16 of them")
    assert report_when.lines(plan)[2] == (
        "takes about 12 min, at least 10 min; one by one 35 min (at most 4 at once, 1 from and 1 to a node, 1100 MiB/s"
        "; by 16 of them)"
    )
    assert report_when.lines(a_plan((timed(1, 0, 720),)))[2].startswith("takes about 12 min (at most")


ONE = "1 container restarts and is down for about 30 s (guest 101)"
TWO = "2 containers restart and are down, the longest for about 31 s (guest 102)"


@pytest.mark.parametrize(("many", "said"), [(1, ONE), (2, TWO)])
def test_what_restarts_is_said(many: int, said: str) -> None:
    containers = tuple(timed(n, 0, 60, type="ct", downtime=29.0 + n) for n in range(1, many + 1))
    assert said in report_when.lines(a_plan((*containers, timed(3, 0, 60, downtime=0.1))))


def test_broken_rules_after_each_wave_are_shown_where_there_are_any() -> None:
    points = (Checkpoint(9, 1, 0), Checkpoint(8, 0, 0))
    plan = a_plan((timed(1, 0, 60),), (timed(2, 60, 120),), checkpoints=points)
    assert report_when.lines(plan)[-1] == "broken rules after each wave: 1 -> 0"


def test_a_plan_that_does_not_say_how_long_it_takes_shows_nothing_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plans.plan(plans.migration(1, 101, "a", "b"))
    assert report_when.lines(plan) == []
    report.plan(plan, report.console())
    assert "begins" not in capsys.readouterr().out


def test_the_table_says_when_each_begins(capsys: pytest.CaptureFixture[str]) -> None:
    report.plan(a_plan((timed(1, 0, 300),), (timed(2, 300, 600),)), report.console())
    head, *rows = [line for line in capsys.readouterr().out.splitlines() if " type " in line or " vm " in line]
    at = head.index("begins") + len("begins")
    assert [row[:at].split("GiB")[1].strip() for row in rows] == ["0 s", "5 min"]
