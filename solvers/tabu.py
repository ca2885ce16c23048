"""Owns the local search: migrations that bring all loads into a band, then into a narrower one, without end.

The best step is taken, even when it makes things worse, and the bundles it has migrated rest for a while, so that
the search does not run in a circle (tabu search; Glover 1989). When it gets no further, some migrations are undone.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from solvers import check
from solvers.band import Floats, narrower
from solvers.exchange import exchange
from solvers.gains import Gains, traits
from solvers.place import Move, Place, values
from solvers.problem import Ints, Problem
from solvers.state import State
from solvers.steps import Steps

NODES, BUNDLES = 48, 3_000
"""What the tables hold at most: on a larger cluster the search looks at a part of it at a time."""
GLANCE = 15
"""Steps after which it looks at another part."""
REST = (3, 10)
"""Steps for which a bundle that was migrated is left alone: at least, and fewer than."""
PATIENCE = 15
"""Steps without a smaller potential after which migrations are undone."""
SHORTEST, PER_NODE = 50, 3
"""Steps after which a band is given up: at least, and more for each node beyond it at first."""
UNDONE = (4, 9)
"""How many: at least, and fewer than."""
BACK = 0.6
"""How often they are undone in the best assignment instead of the current one."""
PARTS = (0.97, 0.9, 0.75, 0.5)
"""Width of the next band, as part of the spread that is reached: smaller after each band that is reached."""
TURNS = 10
"""Failed attempts at one level after which the next one is aimed at."""
TRIES = 20
"""Steps that look best by load and room, of which the first is taken that all rules allow."""
PARTNERS = 6
"""Nodes with which a node beyond the band exchanges bundles."""
EXCHANGES = 5
"""Idle steps after which exchanges are looked for."""
AT_EASE = 4
"""Migrations left, which is what an exchange takes at most, with which they are looked for in every step."""
LEAST = 1e-6
"""Differences of potentials that are rounding."""


def improve(
    problem: Problem,
    start: Ints,
    seconds: float,
    seed: int,
    *,
    offer: Callable[[Ints], object] | None = None,
    stop: Callable[[], bool] = lambda: False,
    steps: int | None = None,
) -> Ints:
    """The best assignment found from an acceptable one until time, `steps` or `stop` end the search.

    The same seed gives the same search, so that more time or steps never give a worse result. `offer` is told every
    better assignment.
    """
    deadline = time.monotonic() + seconds
    search = _Tabu(problem, start, seed)
    taken = 0
    while not search.done() and taken != steps and time.monotonic() < deadline and not stop():
        taken += 1
        if search.step() and offer:
            offer(search.best.copy())
    result = cheapen(problem, search.best)
    if offer and (result != search.best).any():
        offer(result)
    return result


def cheapen(problem: Problem, assignment: Ints) -> Ints:
    """The assignment without migrations that gain nothing, those of most MiB undone first."""
    state, of = State(problem, assignment), traits(problem)
    aims = values(state)
    away = np.unique(problem.bundle_of[problem.migrated(assignment)])
    for bundle in away[np.lexsort((-of.size[away], -of.mib[away]))].tolist():
        now, home = state.node(bundle), int(problem.homes[bundle])
        if state.may_go(bundle, home):
            state.migrate(bundle, home)
            if values(state) > aims:
                state.migrate(bundle, now)
    return state.assignment


def _lowest(values: Floats, first: int) -> int:
    """Where the lowest value is, of several the next from `first` on."""
    late = first + int(values[first:].argmin())
    early = int(values[:first].argmin()) if first else late
    return early if values[early] < values[late] else late


class _Base(NamedTuple):
    """An assignment as good as the best that is nearest to the band: where the search starts again from."""

    assignment: Ints
    loads: Ints
    potential: float


class _Tabu:
    """One search: where it is, the best it has seen, the band it aims at."""

    def __init__(self, problem: Problem, start: Ints, seed: int) -> None:
        self.problem, self.best = problem, start.copy()
        self._rng, self._traits = np.random.default_rng(seed), traits(problem)
        self._whole = problem.nodes <= NODES and len(problem.bundles) <= BUNDLES
        self._until = np.zeros(len(problem.bundles), dtype=np.int64)
        self._clock = self._failed = self._aim = self._pace = 0
        self._place = Place(State(problem, start), len(check.violations(problem, start)))
        self._rank = self._place.rank()
        self._base = _Base(self.best, self._place.state.loads.copy(), 0.0)
        self._gains: Gains | None = None
        self._least, self._idle, self._late = 0.0, 0, 0
        if not self.done():
            self._aim_anew()

    def done(self) -> bool:
        """Whether there is nothing left to gain or to migrate."""
        open_levels = max(self._rank[1:]) > self.problem.goal
        return not (open_levels and self.problem.balanced.any() and self._traits.movable.any())

    def step(self) -> bool:
        """Go on by one step; says whether the best assignment is a new one."""
        self._clock += 1
        if not self._whole and self._clock % GLANCE == 0:
            self._look()
        at_ease = self._slack()[0] >= AT_EASE
        steps = self._steps()
        moved = self._take_lower(steps)
        if not moved and (at_ease or self._idle % EXCHANGES == EXCHANGES - 1):
            moved = self._exchange()
        moved = moved or self._take_free(steps)
        potential = self._potential(self._place.state.loads)
        better = self._compare(potential)
        self._idle = 0 if potential < self._least - LEAST else self._idle + 1
        self._least = min(self._least, potential)
        if better:
            self._failed = 0
            if self.done():
                return True
        if potential < LEAST:
            self._pace = min(self._pace + 1, len(PARTS) - 1)
            self._aim_anew()
        elif not moved or self._idle > PATIENCE or self._clock > self._late:
            self._undo_some()
        return better

    def _compare(self, potential: float) -> bool:
        rank, state = self._place.rank(), self._place.state
        better = rank < self._rank
        if better:
            self.best, self._rank = state.assignment.copy(), rank
        if better or (rank == self._rank and potential < self._base.potential - LEAST):
            self._base = _Base(state.assignment.copy(), state.loads.copy(), potential)
        return better

    def _potential(self, loads: Ints) -> float:
        return float(self._excess(loads).sum())

    def _excess(self, loads: Ints) -> Floats:
        return np.asarray(self._band.beyond(loads.astype(np.float64)) * self.problem.balanced)

    def _aim_anew(self) -> None:
        """Aim at a band in which the best assignment is not, for a level that is still open."""
        levels, goal = len(self.problem.aims), self.problem.goal
        self._aim = next(a for a in range(self._aim, self._aim + levels) if self._rank[1 + a % levels] > goal) % levels
        self._band = narrower(self.problem, self.best, self._aim, PARTS[self._pace], self._rng)
        self._base = self._base._replace(potential=self._potential(self._base.loads))
        self._look()
        excess = self._excess(self._place.state.loads)
        self._least, self._idle = float(excess.sum()), 0
        self._late = self._clock + SHORTEST + PER_NODE * int((excess > 0).sum())

    def _look(self) -> None:
        """Tables of the whole cluster, or of some nodes beyond the band and some that may help them."""
        problem, state = self.problem, self._place.state
        if self._whole and self._gains is not None and self._gains.state is state:
            self._gains.refresh(self._band)
            return
        nodes, bundles = np.arange(problem.nodes), np.flatnonzero(self._traits.movable)
        if not self._whole:
            nodes = self._choose_nodes()
            bundles = bundles[np.isin(state.assignment[problem.leads[bundles]], nodes)]
            bundles = np.sort(self._rng.permutation(bundles)[:BUNDLES])
        self._gains = Gains(state, self._traits, self._band, nodes, bundles)

    def _choose_nodes(self) -> Ints:
        """The nodes furthest beyond the band, some to and from which theirs have migrated, and some by chance."""
        problem, state = self.problem, self._place.state
        excess = self._excess(state.loads)
        wrong = np.argsort(-excess, kind="stable")[: min(NODES // 3, int((excess > 0).sum()))]
        at, home = state.assignment[problem.leads], problem.homes
        away = at != home
        partners = np.concatenate([home[away & np.isin(at, wrong)], at[away & np.isin(home, wrong)]])
        others = np.concatenate([self._rng.permutation(partners)[:NODES], self._rng.permutation(problem.nodes)])
        chosen = list(dict.fromkeys([*wrong.tolist(), *others.tolist()]))[:NODES]
        return np.array(sorted(chosen), dtype=np.int64)

    def _slack(self) -> tuple[float, float]:
        """Migrations and MiB that the limits leave."""
        problem, state = self.problem, self._place.state
        most, most_mib = problem.max_migrations, problem.max_moved_mib
        return (
            np.inf if most is None else most - state.migrations,
            np.inf if most_mib is None else most_mib - state.moved_mib,
        )

    def _steps(self) -> Steps:
        gains = self._gains
        assert gains is not None
        return Steps(gains, self._slack(), self._until[gains.bundles] <= self._clock, self._rng)

    def _take_lower(self, steps: Steps) -> bool:
        """Take the best step if the potential is a new low then, whatever rests."""
        return self._take(steps, self._least - LEAST - self._potential(self._place.state.loads))

    def _take_free(self, steps: Steps) -> bool:
        """Take the best step with bundles that do not rest."""
        steps.values[steps.untouchable()] = np.inf
        return self._take(steps, np.inf)

    def _take(self, steps: Steps, below: float) -> bool:
        """Take the best step that the rules allow of those that gain more than something."""
        if not len(steps.values):
            return False
        # Where many steps are alike, as with few sizes of guests, the first would be the same again and again.
        first = int(self._rng.integers(len(steps.values)))
        for _ in range(TRIES):
            index = _lowest(steps.values, first)
            if not steps.values[index] < below:
                break
            if self._try(steps.moves(index)):
                return True
            steps.values[index] = np.inf
        return False

    def _exchange(self) -> bool:
        """The best exchange of the node furthest beyond the band with one of those that could help, if any gains."""
        gains, rng = self._gains, self._rng
        assert gains is not None
        excess = gains.excess()
        one = int(excess.argmax())
        others = np.flatnonzero(gains.counted > 0)
        others = others[others != one]
        order = np.lexsort((rng.random(len(others)), -excess[others]))
        picked = np.concatenate([others[order[: PARTNERS // 2]], rng.permutation(others)[: PARTNERS // 2]])
        free = np.ones(len(gains.bundles), dtype=bool)
        found = [exchange(gains, one, int(other), self._slack(), free, rng) for other in np.unique(picked)]
        ranked = sorted((item for item in found if item is not None and item[0] < -LEAST), key=lambda item: item[0])
        return any(self._try(moves) for _, moves in ranked)

    def _try(self, moves: tuple[Move, ...]) -> bool:
        """Make migrations if the rules allow them, one after the other or all at once; otherwise none of them."""
        before = [(bundle, self._place.state.node(bundle)) for bundle, _ in moves]
        if not self._place.attempt(moves):
            return False
        bundles = np.array([bundle for bundle, _ in moves])
        if self._gains is not None:
            self._gains.patch(bundles, np.unique([node for _, node in (*moves, *before)]))
        self._until[bundles] = self._clock + self._rng.integers(*REST, size=len(bundles))
        return True

    def _undo_some(self) -> None:
        """Start again nearby: undo some migrations, of the best assignment or of the current one."""
        problem, rng = self.problem, self._rng
        self._failed, self._pace = self._failed + 1, max(self._pace - 1, 0)
        if self._failed % TURNS == 0:
            self._aim += 1
        if rng.random() < BACK:
            self._place = Place(State(problem, self._base.assignment), self._rank[0])
        self._gains = None
        away = np.unique(problem.bundle_of[problem.migrated(self._place.state.assignment)])
        for bundle in rng.permutation(away)[: rng.integers(*UNDONE)].tolist():
            self._try(((bundle, int(problem.homes[bundle])),))
        self._aim_anew()
