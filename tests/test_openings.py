"""Claims about windows, blackouts and maintenance that come again: minute by minute they are as clocks say."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest

from planner import maintenance, openings
from planner.config import chosen, load
from planner.errors import ConfigError
from planner.openings import Openings, said
from planner.policy import Cluster, Window
from planner.service import Opening

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FORTH, BACK = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
"""When clocks in Berlin are changed in 2026: 2:00 to 3:00, and 3:00 to 2:00."""
CHANGES = (
    ("Europe/Berlin", FORTH), ("Europe/Berlin", BACK), ("UTC", BACK),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),  # by half an hour
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 4, 5, 3, tzinfo=UTC)),  # at midnight
    ("America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),
)  # fmt: skip
NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", (Path(__file__).parents[1] / "docs/openings.md").read_text(), re.S)


@dataclass(frozen=True)
class Written:
    """An opening, and the same in numbers."""

    weekdays: frozenset[int]
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    until: time | None
    lasts: timedelta | None
    cron: bool

    def opening(self, zone: str) -> Opening:
        hours, minutes = (",".join(map(str, numbers)) for numbers in (self.hours, self.minutes))
        hours = "*" if len(self.hours) == 24 else hours
        if self.cron:
            begin = f"{minutes} {hours} * * {','.join(str((day + 1) % 7) for day in self.weekdays)}"
        else:
            begin = f"{','.join(NAMES[day] for day in self.weekdays)} {hours}:{minutes}"
        lasts = None if self.lasts is None else f"{self.lasts // MINUTE}m"
        return Opening(begin, self.until and f"{self.until:%H:%M}", lasts, zone)


class Walls:
    """Every minute of some days, and what clocks show then."""

    def __init__(self, zone: str, middle: datetime, days: int) -> None:
        first = middle - days * DAY
        self.minutes = [first + n * MINUTE for n in range(2 * days * 24 * 60)]
        self.shown = [moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for moment in self.minutes]
        self.days = sorted({wall.date() for wall in self.shown})[1:-1]
        self.when: dict[datetime, list[int]] = {}
        for n, wall in enumerate(self.shown):
            self.when.setdefault(wall, []).append(n)

    def _first(self, wall: datetime) -> int:
        """From when on that time has come."""
        shown = self.when.get(wall)
        return shown[0] if shown else next(n for n, shown in enumerate(self.shown) if shown >= wall)

    def _begins(self, its: Written) -> Iterator[tuple[datetime, int]]:
        for day in self.days:
            for hour in its.hours if day.weekday() in its.weekdays else ():
                for minute in its.minutes:
                    wall = datetime.combine(day, time(hour, minute))
                    if len(its.hours) < 24:
                        yield wall, self._first(wall)
                    else:
                        yield from ((wall, n) for n in self.when.get(wall, ()))

    def _end(self, its: Written, wall: datetime, begin: int) -> int:
        if its.lasts is not None:
            return begin + its.lasts // MINUTE
        assert its.until is not None
        day: date = wall.date() if wall.time() < its.until else wall.date() + DAY
        if day > self.days[-1]:
            return len(self.minutes)
        end = datetime.combine(day, its.until)
        return next((n for n in self.when.get(end) or [self._first(end)] if n > begin), begin)

    def open(self, several: list[Written]) -> list[bool]:
        """Whether any of them holds, minute by minute."""
        found = [False] * len(self.minutes)
        for its in several:
            for wall, begin in self._begins(its):
                end = self._end(its, wall, begin)
                found[begin:end] = [True] * (min(end, len(found)) - begin)
        return found


def drawn(rng: Random) -> Written:
    hours = (
        tuple(range(24))
        if rng.random() < 0.2
        else tuple(sorted(rng.sample([0, 1, 2, 3, 22, 23], rng.choice([1, 1, 2]))))
    )
    minutes = tuple(sorted(rng.sample([0, 15, 30, 45, 59], rng.choice([1, 1, 2]))))
    until = time(rng.choice([0, 1, 2, 2, 3, 6, 23]), rng.choice([0, 15, 30, 45])) if rng.random() < 0.5 else None
    lasts = None if until else rng.choice([10, 20, 45, 90, 240, 1500]) * MINUTE
    weekdays = frozenset(range(7)) if rng.random() < 0.5 else frozenset([*rng.sample(range(7), 3), 6])
    return Written(weekdays, hours, minutes, until, lasts, rng.random() < 0.5)


@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 3), marks=pytest.mark.slow)])
@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_openings_hold_as_clocks_on_a_wall_say_minute_by_minute(zone: str, change: datetime, seeds: range) -> None:
    for seed in seeds:
        compare(zone, change, seed, 30)


@pytest.mark.slow
@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_openings_hold_as_clocks_on_a_wall_say_for_a_week(zone: str, change: datetime) -> None:
    for seed in range(100, 110):
        compare(zone, change, seed, 84)


def compare(zone: str, change: datetime, seed: int, hours: int) -> None:
    """Every minute of so many hours before and after a change of clocks, and each beginning and end."""
    rng, walls = Random(f"{zone}{change}{seed}"), Walls(zone, change, 3 + hours // 24)
    middle, last = len(walls.minutes) // 2, len(walls.minutes) - 2 * 24 * 60
    several = [drawn(rng) for _ in range(rng.choice([1, 1, 2]))]
    expected, asked = walls.open(several), Openings([its.opening(zone) for its in several])
    upcoming = {state: following(expected, state) for state in (True, False)}
    for n in range(middle - hours * 60, middle + hours * 60):
        moment = walls.minutes[n]
        assert bool(asked.open(moment)) == expected[n], (several, moment)
        if n % 127 and expected[n - 1] == expected[n] == expected[n + 1]:
            continue
        for found, later in ((asked.opens(moment), upcoming[True][n]), (asked.closes(moment), upcoming[False][n])):
            if later < last:
                assert found == walls.minutes[later], (several, moment)
            else:
                assert found is None or found >= walls.minutes[last], (several, moment)


def following(states: list[bool], state: bool) -> list[int]:
    """Minute to the next one that is so; their number where none is."""
    found = [len(states)] * (len(states) + 1)
    for n in reversed(range(len(states))):
        found[n] = n if states[n] == state else found[n + 1]
    return found


def test_the_first_opening_that_holds_is_named() -> None:
    night, weekend = Opening("22:00", until="06:00", time_zone="UTC"), Opening("Sat", lasts="2d", time_zone="UTC")
    asked = Openings([night, weekend])
    saturday = datetime(2026, 11, 28, 23, tzinfo=UTC)
    assert asked.open(saturday) is night and asked.open(saturday - 10 * HOUR) is weekend
    assert asked.open(saturday - 36 * HOUR) is None
    assert asked.closes(saturday) == datetime(2026, 11, 30, 6, tzinfo=UTC)
    assert asked.opens(saturday - 36 * HOUR) == datetime(2026, 11, 27, 22, tzinfo=UTC)
    assert said(night) == "22:00 until 06:00 (UTC)" and said(Opening("Mon 22:00", lasts="8h")) == "Mon 22:00 for 8h"


def test_what_never_ends_is_not_waited_for_and_what_never_comes_again_neither() -> None:
    for opening in (
        Opening("*:0/15", lasts="15m"), Opening("*:*:*", lasts="1s"), Opening("*:*", lasts="10d"),
        Opening("0:0", until="24:00"), Opening("*:0", until="12:00"), Opening("2026-1-1", lasts="999d"),
    ):  # fmt: skip
        assert Openings([opening]).closes(FORTH) is None
    past = Openings([Opening("2020-1-1 10:00", lasts="1h")])
    assert past.opens(FORTH) is None and past.open(FORTH) is None and past.closes(FORTH) == FORTH


def test_without_any_opening_nothing_holds() -> None:
    assert Openings([]).open(BACK) is None and Openings([]).opens(BACK) is None and Openings([]).closes(BACK) == BACK


@pytest.mark.parametrize(
    ("opening", "message"),
    [
        ("begin: '22:00'", "22:00 has neither until nor lasts: write one of them, such as until: 06:00 or lasts: 8h"),
        ("begin: '22:00', until: 6:00, lasts: 8h", "22:00 has both until and lasts: write one of them"),
        ("begin: '25:00', lasts: 8h", "25:00 is no calendar event .*: the hours are 25: they go from 0 to 23"),
        ("begin: '22:00', lasts: 0s", "it lasts 0s, which is no time at all: write a while such as 8h"),
        ("begin: '22:00', lasts: ever", "ever is no while such as 90m"),
        ("begin: '22:00', until: dawn", "dawn is no time of the day: write one such as until: 06:00"),
        ("begin: '22:00', until: 06:00, time_zone: CEST/x", "no time zone is called CEST/x here: write one such as"),
        ("begin: 22:00 UTC, until: 06:00, time_zone: UTC", None),
        ("begin: 22:00 UTC, until: 06:00, time_zone: Asia/Tokyo", "has a time zone of its own beside Asia/Tokyo: keep"),
        ("begin: '*-2-30', lasts: 8h", "-2-30 never comes: no year has such a day"),
        ("begin: 0 22 * * 9, lasts: 8h", r"0 22 \* \* 9 is no cron expression: bad day-of-week: write minute, hour"),
        ("lasts: 8h", r"run.windows\[1\].begin in .* is missing"),
        ("begin: '', lasts: 8h", r"run.windows\[1\].begin in .* is empty"),
    ],
)
def test_an_opening_without_sense_is_refused_and_its_place_is_named(
    tmp_path: Path, opening: str, message: str | None
) -> None:
    file = tmp_path / "c.yaml"
    for key in ("windows", "blackouts"):
        file.write_text(f"run:\n  {key}:\n    - {{begin: '21:00', lasts: 1h}}\n    - {{{opening}}}\n")
        if message is None:
            assert len(getattr(load(str(file), environ={}).run, key)) == 2
            continue
        with pytest.raises(ConfigError, match=message.replace("windows", key)) as caught:
            load(str(file), environ={})
        text = str(caught.value)
        assert f"run.{key}[1]" in text and str(file) in text and "\n" not in text


def test_maintenance_comes_again_and_guests_leave_ahead_of_it() -> None:
    again = Window("b", every="Mon 22:00", lasts="4h", ahead="60m", time_zone="Europe/Berlin")
    once = Window(
        "c", begin=datetime(2026, 11, 23, 22, tzinfo=UTC), end=datetime(2026, 11, 24, tzinfo=UTC), ahead="90m"
    )
    settings = Cluster(scheduled_maintenance=(again, once))
    for text, expected in (
        ("2026-11-23T19:59:59Z", ""), ("2026-11-23T20:00:00Z", "b"), ("2026-11-23T20:30:00Z", "bc"),
        ("2026-11-24T00:00:00Z", "b"), ("2026-11-24T00:59:59Z", "b"), ("2026-11-24T01:00:00Z", ""),
        ("2026-11-30T23:00:00+01:00", "b"), ("2026-07-06T20:30:00Z", "b"), ("2026-07-06T18:59:59Z", ""), ("", ""),
        ("9999-12-31T23:59:59Z", ""), ("0001-01-01T00:00:00Z", ""),
    ):  # fmt: skip
        assert "".join(maintenance.nodes(settings, text)) == expected, text


@pytest.mark.parametrize(("zone", "change"), CHANGES[:2])
def test_maintenance_lasts_as_the_opening_of_the_same_time_does(zone: str, change: datetime) -> None:
    """Without anything ahead the two are one thing."""
    for every in ("Sun 2:30", "*:15", "30 2 * * *"):
        window = Cluster(scheduled_maintenance=(Window("a", every=every, lasts="20m", time_zone=zone),))
        opening = Openings([Opening(every, lasts="20m", time_zone=zone)])
        for minutes in range(-300, 300):
            moment = change + minutes * MINUTE
            assert bool(opening.open(moment)) == bool([*maintenance.nodes(window, moment.isoformat())])


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("{node: a, every: Mon 22:00}", r"maintenance\[0\].lasts in .* is missing: it must be given"),
        (
            "{node: a, lasts: 4h}",
            r"maintenance\[0\].lasts in .* makes no sense without every: write every and lasts, or",
        ),
        ("{node: a}", r"maintenance\[0\].begin in .* is missing: it must be given"),
        (
            "{node: a, every: Mon 22:00, lasts: 4h, end: 2026-12-01}",
            r"\[0\].end in .* makes no sense beside every: write",
        ),
        ("{node: a, begin: 2026-11-01, end: 2026-12-01, time_zone: UTC}", r"time_zone in .* is for what comes again"),
        ("{node: a, every: 25:00, lasts: 4h}", r"\[0\] in .*c.yaml: 25:00 is no calendar event"),
        ("{node: a, every: 22:00, lasts: 0s}", "it lasts 0s, which is no time at all"),
        ("{node: a, every: 22:00, lasts: 4h, ahead: soon}", "soon is no while such as"),
        ("{node: a, begin: 2026-11-24, end: 2026-11-23}", r"\[0\] in .*: maintenance of a ends before it begins: swap"),
        (
            "{node: a, evry: 22:00, lasts: 4h}",
            r"unknown key cluster.scheduled_maintenance\[0\].evry .* did you mean every",
        ),
    ],
)
def test_maintenance_without_sense_is_refused(tmp_path: Path, window: str, message: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"cluster:\n  scheduled_maintenance: [{window}]\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load(str(file), environ={})
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)


def test_maintenance_may_be_given_as_a_keyword() -> None:
    row = {"node": "a", "every": "Mon 22:00", "lasts": "4h"}
    assert chosen({"scheduled_maintenance": [row]}).cluster.scheduled_maintenance[0].every == "Mon 22:00"


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_page_about_openings_is_accepted(tmp_path: Path, example: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(example)
    found = load(str(file), environ={})
    assert found.run.windows or found.run.blackouts or found.cluster.scheduled_maintenance
    for opening in (*found.run.windows, *found.run.blackouts):
        assert Openings([opening]).opens(BACK) and said(opening)


def test_every_expression_of_the_page_about_openings_is_one() -> None:
    page = (Path(__file__).parents[1] / "docs/openings.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| (?:`([^`]+)`|[^|`]*) \|", page, re.M)
    assert len(rows) > 10
    for texts in rows:
        for text in filter(None, texts):
            assert openings.begins(text, None).after(BACK)


def test_both_kinds_of_expressions_that_the_page_puts_side_by_side_mean_the_same() -> None:
    page = (Path(__file__).parents[1] / "docs/openings.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", page, re.M)
    assert len(rows) > 4
    for event, cron in rows:
        mine, other = openings.begins(event, "Europe/Berlin"), openings.begins(cron, "Europe/Berlin")
        moment: datetime | None = FORTH - DAY
        for _ in range(300):
            assert moment is not None
            assert mine.after(moment) == other.after(moment), (event, cron)
            moment = mine.after(moment)
