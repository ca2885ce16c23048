"""Owns the large-neighbourhood search: some nodes and the guests that matter there at a time, the rest fixed.

Minimising the spread itself stalls as soon as several nodes share the extremes. So the search aims at a window of
loads narrower than what is reached and minimises the sum of what lies beyond it, then the migrations, which
leaves migrations for the nodes that need them. When nothing lies beyond, the next window is narrower still.
"""

import numpy as np
from ortools.sat.python import cp_model

from solvers import check
from solvers.frontier import Window
from solvers.model import Linear, Model
from solvers.problem import Ints
from solvers.search import Search, minimise

BOOLEANS = 2_500
"""Of one neighbourhood."""
NODES = 16
"""Of one neighbourhood, at most."""
EXTRA = 6
"""Bundles drawn by chance per node, at most."""
SECONDS = 1.0
"""Most that is spent on one neighbourhood."""
FAR = 10**12
"""ppm beyond any load."""
PATIENCE = 12
"""Neighbourhoods in a row without improvement after which another window is tried."""
STEPS = (0.05, 0.15, 0.3, 0.6)
"""How far towards what is not ruled out the next window narrows: after failure less, after success more."""


class Neighbourhoods:
    """Search towards windows from an incumbent, with the bundles that the relaxation would migrate first."""

    def __init__(self, search: Search, windows: dict[int, Window], leaving: Ints) -> None:
        self.search, self.problem = search, search.problem
        self.windows = windows
        self.leaving = np.zeros(len(self.problem.bundles), dtype=bool)
        self.leaving[leaving] = True
        self.rng = np.random.default_rng(search.budget.seed)
        self.home = self.problem.homes

    def run(self, share: float) -> None:
        """Improve the incumbent until the share of the budget is used up or the gap is closed."""
        step = 2
        while self.search.left(share) > 0 and not self.search.closed():
            reached = self._aim(self._target(STEPS[step]), share)
            step = min(step + 1, len(STEPS) - 1) if reached else max(step - 1, 0)

    def mend(self, share: float) -> None:
        """Fewer violations: nodes that are in violation and some by chance, with everything on them."""
        problem, search = self.problem, self.search
        while search.score.violations and search.left(share) > 0:
            wrong = self.rng.permutation([item.node for item in check.violations(problem, search.best)])[: NODES // 2]
            others = self.rng.permutation(problem.nodes)[: NODES // 2]
            nodes = np.unique(np.concatenate([wrong, others])).astype(np.int64)
            model = Model(problem, self._bundles(search.best, nodes, all_of=wrong), search.best, nodes)
            model.proto.add(model.violations <= search.score.violations)
            minimise(search, model, model.violations, search.best, min(2 * SECONDS, search.left(share)))

    def _target(self, step: float) -> Ints:
        """(k, 2) windows narrower than what is reached, about those that are not ruled out or about today's.

        Metrics of later levels may be anywhere."""
        problem, search = self.problem, self.search
        loads = problem.loads(search.best)[:, problem.balanced]
        floor = max(search.bound, problem.goal)
        width = search.score.spread - max(step * (search.score.spread - floor), 1)
        inside = self.rng.random() < 0.5
        result = np.tile(np.array([-FAR, FAR]), (problem.metrics, 1))
        for k, window in self.windows.items():
            low, high = (int(loads[k].min()), int(loads[k].max())) if inside else (window.low, window.high)
            mine = width
            if problem.aims[0].weights:  # each metric narrower by the same factor makes the mean so
                mine = width * float(loads[k].max() - loads[k].min()) / max(1, search.score.spread)
            slack = mine - (high - low)
            part = self.rng.random() if inside else 0.5
            result[k] = low - int(part * slack), low - int(part * slack) + int(mine)
        return result

    def _aim(self, target: Ints, share: float) -> bool:
        """Bring an assignment into the windows, neighbourhood by neighbourhood; False when patience is at its end."""
        problem, search = self.problem, self.search
        now, idle, violations = search.best, 0, search.score.violations
        value = self._value(now, target)
        # An incumbent with fewer violations may be found on the way: then the search starts again from that.
        while value[0] and idle < PATIENCE and search.left(share) > 0 and search.score.violations == violations:
            nodes = self._nodes(now, target)
            model = Model(problem, self._bundles(now, nodes), now, nodes)
            model.proto.add(model.violations <= violations)
            objective = _both(model.excess(target), model.migrations, problem.guests + 1)
            found = minimise(search, model, objective, now, min(SECONDS, search.left(share)))
            reached = value if found is None else self._value(found, target)
            idle = 0 if reached < value else idle + 1
            if found is not None and reached <= value:  # sideways too: another assignment as good opens other ways
                now, value = found, reached
        return not value[0]

    def _value(self, assignment: Ints, target: Ints) -> tuple[int, int]:
        """ppm beyond the windows and migrations."""
        return int(self._beyond(assignment, target).sum()), len(self.problem.migrated(assignment))

    def _beyond(self, assignment: Ints, target: Ints) -> Ints:
        """(n,) ppm by which nodes are beyond the windows, summed over the metrics."""
        loads = self.problem.loads(assignment)
        beyond = np.maximum(0, np.maximum(loads - target[:, 1:], target[:, :1] - loads))
        return np.asarray(np.where(self.problem.balanced, beyond, 0).sum(axis=0), dtype=np.int64)

    def _nodes(self, now: Ints, target: Ints) -> Ints:
        """Some nodes beyond the windows, some of those that migrations can help them with, and some by chance."""
        problem, rng = self.problem, self.rng
        size = min(problem.nodes, int(rng.integers(4, NODES + 1)))
        wrong = rng.permutation(np.flatnonzero(self._beyond(now, target)))[: int(rng.integers(1, 2 + size // 4))]
        at = now[self.problem.leads]
        involved = np.unique(np.concatenate([at[at != self.home], self.home[at != self.home]]))
        others = np.concatenate([rng.permutation(involved)[: size * 2 // 3], rng.permutation(problem.nodes)])
        chosen = list(dict.fromkeys([*wrong.tolist(), *others.tolist()]))
        return np.array(sorted(chosen[:size]), dtype=np.int64)

    def _bundles(self, now: Ints, nodes: Ints, all_of: Ints | None = None) -> list[int]:
        """Migrated bundles of these nodes, those that the relaxation would migrate, and others by chance.

        Of the nodes `all_of`, every bundle comes first."""
        at = now[self.problem.leads]
        here = np.isin(at, nodes)
        migrated = (at != self.home) & (here | np.isin(self.home, nodes))
        most = BOOLEANS // len(nodes)
        first = migrated | (here & self.leaving)
        if all_of is not None:
            first = np.isin(at, all_of)
        rest = np.flatnonzero(here & ~first)
        extra = self.rng.permutation(rest)[: int(len(nodes) * EXTRA * self.rng.random())]
        drawn = np.concatenate([self.rng.permutation(np.flatnonzero(first)), extra])[:most]
        return sorted(map(int, drawn))


def _both(first: Linear, second: Linear, scale: int) -> Linear:
    """The first expression before the second, which stays below `scale`."""
    return cp_model.LinearExpr.weighted_sum([first, second], [scale, 1])
