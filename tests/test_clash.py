"""Claims about rules that cannot all hold: the conflict is named, what helps helps, and should-rules give way."""

from typing import Any

import pytest

from planner import clash
from planner.plan import Plan, PlanStatus
from planner.planning import make_plan, prepare
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy, RuleSetting, Unless
from solvers import Budget
from solvers.cheapest import Relaxation
from solvers.requirement import Only
from tests.rows import cluster, ct, node, vm

SOLVERS = ("greedy", "descent", "cpsat")


def rule(name: str, **asks: Any) -> RuleSetting:
    lists = {key: tuple(map(str, value)) if isinstance(value, list | tuple) else value for key, value in asks.items()}
    return RuleSetting(name, **lists)


def planned(
    *rows: Any, rules: tuple[RuleSetting, ...] = (), solver: str = "cpsat", drained: Any = (), maintenance: Any = (),
    **policy: Any,
) -> Plan:  # fmt: skip
    """A plan on nodes a, b and c of 64 GiB."""
    settings = ClusterPolicy(rules=rules, maintenance_nodes=(*maintenance, *drained))
    source = cluster(node("a"), node("b"), node("c"), *rows)
    return make_plan(prepare(source, Policy(time_limit=5, **policy), settings), solver, drained=drained)


def targets(plan: Plan) -> dict[int, str]:
    return {m.vmid: m.target for m in plan.migrations}


# Conflicts


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_conflict_is_named_as_the_operator_wrote_it(solver: str) -> None:
    guests = (
        vm(1, "a", tags="plb_affinity_x;plb_anti_affinity_y"),
        vm(2, "b", tags="plb_affinity_x;plb_anti_affinity_y"),
    )
    plan = planned(*guests, vm(3, "c"), solver=solver)
    assert plan.status is PlanStatus.INFEASIBLE and plan.conflict_minimal
    assert set(plan.conflict) == {
        "plb_affinity_x: guests 1 (g1), 2 (g2) on one node",
        "plb_anti_affinity_y: guests 1 (g1), 2 (g2) each on a node of its own",
    }
    assert len(plan.helps) == 1 and plan.helps[0].startswith("give up plb_a")


def test_a_guest_that_is_locked_on_a_node_in_maintenance_is_part_of_the_conflict() -> None:
    plan = planned(vm(1, "a", lock="backup"), vm(2, "a"), maintenance=("a",))
    assert targets(plan).keys() == {2}
    assert set(plan.conflict) == {
        "node a is in maintenance: guest 1 (g1) elsewhere",
        "guest 1 (g1) stays on a: it is locked (backup)",
    }
    assert plan.helps == ("let guests be on a",)


def test_a_limit_can_be_what_conflicts() -> None:
    plan = planned(vm(1, "a"), vm(2, "a"), maintenance=("a",), max_migrations=1)
    assert plan.status is PlanStatus.INFEASIBLE and len(plan.migrations) == 1
    assert "at most 1 migrations" in plan.conflict and plan.helps == ("allow more migrations",)


def test_more_guests_than_racks_are_too_many() -> None:
    guests = [vm(vmid, on) for vmid, on in ((1, "a"), (2, "b"), (3, "c"))]
    settings = ClusterPolicy(
        domains={"rack": {"a": "x", "b": "x", "c": "y"}}, rules=(rule("r", apart=[1, 2, 3], per="rack"),)
    )
    source = cluster(node("a"), node("b"), node("c"), *guests)
    plan = make_plan(prepare(source, Policy(time_limit=5), settings))
    assert plan.conflict == ("r: guests 1 (g1), 2 (g2), 3 (g3) each on a rack of its own",)
    assert plan.violations_after == ("r: guest 1 (g1) and guest 2 (g2) are both on a or b",)


def test_where_all_rules_can_hold_there_is_no_conflict() -> None:
    plan = planned(vm(1, "a", tags="plb_anti_affinity_x"), vm(2, "a", tags="plb_anti_affinity_x"))
    assert plan.violations_after == () == plan.conflict == plan.helps


