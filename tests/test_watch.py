"""Claims about what is seen of a run: lines elsewhere, bars on a terminal, and what the first and second Ctrl-C do."""

import io
import os
import re
import signal
from typing import TextIO, cast

import pytest
from rich.console import Console

from planner.amounts import copied, duration
from planner.clock import FastClock
from planner.interrupt import heeded
from planner.run import Step
from planner.tasklog import Progress
from planner.watch import Bars, Calm, Lines, watching
from tests.plans import migration

FIRST, SECOND = migration(1, 101, "a", "b"), migration(2, 102, "a", "c", memory_mib=4096)
UPID = "UPID:a:0:0:0:qmigrate:101:root@pam:"


def lines(clock: FastClock, ended: frozenset[int] = frozenset()) -> tuple[Lines, list[str]]:
    said: list[str] = []
    return Lines((FIRST, SECOND), ended, clock, said.append), said


def test_there_is_a_line_at_the_start_at_the_end_and_every_half_minute_between() -> None:
    clock = FastClock()
    watch, said = lines(clock)
    watch.tick(100.0)
    watch.started(FIRST, UPID)
    for second in range(1, 66):
        clock.sleep(1)
        watch.progress(FIRST, Progress(second * 20.0, 2048.0, 20.0))
        watch.tick(90.0)
    watch.ended(FIRST, Step.DONE, "")
    watch.ended(SECOND, Step.FAILED, "guest 102 was not migrated: no space left")
    assert said == [
        "guest 101 (g101): a -> b, 2.0 GiB",
        "guest 101 (g101): 0.6 of 2.0 GiB, 20 MiB/s",
        "guest 101 (g101): 1.2 of 2.0 GiB, 20 MiB/s",
        "guest 101 (g101) is on b [1 of 2, about 90 s left]",
        "failed: guest 102 was not migrated: no space left [2 of 2]",
    ]


def test_why_nothing_starts_is_said_once_until_something_happens() -> None:
    watch, said = lines(FastClock())
    for _ in range(3):
        watch.waiting("guest 101 cannot be seen")
    watch.started(FIRST, UPID)
    watch.waiting("guest 101 cannot be seen")
    assert said.count("guest 101 cannot be seen") == 2


def test_what_a_resumed_run_has_done_before_counts() -> None:
    watch, said = lines(FastClock(), frozenset({1}))
    watch.ended(SECOND, Step.DONE, "with warnings: 2")
    assert said == ["guest 102 (g102) is on c (with warnings: 2) [2 of 2]"]


def test_a_terminal_shows_a_bar_for_each_migration_and_one_for_all() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=110, highlight=False)
    with Bars((FIRST, SECOND), frozenset(), console) as bars:
        bars.started(FIRST, UPID)
        bars.progress(FIRST, Progress(1024.0, 2048.0, 99.4))
        bars.progress(SECOND, Progress(512.0, 0.0, None))  # in a resumed run nobody has said that it started
        bars.waiting("guest 101 cannot be seen")
        bars.tick(600.0)
        bars._display.refresh()
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue())
        assert "101 g101  a -> b" in shown and "1.0 of 2.0 GiB  99 MiB/s" in shown
        assert "102 g102  a -> c" in shown and "0.5 GiB" in shown
        assert "0 of 2, about 10 min left; guest 101 cannot be seen" in shown
        bars.ended(FIRST, Step.DONE, "")
        bars.ended(SECOND, Step.UNKNOWN, "lost [sight] of it")
        assert len(bars._display.tasks) == 1
        bars.tick(None)
        assert bars._display.finished
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue())
    assert "guest 102 (g102) unknown: lost [sight] of it" in shown and "101 (g101) is on" not in shown


def test_a_terminal_that_goes_away_does_not_end_a_run() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    console = Console(file=cast(TextIO, Calm(Gone())), force_terminal=True)
    with Bars((FIRST, SECOND), frozenset(), console) as bars:
        bars.started(FIRST, UPID)
        bars.progress(FIRST, Progress(1024.0, 2048.0, 99.4))
        bars.ended(FIRST, Step.FAILED, "no space left")
        bars.tick(1.0)


def test_without_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with watching([FIRST], [], FastClock()) as watch:
        watch.started(FIRST, UPID)
    assert capsys.readouterr().err == "guest 101 (g101): a -> b, 2.0 GiB\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7170, "2 h"), (7100, "118 min"), (7500, "2 h 5 min")],
)
def test_durations_are_said_as_a_person_says_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_what_is_copied_has_no_total_where_none_is_known() -> None:
    assert (copied(512, 2048), copied(512, 0)) == ("0.5 of 2.0 GiB", "0.5 GiB")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_remembered_and_the_second_leaves(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    was = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), heeded() as stopped:
            assert not stopped()
            os.kill(os.getpid(), number)
            assert stopped()
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, was)
    assert capfd.readouterr().err.count("once more Ctrl-C leaves at once") == 1


def test_what_is_ignored_stays_ignored() -> None:
    was = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heeded() as stopped:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stopped()
    finally:
        signal.signal(signal.SIGINT, was)
