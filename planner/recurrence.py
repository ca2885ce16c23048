"""Owns times that come again: calendar events and cron expressions, in a time zone whose clocks may be changed.

A time that clocks skip comes when they have done so, and one that they show twice the first time. What comes in each
hour of a day comes whenever clocks show it.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple, Protocol

from cronsim import CronSim, CronSimError

from planner import calendarevent, zones
from planner.errors import ConfigError

CHANGE: Final = timedelta(hours=3)
"""By more than this clocks are not put back."""
BEGINNING: Final = datetime(1969, 12, 31, 23, 59, 59)  # noqa: DTZ001 - on the wall
FIELDS: Final = 5
"""Of a cron expression."""


class Occurrence(NamedTuple):
    """What a clock on the wall is to show, and when that is, in UTC."""

    moment: datetime
    wall: datetime


class _Walls(Protocol):
    """Times on a clock on the wall that come again."""

    @property
    def every_hour(self) -> bool: ...

    def walls(self, after: datetime) -> Iterator[datetime]: ...


@dataclass(frozen=True, slots=True)
class _Cron:
    """A cron expression as Debian's cron reads it, without what that does when clocks are changed."""

    text: str

    @property
    def every_hour(self) -> bool:
        return len(CronSim(self.text, BEGINNING).hours) == 24

    def walls(self, after: datetime) -> Iterator[datetime]:
        for wall in CronSim(self.text, after):
            if wall.year not in calendarevent.YEARS:
                return
            yield wall


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Moments that come again in a time zone."""

    zone: tzinfo
    _walls: _Walls
    _every_hour: bool

    def after(self, moment: datetime) -> datetime | None:
        """The first one after a moment, in UTC; None: never again."""
        found = next(self.occurrences(moment), None)
        return found and found.moment

    def occurrences(self, after: datetime) -> Iterator[Occurrence]:
        """Those after a moment, in their order."""
        after = after.astimezone(UTC)
        found = self._shown(after) if self._every_hour else self._once(after)
        return (each for each in found if each.moment > after)

    def _once(self, after: datetime) -> Iterator[Occurrence]:
        for wall in self._walls.walls(_wall(after, self.zone)):
            shown = zones.showing(wall, self.zone)
            yield Occurrence(shown[0] if shown else zones.skipping(wall, self.zone), wall)

    def _shown(self, after: datetime) -> Iterator[Occurrence]:
        """Whenever clocks show them: where they are put back, a time comes again after later ones on the wall."""
        near = len({(after + way).astimezone(self.zone).utcoffset() for way in (-CHANGE, CHANGE)}) > 1
        waiting: list[Occurrence] = []
        for wall in self._walls.walls(_wall(after - CHANGE if near else after, self.zone)):
            shown = [Occurrence(moment, wall) for moment in zones.showing(wall, self.zone)]
            while shown and waiting and waiting[0] <= shown[0]:
                yield heapq.heappop(waiting)
            for each in shown:
                heapq.heappush(waiting, each)
        yield from sorted(waiting)


def of(text: str, zone: tzinfo) -> Recurrence:
    """Of a calendar event such as `Mon..Fri 22:00` or a cron expression such as `0 22 * * 1-5`.

    An event may name a zone of its own at its end. ConfigError says what makes no sense, or never comes.
    """
    words = text.split()
    walls: _Walls
    try:
        if len(words) >= FIELDS:
            walls = _cron(words)
        else:
            if len(words) > 1 and words[-1][0].isalpha():
                zone = zones.named(words.pop())
            walls = calendarevent.parse(" ".join(words))
    except ConfigError as error:
        kind = "cron expression" if len(words) >= FIELDS else "calendar event such as Mon..Fri 22:00"
        raise ConfigError(f"{text} is no {kind}: {error}") from None
    if next(walls.walls(BEGINNING), None) is None:
        raise ConfigError(f"{text} never comes: no year has such a day")
    return Recurrence(zone, walls, walls.every_hour)


def _cron(words: list[str]) -> _Cron:
    if len(words) > FIELDS:
        raise ConfigError(f"it has {len(words)} parts: write {FIELDS}, as in 0 22 * * 1-5")
    try:
        CronSim(" ".join(words), BEGINNING)
    except (CronSimError, ValueError, AssertionError) as error:
        reason = str(error).lower() or "bad step"
        raise ConfigError(f"{reason}: write minute, hour, day, month and weekday, as in 0 22 * * 1-5") from None
    return _Cron(" ".join(words))


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)
