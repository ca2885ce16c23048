"""Claims about plan files that somebody has edited or damaged: one clear line each, before anything is begun."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner import plan as plans
from planner.errors import InputError
from tests.commandline import Cli, alone, calling
from tests.plans import migration, plan
from tests.rows import cluster, node, vm
from tests.test_schemas import PLAN, problems

GOOD = plan(migration(1, 101, "a", "b", end=5.0), migration(2, 102, "b", "c", after=(1,), end=9.0))
GOOD = replace(GOOD, rollback=((migration(1, 102, "c", "b"), migration(2, 101, "b", "a")),))
STOP = plan(migration(1, 101, "a", "b", bypass=True), migration(2, 101, "b", "c", after=(1,)))
STOP = replace(STOP, assumes=replace(STOP.assumes, guests={101: "a"}))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    alone(monkeypatch, tmp_path)
    return calling(capsys)


def edited(directory: Path, edit: Callable[[Any], None], good: plans.Plan = GOOD) -> Path:
    """A plan file with a change."""
    document = json.loads(good.to_json())
    edit(document)
    path = directory / "p.json"
    path.write_text(json.dumps(document))
    return path


def set_to(path: str, value: object) -> Callable[[Any], None]:
    """An edit of one value, whose path is written with dots."""
    *way, last = path.split(".")

    def edit(document: Any) -> None:
        for part in way:
            document = document[int(part) if part.isdigit() else part]
        document[last] = value

    return edit


@pytest.mark.parametrize("good", [GOOD, STOP])
def test_what_is_saved_is_read_again(good: plans.Plan, tmp_path: Path) -> None:
    plans.save(good, tmp_path / "p.json")
    assert plans.load(tmp_path / "p.json") == good
    assert problems(PLAN, json.loads(good.to_json())) == []


NUMBERS: list[tuple[str, object]] = [
    ("schedule.parallel", 0), ("schedule.parallel", -1), ("schedule.per_source", 0), ("schedule.per_target", 10**30),
    ("schedule.bandwidth", 0), ("schedule.bandwidth", 1e-9), ("schedule.seconds", -1), ("schedule.bound", 1e308),
    ("waves.0.0.end", 1e308), ("waves.0.0.begin", -1), ("waves.0.0.vmid", 10**30), ("waves.0.0.vmid", 0),
    ("waves.0.0.number", 0), ("waves.0.0.bundle", -1), ("waves.0.0.memory_mib", -1), ("waves.0.0.memory_mib", 10**30),
    ("waves.0.0.local_disk_mib", -1), ("waves.0.0.rate", -1), ("waves.0.0.rate", 1e308), ("waves.0.0.downtime", -1),
    ("waves.0.0.spread_without", -1), ("rollback.0.0.vmid", 10**30), ("handling.bwlimit", -1), ("handling.bwlimit", 0),
    ("handling.restart_timeout", 0), ("handling.restart_timeout", 10**30),
]  # fmt: skip


@pytest.mark.parametrize(("where", "value"), NUMBERS)
def test_numbers_that_make_no_sense_are_refused_with_their_place_and_by_the_schema(
    tmp_path: Path, where: str, value: object
) -> None:
    path = edited(tmp_path, set_to(where, value))
    with pytest.raises(InputError, match="damaged at") as error:
        plans.load(path)
    assert where in str(error.value) or where.endswith("number")
    assert "\n" not in str(error.value)
    assert problems(PLAN, json.loads(path.read_text()))


def test_a_number_beyond_all_numbers_is_refused(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda document: None)
    path.write_text(path.read_text().replace('"balanciness": 5.0', '"balanciness": 1e999'))
    with pytest.raises(InputError, match="balanciness: input should be a finite number"):
        plans.load(path)


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [("waves.0.0.source", "c", "migration 1: guest 101 is on a then, not on c"),
     ("waves.0.0.target", "a", "migration 1: guest 101 is on a already"),
     ("waves.0.1.target", "moon", "migration 2: guest 102 cannot go to moon, which is none of its nodes"),
     ("assumes.guests", {"102": "b"}, "migration 1: it says nowhere on which node guest 101 is"),
     ("rollback.0.0.source", "b", "rollback 1: guest 102 is on c then, not on b")],
)  # fmt: skip
def test_migrations_that_make_no_sense_are_refused_before_anything_is_begun(
    cli: Cli, tmp_path: Path, where: str, value: object, says: str
) -> None:
    outcome = cli("apply", edited(tmp_path, set_to(where, value)), "--demo", "--yes")
    assert outcome.code == 1
    assert outcome.complaint.endswith(f"is damaged at {says}; make a new one")


def test_a_guest_goes_on_from_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="twice"):
        plans.load(edited(tmp_path, set_to("waves.0.1.source", "a"), STOP))


@pytest.mark.parametrize("evil", ["\x1b[2J\x1b]0;owned\x07", "one\ntwo", "\u202eback", "half \ud800", "\x9b2J"])
def test_what_a_terminal_must_not_see_is_not_in_a_plan_that_was_read(tmp_path: Path, evil: str) -> None:
    path = edited(tmp_path, set_to("waves.0.0.name", evil))
    assert plans.load(path).migrations[0].name.isprintable()
    with pytest.raises(InputError) as error:
        plans.load(edited(tmp_path, lambda document: document["assumes"]["nodes"].update({evil: evil * 2, "b": 7})))
    assert str(error.value).isprintable()


def test_what_a_terminal_must_not_see_is_not_in_frames() -> None:
    frames = cluster(node("a"), vm(1, "a", name="web\x1b[31m\r"), vm(2, "a", name="täglich"))
    assert list(frames.guests["name"]) == ["web?[31m?", "täglich"]


def test_a_plan_that_nests_without_end_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"format": "proxlb-plan/2", "solver": ' + "[" * 900 + "]" * 900 + "}")
    with pytest.raises(InputError, match=r"damaged|not JSON"):
        plans.load(path)
