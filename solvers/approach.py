"""Owns the search towards a window of loads: neighbourhoods of nodes, each solved as a mixed-integer program.

Beyond the windows and the migrations are minimised together; the price of the one in the other follows what is
missing. Guests that the relaxation of the window would rather not migrate are left out (their reduced costs say so).
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from solvers.linear import Floats
from solvers.problem import Bools, Cost, Ints
from solvers.relax import Fit
from solvers.run import in_threads
from solvers.search import Search
from solvers.windows import Neighbourhood, Table, Target, Windows, may_go

COLUMNS = 1_500
"""Of one neighbourhood, at most."""
KERNEL = 0.3
"""Bundles whose leaving makes the relaxation dearer by more than this many migrations are left out..."""
ARRIVALS = 0.3
"""... and so are arrivals that do."""
PRICE = 2.0
"""Migrations that one percentage point beyond a window is worth, at first..."""
PRICES = (0.5, 12.0)
"""... and within which limits it changes."""
SHUFFLE = 0.5
"""How much chance there is in the choice of bundles."""
SMALL, LARGE = 10, 64
"""Nodes of one neighbourhood."""
SECONDS = 0.8
"""Most that is spent on one neighbourhood."""
IDLE = 5
"""Rounds in a row without improvement, and two more for each time the nodes fill a neighbourhood, to give up."""
PATIENCE = 0.65
"""Part of the time that an approach leaves to others."""
TREE = 3_000
"""Nodes of the search tree of one neighbourhood."""


@dataclass(frozen=True, slots=True)
class Guide:
    """Windows and what the relaxation of each says of bundles and arrivals."""

    windows: Windows
    fits: dict[int, Fit]
    classes: dict[int, Ints]
    """metric -> (bundles,) size class of each bundle, -1: none."""
    popular: Ints
    """(bundles,) in how many relaxations of windows like these each leaves."""


class Approach:
    """Searches from one assignment to the next; what is acceptable and better is offered on the way."""

    def __init__(self, search: Search) -> None:
        self.search, self.problem = search, search.problem
        self.table = Table(search.problem)
        self.rng = np.random.default_rng(search.budget.seed)
        self.size = float(min(search.problem.nodes, 16))
        self._last = search.best
        self.toll = self.table.mib if self._copies else self.table.count

    @property
    def _copies(self) -> bool:
        return self.problem.goal > 0 and self.problem.prefer is Cost.MIB

    def towards(self, guide: Guide, share: float, limit: int) -> bool:
        """Whether an assignment within the windows and the limit on the toll was found, in a part of what is left."""
        until = PATIENCE * self.search.left(share)
        unit = max(1.0, float(self.toll.mean())) if self._copies else 1.0
        target = Target(guide.windows, self.toll, PRICE * unit)
        excess = np.min([fit.excess for fit in guide.fits.values()], axis=0) / unit
        excess = np.where(guide.popular > 0, -guide.popular / guide.popular.max(initial=1), excess)
        now, idle = min((self.search.best, self._last), key=lambda known: target.value(self.problem, known)), 0
        while self.search.left(share) > until and idle < IDLE + 2 * self.problem.nodes / self.size:
            beyond, paid = target.beyond(self.problem, now), target.paid(self.problem, now)
            if not beyond.any() and paid <= limit:
                return True
            target = self._repriced(target, bool(beyond.any()), paid > limit, unit)
            value = target.value(self.problem, now)
            then = self._step(target, guide, now, beyond, excess, share)
            reached = target.value(self.problem, then)
            idle = 0 if reached < value - 1e-6 else idle + 1
            if reached <= value + 1e-6:  # sideways too: other ways open
                now = self._last = then
                self.search.offer(self._within(now, limit))
        return False

    def _within(self, assignment: Ints, limit: int) -> Ints:
        """An assignment without the migrations, dearest to do without last, that the limit does not leave."""
        problem, now = self.problem, assignment.copy()
        away = problem.bundle_of[problem.migrated(now)]
        over = int(self.toll[np.unique(away)].sum()) - limit
        while over > 0:
            loads = problem.loads(now)
            choices = []
            for bundle in np.unique(problem.bundle_of[problem.migrated(now)]).tolist():
                guests = problem.bundles[bundle]
                weights = problem.bundle_weights(guests)
                after = loads.copy()
                after[:, now[guests[0]]] -= weights[:, now[guests[0]]]
                after[:, problem.homes[bundle]] += weights[:, problem.homes[bundle]]
                choices.append((problem.spread_of(after), bundle))
            bundle = min(choices)[1]
            now[problem.bundles[bundle]] = problem.homes[bundle]
            over -= int(self.toll[bundle])
        return now

    def _repriced(self, target: Target, beyond: bool, dear: bool, unit: float) -> Target:
        """Dearer windows while the limit is kept and they are not; cheaper ones in the opposite case."""
        factor = 1.0 if beyond == dear else 1.1 if beyond else 0.9
        return replace(target, price=float(np.clip(target.price * factor, PRICES[0] * unit, PRICES[1] * unit)))

    def _step(self, target: Target, guide: Guide, now: Ints, beyond: Ints, excess: Floats, share: float) -> Ints:
        """Neighbourhoods side by side, of different nodes and bundles, and what they come to together."""
        hoods: list[Neighbourhood] = []
        order = self._order(now, beyond, target.windows)
        spent = np.zeros(len(self.problem.bundles), dtype=bool)
        for _ in range(max(1, min(self.search.budget.workers, self.problem.nodes // SMALL))):
            nodes, order = order[: int(self.size)], order[int(self.size) :]
            bundles = self._bundles(now, nodes, excess, spent) if len(nodes) else nodes
            if len(bundles):
                spent[bundles] = True
                allowed = may_go(self.problem, bundles.tolist()) & self._arrivals(guide, bundles)
                allowed[:, np.setdiff1d(np.arange(self.problem.nodes), nodes)] = False
                hoods.append(Neighbourhood(self.table, target, now, bundles, allowed))
        seconds = max(0.05, min(SECONDS, self.search.left(share)))
        seeds = [int(seed) for seed in self.rng.integers(1 << 30, size=len(hoods))]
        found = in_threads([partial(h.solve, seconds, seed, TREE) for h, seed in zip(hoods, seeds, strict=True)])
        for _, proven in found:
            self.size = min(self.size * 1.1, LARGE) if proven else max(self.size * 0.9, SMALL)
        return self._together(target, now, [assignment for assignment, _ in found if assignment is not None])

    def _together(self, target: Target, now: Ints, found: list[Ints]) -> Ints:
        """The changes of each, one after the other, where they do not make things worse."""
        result = now
        for other in found:
            then = np.where(other != now, other, result)
            if target.value(self.problem, then) <= target.value(self.problem, result) + 1e-6:
                result = then
        return result

    def _order(self, now: Ints, beyond: Ints, windows: Windows) -> Ints:
        """Nodes: some beyond the windows, partners of their migrations, those that today are beyond, the others."""
        problem, rng = self.problem, self.rng
        size, at, home = int(self.size), now[problem.leads], problem.homes
        away = np.flatnonzero(at != home)
        wrong = rng.permutation(np.flatnonzero(beyond))
        first = (
            wrong[: max(1, size // 2)] if len(wrong) else rng.permutation(np.unique(home[away]))[: max(1, size // 4)]
        )
        near = away[np.isin(at[away], first) | np.isin(home[away], first)]
        partners = rng.permutation(np.unique(np.concatenate([at[near], home[near]])))[: size // 2]
        loads, far = problem.loads(problem.origin), np.zeros(problem.nodes, dtype=bool)
        for k, (low, high) in windows.items():
            far |= problem.balanced & ((loads[k] > high) | (loads[k] < low))
        rest = rng.permutation(np.flatnonzero(far)), rng.permutation(problem.nodes)
        order = np.concatenate([first, partners, *rest]).tolist()
        return np.array(list(dict.fromkeys(order)), dtype=np.int64)

    def _bundles(self, now: Ints, nodes: Ints, excess: Floats, spent: Bools) -> Ints:
        """Migrated bundles of these nodes, then those that the relaxation would rather migrate; none that is spent."""
        at, home = now[self.problem.leads], self.problem.homes
        here = np.isin(at, nodes)
        migrated = (at != home) & (here | np.isin(home, nodes))
        chosen = np.flatnonzero(self.table.free & ~spent & (migrated | (here & (excess <= KERNEL))))
        rank = np.where(migrated[chosen], -2.0, excess[chosen] + SHUFFLE * self.rng.random(len(chosen)))
        most = max(4, COLUMNS // len(nodes))
        return np.sort(chosen[np.argsort(rank, kind="stable")][:most])

    def _arrivals(self, guide: Guide, bundles: Ints) -> Bools:
        """(bundles, n) arrivals that the relaxation of some window would not rather do without."""
        result = np.zeros((len(bundles), self.problem.nodes), dtype=bool)
        for k, fit in guide.fits.items():
            classes = guide.classes[k][bundles]
            if len(fit.arriving):
                result |= (fit.arriving[classes] <= ARRIVALS) & (classes >= 0)[:, None]
        return result
