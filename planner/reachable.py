"""Owns the search for the best plan that can be got to, where guests block each other on the way to what was found.

What is blocked is forbidden and the solver asked again, the most promising question first, and whatever is reached is
climbed on from. All of it takes a part of the time limit.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from planner import agenda
from planner.case import Case
from planner.climb import climbed, strayed
from planner.schedule import Reach
from solvers import Budget, Result, Score, Status, bounds, check, tabu
from solvers.possible import Clock
from solvers.problem import Problem
from solvers.state import State

IN_ALL, EACH = 0.5, 0.15
"""Parts of the time limit that all of it takes at most, and one question or climb of it."""
EARLY, LATE = 0.25, 0.75
"""Parts of that time until which it is climbed from near the best, and then solvers are asked."""
QUESTIONS = 12
"""That a solver is asked, at most."""
PATIENCE = 150
"""Climbs from somewhere near the best that may lead no higher, one after the other."""
LEAST = 0.01
"""Seconds for a question."""
BRANCHES = 4
"""Kinds of blocked guests, at most, of which each alone is forbidden besides all at once."""
QUICK = ("descent", "greedy")
"""Solvers whose plans may be open where that of cpsat is blocked."""

Pair = tuple[int, int]
"""A guest and a node."""
Solve = Callable[[Problem, str, Budget], Result]


@dataclass(frozen=True, order=True)
class _Question:
    """What is asked next, the most promising first."""

    promise: Score
    """Of the answer whose way was blocked: the new one is hardly better."""
    number: int
    forbidden: frozenset[Pair] = field(compare=False)


def best_reachable(
    case: Case, problem: Problem, first: tuple[Result, Reach], solve: Solve, budget: Budget
) -> tuple[Result, Reach]:
    """The best that is found, with what is known of it: no worse than what is reached of the first answer, and than
    any single migration that is possible today."""
    search = _Search(case, problem, first, solve, budget)
    search.climb(Reach(problem.origin, (), ()))
    search.take(first[0], first[1], frozenset())
    for name in QUICK if first[0].solver == "cpsat" else ():
        search.ask(frozenset(), name)
    search.stray(EARLY)
    search.go_on(LATE)
    search.stray(1.0)
    return search.answer()


class _Search:
    """What was asked and found."""

    def __init__(self, case: Case, problem: Problem, first: tuple[Result, Reach], solve: Solve, budget: Budget) -> None:
        self._case, self._problem, self._solve = case, problem, solve
        self._first, self._budget = first, budget
        self._clock, self._asked = Clock(IN_ALL * budget.seconds, budget.stop), set[frozenset[Pair]]()
        self._questions: list[_Question] = []
        self._number, self._rng = count(), np.random.default_rng(budget.seed)
        self._best, self._score = first[1], check.score(problem, first[1].assignment)
        self._dream = first[0]
        """The best answer, reached or not."""

    def go_on(self, share: float) -> None:
        """Ask until nothing better is promised, or a part of the time is up."""
        while self._questions and self._clock.left(share) > 0 and len(self._asked) < QUESTIONS:
            question = heapq.heappop(self._questions)
            if question.promise[:3] >= self._score[:3]:
                return
            if question.forbidden not in self._asked:
                self._asked.add(question.forbidden)
                self.ask(question.forbidden, self._first[0].solver)

    def ask(self, forbidden: frozenset[Pair], solver: str) -> None:
        """Solve the problem without some migrations, and see what can be got of that."""
        seconds = max(LEAST, min(self._clock.left(), EACH * self._budget.seconds))
        share = replace(self._budget, seconds=seconds, progress=None)
        if share.work is not None:
            share = replace(share, work=share.work * EACH)
        result = self._solve(without(self._problem, forbidden), solver, share)
        self.take(result, agenda.reach(self._case, self._problem, result.assignment), forbidden)

    def take(self, result: Result, reach: Reach, forbidden: frozenset[Pair]) -> None:
        """Compare what is reached, climb on from there, and ask for what does without what is blocked."""
        if result.score < self._dream.score:
            self._dream = result
        self._offer(reach)
        self.climb(reach)
        kinds = list(self._kinds(reach))
        for some in [kinds, *([kind] for kind in kinds[:BRANCHES])] if kinds else []:
            more = forbidden.union(*some)
            heapq.heappush(self._questions, _Question(result.score, next(self._number), more))

    def climb(self, reach: Reach) -> None:
        """Go on with single migrations from what is reached."""
        clock = Clock(min(self._clock.left(), EACH * self._budget.seconds), self._budget.stop)
        higher = climbed(self._problem, self._case.way, reach, clock)
        if higher is not reach:
            self._improve(higher)

    def stray(self, share: float) -> None:
        """Climb from somewhere near the best again and again, while that leads higher now and then."""
        idle, rng = 0, self._rng
        while idle < PATIENCE and self._clock.left(share) > 0 and self._score[:3] > self._dream.score[:3]:
            other = strayed(self._problem, self._case.way, self._best, self._clock, rng, stops=self._case.apply.bypass)
            idle = 0 if self._improve(other) else idle + 1

    def _improve(self, reach: Reach) -> bool:
        """Take what a climb has led to, if it is better: without what gains nothing, and in a better order."""
        if check.broken(self._problem, reach.assignment) or not self._offer(reach):
            return False
        for assignment in (reach.assignment, tabu.cheapen(self._problem, reach.assignment)):
            other = agenda.reach(self._case, self._problem, assignment)
            if not other.stranded and check.score(self._problem, other.assignment) <= self._score:
                self._best = other
                self._score = check.score(self._problem, other.assignment)
        return True

    def _offer(self, reach: Reach) -> bool:
        score = check.score(self._problem, reach.assignment)
        better = score < self._score
        if better:
            self._best, self._score = reach, score
        return better

    def _kinds(self, reach: Reach) -> Iterator[frozenset[Pair]]:
        """What is blocked, each with what is as good as the same: guests of its size on its node."""
        problem, seen = self._problem, set[Pair]()
        for guest, node in reach.stranded:
            if (guest, node) not in seen:
                alike = (problem.origin == problem.origin[guest]) & (problem.needs == problem.needs[guest]).all(axis=1)
                kind = frozenset((int(g), node) for g in np.flatnonzero(alike & (reach.assignment != node)))
                seen |= kind
                yield kind | {(guest, node)}

    def answer(self) -> tuple[Result, Reach]:
        """What is best, and what is known of it."""
        first, reach = self._first[0], self._best
        seconds = first.seconds + IN_ALL * self._budget.seconds - self._clock.left()
        dream = self._dream.score._replace(spread=self._dream.spread)  # which may be less than what is asked
        beyond = dream if self._dream.score[:3] < self._score[:3] else None
        if reach is self._first[1]:
            return replace(first, seconds=seconds), replace(reach, beyond=beyond)
        stranded = (*reach.stranded, *self._left(reach))
        return self._judged(first, reach, seconds), replace(reach, stranded=stranded, beyond=beyond)

    def _judged(self, first: Result, reach: Reach, seconds: float) -> Result:
        """What is known of what is reached, by what was proven of the first answer."""
        problem, score = self._problem, self._score
        fewer = first.bound is None or score.violations > first.score.violations
        bound = bounds.spread_bound(problem) if fewer else first.bound
        proven = bound is not None and not score.violations and score.spread <= max(bound, problem.goal)
        status = Status.INFEASIBLE if first.status is Status.INFEASIBLE else Status.FEASIBLE
        status = Status.OPTIMAL if proven else status
        at = reach.assignment
        return Result(first.solver, status, at, score, problem.spread(at), bound, seconds)

    def _left(self, reach: Reach) -> Iterator[Pair]:
        """Guests that should have gone, in the first answer, from where they break a rule, and still are there."""
        state = State(self._case.way, reach.assignment)
        known = {guest for guest, _ in reach.stranded}
        for guest, node in self._first[1].stranded:
            stays = guest not in known and reach.assignment[guest] == self._problem.origin[guest]
            if stays and state.offends(int(self._case.way.bundle_of[guest])):
                yield guest, node


def without(problem: Problem, pairs: frozenset[Pair]) -> Problem:
    """The problem in which guests may not come to some nodes."""
    barred: dict[int, list[int]] = {}
    for guest, node in sorted(pairs):
        barred.setdefault(guest, []).append(node)
    rows, eligible = list(problem.eligibility), problem.eligible.copy()
    for guest, nodes in barred.items():
        row = rows[eligible[guest]].copy()
        row[nodes] = False
        eligible[guest] = len(rows)
        rows.append(row)
    return problem.replace(eligibility=np.array(rows), eligible=eligible)
