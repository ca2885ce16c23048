"""Owns the search towards a window of loads: neighbourhoods of nodes, each solved as a mixed-integer program.

Beyond the windows and the migrations are minimised together; the price of the one in the other follows what is
missing. Guests that the relaxation of the window would rather not migrate are left out (their reduced costs say so).
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from solvers.kernel import COLUMNS as WHOLE
from solvers.kernel import mends
from solvers.problem import Bools, Ints
from solvers.relax import Fit, counts_mib
from solvers.run import in_threads
from solvers.search import Search
from solvers.windows import Neighbourhood, Table, Target, Windows, may_go

COLUMNS = 1_500
"""Of one neighbourhood of several, at most."""
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
SMALL, LARGE = 12, 64
"""Nodes of one neighbourhood."""
SECONDS = 1.0
"""Most that is spent on one neighbourhood."""
IDLE = 4
"""Rounds in a row without improvement, and two more for each time the nodes fill a neighbourhood, to give up."""
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


@dataclass(slots=True)
class _Way:
    """Where a search by neighbourhoods is, what it aims at, and for how many rounds it has not got on."""

    target: Target
    guide: Guide
    now: Ints
    idle: int = 0


class Approach:
    """Searches from one assignment to the next; what is acceptable and better is offered on the way."""

    def __init__(self, search: Search) -> None:
        self.search, self.problem = search, search.problem
        self.table = Table(search.problem)
        self.rng = np.random.default_rng(search.budget.seed)
        self.size = float(min(search.problem.nodes, 2 * SMALL))
        self._last = search.best
        self._way: _Way | None = None
        self.toll = self.table.toll

    def towards(self, guides: list[Guide], mark: float, limit: int) -> bool:
        """Whether an assignment within the windows of a guide and the limit on the toll was found. All guides are
        tried; of several neighbourhoods the most promising guide is followed until it leads no further."""
        target, guide, now = self._most_promising(guides, mark, limit)
        if self.is_whole(guide):
            return not target.beyond(self.problem, now).any() and target.paid(self.problem, now) <= limit
        self._way = _Way(target, guide, now)
        return self.on(mark, limit)

    def on(self, mark: float, limit: int) -> bool:
        """The same, on the way that was followed when time was up."""
        way = self._way
        while way is not None and self.search.left(mark) > 0:
            beyond, paid = way.target.beyond(self.problem, way.now), way.target.paid(self.problem, way.now)
            self.search.offer(self._within(way.now, limit))
            kept = not beyond.any() and paid <= limit
            if kept or way.idle >= IDLE + 2 * self.problem.nodes / self.size:
                self._way = None
                return kept
            way.target = self._repriced(way.target, bool(beyond.any()), paid > limit)
            order, size = self._order(way.now, beyond, way.target.windows), int(self.size)
            parts = [order[i * size : (i + 1) * size] for i in range(self.search.workers)]
            then = self._joined(way.target, way.guide, way.now, parts, SECONDS, mark)
            better = way.target.value(self.problem, way.now) - way.target.value(self.problem, then)
            way.idle = 0 if better > 1e-6 else way.idle + 1
            way.now = self._last = then if better > -1e-6 else way.now  # sideways too: other ways open
        return False

    @property
    def width(self) -> int:
        """ppm of the narrowest window on the way that was followed when time was up; 0: on none."""
        return min((high - low for low, high in self._way.target.windows.values()), default=0) if self._way else 0

    def _most_promising(self, guides: list[Guide], mark: float, limit: int) -> tuple[Target, Guide, Ints]:
        """The guide whose windows come closest when they are made for part by part, and what that comes to."""
        found: list[tuple[float, int]] = []
        reached: list[Ints] = []
        workers = self.search.workers
        targets = [Target(guide.windows, self.toll, PRICE * self._unit) for guide in guides]
        for first in range(0, len(guides), workers):
            some = range(first, min(len(guides), first + workers))
            divided = self._divided([(targets[i], guides[i]) for i in some], mark, limit)
            for index, then in zip(some, divided, strict=True):
                self.search.offer(self._within(then, limit))
                found.append((targets[index].value(self.problem, then), index))
                reached.append(then)
        index = min(found)[1]
        return targets[index], guides[index], reached[index]

    @property
    def _unit(self) -> float:
        """Toll of a typical migration."""
        return max(1.0, float(self.toll.mean())) if counts_mib(self.problem) else 1.0

    def _divided(self, aims: list[tuple[Target, Guide]], mark: float, limit: int) -> list[Ints]:
        """For each aim: every node in one part, each part with its share of full and empty nodes, solved one by one."""
        problem, seconds = self.problem, 2 * SECONDS
        known = [min((self.search.best, self._last), key=partial(target.value, problem)) for target, _ in aims]
        if self.is_whole(aims[0][1]):
            every = np.arange(problem.nodes)
            # Without migrations there are only those to choose from that the relaxation makes: fewer, so much faster.
            start = None if mends(self.search) else problem.origin
            jobs = [
                (target, guide, now if start is None else start, every)
                for (target, guide), now in zip(aims, known, strict=True)
            ]
            found = self._solve(jobs, seconds, mark, limit)
            return [now if then is None else then for now, then in zip(known, found, strict=True)]
        return [self._part_by_part(*aim, now, seconds, mark) for aim, now in zip(aims, known, strict=True)]

    def is_whole(self, guide: Guide) -> bool:
        """Whether all nodes are one neighbourhood."""
        return self.is_whole_for(int((guide.popular > 0).sum()))

    def is_whole_for(self, bundles: int) -> bool:
        """Whether so many bundles and all nodes are one neighbourhood."""
        return bundles * self.problem.nodes <= WHOLE

    def _part_by_part(self, target: Target, guide: Guide, now: Ints, seconds: float, mark: float) -> Ints:
        problem, workers = self.problem, self.search.workers
        number = round((int((guide.popular > 0).sum()) * problem.nodes / COLUMNS) ** 0.5)
        k = next(iter(target.windows))
        ranked = np.argsort(problem.loads(problem.origin)[k] + self.rng.normal(0.0, 1e4, problem.nodes))
        parts = [ranked[i::number] for i in range(number)]
        for first in range(0, number, workers):
            if self.search.left(mark) <= 0:
                break
            now = self._joined(target, guide, now, parts[first : first + workers], seconds, mark)
        return now

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

    def _repriced(self, target: Target, beyond: bool, dear: bool) -> Target:
        """Dearer windows while the limit is kept and they are not; cheaper ones in the opposite case."""
        factor, unit = 1.0 if beyond == dear else 1.1 if beyond else 0.9, self._unit
        return replace(target, price=float(np.clip(target.price * factor, PRICES[0] * unit, PRICES[1] * unit)))

    def _joined(self, target: Target, guide: Guide, now: Ints, parts: list[Ints], seconds: float, mark: float) -> Ints:
        """What neighbourhoods of different nodes and bundles, solved side by side, come to together."""
        found = self._solve([(target, guide, now, nodes) for nodes in parts if len(nodes)], seconds, mark)
        return self._together(target, now, [then for then in found if then is not None])

    def _solve(
        self, jobs: list[tuple[Target, Guide, Ints, Ints]], seconds: float, mark: float, limit: int | None = None
    ) -> list[Ints | None]:
        """Neighbourhoods (target, guide, from where, nodes) side by side; of one assignment, they share no bundle. Any
        toll within a limit will do."""
        spent = np.zeros(len(self.problem.bundles), dtype=bool)
        most, tree = self.search.seconds(min(seconds, self.search.left(mark))), self.search.tree(TREE)
        tasks = []
        for target, guide, now, nodes in jobs:
            bundles = self._bundles(now, nodes, guide, spent)
            if len(nodes) < self.problem.nodes:
                spent[bundles] = True
            allowed = may_go(self.problem, bundles.tolist())
            if len(nodes) < self.problem.nodes:
                allowed &= self._arrivals(guide, bundles)
            allowed[:, np.setdiff1d(np.arange(self.problem.nodes), nodes)] = False
            hood = Neighbourhood(self.table, target, now, bundles, allowed)
            solve = partial(_firm, limit=limit) if len(nodes) == self.problem.nodes else _firm_or_bought
            tasks.append(partial(solve, hood, most, int(self.rng.integers(1 << 30)), tree))
        found = in_threads(tasks)
        self.search.charge(seconds * len(tasks) / 2)
        for _, proven in found:
            self.size = min(self.size * 1.1, LARGE) if proven else max(self.size * 0.9, SMALL)
        return [then for then, _ in found]

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

    def _bundles(self, now: Ints, nodes: Ints, guide: Guide, spent: Bools) -> Ints:
        """Migrated bundles of these nodes, then those that the relaxation would migrate; none that is spent."""
        at, home = now[self.problem.leads], self.problem.homes
        here = np.isin(at, nodes)
        migrated = (at != home) & (here | np.isin(home, nodes))
        excess = np.min([fit.excess for fit in guide.fits.values()], axis=0) / self._unit
        excess = np.where(guide.popular > 0, -guide.popular / guide.popular.max(initial=1), excess + 1e-3)
        kernel = KERNEL if len(nodes) < self.problem.nodes else 0.0
        chosen = np.flatnonzero(self.table.free & ~spent & (migrated | (here & (excess <= kernel))))
        rank = np.where(migrated[chosen], -2.0, excess[chosen] + SHUFFLE * self.rng.random(len(chosen)))
        most = max(4, (WHOLE if len(nodes) == self.problem.nodes else COLUMNS) // len(nodes))
        return np.sort(chosen[np.argsort(rank, kind="stable")][:most])

    def _arrivals(self, guide: Guide, bundles: Ints) -> Bools:
        """(bundles, n) arrivals that the relaxation of some window would not rather do without."""
        result = np.zeros((len(bundles), self.problem.nodes), dtype=bool)
        for k, fit in guide.fits.items():
            classes = guide.classes[k][bundles]
            if len(fit.arriving):
                result |= (fit.arriving[classes] <= ARRIVALS) & (classes >= 0)[:, None]
        return result


def _firm(hood: Neighbourhood, seconds: float, seed: int, tree: int, limit: int | None) -> tuple[Ints | None, bool]:
    """Within the windows or nothing."""
    return hood.solve(seconds, seed, tree, firm=True, limit=limit) if len(hood.bundles) else (None, True)


def _firm_or_bought(hood: Neighbourhood, seconds: float, seed: int, tree: int) -> tuple[Ints | None, bool]:
    """Within the windows if that is possible: firm windows are decided much faster. Otherwise with what is beyond."""
    if not len(hood.bundles):
        return None, True
    found, proven = hood.solve(seconds, seed, tree, firm=True)
    return (found, proven) if found is not None else hood.solve(seconds, seed, tree)
