"""Claims about notices: who is told of what, when, and that nobody is told the same twice."""

import json
from dataclasses import replace
from functools import reduce
from importlib.resources import files
from itertools import accumulate
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from planner import before
from planner.before import Before
from planner.choices import Event, RunMode
from planner.choices import Resource as Balanced
from planner.herald import Herald
from planner.journal import Journal
from planner.look import GateName, Load, Look, Outcome, Refusal
from planner.metrics import Exporter
from planner.notice import SEVERITY, Notice, notices
from planner.plan import PlanStatus
from planner.service import Metrics
from planner.state import UNNAMED


def schema(name: str) -> Any:
    return json.loads((files("planner") / "schemas" / f"{name}.json").read_text(encoding="utf-8"))


LOOK = schema("look")
NOTICE = Draft202012Validator(
    schema("notice"), registry=Registry().with_resource("urn:proxlb-plan:look:1", Resource.from_contents(LOOK))
)


def look(outcome: Outcome = Outcome.BALANCED, *gates: GateName, **more: Any) -> Look:
    refusals = tuple(Refusal(gate, f"{gate} says no") for gate in gates)
    given: dict[str, Any] = {"at": 1e9, "cluster": "lab", "mode": RunMode.AUTO, "outcome": outcome}
    return Look(**{**given, "refusals": refusals, **more})


def told(*looks: Look) -> list[list[str]]:
    """The events of each look, the oldest first."""
    known = list(accumulate(looks, Before.then, initial=Before()))
    return [[str(each.event) for each in notices(one, past)] for one, past in zip(looks, known, strict=False)]


def only(one: Look, *before: Look) -> Notice:
    """What is told of one after others, the oldest first."""
    (notice,) = notices(one, reduce(Before.then, before, Before()))
    return notice


GOOD, ERROR, STANDBY = look(), look(Outcome.ERROR, why="no API host answered"), look(Outcome.STANDBY)
CLASH = look(Outcome.BALANCED, status="infeasible", violations_after=("web apart",))
SOLVED = look(Outcome.BALANCED, status="no_action")


def test_an_error_is_told_when_it_begins_and_when_it_is_over() -> None:
    assert told(GOOD, ERROR, ERROR, GOOD, GOOD, ERROR) == [[], ["error"], [], ["recovered"], [], ["error"]]
    assert told(ERROR, STANDBY, ERROR) == [["error"], ["recovered"], ["error"]]
    notice = only(GOOD, ERROR, replace(ERROR, why="the last"))
    assert notice.lines[0] == "2 looks came to nothing, the last: the last"


def test_a_conflict_is_told_once_however_long_it_is_not_seen() -> None:
    assert told(SOLVED, CLASH, CLASH, ERROR, CLASH, SOLVED) == [
        [], ["conflict"], [], ["error"], ["recovered"], ["recovered"]
    ]  # fmt: skip
    held = look(Outcome.REFUSED, GateName.QUORUM)  # so early that there was no plan
    assert told(CLASH, held, CLASH) == [["conflict"], ["refused"], []]
    unknown = look(Outcome.BALANCED, status="unknown")
    assert told(CLASH, unknown, CLASH) == [["conflict"], [], []]


def test_a_gate_is_told_when_it_begins_to_hold_something_back() -> None:
    window, backup = GateName.WINDOW, GateName.BACKUP
    first, both = look(Outcome.REFUSED, window), look(Outcome.REFUSED, window, backup)
    assert told(first, first, both, first, both, GOOD, first) == [
        ["refused"], [], ["refused"], [], ["refused"], [], ["refused"]
    ]  # fmt: skip
    assert told(first, ERROR, first) == [["refused"], ["error"], ["recovered"]]
    assert told(look(Outcome.OBSERVED, window)) == [[]], "nothing is held back"


def test_a_plan_that_waits_is_told_once_and_each_other_anew() -> None:
    fifth, sixth = look(Outcome.PROPOSED, run=5), look(Outcome.PROPOSED, run=6)
    assert told(fifth, fifth, ERROR, fifth, sixth) == [["proposed"], [], ["error"], ["recovered"], ["proposed"]]


