"""Claims about fronts: what is called exact is, no bound is too high, nothing between two points is left out."""

from solvers import Budget, Problem, check
from solvers.front import Front
from solvers.pareto import by_mib, by_migrations
from tests.brute import Plain
from tests.problems import random_problem

BUDGET = Budget(seconds=20, workers=1)
Best = dict[int, tuple[int, int]]
"""Limit to the fewest violations within it, and the smallest spread in ppm with so few."""


def everything(problem: Problem) -> list[tuple[int, int, int, int]]:
    """Migrations, MiB, violations and spread of every acceptable assignment."""
    plain = Plain(problem)
    result = []
    for at in plain.assignments():
        moved = [g for g in plain.guests if at[g] != plain.origin[g]]
        copied = sum(plain.copy_mib[g] for g in moved)
        result.append((len(moved), copied, plain.violations(at), plain.spread(at)))
    return result


def holds(problem: Problem, front: Front, column: int, seed: int) -> int:
    """Every claim of a front is true of all assignments; how many points are exact."""
    all_of_them, exact = everything(problem), 0
    before = None
    for point in front.points:
        within = [item for item in all_of_them if item[column] <= point.limit]
        best = min(item[2:] for item in within)
        reached = (point.score.violations, point.spread)
        assert not check.broken(problem, point.assignment), seed
        assert reached == (Plain(problem).violations(point.assignment.tolist()), problem.spread(point.assignment))
        cost = (len(problem.migrated(point.assignment)), problem.moved_mib(point.assignment))[column]
        assert cost <= point.limit, seed
        assert reached >= best, seed
        assert point.bound <= min(item[3] for item in within if item[2] <= reached[0]), seed
        if point.exact:
            exact += 1
            assert reached == best, seed
        assert before is None or reached <= before, seed
        before = reached
    return exact


def test_what_is_exact_within_a_number_of_migrations_is_the_best_of_all_assignments() -> None:
    exact = points = 0
    for seed in range(150):
        problem = random_problem(seed).replace(max_migrations=None)
        front = by_migrations(problem, 5, BUDGET)
        assert [point.limit for point in front.points] == list(range(min(5, problem.guests) + 1))
        exact += holds(problem.replace(max_migrations=5), front, 0, seed)
        points += len(front.points)
    assert exact == points


def test_the_front_against_mib_is_the_whole_front_of_all_assignments() -> None:
    for seed in range(150):
        problem = random_problem(seed)
        front = by_mib(problem, 30, BUDGET)
        assert holds(problem, front, 1, seed) == len(front.points), seed
        assert front.complete, seed
        best: list[tuple[int, tuple[int, int]]] = []
        for _, copied, *reached in sorted(everything(problem), key=lambda item: item[1:]):
            if not best or tuple(reached) < best[-1][1]:
                best.append((copied, (reached[0], reached[1])))
        found = [(point.limit, (point.score.violations, point.spread)) for point in front.points]
        assert found == best, seed
