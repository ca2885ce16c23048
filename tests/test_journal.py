"""Claims about the journal and the lock: what was recorded stays, what makes no sense is refused, one run at a time."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from planner.errors import Exit, InputError, JournalError, Locked
from planner.journal import FILE, Journal, Moved, RunState, Step, cluster_name, state_directory, state_path
from planner.lock import holder, locked
from planner.plan import Plan, load, save
from planner.policy import Apply
from planner.state import STATUS
from tests import rows
from tests.plans import migration, plan

REPO = Path(__file__).parent.parent
TWO = plan(migration(1, 100, "a", "b"), migration(2, 101, "b", "a", after=(1,)))
WAYS = {  # to each step, by steps that a run takes
    Step.PLANNED: (),
    Step.CHECKED: (Step.CHECKED,),
    Step.STARTED: (Step.CHECKED, Step.STARTED),
    Step.DONE: (Step.CHECKED, Step.STARTED, Step.DONE),
    Step.FAILED: (Step.CHECKED, Step.STARTED, Step.FAILED),
    Step.UNKNOWN: (Step.CHECKED, Step.UNKNOWN),
    Step.SKIPPED: (Step.SKIPPED,),
}
ALLOWED = """
planned: checked skipped done
checked: started done failed unknown planned skipped
started: done failed unknown
unknown: started done failed planned
failed: planned
skipped: planned
done:
"""
CHILD = """
import os, signal, sys
from pathlib import Path
from planner.journal import Journal, Step
from tests.test_journal import TWO
journal = Journal(Path(sys.argv[1]))
run = journal.begin(TWO, "c", 1.0)
journal.record(run, 1, Step.CHECKED, 2.0)
journal.record(run, 1, Step.STARTED, 3.0, upid="UPID:1")
os.kill(os.getpid(), signal.SIGKILL)
"""
HOLDING = """
import sys
from pathlib import Path
from planner.lock import locked
with locked(Path(sys.argv[1]), "c"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as opened:
        yield opened


def brought(journal: Journal, step: Step) -> int:
    """A run whose first migration has come to a step."""
    run = journal.begin(TWO, "c", 0.0)
    for at, way in enumerate(WAYS[step]):
        journal.record(run, 1, way, float(at))
    return run


def started(code: str, *words: object, **streams: int) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], cwd=REPO, text=True, **streams)


def one_line(error: pytest.ExceptionInfo[JournalError], *said: str) -> None:
    text = str(error.value)
    assert "\n" not in text and all(word in text for word in said), text
    assert error.value.exit_code is Exit.ERROR


# What is remembered


def test_a_plan_comes_back_equal_to_the_one_that_went_in(journal: Journal) -> None:
    asked = plan(migration(1, 100, "a", "b", bypass=True), migration(2, 100, "b", "c", after=(1,), end=12.25))
    run = journal.begin(asked, "c", 5.0)
    found = journal.run(run)
    assert found.plan == asked
    assert [entry.migration for entry in found.entries] == list(asked.migrations)
    assert {(entry.step, entry.upid, entry.note, entry.changed_at) for entry in found.entries} == {
        (Step.PLANNED, None, "", 5.0)
    }


def test_a_plan_comes_back_as_it_does_from_its_file(journal: Journal, tmp_path: Path) -> None:
    save(TWO, tmp_path / "plan.json")
    assert journal.run(journal.begin(TWO, "c", 0.0)).plan == load(tmp_path / "plan.json")


def test_a_record_says_how_far_every_migration_is(journal: Journal) -> None:
    run = journal.begin(TWO, "c", 1.0)
    journal.record(run, 1, Step.CHECKED, 2.0)
    journal.record(run, 1, Step.STARTED, 3.0, upid="UPID:1")
    journal.record(run, 1, Step.DONE, 9.0, note="WARNINGS: 1")
    first, second = journal.run(run).entries
    assert (first.step, first.upid, first.note, first.changed_at) == (Step.DONE, "UPID:1", "WARNINGS: 1", 9.0)
    assert second.step is Step.PLANNED
    assert journal.run(run).counts == {Step.DONE: 1, Step.PLANNED: 1} and journal.run(run).size == 2
    assert journal.events(run) == (
        (2.0, 1, Step.CHECKED, None, ""),
        (3.0, 1, Step.STARTED, "UPID:1", ""),
        (9.0, 1, Step.DONE, None, "WARNINGS: 1"),
    )