@pytest.mark.parametrize(
    ("outcome", "event"), [(Outcome.DONE, "done"), (Outcome.PARTLY, "failed"), (Outcome.FAILED, "failed")]
)
def test_every_run_is_told_of_when_it_has_ended(outcome: Outcome, event: str) -> None:
    assert told(look(outcome, run=1), look(outcome, run=2)) == [[event], [event]]


PLANNED: dict[str, Any] = {
    "run": 7, "migrations": 3, "gib": 12.0, "spread_before": 31.74, "spread_after": 2.919, "bound": 2.5,
    "violations_before": ("web apart",), "solver": "cpsat", "status": "feasible",
}  # fmt: skip


def test_a_proposal_says_what_is_planned_and_how_to_approve_of_it() -> None:
    notice = only(look(Outcome.PROPOSED, **PLANNED))
    assert notice.title == "cluster lab: 3 migrations to be approved" and notice.severity == "info"
    assert notice.lines[:-1] == (
        "run 7: 3 migrations, 12.0 GiB", "spread 31.74 -> 2.92 points, bound 2.50", "rules broken today: web apart",
        "to carry it out: proxlb-plan approve 7",
    )  # fmt: skip
    assert notice.lines[-1].startswith("looked at 2001-09-") and notice.text.splitlines()[0] == notice.title


@pytest.mark.parametrize(
    ("one", "title"),
    [
        (look(Outcome.DONE, **PLANNED, done=1), "cluster lab: 1 migration done"),
        (
            look(Outcome.PARTLY, **PLANNED, done=1, failed=1, left=1),
            "cluster lab: run 7 was carried out in part: 1 done, 1 failed or unknown, 1 not started",
        ),
        (look(Outcome.FAILED, why="a hook says no"), "cluster lab: a run failed: nothing was migrated"),
        (look(Outcome.REFUSED, GateName.WINDOW, migrations=2), "cluster lab: 2 migrations held back"),
        (CLASH, "cluster lab: not all rules can hold"),
        (
            look(Outcome.ERROR, cluster="", why="no API host answered"),
            "cluster (name not known): looks come to nothing",
        ),
    ],
)
def test_the_title_says_what_happened_where(one: Look, title: str) -> None:
    notice = only(one)
    assert notice.title == title
    assert one.why in notice.text and all(refusal.why in notice.text for refusal in one.refusals)


def test_text_of_others_cannot_tear_lines_apart() -> None:
    notice = only(look(Outcome.ERROR, cluster="la\nb", why="odd\x1b[2J\nanswer"))
    assert all(line.isprintable() for line in (notice.title, notice.cluster, *notice.lines))


LOOKS = st.builds(
    look,
    st.sampled_from(list(Outcome)),
    *[st.sampled_from(list(GateName))] * 2,
    cluster=st.text(max_size=5),
    why=st.text(max_size=5),
    status=st.sampled_from(["", *PlanStatus]),
    run=st.none() | st.integers(1, 3),
    spread_before=st.none() | st.floats(0, 100),
    spread_after=st.none() | st.floats(0, 100),
    bound=st.none() | st.floats(0, 100),
    migrations=st.integers(0, 3),
    done=st.integers(0, 3),
    violations_after=st.lists(st.text(max_size=5), max_size=10).map(tuple),
    loads=st.just((Load("pve1", Balanced.MEMORY, 40.0, 30.0),)),
)


@given(LOOKS, st.lists(LOOKS, max_size=4))
def test_whatever_is_seen_each_event_comes_once_and_its_json_is_as_described(one: Look, before: list[Look]) -> None:
    found = notices(one, reduce(Before.then, before, Before()))
    assert len({each.event for each in found}) == len(found)
    for notice in found:
        document = json.loads(notice.to_json())
        assert [error.message for error in NOTICE.iter_errors(document)] == []
        assert document["look"] == json.loads(one.to_json()) and all(notice.lines)


def a_while(between: Look, looks: int = 120) -> list[Look]:
    return [between] * looks


@pytest.mark.parametrize("first", [look(Outcome.REFUSED, GateName.WINDOW), CLASH, look(Outcome.PROPOSED, run=5), ERROR])
def test_what_has_been_told_is_not_told_again_however_long_it_lasts_or_is_not_seen(first: Look) -> None:
    begins, *later = told(first, *a_while(first))
    assert begins and not any(later)
    if first is not ERROR:
        assert told(first, *a_while(ERROR), first)[1:] == [["error"], *[[]] * 119, ["recovered"]]


