"""Owns the search for the largest set of nodes that can be empty, and the fewest migrations that empty them.

First node by node, the one with least to migrate first, its guests put where most room is left; then, where counting
says that more may be possible, by CP-SAT. Whether there is headroom is for the caller to say of every assignment.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from solvers import check
from solvers.model import Linear
from solvers.possible import Clock
from solvers.problem import Bools, Ints, Problem
from solvers.result import Budget
from solvers.run import run
from solvers.state import State
from solvers.vacate_bound import Counted, Wish, counted, room
from solvers.vacate_model import VacateModel

__all__ = ["Vacated", "Wish", "vacate"]

BY_HAND = 0.4
"""Part of the time until which nodes are emptied one by one."""
EACH = 0.5
"""Part of what is left that one search for more may take where it may have to be repeated."""
LARGE = 60_000
"""Booleans beyond which there is no model of the whole cluster."""

HasHeadroom = Callable[[Ints, Bools], bool]
"""Whether an assignment (g,), with some nodes (n,) switched off, has the headroom that is asked for."""
Rank = tuple[int, int, int]


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


def vacate(wish: Wish, budget: Budget, has_headroom: HasHeadroom) -> Vacated:
    """Nodes to switch off; none where there is no way."""
    search = _Search(wish, budget, has_headroom)
    search.one_by_one()
    if search.number < search.counted.most or not search.fewest:
        search.whole()
    return search.answer()


class _Search:
    """The best so far, and what is proven."""

    def __init__(self, wish: Wish, budget: Budget, has_headroom: HasHeadroom) -> None:
        self.wish, self.budget, self._has_headroom = wish, budget, has_headroom
        self.clock = Clock(budget.seconds)
        self.counted = counted(wish)
        self.bound = self.counted.most
        self.best, self.off = wish.problem.origin, np.zeros(wish.problem.nodes, dtype=bool)
        self._home = _sizes(wish.problem)
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
        if off[assignment].any() or check.broken(wish.problem, assignment):
            return False
        if wish.protected.any() and not self._has_headroom(assignment, off):
            return False
        self.best, self.off, self._rank = assignment, off, rank
        self._look_at_cost()
        return True

    def _look_at_cost(self) -> None:
        """Whoever is on the nodes with the fewest guests has to be migrated."""
        least = np.sort(self._home[self.wish.candidates])[: self.number].sum()
        self.fewest = self._rank[1] <= int(least)

    def _stopped(self, share: float) -> bool:
        return self.clock.left(share) <= 0 or (self.budget.stop is not None and self.budget.stop())

    # --- one by one --------------------------------------------------------------------------------

    def one_by_one(self) -> None:
        """Add one node after the other to those that are off, in several orders, as far as that goes."""
        for order in self._orders():
            off = np.zeros(self.wish.problem.nodes, dtype=bool)
            for node in order:
                if off.sum() >= self.counted.most or self._stopped(BY_HAND):
                    break
                more = off.copy()
                more[node] = True
                if self._attempt(more):
                    off = more
            if (self.number >= self.bound and self.fewest) or self._stopped(BY_HAND):
                return

    def _orders(self) -> Iterator[list[int]]:
        """Candidates: those with the fewest guests first, those with least to copy, those with least room."""
        problem = self.wish.problem
        mib = np.bincount(problem.origin, problem.copy_mib, problem.nodes)
        share = (room(problem) / np.maximum(1, room(problem).sum(axis=0))).sum(axis=1)
        nodes = np.flatnonzero(self.wish.candidates)
        for keys in ((mib, self._home), (self._home, mib), (mib, self._home, share)):
            yield nodes[np.lexsort([key[nodes] for key in keys])].tolist()

    def _attempt(self, off: Bools) -> bool:
        """Whether some nodes can be emptied, as far as that is found quickly; other guests stay."""
        assignment = emptied(self.wish.problem, off)
        if assignment is None:
            return False
        return self._take(assignment, off) or self._is_fine(assignment, off)

    def _is_fine(self, assignment: Ints, off: Bools) -> bool:
        """Whether it could be gone on from, though it is no better than the best."""
        fine = not check.broken(self.wish.problem, assignment)
        return fine and (not self.wish.protected.any() or self._has_headroom(assignment, off))

    # --- all at once -------------------------------------------------------------------------------

    def whole(self) -> None:
        """CP-SAT on the whole cluster: more nodes, then fewer migrations."""
        problem = self.wish.problem
        if _booleans(problem) > LARGE or self._stopped(1.0):
            return
        model = VacateModel(self.wish)
        sure = model.exact
        while self.number < self.bound and not self._stopped(1.0):
            share = 1.0 if model.exact else EACH
            status, bound, found = self._solve(model, -model.off, share * self.clock.left())
            if sure:
                self.bound = min(self.bound, -bound)
            if found is None or not self._more(*found):
                if status != cp_model.OPTIMAL or found is None:
                    break
                sure = False  # a proof that leaves this out is none
                model.without(found[1])
        self._cheapen(model)

    def _more(self, assignment: Ints, off: Bools) -> bool:
        """Take a solution of the model; where it has no headroom, the same nodes emptied in another way."""
        if int(off.sum()) <= self.number or self._take(assignment, off):
            return True
        other = emptied(self.wish.problem, off)
        return other is not None and self._take(other, off)

    def _cheapen(self, model: VacateModel) -> None:
        """As many nodes with fewer migrations."""
        if self.fewest or not self.number or self._stopped(1.0):
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
        status = run(solver, model.proto, stop=lambda: self._stopped(1.0))
        if status == cp_model.MODEL_INVALID:
            raise RuntimeError(f"a mistake in solvers.vacate_model: {model.proto.validate()}")
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            least = -self.number if status == cp_model.INFEASIBLE else -self.bound
            return status, least, None
        least = int(np.ceil(solver.best_objective_bound - 1e-6))
        return status, least, (model.assignment(solver.value), model.nodes_off(solver.value))


def emptied(problem: Problem, off: Bools) -> Ints | None:
    """The guests of some nodes elsewhere, the largest first, each where most is left; None where one finds no place."""
    barred = problem.eligibility & ~off
    state = State(problem.replace(eligibility=barred, max_migrations=None, max_moved_mib=None), problem.origin)
    here = np.unique(problem.bundle_of[off[problem.origin]])
    whole = np.maximum(1, problem.capacity.sum(axis=0))
    size = (problem.bundle_needs[here] / whole).max(axis=1)
    for bundle in here[np.argsort(-size, kind="stable")].tolist():
        nodes = np.flatnonzero(state.legal(bundle))
        if not len(nodes):
            return None
        left = problem.capacity[nodes] - state.usage[nodes] - problem.bundle_needs[bundle]
        state.migrate(bundle, int(nodes[np.argmax((left / whole).min(axis=1))]))
    return state.assignment


def _sizes(problem: Problem) -> Ints:
    """(n,) guests on each node today."""
    return np.bincount(problem.origin, minlength=problem.nodes).astype(np.int64)


def _booleans(problem: Problem) -> int:
    return sum(len(problem.targets(bundle)) + 1 for bundle in range(len(problem.bundles)))