def test_memory_that_no_node_has_is_named() -> None:
    plan = planned(vm(1, "a", gib=50), vm(2, "b", gib=50), vm(3, "c", gib=50), maintenance=("a",))
    assert plan.status is PlanStatus.INFEASIBLE
    assert {line for line in plan.conflict if line.startswith("room")} == {"room of b (memory)", "room of c (memory)"}


# Should-rules


def nice(price: float = 1.0, name: str = "nice", **asks: Any) -> RuleSetting:
    return rule(name, should=True, price=price, **asks)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_should_rule_holds_where_it_can(solver: str) -> None:
    plan = planned(vm(1, "a"), vm(2, "a"), rules=(nice(apart=[1, 2]),), solver=solver)
    assert plan.gave_way == () == plan.violations_after
    assert len(targets(plan)) == 1


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_should_rule_gives_way_to_one_that_must_hold(solver: str) -> None:
    must = rule("must", pin=[1, 2], nodes=["a"])
    plan = planned(vm(1, "a"), vm(2, "b"), rules=(nice(apart=[1, 2]), must), solver=solver)
    assert targets(plan)[2] == "a"
    assert plan.gave_way == ("nice: guests 1 (g1), 2 (g2) each on a node of its own (price 1)",)
    assert plan.violations_after == () == plan.conflict  # what gave way is not broken


@pytest.mark.parametrize(("one", "other", "target"), [(1, 2, "b"), (2, 1, "a")])
def test_of_should_rules_the_cheaper_gives_way(one: float, other: float, target: str) -> None:
    rules = (nice(one, "one", pin=[1], nodes=["a"]), nice(other, "other", pin=[1], nodes=["b"]))
    plan = planned(vm(1, "c"), vm(2, "c"), rules=rules)
    assert targets(plan)[1] == target
    assert len(plan.gave_way) == 1 and plan.gave_way[0].endswith("(price 1)")


def test_of_a_pin_those_guests_are_released_that_cannot_keep_it() -> None:
    rules = (nice(pin=[1, 2], nodes=["a"]), rule("must", apart=[1, 2]))
    plan = planned(vm(1, "c"), vm(2, "c"), rules=rules)
    assert "a" in targets(plan).values() and len(plan.gave_way) == 1


def test_where_too_many_should_be_apart_no_more_share_a_node_than_need_to() -> None:
    guests = [vm(vmid, "a") for vmid in range(1, 6)]
    plan = planned(*guests, rules=(nice(apart=[1, 2, 3, 4, 5]),))
    on = [targets(plan).get(vmid, "a") for vmid in range(1, 6)]
    assert max(map(on.count, "abc")) == 2


def test_a_should_rule_of_today_gives_way_to_maintenance() -> None:
    rules = (nice(apart=[1, 2]), rule("only", pin=[1, 2], nodes=["a", "b"]))
    plan = planned(vm(1, "a"), vm(2, "b"), rules=rules, maintenance=("a",))
    assert targets(plan) == {1: "b"} and len(plan.gave_way) == 1


def crowds(plan: Plan, homes: dict[int, str]) -> list[int]:
    """Numbers of guests on nodes with more than one."""
    at = [targets(plan).get(vmid, home) for vmid, home in homes.items()]
    return [count for node in "abc" if (count := at.count(node)) > 1]


def test_a_rule_that_gives_way_for_one_guest_holds_for_the_others() -> None:
    # 3 is alone on b, 4 alone on c: that 1 and 2 cannot be parted is no reason to put another two together.
    guests = [vm(1, "a", gib=8, lock="backup"), vm(2, "a", gib=8, lock="backup"), vm(3, "b", gib=8), vm(4, "c", gib=2)]
    plan = planned(*guests, vm(5, "b", gib=24), rules=(nice(apart=[1, 2, 3, 4]),), balanciness=0)
    assert len(plan.gave_way) == 1
    assert crowds(plan, {1: "a", 2: "a", 3: "b", 4: "c"}) == [2]