def test_all_looks_that_came_to_nothing_are_counted() -> None:
    assert only(GOOD, *a_while(ERROR)).lines[0] == "120 looks came to nothing, the last: no API host answered"


@given(st.lists(st.tuples(LOOKS, st.sampled_from(["lab", "other"])), max_size=12))
def test_the_journal_tells_a_process_that_begins_what_one_that_goes_on_knows(taken: list[tuple[Look, str]]) -> None:
    with Journal(None) as journal:
        known: dict[str, Before] = {}
        for one, cluster in taken:
            one = replace(one, cluster=cluster)
            one = replace(one, number=journal.looks.add(one))
            assert before.of(journal.looks, one) == known.setdefault(cluster, Before())
            known[cluster] = known[cluster].then(one)
        for cluster, what in known.items():
            assert before.of(journal.looks, look(cluster=cluster)) == what, "also where a look is not in the journal"


LIFE = (
    GOOD, look(Outcome.REFUSED, GateName.WINDOW), ERROR, ERROR, look(Outcome.REFUSED, GateName.WINDOW), STANDBY,
    look(Outcome.PROPOSED, run=1, status="feasible"), CLASH, ERROR, CLASH, look(Outcome.PROPOSED, run=1), SOLVED,
)  # fmt: skip


def test_a_timer_tells_what_a_daemon_tells() -> None:
    """Each look is a process of its own there."""
    with Journal(None) as journal:
        kept = Collecting(journal)
        for one in LIFE:
            one = replace(one, number=journal.looks.add(one))
            alone = Collecting(journal)
            alone.look(one)
            kept.look(one)
            assert alone.heard == kept.heard
            kept.heard.clear()


class Collecting(Herald):
    """Takes down what it tells."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(Exporter(Metrics(), journal), journal)
        self.heard: list[Notice] = []
        teller = SimpleNamespace(wants=lambda _: True, tell=lambda notice: not self.heard.append(notice))
        self._teller = teller  # type: ignore[assignment]


def test_what_failed_before_a_cluster_had_said_its_name_is_over_once_it_has() -> None:
    with Journal(None) as journal:
        for one in (GOOD, replace(ERROR, cluster=UNNAMED), replace(ERROR, cluster=UNNAMED, why="the last")):
            journal.looks.add(one)
        found = before.of(journal.looks, GOOD)
        assert (found.errors, found.why) == (2, "the last")


@given(st.lists(LOOKS, max_size=12))
def test_errors_and_their_ends_take_turns(looks: list[Look]) -> None:
    looks = [replace(each, status="") for each in looks]  # a conflict has ends of its own
    said = [event for events in told(*looks) for event in events if event in ("error", "recovered")]
    assert said == ["error", "recovered"] * (len(said) // 2) + ["error"] * (len(said) % 2)


def test_the_schemas_name_every_event_gate_outcome_and_field() -> None:
    properties = LOOK["properties"]
    assert set(properties) - {"format"} == set(get_type_hints(Look)) == set(LOOK["required"]) - {"format"}
    assert set(properties["outcome"]["enum"]) == {*Outcome} and set(properties["mode"]["enum"]) == {*RunMode}
    assert set(LOOK["$defs"]["refusal"]["properties"]["gate"]["enum"]) == {*GateName}
    assert set(LOOK["$defs"]["load"]["properties"]["resource"]["enum"]) == {*Balanced}
    assert set(properties["status"]["enum"]) == {"", *PlanStatus}
    described = NOTICE.schema["properties"]
    assert set(described["event"]["enum"]) == {*Event} == set(SEVERITY)
    assert set(described["severity"]["enum"]) == set(SEVERITY.values())
    for document in (LOOK, NOTICE.schema):
        Draft202012Validator.check_schema(document)


@pytest.mark.parametrize("field", [name for name in get_type_hints(Look) if name != "number"])
def test_a_look_without_one_of_its_fields_is_not_as_described(field: str) -> None:
    document = json.loads(look().to_json())
    assert Draft202012Validator(LOOK).is_valid(document)
    del document[field]
    assert not Draft202012Validator(LOOK).is_valid(document)
