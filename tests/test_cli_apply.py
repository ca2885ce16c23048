"""Claims about the commands around a run: what a person sees, what each bad input gets, which run is meant."""

import json
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from planner.journal import FILE, Journal
from planner.lock import locked
from planner.run import RunState, Step
from tests import plans
from tests.commandline import Cli, alone, calling

SCHEMA = json.loads((files("planner") / "schemas" / "run.json").read_text(encoding="utf-8"))
UPID = "UPID:a:0000A1B2:00C0FFEE:65000000:qmigrate:101:root@pam!t1:"
AT = 1_780_000_000.0


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def state() -> Path:
    path = Path(os.environ["STATE_DIRECTORY"])
    path.mkdir()
    return path


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    with Journal(state / FILE) as journal:
        yield journal


def a_run(journal: Journal, *, at: float = AT) -> int:
    """A run of three: one is done, one has failed, one was not started."""
    run = journal.begin(plans.plan(*(plans.migration(n, 100 + n, "a", "b") for n in (1, 2, 3))), "lab", at)
    for number in (1, 2):
        journal.record(run, number, Step.CHECKED, at + 1)
        journal.record(run, number, Step.STARTED, at + 1, upid=UPID)
    journal.record(run, 1, Step.DONE, at + 9)
    journal.record(run, 2, Step.FAILED, at + 12, note="guest 102 was not migrated, it is on a: no space left")
    return run


def checked(document: object) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA, format_checker=FormatChecker()).validate(document)


# --------------------------------------------------------------- status, history


def test_status_shows_each_migration_and_what_to_do_next(cli: Cli, journal: Journal) -> None:
    run = a_run(journal)
    journal.end(run, RunState.STOPPED, AT + 12, "1 migration failed")
    outcome = cli("status")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"run {run} on lab: stopped, began 2026-05-28 20:26:40, ended 2026-05-28 20:26:52" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines() if line.strip().startswith(("1 ", "2 ", "3 "))]
    assert [row[5] for row in rows[:3]] == ["done", "failed", "planned"]
    assert "no space left; task UPID:a:" in outcome.out
    assert "why: 1 migration failed" in outcome.out and "1 planned, 1 done, 1 failed" in outcome.out
    assert f"`proxlb-plan resume {run}` goes on" in outcome.out and f"`proxlb-plan rollback {run}`" in outcome.out


def test_a_run_whose_process_is_gone_is_interrupted_and_one_that_has_the_lock_is_alive(
    cli: Cli, journal: Journal, state: Path
) -> None:
    run = a_run(journal)
    assert f"run {run} on lab: interrupted" in cli("status").out
    assert "its process is gone" in cli("status").out
    with locked(state, "lab") as note:
        assert f"run {run} on lab: interrupted" in cli("status").out, "who has the lock may be at work on another"
        note(run)
        out = cli("status", run).out
        assert f"run {run} on lab: running" in out and f"`proxlb-plan abort {run}` ends it" in out
        journal.ask_to_stop(run)
        assert f"run {run} on lab: stopping" in cli("status", run).out
    with locked(state, "another"):
        assert json.loads(cli("status", "--output", "json").out)["alive"] is False


def test_what_to_do_next_can_be_done(cli: Cli, journal: Journal) -> None:
    run = a_run(journal)
    journal.end(run, RunState.STOPPED, AT + 12, "guest 103 is on c, not on a: make a new plan")
    said = (
        f"`proxlb-plan resume {run}` goes on once what stopped it is over, `proxlb-plan abort {run}` ends it for good"
    )
    assert said in cli("status").out
    journal.ask_to_stop(run)
    assert "resume" not in cli("status").out and f"`proxlb-plan abort {run}` ends it for good" in cli("status").out


@pytest.mark.parametrize("spoilt", ["{}", "{"])
def test_of_a_run_of_another_version_status_shows_what_is_known(cli: Cli, journal: Journal, spoilt: str) -> None:
    run = a_run(journal)
    journal._db.execute("UPDATE run SET plan = ?", (spoilt,))
    outcome = cli("status")
    assert (outcome.code, outcome.err) == (0, "") and "its plan is of another version, or damaged: " in outcome.out
    assert "no space left" in outcome.out and "1 planned, 1 done, 1 failed" in outcome.out
    assert f"`proxlb-plan abort {run}` ends it for good" in outcome.out
    assert not any(word in outcome.out for word in ("make a new one", "resume", "rollback"))
    one = json.loads(cli("status", "--output", "json").out)
    checked(one)
    assert [(m["vmid"], m["type"]) for m in one["migrations"]] == [(101, None), (102, None), (103, None)]
    assert cli("history").code == 0