def test_a_group_that_cannot_be_all_on_one_node_is_not_torn_apart() -> None:
    guests = [*(vm(vmid, "a", gib=10) for vmid in (1, 2, 3)), vm(4, "b", gib=50), vm(5, "a", gib=20)]
    plan = planned(*guests, rules=(nice(together=[1, 2, 3, 4]),), balanciness=0)
    at = {vmid: targets(plan).get(vmid, "a") for vmid in (1, 2, 3)}
    assert len(plan.gave_way) == 1 and len(set(at.values())) == 1


def test_a_should_rule_does_not_block_the_way_of_one_that_must_hold() -> None:
    # Guest 1 has to come to b, 2 should not be with it and can leave only once there is room on a.
    rules = (rule("must", pin=[1], nodes=["b"]), nice(apart=[1, 2]), rule("two", pin=[2], nodes=["a", "b"]))
    plan = planned(vm(1, "a", gib=30), vm(2, "b", gib=30), vm(3, "a", gib=25, lock="backup"), rules=rules)
    assert targets(plan) == {1: "b", 2: "a"}
    assert plan.gave_way == () == plan.violations_after == plan.stranded


@pytest.mark.parametrize("solver", SOLVERS)
def test_within_a_limit_rules_that_must_hold_are_repaired_before_one_that_should(solver: str) -> None:
    """That a larger limit would do for all of them is no help: the one migration is for one that must hold."""
    guests = [vm(1, "a", 2, tags="plb_pin_b"), vm(2, "a", 2, tags="plb_pin_b"), vm(3, "a", 16), vm(4, "a", 16)]
    plan = planned(
        *guests, rules=(rule("r", pin=[3], nodes="b", should=True, price=5),), max_migrations=1, solver=solver
    )
    assert plan.gave_way == ("r: guest 3 (g3) on b (price 5)",)
    assert len(plan.violations_after) == 1 and targets(plan).keys() <= {1, 2}


