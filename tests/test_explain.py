"""Claims about explanations: what keeps a guest from each node, and that the checker agrees with every word of it."""

import json
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import planner
from planner import plan as plans
from planner import report, report_why
from planner.case import Case
from planner.collect import collect
from planner.errors import InputError, PlannerError
from planner.plan import Plan
from planner.planning import make_plan, prepare
from planner.policy import Cluster as ClusterPolicy
from planner.policy import GuestType, Overcommit, Policy, RuleSetting, Unless
from planner.rules import NodeState
from planner.verdict import Ground, Verdict
from planner.why import Explanation, explain_guest
from solvers import Budget, check
from solvers.check import Rule
from tests.commandline import Cli, alone, calling, guest_row, node_row, write_config, write_snapshot
from tests.fakecluster import serving, small_cluster
from tests.rows import Row, cluster, ct, node, offline, stopped, storage, vm, volume
from tests.scenario import HERE, load

BUDGET = Budget(seconds=20, work=0.02)
"""Counts work, so that an answer does not depend on how busy the machine is."""
SCHEMA = json.loads((files("planner") / "schemas" / "explanation.json").read_text(encoding="utf-8"))
BARRED = {"running": 1, "not_allowed_nodes": {"b": {"unavailable_storages": ["ceph"]}}}


def case_of(*rows: Row, settings: ClusterPolicy | None = None, answers: Any = None, **policy: Any) -> Case:
    return prepare(cluster(*rows, **(answers or {})), Policy(**{"balanciness": 0} | policy), settings)


def explained(vmid: int, *rows: Row, solver: str = "descent", **more: Any) -> Explanation:
    case = case_of(*rows, **more)
    return explain_guest(case, make_plan(case, solver, BUDGET), vmid)


def of(said: Explanation, name: str) -> Verdict:
    return next(verdict for verdict in said.verdicts if verdict.node == name)


def nodes(*used: float, gib: float = 64) -> list[Row]:
    """Nodes a, b, c, ... of which so many GiB are in use."""
    return [node(name, gib, amount) for name, amount in zip("abcd", used, strict=False)]


# ---------------------------------------------------------------- what speaks for and against a node


def test_a_migration_is_explained_by_the_spread_with_and_without_it() -> None:
    said = explained(1, *nodes(24, 0, gib=100), vm(1, "a", 12), vm(2, "a", 12), max_migrations=1)
    migrated, other = (1, 2) if said.target == "b" else (2, 1)
    said = explained(migrated, *nodes(24, 0, gib=100), vm(1, "a", 12), vm(2, "a", 12), max_migrations=1)
    assert (said.node, said.target, said.spread, said.spread_without) == ("a", "b", 0, 24)
    assert said.why == "balance: from a to b; without it the spread would be 24.00 instead of 0.00"
    assert of(said, "a").says == "here now; possible; the spread would be 24.00 instead of 0.00"
    assert (of(said, "b").says, of(said, "b").ground) == ("goes here", Ground.PLANNED)
    assert (of(said, "a").load_before, of(said, "a").load_after) == (24, 12)
    stays = explained(other, *nodes(24, 0, gib=100), vm(1, "a", 12), vm(2, "a", 12), max_migrations=1)
    assert (stays.target, stays.spread_without) == ("a", None)
    assert stays.why == "the plan would be no better with it on another node"
    assert of(stays, "a").says == "here now, and stays"
    assert of(stays, "b").says == (
        "beyond the limit: 2 migrations, at most 1 allowed; the spread would be 24.00 instead of 0.00"
    )


def test_a_repair_is_explained_by_what_would_stay_broken() -> None:
    rows = [*nodes(8, 0, 0), vm(1, "a", 4, tags="plb_anti_affinity_x"), vm(2, "a", 4, tags="plb_anti_affinity_x")]
    case = case_of(*rows)
    plan = make_plan(case, "descent", BUDGET)
    said = explain_guest(case, plan, plan.migrations[0].vmid)
    here = of(said, "a")
    assert said.why.startswith("repairs: plb_anti_affinity_x: ")
    assert (here.ground, here.rules) == (Ground.UNREPAIRED, ("plb_anti_affinity_x",))
    assert here.says.startswith("here now; would leave broken: plb_anti_affinity_x: guest 1 (g1) and guest 2 (g2)")


