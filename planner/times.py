"""Owns times of the day and whiles as operators write them: until when, and when, migrations are started.

Times of the day are local ones, by the clock on the wall; whiles are as long on a day on which that clock is changed.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final

from planner.errors import ConfigError
from planner.policy import Apply

TIME: Final = re.compile(r"(\d{1,2}):(\d{2})")
WHILE: Final = re.compile(r"(?=.)(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?")
PART: Final = re.compile(r"([\d:]+)-([\d:]+)")
MIDNIGHT: Final = 24 * 60
"""Minutes of a day."""
Minute = int
"""Minutes since midnight."""


def until(text: str, now: datetime) -> datetime:
    """When a deadline is: the next such time of the day, or so long from now. ConfigError for anything else."""
    if WHILE.fullmatch(text.strip()):
        if seconds := span(text):
            return (now.astimezone(UTC) + timedelta(seconds=seconds)).astimezone()
        raise ConfigError(f"{text} is no time at all: write a time such as 06:00, or a while such as 90m or 2h30m")
    minute = minute_of(text)
    if minute is None:
        raise ConfigError(f"{text} is neither a time such as 06:00 nor a while such as 90m, 2h30m or 45s")
    return _next(minute, now)


def span(text: str) -> float:
    """Seconds of a while such as 90m, 2h30m, 45s or 1d; 0s is one. ConfigError for anything else."""
    found = WHILE.fullmatch(text.strip())
    if not found:
        raise ConfigError(f"{text} is no while such as 90m, 2h30m, 45s or 1d")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


class Hours:
    """Hours of the day, each from a time to another, if need be across midnight. Without any it is always open."""

    def __init__(self, hours: Sequence[str]) -> None:
        """ConfigError for what is no part of the day."""
        self._parts = [_part(text) for text in hours]

    def open(self, now: datetime) -> bool:
        """Whether a moment is within one of them."""
        local = now.astimezone()
        minute = local.hour * 60 + local.minute
        return not self._parts or any(_holds(begin, end, minute) for begin, end in self._parts)

    def opens(self, now: datetime) -> datetime:
        """When the next of them begins; now, where one is open."""
        return now if self.open(now) else min(_next(begin, now) for begin, _ in self._parts)


def check(settings: Apply, where: Mapping[str, str]) -> None:
    """ConfigError for a deadline or hours that make no sense; `where`: key to where it was written."""
    key = "deadline"
    try:
        if settings.deadline is not None:
            until(settings.deadline, datetime.now(UTC))
        key = "hours"
        Hours(settings.hours)
    except ConfigError as error:
        raise ConfigError(f"apply.{key} {where.get(key, '')}: {error}") from None


def minute_of(text: str) -> Minute | None:
    """A time of the day, 24:00 being one; None when it is none."""
    found = TIME.fullmatch(text.strip())
    if not found or int(found[2]) > 59:
        return None
    minute = int(found[1]) * 60 + int(found[2])
    return minute if minute <= MIDNIGHT else None


def _part(text: str) -> tuple[Minute, Minute]:
    found = PART.fullmatch(text.strip())
    begin, end = (minute_of(found[i]) for i in (1, 2)) if found else (None, None)
    if begin is None or end is None:
        raise ConfigError(f"{text} is no part of the day such as 22:00-06:00")
    if begin % MIDNIGHT == end:
        raise ConfigError(f"{text} begins when it ends: write 00:00-24:00 for the whole day")
    return begin % MIDNIGHT, end


def _holds(begin: Minute, end: Minute, minute: Minute) -> bool:
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def _next(minute: Minute, now: datetime) -> datetime:
    """The next moment at which clocks on the wall show a time of the day."""
    wall = time(*divmod(minute % MIDNIGHT, 60))
    today = now.astimezone().date()
    days = (datetime.combine(today + timedelta(days=day), wall) for day in range(3))
    return next(moment for day in days for moment in _moments(day) if moment > now)


def _moments(local: datetime) -> list[datetime]:
    """When a local time is: twice where clocks are put back; where they skip it, as long after they did."""
    both = sorted({local.replace(fold=fold).astimezone() for fold in (0, 1)})
    return [moment for moment in both if moment.time() == local.time()] or both[-1:]
