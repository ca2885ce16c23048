"""Owns which should-rules give way within which limits: what cannot hold with few migrations may hold with more."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from planner import clash
from planner.capacity import GIB
from planner.case import Case
from planner.clash import Yield
from planner.formulate import Formulation, formulate
from planner.mention import shortened
from planner.policy import Against
from solvers.front import Front, Told
from solvers.possible import Clock
from solvers.result import Budget

LIMITS = {Against.MIGRATIONS: "max_migrations", Against.GIB: "max_moved_mib"}
"""What limits it in a problem."""
PART = 0.5
"""Of the time that is left, what it may take to find out what gives way within one limit."""
FEWEST = 3
"""Points of a front against GiB that every stage may have."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Limits within which the same gives way, first and last."""

    least: int
    most: int
    case: Case


def stages(case: Case, against: Against, most: int, seconds: float) -> list[Stage]:
    """All limits up to the most, by what gives way within them as a plan lets it, by rising limit.

    Where something else gives way than before is found by halving: a larger limit never makes more give way.
    """
    if not any(rule.price for rule in case.asked.items):
        return [Stage(0, most, case)]
    if against is Against.MIGRATIONS:
        most = min(most, case.formulation.problem.guests)
    found = _Halving(case, LIMITS[against], seconds)
    found.at(most)  # which matters most, and is the easiest
    starts = [(0, found.at(0)), *found.changes(0, most)]
    starts[1:] = [each for last, each in pairwise(starts) if not _is_same(last[1], each[1])]
    ends = [start - 1 for start, _ in starts[1:]] + [most]
    return [Stage(start, end, found.case(start, end)) for (start, _), end in zip(starts, ends, strict=True)]


def _is_same(one: Yield, other: Yield) -> bool:
    """Whether the same gives way, though more of what must hold may."""
    return one.rules.items == other.rules.items and one.given_up == other.given_up


class _Halving:
    """What gives way within some limits, each looked at once, as far as there is time."""

    def __init__(self, case: Case, limit: str, seconds: float) -> None:
        self._case, self._limit = case, limit
        self._asked = formulate(case.cluster, case.asked, case.policy)
        self._clock, self._known = Clock(seconds), dict[int, Yield]()

    def at(self, limit: int) -> Yield:
        """What gives way within a limit; each may take a part of the time that is left."""
        if limit not in self._known:
            problem = self._asked.problem.replace(**{self._limit: limit})
            formulation = replace(self._asked, problem=problem)
            stays = not limit and bool(problem.copy_mib.all())  # then there is nothing to find out
            seconds = 0.0 if stays else max(0.0, PART * self._clock.left())
            found = clash.give_way(formulation, seconds, self._case.policy.seed)
            found = replace(found, proven=found.proven or stays)
            self._known[limit] = found if found.proven else self._firm(found)
        return self._known[limit]

    def changes(self, low: int, high: int) -> Iterator[tuple[int, Yield]]:
        """Limits above one and up to another from which on something else gives way."""
        if self.at(low).weight == self.at(high).weight:
            return
        middle = (low + high) // 2
        if low < middle and self._clock.left() > 0 and self.at(middle).proven:
            yield from self.changes(low, middle)
            yield from self.changes(middle, high)
            return
        if low < middle:  # what is enough within less is enough
            self._known[low + 1] = self._firm(self.at(low))
            yield low + 1, self.at(low + 1)
        yield high, self.at(high)

    def _firm(self, found: Yield) -> Yield:
        """Where it is not proven what has to give way: all that does not hold today does as well, so that nothing that
        must hold is left broken for it."""
        today = clash.give_way_today(self._formulation(found))
        return Yield(today.rules, (*found.given_up, *today.given_up), False, found.weight)

    def _formulation(self, found: Yield) -> Formulation:
        same = found.rules is self._asked.rules
        return self._asked if same else formulate(self._case.cluster, found.rules, self._case.policy)

    def case(self, least: int, most: int) -> Case:
        """The case of limits in which the same gives way; proven only if it is of all of them that were looked at."""
        outcome = self.at(least)
        proven = all(known.proven for limit, known in self._known.items() if least <= limit <= most)
        return replace(self._case, formulation=self._formulation(outcome), gave_way=outcome.given_up, least=proven)


def search(
    steps: Sequence[Stage], against: Against, points: int, budget: Budget, told: Told | None
) -> tuple[Front, tuple[Case, ...]]:
    """The fronts of all stages as one, and of each of its points the case that it is of.

    Each stage may take its part of what is left of the budget.
    """
    from solvers.pareto import by_mib, by_migrations

    began, fronts = time.monotonic(), list[Front]()

    def tell(front: Front) -> None:
        if told:
            told(_joined([*fronts, front]))

    for number, stage in enumerate(steps):
        spent = sum(front.spent for front in fronts)
        rest, parts = budget.seconds - (time.monotonic() - began), len(steps) - number
        work = None if budget.work is None else max(0.0, budget.work - spent) / parts
        own = replace(budget, seconds=max(0.0, rest if work is not None else rest / parts), work=work)
        problem, known = stage.case.formulation.problem, [p.assignment for front in fronts for p in front.points]
        if against is Against.GIB:
            within = problem.replace(max_moved_mib=stage.most) if len(steps) > 1 else problem
            fronts.append(by_mib(within, max(FEWEST, points // len(steps)), own, tell, stage.least, known))
        else:
            fronts.append(by_migrations(problem, stage.most, own, tell, stage.least, known))
    return _joined(fronts), tuple(stage.case for stage, front in zip(steps, fronts, strict=True) for _ in front.points)


def notes(steps: Sequence[Stage], against: Against) -> list[str]:
    """What a person should know of what gives way."""
    result, size = [], GIB if against is Against.GIB else 1
    for stage in (stage for stage in steps if stage.case.gave_way):
        ends = " to ".join(f"{limit / size:g}" for limit in dict.fromkeys((stage.least, stage.most)))
        unit = "GiB" if against is Against.GIB else "migration" if stage.most == 1 == stage.least else "migrations"
        result.append(f"within {ends} {unit} should-rules give way: {shortened(stage.case.gave_way, '; ')}")
    if not all(stage.case.least for stage in steps):
        result.append("it was not found out in time what has to give way within every limit: there nothing is proven")
    return result


def _joined(fronts: Sequence[Front]) -> Front:
    points = tuple(point for front in fronts for point in front.points)
    spent, searches = sum(front.spent for front in fronts), sum(front.searches for front in fronts)
    return Front(points, all(front.complete for front in fronts), spent, searches)
