"""Owns the search for the largest set of nodes that can be empty, and the fewest migrations that empty them.

First nodes with few guests are chosen by sums of what the others can hold, and their guests put where most room is
left; then, where more may be possible, by CP-SAT. Whether there is headroom is for the caller to say of an assignment.
"""

from __future__ import annotations  # OR-Tools 9.14 has no CpSolverStatus

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ortools.sat.python import cp_model

from solvers import check, greedy
from solvers.model import Linear
from solvers.possible import Clock
from solvers.problem import Bools, Ints, Problem
from solvers.result import Budget
from solvers.run import run
from solvers.state import State
from solvers.vacate_bound import Counted, Wish, counted
from solvers.vacate_model import VacateModel
from solvers.vacate_sums import Sums

__all__ = ["Vacated", "Wish", "vacate"]

BY_HAND = 0.5
"""Part of the time until which nodes are emptied without CP-SAT on the whole cluster."""
MARGINS = (0.0, 0.05, 0.1, 0.2)
"""Room beyond what sums need, as part of all that guests need, with which nodes are chosen."""
TIGHTENED = 4
"""Attempts to have headroom where an assignment lacks it."""
EACH = 0.5
"""Part of what is left that one search for more may take where it may have to be repeated."""
LARGE = 60_000
"""Booleans beyond which there is no model of the whole cluster."""

Rank = tuple[int, int, int]


class Headroom(Protocol):
    """Says of an assignment (g,), with some nodes (n,) switched off, what the loss of one more means."""

    def has_headroom(self, assignment: Ints, off: Bools) -> bool:
        """Whether any one loss is survived."""

    def wanted(self, assignment: Ints, off: Bools) -> Ints:
        """(n, r) what each node should have free for that."""


@dataclass(frozen=True, eq=False)
class Vacated:
    """The best that was found."""

    assignment: Ints
    off: Bools
    """(n,) nodes that are empty then."""
    bound: int
    """Proven: no acceptable assignment with the headroom leaves more candidates empty."""
    counted: Counted
    """What counting alone proves."""
    fewest: bool
    """Proven: so many nodes are not emptied with fewer migrations."""

    @property
    def number(self) -> int:
        """Nodes that are off."""
        return int(self.off.sum())


def vacate(wish: Wish, budget: Budget, headroom: Headroom) -> Vacated:
    """Nodes to switch off; none where there is no way."""
    search = _Search(wish, budget, headroom)
    search.by_sums()
    if search.number < search.bound or not search.fewest:
        search.whole()
    return search.answer()


