"""Claims about times that come again: they are those of systemd and of cron, but where clocks are changed."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from itertools import islice, takewhile
from random import Random
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from planner import recurrence
from planner.errors import ConfigError
from planner.zones import Local

BERLIN = ZoneInfo("Europe/Berlin")
FORTH, BACK = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
"""When clocks in Berlin are changed in 2026: 2:00 to 3:00, and 3:00 to 2:00."""
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")

EVENTS = (
    "minutely", "hourly", "DAILY", "weekly", "monthly", "quarterly", "semiannually", "bi-annually", "yearly", "anually",
    "2:30", "02:30:15", "Mon..Fri 22:00", "mon,Wed..fri,Sunday 1:0", "Mon, 10:00", "Mon-Fri 10:00", "Sat", "sat,sun",
    "*-*-1", "*-*-31 4:00", "*-*~1", "*-*~07/1", "Mon *-05~07/1", "*-02~03,1", "*-*~01..07", "Sat *-*-1..7 22:00",
    "*-*~1..9/3", "12-24 18:00", "2026-*-*", "26-10-25 2:30", "2026..2027-1-1", "2026/2-1-1", "70-1-1", "*-02-29",
    "*-1,4..6,9-1/7 0/6:5", "*-*-1..31/40", "*-1..3~1 0:0", "0/2:00", "0..10/5:3", "8..18:0/30", "*:0/15",
    "*:*:0/30", "1:2:*", "1,3:00", "2:0/30", "2,3:59:59", "*-*-* *:*:59",
    "Sun *-3,10-25..31 2:30", "Sun *-10~7/1 2:00,15,30", "weekly Europe/Berlin", "10:00 utc",
    "daily UTC", "*:15 Asia/Kolkata", "0:0", "23:59:59", "5/1:3..4", "*-*-28/1 6:00",
)  # fmt: skip
NO_EVENTS = (
    "*/2:00", "Fri..Mon 10:00", "Mon,Tue,10:00", "Mon 22", "22", "*-*-*/2 00:00", "10-12:3", "2026-13-01", "24:00",
    "10:60", "10:00:60", "1-1 mon", "*-*-0", "2026-*~0", "*:5/0", "*:0/70", "*..5:0", "mon,,tue", "Monda", "2200-1-1",
    "1969-1-1", "5:3/5..9", "3..2:0", "Mon|Tue 1:0", "+1:00", "*,3:00", "3,*:00", "2026-01-01 *", "*", "1", "UTC", "-",
    "10:00 Foo/Bar", "Mon Tue 10:00", "*:", "10:", "1-", "1:2:3:4", "1-2-3-4", "1:-1", "10:00 ../UTC", "~1", "1,:0",
    "Mon..: 1:0", "Mon..Tue..Wed 1:0", ",mon 1:0", "10:00 Europe", "1..2..3:0", "1 :0", "daily daily", "10000-1-1",
)  # fmt: skip
CRON = (
    "* * * * *", "*/7 * * * *", "5-55/10 * * * *", "0 22 * * 1-5", "30 2 * * *", "0,30 2 * * *", "15 1-3 * * *",
    "59 1,2,3 * * *", "0 0 1,15 * *", "0 12 29 2 *", "30 4 1,15 * 5", "0 0 */3 * 1", "0 3 L * *", "0 3 * * 5L",
    "0 3 * * sun#2", "0 5 * jan,mar-may mon-wed", "45 23 * * 0,7", "10 2 25-31 3,10 *", "0 9 LW * *",
)  # fmt: skip


def every(text: str, after: datetime, zone: tzinfo = BERLIN) -> Iterator[datetime]:
    """By asking again and again."""
    its = recurrence.of(text, zone)
    while moment := its.after(after):
        yield (after := moment)


def moments(text: str, after: datetime, zone: tzinfo = BERLIN, count: int = 40) -> list[datetime]:
    return list(islice(every(text, after, zone), count))


def ask(after: datetime, zone: str, count: int, events: Sequence[str]) -> subprocess.CompletedProcess[str]:
    base = f"--base-time={after:%Y-%m-%d %H:%M:%S} UTC"
    return subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}", base, "--", *events],
        env={"TZ": zone, "LC_ALL": "C"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@cache
def refused() -> frozenset[str]:
    """Those that are no calendar events to systemd."""
    done = ask(FORTH, "UTC", 1, EVENTS + DRAWN + NO_EVENTS)
    return frozenset(re.findall(r"^Failed to parse calendar specification '(.*)': ", done.stderr, re.M))


def asked(after: datetime, zone: str, count: int = 40, events: Sequence[str] = ()) -> list[tuple[str, list[datetime]]]:
    """Events, and when they come after a moment, by systemd itself, in one call."""
    events = events or [text for text in EVENTS + DRAWN if text not in refused()]
    done = ask(after, zone, count, events)
    told = r"(?:Next elapse|Iter\. #\d+)" if zone == "UTC" else r"\(in UTC\)"
    line = re.compile(rf"^ *{told}: \w{{3}} (.{{19}}) UTC$", re.M)
    given_up = re.findall(r"^Failed to determine next elapse for '(.*)': ", done.stderr, re.M)  # a bug of systemd 252
    parts = done.stdout.split("Normalized form:")[1:]
    found = ([datetime.fromisoformat(f"{moment}Z") for moment in line.findall(part)] for part in parts)
    return list(zip((text for text in events if text not in given_up), found, strict=True))


def left_out(text: str, moment: datetime, zone: str) -> bool:
    """Whether systemd knows a moment after all: on its way through the months version 252 leaves some out."""
    return asked(moment - SECOND, zone, 1, [text]) == [(text, [moment])]


def numbers(rng: Random, first: int, last: int) -> str:
    """Some of a part of a calendar event."""

    def one() -> str:
        low, high = sorted((rng.randint(first, last), rng.randint(first, last)))
        return f"{low}..{high}" if low < high and rng.random() < 0.5 else f"{low}"

    def steps() -> str:
        return f"{one()}/{rng.randint(1, rng.choice([9, last]))}"

    return rng.choice(["*", one(), steps(), f"{one()},{one()}", f"{one()},{one()},{one()}"])


def drawn(seed: int) -> str:
    rng = Random(seed)
    names = ("Mon", "Tue", "wed", "Thursday", "FRI", "Sat", "sunday")
    first, last = sorted((rng.randrange(7), rng.randrange(7)))
    weekdays = rng.choice(["", "", names[first], f"{names[first]}..{names[last]}", f"{names[last]},{names[first]}"])
    year = rng.choice(["", "*-", "2026..2030-", "26,28-"])
    days = f"-{numbers(rng, 1, 31)}" if rng.random() < 0.7 else f"~{numbers(rng, 1, 20)}"
    date = rng.choice(["", f"{year}{numbers(rng, 1, 12)}{days}", f"{year}*{days}"])
    seconds = rng.choice(["", "", f":{numbers(rng, 0, 59)}"])
    clock = rng.choice([f"{numbers(rng, 0, 23)}:{numbers(rng, 0, 59)}{seconds}"] * 3 + ([""] if date else []))
    return " ".join(filter(None, (weekdays, date, clock)))


DRAWN = tuple(drawn(seed) for seed in range(250))


@needs_systemd
def test_calendar_events_come_when_they_do_with_systemd() -> None:
    after = datetime(2026, 2, 27, 23, 30, tzinfo=UTC)
    for text, theirs in asked(after, "UTC"):
        if not theirs:
            assert never(text, after), text
            continue
        ours = list(takewhile(lambda moment: moment <= theirs[-1], every(text, after, UTC)))  # noqa: B023
        assert ours == sorted({*ours}) and {*theirs} <= {*ours}, text
        assert all(left_out(text, moment, "UTC") for moment in {*ours} - {*theirs}), text


@needs_systemd
@pytest.mark.parametrize("change", [FORTH, BACK])
def test_calendar_events_differ_from_those_of_systemd_only_where_it_leaves_an_hour_out(change: datetime) -> None:
    """systemd leaves out what clocks skip, and of what they show twice the second or, far ahead, the first."""
    for ahead in (3 * 24 * HOUR, 5 * HOUR):
        for text, theirs in asked(change - ahead, "Europe/Berlin", 60):
            if not theirs:
                assert never(text, change - ahead), text
                continue
            last = theirs[-1] if len(theirs) == 60 else datetime(2200, 1, 1, tzinfo=UTC)
            theirs = sorted({moment - HOUR * moment.astimezone(BERLIN).fold for moment in theirs})
            ours = list(takewhile(lambda moment: moment <= last, every(text, change - ahead)))  # noqa: B023
            assert ours == sorted({*ours}) and {*theirs} <= {*ours}, text
            more = {moment for moment in {*ours} - {*theirs} if not at_a_change(moment)}
            assert all(left_out(text, moment, "Europe/Berlin") for moment in more), text


def at_a_change(moment: datetime) -> bool:
    """Whether clocks have just skipped something, or show it again."""
    before, after = (moment - SECOND).astimezone(BERLIN), moment.astimezone(BERLIN)
    return bool(after.fold) or (before.utcoffset() or HOUR) < (after.utcoffset() or HOUR)


def never(text: str, after: datetime) -> bool:
    try:
        return not moments(text, after)
    except ConfigError as error:
        return "never comes" in str(error)


def is_refused(text: str) -> bool:
    try:
        recurrence.of(text, BERLIN)
    except ConfigError as error:
        assert str(error).startswith(text) and "\n" not in str(error)
        return "never comes" not in str(error)
    return False


@needs_systemd
def test_what_systemd_refuses_is_refused_and_nothing_else() -> None:
    assert refused() == {text for text in EVENTS + DRAWN + NO_EVENTS if is_refused(text)}
    assert {*NO_EVENTS} <= refused() and not {*EVENTS} & refused()


@pytest.mark.parametrize("text", CRON)
def test_cron_expressions_come_when_they_do_with_cron_also_where_clocks_are_changed(text: str) -> None:
    for zone in (BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")):
        for after in (FORTH - 3 * HOUR, BACK - 3 * HOUR, datetime(2026, 11, 1, 4, tzinfo=UTC)):
            theirs = [m.astimezone(UTC) for m in islice(CronSim(text, after.astimezone(zone)), 200) if m.year < 2200]
            assert moments(text, after, zone, 200) == theirs


@pytest.mark.parametrize(
    "text",
    [
        "61 * * * *",
        "* * * * * *",
        "0 0 30 2 *",
        "* * * * 8",
        "a b c d e",
        "0 0 * * 1L-3",
        "* * * * 1#1/2",
        "*/0 * * * *",
    ],
)
def test_what_is_no_cron_expression_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(text)} is no cron expression: .* as in 0 22 \* \* 1-5$"):
        recurrence.of(text, BERLIN)


@pytest.mark.parametrize("text", ["*-02-30", "Mon *-02-30 *:00", "*-4,6-31"])
def test_a_day_that_no_year_has_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="never comes: no year has such a day"):
        recurrence.of(text, BERLIN)


def test_a_time_that_has_passed_comes_never_again() -> None:
    for text in ("2026-03-01 10:00", "2026-03-01 *:30", "2020-*-*"):
        assert recurrence.of(text, BERLIN).after(FORTH) is None


@pytest.mark.parametrize("text", ["2:30", "30 2 * * *", "2:0/20", "0,20,40 2 * * *"])
def test_a_time_that_clocks_skip_comes_when_they_have_done_so_and_one_shown_twice_once(text: str) -> None:
    assert moments(text, FORTH - 3 * HOUR)[0] == FORTH
    assert moments(text, FORTH)[0] > FORTH + 20 * HOUR
    twice = [moment for moment in moments(text, BACK - 3 * HOUR) if moment < BACK + 3 * HOUR]
    assert twice and all(BACK - HOUR <= moment < BACK for moment in twice)
    assert moments(text, BACK + HOUR / 6)[0] > BACK + 20 * HOUR


@pytest.mark.parametrize("text", ["*:15", "15 * * * *"])
def test_what_comes_in_each_hour_comes_also_in_the_hour_that_is_shown_again(text: str) -> None:
    for change in (FORTH, BACK):
        begin = change - 6 * HOUR + HOUR / 4
        assert moments(text, begin - SECOND, count=12) == [begin + n * HOUR for n in range(12)]


def test_the_zone_at_the_end_of_an_event_is_its_own() -> None:
    found = recurrence.of("Mon 22:00 Asia/Tokyo", BERLIN)
    assert found.after(FORTH) == datetime(2026, 3, 30, 13, tzinfo=UTC)


@pytest.fixture
def berlin() -> Iterator[None]:
    """A machine in Berlin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def test_the_zone_of_the_machine_is_as_good_as_its_name(berlin: None) -> None:
    zone = Local()
    for change in (FORTH, BACK):
        for minutes in range(-400, 400, 7):
            moment = change + timedelta(minutes=minutes)
            here, there = moment.astimezone(zone), moment.astimezone(BERLIN)
            assert here.replace(tzinfo=None) == there.replace(tzinfo=None) and here.fold == there.fold
            assert here.utcoffset() == there.utcoffset() and here.tzname() == there.tzname()
            assert here.astimezone(UTC) == moment
        for text in ("2:30", "*:0/15", "30 2 * * *", "Sun 3:00"):
            assert moments(text, change - 5 * HOUR, zone) == moments(text, change - 5 * HOUR)
