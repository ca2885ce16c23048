"""Owns the cheapest way to the goal on a large cluster: where windows of the goal's width cost least, and the proof."""

import numpy as np

from solvers import descent
from solvers.between import Between
from solvers.exact import Exact, Outcome
from solvers.frontier import Offer, cheapest
from solvers.narrowing import TRIED, Narrowing, Spot
from solvers.problem import Problem
from solvers.relax import Relaxation, counts_mib, rounding
from solvers.result import Budget

PROVEN = 0.6
"""Part of a round for the proof."""
NEARBY = 0.3
"""How far from the cheapest window others are tried, as part of the goal."""
TRIES = 5
"""How many."""
STEPS = 8
"""Parts of the goal by which the windows are wider of which the proof speaks, at first: the more, the longer it takes
and the more it proves."""
DESCENT = 1.0
"""Work that one local search counts as."""
NEAR = 0.003
"""Part of the cost that is not worth another decision."""


class Economy:
    """Less cost at the goal of all levels, round by round; the windows are those of the last level."""

    def __init__(self, narrowing: Narrowing) -> None:
        self._narrowing, self._search, self._problem = narrowing, narrowing.search, narrowing.problem
        self._offers: list[Offer] = []
        self._steps = STEPS
        self._exact: dict[tuple[int, int], Exact] = {}
        self._open = {relaxation.k: Between(0.0) for relaxation in narrowing.relaxations}

    def run(self, mark: float) -> None:
        """One round."""
        if not self._offers:
            self._look(mark)
            self._descend(mark - PROVEN * max(0.0, self._search.left(mark)))
        self._migrate_less(mark - PROVEN * max(0.0, self._search.left(mark)))
        if not self._narrowing.level.weights:
            for relaxation in self._narrowing.relaxations:
                self._prove(relaxation.k, mark)

    def _look(self, mark: float) -> None:
        """What the linear relaxation proves, and where it is cheapest."""
        goal = self._problem.goal
        for relaxation in self._narrowing.relaxations:
            self._offers.append(cheapest(relaxation, goal, lambda: self._search.left(mark) <= 0))
        if not self._narrowing.level.weights:
            least = max(offer.bound for offer in self._offers)
            self._raise(int(np.ceil(least - rounding(least))))

    def _raise(self, bound: int) -> None:
        self._search.cost_bound = max(self._search.cost_bound, bound)

    def _descend(self, mark: float) -> None:
        """Local search with fewer and fewer migrations or MiB: halfway to what is too little, again and again."""
        search = self._search
        little, enough = search.cost_bound - 1, search.score.cost[0]
        while enough - little > max(1, int(NEAR * enough)) and search.left(mark) > 0:
            amount, left = (little + enough) // 2, search.left(mark)
            budget = Budget(search.seconds(left), search.budget.seed, stop=search.ended)
            found = descent.solve(self._within(amount), budget, self._problem.origin).assignment
            search.charge(DESCENT)
            little, enough = (little, search.score.cost[0]) if search.offer(found) else (amount, enough)

    def _within(self, amount: int) -> Problem:
        """The problem with a limit on what is to be cheap."""
        limit = "max_moved_mib" if counts_mib(self._problem) else "max_migrations"
        return self._problem.replace(**{limit: amount})

    def _migrate_less(self, mark: float) -> None:
        """Windows near the cheapest ones, again and again."""
        search, narrowing = self._search, self._narrowing
        while search.left(mark) > 0 and search.score.cost[0] > search.cost_bound:
            choices = [self._near(*pair) for pair in zip(narrowing.relaxations, self._offers, strict=True)]
            guides = [narrowing.guide(list(places)) for places in zip(*choices, strict=False)]
            narrowing.approach.towards(guides, mark, search.score.cost[0] - 1)

    def _near(self, relaxation: Relaxation, offer: Offer) -> list[Spot]:
        """Windows of the goal's width that cost little."""
        goal, rng = self._problem.goal, self._narrowing.approach.rng
        lows = [offer.window.low, *(offer.window.low + rng.uniform(-NEARBY, NEARBY, TRIES) * goal)]
        places = [Spot.at(relaxation, int(low), int(low) + goal) for low in lows]
        tries = TRIED if self._narrowing.approach.is_whole_for(len(offer.fit.leaving)) else 1
        return sorted(places, key=lambda place: (place.fit.toll + rng.uniform(0, 1), place.window.low))[:tries]

    def _prove(self, k: int, mark: float) -> None:
        """So much is too little, or something that costs no more: decided in whole numbers, between the two."""
        search, problem, narrowing = self._search, self._problem, self._narrowing
        kept = narrowing.kept() if narrowing.is_small() and len(narrowing.level.metrics) == 1 else None
        while search.left(mark) > 0 and search.score.cost[0] > search.cost_bound:
            cost = search.score.cost[0]
            amount = self._open[k].next(search.cost_bound - 1, cost, max(1, int(NEAR * cost)), above=kept is not None)
            if amount is None:
                self._steps *= 2
                for exact in self._exact.values():
                    exact.persist()
                return
            if (k, amount) not in self._exact:
                few = Relaxation(self._within(amount), k)
                self._exact[k, amount] = Exact(few, narrowing.approach.table, search)
            outcome = self._exact[k, amount].decide(problem.goal, max(1, problem.goal // self._steps), mark, kept)
            if outcome is Outcome.OUT:
                self._raise(amount + 1)
            elif outcome is Outcome.OPEN:
                self._open[k].add(amount)
