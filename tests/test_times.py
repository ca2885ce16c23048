"""Claims about deadlines and windows: which moments are meant, also across midnight and when clocks are changed."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from planner.conduct import Times
from planner.config import load
from planner.errors import ConfigError
from planner.site import Site
from planner.times import Hours, until

Moment = Callable[..., datetime]


@pytest.fixture
def berlin() -> Iterator[Moment]:
    """Local time of Berlin, written out so that no database of zones is needed: clocks go forward on 29 March 2026 at
    02:00, and back on 25 October at 03:00. What it gives makes moments of local times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield lambda *parts, fold=0: datetime(*parts, fold=fold).astimezone()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("2h30m", 9000), ("45s", 45), ("1h", 3600), ("1h1m1s", 3661), (" 5m ", 300)]
)
def test_a_while_is_counted_from_now(berlin: Moment, text: str, seconds: int) -> None:
    now = berlin(2026, 6, 1, 12)
    assert until(text, now) - now == timedelta(seconds=seconds)


def test_a_while_is_as_long_in_the_night_in_which_clocks_change(berlin: Moment) -> None:
    for day in ((2026, 3, 29), (2026, 10, 25)):
        now = berlin(*day, 1, 30)
        assert until("3h", now).astimezone(UTC) - now.astimezone(UTC) == timedelta(hours=3)
    assert until("3h", berlin(2026, 3, 29, 1, 30)).strftime("%H:%M") == "05:30"
    assert until("3h", berlin(2026, 10, 25, 1, 30)).strftime("%H:%M") == "03:30"


def test_a_time_is_the_next_one_today_or_tomorrow(berlin: Moment) -> None:
    assert until("06:00", berlin(2026, 6, 1, 5, 59)) == berlin(2026, 6, 1, 6)
    assert until("6:00", berlin(2026, 6, 1, 6)) == berlin(2026, 6, 2, 6)
    assert until("06:00", berlin(2026, 12, 31, 22)) == berlin(2027, 1, 1, 6)
    assert until("24:00", berlin(2026, 6, 1, 22)) == until("00:00", berlin(2026, 6, 1, 22)) == berlin(2026, 6, 2)


def test_a_time_is_meant_by_the_clock_on_the_wall_whatever_happens_to_it_over_night(berlin: Moment) -> None:
    spring, autumn = berlin(2026, 3, 28, 22), berlin(2026, 10, 24, 22)
    assert until("06:00", spring) - spring == timedelta(hours=7)
    assert until("06:00", autumn) - autumn == timedelta(hours=9)


def test_a_time_that_a_day_leaves_out_is_when_the_clocks_have_been_changed(berlin: Moment) -> None:
    assert until("02:30", berlin(2026, 3, 29, 1)) == berlin(2026, 3, 29, 3, 30)


def test_a_time_that_a_day_has_twice_is_the_next_of_the_two(berlin: Moment) -> None:
    first, second = berlin(2026, 10, 25, 2, 30), berlin(2026, 10, 25, 2, 30, fold=1)
    assert second - first == timedelta(hours=1)
    assert until("02:30", berlin(2026, 10, 25, 1)) == first
    assert until("02:30", first) == second
    assert until("02:30", second) == berlin(2026, 10, 26, 2, 30)


@pytest.mark.parametrize(
    ("windows", "inside", "outside"),
    [
        (("22:00-06:00",), ["22:00", "23:59", "00:00", "05:59"], ["06:00", "12:00", "21:59"]),
        (("9:00-17:30",), ["09:00", "17:29"], ["08:59", "17:30", "00:00"]),
        (("22:00-24:00", "12:00-13:00"), ["23:59", "12:30"], ["00:00", "13:00", "11:59"]),
        (("00:00-24:00",), ["00:00", "12:00", "23:59"], []),
        ((), ["00:00", "12:00"], []),
    ],
)
def test_a_window_is_open_from_its_first_minute_until_its_last(
    berlin: Moment, windows: tuple[str, ...], inside: list[str], outside: list[str]
) -> None:
    hours = Hours(windows)
    for text, is_open in (*((text, True) for text in inside), *((text, False) for text in outside)):
        now = berlin(2026, 6, 1, *map(int, text.split(":")))
        assert hours.open(now) == is_open, text
        assert hours.open(now.astimezone(UTC)) == is_open, text


def test_when_the_next_window_opens_is_said(berlin: Moment) -> None:
    hours, noon, night = Hours(("22:00-06:00", "18:00-19:00")), berlin(2026, 6, 1, 12), berlin(2026, 6, 1, 23)
    assert hours.opens(noon) == berlin(2026, 6, 1, 18)
    assert hours.opens(berlin(2026, 6, 1, 19)) == berlin(2026, 6, 1, 22)
    assert hours.opens(night) == night


@pytest.mark.parametrize("text", ["", "soon", "25:00", "24:01", "12:60", "6", "-5m", "1.5h", "5m2h", "12:00:00", "0m"])
def test_what_is_no_deadline_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"a time such as 06:00"):
        until(text, datetime.now(UTC))


@pytest.mark.parametrize("text", ["", "night", "22:00", "22-06", "22:00-25:00", "a-b", "6:00-6:00", "24:00-0:00"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no part of the day such as 22:00-06:00|begins when it ends"):
        Hours((text,))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("deadline: tomorrow", "apply.deadline in {file}: tomorrow is neither a time such as 06:00 nor a while"),
        ("hours: 22:00-06:00,noon", "apply.hours in {file}: noon is no part of the day such as 22:00-06:00"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_where_it_was_written(
    tmp_path: Path, line: str, message: str
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"apply:\n  {line}\n")
    with pytest.raises(ConfigError) as caught:
        load(str(file), environ={})
    assert str(caught.value).startswith(message.format(file=file))
    file.write_text("apply:\n  deadline: 06:00\n  hours: [22:00-06:00, 12:00-13:00]\n")
    assert load(str(file), environ={}).apply.hours == ("22:00-06:00", "12:00-13:00")


def test_flags_and_variables_are_named_as_well() -> None:
    with pytest.raises(ConfigError, match=r"apply.deadline on the command line: x is neither"):
        load(None, {"apply": {"deadline": "x"}}, {"HOME": "/nowhere"}, Path("/nowhere"))
    with pytest.raises(ConfigError, match=r"apply.hours in \$PROXLB_PLAN_APPLY__HOURS: x is no part of the day"):
        load(None, None, {"HOME": "/nowhere", "PROXLB_PLAN_APPLY__HOURS": "x"}, Path("/nowhere"))


def test_without_hours_nothing_is_waited_for_at_an_instant_between_two_microseconds() -> None:
    instant = 1795732278.9703846  # as a datetime, which has microseconds alone, it is a little later
    assert datetime.fromtimestamp(instant, UTC).timestamp() > instant
    said: list[str] = []
    clock = SimpleNamespace(sleep=lambda seconds: pytest.fail(f"waits {seconds} s"))
    session = SimpleNamespace(apply=SimpleNamespace(hours=(), deadline=None), clock=clock)
    Times(cast(Site, SimpleNamespace(session=session, now=lambda: instant))).wait(said.append)
    assert said == []