def test_the_guest_in_the_way_is_named() -> None:
    rows = [*nodes(8, 12, 0), vm(1, "a", 8, tags="plb_anti_affinity_x"), vm(2, "b", 8, tags="plb_anti_affinity_x")]
    said = explained(1, *rows, vm(3, "b", 4), balanciness=100)
    assert of(said, "b").says == "would break plb_anti_affinity_x: guest 2 (g2) is there"
    assert (of(said, "b").ground, of(said, "b").rules) == (Ground.RULE, ("plb_anti_affinity_x",))
    assert said.rules == ("plb_anti_affinity_x: guests 1 (g1), 2 (g2) each on a node of its own",)


def test_failure_domains_and_how_many_may_share_one_are_named() -> None:
    racks = {"rack": {"a": "left", "b": "right", "c": "right"}}
    rule = RuleSetting(name="racks", apart=("@tag-db",), per="rack")
    rows = [*nodes(4, 4, 0), vm(1, "a", 4, tags="db"), vm(2, "b", 4, tags="db")]
    said = explained(1, *rows, settings=ClusterPolicy(domains=racks, rules=(rule,)))
    assert of(said, "c").says == "would break racks: guest 2 (g2) is in the same rack"
    few = RuleSetting(name="few", apart=("@tag-db",), at_most=2)
    rows = [*nodes(4, 8), vm(1, "a", 4, tags="db"), vm(2, "b", 4, tags="db"), vm(3, "b", 4, tags="db")]
    said = explained(1, *rows, settings=ClusterPolicy(rules=(few,)), balanciness=50)
    assert of(said, "b").says == "would break few: guest 2 (g2) and guest 3 (g3) are there, at most 2 may be"
    assert said.why == "no other node can take it"


def test_of_two_groups_that_are_kept_apart_only_the_other_one_is_in_the_way() -> None:
    rule = RuleSetting(name="prod from test", apart=("@tag-prod",), against=("@tag-test",))
    rows = [*nodes(4, 8), vm(1, "a", 4, tags="prod"), vm(2, "b", 4, tags="test"), vm(3, "b", 4, tags="test")]
    said = explained(1, *rows, settings=ClusterPolicy(rules=(rule,)))
    assert of(said, "b").says == "would break prod from test: guest 2 (g2) and guest 3 (g3) are there"


def test_a_pin_is_named_with_its_nodes() -> None:
    said = explained(1, *nodes(4, 0, 0), vm(1, "a", 4, tags="plb_pin_a"))
    assert {of(said, name).says for name in "bc"} == {"would break plb_pin_a: guest 1 (g1) on a"}
    assert said.rules == ("plb_pin_a: guest 1 (g1) on a",)


@pytest.mark.parametrize(
    ("gib", "words"), [(36.8, "3.2 GiB left"), (40, "0.0 GiB left"), (42, "already 2.0 GiB too full")]
)
def test_too_little_room_is_told_in_numbers(gib: float, words: str) -> None:
    rows = [node("a", 100, 16), node("b", 40, gib), vm(1, "a", 16), vm(2, "b", gib, tags="plb_pin_b")]
    said = explained(1, *rows, balanciness=100)
    assert of(said, "b").says == f"no room: needs 16.0 GiB of memory, {words}"
    assert of(said, "b").ground is Ground.ROOM