def test_what_is_planned_again_has_no_task_yet_and_its_history_stays(journal: Journal) -> None:
    run = journal.begin(TWO, "c", 1.0)
    for step in (Step.CHECKED, Step.STARTED, Step.FAILED, Step.PLANNED):
        journal.record(run, 1, step, 2.0, upid="UPID:1" if step is Step.STARTED else None)
    assert journal.run(run).entries[0].upid is None
    assert [event.upid for event in journal.events(run)] == [None, "UPID:1", None, None]


@pytest.mark.parametrize("last", list(Step))
@pytest.mark.parametrize("new", list(Step))
def test_only_legal_steps_follow_each_other(last: Step, new: Step) -> None:
    follow = dict(line.split(":") for line in ALLOWED.strip().splitlines())
    with Journal(None) as journal:
        run = brought(journal, last)
        before = journal.events(run)
        if new in follow[last].split():
            journal.record(run, 1, new, 9.0)
            assert journal.run(run).entries[0].step is new
            return
        with pytest.raises(ValueError, match=f"migration 1 of run {run} is {last}: it cannot become {new}"):
            journal.record(run, 1, new, 9.0)
        assert journal.run(run).entries[0].step is last and journal.events(run) == before


def test_a_migration_that_is_not_in_the_run_cannot_be_recorded(journal: Journal) -> None:
    run = journal.begin(TWO, "c", 0.0)
    with pytest.raises(ValueError, match="no migration 3"):
        journal.record(run, 3, Step.CHECKED, 1.0)


def test_a_run_ends_is_resumed_and_is_over_when_it_is_done(journal: Journal) -> None:
    run = journal.begin(TWO, "c", 1.0)
    journal.ask_to_stop(run)
    journal.end(run, RunState.STOPPED, 2.0, "asked to")
    assert journal.stop_asked(run) and (journal.run(run).why, journal.run(run).ended_at) == ("asked to", 2.0)
    journal.reopen(run, 3.0)
    again = journal.run(run)
    assert (again.state, again.ended_at, again.resumed_at, again.why) == (RunState.RUNNING, None, 3.0, "")
    assert journal.stop_asked(run), "what was asked for is not forgotten"
    journal.end(run, RunState.DONE, 4.0)
    for refused in (RunState.STOPPED, RunState.ABORTED, RunState.DONE):
        with pytest.raises(ValueError, match="is done: it cannot become"):
            journal.end(run, refused, 5.0)
    with pytest.raises(ValueError, match="cannot become running"):
        journal.reopen(run, 5.0)
    journal.end(run, RunState.ROLLED_BACK, 6.0)
    assert (journal.run(run).state, journal.run(run).ended_at) == (RunState.ROLLED_BACK, 4.0)


