"""Owns the climb: migrations that are possible now, one by one, the best first, beyond what is reached already.

Every step is one more leg of a plan, so that wherever it leads can be got to. Where it gets no higher, a few legs are
left out, a few made at random, and it goes on from there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.order import Hop
from planner.schedule import Reach, followed
from solvers import check
from solvers.possible import Clock
from solvers.problem import Ints, Problem
from solvers.state import State

Rank = tuple[int, tuple[int, ...], float]
"""Violations, values of all levels as far as they are above the goal, and while any is, the sum of squares of loads."""
LEFT_OUT, AT_RANDOM = 3, (1, 4)
"""Bundles whose legs are left out, at most; steps at random: at least, and fewer than."""


def climbed(problem: Problem, way: Problem, reach: Reach, clock: Clock) -> Reach:
    """What is reached with migrations that better it, each bundle's first; the same where none does, or time is up."""
    climb = _Climb(problem, way, _hops(way, reach), most_hops=1)
    start = check.score(problem, climb.state.assignment)
    hops = climb.go(clock)
    higher = followed(way, hops)
    return higher if check.score(problem, higher.assignment) < start else reach


def strayed(
    problem: Problem, way: Problem, reach: Reach, clock: Clock, rng: np.random.Generator, *, stops: bool
) -> Reach:
    """The highest place of a climb that starts a few random steps beside what is reached.

    With `stops` a bundle may go on from where it has got to, which is a stop on its way then.
    """
    hops = _hops(way, reach)
    owners = list(dict.fromkeys(_owner(problem, way, hop) for hop in hops))
    gone = set(rng.permutation(owners)[: rng.integers(LEFT_OUT + 1)].tolist())
    kept = [hop for hop in hops if _owner(problem, way, hop) not in gone]
    climb = _Climb(problem, way, kept, most_hops=1 + stops)
    for _ in range(rng.integers(*AT_RANDOM)):
        climb.stray(rng)
    return followed(way, climb.go(clock))


def _hops(way: Problem, reach: Reach) -> list[Hop]:
    return [Hop(int(way.bundle_of[leg.guests[0]]), leg.source, leg.target, leg.bypass) for leg in reach.legs]


def _owner(problem: Problem, way: Problem, hop: Hop) -> int:
    """What of the problem a bundle of the way is all or a part of: rules that hold in the end only unite more."""
    return int(problem.bundle_of[way.leads[hop.bundle]])


@dataclass(frozen=True, slots=True, order=True)
class _Step:
    rank: Rank
    bundle: int
    node: int


