"""Looks that scheduled runs take are kept in the journal, beside its runs."""

import sqlite3
from pathlib import Path

import pytest

from planner.choices import Resource, RunMode
from planner.clock import FastClock
from planner.database import LOOKS
from planner.errors import JournalError
from planner.journal import Journal
from planner.look import GateName, Load, Look, Outcome, Refusal
from planner.looks import PLANS
from planner.simulate import Size, demo
from tests.applying import _nothing, a_plan


def look(at: float, outcome: Outcome = Outcome.OBSERVED, *, above: bool = True, cluster: str = "c") -> Look:
    return Look(at=at, cluster=cluster, mode=RunMode.OBSERVE, outcome=outcome, above=above)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite3")


def test_a_look_is_read_as_it_was_written(journal: Journal) -> None:
    made = Look(
        at=5.0, cluster="c", mode=RunMode.AUTO, outcome=Outcome.REFUSED, why="no", spread_after=2.5, bound=2.0,
        refusals=(Refusal(GateName.QUORUM, "no quorum"),), loads=(Load("pve1", Resource.MEMORY, 40.0, 30.0),),
        violations_before=("web apart",),
    )  # fmt: skip
    number = journal.looks.add(made)
    (read,) = journal.looks.last("c")
    assert read == journal.looks.look(number)
    assert (read.number, read.refusals, read.loads, read.gap) == (number, made.refusals, made.loads, 0.5)


def test_the_newest_looks_in_a_row_that_are_out_of_balance_count(journal: Journal) -> None:
    def told(*looks: tuple[Outcome, bool]) -> int:
        journal.looks.prune(1e9)
        for at, (outcome, above) in enumerate(looks):
            journal.looks.add(look(float(at), outcome, above=above))
        journal.looks.add(look(99.0, Outcome.BALANCED, above=False, cluster="other"))
        return journal.looks.above("c", 99.0, 100.0, -1.0)

    yes, no = (Outcome.REFUSED, True), (Outcome.BALANCED, False)
    assert told() == 0
    assert told(yes, no, yes, yes) == 2
    assert told(yes, no) == 0
    assert told(yes, (Outcome.ERROR, False), yes) == 2, "what did not look says nothing"
    assert told(yes, yes, (Outcome.DONE, True)) == 0, "after a run the cluster is another one"
    assert told(yes, yes, (Outcome.DONE, True), yes) == 1
    assert journal.looks.above("c", 99.0, 100.0, 4.0) == 0, "looks before that do not count"


def test_looks_far_apart_are_not_in_a_row(journal: Journal) -> None:
    for at in (0.0, 10.0, 40.0, 50.0):
        journal.looks.add(look(at))
    assert [journal.looks.above("c", at, 20.0, -1.0) for at in (55.0, 71.0)] == [2, 0]
    assert journal.looks.above("c", 55.0, 30.0, -1.0) == 4


def test_only_the_last_plans_are_kept(journal: Journal) -> None:
    source = demo(Size.SMALL, FastClock())
    guest = next(row for row in source.get("/cluster/resources") if row["type"] == "qemu")
    plan = a_plan(source, (guest["vmid"], "pve2" if guest["node"] != "pve2" else "pve1"))
    numbers = [journal.looks.add(look(float(at)), plan) for at in range(PLANS + 3)]
    kept = [number for number in numbers if journal.looks.plan(number) is not None]
    assert kept == numbers[-PLANS:]
    assert journal.looks.plan(kept[0]) == plan
    assert journal.looks.plan(journal.looks.add(look(99.0), _nothing())) is None, "a plan without migrations is none"


def test_looks_are_forgotten_after_a_while_and_one_that_is_not_there_is_named(journal: Journal) -> None:
    old, new = journal.looks.add(look(1.0)), journal.looks.add(look(5.0))
    journal.looks.prune(5.0)
    assert [each.number for each in journal.looks.last()] == [new]
    with pytest.raises(JournalError, match=f"there is no look {old} in the journal"):
        journal.looks.look(old)


def test_a_journal_of_the_version_before_gets_looks_and_keeps_its_runs(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with Journal(path) as journal:
        run = journal.begin(_nothing(), "c", 1.0)
    as_before(path)
    with Journal.reading(path) as journal:
        assert journal.looks.last() == () and journal.looks.newest_at("c", Outcome.DONE) is None
        with pytest.raises(JournalError, match="no look 1"):
            journal.looks.look(1)
        assert journal.run(run).id == run
    with Journal(path) as journal:
        assert journal.run(run).id == run
        assert journal.looks.look(journal.looks.add(look(2.0))).at == 2.0


def as_before(path: Path) -> None:
    """Make a journal what the version before would have written."""
    database = sqlite3.connect(path)
    assert "CREATE TABLE look" in LOOKS
    database.executescript("DROP TABLE look; PRAGMA user_version = 1;")
    database.close()


def test_a_look_of_another_version_is_named(journal: Journal) -> None:
    number = journal.looks.add(look(1.0))
    journal._db.execute('UPDATE look SET document = \'{"format": "other/9"}\'')
    with pytest.raises(JournalError, match=f"look {number} in the journal is of another version, or damaged"):
        journal.looks.look(number)
    after = journal.looks.add(look(2.0))
    assert [each.number for each in journal.looks.last()] == [after], "and does not hide the others"
