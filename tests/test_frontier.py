"""Claims about frontiers: what each limit buys is true, each has its plan, and a person sees what is proven of it."""

import json
import math
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import planner
from planner import clash, report, report_frontier
from planner.case import Case
from planner.collect import collect
from planner.errors import InputError, UsageError
from planner.frontier import COLUMNS, FORMAT, MOST, Frontier, make_frontier
from planner.knee import knee
from planner.planning import prepare
from planner.policy import Against, Combine, Mode, Policy, Resource, RuleSetting
from planner.policy import Cluster as ClusterPolicy
from planner.simulate import Size
from solvers import Budget, pareto
from solvers.problem import PPM, Cost, Problem
from tests import draw
from tests.commandline import Cli, alone, calling, guest_row, interrupted, node_row, write_snapshot
from tests.fronts import Outcomes
from tests.rows import Row, cluster, node, vm

REPO = Path(__file__).parent.parent
BUDGET = Budget(seconds=20, workers=1)
SCHEMA = Draft202012Validator(json.loads((files("planner") / "schemas" / "frontier.json").read_text(encoding="utf-8")))
SHOWN = 100 / PPM
"""Percentage points of a ppm."""


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def lopsided(tmp_path: Path) -> Path:
    """A snapshot of three nodes of which one holds everything."""
    guests = [guest_row(vmid, "pve1", gib) for vmid, gib in zip(range(100, 105), (10, 9, 2, 1, 1), strict=True)]
    return write_snapshot(tmp_path / "s.json", node_row("pve1", used=25), node_row("pve2"), node_row("pve3"), *guests)


def case_of(*rows: Row, settings: ClusterPolicy | None = None, **policy: Any) -> Case:
    return prepare(cluster(*rows), Policy(**{"balanciness": 0} | policy), settings)


def on_one(*gib: float) -> list[Row]:
    """Two nodes of 100 GiB, of which one holds guests of these sizes."""
    return [node("a", 100, sum(gib)), node("b", 100), *(vm(i, "a", size) for i, size in enumerate(gib, 1))]


def column(found: Frontier, name: str) -> list[Any]:
    """What a frontier says in one column, no number being None."""
    return [None if value != value else value for value in found.frame[name].tolist()]


# ------------------------------------------------------------------------------ what is true of it


def drawn(seed: int, directory: Path) -> Case | None:
    """A small cluster with rules of every kind, and its settings; None where there is no node to plan for."""
    rng = Random(seed)
    chosen = rng.sample(sorted(draw.FEATURES), rng.randint(1, 8))
    scenario = draw.draw(seed, rng.choice([2, 3, 3]), rng.randint(3, 6), chosen)
    given = scenario.config(directory)
    try:
        return prepare(collect(scenario.snapshot()), given.policy, given.cluster, given.apply)
    except InputError:
        return None


def holds(found: Frontier, seed: int) -> int:
    """Every row is true of all assignments of the problem; how many are proven."""
    points, rows = found.front.points, found.frame.to_dict("records")
    gib = found.against is Against.GIB
    most = {"max_moved_mib" if gib else "max_migrations": points[-1].limit}
    prefer = Cost.MIB if gib else Cost.MIGRATIONS
    of = {case: Outcomes(case.formulation.problem.replace(goal=0, prefer=prefer, **most)) for case in set(found.cases)}
    before, last = (math.inf, math.inf), found.cases[0]
    for row, point, case in zip(rows, points, found.cases, strict=True):
        known = of[case]
        before, last = before if case is last else (math.inf, math.inf), case
        best = known.best(point.limit)
        reached = (row["violations"], round(row["spread"] / SHOWN))
        assert reached == best if row["exact"] else reached >= best, seed
        assert round(row["bound"] / SHOWN) <= known.least_spread(point.limit, row["violations"]), seed
        assert row["gap"] == pytest.approx(row["spread"] - row["bound"]) or row["exact"], seed
        assert reached <= before, seed
        before = reached
    return sum(row["exact"] for row in rows)