def test_vcpus_number_of_guests_and_storages_are_room_as_well() -> None:
    rows = [*nodes(8, 4), vm(1, "a", 8, maxcpu=6), vm(2, "b", 4, maxcpu=30)]
    said = explained(1, *rows, overcommit={"default": Overcommit(cpu=2)}, balanciness=100)
    assert of(said, "b").says == "no room: needs 6.0 vCPUs, 2.0 vCPUs left"
    said = explained(1, *rows, max_guests={"b": 1}, balanciness=100)
    assert of(said, "b").says == "no room for more guests"
    disks = [storage("fast", "a", 100, 50), storage("fast", "b", 100, 70)]
    content = {f"/nodes/{name}/storage/fast/content": [] for name in "ab"}
    content["/nodes/a/storage/fast/content"] = [volume(1, 50, volid="fast:vm-1-disk-0")]
    said = explained(1, *rows, *disks, answers=content, with_local_disks=True, balanciness=100)
    assert of(said, "b").says == "no room: needs 50.0 GiB on storage fast, 30.0 GiB left"
    assert said.local_disk_mib == 50 * 1024


def test_what_proxmox_refuses_is_told_in_its_words() -> None:
    rows = [*nodes(8, 0, 0), vm(1, "a", 8)]
    said = explained(1, *rows, answers={"/nodes/a/qemu/1/migrate": BARRED}, balanciness=100)
    assert of(said, "b").says == "Proxmox VE refuses: it lacks storage ceph"
    assert of(said, "b").ground is Ground.REFUSED
    assert of(said, "c").ground is Ground.POSSIBLE


def test_nodes_that_take_nobody_are_called_what_they_are() -> None:
    settings = ClusterPolicy(maintenance_nodes=("b",), ignore_nodes=("c",))
    said = explained(1, *nodes(8, 0, 0), offline("d"), vm(1, "a", 8), settings=settings)
    assert [of(said, name).says for name in "bcd"] == ["in maintenance", "ignored", "offline"]
    assert {of(said, name).ground for name in "bcd"} == {Ground.STATE}
    assert of(said, "d").load_before is None


def test_a_guest_of_a_node_in_maintenance_would_stay_where_it_must_not() -> None:
    rows = [*nodes(8, 0, 4), vm(1, "a", 8), vm(2, "c", 4)]
    said = explained(1, *rows, settings=ClusterPolicy(maintenance_nodes=("a",)))
    assert said.target == "b"
    assert of(said, "a").ground is Ground.UNREPAIRED
    assert of(said, "a").says.startswith(
        "here now; would leave broken: guest 1 (g1) is on a, which is in maintenance; the"
    )


@pytest.mark.parametrize(
    ("rows", "more", "reason"),
    [
        ([vm(1, "a", 8, tags="plb_ignore")], {}, "tag plb_ignore"),
        ([vm(1, "a", 8, lock="backup")], {}, "it is locked (backup)"),
        ([vm(1, "a", 8)], {"settings": ClusterPolicy(ignore_nodes=("a",))}, "node a is ignored"),
        ([ct(1, "a", 8)], {"guests": GuestType.VM}, "only vm guests are planned"),
    ],
)
def test_a_fixed_guest_has_one_reason_and_each_node_what_it_would_gain(rows: Any, more: Any, reason: str) -> None:
    said = explained(1, *nodes(8, 0, 0), *rows, vm(9, "b", 1), **more)
    assert (said.fixed, said.why) == (reason, f"it is fixed: {reason}")
    assert of(said, "c").says.startswith("could take it, if it were not fixed; the spread would be ")
    assert of(said, "c").spread is not None


def test_guests_that_travel_together_count_together() -> None:
    tag = "plb_affinity_x"
    rows = [node("a", 100, 36), node("b", 20, 0), node("c", 100, 0)]
    rows += [vm(1, "a", 12, tags=tag), vm(2, "a", 12, tags=tag), vm(3, "a", 12)]
    said = explained(1, *rows, balanciness=100)
    assert said.along == ("guest 2 (g2)",)
    assert said.rules == ("plb_affinity_x: guests 1 (g1), 2 (g2) on one node",)
    assert of(said, "b").says == "no room: needs 24.0 GiB of memory, 20.0 GiB left"
    locked = [*rows[:-2], vm(2, "a", 12, tags=tag, lock="backup"), rows[-1]]
    said = explained(1, *locked)
    assert said.why == "guest 2 (g2), which goes along, is fixed: it is locked (backup)"
    assert of(said, "c").ground is Ground.FIXED
    assert "guest 2 (g2), which goes along, is" in of(said, "c").says


