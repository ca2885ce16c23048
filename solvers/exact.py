"""Owns the decision on windows of a width: none of them is possible, or an assignment that keeps one.

The relaxation of a window says of every migration how much dearer it makes the whole, at least. What would be beyond
the limit is left out, and what is left is decided in whole numbers: with guests and nodes as they are, so that the
decision is exact, and small enough to be quick (variable fixing by reduced costs).
"""

from enum import Enum
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from solvers import check
from solvers.frontier import PRECISION, Window, undecided
from solvers.kernel import Kernel
from solvers.linear import INFINITE, Program
from solvers.problem import Bools, Ints, Problem
from solvers.relax import TOLERANCE, UNIT, Relaxation
from solvers.run import in_threads
from solvers.search import Search
from solvers.windows import Neighbourhood, Table, Target, Windows, may_go

TRIED, SECONDS = 4.0, 6.0
"""Most that an attempt at a window and the decision on it are worth, at first..."""
LONGEST = 10.0
"""... and at last: nothing can end them before, so Ctrl-C waits for them."""
CHARGE = 2.0
"""Work that it counts as."""
TREE = 100_000
"""Nodes of its search tree."""
COLUMNS = 40_000
"""Migrations that may be left for it."""
REFINED, CELLS = 2, 16_000
"""How often the relaxation is refined to leave out more, and size classes x nodes of it then, about."""
PRICE = UNIT / PRECISION
"""Limits that one point beyond the window costs: so everything is possible, but what is beyond it by more than is told
apart costs more than the limit."""


class Outcome(Enum):
    """What became of the windows of a width."""

    OUT = "out"
    """Proven: no assignment within the limits keeps any of them."""
    FOUND = "found"
    """Something better than the incumbent turned up."""
    OPEN = "open"
    """Neither, in the time that they are worth."""
    CUT = "cut"
    """Time was up before."""


class _Verdict(NamedTuple):
    """What is known of a window: whether it is ruled out, and assignments that may keep it (or nearly, and may break
    rules)."""

    out: bool
    found: tuple[Ints, ...] = ()


class Possible(Neighbourhood):
    """Migrations from today that may be part of an assignment within a window; every acceptable one has its place.

    Only what holds for all of them is asked: nodes that are overfull and groups that are not apart today may stay so.
    """

    def __init__(self, table: Table, target: Target, pairs: Bools, loose: Ints) -> None:
        """`loose` bundles may be anywhere without changing a load."""
        problem = table.problem
        bundles = np.flatnonzero(pairs.any(axis=1))
        allowed = may_go(problem, bundles.tolist()) & pairs[bundles]
        super().__init__(table, target, problem.origin, bundles, allowed)
        self._settled[loose] = False

    def _places(self, allowed: Bools) -> Bools:
        allowed[np.arange(len(self.bundles)), self._at] = True
        return allowed

    def _add_rules(self, program: Program) -> None:
        self._add_capacity(program)
        if not check.violations(self.problem, self.problem.origin):
            self._add_apart(program)