def planned(found: Frontier, seed: int) -> bool:
    """The plan of every point is as good as it and within its limit, or says why not; whether all are as good."""
    good = True
    for row in found.frame.to_dict("records"):
        plan = found.plan(row["limit"])
        spent = plan.moved_gib if found.against is Against.GIB else len(plan.migrations)
        assert spent <= row["limit"] + 1e-9, seed
        as_good = (len(plan.violations_after), plan.spread.after) <= (row["violations"], row["spread"] + 1e-9)
        assert as_good or any(note.startswith("the frontier has a spread of") for note in plan.notes), seed
        assert as_good or not row["reachable"] or plan.survival is not None, seed
        good &= as_good
    return good


@pytest.mark.parametrize(
    "seeds", [range(12), pytest.param(range(12, 400), marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_under_rules_of_every_kind_all_that_is_said_of_a_limit_is_true_and_has_its_plan(
    tmp_path: Path, seeds: range
) -> None:
    proven = rows = good = fronts = 0
    for seed in seeds:
        case = drawn(seed, tmp_path)
        for against in Against if case else ():
            assert case is not None
            found = make_frontier(case, against, BUDGET)
            proven, rows = proven + holds(found, seed), rows + len(found.front.points)
            good, fronts = good + planned(found, seed), fronts + 1
    assert proven > 0.8 * rows > len(seeds)
    assert good > 0.8 * fronts


# ------------------------------------------------------------------------------ what it shows


def test_each_limit_has_what_it_costs_what_it_buys_and_what_is_proven() -> None:
    found = make_frontier(case_of(*on_one(16, 8, 4, 2), max_migrations=9), budget=BUDGET)
    assert list(found.frame.columns) == [item.name for item in COLUMNS]
    assert {name: str(dtype) for name, dtype in found.frame.dtypes.items()} == {c.name: c.dtype for c in COLUMNS}
    assert column(found, "limit") == [0, 1, 2, 3, 4]  # no more than there are guests
    assert column(found, "migrations") == [0, 1, 1, 1, 1]  # 16 of 30 leave 14
    assert column(found, "gib") == [0, 16, 16, 16, 16]
    assert column(found, "spread") == column(found, "bound") == [30, 2, 2, 2, 2]
    assert column(found, "gain") == [None, 28, 0, 0, 0]
    assert column(found, "exact") == column(found, "reachable") == [True] * 5 and found.exact
    assert found.knee == 1 and found.before == 30  # all that can be gained is gained at once


def test_against_gib_each_point_copies_less_than_the_next() -> None:
    found = make_frontier(case_of(*on_one(16, 8, 4, 2)), Against.GIB, BUDGET)
    assert column(found, "limit") == column(found, "gib") == [0, 2, 4, 6, 8, 10, 12, 14]
    assert column(found, "spread") == [30, 26, 22, 18, 14, 10, 6, 2]
    assert found.exact and found.knee is None  # each GiB buys as much as the one before


def test_the_knee_is_where_more_begins_to_buy_little() -> None:
    sizes = (20, 16, 1, 1, 1, 1)
    rows = [node("a", 100, 40 + sum(sizes)), node("b", 100), *(vm(i, "a", size) for i, size in enumerate(sizes, 1))]
    found = make_frontier(case_of(*rows), budget=BUDGET)
    assert column(found, "spread") == [80, 40, 8, 6, 4, 2, 0]
    assert found.knee == 2 and column(found, "knee") == [limit == 2 for limit in range(7)]


@pytest.mark.parametrize(
    ("points", "index"),
    [
        ([(x, 1 / x) for x in range(1, 11)], 2),  # furthest at the square root of 10
        ([(x, 1 / x) for x in range(1, 11)] + [(x, 0.1) for x in range(11, 99)], 2),  # a flat end says nothing
        ([(1024 * x, 300 / x) for x in range(1, 11)], 2),  # nor do units
        ([(0, 9.0), (1, 6.0), (2, 3.0), (3, 0.0)], None),
        ([(0, 9.0), (1, 8.0), (2, 0.0)], None),
        ([(0, 50.0), (1, 25.0), (2, 25.0), (3, 25.0)], 1),  # all is gained at once
        ([(0, 50.0), (1, 50.0), (2, 25.0)], 2),
        ([(0, 9.0), (1, 9.0)], None),
        ([(0, 9.0)], None),
        ([], None),
    ],
)
def test_a_knee_is_the_point_furthest_below_the_chord(points: list[tuple[float, float]], index: int | None) -> None:
    assert knee(points) == index


def test_repairs_come_first_and_spreads_are_compared_only_where_as_much_is_repaired() -> None:
    """Both guests have to leave c, and that is more even with them on it."""
    rows = [node("a", 100, 10), node("b", 100, 10), node("c", 100, 12), vm(1, "a", 10), vm(2, "b", 10)]
    rows += [vm(3, "c", 8), vm(4, "c", 4)]
    found = make_frontier(case_of(*rows, settings=ClusterPolicy(maintenance_nodes=("c",))), budget=BUDGET)
    assert column(found, "violations") == [2, 1, 0, 0, 0]
    assert column(found, "spread") == [0, 4, 4, 4, 4]
    assert column(found, "gain") == [None, None, None, 0, 0]
    assert column(found, "exact") == [True] * 5


def test_a_point_that_cannot_be_got_to_is_marked_and_its_plan_says_so() -> None:
    """Guest 1 and guest 3 would have to change places, and neither node has room for both."""
    rows = [node("a", 10, 9), node("b", 10, 5), vm(1, "a", 6), vm(2, "a", 3, tags="plb_pin_a"), vm(3, "b", 5)]
    found = make_frontier(case_of(*rows), budget=BUDGET)
    assert column(found, "reachable") == [True, True, False, False]
    plan = found.plan(2)
    assert not plan.migrations and plan.spread.after == 40 and plan.status == "feasible"
    assert "the frontier has a spread of 20.00 points within this limit, but no safe way to it was found" in plan.notes


def test_the_plan_of_a_limit_is_as_good_as_its_point_and_the_knee_is_the_default() -> None:
    cluster = planner.demo(Size.SMALL)
    found = cluster.frontier(max_migrations=4, time_limit=2)
    for row in found.frame.to_dict("records"):
        plan = found.plan(row["limit"])
        assert len(plan.migrations) == row["migrations"] and plan.max_migrations == row["limit"]
        assert plan.spread.after == pytest.approx(row["spread"])
        assert (plan.status == "optimal") == row["exact"] and plan.spread.bound == pytest.approx(row["bound"])
    assert len(found.plan().migrations) == found.knee


@pytest.mark.parametrize("limit", [-1, 5, math.nan, math.inf])
def test_there_is_no_plan_for_a_limit_that_was_not_looked_at(limit: float) -> None:
    found = make_frontier(case_of(*on_one(16, 8, 4, 2), max_migrations=4), budget=BUDGET)
    with pytest.raises(UsageError, match="limits from 0 to 4 migrations"):
        found.plan(limit)


def test_balanciness_cheapest_and_repairs_alone_do_not_matter_which_is_said() -> None:
    plain = make_frontier(case_of(*on_one(16, 8, 4, 2)), budget=BUDGET)
    for more in ({"until_balanced": True}, {"repair_only": True}):
        other = make_frontier(case_of(*on_one(16, 8, 4, 2), balanciness=50, **more), budget=BUDGET)
        assert other.frame.equals(plain.frame)
        assert [note.split()[0] for note in other.notes] == list(more)


def test_several_resources_count_as_the_policy_combines_them() -> None:
    rows = on_one(16, 8, 4, 2)
    both = (Resource.MEMORY, Resource.CPU)
    worst = make_frontier(case_of(*rows, resource=both), budget=BUDGET)
    order = make_frontier(case_of(*rows, resource=both, combine=Combine.ORDER), budget=BUDGET)
    memory = make_frontier(case_of(*rows), budget=BUDGET)
    assert column(order, "spread") == column(memory, "spread")
    assert all(a >= b for a, b in zip(column(worst, "spread"), column(memory, "spread"), strict=True))


def test_where_a_node_is_stuck_the_spread_over_the_others_is_shown_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [node("a", used=60), node("b", used=24), node("c"), vm(1, "a", 50, tags="plb_ignore")]
    rows += [vm(vmid, "b", 8) for vmid in (2, 3, 4)]
    found = make_frontier(case_of(*rows), budget=BUDGET)
    assert column(found, "spread") == [93.75, 81.25, 81.25, 81.25, 81.25]
    assert column(found, "changeable") == [37.5, 12.5, 12.5, 12.5, 12.5]
    assert found.notes == ("nothing can change the load of a, which counts for the spread all the same",)
    assert found.plan(1).spread.changeable_after == 12.5
    report_frontier.frontier(found, report.console())
    assert "other nodes" in capsys.readouterr().out.splitlines()[0]


def test_the_budget_is_four_time_limits_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[Budget] = []
    real = pareto.by_migrations

    def noted(problem: Problem, most: int, budget: Budget, *more: Any) -> Any:
        budgets.append(budget)
        assert most == MOST
        return real(problem, most, budget, *more)

    monkeypatch.setattr(pareto, "by_migrations", noted)
    make_frontier(case_of(*on_one(16, 8), time_limit=3.0, seed=4))
    assert [(budget.seconds, budget.seed) for budget in budgets] == [(pytest.approx(12.0, abs=0.5), 4)]


@pytest.mark.parametrize(
    ("spreads", "proven", "says"),
    [
        ((50, 20, 20, 20), True, "knee: 1 migration, spread 20.00 points, 100 % of what can be gained"),
        ((50, 20, 20), False, "knee of what was found: 1 migration, spread 20.00 points, 100 % of what was gained"),
        ((50, 50), True, "no knee: nothing is gained"),
        ((50, 50, 50), False, "no knee: no smaller spread was found, but none is ruled out"),
        ((50,), True, "no knee: nothing is gained"),
        ((60, 40, 20), True, "no knee: each more gains as much as the one before, or more"),
        ((60, 50, 20), False, "no knee: each more gains as much as the one before, or more"),
    ],
)  # fmt: skip
def test_why_there_is_no_knee_is_said_and_one_of_unproven_points_is_marked(
    capsys: pytest.CaptureFixture[str], spreads: tuple[int, ...], proven: bool, says: str
) -> None:
    found = make_frontier(case_of(*on_one(*[1] * 5), max_migrations=len(spreads) - 1), budget=Budget(seconds=0))
    today = found.front.points[0]
    points = [
        replace(today, limit=i, score=today.score._replace(spread=spread * 10_000), exact=proven or not i)
        for i, spread in enumerate(spreads)
    ]
    found = replace(found, front=replace(found.front, points=tuple(points)), cases=found.cases[:1] * len(points))
    report_frontier.frontier(replace(found, reachable=(True,) * len(points)), report.console())
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == says
    assert ("◆" in out) == says.startswith("knee: ") and ("◇" in out) == says.startswith("knee of")
    assert ("nothing better was found" in out) == (not proven and len(spreads) != len(set(spreads)))


def test_a_front_against_gib_that_was_cut_off_is_not_called_exact(capsys: pytest.CaptureFixture[str]) -> None:
    found = make_frontier(case_of(*on_one(16, 8, 4, 2)), Against.GIB, Budget(seconds=0))
    assert not found.exact and json.loads(found.to_json())["complete"] is False
    report_frontier.frontier(found, report.console())
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "the only point is proven; others may lie beyond it; 0.0 s",
        "no knee: no smaller spread was found, but none is ruled out",
    ]


def test_without_a_knee_the_plan_is_the_first_that_is_as_good_as_the_last() -> None:
    line = make_frontier(case_of(*on_one(8, 8, 8, 8), max_migrations=2), budget=BUDGET)
    assert column(line, "spread") == [32, 16, 0] and line.knee is None
    assert len(line.plan().migrations) == 2
    gained_at_once = make_frontier(case_of(*on_one(16, 8, 4, 2), max_migrations=4), budget=BUDGET)
    assert len(gained_at_once.plan().migrations) == 1
    nothing = make_frontier(case_of(*on_one(), max_migrations=2), budget=BUDGET)
    assert not nothing.plan().migrations


def test_there_are_plans_for_more_migrations_than_guests_if_so_many_were_asked_about() -> None:
    found = make_frontier(case_of(*on_one(16, 8), max_migrations=3), budget=BUDGET)
    assert column(found, "limit") == [0, 1, 2]
    assert len(found.plan(3).migrations) == 1
    with pytest.raises(UsageError, match="limits from 0 to 3 migrations"):
        found.plan(4)
    one = make_frontier(case_of(*on_one(16, 8), max_migrations=1), budget=BUDGET)
    with pytest.raises(UsageError, match="limits from 0 to 1 migration, and 2 is none of them"):
        one.plan(2)


# ------------------------------------------------------------------------------ should-rules


def softly(*vmids: int, on: str = "b", price: float = 1) -> ClusterPolicy:
    names = tuple(map(str, vmids))
    return ClusterPolicy(rules=(RuleSetting("soft", pin=names, nodes=(on,), should=True, price=price),))


def test_a_rule_that_must_hold_is_repaired_before_one_that_should_within_every_limit() -> None:
    """Guest 1 must and guest 2 should go to b, and guest 2 would do more for the balance."""
    rows = [node("a", 64, 34), node("b", 64), vm(1, "a", 2, tags="plb_pin_b"), vm(2, "a", 16), vm(3, "a", 16)]
    found = make_frontier(case_of(*rows, settings=softly(2), max_migrations=2), budget=BUDGET)
    assert column(found, "violations") == [1, 0, 0] and column(found, "gave_way") == [1, 1, 0]
    assert column(found, "spread") == [53.125, 46.875, 3.125]
    assert column(found, "exact") == [False, False, True] and not found.exact
    assert column(found, "gain") == [None, None, None]  # of different rules
    assert found.notes == ("within 0 to 1 migrations should-rules give way: soft: guest 2 (g2) on b (price 1)",)
    plan = found.plan(1)
    assert [m.vmid for m in plan.migrations] == [1] and plan.status == "feasible" and len(plan.gave_way) == 1


def test_no_gain_is_shown_between_limits_within_which_other_rules_hold(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [node("a", 64, 34), node("b", 64), vm(1, "a", 2, tags="plb_pin_b"), vm(2, "a", 16), vm(3, "a", 16)]
    report_frontier.frontier(make_frontier(case_of(*rows, settings=softly(2)), budget=BUDGET), report.console())
    head, *lines = capsys.readouterr().out.splitlines()[:4]
    assert head.split()[-4:] == ["gain", "violations", "gave", "way"]
    assert [line.split() for line in lines] == [
        ["0", "0", "0.0", "53.12", "53.12", "0.00", "1", "1"],
        ["1", "1", "2.0", "46.88", "3.12", "43.75", "0", "1"],
        ["2", "2", "18.0", "3.12", "3.12", "0.00", "0", "0", "proven"],
    ]


def test_without_time_to_find_out_what_gives_way_none_that_must_hold_is_left_broken_for_one_that_should(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guest 3 should stay on a, as today: that rule stays in force, while what does not hold today gives way."""
    real = clash.give_way
    monkeypatch.setattr(clash, "give_way", lambda *given: replace(real(*given), proven=False))
    rows = [node("a", 64, 34), node("b", 64), vm(1, "a", 2, tags="plb_pin_b"), vm(2, "a", 16), vm(3, "a", 16)]
    rules = (*softly(2).rules, RuleSetting("stay", pin=("3",), nodes=("a",), should=True))
    found = make_frontier(case_of(*rows, settings=ClusterPolicy(rules=rules), max_migrations=2), budget=BUDGET)
    assert column(found, "violations") == [1, 0, 0] and column(found, "gave_way") == [1, 1, 1]
    assert not any(column(found, "exact")) and not found.exact
    assert found.notes == (
        "within 0 to 2 migrations should-rules give way: soft: guest 2 (g2) on b (price 1)",
        "it was not found out in time what has to give way within every limit: there nothing is proven",
    )
    assert all(set(found.problem.migrated(point.assignment).tolist()) <= {0, 1} for point in found.front.points)


def test_against_gib_too_should_rules_hold_from_where_they_can() -> None:
    rows = [node("a", 64, 34), node("b", 64), vm(1, "a", 2, tags="plb_pin_b"), vm(2, "a", 16), vm(3, "a", 16)]
    found = make_frontier(case_of(*rows, settings=softly(2)), Against.GIB, BUDGET)
    assert column(found, "limit") == [0, 2, 18] and column(found, "gave_way") == [1, 1, 0]
    assert column(found, "violations") == [1, 0, 0]
    for limit in (0, 2, 10, 18):
        plan = found.plan(limit)
        assert len(plan.violations_after) == (limit < 2) and len(plan.gave_way) == (limit < 18)


@pytest.mark.parametrize(
    "seeds", [range(14), pytest.param(range(14, 600), marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_within_every_limit_as_many_rules_hold_as_where_a_plan_is_made_for_it_alone(
    tmp_path: Path, seeds: range
) -> None:
    several = 0
    for seed in seeds:
        rng = Random(seed)
        scenario = draw.draw(seed, 3, rng.randint(3, 6), ["should", "pin tags", *rng.sample(sorted(draw.FEATURES), 2)])
        given = scenario.config(tmp_path)
        try:
            case = prepare(collect(scenario.snapshot()), given.policy, given.cluster, given.apply)
        except InputError:
            continue
        found = make_frontier(case, budget=BUDGET)
        several += len(set(column(found, "gave_way"))) > 1
        for row, point in zip(found.frame.to_dict("records"), found.front.points, strict=True):
            policy = replace(given.policy, max_migrations=point.limit)
            alone = prepare(case.cluster, policy, given.cluster, given.apply)
            known = Outcomes(alone.formulation.problem.replace(goal=0, prefer=Cost.MIGRATIONS))
            assert row["violations"] == known.best(point.limit)[0], seed
            assert row["gave_way"] == len(alone.gave_way), seed
    assert several >= len(seeds) // 5


# ------------------------------------------------------------------------------ the command


def test_a_table_shows_what_is_gained_and_a_chart_where(cli: Cli, lopsided: Path) -> None:
    outcome = cli("frontier", "--snapshot", lopsided)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["limit", "migrations", "GiB", "spread", "bound", "gap", "gain"]
    chart = lines[lines.index("spread in points, against migrations") + 1 :]
    assert [line for line in lines if line.endswith("proven, knee")]
    assert "◆" in outcome.out and "●" in outcome.out and all(len(line) <= 100 for line in chart)
    assert any(line.startswith("all 6 limits are proven; ") for line in lines)
    assert lines[-1].startswith("knee: 1 migration, spread ")


def test_all_limits_are_shown_when_asked_for(cli: Cli, lopsided: Path) -> None:
    few, every = (cli("frontier", "--snapshot", lopsided, *words).out for words in ((), ("--all",)))
    assert "too little to show (--all)" in few and "(--all)" not in every
    table = every.partition("spread in points")[0]
    limits = [line.split()[0] for line in table.splitlines()[1:]]
    assert limits == [str(limit) for limit in range(6)]


@pytest.mark.parametrize("against", Against)
def test_json_is_as_described_and_says_what_the_frame_does(cli: Cli, lopsided: Path, against: Against) -> None:
    outcome = cli("frontier", "--snapshot", lopsided, "--against", against, "--output", "json", "--seed", 1)
    said = json.loads(outcome.out)
    assert [error.message for error in SCHEMA.iter_errors(said)] == []
    found = planner.load(str(lopsided)).frontier(against=against)
    assert [row["spread"] for row in said["points"]] == pytest.approx(column(found, "spread"))
    assert said["knee"] == found.knee and said["exact"] is True


def test_the_schema_describes_every_column_and_closed_choice() -> None:
    described = SCHEMA.schema["$defs"]["point"]
    assert list(described["properties"]) == described["required"] == [item.name for item in COLUMNS]
    top = SCHEMA.schema["properties"]
    assert top["against"]["enum"] == list(Against) and top["resources"]["items"]["enum"] == list(Resource)
    assert top["combine"]["enum"] == list(Combine) and top["mode"]["enum"] == list(Mode)
    assert top["format"]["const"] == FORMAT


@pytest.mark.parametrize(
    ("words", "says", "code"),
    [
        (("--against", "tape"), "tape", 64),
        (("--max-migrations", "-1"), "max_migrations", 78),
        (("--output", "commands"), "commands", 64),
    ],
)
def test_what_makes_no_sense_is_one_line(cli: Cli, lopsided: Path, words: Any, says: str, code: int) -> None:
    outcome = cli("frontier", "--snapshot", lopsided, *words)
    assert outcome.code == code and says in outcome.complaint


def test_a_front_against_nothing_that_there_is_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no frontier against tape: choose from migrations, gib"):
        planner.demo(Size.SMALL).frontier(against="tape")


def test_ctrl_c_ends_it_with_one_line(tmp_path: Path) -> None:
    outcome = interrupted("frontier", "--demo", "--time-limit", "60", directory=tmp_path)
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == "proxlb-plan: interrupted" and "Traceback" not in outcome.err
