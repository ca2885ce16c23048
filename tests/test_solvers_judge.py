"""Claims about what becomes of an answer: how it is judged, which bounds it has, and what comes before CP-SAT."""

import time
from dataclasses import replace

import numpy as np
import pytest

from solvers import Budget, Problem, Status, bounds, cpsat, descent, judge, solve
from solvers.problem import Ints
from solvers.result import Answer
from tests.brute import truth
from tests.problems import by_node


def test_an_answer_is_judged_by_what_it_is_not_by_what_it_says() -> None:
    problem, best = by_node([[25, 25, 10], []], max_migrations=1), np.array([1, 0, 0])
    result = judge(problem, "some", Answer(best), 1.5)
    assert (result.solver, result.status, result.seconds) == ("some", Status.OPTIMAL, 1.5)
    assert result.spread == result.bound == 100_000
    worse = Answer(problem.origin, bound=150_000, status=Status.OPTIMAL)
    result = judge(problem, "some", worse, 1.5)
    assert (result.status, result.spread, result.bound) == (Status.FEASIBLE, 600_000, 150_000)
    assert judge(problem.replace(goal=600_000), "some", Answer(problem.origin), 0.0).status is Status.OPTIMAL
    back = judge(problem.replace(origin=best), "some", Answer(problem.origin, bound=10**9, cost_bound=10**9), 0.0)
    assert (back.assignment.tolist(), back.bound, back.cost_bound) == (best.tolist(), 0, 0)


def test_nothing_is_optimal_that_breaks_a_rule() -> None:
    stuck = by_node([[30], []], eligibility=np.array([[False, True]]), movable=np.array([False]))
    for status in (Status.FEASIBLE, Status.INFEASIBLE):
        result = judge(stuck, "some", Answer(stuck.origin, status=status), 0.0)
        assert (result.status, result.spread, result.bound) == (status, 300_000, 300_000)
    uneven = by_node([[30, 10], []], eligibility=np.array([[False, True]]), movable=np.array([False, True]))
    result = judge(uneven, "some", Answer(uneven.origin, status=Status.INFEASIBLE), 0.0)
    assert (result.status, result.spread, result.bound) == (Status.INFEASIBLE, 400_000, 200_000)
    pinned = by_node([[20, 20], []], movable=np.array([False, True]))
    better = Answer(np.array([1, 0]))
    assert judge(pinned, "some", better, 0.0).assignment.tolist() == [0, 0]
    faithful = judge(pinned, "some", better, 0.0, faithful=True)
    assert (faithful.assignment.tolist(), faithful.status) == ([1, 0], Status.FEASIBLE)
    assert faithful.bound is faithful.cost_bound is None


def test_a_heuristic_has_the_bound_of_the_relaxation_as_well() -> None:
    problem = by_node([[30, 10, 10], [], [], []], movable=np.array([True, True, False]), max_moved_mib=19)
    result = solve(problem, "greedy")
    assert result.bound is not None and bounds.spread_bound(problem) < result.bound <= truth(problem).least_spread()
    assert result.solver == "greedy" and 0 < result.seconds < 5
    assert solve(problem, budget=Budget(seconds=1)).solver == "cpsat"


@pytest.mark.parametrize(("work", "share"), [(None, 4.0), (7.0, 8.0)])
def test_heuristics_before_cpsat_take_half_of_the_time_unless_work_is_what_is_limited(
    monkeypatch: pytest.MonkeyPatch, work: float | None, share: float
) -> None:
    problem, given = by_node([[25, 25, 10], []], max_migrations=1), list[Budget]()

    def descend(problem: Problem, budget: Budget, start: Ints) -> Answer:
        given.append(budget)
        time.sleep(0.05)
        return Answer(np.array([1, 0, 0]))

    def search(problem: Problem, budget: Budget, start: Ints, *, bound: int) -> Answer:
        given.append(budget)
        assert start.tolist() == [1, 0, 0] and bound == 100_000
        return Answer(start)

    monkeypatch.setattr(descent, "solve", descend)
    monkeypatch.setattr(cpsat, "solve", search)
    budget = Budget(seconds=8, seed=3, work=work, progress=print)
    assert solve(problem, "cpsat", budget).assignment.tolist() == [1, 0, 0]
    assert given[0] == replace(budget, seconds=share, progress=None), "nobody hears of what is not yet the search's"
    assert 6 < given[1].seconds <= 7.95 and given[1] == replace(budget, seconds=given[1].seconds)
