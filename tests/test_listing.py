"""What looks and runs did can be read on a terminal of 80 columns, and nothing is left out where there is room."""

import io

from rich.console import Console

from planner import report_looks, report_run
from planner.look import GateName, Look, Outcome, Refusal
from planner.report import WIDTH
from planner.run import RunState, Step, Summary
from tests.lookmaking import a_full_look, a_look

WHY = (
    "no API host answered: pve1.example.org, pve2.example.org and pve3.example.org were asked, each of them three times"
)
LOOKS: tuple[Look, ...] = (
    a_full_look(number=4321, refusals=(Refusal(GateName.WINDOW, "outside of the windows"),), run=1234),
    a_look(outcome=Outcome.ERROR, number=4320, why=WHY), a_look(number=4319),
)  # fmt: skip
HEADS = {"look", "cluster", "at", "spread", "planned", "bound", "migrations", "GiB", "outcome", "run", "why"}
RUNS = (
    Summary(
        id=1234, cluster="c", kind="rollback", of=1233, state=RunState.STOPPED, began_at=1.0, resumed_at=None,
        ended_at=90_000.0, why=WHY, stop_asked=False, counts={Step.DONE: 12, Step.FAILED: 3, Step.SKIPPED: 5},
    ),
    Summary(
        id=1233, cluster="c", kind="scheduled", of=None, state=RunState.DONE, began_at=1.0, resumed_at=None,
        ended_at=2.0, why="", stop_asked=False, counts={Step.DONE: 1},
    ),
)  # fmt: skip


def looks(width: int, items: tuple[Look, ...] = LOOKS) -> list[str]:
    out = io.StringIO()
    report_looks.table(items, Console(file=out, width=width, markup=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def runs(width: int) -> list[str]:
    out = io.StringIO()
    report_run.history(RUNS, (), Console(file=out, width=width, markup=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_looks_are_one_line_each_on_a_narrow_terminal_with_the_reason_below() -> None:
    head, first, why, second, *more, third = looks(80)
    assert head.split() == ["look", "at", "spread", "migrations", "outcome", "run"]
    assert first.split()[0] == "4321"
    assert first.endswith("31.50           6  refused   1234") and why == "    window: outside of the windows"
    assert second.split()[0] == "4320" and second.endswith("error")
    assert " ".join(line.strip() for line in more) == WHY and all(line.startswith("    ") for line in more)
    assert third.endswith("balanced") and all(len(line) <= 80 for line in looks(80))


def test_of_several_clusters_each_look_says_which_it_is_of() -> None:
    found = looks(80, (*LOOKS, a_look(cluster="other", number=1)))
    assert found[0].split()[:2] == ["look", "cluster"] and found[-1].split()[:2] == ["1", "other"]
    assert all(len(line) <= 80 for line in found)


def test_where_there_is_room_and_in_a_pipe_all_is_in_one_row() -> None:
    head, first, *_ = looks(WIDTH)
    assert {*head.split()} == HEADS
    assert first.endswith("31.50     2.50   2.00           6  1.5  refused   1234  window: outside of the windows")


def test_runs_are_one_line_each_on_a_narrow_terminal_with_the_reason_below() -> None:
    head, first, *why, second = runs(80)
    assert head.split() == ["run", "what", "began", "state", "done", "failed"]
    assert first.startswith("1234  rollback of 1233  ") and first.endswith("stopped  12 of 20       3")
    assert " ".join(line.strip() for line in why) == WHY
    assert second.split()[:2] == ["1233", "scheduled"] and all(len(line) <= 80 for line in runs(80))
    assert runs(WIDTH)[0].split() == ["run", "cluster", "what", "began", "took", "state", "done", "failed", "why"]
