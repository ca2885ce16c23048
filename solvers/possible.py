"""Owns the question whether some requirements can hold together: by what is known, by counting, by CP-SAT.

CP-SAT is asked each question as a model of its own, without assumption literals: cores of assumptions may be wrong
after presolve (github.com/google/or-tools/issues/5141).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from solvers import structural
from solvers.fit import fit
from solvers.problem import Apart, Ints, Problem
from solvers.requirement import Only, Requirement, Room, Together, Within, broken, guests_of

RULES = 0.5
"""Part of the time for a question up to which rules alone are looked at."""


class Possibility(StrEnum):
    """Whether requirements can hold together."""

    POSSIBLE = "possible"
    IMPOSSIBLE = "impossible"
    UNKNOWN = "unknown"


class Clock:
    """Seconds left until a time limit, or a part of it; none once someone says stop."""

    def __init__(self, seconds: float, stop: Callable[[], bool] | None = None) -> None:
        self._began, self._seconds, self._stop = time.monotonic(), seconds, stop

    def left(self, share: float = 1.0) -> float:
        """Seconds until this part of the limit is used up."""
        if self._stop is not None and self._stop():
            return 0.0
        return self._began + share * self._seconds - time.monotonic()


class Oracle:
    """Answers whether some of the requirements can hold together, and remembers assignments that answered it."""

    def __init__(self, problem: Problem, requirements: Sequence[Requirement], clock: Clock, seed: int) -> None:
        self.problem, self.requirements = problem, requirements
        self.clock, self.seed = clock, seed
        self.examples: list[Ints] = []
        self._lost: list[set[int]] = []
        self.found: tuple[int, ...] = ()
        """A conflict, perhaps with more in it than it needs."""
        self.learn(problem.origin)

    def learn(self, assignment: Ints) -> None:
        """Remember an assignment."""
        self.examples.append(assignment)
        self._lost.append(set(broken(self.problem, self.requirements, assignment)))

    def example(self, chosen: Iterable[int]) -> Ints | None:
        """An assignment that is known for which some hold together."""
        chosen = list(chosen)
        known = zip(self.examples, self._lost, strict=True)
        return next((assignment for assignment, lost in known if lost.isdisjoint(chosen)), None)

    def ask(self, chosen: Iterable[int], share: float) -> Possibility:
        """Whether some can hold together, asked until a part of the time is used up."""
        chosen = list(chosen)
        answer = self._count(chosen)
        left = self.clock.left(share)
        if answer is not Possibility.UNKNOWN or left <= 0:
            return answer
        from ortools.sat.python import cp_model

        from solvers.requirement_model import RequirementModel, ask

        model = RequirementModel(self.problem, [self.requirements[i] for i in chosen])
        left = self.clock.left(share)
        if left <= 0:
            return answer
        status, assignment = ask(model, self.examples[0], left, self.seed)
        if assignment is not None:
            self.learn(assignment)
            if not self._lost[-1].isdisjoint(chosen):
                raise RuntimeError("a mistake in solvers.requirement_model: its solution breaks a requirement")
            return Possibility.POSSIBLE
        if status == cp_model.INFEASIBLE:
            self.found = tuple(chosen)
            return Possibility.IMPOSSIBLE
        return Possibility.UNKNOWN

    def decide(self, chosen: Sequence[int], share: float) -> Possibility:
        """The same; rules are looked at without room and limits first, as a conflict of them says more."""
        answer = self._count(chosen)
        if answer is Possibility.UNKNOWN:
            rules = [i for i in chosen if not isinstance(self.requirements[i], Room | Within)]
            parts = _parts({i: self.requirements[i] for i in rules})
            if any(self.ask(part, RULES * share) is Possibility.IMPOSSIBLE for part in parts):
                return Possibility.IMPOSSIBLE
            answer = self.ask(chosen, share)
        return answer

    def _count(self, chosen: Iterable[int]) -> Possibility:
        """What can be said without a solver."""
        chosen = list(chosen)
        if any(lost.isdisjoint(chosen) for lost in self._lost):
            return Possibility.POSSIBLE
        found = structural.find(self.problem, {i: self.requirements[i] for i in chosen})
        if found is not None:
            self.found = found
            return Possibility.IMPOSSIBLE
        assignment = fit(self.problem, [self.requirements[i] for i in chosen])
        if assignment is None:
            return Possibility.UNKNOWN
        self.learn(assignment)
        return Possibility.POSSIBLE

    def shrink(self, share: float) -> tuple[tuple[int, ...], bool]:
        """The conflict without what it does not need, and whether all that is left of it is proven to be needed.

        Limits and room are left out first, as rules say more, then rules of few or small guests, as it takes more of
        those; one by one, or many at once where that goes well. What is needed in a set is needed in its subsets.
        """
        queue = sorted(self.found, key=self._telling)
        needed: list[int] = []
        size, proven = 1, True
        while queue:
            answer = self.ask([*needed, *queue[size:]], share)
            if answer is Possibility.IMPOSSIBLE:
                queue = [i for i in queue[size:] if i in self.found]
                needed = [i for i in needed if i in self.found]
                size *= 2
            elif size > 1:
                size = max(1, min(size, len(queue)) // 2)
            else:
                needed.append(queue.pop(0))
                proven = proven and answer is Possibility.POSSIBLE
        return tuple(sorted(needed)), proven

    def _telling(self, index: int) -> tuple[int, int, int]:
        guests = list(guests_of(self.requirements[index]))
        return min(self.rank(index), 2), len(guests), int(self.problem.needs[guests].sum())

    def rank(self, index: int) -> int:
        """What is more telling in a conflict, and ends less of them: rules rather than room, room than limits."""
        kinds = (Within, Room, Apart, Together, Only)
        return next(rank for rank, kind in enumerate(kinds) if isinstance(self.requirements[index], kind))


def _parts(rules: structural.Some) -> list[list[int]]:
    """Rules in parts that have nothing to do with each other, those without an Apart left out: counting decides them.

    Only what is together or apart ties guests; where each of them may be belongs to every part with one of its guests.
    """
    leader: dict[int, int] = {}

    def find(guest: int) -> int:
        while leader.setdefault(guest, guest) != guest:
            leader[guest] = leader[leader[guest]]
            guest = leader[guest]
        return guest

    for each in rules.values():
        if isinstance(each, Together | Apart):
            guests = guests_of(each)
            for guest in guests[1:]:
                leader[find(guest)] = find(guests[0])
    heads = sorted({find(guests_of(each)[0]) for each in rules.values() if isinstance(each, Apart) and guests_of(each)})
    return [[i for i, each in rules.items() if any(find(guest) == head for guest in guests_of(each))] for head in heads]
