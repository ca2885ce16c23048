"""Owns how messages of scheduled runs are written: as text, for the journal of systemd, or as JSON.

Whatever the format, a message never breaks into lines that look like messages of their own: text and the journal get
one line for each of its lines, each with the same beginning, JSON gets one object on one line:

    time      with date and zone (ISO 8601)
    level     DEBUG, INFO, WARNING, ERROR or CRITICAL
    message   the text
    logger    whose message it is, if it is not ours
    ...       what a call gives with `extra={"fields": {...}}`; the names above are ours
"""

import json
import logging
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TextIO

from planner.choices import LogFormat
from planner.plain import plain
from planner.service import Log

LOGGER: Final = "proxlb_plan"
PRIORITY: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""From which level on a message has which priority of syslog; below them all it is 7."""
DEBUG_PRIORITY: Final = 7


def setup(settings: Log, stream: TextIO, environ: Mapping[str, str]) -> None:
    """Write our messages to a stream, and warnings of packages that we use; once more replaces what was set up before.

    The other packages are heard from warnings on, whatever the level: their small talk has addresses with secrets.
    """
    logging.captureWarnings(True)
    root, level = logging.getLogger(), logging.getLevelNamesMapping()[settings.level]
    for before in [each for each in root.handlers if _ours(each)]:
        root.removeHandler(before)
    handler = _Quiet(stream)
    handler.setFormatter(FORMATS[_format(settings.format, stream, environ)]())
    root.addHandler(handler)
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger(LOGGER).setLevel(level)


def _ours(handler: logging.Handler) -> bool:
    """Whether a handler is one that the command line or `setup` has made: those of others stay."""
    return isinstance(handler, _Quiet) or type(handler) is logging.StreamHandler


def _format(wanted: LogFormat, stream: TextIO, environ: Mapping[str, str]) -> LogFormat:
    """What is meant by auto: the journal, if the stream is the one that systemd has connected with it."""
    if wanted is not LogFormat.AUTO:
        return wanted
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return LogFormat.TEXT
    connected = environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
    return LogFormat.JOURNAL if connected else LogFormat.TEXT


class _Quiet(logging.StreamHandler[TextIO]):
    """What cannot be written, as the reader is gone or a disk is full, ends nothing and is not complained of."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class _Lines(logging.Formatter):
    """A line for each line of a message, safe for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        begins = self._begins(record)
        lines = [line for line in super().format(record).splitlines() if line.strip()]
        return "\n".join(f"{begins}{plain(line)}" for line in lines or [""])

    def _begins(self, record: logging.LogRecord) -> str:
        raise NotImplementedError


class _Text(_Lines):
    def _begins(self, record: logging.LogRecord) -> str:
        return f"{_time(record)} {record.levelname} "


class _Journal(_Lines):
    """See sd-daemon(3); the journal knows the time itself."""

    def _begins(self, record: logging.LogRecord) -> str:
        found = (priority for level, priority in PRIORITY if record.levelno >= level)
        return f"<{next(found, DEBUG_PRIORITY)}>"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        own = {"time": _time(record), "level": record.levelname, "message": super().format(record)}
        if record.name != LOGGER:
            own["logger"] = record.name
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        return json.dumps(own | {key: value for key, value in fields.items() if key not in own}, default=str)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="seconds")


FORMATS: Final[Mapping[LogFormat, type[logging.Formatter]]] = {
    LogFormat.TEXT: _Text,
    LogFormat.JOURNAL: _Journal,
    LogFormat.JSON: _Json,
}
