"""Owns the narrowing of one level on a large cluster: windows that the relaxation leaves possible, tried and proven.

What is reached and what is ruled out approach each other: a window between the two is placed where the relaxation
migrates least, and searched for; what the linear relaxation cannot rule out is decided in whole numbers.
"""

import numpy as np

from solvers.approach import Approach, Guide
from solvers.frontier import PRECISION, Window, cheapest, narrowest
from solvers.linear import Floats
from solvers.problem import Ints, Level
from solvers.relax import Relaxation
from solvers.search import Search
from solvers.windows import Windows

COARSE, FINE = 15, 250
"""Parts of the reached spread to which windows are told apart, to guide and to prove."""
CELLS = 16_000
"""Size classes x nodes of the finer relaxation, about."""
DECISION = 6.0
"""Seconds that one window is worth in the proof, at most."""
PLACES = (0.15, 0.35, 0.5, 0.65, 0.85)
"""Which part of what a window is wider than the narrowest one lies below it: the cheapest of these is taken."""
STEP = 0.5
"""How far above what is ruled out, on the way to what is reached, the next window is."""
NEAR = 0.02
"""Part of the reached spread that is not worth another window."""


class Narrowing:
    """One level of a search; what is proven of the first level is proven of the search."""

    def __init__(self, search: Search, index: int) -> None:
        self.search, self.problem, self.index = search, search.problem, index
        self.level: Level = self.problem.aims[index]
        self.relaxations = [Relaxation(self.problem, k) for k in self.level.metrics]
        self.narrowest: dict[int, Window] = {}
        self._bounds = np.zeros(self.problem.metrics, dtype=np.int64)
        self.approach = Approach(search)
        self._classes = {}
        self._popular = np.zeros(len(self.problem.bundles), dtype=np.int64)
        for relaxation in self.relaxations:
            classes = np.full(len(self.problem.bundles), -1, dtype=np.int64)
            classes[relaxation.bundles] = relaxation.classes
            self._classes[relaxation.k] = classes

    @property
    def bound(self) -> int:
        """ppm of the level's value that is proven."""
        return max(self.level.value(self._bounds), self.search.bound if self.index == 0 else 0)

    @property
    def reached(self) -> int:
        """ppm of the level's value that is reached."""
        return self.search.score.spread if self.index == 0 else self.search.score.later[self.index - 1]

    def closed(self) -> bool:
        """Whether nothing is left to be gained on this level."""
        return self.reached <= max(self.bound, self.problem.goal)

    def rule_out(self, share: float) -> None:
        """The narrowest windows by the linear relaxation."""
        for relaxation in self.relaxations:
            known = self._known(relaxation.k)
            found = narrowest(relaxation, known, lambda: self.search.left(share) <= 0, max(PRECISION, known // COARSE))
            self.narrowest[relaxation.k] = found.window
            self._prove(relaxation.k, found.bound)

    def prove(self, share: float) -> None:
        """The narrowest windows in whole numbers."""
        for relaxation in self.relaxations:
            if self.closed() or self.search.left(share) <= 0:
                return
            window, known = self.narrowest[relaxation.k], self._known(relaxation.k)
            excess = relaxation.fewest(window.low, window.high).excess
            finer = relaxation.refined(self._refine(excess))

            def fits(low: int, high: int, coarse: Relaxation = relaxation, fine: Relaxation = finer) -> bool:
                if not coarse.fits(low, high) or not fine.fits(low, high):
                    return False
                seconds = min(DECISION, self.search.left(share))
                return seconds <= 0 or fine.decide(low, high, seconds, self.search.budget.seed)[0]

            stop = lambda: self.search.left(share) <= 0  # noqa: E731
            found = narrowest(finer, known, stop, max(PRECISION, known // FINE), fits)
            self._prove(relaxation.k, found.bound)

    def _refine(self, excess: Floats) -> Ints:
        """Bundles that get a size class of their own: those likeliest to leave."""
        rank = np.where(self._popular > 0, -self._popular.astype(np.float64), excess)
        most = CELLS // self.problem.nodes
        return np.argsort(rank, kind="stable")[: min(most, int(np.isfinite(rank).sum()))]

    def narrow(self, share: float) -> None:
        """Window after window between what is reached and what is ruled out, until they meet or time is up."""
        floor = self.bound
        while self.search.left(share) > 0 and not self.closed():
            reached = self.reached
            if reached - floor <= max(PRECISION, NEAR * reached):
                return
            width = max(self.problem.goal, floor + int(STEP * (reached - floor)))
            if not self.approach.towards(self._guide(width), share, self._limit()):
                floor = max(floor, width) if self.reached >= reached else self.bound

    def economise(self, share: float) -> None:
        """Less toll at the goal, until no less is possible or time is up."""
        guide, bound = self._cheapest(share)
        self.search.cost_bound = max(self.search.cost_bound, bound)
        while self.search.left(share) > 0 and self.search.score.cost[0] > self.search.cost_bound:
            if not self.approach.towards(guide, share, self.search.score.cost[0] - 1):
                return

    def _cheapest(self, share: float) -> tuple[Guide, int]:
        """Windows of the goal's width where migrating costs least, and what it costs at least."""
        windows: Windows = {}
        fits, bound = {}, 0.0
        for relaxation in self.relaxations:
            offer = cheapest(relaxation, self.problem.goal, lambda: self.search.left(share) <= 0)
            windows[relaxation.k] = (offer.window.low, offer.window.high)
            fits[relaxation.k] = offer.fit
            bound = max(bound, offer.bound)
        whole = int(np.ceil(bound - 1e-6)) if not self.level.weights else 0
        return Guide({**self._kept(), **windows}, fits, self._classes, self._popular), whole

    def _guide(self, width: int) -> Guide:
        """Windows of a width (each metric's in proportion, when they are weighted), each in its cheapest place."""
        windows, fits = self._kept(), {}
        spreads = self.problem.spreads(self.search.best)
        for relaxation in self.relaxations:
            mine = width * int(spreads[relaxation.k]) // max(1, self.reached) if self.level.weights else width
            narrow = self.narrowest[relaxation.k]
            wider = max(0, mine - (narrow.high - narrow.low))
            lows = [narrow.low - int(part * wider) for part in (PLACES if wider else PLACES[:1])]
            offers = [(relaxation.fewest(low, low + mine), low) for low in lows]
            fit, low = min(offers, key=lambda offer: offer[0].toll)
            windows[relaxation.k], fits[relaxation.k] = (low, low + mine), fit
            for other, _ in offers:
                self._popular[other.leaving] += 1
        return Guide(windows, fits, self._classes, self._popular)

    def _kept(self) -> Windows:
        """What the levels before this one have reached."""
        loads = self.problem.loads(self.search.best)[:, self.problem.balanced]
        before = {k for level in self.problem.aims[: self.index] for k in level.metrics}
        return {k: (int(loads[k].min()), int(loads[k].max())) for k in before - set(self.level.metrics)}

    def _limit(self) -> int:
        return self.relaxations[0].limit

    def _known(self, k: int) -> int:
        return max(int(self.problem.spreads(self.search.best)[k]), self.problem.goal)

    def _prove(self, k: int, bound: int) -> None:
        self._bounds[k] = max(self._bounds[k], bound)
        if self.index == 0:
            self.search.prove(self.level.value(self._bounds))
