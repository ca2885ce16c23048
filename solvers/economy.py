"""Owns the cheapest way to the goal on a large cluster: where windows of the goal's width cost least, and the proof."""

import numpy as np

from solvers.exact import Exact
from solvers.frontier import Offer, cheapest
from solvers.narrowing import TRIED, Narrowing, Place
from solvers.problem import Cost
from solvers.relax import ROUNDING, Relaxation

PROVEN = 0.4
"""Part of a round for the proof."""
NEARBY = 0.3
"""How far from the cheapest window others are tried, as part of the goal."""
TRIES = 5
"""How many."""
STEPS = 40
"""Parts of the goal by which the windows are wider of which the proof speaks."""


class Economy:
    """Less cost at the goal of all levels, round by round; the windows are those of the last level."""

    def __init__(self, narrowing: Narrowing) -> None:
        self._narrowing, self._search, self._problem = narrowing, narrowing.search, narrowing.problem
        self._offers: list[Offer] = []

    def run(self, mark: float) -> None:
        """One round."""
        if not self._offers:
            self._look(mark)
        self._migrate_less(mark - PROVEN * max(0.0, self._search.left(mark)))
        if self._problem.prefer is Cost.MIGRATIONS and not self._narrowing.level.weights:
            for relaxation, offer in zip(self._narrowing.relaxations, self._offers, strict=True):
                self._prove(relaxation.k, offer, mark)

    def _look(self, mark: float) -> None:
        """What the linear relaxation proves, and where it is cheapest."""
        goal = self._problem.goal
        for relaxation in self._narrowing.relaxations:
            self._offers.append(cheapest(relaxation, goal, lambda: self._search.left(mark) <= 0))
        if not self._narrowing.level.weights:
            least = max(offer.bound for offer in self._offers)
            self._raise(int(np.ceil(least - ROUNDING * max(1.0, least))))

    def _raise(self, bound: int) -> None:
        self._search.cost_bound = max(self._search.cost_bound, bound)

    def _migrate_less(self, mark: float) -> None:
        """Windows near the cheapest ones, again and again."""
        search, narrowing = self._search, self._narrowing
        while search.left(mark) > 0 and search.score.cost[0] > search.cost_bound:
            choices = [self._near(*pair) for pair in zip(narrowing.relaxations, self._offers, strict=True)]
            guides = [narrowing.guide(list(places)) for places in zip(*choices, strict=False)]
            narrowing.approach.towards(guides, mark, search.score.cost[0] - 1)

    def _near(self, relaxation: Relaxation, offer: Offer) -> list[Place]:
        """Windows of the goal's width that cost little."""
        goal, rng = self._problem.goal, self._narrowing.approach.rng
        lows = [offer.window.low, *(offer.window.low + rng.uniform(-NEARBY, NEARBY, TRIES) * goal)]
        places = [Place.at(relaxation, int(low), int(low) + goal) for low in lows]
        tries = TRIED if self._narrowing.approach.is_whole_for(len(offer.fit.leaving)) else 1
        return sorted(places, key=lambda place: (place.fit.toll + rng.uniform(0, 1), place.window.low))[:tries]

    def _prove(self, k: int, offer: Offer, mark: float) -> None:
        """So many migrations are too few, and then one more, in whole numbers."""
        search, problem = self._search, self._problem
        while search.left(mark) > 0 and search.score.cost[0] > search.cost_bound:
            few = problem.replace(max_migrations=search.cost_bound)
            exact = Exact(*self._narrowing.relaxed_twice(Relaxation(few, k), offer.window), search)
            if not exact.rules_out(problem.goal, max(1, problem.goal // STEPS), mark):
                return
            self._raise(search.cost_bound + 1)
