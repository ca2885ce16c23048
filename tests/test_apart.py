"""Claims about the rule that keeps guests apart in all its kinds, followed by hand and against every assignment."""

from typing import Any

import numpy as np
import pytest
from ortools.sat.python import cp_model

from solvers import SOLVERS, Budget, Problem, Status, check, solve
from solvers.check import Rule, Violation
from solvers.model import Model
from solvers.problem import Apart
from solvers.state import State
from tests.brute import Plain, truth
from tests.problems import by_node, random_problem

RACKS = (5, 5, 9, 9)
BUDGET = Budget(seconds=20, workers=1)


def _four(*apart: Apart, at: tuple[int, ...] = (0, 0, 1, 1, 2, 3)) -> Problem:
    """Six guests of 10 on four nodes of 100, two of them in each rack."""
    return by_node([[10] * 6, [], [], []], apart=apart).replace(origin=np.array(at))


def _found(problem: Problem) -> list[Violation]:
    return check.violations(problem, problem.origin)


def test_a_group_is_kept_from_another_and_may_share_nodes_itself() -> None:
    rule = Apart(((0, 1, 4), (2, 3)))
    assert _found(_four(rule)) == []
    assert _found(_four(rule, at=(0, 0, 1, 0, 1, 2))) == [
        Violation(Rule.APART, (0, 3), 0, 0),
        Violation(Rule.APART, (4, 2), 1, 0),
    ]


def test_so_many_of_a_group_may_share_a_node_and_each_beyond_counts() -> None:
    rule = Apart(((0,), (1,), (2,), (3,)), most=2)
    assert _found(_four(rule)) == []
    assert _found(_four(rule, at=(0, 0, 0, 0, 1, 1))) == [
        Violation(Rule.APART, (0, 1, 2), 0, 0),
        Violation(Rule.APART, (0, 1, 3), 0, 0),
    ]


def test_nodes_of_a_rack_count_as_one() -> None:
    rule = Apart(((0,), (2,), (4,)), domains=RACKS)
    assert _found(_four(rule)) == [Violation(Rule.APART, (0, 2), 1, 0)]
    assert _found(_four(rule._replace(most=2))) == []