def test_what_is_refused_a_mate_is_told_with_its_name() -> None:
    rows = [*nodes(8, 0), vm(1, "a", 4, tags="plb_affinity_x"), vm(2, "a", 4, tags="plb_affinity_x")]
    said = explained(1, *rows, answers={"/nodes/a/qemu/2/migrate": BARRED})
    assert of(said, "b").says == "Proxmox VE refuses guest 2 (g2): it lacks storage ceph"


def test_the_same_spread_at_another_price_is_a_tie() -> None:
    said = explained(2, *nodes(8, 0, 0, gib=100), vm(1, "a", 8), stopped(2, "a", 4), balanciness=100)
    assert of(said, "b").says == "possible; the spread would be the same, with 1 migration more"
    assert of(said, "b").ground is Ground.POSSIBLE


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"balanciness": 50}, "the spread is within the tolerated 50 points"),
        ({"repair_only": True}, "only rules were to be repaired"),
        ({"max_migrations": 0}, "no more migrations or GiB are allowed"),
        ({"max_gib": 1}, "no more migrations or GiB are allowed"),
    ],
)
def test_why_a_guest_stays_that_had_better_go(more: Any, why: str) -> None:
    said = explained(1, *nodes(24, 0, gib=100), vm(1, "a", 12), vm(2, "a", 12), **more)
    assert said.why == f"the plan would be better with it on b, but {why}"


def test_what_a_solver_overlooks_is_its_own_doing() -> None:
    case = case_of(*nodes(24, 0, gib=100), vm(1, "a", 12), vm(2, "a", 12))
    idle = make_plan(replace(case, policy=replace(case.policy, repair_only=True)), "greedy", BUDGET)
    said = explain_guest(case, replace(idle, repair_only=False, status=plans.PlanStatus.FEASIBLE), 1)
    assert said.why == "the plan would be better with it on b, but greedy did not find that"
    survived = plans.Survival((), (), ())
    said = explain_guest(case, replace(idle, repair_only=False, status=plans.PlanStatus.FEASIBLE, survival=survived), 1)
    assert said.why.endswith("but that the loss of a node is survived comes before the spread")


def test_beside_nodes_that_are_stuck_the_others_count() -> None:
    rows = [*nodes(90, 20, 0, gib=100), vm(9, "a", 90, tags="plb_ignore"), vm(1, "b", 10), vm(2, "b", 10)]
    case = case_of(*rows, settings=ClusterPolicy(rules=(RuleSetting(name="full", avoid=("g1", "g2"), nodes=("a",)),)))
    plan = make_plan(case, "descent", BUDGET)
    said = explain_guest(case, plan, plan.migrations[0].vmid)
    assert plan.spread.after > 50
    assert (said.spread, said.spread_without) == (0, 20)


def test_rules_without_effect_are_listed_and_called_so() -> None:
    rules = (RuleSetting(name="quiet", stay=("g1",), unless=Unless.REPAIR),)
    rows = [*nodes(8, 0), vm(1, "a", 8, tags="plb_affinity_x;plb_anti_affinity_y")]
    said = explained(1, *rows, settings=ClusterPolicy(rules=rules))
    assert set(said.rules) == {
        "plb_affinity_x: without effect: there are no other guests that it is about",
        "plb_anti_affinity_y: without effect: there are no other guests that it is about",
        "quiet: it stays where it is (unless: repair)",
    }
    assert said.fixed == "rule quiet: it is migrated for repairs only"
    said = explained(1, *nodes(8, 0), vm(1, "a", 8, tags="plb_ignore;plb_pin_b"))
    assert "plb_pin_b: on b; without effect while it is fixed (tag plb_ignore)" in said.rules


