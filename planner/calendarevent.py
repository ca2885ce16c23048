"""Owns calendar events as systemd has them: what they mean is said in systemd.time(7)."""

import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Final

from planner.errors import ConfigError

YEARS: Final = range(1970, 2200)
"""Those that systemd knows."""
NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WEEKDAYS: Final = {name[:size]: number for number, name in enumerate(NAMES) for size in (3, len(name))}
_HALF, _YEAR = "*-01,07-01 00:00", "*-01-01 00:00"
SHORT: Final = {
    "minutely": "*:*", "hourly": "*:00", "daily": "00:00", "weekly": "Mon 00:00", "monthly": "*-*-01 00:00",
    "quarterly": "*-01,04,07,10-01 00:00", "semi-annually": _HALF, "semiannually": _HALF, "bi-annually": _HALF,
    "biannually": _HALF, "yearly": _YEAR, "annually": _YEAR, "anually": _YEAR,
}  # fmt: skip
"""Words to what they stand for."""
BACK: Final = range(1, 29)
"""Days from the end of a month that every month has."""
PART: Final = re.compile(r"(\d{1,4})(?:\.\.(\d{1,4}))?(?:/(\d{1,4}))?")


@dataclass(frozen=True, slots=True)
class _Part:
    """Numbers from one to another, which may be the last there is, by steps."""

    first: int
    last: int | None
    step: int


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """Times on a clock on the wall that come again."""

    weekdays: frozenset[int]
    years: tuple[int, ...]
    months: frozenset[int]
    days: Callable[[int], list[int]]
    """Days in a month with so many."""
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]

    @property
    def every_hour(self) -> bool:
        """Whether it comes in each hour of a day, rather than at hours that were chosen."""
        return len(self.hours) == 24

    def walls(self, after: datetime) -> Iterator[datetime]:
        """The times after one, in their order."""
        for day in self._days(after.date()):
            for at in self._times(after.time() if day == after.date() else None):
                wall = datetime.combine(day, at)
                if wall > after:
                    yield wall

    def _days(self, first: date) -> Iterator[date]:
        months = ((year, month) for year in self.years if year >= first.year for month in sorted(self.months))
        for year, month in months:
            if (year, month) >= (first.year, first.month):
                start, length = monthrange(year, month)
                for day in self.days(length):
                    if (start + day - 1) % 7 in self.weekdays and date(year, month, day) >= first:
                        yield date(year, month, day)

    def _times(self, first: time | None) -> Iterator[time]:
        """Times of the day, from the minute of the first one on."""
        start = (first.hour, first.minute) if first else (0, 0)
        for hour in self.hours:
            for minute in self.minutes:
                if (hour, minute) >= start:
                    yield from (time(hour, minute, second) for second in self.seconds)


def parse(text: str) -> CalendarEvent:
    """Of text without a zone; ConfigError says what is wrong with which part of it."""
    words = SHORT.get(text.strip().casefold(), text).split()
    weekdays = words.pop(0) if words and words[0][0].isalpha() else None
    day = words.pop(0) if words and re.search("[-~]", words[0]) else None
    clock = words.pop(0) if words and ":" in words[0] else None
    if words:
        raise ConfigError(f"{words[0]} makes no sense there: write weekdays, a date, a time, as in Mon *-*-1..7 22:00")
    if not (weekdays or day or clock):
        raise ConfigError("it is empty")
    hours, minutes, seconds = _clock(clock or "0:0")
    years, months, days = _date(day or "*-*-*")
    of_week = _weekdays(weekdays) if weekdays else frozenset(range(7))
    return CalendarEvent(of_week, years, months, days, hours, minutes, seconds)


def _weekdays(text: str) -> frozenset[int]:
    """Names and ranges of them; systemd once had ranges with a dash."""
    found: set[int] = set()
    for part in text.casefold().removesuffix(",").split(","):
        names = re.split(r"\.\.|-", part)
        numbers = [WEEKDAYS.get(name) for name in names]
        first, last = numbers[0], numbers[-1]
        if first is None or last is None or len(numbers) > 2:
            raise ConfigError(f"{part} is no weekday: write Mon, or Mon..Fri, or Sat,Sun")
        if first > last:
            then = f"mon..{names[1]}" if last else "mon"
            raise ConfigError(f"{part} goes past the end of the week: write {names[0]}..sun,{then}")
        found |= {*range(first, last + 1)}
    return frozenset(found)


def _date(text: str) -> tuple[tuple[int, ...], frozenset[int], Callable[[int], list[int]]]:
    """Years, months and days; after a ~ days count from the end of the month."""
    found = re.fullmatch(r"(?:([^-~]+)-)?([^-~]+)([-~])([^-~]+)", text)
    if not found:
        raise ConfigError(f"{text} is no date: write *-*-1, or 12-24, or *-*~1 for the last day of a month")
    years, months, backwards = found[1] or "*", found[2], found[3] == "~" and found[4] != "*"
    days = _parts(found[4], BACK if backwards else range(1, 32), "days")

    def of(length: int) -> list[int]:
        ways = (_from_end(part, length) if backwards else _from_start(part, length) for part in days)
        return sorted({day for way in ways for day in way if 1 <= day <= length})

    return _numbers(years, YEARS, "years"), frozenset(_numbers(months, range(1, 13), "months")), of


def _from_start(part: _Part, length: int) -> range:
    return range(part.first, (length if part.last is None else part.last) + 1, part.step)


def _from_end(part: _Part, length: int) -> list[int]:
    """Steps without an end go towards the end of the month."""
    back = range(part.first, 0, -part.step) if part.last is None else range(part.first, part.last + 1, part.step)
    return [length + 1 - number for number in back]


def _clock(text: str) -> list[tuple[int, ...]]:
    """Hours, minutes and seconds."""
    parts = text.split(":")
    if len(parts) > 3:
        raise ConfigError(f"{text} is no time: write 22:00, or 22:00:30")
    named = zip([*parts, "0"], (range(24), range(60), range(60)), ("hours", "minutes", "seconds"), strict=False)
    return [_numbers(part, within, what) for part, within, what in named]


def _numbers(text: str, within: range, what: str) -> tuple[int, ...]:
    found = {number for part in _parts(text, within, what) for number in _from_start(part, within[-1])}
    return tuple(sorted(found))


def _parts(text: str, within: range, what: str) -> list[_Part]:
    """Of a list such as 1..7,20/2."""
    if text == "*":
        return [_Part(within[0], within[-1], 1)]
    return [_part(written, within, what) for written in text.split(",")]


def _part(text: str, within: range, what: str) -> _Part:
    """One number is a part of which the first is the last."""
    found = PART.fullmatch(text)
    said = f"the {what} are {text or 'missing'}"
    if not found:
        raise ConfigError(f"{said}: write a number, first..last, first/step, several with commas, or *")
    first, (last, step) = int(found[1]), (int(number) if number else None for number in found.groups()[1:])
    if within is YEARS:
        first, last = _century(first), None if last is None else _century(last)
    if first not in within or (last is not None and last not in within):
        raise ConfigError(f"{said}: they go from {within[0]} to {within[-1]}")
    if last is not None and last < first:
        raise ConfigError(f"{said}: that ends before it begins")
    second = first + (step or 0) * (-1 if within is BACK else 1)
    if step == 0 or (last is None and second not in within):
        raise ConfigError(f"{said}: a step of {step} from {first} leads nowhere")
    return _Part(first, first if step is None and last is None else last, step or 1)


def _century(year: int) -> int:
    """Years may have two digits."""
    return year if year > 99 else year + (2000 if year < YEARS[0] % 100 else 1900)
