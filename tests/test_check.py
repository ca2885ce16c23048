"""What a monitoring system hears of scheduled runs: from the journal alone, and in its own words."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.check import Aspect, Facts, Format, Limits, State, Verdict, gather, judge, lines, worst
from planner.choices import RunMode
from planner.clock import FastClock
from planner.journal import FILE, Journal, RunState
from planner.lock import locked
from planner.look import GateName, Look, Outcome, Refusal
from planner.plan import Plan
from planner.runs import Runs
from planner.simulate import Size, demo
from tests.applying import a_plan
from tests.commandline import Cli, alone, calling
from tests.lookmaking import a_look

NOW = 100_000.0
LIMITS = Limits(1800.0, 3600.0)
STATUS = re.compile(r"PROXLB-PLAN (OK|WARNING|CRITICAL|UNKNOWN) - ([^|]+?)(?: \| (.+))?")
DRAWN = re.compile(r"(?:(?:\S+)=-?[\d.]+(?:e[+-]?\d+)?s?(?:;[\d.]*){0,4}(?: |$))+")
LOCAL = re.compile(r'([0-3]) ("[^"]+") (-|[\w.]+=[\d.]+(?:;[\d.]*){0,4}(?:\|[\w.]+=[\d.]+(?:;[\d.]*){0,4})*) (.+)')
"""As their manuals describe the lines that they take."""


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


def some_plan() -> Plan:
    source = demo(Size.SMALL, FastClock())
    guest = next(row for row in source.get("/cluster/resources") if row["type"] == "qemu")
    return a_plan(source, (guest["vmid"], "pve2" if guest["node"] != "pve2" else "pve1"))


def after(*looks: Look, limits: Limits = LIMITS) -> Verdict:
    """The verdict on a journal with these looks."""
    with Journal(None) as journal:
        for look in looks:
            journal.looks.add(look)
        return judge(gather(Runs(journal, None), "c"), limits, NOW)


def ago(before: float, outcome: Outcome = Outcome.BALANCED, **more: Any) -> Look:
    return a_look(NOW - before, outcome, **({"spread_before": 4.0, "spread_after": 3.0} | more))


def test_a_cluster_that_is_looked_at_is_well_whatever_the_gates_say() -> None:
    for outcome in (Outcome.BALANCED, Outcome.OBSERVED, Outcome.REFUSED, Outcome.DONE, Outcome.STANDBY):
        assert after(ago(60, outcome)).state is State.OK
    refused = after(ago(60, Outcome.REFUSED, why="quorum: no", refusals=(Refusal(GateName.QUORUM, "no"),)))
    assert refused.text == "last look 60 s ago: refused (quorum: no), spread 4.00 points"


@pytest.mark.parametrize(
    ("seconds", "state"), [(1799, State.OK), (1801, State.WARNING), (3601, State.CRITICAL), (90_000, State.CRITICAL)]
)
def test_a_look_that_is_overdue_is_said(seconds: float, state: State) -> None:
    assert after(ago(seconds)).state is state
    if state is not State.OK:
        assert after(ago(seconds)).text.startswith("no good look for ")


def test_a_look_counts_from_its_end_as_it_may_take_as_long_as_its_run() -> None:
    assert after(ago(9000, Outcome.DONE, seconds=8900.0)).state is State.OK


def test_looks_that_fail_are_said_at_once_and_are_critical_after_a_while() -> None:
    failed = ago(60, Outcome.ERROR, why="no API host answered")
    soon = after(ago(660), failed)
    assert soon.state is State.WARNING and soon.text.startswith("the last look failed: no API host answered; last look")
    late = after(ago(4000), failed)
    assert late.state is State.CRITICAL and late.text.startswith("no good look for 67 min; the last look failed")
    assert after(failed).state is State.CRITICAL, "none has come to anything"
    assert after(failed, ago(10)).state is State.OK


def test_a_run_that_failed_is_said_until_a_look_finds_all_well() -> None:
    partly = ago(900, Outcome.PARTLY, run=7, done=1, failed=2, left=3)
    failed = ago(900, Outcome.FAILED, run=8, why="pve2 went away")
    refused = ago(60, Outcome.REFUSED)
    assert after(partly, refused).state is State.WARNING
    assert "run 7 was carried out in part: 1 done, 2 failed, 3 left" in after(partly, refused).text
    assert after(failed, refused).state is State.CRITICAL
    assert "run 8 failed: pve2 went away" in after(failed, refused).text
    for outcome in (Outcome.DONE, Outcome.BALANCED):
        assert after(failed, ago(60, outcome)).state is State.OK
        assert after(ago(1200, outcome), failed).state is State.CRITICAL


def test_broken_rules_are_named_and_counted_as_they_are_after_a_run() -> None:
    broken = ("a", "b", "c", "d", "e")
    found = after(ago(60, violations_before=broken))
    assert found.state is State.WARNING and "5 rules are broken: a, b, c and 2 more" in found.text
    repaired = ago(60, Outcome.DONE, violations_before=broken, violations_after=("a",))
    assert "1 rule is broken: a;" in after(repaired).text
    assert after(replace(repaired, violations_after=())).state is State.OK


def test_rules_that_cannot_all_hold_are_critical() -> None:
    found = after(ago(60, Outcome.OBSERVED, status="infeasible"))
    assert found.state is State.CRITICAL and found.text.startswith("the rules cannot all hold")


@pytest.mark.parametrize(("spread", "state"), [(10.0, State.OK), (10.1, State.WARNING), (20.1, State.CRITICAL)])
def test_a_spread_above_its_limits_is_said(spread: float, state: State) -> None:
    look = ago(60, Outcome.REFUSED, spread_before=spread)
    assert after(look, limits=replace(LIMITS, warning=10.0, critical=20.0)).state is state
    assert after(look).state is State.OK, "without limits none is too large"
    assert after(look, ago(30, Outcome.ERROR), limits=replace(LIMITS, critical=5.0)).state is State.CRITICAL


def test_a_plan_that_waits_to_be_approved_is_said_until_it_does_not() -> None:
    with Journal(None) as journal:
        runs = Runs(journal, None)
        journal.looks.add(ago(60, Outcome.PROPOSED, run=1, mode=RunMode.APPROVE))
        run = journal.begin(some_plan(), "c", NOW - 7200, "scheduled", state=RunState.PROPOSED)
        found = judge(gather(runs, "c"), LIMITS, NOW)
        assert found.state is State.WARNING
        assert found.text.startswith(f"run {run} waits for 2 h: `proxlb-plan approve {run}` carries it out; last look")
        journal.withdraw(run, NOW, "no longer needed")
        assert judge(gather(runs, "c"), LIMITS, NOW).state is State.OK


def test_a_standby_is_asked_for_its_looks_and_not_for_what_it_knew_before_another_was_at_work(tmp_path: Path) -> None:
    with Journal(tmp_path / FILE) as journal:
        runs = Runs(journal, tmp_path)
        journal.looks.add(ago(900, Outcome.FAILED, run=1, violations_before=("a",), status="infeasible"))
        journal.begin(some_plan(), "c", NOW - 800, "scheduled", state=RunState.PROPOSED)
        journal.begin(some_plan(), "c", NOW - 800, "scheduled")

        def told() -> Verdict:
            return judge(gather(runs, "c"), replace(LIMITS, critical=1.0), NOW)

        assert told().state is State.CRITICAL and len(told().figures) > 1
        journal.looks.add(ago(60, Outcome.STANDBY, spread_before=None))
        assert told().state is State.OK and [figure.name for figure in told().figures] == ["age"]
        journal.looks.add(ago(50, Outcome.ERROR))
        assert told().text.startswith("the last look failed: see its log; last look"), "still a standby"
        journal.looks.add(ago(40, Outcome.REFUSED, spread_before=0.5))
        assert [part[:5] for part in told().text.split("; ")[:-1]] == ["run 2", "run 1"], "what is so now is told again"
    assert after(ago(9000, Outcome.STANDBY)).state is State.CRITICAL


def test_one_aspect_alone_can_be_asked_for(cli: Cli, tmp_path: Path) -> None:
    look = ago(60, Outcome.FAILED, run=1, violations_before=("a",), spread_before=50.0)
    with Journal(None) as journal:
        journal.looks.add(look)
        journal.begin(some_plan(), "c", NOW, "scheduled", state=RunState.PROPOSED)
        facts = gather(Runs(journal, None), "c")
    limits = replace(LIMITS, warning=1.0)
    told = {aspect: judge(facts, limits, NOW, [aspect]).text.count(";") for aspect in Aspect}
    assert told == {"age": 0, "errors": 0, "runs": 1, "rules": 1, "spread": 1, "proposal": 1}
    assert judge(facts, limits, NOW).text.count(";") == 4
    with a_journal(tmp_path, recent(Outcome.FAILED)):
        assert cli("check").code == State.CRITICAL
        assert cli("check", "--only", "age").code == cli("check", "--only", "age", "--only", "rules").code == State.OK
        assert cli("check", "--only", "age", "--age-warning", "50s").code == State.WARNING


def test_a_run_that_nobody_goes_on_with_is_said_and_one_that_is_alive_excuses_the_looks(tmp_path: Path) -> None:
    with Journal(tmp_path / FILE) as journal:
        runs = Runs(journal, tmp_path)
        journal.looks.add(ago(9000))
        run = journal.begin(some_plan(), "c", NOW - 8900, "scheduled")
        with locked(tmp_path, "c") as told:
            told(run)
            assert judge(gather(runs, "c"), LIMITS, NOW).state is State.OK
        left = judge(gather(runs, "c"), LIMITS, NOW)
        assert left.state is State.CRITICAL
        assert f"run {run} is not over: `proxlb-plan status {run}` says what to do" in left.text


def test_the_worst_comes_first() -> None:
    found = after(ago(60, Outcome.FAILED, run=1, violations_before=("a",), status="infeasible"))
    assert found.state is State.CRITICAL
    assert [part.split()[0] for part in found.text.split("; ")] == ["run", "the", "1", "last"]


@pytest.mark.parametrize("form", Format)
def test_lines_are_as_the_manuals_want_them_whatever_is_in_a_text(form: Format) -> None:
    why = "a | b \"c\"\nd = 'e'"
    verdicts = [
        after(ago(60, Outcome.REFUSED, why=why, bound=0.5, migrations=3)), after(), after(ago(1e9, Outcome.FAILED)),
        Verdict(why, State.WARNING, why),
    ]  # fmt: skip
    for verdict in verdicts:
        (line,) = lines([verdict], form)
        if form is Format.CHECKMK:
            found = LOCAL.fullmatch(line)
            assert found and int(found[1]) == verdict.state
        else:
            found = STATUS.fullmatch(line)
            assert found and found[1] == verdict.state.name
            assert found[3] is None or DRAWN.fullmatch(found[3])
            assert bool(found[3]) == bool(verdict.figures)


def test_figures_are_drawn_with_their_limits() -> None:
    look = ago(60, Outcome.DONE, bound=0.5, migrations=3, done=3, violations_after=("a",))
    verdict = after(look, limits=Limits(1800.0, 3600.0, 10.0, 20.0))
    (line,) = lines([verdict], Format.NAGIOS)
    drawn = "age=60s;1800;3600 spread=3;10;20 bound=0.5 violations=1;0 planned=3 done=3 failed=0;0"
    assert line.endswith(f" | {drawn}")
    (line,) = lines([verdict], Format.CHECKMK)
    assert f'1 "proxlb-plan c" {drawn.replace(" ", "|").replace("60s", "60")} 1 rule' in line


def test_of_several_clusters_the_worst_decides_and_each_has_its_line() -> None:
    both = [Verdict("a", State.OK, "well"), Verdict("b", State.WARNING, "so so"), Verdict("d", State.UNKNOWN, "?")]
    assert lines(both, Format.NAGIOS) == [
        "PROXLB-PLAN WARNING - a OK, b WARNING, d UNKNOWN", "a: well", "b: so so", "d: ?",
    ]  # fmt: skip
    assert [line[0] for line in lines(both, Format.CHECKMK)] == ["0", "1", "3"]
    assert worst([]) is State.UNKNOWN
    assert judge(Facts(cluster="x", newest=None), LIMITS, NOW).state is State.UNKNOWN


@contextmanager
def a_journal(directory: Path, *looks: Look) -> Iterator[None]:
    state = directory / "state"
    state.mkdir(exist_ok=True)
    with Journal(state / FILE) as journal:
        for look in looks:
            journal.looks.add(look)
        yield


def recent(outcome: Outcome = Outcome.BALANCED, **more: Any) -> Look:
    return a_look(time.time() - 60, outcome, **more)


def test_the_command_ends_as_a_plugin_does_and_asks_no_cluster(cli: Cli, tmp_path: Path) -> None:
    def told(*words: str) -> int:
        done = cli("check", *words)
        assert not done.err and STATUS.fullmatch(done.out.splitlines()[0])
        assert done.out.startswith(f"PROXLB-PLAN {State(done.code).name} - ")
        return done.code

    assert told() == State.UNKNOWN, "there is no journal"
    with a_journal(tmp_path, recent(spread_before=12.0)):
        assert told() == told("--warning", "12") == State.OK
        assert told("--warning", "11") == State.WARNING and told("--critical", "11") == State.CRITICAL
        assert told("--age-warning", "50s") == State.WARNING
        assert told("--age-warning", "30s", "--age-critical", "40s") == State.CRITICAL
        assert told("--cluster", "c") == State.OK and told("--cluster", "other") == State.UNKNOWN
    with a_journal(tmp_path, recent(Outcome.FAILED, cluster="other")):
        assert told("--cluster", "c") == State.OK and told() == State.CRITICAL


def test_looks_that_failed_before_the_cluster_had_said_its_name_are_over_once_it_has(cli: Cli, tmp_path: Path) -> None:
    with a_journal(tmp_path, recent(Outcome.ERROR, cluster="cluster")):
        assert cli("check").code == State.CRITICAL
    with a_journal(tmp_path, recent()):
        assert cli("check").code == State.OK
    with a_journal(tmp_path, recent(cluster="cluster"), recent(Outcome.ERROR, cluster="cluster")):
        assert cli("check").code == State.WARNING, "one that is really called so"


def test_how_old_a_look_may_be_follows_from_how_often_they_are_taken(cli: Cli, tmp_path: Path) -> None:
    with a_journal(tmp_path, a_look(time.time() - 7200)):
        assert cli("check").code == State.CRITICAL
        (tmp_path / "proxlb-plan.yaml").write_text("run: {every: 1h}")
        assert cli("check").code == State.OK
        (tmp_path / "proxlb-plan.yaml").write_text("run: {every: 39m}")
        assert cli("check").code == State.WARNING


MISTAKES = {
    ("--foo",): "No such option: --foo",
    ("--warning", "x"): "Invalid value for '--warning'",
    ("--age-warning", "x"): "--age-warning: x is no while",
    ("--format", "x"): "Invalid value for '--format'",
    ("--warning", "5", "--critical", "3"): "--warning is above --critical",
    ("--age-warning", "2h", "--age-critical", "1h"): "--age-warning is above --age-critical",
    ("--config", "/nowhere.yaml"): "configuration file /nowhere.yaml cannot be read",
    ("--cluster", "gone"): "no look was taken yet",
    ("a", "b"): "unexpected extra argument",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_every_mistake_is_one_line_on_stdout_and_ends_with_3(cli: Cli, words: tuple[str, ...], tmp_path: Path) -> None:
    with a_journal(tmp_path, recent()):
        done = cli("check", *words)
        assert (done.code, done.err, done.out.count("\n")) == (State.UNKNOWN, "", 1)
        assert done.out.startswith("PROXLB-PLAN UNKNOWN - ") and MISTAKES[words] in done.out
        if "--format" not in words:
            done = cli("check", *words, "--format", "checkmk")
            assert done.code == 0, "the state is in the line"
            assert re.fullmatch(r'3 "proxlb-plan[^"]*" - .*\n', done.out)
            assert MISTAKES[words] in done.out


def test_a_journal_that_cannot_be_read_and_what_nobody_thought_of_end_with_3_too(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_journal(tmp_path, recent()):
        pass
    (tmp_path / "state" / FILE).write_bytes(b"SQLite format 3\0" + os.urandom(4096))
    done = cli("check")
    assert done.code == State.UNKNOWN and "the journal" in done.out and not done.err
    for error in (RuntimeError("odd\nindeed"), KeyboardInterrupt()):
        monkeypatch.setattr("planner.config.load", lambda _, error=error: (_ for _ in ()).throw(error))
        done = cli("check")
        assert (done.code, done.out.count("\n"), done.err) == (State.UNKNOWN, 1, "")


def test_what_checkmk_reads_has_the_state_in_its_line(cli: Cli, tmp_path: Path) -> None:
    with a_journal(tmp_path, recent(), recent(Outcome.FAILED, cluster="other")):
        done = cli("check", "--format", "checkmk")
        assert done.code == 0
        assert [LOCAL.fullmatch(line)[1] for line in done.out.splitlines()] == ["0", "2"]  # type: ignore[index]


def test_the_help_is_the_help(cli: Cli) -> None:
    done = cli("check", "--help")
    assert done.code == 0 and "--age-critical" in done.out
