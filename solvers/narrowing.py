"""Owns the narrowing of one level on a large cluster: windows that the relaxation leaves possible, tried and proven.

What is reached and what is ruled out approach each other: a window between the two is placed where the relaxation
migrates least, and searched for; what the linear relaxation cannot rule out is decided in whole numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from solvers import tabu
from solvers.approach import Approach, Guide
from solvers.between import Between
from solvers.exact import Exact, Outcome
from solvers.frontier import PRECISION, Window, narrowest
from solvers.kernel import likely, mends
from solvers.lattice import lifted
from solvers.problem import Level
from solvers.relax import Fit, Relaxation, columns
from solvers.search import Search
from solvers.windows import Windows

COARSE = 15
"""Parts of the reached spread to which windows are told apart to guide."""
PARTS = 60
"""Parts to which they are told apart on clusters too large for decisions on windows..."""
WHOLE, DECIDED = 6_000, 20_000
"""Columns of the relaxation up to which attempts are made with all nodes at once, and windows decided."""
FIRST = 0.4
"""How far above what is ruled out, on the way to what is reached, the first width is that is to be decided; on large
clusters half as far."""
PLACES = 3
"""Places of either kind where the relaxation looks at windows of a width."""
TRIED = 2
"""Places in which a width is tried."""
STEP, CAUTIOUS = 0.5, 0.7
"""How far above what is ruled out, on the way to what is reached, the next window is: on large clusters farther."""
FINE = 0.3
"""Below this part of the spread that is reached the bound says little: then it can nearly vanish, which is found..."""
POLISHED = 0.85
"""... by local search, for this part of a round."""
PROVEN = 0.7
"""Part of a round for the proof."""
STEPS = 400
"""Steps of local search that count as a second of work."""
NEAR = 0.02
"""Part of the reached spread that is not worth another window."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A window and what the relaxation says of it."""

    window: Window
    fit: Fit

    @classmethod
    def at(cls, relaxation: Relaxation, low: int, high: int) -> "Spot":
        """The place of a window [low, high] in ppm."""
        return cls(Window(low, high), relaxation.fewest(low, high))


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
        self._seed = self._parts = 0
        self._exact: dict[int, Exact] = {}
        first = FIRST if self.is_small() else FIRST / 2
        self._open = {k: Between(first) for k in self.level.metrics}
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

    def settled(self) -> bool:
        """Whether so little can be gained that no window would tell."""
        return self.closed() or self.reached - self.bound <= PRECISION

    def run(self, mark: float) -> None:
        """One round: first what the relaxation rules out, then narrower windows and their proof."""
        if not self.narrowest:
            self.rule_out(mark)
        left = max(0.0, self.search.left(mark))
        if self.bound < FINE * self.reached:
            self._seed += 1
            afresh = self._seed % 2 == 0 and not mends(self.search)
            # Where the search has got stuck, another one often gets further: so every other one begins afresh.
            polish(self.search, mark - left * (1 - POLISHED), self._seed, closed=self.closed, afresh=afresh)
        proven = PROVEN if self.is_small() else PROVEN / 2
        self.narrow(mark - left * proven)
        self.prove(mark)

    def rule_out(self, mark: float) -> None:
        """The narrowest windows by the linear relaxation."""
        for relaxation in self.relaxations:
            known = self._known(relaxation.k)
            stop = partial(self._ended, mark)
            found = narrowest(relaxation, known, stop, max(PRECISION, known // COARSE))
            self.narrowest[relaxation.k] = found.window
            self._prove(relaxation.k, found.bound)

    def prove(self, mark: float) -> None:
        """Widths between what is ruled out and what is reached, decided one after the other."""
        for relaxation in self.relaxations:
            k = relaxation.k
            if columns(self.problem) > DECIDED:
                self._prove_relaxed(relaxation, mark)
                continue
            if k not in self._exact:
                self._exact[k] = Exact(relaxation, self.approach.table, self.search)
            kept = self.kept() if self.is_small() and len(self.level.metrics) == 1 else None
            while not self.closed() and self.search.left(mark) > 0:
                bound, known = int(self._bounds[k]), self._known(k)
                least = max(PRECISION, int(NEAR * known))
                width = self._open[k].next(bound, known, least, above=kept is not None)
                if known - bound <= PRECISION:
                    break
                if width is None:
                    self._exact[k].persist()
                    break
                outcome = self._exact[k].decide(width, max(1, (width - bound) // 2), mark, kept)
                if outcome is Outcome.OUT:
                    self._prove(k, width)
                elif outcome is Outcome.OPEN:
                    self._open[k].add(width)

    def is_small(self) -> bool:
        """Whether attempts at windows are made with all nodes at once."""
        return columns(self.problem) <= WHOLE

    def _prove_relaxed(self, relaxation: Relaxation, mark: float) -> None:
        """The narrowest windows of the linear relaxation, told apart more finely."""
        known = self._known(relaxation.k)
        if known // PARTS >= PRECISION and self._parts < PARTS:
            stop = partial(self._ended, mark)
            found = narrowest(relaxation, known, stop, known // PARTS)
            self._prove(relaxation.k, found.bound)
            self._parts = 0 if self._ended(mark) else PARTS

    def _ended(self, mark: float) -> bool:
        return self.search.left(mark) <= 0

    def narrow(self, mark: float) -> None:
        """Window after window between what is reached and what is ruled out, until they meet or time is up."""
        if 0 < self.approach.width < self.reached:
            self.approach.on(mark, self._limit())
        floor = self.bound
        while self.search.left(mark) > 0 and not self.closed():
            reached = self.reached
            if reached - self.bound <= PRECISION:
                return
            if reached - floor <= NEAR * reached:
                aim = reached - int(self.approach.rng.uniform(1, 5) * NEAR * reached)
                floor = max(self.bound, aim)  # other places, other guests
            width = max(self.problem.goal, floor + int((STEP if self.is_small() else CAUTIOUS) * (reached - floor)))
            if not self.approach.towards(self._guides(width), mark, self._limit()):
                floor = self.bound if self.reached < reached else width

    def _guides(self, width: int) -> list[Guide]:
        """Windows of a width in several places, the cheapest first; only that one if the cluster is large."""
        places = [self._places(relaxation, width) for relaxation in self.relaxations]
        first = self.guide([of_one[0] for of_one in places])
        if not self.approach.is_whole(first):
            return [first]
        return [first, *(self.guide(list(place)) for place in list(zip(*places, strict=False))[1:TRIED])]

    def _places(self, relaxation: Relaxation, width: int) -> list["Spot"]:
        """Windows that the relaxation finds possible, in any order: its toll does not tell which suits guests best.
        Of weighted metrics each is as wide as its share."""
        k, narrow = relaxation.k, self.narrowest[relaxation.k]
        if self.level.weights:
            width = width * int(self.problem.spreads(self.search.best)[k]) // max(1, self.reached)
        wider = max(0, width - (narrow.high - narrow.low))
        loads, rng = self.problem.loads(self.search.best)[k, self.problem.balanced], self.approach.rng
        inner = max(0, int(np.ptp(loads)) - width)
        lows = [
            *(narrow.low - rng.uniform(-0.3, 1.5, PLACES) * wider),  # about the narrowest one
            *(int(loads.min()) + rng.uniform(-0.3, 1.3, PLACES) * inner),  # within what is reached
        ]
        places = [Spot.at(relaxation, int(low), int(low) + width) for low in sorted(lows)]
        likely = [place for place in places if place.fit.toll <= relaxation.limit] or places
        return [likely[i] for i in rng.permutation(len(likely))]

    def guide(self, places: list["Spot"]) -> Guide:
        """Windows, one of each metric of the level, and who leaves in relaxations of windows like them."""
        windows, fits = self.kept(), {}
        popular = np.zeros(len(self.problem.bundles), dtype=np.int64)
        for relaxation, place in zip(self.relaxations, places, strict=True):
            window, fits[relaxation.k] = place.window, place.fit
            windows[relaxation.k] = (window.low, window.high)
            popular += likely(relaxation, window, self.approach.rng)
        return Guide(windows, fits, self._classes, popular)

    def kept(self) -> Windows:
        """What the levels before this one have reached."""
        loads = self.problem.loads(self.search.best)[:, self.problem.balanced]
        before = {k for level in self.problem.aims[: self.index] for k in level.metrics}
        return {k: (int(loads[k].min()), int(loads[k].max())) for k in before - set(self.level.metrics)}

    def _limit(self) -> int:
        return self.relaxations[0].limit

    def _known(self, k: int) -> int:
        return max(int(self.problem.spreads(self.search.best)[k]), self.problem.goal)

    def _prove(self, k: int, bound: int) -> None:
        self._bounds[k] = max(self._bounds[k], lifted(self.problem, k, bound, self._known(k)))
        if self.index == 0:
            self.search.prove(self.level.value(self._bounds))


def polish(search: Search, mark: float, seed: int = 0, *, closed: Callable[[], bool], afresh: bool = False) -> None:
    """Local search, which finds what is nearly even where the limit leaves many ways; `afresh`: from today.

    It ends when `closed` says that nothing is left to be gained."""
    left, taken = max(0.0, search.left(mark)), 0
    steps = None if search.budget.work is None else int(STEPS * left)

    def stop() -> bool:
        nonlocal taken
        taken += 1
        return closed() or search.ended() or (steps is None and search.left(mark) <= 0)

    tabu.improve(
        search.problem,
        search.problem.origin if afresh else search.best,
        search.seconds(left),
        search.budget.seed + seed,
        offer=search.offer,
        stop=stop,
        steps=steps,
    )
    search.charge(taken / STEPS)