class _Search:
    """The best so far, and what is proven."""

    def __init__(self, wish: Wish, budget: Budget, headroom: Headroom) -> None:
        self.wish, self.budget, self._headroom = wish, budget, headroom
        self.clock = Clock(budget.seconds)
        self._sums = Sums(wish, budget.seed)
        self.counted = self._sums.most(counted(wish))
        self.bound = self.counted.most
        self.best, self.off = wish.problem.origin, np.zeros(wish.problem.nodes, dtype=bool)
        self._rank, self.fewest = self._ranked(self.best, self.off), True

    @property
    def number(self) -> int:
        """Nodes that are off in the best."""
        return int(self.off.sum())

    def answer(self) -> Vacated:
        """What was found; where nothing is off nothing was migrated for it."""
        return Vacated(self.best, self.off, max(self.number, self.bound), self.counted, self.fewest)

    def _ranked(self, assignment: Ints, off: Bools) -> Rank:
        migrated = self.wish.problem.migrated(assignment)
        return -int(off.sum()), len(migrated), int(self.wish.problem.copy_mib[migrated].sum())

    def _take(self, assignment: Ints, off: Bools) -> bool:
        """Take nodes that are off if that is better and all that has to be so is."""
        wish, rank = self.wish, self._ranked(assignment, off)
        if rank >= self._rank or off.sum() > wish.most or (off & ~wish.candidates).any():
            return False
        if off[assignment].any() or check.broken(wish.problem, assignment) or not self._has(assignment, off):
            return False
        self.best, self.off, self._rank = assignment, off, rank
        self.fewest = rank[1] <= self._sums.fewest(self.number)
        return True

    def _has(self, assignment: Ints, off: Bools) -> bool:
        return not self.wish.protected.any() or self._headroom.has_headroom(assignment, off)

    def _stopped(self, share: float = 1.0) -> bool:
        return self.clock.left(share) <= 0 or (self.budget.stop is not None and self.budget.stop())

    # --- by sums -----------------------------------------------------------------------------------

    def by_sums(self) -> None:
        """Choose nodes that sums allow, and see whether they can be emptied quickly: half of what is open at a time."""
        out = self.bound + 1
        while out - self.number > 1 and not self._stopped(BY_HAND):
            number = (self.number + out) // 2
            if not self._attempt(number):
                out = number

    def _attempt(self, number: int) -> bool:
        """Whether so many nodes can be emptied, as far as that is found."""
        tried: set[bytes] = set()
        for margin in MARGINS:
            off = self._sums.cheapest(number, margin)
            if off is None or self._stopped(BY_HAND):
                return False
            if off.tobytes() not in tried and self._empty(off):
                return True
            tried.add(off.tobytes())
        return False

    def _empty(self, off: Bools) -> bool:
        """Whether some nodes can be emptied: the room that lacks when one more fails is made, step by step."""
        assignment = emptied(self.wish.problem, off)
        for _ in range(TIGHTENED):
            if off[assignment].any():
                return False
            if self._take(assignment, off):
                return True
            kept = self._headroom.wanted(assignment, off)
            assignment = _shed(self.wish.problem, off, assignment, kept)
        return False

    # --- all at once -------------------------------------------------------------------------------

    def whole(self) -> None:
        """CP-SAT on the whole cluster: more nodes, then fewer migrations."""
        problem = self.wish.problem
        if _booleans(problem) > LARGE or self._stopped():
            return
        model = VacateModel(self.wish)
        model.add_few(self._sums.few)
        sure = True  # without exact headroom more would be possible, not less
        while self.number < self.bound and not self._stopped():
            share = 1.0 if model.exact else EACH
            _, bound, found = self._solve(model, -model.off, share * self.clock.left())
            self.bound = min(self.bound, -bound) if sure else self.bound
            if found is None or int(found[1].sum()) <= self.number:
                break
            if not self._take(*found) and not self._empty(found[1]):
                sure = False  # what is proven without these is not proven of all
                model.without(found[1])
        self._cheapen(model)

    def _cheapen(self, model: VacateModel) -> None:
        """As many nodes with fewer migrations."""
        if self.fewest or not self.number or self._stopped():
            return
        model.proto.add(model.off >= self.number)
        status, _, found = self._solve(model, model.cost, self.clock.left())
        if found is not None:
            taken = self._take(*found) or self._ranked(*found) == self._rank
            self.fewest = status == cp_model.OPTIMAL and taken and model.exact

    def _solve(
        self, model: VacateModel, objective: Linear, seconds: float
    ) -> tuple[cp_model.CpSolverStatus, int, tuple[Ints, Bools] | None]:
        model.start_off(self.best, self.off)
        model.proto.minimize(objective)
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = max(0.01, seconds)
        solver.parameters.random_seed = self.budget.seed
        solver.parameters.num_workers = max(1, self.budget.workers)
        if self.budget.work is not None:
            solver.parameters.max_deterministic_time = self.budget.work
            solver.parameters.interleave_search = True
        status = run(solver, model.proto, stop=lambda: self._stopped())
        if status == cp_model.MODEL_INVALID:
            raise RuntimeError(f"a mistake in solvers.vacate_model: {model.proto.validate()}")
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            least = -self.number if status == cp_model.INFEASIBLE else -self.bound
            return status, least, None
        least = int(np.ceil(solver.best_objective_bound - 1e-6))
        return status, least, (model.assignment(solver.value), model.nodes_off(solver.value))


def emptied(problem: Problem, off: Bools) -> Ints:
    """The guests of some nodes elsewhere, the largest first, each where most is left; who finds no place stays."""
    barred = problem.replace(
        eligibility=problem.eligibility & ~off, max_migrations=None, max_moved_mib=None, goal=0, tolerance=0
    )
    state = State(barred, problem.origin)
    here = np.unique(problem.bundle_of[off[problem.origin]])
    whole = np.maximum(1, problem.capacity.sum(axis=0))
    size = (problem.bundle_needs[here] / whole).max(axis=1)
    for bundle in here[np.argsort(-size, kind="stable")].tolist():
        nodes = np.flatnonzero(state.legal(bundle))
        if len(nodes):
            left = problem.capacity[nodes] - state.usage[nodes] - problem.bundle_needs[bundle]
            state.migrate(bundle, int(nodes[np.argmax((left / whole).min(axis=1))]))
    return state.assignment


def _shed(problem: Problem, off: Bools, assignment: Ints, kept: Ints) -> Ints:
    """An assignment in which nodes have more room free, as far as guests find other places."""
    tight = problem.replace(
        eligibility=problem.eligibility & ~off, capacity=np.maximum(0, problem.capacity - kept), max_migrations=None,
        max_moved_mib=None,
    )  # fmt: skip
    state = State(tight, assignment)
    greedy.repair(state)
    return state.assignment


def _booleans(problem: Problem) -> int:
    return sum(len(problem.targets(bundle)) + 1 for bundle in range(len(problem.bundles)))
