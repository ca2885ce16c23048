"""Claims about what can be asked of a plan: limits, several resources, the cheapest way, and nodes that are stuck."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner import report
from planner.errors import ConfigError
from planner.plan import PlanStatus
from planner.planning import make_plan, prepare
from planner.policy import Cheapest, Combine, Policy, Resource
from solvers import Cost, Level
from tests.commandline import Cli, alone, calling, guest_row, node_row, write_snapshot
from tests.rows import cluster, formulated, node, vm

BOTH = (Resource.MEMORY, Resource.CPU)


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone(monkeypatch, tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return calling(capsys)


@pytest.fixture
def lopsided(tmp_path: Path) -> Path:
    """Three nodes of 64 GiB, one with eight guests of 4 GiB; 53 % against 3 %."""
    guests = [guest_row(vmid, "pve1") for vmid in range(100, 108)]
    return write_snapshot(tmp_path / "s.json", node_row("pve1", used=34), node_row("pve2"), node_row("pve3"), *guests)


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """What balances memory does not balance processors: pve1 has the memory, pve2 the work."""
    rows = [node_row("pve1", used=34, cpu=0.1), node_row("pve2", used=10, cpu=0.6), node_row("pve3", cpu=0.1)]
    rows += [guest_row(vmid, "pve1", cpu=0.01) for vmid in range(100, 108)]
    rows += [guest_row(vmid, "pve2", 1, maxcpu=2, cpu=0.5) for vmid in range(200, 208)]
    return write_snapshot(tmp_path / "t.json", *rows)


@pytest.fixture
def crammed(tmp_path: Path) -> Path:
    """pve3 is full of guests that are not to be touched; pve1 and pve2 could be evened out."""
    rows = [node_row("pve1", used=26), node_row("pve2", used=2), node_row("pve3", used=60.8)]
    rows += [guest_row(vmid, "pve1") for vmid in range(100, 106)]
    rows += [guest_row(200 + i, "pve3", 29, tags="plb_ignore") for i in range(2)]
    return write_snapshot(tmp_path / "c.json", *rows)


def plan(cli: Cli, file: Path, *words: object) -> Any:
    return json.loads(cli("--snapshot", file, "--time-limit", 5, "--output", "json", *words).out)


def moves(document: Any) -> list[Any]:
    return [migration for wave in document["waves"] for migration in wave]


# The limit on GiB


@pytest.mark.parametrize("solver", ["greedy", "proxlb", "descent", "cpsat"])
def test_no_solver_copies_more_than_the_limit(cli: Cli, lopsided: Path, solver: str) -> None:
    found = plan(cli, lopsided, "--max-gib", 9, "--solver", solver, "--balanciness", 0)
    assert found["max_gib"] == 9
    assert len(moves(found)) == 2


def test_the_limit_is_shown_beside_what_is_copied(cli: Cli, lopsided: Path) -> None:
    assert "2 migrations, 8.0 of at most 9 GiB" in cli("--snapshot", lopsided, "--max-gib", 9, "--time-limit", 5).out
    assert moves(plan(cli, lopsided, "--max-gib", 0)) == []


def test_limits_beyond_all_measure_are_no_limits(cli: Cli, lopsided: Path) -> None:
    found = plan(cli, lopsided, "--max-gib", 1e30, "--max-migrations", 10**30)
    assert moves(found) == moves(plan(cli, lopsided))


# The cheapest way


def test_until_balanced_plans_no_more_than_is_needed(cli: Cli, lopsided: Path) -> None:
    outcome = cli("--snapshot", lopsided, "--until-balanced", "--balanciness", 30, "--time-limit", 5)
    assert outcome.code == 0
    assert "optimal (proven: no plan within balanciness is cheaper)" in outcome.out
    assert "cheapest: proven" in outcome.out and "tolerated 30; 3 migrations" in outcome.out
    found = plan(cli, lopsided, "--until-balanced", "--balanciness", 30)
    assert (found["cheapest"], found["cost_bound"], len(moves(found))) == ("migrations", 3, 3)
    assert plan(cli, lopsided, "--balanciness", 30)["cheapest"] is None


def test_fewest_migrations_and_fewest_gib_are_different_plans() -> None:
    rows = [node("a", 100, used=40), node("b", 100), *(vm(vmid, "a", 4) for vmid in range(1, 6)), vm(9, "a", 20)]
    plans = [
        make_plan(prepare(cluster(*rows), Policy(balanciness=25, until_balanced=True, cheapest=cheapest)), "cpsat")
        for cheapest in Cheapest
    ]
    fewest, least = ((len(p.migrations), p.moved_gib) for p in plans)
    assert (fewest, least) == ((1, 20.0), (2, 8.0))
    assert [(p.status.value, p.cost_gap) for p in plans] == [("optimal", 0.0), ("optimal", 0.0)]


def test_a_heuristic_says_how_far_it_may_be_from_the_cheapest(cli: Cli, tmp_path: Path) -> None:
    rows = [node_row("pve1", used=42), node_row("pve2"), guest_row(100, "pve1", 30)]
    rows += [guest_row(vmid, "pve1", 2) for vmid in range(101, 106)]
    file = write_snapshot(tmp_path / "s.json", *rows)
    words = ("--snapshot", file, "--until-balanced", "--balanciness", 50, "--cheapest", "gib")
    outcome = cli(*words, "--solver", "greedy")
    assert "greedy: feasible (within balanciness, not proven to be the cheapest)" in outcome.out
    assert "at least 4.0 GiB are needed, gap 26.0" in outcome.out
    assert "cheapest: proven" in cli(*words, "--time-limit", 5).out


def test_what_ends_at_balanciness_is_not_called_proven() -> None:
    rows = [node("a", 100), node("b", 100), node("c", 100), vm(1, "a", 8, tags="plb_anti_affinity_x")]
    rows += [vm(2, "a", 2, tags="plb_anti_affinity_x"), vm(3, "a", 2), vm(4, "b", 4), vm(5, "b", 4), vm(6, "c", 6)]
    for solver in ("descent", "cpsat"):
        plan = make_plan(prepare(cluster(*rows), Policy(balanciness=10)), solver)
        assert plan.violations_after == ()
        assert plan.status is PlanStatus.FEASIBLE or plan.gap == 0
        if plan.status is PlanStatus.FEASIBLE:
            assert "a smaller spread was not looked for" in report.verdict(plan)


def test_a_first_level_at_balanciness_proves_nothing_where_the_second_is_not() -> None:
    rows = [node("a", 100, threads=16), node("b", 100, threads=16), vm(20, "a", 4, maxcpu=16, cpu=0.9)]
    rows += [vm(vmid, "a", 4, maxcpu=1, cpu=0.0) for vmid in range(1, 9)]
    policy = Policy((Resource.MEMORY, Resource.CPU), combine=Combine.ORDER, balanciness=20, until_balanced=True)
    plan = make_plan(prepare(cluster(*rows), policy), "cpsat")
    assert not plan.balanced and plan.status is PlanStatus.FEASIBLE


def test_out_of_reach_is_said_and_the_best_effort_is_shown(cli: Cli, lopsided: Path) -> None:
    outcome = cli("--snapshot", lopsided, "--until-balanced", "--max-migrations", 1, "--time-limit", 5)
    assert "1 of at most 1 migrations" in outcome.out and "bound" in outcome.out
    assert "balanciness 10 is out of reach: proven" in outcome.out


# Several resources


def test_each_resource_has_its_table_and_its_spread(cli: Cli, torn: Path) -> None:
    outcome = cli("--snapshot", torn, "--resource", "memory,cpu", "--time-limit", 1)
    assert outcome.code == 0
    assert "memory used" in outcome.out and "cpu used" in outcome.out
    assert "the spread is the worst of: memory 50.00 -> " in outcome.out
    found = plan(cli, torn, "--resource", "memory,cpu", "--time-limit", 1)
    assert found["resources"] == ["memory", "cpu"] == list(found["nodes"][0]["load_before"])
    assert found["spread"]["after"] == max(change["after"] for change in found["spreads"].values())
    assert found["spreads"]["cpu"]["after"] < 10 and found["spreads"]["memory"]["after"] < 10


def test_one_resource_looks_as_it_always_did(cli: Cli, torn: Path) -> None:
    out = cli("--snapshot", torn, "--time-limit", 1).out
    assert out.startswith("memory used") and "cpu" not in out and "the spread is" not in out


def test_ways_to_combine_lead_to_different_plans(cli: Cli, torn: Path) -> None:
    words = ("--resource", "memory,cpu", "--max-migrations", 3, "--balanciness", 0)
    spreads = {
        combine: {name: change["after"] for name, change in plan(cli, torn, *words, *more)["spreads"].items()}
        for combine, more in {
            "memory": ("--combine", "order"),
            "cpu": ("--combine", "weighted", "--weight", "cpu=50"),
            "worst": (),
        }.items()
    }
    assert spreads["memory"]["memory"] < spreads["worst"]["memory"] and spreads["cpu"]["cpu"] < spreads["worst"]["cpu"]
    assert max(spreads["worst"].values()) < min(max(spreads["memory"].values()), max(spreads["cpu"].values()))


def test_one_unbalanced_resource_is_enough_to_plan(cli: Cli, torn: Path) -> None:
    words = ("--balanciness", 55)  # memory: 50 points, processors: 50 points
    assert plan(cli, torn, *words, "--resource", "memory,cpu")["status"] == "no_action"
    rows = [
        node_row("pve1", cpu=0.9),
        node_row("pve2"),
        *(guest_row(vmid, "pve1", 1, cpu=0.7) for vmid in (1, 2, 3, 4)),
    ]
    file = write_snapshot(torn.with_name("u.json"), *rows)
    assert plan(cli, file)["status"] == "no_action"
    assert moves(plan(cli, file, "--resource", "memory,cpu"))
    assert moves(plan(cli, file, "--resource", "memory,cpu", "--combine", "order"))


def test_a_policy_becomes_levels_of_whole_numbers() -> None:
    rows = (node("a"), node("b"), vm(1, "a"))
    weighted = Policy(BOTH, combine=Combine.WEIGHTED, weights={"cpu": 0.25})
    assert formulated(cluster(*rows), weighted).problem.aims == (Level((0, 1), (1000, 250)),)
    assert formulated(cluster(*rows), Policy(BOTH, combine=Combine.ORDER)).problem.aims == (Level((0,)), Level((1,)))
    assert formulated(cluster(*rows), Policy(BOTH)).problem.aims == (Level((0, 1)),)
    problem = formulated(cluster(*rows), Policy(until_balanced=True, max_gib=1.5)).problem
    assert (problem.goal, problem.prefer, problem.max_moved_mib) == (100_000, Cost.MIGRATIONS, 1536)
    problem = formulated(cluster(*rows), Policy(until_balanced=True, cheapest=Cheapest.GIB)).problem
    assert (problem.goal, problem.prefer, problem.max_moved_mib) == (100_000, Cost.MIB, None)
    assert formulated(cluster(*rows), Policy(cheapest=Cheapest.MIGRATIONS)).problem.prefer is Cost.MIB


def test_weights_without_effect_are_noted(cli: Cli, torn: Path) -> None:
    outcome = cli("--snapshot", torn, "--solver", "greedy", "--resource", "memory,cpu", "--weight", "cpu=2")
    assert "note: weights have no effect: resources are combined by worst, not weighted" in outcome.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--resource memory,tape", 64, "no resource tape: choose from memory, cpu, disk"),
        ("--resource ,", 64, "no resource"),
        ("--resource cpu,cpu", 78, "policy.resource names a resource twice: cpu, cpu"),
        ("--weight cpu", 64, "write RESOURCE=WEIGHT"),
        ("--weight cpu=0", 78, 'policy.weights.cpu on the command line: "0" is not more than 0'),
        ("--weight tape=1", 78, "policy.weights names tape, which is no resource"),
        ("--combine best", 64, "best"),
        ("--cheapest time", 64, "time"),
        ("--max-gib -1", 78, "policy.max_gib on the command line: -1.0 is less than 0"),
        ("--max-gib much", 64, "--max-gib"),
    ],
)
def test_a_bad_value_gets_one_line(cli: Cli, words: str, code: int, said: str) -> None:
    outcome = cli("--demo", "--solver", "greedy", *words.split())
    assert said in outcome.complaint
    assert (outcome.code, outcome.out) == (code, "")


def test_weights_of_no_resource_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"policy\.weights names tape, which is no resource: there are memory, cpu, disk"
    ):
        formulated(cluster(node("a"), node("b")), Policy(weights={"tape": 1.0}))


# Nodes that are stuck


def test_a_node_full_of_ignored_guests_does_not_hide_the_others(cli: Cli, crammed: Path) -> None:
    outcome = cli("--snapshot", crammed, "--time-limit", 5)
    assert outcome.code == 0
    assert (
        "nothing can change the load of pve3 (95.0 %): the spread over the other nodes is 37.50 -> 0.00" in outcome.out
    )
    assert "3 migrations" in outcome.out
    found = plan(cli, crammed)
    assert found["stuck"] == [{"node": "pve3", "resource": "memory", "load": pytest.approx(95, abs=0.001)}]
    assert found["spread"]["changeable_before"] == 37.5 and found["spread"]["changeable_after"] == 0
    assert found["spread"]["before"] > found["spread"]["after"] > 70


def test_where_the_others_are_balanced_nothing_is_planned(cli: Cli, crammed: Path) -> None:
    outcome = cli("--snapshot", crammed, "--balanciness", 40)
    assert "no_action" in outcome.out
    assert "nothing can change the load of pve3 (95.0 %): the spread over the other nodes is 37.50\n" in outcome.out


def test_with_several_resources_the_stuck_one_is_named(cli: Cli, crammed: Path) -> None:
    outcome = cli("--snapshot", crammed, "--resource", "memory,cpu", "--time-limit", 1)
    assert "nothing can change the load of pve3 (memory 95.0 %): " in outcome.out


def test_without_a_stuck_node_nothing_is_said_of_it(cli: Cli, lopsided: Path) -> None:
    found = plan(cli, lopsided, "--solver", "greedy")
    assert (found["stuck"], found["spread"]["changeable_before"]) == ([], None)
    assert "nothing can change" not in cli("--snapshot", lopsided, "--solver", "greedy").out
