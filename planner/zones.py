"""Owns time zones: by their names, that of this machine, and at which moments their clocks show a time."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from planner.errors import ConfigError

SECOND: Final = timedelta(seconds=1)


class Local(tzinfo):
    """The zone of this machine, whatever it is called: a daemon outlives changes of the clock, a fixed offset not."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, dt: datetime | None) -> timedelta | None:
        """Not known."""
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, dt: datetime) -> datetime:
        return datetime.fromtimestamp(dt.replace(tzinfo=UTC).timestamp(), tz=None).replace(tzinfo=self)  # noqa: DTZ006


def named(name: str) -> tzinfo:
    """ConfigError for a zone that is not known here."""
    if name.casefold() == "utc":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # a path out of the database, a folder of it, and what it does not have
        hint = "write one such as Europe/Berlin (where that is not known either, install tzdata)"
        raise ConfigError(f"no time zone is called {name} here: {hint}") from None


def showing(wall: datetime, zone: tzinfo) -> list[datetime]:
    """When clocks show a time, in UTC: once, twice where they are put back, or never where they skip it."""
    return [moment for moment in _both(wall, zone) if moment.astimezone(zone).replace(tzinfo=None, fold=0) == wall]


def skipping(wall: datetime, zone: tzinfo) -> datetime:
    """When clocks skip a time that they never show, in UTC."""
    before, after = _both(wall, zone)
    offset = after.astimezone(zone).utcoffset()
    while after - before > SECOND:
        middle = before + (after - before) // (2 * SECOND) * SECOND
        before, after = (before, middle) if middle.astimezone(zone).utcoffset() == offset else (middle, after)
    return after


def _both(wall: datetime, zone: tzinfo) -> list[datetime]:
    """The time by the clocks before and after a change nearby, the earlier first; mostly that is one moment."""
    return sorted({wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)})