def test_a_rule_that_gave_way_is_called_so() -> None:
    away = RuleSetting(name="away", avoid=("g1",), nodes=("a",), should=True, price=2)
    rows = [*nodes(8, 0), vm(1, "a", 8, tags="plb_pin_a")]
    said = explained(1, *rows, settings=ClusterPolicy(rules=(away,)))
    assert "away: guest 1 (g1) on b (gave way, wholly or in part)" in said.rules
    assert of(said, "a").says == "here now, and stays"


# ---------------------------------------------------------------- guests that are not planned with


def test_templates_and_guests_of_nodes_that_are_down_are_called_what_they_are() -> None:
    rows = [node("a", 64, 8), offline("b"), vm(1, "a", 8, template=1), vm(2, "b", status="unknown"), vm(3, "a")]
    said = explained(1, *rows)
    assert (said.why, said.verdicts) == ("it is a template, which is never migrated and causes no load", ())
    said = explained(2, *rows)
    assert (said.why, said.verdicts) == ("its node b is offline: it and its guests are left alone", ())
    with pytest.raises(InputError, match="there is no guest 4 in the test"):
        explained(4, *rows)


def test_a_plan_of_another_cluster_explains_nothing() -> None:
    case = case_of(*nodes(24, 0, gib=100), vm(1, "a", 12), vm(2, "a", 12))
    plan = make_plan(case, "descent", BUDGET)
    other = case_of(node("a"), vm(1, "a", 12), vm(2, "a", 12))
    with pytest.raises(InputError, match=r"migrates guest \d to b.*make a new plan"):
        explain_guest(other, plan, 1)


# ---------------------------------------------------------------- the checker agrees


def random_case(seed: int) -> Case:
    """A small cluster with every kind of rule, some broken today, tight nodes, limits, refusals."""
    rng = Random(seed)
    names = "abcd"[: rng.randint(2, 4)]
    guests = [_guest(rng, vmid, rng.choice(names)) for vmid in range(1, rng.randint(3, 9))]
    rows = []
    for name in names:
        used = sum(row["memhost"] for row in guests if row["node"] == name) / 2**30
        rows.append(node(name, rng.choice([64, max(8, used + rng.randint(-4, 10))]), used))
    answers = {}
    for row in guests:
        if rng.random() < 0.2:
            barred = {rng.choice(names): {"unavailable_storages": ["ceph"]}}
            answers[f"/nodes/{row['node']}/qemu/{row['vmid']}/migrate"] = {"running": 1, "not_allowed_nodes": barred}
    rules = (
        RuleSetting(name="racks", apart=("@tag-r",), per="rack"),
        RuleSetting(name="few", apart=("@tag-f",), at_most=2),
    )
    settings = ClusterPolicy(
        maintenance_nodes=(names[0],) if rng.random() < 0.3 else (),
        ignore_nodes=(names[-1],) if rng.random() < 0.2 and len(names) > 2 else (),
        domains={"rack": {"a": "left", "b": "left"}},
        rules=rules if any("r" in tags(row) for row in guests) and any("f" in tags(row) for row in guests) else (),
    )
    limits = {"max_migrations": rng.choice([None, None, 1, 2]), "max_guests": rng.choice([{}, {"default": 4}])}
    return case_of(*rows, *guests, settings=settings, answers=answers, **limits)


def tags(row: Row) -> list[str]:
    return str(row.get("tags", "")).split(";")


def _guest(rng: Random, vmid: int, on: str) -> Row:
    chosen = [
        tag for tag in ("plb_affinity_x", "plb_anti_affinity_y", "plb_anti_affinity_z", "r", "f") if rng.random() < 0.25
    ]
    chosen += ["plb_pin_a"] * (rng.random() < 0.1) + ["plb_pin_b"] * (rng.random() < 0.1)
    chosen += ["plb_ignore"] * (rng.random() < 0.1)
    return vm(vmid, on, rng.randint(1, 12), tags=";".join(chosen))