class _Climb:
    """An assignment on the climb, under the rules that hold in the end and under those that hold on the way."""

    def __init__(self, problem: Problem, way: Problem, hops: Sequence[Hop], most_hops: int) -> None:
        self._problem, self._way, self._most = problem, way, most_hops
        self._road, self.hops = _replayed(problem, way, hops)
        self.state = State(problem, self._road.assignment)
        self._violations = len(check.violations(problem, self.state.assignment))
        self._parts = [np.unique(way.bundle_of[guests]).tolist() for guests in problem.bundles]
        self._times = np.zeros(len(problem.bundles), dtype=np.int64)
        for hop in self.hops:
            self._times[_owner(problem, way, hop)] += 1
        for bundle, parts in enumerate(self._parts):
            self._times[bundle] = -(-self._times[bundle] // len(parts))

    def go(self, clock: Clock) -> list[Hop]:
        """Climb as far as it goes; the hops that lead to the best place on the climb."""
        best, hops = check.score(self._problem, self.state.assignment), self.hops.copy()
        while clock.left() > 0 and self._step(clock):
            score = check.score(self._problem, self.state.assignment)
            if score < best:
                best, hops = score, self.hops.copy()
        return hops

    def stray(self, rng: np.random.Generator) -> None:
        """Make a step at random."""
        for bundle in rng.permutation(self._free()).tolist():
            steps = list(self._steps(bundle))
            if steps and self._take(steps[rng.integers(len(steps))]):
                return

    def _step(self, clock: Clock) -> bool:
        """Make the migration after which most is gained; False where none gains."""
        now = self._rank(self._violations, tuple(self._problem.spreads_of(self.state.loads).tolist()), self._squares())
        load = self.state.loads.max(axis=0)
        found: list[_Step] = []
        for bundle in sorted(self._free(), key=lambda b: (-int(load[self.state.node(b)]), b)):  # these gain most
            found += [step for step in self._steps(bundle) if step.rank < now]
            if clock.left() <= 0:
                break
        return any(self._take(step) for step in sorted(found))

    def _free(self) -> list[int]:
        """Bundles that may be migrated, or once more."""
        free = self._problem.bundle_movable & (self._times < self._most)
        return [bundle for bundle in np.flatnonzero(free).tolist() if self._affords(bundle)]

    def _affords(self, bundle: int) -> bool:
        """Whether the limits, which count stops too, leave one more leg for a bundle."""
        problem = self._problem
        most, mib = problem.max_migrations, problem.max_moved_mib
        guests = int((self._times * problem.bundle_sizes).sum() + problem.bundle_sizes[bundle])
        copied = int((self._times * problem.bundle_mib).sum() + problem.bundle_mib[bundle])
        return (most is None or guests <= most) and (mib is None or copied <= mib)

    def _steps(self, bundle: int) -> Iterator[_Step]:
        """Where a bundle may go now, each with what it would be like then."""
        state, problem = self.state, self._problem
        legal = state.legal(bundle)
        legal[problem.homes[bundle]] = False
        for part in self._parts[bundle]:
            legal &= self._road.legal(part)
        nodes = np.flatnonzero(legal)
        if not len(nodes):
            return
        source, weights = state.node(bundle), problem.bundle_weights(problem.bundles[bundle])
        spreads, squares = _spreads_with(problem, state.loads, source, weights), self._squares_with(source, weights)
        for node in nodes.tolist():
            mended = state.mended(bundle, node) if self._violations else 0
            rank = self._rank(self._violations - mended, tuple(spreads[:, node].tolist()), float(squares[node]))
            yield _Step(rank, bundle, node)

    def _rank(self, violations: int, spreads: tuple[int, ...], squares: float) -> Rank:
        problem = self._problem
        values = tuple(max(level.value(spreads), problem.goal) for level in problem.aims)
        return violations, values, squares if max(values) > problem.goal else 0.0

    def _squares(self) -> float:
        loads = self.state.loads[:, self._problem.balanced].astype(np.float64)
        return float((loads * loads).sum())

    def _squares_with(self, source: int, weights: Ints) -> Ints:
        """(n,) the same with a bundle on each node instead of its own."""
        counted, loads = self._problem.balanced.astype(np.float64), self.state.loads.astype(np.float64)
        off = (weights[:, source] * (weights[:, source] - 2 * loads[:, source])).sum() * counted[source]
        on = (weights * (weights + 2 * loads)).sum(axis=0) * counted
        return np.asarray(self._squares() + off + on)

    def _take(self, step: _Step) -> bool:
        """Migrate a bundle, in the parts in which it travels; False where one of them cannot go after the others."""
        source, road = self.state.node(step.bundle), self._road
        parts = self._parts[step.bundle]
        for index, part in enumerate(parts):
            if not road.may_go(part, step.node):
                for other in reversed(parts[:index]):
                    road.migrate(other, source)
                return False
            road.migrate(part, step.node)
        self.state.migrate(step.bundle, step.node)
        self.hops = [replace(hop, bypass=True) if hop.bundle in parts else hop for hop in self.hops]
        self.hops += [Hop(part, source, step.node) for part in parts]
        self._violations = step.rank[0]
        self._times[step.bundle] += 1
        return True


def _replayed(problem: Problem, way: Problem, hops: Sequence[Hop]) -> tuple[State, list[Hop]]:
    """Where hops lead, and those that are possible, less all of a bundle of which one is not."""
    left = list(hops)
    while True:
        road = State(way.replace(max_migrations=None, max_moved_mib=None), way.origin)
        for hop in left:
            if not road.may_go(hop.bundle, hop.target):
                owner = _owner(problem, way, hop)
                break
            road.migrate(hop.bundle, hop.target)
        else:
            return road, left
        left = [hop for hop in left if _owner(problem, way, hop) != owner]


def _spreads_with(problem: Problem, loads: Ints, source: int, weights: Ints) -> Ints:
    """(k, n) spreads with a bundle on each node instead of its own."""
    left = loads.copy()
    left[:, source] -= weights[:, source]
    spreads = np.zeros_like(loads)
    if problem.balanced.any():
        spreads = _highest(problem, left, weights) + _highest(problem, -left, -weights)
    return spreads


def _highest(problem: Problem, loads: Ints, weights: Ints) -> Ints:
    """(k, n) the highest load of all balanced nodes when something is added to one of them."""
    least = np.iinfo(np.int64).min // 4
    counted = np.where(problem.balanced, loads, least)
    top = counted.argmax(axis=1)[:, None]
    highest = np.take_along_axis(counted, top, axis=1)
    rest = counted.copy()
    np.put_along_axis(rest, top, least, axis=1)
    others = np.where(np.arange(problem.nodes) == top, rest.max(axis=1)[:, None], highest)
    return np.asarray(np.maximum(others, np.where(problem.balanced, loads + weights, least)), dtype=np.int64)