def test_what_shares_a_domain_today_may_go_on_sharing_one_and_nobody_joins() -> None:
    problem = _four(Apart(((0,), (2,), (4,)), domains=RACKS))
    for at, accepted in (
        ((2, 0, 3, 1, 1, 3), True),  # 0 and 2 are in the other rack, 4 has left it
        ((2, 0, 3, 1, 2, 3), False),  # all three are
        ((0, 0, 2, 1, 3, 3), False),  # 2 has come to 4
    ):
        assert (not check.broken(problem, np.array(at))) == accepted == Plain(problem).acceptable(list(at))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Apart(((0, 1), (1,))), "twice"),
        (Apart(((0,), (9,))), "does not exist"),
        (Apart(((0,), (1,)), most=0), "at least one side"),
        (Apart(((0,), ())), "guests on each side"),
        (Apart(((0,), (1,)), domains=(0, 1)), "a domain for each node"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rule: Apart, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _four(rule)


@pytest.mark.parametrize(
    ("rule", "at"),
    [
        (Apart(((0, 1), (2,))), (0, 0, 0, 1, 2, 3)),
        (Apart(((0,), (1,), (2,)), most=2), (0, 0, 0, 1, 2, 3)),
        (Apart(((0,), (2,)), domains=RACKS), (0, 0, 1, 1, 0, 1)),
    ],
    ids=["group from group", "two at most", "racks"],
)
def test_every_solver_of_ours_mends_each_kind(rule: Apart, at: tuple[int, ...]) -> None:
    problem = _four(rule, at=at)
    assert len(_found(problem)) == 1
    for name in ("greedy", "descent", "cpsat"):
        assert solve(problem, name, BUDGET).score.violations == 0, name


def test_two_groups_on_one_node_are_parted_though_no_single_migration_helps() -> None:
    problem = _four(Apart(((0, 1), (2, 3))), at=(0, 0, 0, 0, 1, 2)).replace(max_migrations=2)
    result = solve(problem, "cpsat", BUDGET)
    assert result.score.violations == 0 and len(problem.migrated(result.assignment)) == 2


def _general(problem: Problem) -> bool:
    return any(rule.guests != () and rule != Apart.of(rule.guests) for rule in problem.apart)


def test_the_model_counts_and_forbids_what_the_checker_does() -> None:
    outcomes = {"accepted": 0, "refused": 0, "broken": 0}
    for seed in filter(lambda seed: _general(random_problem(seed)), range(300)):
        problem, rng = random_problem(seed), np.random.default_rng(seed)
        model = Model(problem, range(len(problem.bundles)), problem.origin)
        solver = cp_model.CpSolver()
        for _ in range(4):
            at = problem.origin.copy()
            for bundle in rng.permutation(len(problem.bundles))[:3].tolist():
                targets = problem.targets(bundle)
                if len(targets):
                    at[problem.bundles[bundle]] = rng.choice(targets)
            model.start_from(at)
            kept = model.proto.clone()
            for bundle, places in model._at.items():
                for node, variable in places.items():
                    kept.add(variable == int(at[problem.bundles[bundle][0]] == node))
            kept.minimize(model.violations)
            status = solver.solve(kept)
            accepted = not check.broken(problem, at)
            assert (status == cp_model.OPTIMAL) == accepted, seed
            number = len(check.violations(problem, at))
            if accepted:
                assert round(solver.objective_value) == number, seed
            outcomes["accepted" if accepted else "refused"] += 1
            outcomes["broken"] += accepted and number > 0
    assert min(outcomes.values()) > 20


def test_what_the_state_allows_is_all_that_keeps_the_rule_or_stays_in_the_domain() -> None:
    allowed = refused = 0
    for seed in filter(lambda seed: _general(random_problem(seed)), range(400)):
        free: dict[str, Any] = {"together": (), "max_migrations": None, "max_moved_mib": None}
        problem = random_problem(seed).replace(**free)
        problem = problem.replace(
            capacity=problem.capacity + problem.needs.sum(axis=0), movable=np.ones(problem.guests, dtype=bool)
        )
        state, rng = State(problem, problem.origin), np.random.default_rng(seed)
        for _ in range(6):
            guest, node = int(rng.integers(problem.guests)), int(rng.integers(problem.nodes))
            if node == state.node(guest) or not problem.allowed(np.array([guest]))[node]:
                continue
            then = state.assignment.copy()
            then[guest] = node
            legal = state.may_go(guest, node)
            assert (
                legal
                == bool(state.legal(guest)[node])
                == _keeps(problem, state.assignment.tolist(), then.tolist(), guest)
            )
            if legal:
                assert not check.broken(problem, then), seed
                before, after = (len(check.violations(problem, x)) for x in (state.assignment, then))
                assert state.mended(guest, node) == before - after >= 0, seed
                state.migrate(guest, node)
            allowed, refused = allowed + legal, refused + (not legal)
    assert min(allowed, refused) > 60


def _keeps(problem: Problem, now: list[int], then: list[int], guest: int) -> bool:
    """Whether the domain to which a guest has come has at most as many sides as it may have, rule by rule."""
    for rule in problem.apart:
        domain = rule.domains or tuple(range(problem.nodes))
        to = domain[then[guest]]
        present = sum(any(domain[then[g]] == to for g in side) for side in rule.sides)
        if guest in rule.guests and to != domain[now[guest]] and present > rule.most:
            return False
    return True


@pytest.mark.parametrize("seeds", [range(3_000, 3_040), pytest.param(range(3_040, 3_080), marks=pytest.mark.slow)])
def test_proofs_hold_with_every_kind_of_rule(seeds: range) -> None:
    for seed in filter(lambda seed: _general(random_problem(seed)), seeds):
        problem = random_problem(seed)
        known = truth(problem)
        for name in SOLVERS:
            result = solve(problem, name, BUDGET)
            assert Plain(problem).acceptable(result.assignment.tolist()), (seed, name)
            assert result.bound is not None and result.bound <= known.least_spread(result.score.violations), (
                seed,
                name,
            )
        assert tuple(solve(problem, "cpsat", BUDGET).score) == known.best, seed


def test_nobody_joins_a_crowd_that_cannot_be_parted() -> None:
    problem = _four(Apart(((0, 4), (1, 5))), at=(0, 0, 1, 1, 2, 3)).replace(
        movable=np.array([False, False, True, True, True, True]), together=((0, 4), (1, 5))
    )
    result = solve(problem, "cpsat", BUDGET)
    assert result.status is Status.INFEASIBLE and tuple(result.score) == truth(problem).best
    assert result.score.violations == 3 and not check.broken(problem, result.assignment)