def held(case: Case, plan: Plan, vmid: int, on: str) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Where all guests are when the plan is carried out but this guest, with its mates, is on a node."""
    rows = list(case.formulation.guests.itertuples())
    where = {row.vmid: row.node for row in rows} | {m.vmid: m.target for m in plan.migrations}
    here = {row.vmid: row.node for row in rows}
    tagged = [{row.vmid for row in rows if "plb_affinity_x" in row.tags.split(";")}]
    mates = {vmid}.union(*({v for v in group if here[v] == here[vmid]} for group in tagged if vmid in group))
    where |= dict.fromkeys(mates, on) if where[vmid] != on else {}
    return np.array([case.formulation.nodes.index(where[row.vmid]) for row in rows], dtype=np.int64)


def newly_shared(case: Case, at: Any, vmid: int, tag: str) -> bool:
    """Whether a guest with this tag is where another one is that it does not share a node with today."""
    rows = list(case.formulation.guests.itertuples())
    on = at[[row.vmid for row in rows].index(vmid)]
    there = [g for g, row in enumerate(rows) if tag in row.tags.split(";") and at[g] == on]
    return vmid in [rows[g].vmid for g in there] and len({rows[g].node for g in there}) > 1


def objections(case: Case, plan: Plan, said: Explanation, verdict: Verdict) -> list[str]:
    """What the checker does not agree with."""
    problem = case.formulation.problem
    at = held(case, plan, said.vmid, verdict.node)
    kinds = {item.rule for item in check.broken(problem, at)}
    before = len(check.violations(problem, held(case, plan, said.vmid, said.target)))
    more = len(check.violations(problem, at)) - before
    agrees = {
        Ground.PLANNED: not kinds and verdict.node == said.target,
        Ground.STATE: case.formulation.rules.states[verdict.node] is not NodeState.BALANCED and bool(kinds),
        Ground.REFUSED: Rule.ELIGIBLE in kinds,
        Ground.RULE: bool(kinds & {Rule.ELIGIBLE, Rule.APART}) and bool(verdict.rules),
        Ground.ROOM: Rule.CAPACITY in kinds,
        Ground.FIXED: Rule.FIXED in kinds and kinds <= {Rule.FIXED, Rule.LIMIT},
        Ground.LIMIT: kinds == {Rule.LIMIT},
        Ground.UNREPAIRED: not kinds and more > 0,
        Ground.POSSIBLE: not kinds and more <= 0,
    }
    wrong = [] if agrees[verdict.ground] else [f"{said.vmid} on {verdict.node}: {verdict}, but {kinds}, {more} more"]
    if (
        verdict.spread is not None
        and not case.formulation.stuck
        and abs(verdict.spread - problem.spread(at) / 1e4) > 1e-9
    ):
        wrong.append(f"{said.vmid} on {verdict.node}: spread {problem.spread(at) / 1e4}, not {verdict.spread}")
    if not said.along and verdict.ground in (Ground.RULE, Ground.ROOM, Ground.REFUSED, Ground.POSSIBLE):
        for tag in ("plb_anti_affinity_y", "plb_anti_affinity_z"):
            if newly_shared(case, at, said.vmid, tag) != (tag in verdict.rules):
                wrong.append(f"{said.vmid} on {verdict.node}: {tag}: {verdict}")
    return wrong


def judge(seeds: range) -> None:
    """Explain every guest of random clusters, and ask the checker about every word."""
    wrong, seen = [], set()
    for seed in seeds:
        try:
            case = random_case(seed)
        except InputError:  # no node is left
            continue
        plan = make_plan(case, ("greedy", "descent")[seed % 2], BUDGET)
        for vmid in map(int, case.cluster.guests["vmid"]):
            said = explain_guest(case, plan, vmid)
            seen |= {verdict.ground for verdict in said.verdicts}
            wrong += [f"seed {seed}: {w}" for v in said.verdicts for w in objections(case, plan, said, v)]
    assert wrong == []
    assert seen == set(Ground)


def test_what_is_possible_the_checker_accepts_and_what_breaks_something_it_does_not() -> None:
    judge(range(40))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(60, 1_000, 188))
def test_the_same_of_many_more(start: int) -> None:
    judge(range(start, start + 188))


@pytest.mark.parametrize("solver", ["descent", "proxlb"])
@pytest.mark.parametrize("size", ["small", "medium"])
def test_every_guest_of_the_demo_can_be_explained(size: str, solver: str) -> None:
    case = prepare(planner.demo(size), Policy(max_migrations=10))
    plan = make_plan(case, solver, BUDGET)
    validator = Draft202012Validator(SCHEMA)
    for vmid in map(int, case.cluster.guests["vmid"][:: 1 if size == "small" else 5]):
        said = explain_guest(case, plan, vmid)
        assert said.why and len(said.verdicts) == len(case.cluster.nodes)
        assert list(validator.iter_errors(json.loads(said.to_json()))) == []
        assert sum(verdict.ground is Ground.PLANNED for verdict in said.verdicts) == 1


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 4))])
def test_every_guest_of_every_scenario_can_be_explained(part: int, tmp_path: Path) -> None:
    explanations = 0
    for path in sorted(HERE.glob("*.yaml"))[part::4]:
        scenario = load(path)
        try:
            settings = scenario.config(tmp_path)
            case = prepare(collect(scenario.snapshot()), settings.policy, settings.cluster)
        except PlannerError:  # what is refused cannot be explained
            continue
        plan = make_plan(case, "greedy", BUDGET)
        for vmid in scenario.guests:
            assert explain_guest(case, plan, vmid).why, path.name
            explanations += 1
    assert explanations > 80


def test_a_notebook_explains_too() -> None:
    said = planner.demo().explain(121, solver="descent", max_migrations=6)
    assert said.rules and of(said, "pve1").ground is Ground.RULE
    plan = planner.demo().plan("descent", max_migrations=6)
    assert planner.demo().explain(121, plan, max_migrations=6).spread == said.spread == plan.spread.after


# ---------------------------------------------------------------- the command line


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    alone(monkeypatch, tmp_path)
    return calling(capsys)


def test_explain_shows_the_guest_and_a_line_for_each_node(cli: Cli) -> None:
    outcome = cli("explain", 121, "--demo", "--solver", "descent", "--max-migrations", 6)
    lines = outcome.out.splitlines()
    assert outcome.code == 0
    assert lines[0].startswith("guest 121 (build121), virtual machine, running, on pve3: 11.4 of 16.0 GiB memory used")
    assert [line.split()[0] for line in lines[3:-1]] == ["pve1", "pve2", "pve3", "pve4", "pve5"]
    assert "would break plb_pin_pve3 or plb_pin_pve5: guest 121 (build121) on pve3 or pve5" in outcome.out


def test_explain_takes_a_plan_and_its_limits(cli: Cli, tmp_path: Path) -> None:
    cli("--demo", "--solver", "descent", "--max-migrations", 3, "--out", tmp_path / "p.json")
    outcome = cli("explain", 121, "--demo", "--plan", tmp_path / "p.json", "--output", "json")
    said = json.loads(outcome.out)
    plan = plans.load(tmp_path / "p.json")
    assert list(Draft202012Validator(SCHEMA).iter_errors(said)) == []
    assert said["spread"] == pytest.approx(plan.spread.after)
    assert "4 migrations, at most 3 allowed" in outcome.out
    migration = plan.migrations[0]
    goes = json.loads(cli("explain", migration.vmid, "--demo", "--plan", tmp_path / "p.json", "--output", "json").out)
    assert goes["target"] == migration.target
    assert goes["spread_without"] == pytest.approx(migration.spread_without)


def test_that_a_plan_file_does_not_hold_all_settings_is_said(cli: Cli, tmp_path: Path) -> None:
    words = ("explain", 121, "--demo", "--solver", "descent", "--max-migrations", 3)
    cli("--demo", "--solver", "descent", "--max-migrations", 3, "--out", tmp_path / "p.json")
    line = cli(*words, "--plan", tmp_path / "p.json").out.splitlines()[-1]
    assert line.startswith("judged with these settings as configured now, which a plan does not record: guests, fit")
    recorded = {item.name for item in fields(plans.Plan)}
    named = set(line.partition("record: ")[2].split(", "))
    assert named <= {item.name for item in fields(Policy)} and not named & recorded
    assert "as configured now" not in cli(*words).out


def test_what_cannot_be_explained_is_one_line(cli: Cli, tmp_path: Path) -> None:
    assert (cli("explain", 7, "--demo").code, cli("explain", 7, "--demo").complaint) == (
        1, "proxlb-plan: there is no guest 7 in the API (or the token may not see it)",
    )  # fmt: skip
    assert cli("explain", "web", "--demo").code == 64
    assert cli("explain", "--demo").code == 64
    missing = cli("explain", 121, "--demo", "--plan", tmp_path / "none.json")
    assert missing.code == 1 and "none.json" in missing.complaint


def test_a_plan_of_another_cluster_is_stale(cli: Cli, tmp_path: Path) -> None:
    cli("--demo", "--solver", "greedy", "--out", tmp_path / "p.json")
    rows = [node_row("pve1", used=34), node_row("pve2"), guest_row(100, "pve1")]
    other = write_snapshot(tmp_path / "s.json", *rows)
    outcome = cli("explain", 100, "--snapshot", other, "--plan", tmp_path / "p.json")
    assert outcome.code == 5
    assert "the plan is stale: " in outcome.complaint


def test_proxmox_is_asked_about_the_guest_that_is_explained(cli: Cli, tmp_path: Path) -> None:
    pve = small_cluster()
    pve.add_guest(150, "pve1", missing_storages={"pve2": ["ceph"]})
    with serving(pve, tmp_path) as served:
        config = write_config(tmp_path / "c.yaml", served)
        outcome = cli("explain", 150, "--config", config, "--solver", "greedy", "--balanciness", 100)
    assert "Proxmox VE refuses: it lacks storage ceph" in outcome.out


def test_plan_explain_shows_what_each_migration_gains(cli: Cli, tmp_path: Path) -> None:
    words = ("--demo", "--solver", "descent", "--max-migrations", 3)
    assert "without it" not in cli(*words).out
    outcome = cli(*words, "--explain", "--out", tmp_path / "p.json")
    assert "without it" in outcome.out
    for migration in plans.load(tmp_path / "p.json").migrations:
        row = next(line for line in outcome.out.splitlines() if f"  {migration.name}  " in line)
        assert f"{migration.spread_without:.2f}" in row.split()
    assert "without it" in cli("drain", "pve1", *words, "--explain").out


def test_a_migration_that_gains_nothing_says_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*nodes(8, 0, 0), stopped(1, "a", 4), vm(2, "c", 4)]
    case = case_of(*rows, settings=ClusterPolicy(maintenance_nodes=("a",)))
    plan = make_plan(case, "descent", BUDGET)
    report.plan(plan, report.console(), explained=True)
    expected = "No gain in spread: 1 (g1): repairs: guest 1 (g1) is on a, which is in maintenance"
    assert expected in capsys.readouterr().out.splitlines()


def test_the_report_names_those_that_go_along(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*nodes(8, 0), vm(1, "a", 4, tags="plb_affinity_x"), vm(2, "a", 4, tags="plb_affinity_x")]
    report_why.explanation(explained(1, *rows), report.console())
    assert "Goes along: guest 2 (g2) (counted with it below)" in capsys.readouterr().out