def test_a_journal_whose_process_died_before_it_began_is_one_without_runs(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    with Journal.reading(tmp_path / FILE) as found:
        assert found.runs() == ()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as half:
        half.execute("PRAGMA journal_mode = WAL")
    with Journal.reading(tmp_path / FILE) as found:
        assert found.runs() == ()
    with Journal(tmp_path / FILE) as journal:
        assert journal.begin(TWO, "c", 1.0) == 1


def test_with_the_end_of_a_way_back_the_other_run_is_rolled_back_at_once(journal: Journal) -> None:
    run = journal.begin(TWO, "c", 1.0)
    back = journal.begin(TWO, "c", 2.0, "rollback", run)
    journal.end(back, RunState.STOPPED, 3.0)
    assert journal.run(run).state is RunState.RUNNING
    journal.end(back, RunState.DONE, 4.0)
    found = journal.run(run)
    assert (found.state, found.ended_at, found.why) == (RunState.ROLLED_BACK, 3.0, "by run 2")


def test_runs_are_listed_newest_first_and_of_one_cluster(journal: Journal) -> None:
    numbers = [journal.begin(TWO, cluster, float(at)) for at, cluster in enumerate(("c", "d", "c"))]
    assert [run.id for run in journal.runs()] == numbers[::-1]
    assert [run.id for run in journal.runs("c")] == [numbers[2], numbers[0]]
    assert [run.id for run in journal.runs(limit=1)] == [numbers[2]]
    assert journal.runs("c")[0].counts == {Step.PLANNED: 2}


def test_the_newest_run_that_can_go_on_is_found(journal: Journal) -> None:
    assert journal.unfinished("c") is None
    stopped, done = journal.begin(TWO, "c", 1.0), journal.begin(TWO, "c", 2.0)
    journal.begin(TWO, "d", 3.0)
    journal.end(stopped, RunState.STOPPED, 4.0)
    journal.end(done, RunState.DONE, 4.0)
    found = journal.unfinished("c")
    assert found is not None and found.id == stopped


def test_a_way_back_says_of_which_run(journal: Journal) -> None:
    run = journal.begin(TWO, "c", 1.0)
    back = journal.run(journal.begin(TWO, "c", 2.0, "rollback", run))
    assert (back.kind, back.of) == ("rollback", run)


def test_what_was_carried_out_is_remembered_by_cluster_and_time(journal: Journal) -> None:
    run, back, other = (journal.begin(TWO, cluster, 0.0) for cluster in ("c", "c", "d"))
    for number, of, at in ((1, run, 10.0), (2, run, 20.0), (1, back, 30.0), (1, other, 40.0)):
        journal.record(of, number, Step.CHECKED, at - 2)
        journal.record(of, number, Step.DONE, at)
    journal.record(back, 2, Step.CHECKED, 50.0)  # not done
    assert journal.moved("c", 20.0) == (Moved(101, "b", "a", 20.0, run), Moved(100, "a", "b", 30.0, back))


def test_what_failed_is_remembered_unless_it_was_tried_again(journal: Journal) -> None:
    run, again = (journal.begin(TWO, "c", 0.0) for _ in range(2))
    for of, number, at in ((run, 1, 10.0), (run, 2, 20.0), (again, 1, 30.0)):
        journal.record(of, number, Step.CHECKED, at - 2)
        journal.record(of, number, Step.FAILED, at)
    journal.record(again, 1, Step.PLANNED, 40.0)
    assert journal.failed("c", 15.0) == (Moved(101, "b", "a", 20.0, run),)
    assert journal.failed("d", 0.0) == () == journal.moved("c", 0.0)


def test_what_was_started_counts_whatever_became_of_it_but_not_what_was_never_sent(journal: Journal) -> None:
    run, later, other = (journal.begin(TWO, cluster, 0.0) for cluster in ("c", "c", "d"))
    for step, at in ((Step.CHECKED, 10.0), (Step.STARTED, 11.0), (Step.FAILED, 12.0)):
        journal.record(run, 1, step, at, upid="UPID:x" if step is Step.STARTED else None)
    for step, at in ((Step.CHECKED, 20.0), (Step.PLANNED, 21.0), (Step.CHECKED, 22.0), (Step.UNKNOWN, 23.0)):
        journal.record(run, 2, step, at)  # the first time nobody answered
    journal.record(other, 1, Step.CHECKED, 24.0)
    journal.record(later, 1, Step.CHECKED, 30.0)
    assert journal.started("c", 0.0) == (10.0, 22.0, 30.0)
    assert journal.started("c", 22.0) == (22.0, 30.0)


def test_old_runs_are_forgotten_and_their_numbers_not_used_again(journal: Journal) -> None:
    old, stopped, new = (journal.begin(TWO, "c", 0.0) for _ in range(3))
    journal.record(old, 1, Step.SKIPPED, 1.0)
    journal.end(stopped, RunState.STOPPED, 1.0)
    journal.end(old, RunState.DONE, 1.0)
    journal.end(new, RunState.DONE, 9.0)
    journal.prune(5.0)
    assert [run.id for run in journal.runs()] == [new, stopped]
    assert journal.events(old) == ()
    with pytest.raises(JournalError, match=f"there is no run {old} in the journal"):
        journal.run(old)
    journal.prune(10.0)
    assert journal.begin(TWO, "c", 11.0) > new


def test_half_characters_that_an_answer_holds_do_no_harm(journal: Journal) -> None:
    run = journal.begin(plan(migration(1, 100, "a", "b\ud800")), "c\ud800", 0.0)
    journal.record(run, 1, Step.SKIPPED, 1.0, note="said \udcff")
    assert journal.run(run).entries[0].note == "said ?"
    assert [found.id for found in journal.runs("c\ud800")] == [run]


# That it stays


def test_what_was_recorded_is_there_after_kill_9(path: Path) -> None:
    assert started(CHILD, path).wait() == -signal.SIGKILL
    for opened in (Journal.reading(path), Journal(path)):
        with opened as journal:
            found = journal.unfinished("c")
            assert found is not None and found.state is RunState.RUNNING
            assert [(entry.step, entry.upid) for entry in found.entries] == [
                (Step.STARTED, "UPID:1"),
                (Step.PLANNED, None),
            ]


def test_every_transaction_is_written_through_to_the_disk(journal: Journal) -> None:
    settings = [journal._db.execute(f"PRAGMA {key}").fetchone()[0] for key in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]  # 2: FULL


def test_a_full_disk_is_one_line_and_loses_nothing(journal: Journal, path: Path) -> None:
    run = journal.begin(TWO, "c", 1.0)
    journal.record(run, 1, Step.CHECKED, 2.0)
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    before = journal.run(run), journal.events(run)
    with pytest.raises(JournalError) as error:
        journal.record(run, 1, Step.STARTED, 3.0, upid="UPID:1", note="x" * 100_000)
    one_line(error, str(path), "its disk is full: make room", "what was recorded before is safe")
    assert (journal.run(run), journal.events(run)) == before
    with pytest.raises(JournalError):
        journal.begin(plan(*TWO.migrations, notes=("x" * 100_000,)), "c", 4.0)
    assert [found.id for found in journal.runs()] == [run]
    journal._db.execute("PRAGMA max_page_count = 1000000")
    journal.record(run, 1, Step.STARTED, 5.0, upid="UPID:1", note="x" * 100_000)
    assert journal.run(run).entries[0].step is Step.STARTED


def test_a_record_that_is_interrupted_did_not_happen(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    run = journal.begin(TWO, "c", 1.0)
    execute = journal._db.execute

    def interrupted(statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        if statement.startswith("INSERT INTO event"):
            raise KeyboardInterrupt
        return execute(statement, values)

    monkeypatch.setattr(journal._db, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        journal.record(run, 1, Step.CHECKED, 2.0)
    monkeypatch.undo()
    assert journal.run(run).entries[0].step is Step.PLANNED
    journal.record(run, 1, Step.CHECKED, 3.0)


def test_another_process_may_ask_to_stop_while_a_run_is_under_way(journal: Journal, path: Path) -> None:
    run = journal.begin(TWO, "c", 1.0)
    with Journal(path) as other:
        other.ask_to_stop(run)
    assert journal.stop_asked(run)
    journal.record(run, 1, Step.CHECKED, 2.0)


# What cannot be used


@pytest.mark.parametrize("spoil", [lambda whole: b"no database" * 99, lambda whole: whole[:5000] + b"\xff" * 9000])
def test_a_damaged_journal_is_one_line(path: Path, spoil: Callable[[bytes], bytes]) -> None:
    with Journal(path) as journal:
        run = journal.begin(TWO, "c", 1.0)
    path.write_bytes(spoil(path.read_bytes()))
    for use in (Journal, Journal.reading):
        with pytest.raises(JournalError) as error, use(path) as journal:
            journal.run(run)
            journal.moved("c", 0.0)
        one_line(error, str(path), "damaged", "rename it")


def test_a_journal_of_a_newer_version_is_left_alone(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = path.read_bytes()
    for use in (Journal, Journal.reading):
        with pytest.raises(JournalError) as error:
            use(path)
        one_line(error, "format 99", "use the version that wrote it")
    assert path.read_bytes() == before


def test_a_database_of_something_else_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE run (id)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(JournalError) as error:
        Journal(path)
    one_line(error, "no journal")
    assert path.read_bytes() == before


@pytest.mark.parametrize("spoilt", ["{}", "{", "[]", "null", "[" * 99999])
def test_of_a_run_of_another_version_all_but_its_plan_is_known(journal: Journal, spoilt: str) -> None:
    strange, run = journal.begin(TWO, "c", 1.0), journal.begin(TWO, "c", 2.0)
    journal.record(strange, 1, Step.CHECKED, 3.0)
    journal._db.execute("UPDATE run SET plan = ? WHERE id = ?", (spoilt, strange))
    found = journal.run(strange)
    assert not found.readable and found.counts == {Step.PLANNED: 1, Step.CHECKED: 1}
    assert [(e.migration.vmid, e.migration.source, e.migration.target) for e in found.entries] == [
        (m.vmid, m.source, m.target) for m in TWO.migrations
    ]
    with pytest.raises(JournalError) as error:
        _ = found.plan
    one_line(error, f"run {strange}", "another version")
    assert "make a new one" not in str(error.value)
    assert journal.run(run).plan == TWO and len(journal.runs()) == 2
    assert [item.id for item in journal.open("c")] == [run, strange]


def test_a_plan_that_is_not_the_one_that_was_begun_is_not_believed(journal: Journal) -> None:
    run, other = journal.begin(TWO, "c", 1.0), plan(migration(1, 100, "a", "b"))
    journal._db.execute("UPDATE run SET plan = ? WHERE id = ?", (other.to_json(), run))
    assert not journal.run(run).readable


def test_what_could_not_be_read_again_is_not_begun(journal: Journal) -> None:
    with pytest.raises(InputError, match="the plan is damaged at migration 1"):
        journal.begin(plan(migration(7, 100, "a", "b")), "c", 1.0)
    assert journal.runs() == ()


def test_a_run_takes_the_place_of_others_at_once_or_not_at_all(journal: Journal) -> None:
    left, over = journal.begin(TWO, "c", 1.0), journal.begin(TWO, "d", 1.0)
    journal.end(over, RunState.DONE, 2.0)
    with pytest.raises(ValueError, match="is done"):
        journal.begin(TWO, "c", 3.0, instead_of=(left, over))
    assert journal.run(left).state is RunState.RUNNING and len(journal.runs()) == 2
    journal.begin(TWO, "c", 4.0, instead_of=(left,))
    assert (journal.run(left).state, journal.run(left).why) == (RunState.ABORTED, "another run was begun")
    assert journal.run(left).counts == {Step.SKIPPED: 2}


def test_a_run_that_is_over_is_not_reopened_nor_is_anything_of_it_planned_anew(journal: Journal) -> None:
    run = journal.begin(TWO, "c", 1.0)
    journal.abandon(run, 2.0, "aborted")
    with pytest.raises(ValueError, match="cannot become running"):
        journal.reopen(run, 3.0, anew=(1, 2))
    assert journal.run(run).counts == {Step.SKIPPED: 2}


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    if os.geteuid() == 0:  # root may write everywhere
        for of, name in ((os, "open"), (os, "mkdir")):
            monkeypatch.setattr(of, name, _refused)
    for fails in (
        lambda: Journal(tmp_path / FILE),
        lambda: state_directory(Apply(state_directory=str(tmp_path / "state")), {}),
        lambda: locked(tmp_path, "c").__enter__(),
    ):
        with pytest.raises(JournalError) as error:
            fails()
        one_line(error, str(tmp_path), "Permission denied", "apply.state_directory")
    tmp_path.chmod(0o700)


def _refused(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_state_directory_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    taken = tmp_path / "state"
    taken.touch()
    for settings in (str(taken), str(taken / "deeper")):
        with pytest.raises(JournalError) as error:
            state_directory(Apply(state_directory=settings), {})
        one_line(error, settings, "apply.state_directory")
    with pytest.raises(JournalError) as error:
        Journal(taken / FILE)
    one_line(error, str(taken))
    with pytest.raises(JournalError) as error:
        Journal.reading(tmp_path)
    one_line(error, str(tmp_path))


# Where it is, and who may read it


def test_only_the_owner_can_read_what_is_kept(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        directory = state_directory(Apply(state_directory=str(tmp_path / "new" / "state")), {})
        with Journal(directory / FILE) as journal, locked(directory, "c"):
            journal.begin(TWO, "c", 1.0)
            modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in directory.iterdir()}
    finally:
        os.umask(mask)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert len(modes) == 4 and set(modes.values()) == {0o600}, modes


def test_reading_leaves_a_directory_as_it_was(path: Path) -> None:
    with Journal(path) as journal:
        run = journal.begin(TWO, "c", 1.0)
    before = [(item.name, item.read_bytes()) for item in path.parent.iterdir()]
    with Journal.reading(path) as journal:
        assert journal.run(run).plan == TWO
        with pytest.raises(JournalError, match="cannot be written"):
            journal.end(run, RunState.DONE, 2.0)
    assert [(item.name, item.read_bytes()) for item in path.parent.iterdir()] == before


def test_what_another_process_writes_meanwhile_is_read(journal: Journal, path: Path) -> None:
    run = journal.begin(TWO, "c", 1.0)
    with Journal.reading(path) as reader:
        assert not reader.stop_asked(run)
        journal.ask_to_stop(run)
        assert reader.stop_asked(run)


def test_the_state_directory_is_where_one_looks_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home, chosen = str(tmp_path), Apply(state_directory="/srv/state")
    everything = {"STATE_DIRECTORY": "/run/one:/run/two", "XDG_STATE_HOME": "/xdg", "HOME": home}
    assert state_path(chosen, everything) == Path("/srv/state")
    assert state_path(Apply(), everything) == Path("/run/one")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state_path(Apply(), {"XDG_STATE_HOME": "/xdg"}) == Path("/var/lib/proxlb-plan")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state_path(Apply(), {"XDG_STATE_HOME": "/xdg", "HOME": home}) == Path("/xdg/proxlb-plan")
    for odd in ({}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}):
        assert state_path(Apply(), {"HOME": home, **odd}) == tmp_path / ".local" / "state" / "proxlb-plan"
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_has_a_name_with_which_it_is_remembered() -> None:
    nodes = [{"type": "node", "name": "pve1", "local": 1}]
    for status, name in (([{"type": "cluster", "name": "c"}, *nodes], "c"), (nodes, "pve1"), (None, "cluster")):
        assert cluster_name(rows.snapshot(rows.node("pve1"), **{STATUS: status})) == name


def test_the_journal_holds_the_plan_and_nothing_of_the_settings(journal: Journal, path: Path) -> None:
    made: Plan = replace(TWO, notes=("a note that is looked for",))
    journal.begin(made, "c", 1.0)
    content = b"".join(item.read_bytes() for item in path.parent.iterdir())
    assert b"a note that is looked for" in content
    tables = journal._db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    assert {row["name"] for row in tables} == {"run", "migration", "event", "look"}


# The lock


def test_a_second_run_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    first = started(HOLDING, tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    assert holder(tmp_path, "c") == (first.pid, 0)
    with pytest.raises(Locked, match=rf"process {first.pid} is at work on cluster c since \d{{4}}-") as error:
        locked(tmp_path, "c").__enter__()
    assert error.value.exit_code == 75 and "abort" in str(error.value)
    with locked(tmp_path, "another") as note:
        assert holder(tmp_path, "another") == (os.getpid(), 0)
        note(7)
        assert holder(tmp_path, "another") == (os.getpid(), 7)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert holder(tmp_path, "c") is None
    with locked(tmp_path, "c"):
        assert holder(tmp_path, "c") == (os.getpid(), 0)
    assert holder(tmp_path, "c") is None


def test_a_lock_is_let_go_of_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path, "c"):
        raise RuntimeError
    assert holder(tmp_path, "c") is None
    assert holder(tmp_path, "never seen") is None


def test_a_program_that_a_run_starts_does_not_keep_its_lock(tmp_path: Path) -> None:
    with locked(tmp_path, "c"):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert holder(tmp_path, "c") is None
    finally:
        child.kill()
        child.wait()


def test_who_asks_for_the_holder_does_not_keep_a_run_from_its_lock(tmp_path: Path) -> None:
    with locked(tmp_path, "c"):
        pass
    asking = subprocess.Popen(
        [sys.executable, "-c", ASKING, str(tmp_path)], cwd=REPO, text=True, stdout=subprocess.PIPE
    )
    try:
        assert asking.stdout is not None and asking.stdout.readline() == "asking\n"
        for _ in range(20):
            with locked(tmp_path, "c"):
                pass
    finally:
        asking.kill()
        asking.communicate()


ASKING = """
import sys
from pathlib import Path
from planner.lock import holder
print("asking", flush=True)
while True:
    holder(Path(sys.argv[1]), "c")
"""


def test_a_cluster_may_have_any_name(tmp_path: Path) -> None:
    for name in ("../up", "a/b", "..", "ä\ud800", "x" * 60):
        with locked(tmp_path, name):
            assert holder(tmp_path, name) == (os.getpid(), 0)
    assert {item.parent for item in tmp_path.iterdir()} == {tmp_path}