def test_where_time_is_up_no_rule_that_must_hold_is_given_up_for_one_that_should(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer that is not proven may give up what must hold: then all gives way that should hold and does not."""

    def hasty(problem: Any, requirements: Any, *_: Any) -> Relaxation:
        lost = [
            i for i, item in enumerate(requirements) if isinstance(item, Only) and problem.origin[item.guests[0]] == 0
        ]
        return Relaxation((lost[0],), problem.origin, 1, least=False)  # the first of them, which must hold

    monkeypatch.setattr(clash, "cheapest", hasty)
    guests = [vm(1, "a", 2, tags="plb_pin_b"), vm(3, "a", 16)]
    plan = planned(*guests, rules=(rule("r", pin=[3], nodes="b", should=True, price=5),), max_migrations=1)
    assert targets(plan) == {1: "b"} and plan.gave_way == ("r: guest 3 (g3) on b (price 5)",)


def test_without_a_migration_what_does_not_hold_today_gives_way_also_where_a_node_is_too_full() -> None:
    guests = [vm(1, "a", 40), vm(2, "a", 40)]
    plan = planned(*guests, rules=(rule("r", pin=[2], nodes=["b"], should=True, price=5),), max_migrations=0)
    assert plan.gave_way == ("r: guest 2 (g2) on b (price 5)",) and len(plan.violations_after) == 1


def test_what_gave_way_is_no_proof_of_the_spread() -> None:
    rules = (nice(name="one", pin=[1], nodes=["a"]), nice(name="other", pin=[1], nodes=["b"]))
    plan = planned(vm(1, "a", gib=20), vm(2, "a", gib=20), rules=rules)
    assert plan.status is PlanStatus.FEASIBLE and len(plan.gave_way) == 1


def test_advice_names_no_more_than_it_takes() -> None:
    guests = [vm(vmid, "a", tags="plb_pin_a") for vmid in (1, 2, 3)]
    plan = planned(*guests, vm(4, "b", tags="plb_pin_a"), maintenance=("a",))
    assert plan.helps == ("let guests be on a",)


def test_settings_that_leave_too_little_room_are_what_helps() -> None:
    plan = planned(*(vm(vmid, "a") for vmid in range(1, 5)), max_guests={"default": 1})
    assert len(plan.helps) == 1 and plan.helps[0].endswith("(max_guests)")


# Repairs only, and draining


@pytest.mark.parametrize("solver", SOLVERS)
def test_repair_only_repairs_and_balances_nothing(solver: str) -> None:
    pair = "plb_anti_affinity_x"
    guests = [vm(vmid, "a") for vmid in range(3, 9)]
    plan = planned(vm(1, "a", tags=pair), vm(2, "a", tags=pair), *guests, solver=solver, repair_only=True)
    assert len(plan.migrations) == 1 and plan.migrations[0].vmid in (1, 2)
    assert plan.violations_after == ()


@pytest.mark.parametrize("solver", ["descent", "cpsat"])
@pytest.mark.parametrize(("one", "two", "spread"), [(16, 2, 18.75), (4, 16, 25.0), (8, 8, 3.125)])
def test_of_repairs_with_as_few_migrations_the_one_that_leaves_the_smallest_spread(
    solver: str, one: float, two: float, spread: float
) -> None:
    pair = "plb_affinity_x"
    source = cluster(
        node("a", 64, 24), node("b", 64, 40), node("c", 64, 30), vm(1, "a", gib=one, tags=pair),
        vm(2, "b", gib=two, tags=pair), vm(3, "a", gib=24 - one), vm(4, "b", gib=40 - two), vm(5, "c", gib=30),
    )  # fmt: skip
    plan = make_plan(prepare(source, Policy(repair_only=True)), solver, Budget(seconds=4, work=2))
    assert len(plan.migrations) == 1 and plan.violations_after == ()
    assert plan.spread.after == pytest.approx(spread, abs=0.01)


def test_repair_only_proves_that_no_fewer_migrations_would_do() -> None:
    guests = [vm(vmid, "a", tags="plb_anti_affinity_x") for vmid in (1, 2, 3)]
    plan = planned(*guests, repair_only=True)
    assert plan.status is PlanStatus.OPTIMAL and len(plan.migrations) == 2


def test_with_nothing_to_repair_repair_only_does_nothing_whatever_the_balance() -> None:
    plan = planned(vm(1, "a", gib=30), vm(2, "a", gib=20), repair_only=True)
    assert plan.status is PlanStatus.NO_ACTION and plan.migrations == () and plan.spread.before > 70


@pytest.mark.parametrize("solver", SOLVERS)
def test_draining_migrates_the_guests_of_a_node_alone_and_spreads_them(solver: str) -> None:
    guests = [vm(vmid, "a", gib=8) for vmid in (1, 2, 3, 4)] + [vm(vmid, "b", gib=2) for vmid in (5, 6, 7, 8)]
    plan = planned(*guests, ct(9, "b", gib=2), solver=solver, drained=("a",))
    assert targets(plan).keys() == {1, 2, 3, 4} and plan.drained == ("a",)
    assert 1 <= list(targets(plan).values()).count("b") <= 2


def test_draining_migrates_others_where_the_node_cannot_be_emptied_without() -> None:
    guests = (vm(1, "a", gib=40, tags="plb_pin_a;plb_pin_b"), vm(2, "b", gib=30))
    plan = planned(*guests, drained=("a",))
    assert targets(plan) == {1: "b", 2: "c"} and plan.drained == () and plan.violations_after == ()


def test_a_guest_for_repairs_only_is_migrated_for_a_repair_and_for_nothing_else() -> None:
    calm = rule("calm", stay=[1, 2], unless=Unless.REPAIR)
    quiet = planned(vm(1, "a", gib=20), vm(2, "a", gib=20), vm(3, "a", gib=10), rules=(calm,))
    assert targets(quiet).keys() == {3}
    repaired = planned(vm(1, "a", gib=20), vm(2, "b", gib=20), rules=(calm,), maintenance=("a",))
    assert targets(repaired).keys() == {1}
