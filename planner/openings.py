"""Owns times that come again and last: windows in which migrations may start, and blackouts in which they may not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from planner import recurrence, times, zones
from planner.errors import ConfigError
from planner.recurrence import Recurrence
from planner.service import Opening, Run

DAY: Final = timedelta(days=1)
FAR: Final = timedelta(days=366)
"""What is open for longer than this counts as always open..."""
MANY: Final = 1000
"""...and so does what is open through so many openings."""
KEYS: Final = ("windows", "blackouts")


class Openings:
    """Several of them together: open while any of them is. Moments are aware, and those that are given back in UTC."""

    def __init__(self, openings: Sequence[Opening]) -> None:
        """ConfigError for an opening that makes no sense."""
        self._openings = [(opening, _stretch(opening)) for opening in openings]

    def open(self, moment: datetime) -> Opening | None:
        """The first one that holds at a moment."""
        at = moment.astimezone(UTC)
        return next((opening for opening, stretch in self._openings if stretch.end(at)), None)

    def opens(self, moment: datetime) -> datetime | None:
        """When the next one begins: the moment itself where one holds; None: never again."""
        at = moment.astimezone(UTC)
        if self.open(at):
            return at
        return min(filter(None, (stretch.next(at) for _, stretch in self._openings)), default=None)

    def closes(self, moment: datetime) -> datetime | None:
        """From when on none holds: the moment itself where none does; None: never, or not within a year."""
        end = begin = moment.astimezone(UTC)
        for _ in range(MANY):
            ends = [later for _, stretch in self._openings if (later := stretch.end(end))]
            if not ends:
                return end
            end = max(ends)
            if end - begin > FAR:
                return None
        return None


@dataclass(frozen=True, slots=True)
class Lasting:
    """Comes again, and lasts for a while that passes as it does on days on which clocks are changed."""

    begins: Recurrence
    lasts: timedelta

    def end(self, moment: datetime) -> datetime | None:
        """When that ends which holds at a moment; None: nothing holds."""
        for part in (64, 8, 1):  # of many that overlap one of the last, which ends late
            begin = self.begins.after(moment - self.lasts / part)
            if begin and begin <= moment:
                return begin + self.lasts
        return None

    def next(self, moment: datetime) -> datetime | None:
        """When the next one begins."""
        return self.begins.after(moment)


@dataclass(frozen=True, slots=True)
class Until:
    """Comes again, and ends when clocks show a time of the day."""

    begins: Recurrence
    until: time

    def end(self, moment: datetime) -> datetime | None:
        """When that ends which holds at a moment; None: nothing holds."""
        since = moment - DAY - recurrence.CHANGE  # what began before has ended, whatever clocks have done since
        while True:
            begin, end = next(self._all(since), (None, moment))
            if begin is None or begin > moment:
                return None
            if moment < end:
                return end
            since = end - zones.SECOND  # what begins before that ends with it

    def next(self, moment: datetime) -> datetime | None:
        """When the next one begins."""
        return next((begin for begin, _ in self._all(moment)), None)

    def _all(self, after: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Begins and ends of those that begin after a moment; where clocks skip both there is nothing of it."""
        for begin, wall in self.begins.occurrences(after):
            day = wall.date() if wall.time() < self.until else wall.date() + DAY
            end = datetime.combine(day, self.until)
            shown = zones.showing(end, self.begins.zone) or [zones.skipping(end, self.begins.zone)]
            for moment in shown:
                if moment > begin:
                    yield begin, moment
                    break


def said(opening: Opening) -> str:
    """As in `Mon..Fri 22:00 until 06:00`."""
    end = f"until {opening.until}" if opening.until is not None else f"for {opening.lasts}"
    return f"{opening.begin} {end}{f' ({opening.time_zone})' if opening.time_zone else ''}"


def begins(text: str, time_zone: str | None) -> Recurrence:
    """In a zone by its name, or that of this machine. ConfigError for what makes no sense, or has two zones."""
    zone = zones.named(time_zone) if time_zone else zones.Local()
    found = recurrence.of(text, zone)
    if time_zone and found.zone is not zone:
        raise ConfigError(f"{text} has a time zone of its own beside {time_zone}: keep one of them")
    return found


def check(settings: Run, where: Mapping[str, str]) -> None:
    """ConfigError for a window or blackout that makes no sense; `where`: key to where it was written."""
    for key in KEYS:
        for number, opening in enumerate(getattr(settings, key)):
            try:
                _stretch(opening)
            except ConfigError as error:
                raise ConfigError(f"run.{key}[{number}] {where.get(key, '')}: {error}") from None


def lasting(text: str) -> timedelta:
    """ConfigError for what is no while, and for none at all."""
    seconds = times.span(text)
    if not seconds:
        raise ConfigError(f"it lasts {text}, which is no time at all: write a while such as 8h")
    return timedelta(seconds=seconds)


def _stretch(opening: Opening) -> Lasting | Until:
    when = begins(opening.begin, opening.time_zone)
    if (opening.until is None) == (opening.lasts is None):
        both = "neither until nor lasts" if opening.until is None else "both until and lasts"
        raise ConfigError(f"{opening.begin} has {both}: write one of them, such as until: 06:00 or lasts: 8h")
    if opening.lasts is not None:
        return Lasting(when, lasting(opening.lasts))
    minute = times.minute_of(opening.until or "")
    if minute is None:
        raise ConfigError(f"{opening.until} is no time of the day: write one such as until: 06:00")
    return Until(when, time(*divmod(minute % times.MIDNIGHT, 60)))
