"""Owns one attempt at a window: the bundles that the relaxation of windows like it would migrate, in one program.

Together with all nodes they are few enough to be decided in whole numbers, and they are enough as a rule (kernel
search; Angelelli, Mansini and Speranza 2010).
"""

import numpy as np

from solvers import check
from solvers.frontier import Window
from solvers.problem import Ints, Problem
from solvers.relax import Relaxation
from solvers.search import Search
from solvers.windows import Neighbourhood, Table, Target, Windows, may_go

COLUMNS = 4_000
"""Most that are solved as one program."""
SAMPLES, VAGUE = 12, 10_000
"""Windows that show who is likely to leave, and by how many ppm they differ."""
TREE = 3_000
"""Nodes of its search tree."""


class Kernel:
    """Attempts at windows of one metric, within a limit on the toll; what is beyond a window is not considered."""

    def __init__(self, relaxation: Relaxation, table: Table, search: Search) -> None:
        self._relaxation, self._table, self._search = relaxation, table, search

    def attempt(self, window: Window, kept: Windows, seconds: float) -> Ints | None:
        """An assignment within a window, and within others that are `kept`, that costs no more than the limit."""
        relaxation, search, table = self._relaxation, self._search, self._table
        problem: Problem = search.problem
        rng = np.random.default_rng((search.budget.seed, abs(window.low), abs(window.high)))
        popular = likely(relaxation, window, rng)
        now = search.best if mends(search) else problem.origin
        away = now[problem.leads] != problem.homes
        rank = popular + SAMPLES * away
        bundles = np.flatnonzero(table.free & (rank > 0))
        if not 0 < len(bundles) * problem.nodes <= COLUMNS:
            return None
        target = Target({**kept, relaxation.k: (window.low, window.high)}, table.toll, 0.0)
        hood = Neighbourhood(table, target, now, bundles, may_go(problem, bundles.tolist()))
        most = search.seconds(max(seconds, 0.0))
        return hood.solve(most, search.budget.seed, search.tree(TREE), firm=True, limit=relaxation.limit)[0]


def likely(relaxation: Relaxation, window: Window, rng: np.random.Generator) -> Ints:
    """(bundles,) in how many relaxations of windows like this each leaves."""
    popular = np.zeros(len(relaxation.problem.bundles), dtype=np.int64)
    for low, high in rng.uniform((-VAGUE, -VAGUE / 2), (2 * VAGUE, VAGUE / 2), (SAMPLES, 2)):
        popular[relaxation.fewest(window.low - int(low), window.high + int(high)).leaving] += 1
    return popular


def mends(search: Search) -> bool:
    """Whether some migrations of the incumbent mend what is in violation today."""
    return len(check.violations(search.problem, search.problem.origin)) > search.score.violations