def test_status_and_history_in_json_are_as_documented(cli: Cli, journal: Journal) -> None:
    first, second = a_run(journal), a_run(journal, at=AT + 100)
    journal.end(second, RunState.ABORTED, AT + 130, "enough")
    one = json.loads(cli("status", first, "--output", "json").out)
    checked(one)
    assert [(m["step"], m["upid"]) for m in one["migrations"]] == [("done", UPID), ("failed", UPID), ("planned", None)]
    assert (one["began_at"], one["migrations"][0]["since"]) == (
        "2026-05-28T20:26:40+00:00",
        "2026-05-28T20:26:49+00:00",
    )
    rows = json.loads(cli("history", "--output", "json").out)
    for row in rows:
        checked(row)
    assert [(row["id"], row["state"], row["size"]) for row in rows] == [(second, "aborted", 3), (first, "running", 3)]
    assert rows[0]["counts"]["done"] == 1 and rows[0]["next"] == [
        f"`proxlb-plan rollback {second}` takes back what was done"
    ]


def test_history_has_one_row_per_run_the_newest_first(cli: Cli, journal: Journal) -> None:
    first = a_run(journal)
    journal.end(first, RunState.STOPPED, AT + 12, "1 migration failed")
    back = journal.begin(plans.plan(plans.migration(1, 101, "b", "a")), "lab", AT + 50, "rollback", first)
    journal.record(back, 1, Step.CHECKED, AT + 51)
    journal.record(back, 1, Step.DONE, AT + 60)
    journal.end(back, RunState.DONE, AT + 350)
    head, *rows = cli("history").out.splitlines()
    assert head.split() == ["run", "cluster", "what", "began", "took", "state", "done", "failed", "why"]
    assert rows[0].split() == f"{back} lab rollback of {first} 2026-05-28 20:27:30 5 min done 1 of 1".split()
    assert "rolled back" in rows[1] and "1 of 3" in rows[1] and len(rows) == 2
    assert len(cli("history", "--limit", 1).out.splitlines()) == 2


def test_where_there_was_no_run_that_is_said_and_nothing_is_made(cli: Cli) -> None:
    assert "there is no run yet" in cli("status").complaint and cli("status").code == 64
    outcome = cli("history")
    assert (outcome.code, outcome.out) == (0, "no run yet\n")
    assert json.loads(cli("history", "--output", "json").out) == []
    assert not Path(os.environ["STATE_DIRECTORY"]).exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [("status 99", 1, "there is no run 99"), ("status 0", 64, "[RUN]"), ("status -1", 64, "-1"),
     ("status seven", 64, "[RUN]"),
     ("status 99999999999999999999", 64, "[RUN]"), ("status --demo", 64, "--demo"),
     ("history 1", 64, "1"), ("history --limit 0", 64, "--limit"), ("history --output xml", 64, "xml"),
     ("status --config none.yaml", 78, "none.yaml cannot be read"), ("rollback", 64, "RUN"), ("rollback x", 64, "RUN"),
     ("resume --demo", 64, "forgotten when it ends"), ("abort 1 --demo", 64, "forgotten"),
     ("resume --solver x", 64, "--solver"), ("apply --demo --yes --bandwidth 0", 78, "bandwidth"),
     ("rollback 1 --demo small", 64, "forgotten"), ("resume --snapshot s.json", 1, "s.json"), ("resume", 78, "--demo"),
     ("apply --demo --on-drift perhaps", 64, "--on-drift"), ("apply --demo --yes --parallel 0", 78, "parallel"),
     ("apply --demo --yes --max-failures -1", 78, "max_failures"),
     ("apply --demo --yes --deadline soon", 78, "soon is neither"), ("apply --demo --yes --bwlimit x", 64, "--bwlimit"),
     ("apply --demo --yes --hours 22-6", 78, "22-6 is no part of the day"),
     ("apply p.json --demo --yes --per-source 2", 64, "--per-source is for making a plan"),
     ("apply p.json --demo --yes --bypass", 64, "--bypass is for making a plan"),
     ("apply p.json --demo --yes --no-bypass", 64, "--no-bypass is for making a plan")],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line(cli: Cli, journal: Journal, words: str, code: int, message: str) -> None:
    a_run(journal)
    outcome = cli(*words.split())
    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.complaint


def test_a_damaged_journal_is_one_line(cli: Cli, state: Path) -> None:
    (state / FILE).write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    outcome = cli("history")
    assert outcome.code == 1 and "damaged" in outcome.complaint
