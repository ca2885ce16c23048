"""Owns scheduled maintenance of nodes: for once from a time to another, or again and again."""

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from planner import openings, times
from planner.errors import ConfigError
from planner.policy import Cluster, Window

ONCE, AGAIN = ("begin", "end"), ("every", "lasts")
"""What a window has of its own where it comes once, and where it comes again."""


def nodes(settings: Cluster, taken_at: str) -> Iterator[str]:
    """Those that are in maintenance, or soon will be, at the time of a snapshot."""
    with contextlib.suppress(ValueError, OverflowError):  # a snapshot without a time is of no time
        now = datetime.fromisoformat(taken_at).astimezone(UTC)
        yield from (window.node for window in settings.scheduled_maintenance if _holds(window, now))


def check(settings: Cluster, where: Mapping[str, str]) -> None:
    """ConfigError for a window that makes no sense; `where`: key to where it was written."""
    for number, window in enumerate(settings.scheduled_maintenance):
        place, written = f"cluster.scheduled_maintenance[{number}]", where.get("scheduled_maintenance", "")
        kind, other = (AGAIN, ONCE) if window.every is not None else (ONCE, AGAIN)
        for key in (*other, *(["time_zone"] if kind is ONCE else [])):
            if getattr(window, key) is not None:
                raise ConfigError(f"{place}.{key} {written} {_misplaced(key, kind)}")
        for key in kind:
            if getattr(window, key) is None:
                raise ConfigError(f"{place}.{key} {written} is missing: it must be given")
        try:
            _bounds(window)
        except ConfigError as error:
            raise ConfigError(f"{place} {written}: {error}") from None


def _misplaced(key: str, kind: tuple[str, ...]) -> str:
    if kind is AGAIN:
        return f"makes no sense beside {kind[0]}: write {' and '.join(kind)} for what comes again"
    if key == "time_zone":
        return "is for what comes again: write begin and end with their zone, as in 2026-12-01T22:00+01:00"
    return f"makes no sense without every: write {' and '.join(AGAIN)}, or {' and '.join(kind)}"


def _holds(window: Window, now: datetime) -> bool:
    ahead, bounds = timedelta(seconds=times.span(window.ahead)), _bounds(window)
    if isinstance(bounds, tuple):
        return bounds[0] - ahead <= now < bounds[1]
    begin = bounds.begins.after(now - bounds.lasts)
    return begin is not None and begin - ahead <= now


def _bounds(window: Window) -> tuple[datetime, datetime] | openings.Lasting:
    """Begin and end, or when it comes again and for how long. ConfigError for what makes no sense."""
    times.span(window.ahead)
    if window.every is not None:
        return openings.Lasting(openings.begins(window.every, window.time_zone), openings.lasting(window.lasts or ""))
    if window.begin is None or window.end is None:
        raise ConfigError(f"maintenance of {window.node} has no begin or no end: give both, or every and lasts")
    try:
        begin, end = window.begin.astimezone(UTC), window.end.astimezone(UTC)
        begin.astimezone(), end.astimezone()
    except (ValueError, OverflowError):  # at the ends of the calendar a zone leads out of it
        when = f"{window.begin.isoformat()} to {window.end.isoformat()}"
        raise ConfigError(f"maintenance of {window.node} is from {when}: write years from 1970 to 9000") from None
    if end <= begin:
        raise ConfigError(f"maintenance of {window.node} ends before it begins: swap the two")
    return begin, end