class Exact:
    """What is proven of the windows of one metric; a window inside one that is ruled out is ruled out as well."""

    def __init__(self, relaxation: Relaxation, table: Table, search: Search) -> None:
        self._relaxation, self._table, self._search = relaxation, table, search
        self._kernel = Kernel(relaxation, table, search)
        self._out: list[Window] = []
        self._tried: set[Window] = set()
        self._patience = 1.0

    def persist(self) -> None:
        """Look again at windows on which there was no decision, and for longer."""
        self._tried.clear()
        self._patience *= 2

    def decide(self, width: int, step: int, mark: float, kept: Windows | None = None) -> Outcome:
        """Decide on all windows of a width (ppm), and up to `step` wider: what is found on the way is offered.

        `kept`: windows of other metrics, to make attempts at an assignment before the proof; None: no attempts."""
        search = self._search
        windows = undecided(self._relaxation, width, step, lambda: search.left(mark) <= 0)
        if windows is None:
            return Outcome.CUT
        possible = [window for window in windows if not self._is_out(window)]
        left = [window for window in possible if window not in self._tried]
        out = len(left) == len(possible)
        for first in range(0, len(left), search.workers):
            some, before = left[first : first + search.workers], search.score
            if search.left(mark) <= 0:
                return Outcome.CUT
            search.charge(CHARGE * len(some))
            verdicts = in_threads([partial(self._decide, window, width, kept, mark) for window in some])
            self._out += [window for window, verdict in zip(some, verdicts, strict=True) if verdict.out]
            self._tried.update(some if search.left(mark) > 0 else ())
            for assignment in (found for verdict in verdicts for found in verdict.found):
                search.offer(assignment)
            if search.score < before:
                return Outcome.FOUND
            out = out and all(verdict.out for verdict in verdicts)
            if not out and kept is None:
                break
        return Outcome.OUT if out else Outcome.OPEN if search.left(mark) > 0 else Outcome.CUT

    def _is_out(self, window: Window) -> bool:
        return any(out.low <= window.low and window.high <= out.high for out in self._out)

    def _decide(self, window: Window, width: int, kept: Windows | None, mark: float) -> _Verdict:
        within = window
        if width <= self._search.problem.goal:  # what is beyond the goal is of no use
            low = (window.low + window.high - width) // 2
            within = Window(low, low + width)
        left, attempt = self._search.left(mark), None
        if kept is not None:
            attempt = self._kernel.attempt(within, kept, min(TRIED * self._patience, LONGEST, left))
        if attempt is not None and self._is_better(attempt):
            return _Verdict(out=False, found=(attempt,))
        out, found = self.rules_out(window, min(SECONDS * self._patience, LONGEST, self._search.left(mark)))
        return _Verdict(out, tuple(item for item in (attempt, found) if item is not None))

    def _is_better(self, assignment: Ints) -> bool:
        problem = self._search.problem
        return not check.broken(problem, assignment) and check.score(problem, assignment) < self._search.score

    def rules_out(self, window: Window, seconds: float) -> tuple[bool, Ints | None]:
        """Whether no acceptable assignment keeps a window, and the assignment that came nearest if that is open."""
        relaxation, search = self._relaxation, self._search
        pairs = self._pairs(window)
        if not pairs.any():  # then loads are what they are today
            loads = relaxation.load[relaxation.balanced]
            return bool(loads.min() < window.low or loads.max() > window.high), None
        if seconds <= 0:
            return False, None
        most, seed, tree, limit = search.seconds(seconds), search.budget.seed, search.tree(TREE), relaxation.limit
        if pairs.sum() > COLUMNS:  # still the sizes may forbid it
            return relaxation.rules_out(window.low, window.high, most, seed, tree), None
        windows = {relaxation.k: (window.low - TOLERANCE, window.high + TOLERANCE)}
        hood = Possible(self._table, Target(windows, self._table.toll, PRICE * max(1, limit)), pairs, self._loose)
        found = hood.program(INFINITE).whole(most, seed, nodes=tree, limit=limit)
        if relaxation.exceeds(found.bound):
            return True, None
        return False, None if found.values is None else hood.assignment(found.values)

    def _pairs(self, window: Window) -> Bools:
        """(bundles, n) migrations that may be part of an assignment within the window."""
        relaxation, most = self._relaxation, CELLS // self._relaxation.problem.nodes
        fit = relaxation.fewest(window.low, window.high)
        pairs = relaxation.possible(fit)
        for _ in range(REFINED):
            bundles = np.flatnonzero(pairs.any(axis=1))
            if not len(bundles):
                break
            fine = relaxation.refined(bundles[np.argsort(fit.excess[bundles], kind="stable")][:most])
            fit = fine.fewest(window.low, window.high)
            pairs &= fine.possible(fit)
        return pairs

    @cached_property
    def _loose(self) -> Ints:
        """Bundles that may be migrated and are no load."""
        problem: Problem = self._relaxation.problem
        free = [len(problem.targets(bundle)) > 0 for bundle in range(len(problem.bundles))]
        return np.setdiff1d(np.flatnonzero(free), self._relaxation.bundles)
