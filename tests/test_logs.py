"""Claims about the messages of scheduled runs: every line says how grave it is, in the form that its reader wants."""

import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from planner import logs
from planner.choices import LogFormat, LogLevel
from planner.service import Log

OURS = logging.getLogger("proxlb_plan")
LEVELS = ("debug", "info", "warning", "error", "critical")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What is set up holds for the whole process."""
    root = logging.getLogger()
    handlers, levels = list(root.handlers), (root.level, OURS.level)
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    OURS.setLevel(levels[1])


def written(form: LogFormat, level: LogLevel = LogLevel.DEBUG) -> io.StringIO:
    stream = io.StringIO()
    logs.setup(Log(level, form), stream, {})
    return stream


def test_text_has_time_zone_and_level_before_each_line() -> None:
    stream = written(LogFormat.TEXT)
    OURS.warning("node %s is away\nguests stay", "pve1")
    lines = stream.getvalue().splitlines()
    found = [re.fullmatch(r"(\S+) WARNING (.*)", line) for line in lines]
    assert [match[2] for match in found if match] == ["node pve1 is away", "guests stay"]
    assert all(match and datetime.fromisoformat(match[1]).tzinfo for match in found)


def test_the_journal_gets_the_priority_of_syslog_on_each_line() -> None:
    stream = written(LogFormat.JOURNAL)
    for level in LEVELS:
        getattr(OURS, level)("a\n\nb\x1b[31m<0>c")
    begins = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}
    assert stream.getvalue().splitlines() == [
        begins[level] + text for level in LEVELS for text in ("a", "b?[31m<0>c")
    ]  # fmt: skip


def test_json_is_one_object_a_line_with_the_fields_of_the_message_which_cannot_forge_ours() -> None:
    stream = written(LogFormat.JSON)
    OURS.info("looked\nagain", extra={"fields": {"cluster": "lab", "level": "none", "path": Path("/x")}})
    logging.getLogger("urllib3").warning("odd")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert datetime.fromisoformat(first.pop("time")).tzinfo
    assert first == {"level": "INFO", "message": "looked\nagain", "cluster": "lab", "path": "/x"}
    assert (second["logger"], second["message"]) == ("urllib3", "odd")


@pytest.mark.parametrize("form", [LogFormat.TEXT, LogFormat.JOURNAL])
def test_a_traceback_has_the_beginning_on_each_of_its_lines(form: LogFormat) -> None:
    stream = written(form)
    try:
        raise ValueError("odd")
    except ValueError:
        OURS.exception("internal error")
    lines = stream.getvalue().splitlines()
    assert len(lines) > 3 and all(line.startswith("<3>") or " ERROR " in line for line in lines)


@pytest.mark.parametrize("level", list(LogLevel))
def test_a_level_shows_what_is_as_grave_and_no_less(level: LogLevel) -> None:
    stream = written(LogFormat.TEXT, level)
    for name in LEVELS:
        getattr(OURS, name)(f"it-is-{name}")
    shown = re.findall(r"it-is-(\w+)", stream.getvalue())
    assert shown == list(LEVELS[LEVELS.index(level.lower()) :])


def test_other_packages_are_heard_from_warnings_on_whatever_the_level() -> None:
    stream = written(LogFormat.TEXT)
    other = logging.getLogger("urllib3.connectionpool")
    other.debug("POST /hook/SECRET")
    other.error("gone")
    assert "SECRET" not in stream.getvalue() and "ERROR gone" in stream.getvalue()


def test_warnings_of_python_are_messages_too() -> None:
    with warnings.catch_warnings():  # outside: what is set up must be undone within
        warnings.simplefilter("always")
        stream = written(LogFormat.JOURNAL)
        warnings.warn("unverified", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    lines = stream.getvalue().splitlines()
    assert lines and all(line.startswith("<4>") for line in lines) and "unverified" in lines[0]


def test_set_up_again_after_a_reload_nothing_is_said_twice_and_handlers_of_others_stay() -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    before = written(LogFormat.TEXT)
    after = written(LogFormat.JSON, LogLevel.ERROR)
    OURS.error("once")
    assert before.getvalue() == "" and after.getvalue().count("once") == 1
    assert other in logging.getLogger().handlers


def test_by_itself_the_form_is_that_of_the_journal_only_where_the_stream_is_connected_with_it(tmp_path: Path) -> None:
    def line(stream_is: str) -> str:
        path = tmp_path / "out"
        with path.open("w") as stream:
            there = os.fstat(stream.fileno())
            names = {"this": f"{there.st_dev}:{there.st_ino}", "another": f"{there.st_dev}:{there.st_ino + 1}"}
            environ = {"JOURNAL_STREAM": names[stream_is]} if stream_is in names else {}
            logs.setup(Log(), stream, environ)
            OURS.info("hello")
        return path.read_text()

    assert line("this") == "<6>hello\n"
    assert " INFO hello" in line("another") and " INFO hello" in line("none")
    stream = written(LogFormat.AUTO)  # has no file behind it
    OURS.info("hello")
    assert " INFO hello" in stream.getvalue()


def test_a_reader_that_is_gone_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    logs.setup(Log(), Gone(), {})
    OURS.info("hello")
    assert capsys.readouterr().err == ""
