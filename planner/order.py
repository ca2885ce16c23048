"""Owns the order in which bundles reach their targets one after the other, and the stops on third nodes it takes."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solvers.problem import Ints, Problem
from solvers.state import State

TRIES = 6
"""Orders that are tried, each with what was blocked in the last one at the front (squeaky wheel optimisation: Joslin
and Clements 1999)."""
EVICTED = 4
"""Guests that stop elsewhere, at most, so that one more can come."""
Floats = npt.NDArray[np.float64]
RESTART = 3600
"""Seconds that a stop on the way of a running container counts in addition: it restarts once more."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A bundle from one node to another."""

    bundle: int
    source: int
    target: int
    bypass: bool = False
    """Whether it goes on from there."""


@dataclass(frozen=True, slots=True)
class Order:
    """Hops one after the other, and the bundles that do not reach their targets."""

    hops: tuple[Hop, ...]
    blocked: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Effort:
    """What migrating each bundle takes."""

    seconds: Ints
    """(bundles,)"""
    restarts: Ints
    """(bundles,) running containers in it."""

    @property
    def bypass(self) -> Ints:
        """(bundles,) what a stop on the way counts."""
        return np.asarray(self.seconds + RESTART * self.restarts, dtype=np.int64)


def direct(problem: Problem, assignment: Ints, effort: Effort) -> Order:
    """Every bundle straight to its target; of a few orders one that blocks fewest."""
    best, front = None, frozenset[int]()
    for _ in range(TRIES):
        walk = _Walk(problem, assignment, effort, front)
        walk.go()
        if best is None or len(walk.pending) < len(best.blocked):
            best = walk.order()
        if walk.pending <= front:
            break
        front |= walk.pending
    assert best is not None
    return best


def with_stops(problem: Problem, assignment: Ints, effort: Effort, limits: tuple[int, int], first: Order) -> Order:
    """The same with stops on third nodes where bundles block each other.

    `limits`: migrations and MiB that stops may take. A bundle that would be left on the way stops nowhere.
    """
    barred: frozenset[int] = frozenset()
    for _ in range(TRIES):
        walk = _Walk(problem, assignment, effort, frozenset(first.blocked), limits, barred)
        while walk.go() and walk.make_way():
            pass
        left = walk.stopped & walk.pending
        if not left:
            return walk.order()
        barred |= left
    return first


class _Walk:
    """One order in the making."""

    def __init__(
        self, problem: Problem, assignment: Ints, effort: Effort, front: Collection[int],
        limits: tuple[int, int] = (0, 0), barred: Collection[int] = (),
    ) -> None:  # fmt: skip
        self._problem, self._effort, self._limits, self._barred = problem, effort, limits, barred
        self._state = State(problem.replace(max_migrations=None, max_moved_mib=None), problem.origin)
        moved = np.unique(problem.bundle_of[problem.migrated(assignment)])
        self._target = {int(b): int(assignment[problem.leads[b]]) for b in moved}
        self.pending = set(self._target)
        self.stopped: set[int] = set()
        """Bundles that are on a third node, or were."""
        self._hops: list[Hop] = []
        # Repairs come first, and before them only what was blocked in another order.
        self._rank = {b: (b not in front, not self._state.offends(b)) for b in self.pending}

    def order(self) -> Order:
        return Order(tuple(self._hops), tuple(sorted(self.pending)))

    def go(self) -> bool:
        """Migrate whatever can reach its target, until that is nothing; whether something is left."""
        while (ready := next(self._ready(), None)) is not None:
            self._hop(ready, self._target[ready], bypass=False)
            self.pending.remove(ready)
        return bool(self.pending)

    def _ready(self) -> Iterator[int]:
        """Pending bundles whose target takes them now, by rank, then by what they even out per second."""
        bundles = np.array(sorted(self.pending), dtype=np.int64)
        if not len(bundles):
            return
        gain = self._gain(bundles) / np.maximum(self._effort.seconds[bundles], 1)
        for index in sorted(range(len(bundles)), key=lambda i: (self._rank[int(bundles[i])], -gain[i], i)):
            bundle = int(bundles[index])
            if self._state.may_go(bundle, self._target[bundle]):
                yield bundle

    def _gain(self, bundles: Ints) -> Floats:
        """How much nearer all loads get to their mean with each of these bundles on its target, squared."""
        state, problem = self._state, self._problem
        target = np.array([self._target[int(b)] for b in bundles], dtype=np.int64)
        source = state.assignment[problem.leads[bundles]]
        off, on = self._weights(bundles, source), self._weights(bundles, target)
        mean = state.loads[:, problem.balanced].sum(axis=1) / max(1, int(problem.balanced.sum()))
        above = state.loads - mean[:, None]
        gained = off * (2 * above[:, source] - off) * problem.balanced[source]
        lost = on * (2 * above[:, target] + on) * problem.balanced[target]
        return np.asarray((gained - lost).sum(axis=0), dtype=np.float64)

    def _weights(self, bundles: Ints, nodes: Ints) -> Floats:
        """(k, bundles) ppm that each would put on its node."""
        problem = self._problem
        guests = np.concatenate([problem.bundles[b] for b in bundles])
        owner = np.repeat(np.arange(len(bundles)), problem.bundle_sizes[bundles])
        each = problem.weights(guests, nodes[owner])
        return np.array([np.bincount(owner, row, len(bundles)) for row in each])

    def _hop(self, bundle: int, node: int, *, bypass: bool) -> None:
        self._hops.append(Hop(bundle, self._state.node(bundle), node, bypass))
        self._state.migrate(bundle, node)

    # --- stops on the way ---------------------------------------------------------------------------

    def make_way(self) -> bool:
        """Let those guests stop elsewhere whose stops take least and let one more bundle come; whether any do."""
        best: tuple[int, list[tuple[int, int]]] | None = None
        for bundle in sorted(self.pending):
            moves = self._evict(bundle)
            if moves is not None:
                cost = sum(int(self._effort.bypass[b]) for b, _ in moves)
                best = (cost, moves) if best is None or cost < best[0] else best
        for bundle, node in best[1] if best else []:
            self._hop(bundle, node, bypass=True)
            self.stopped.add(bundle)
            self._limits = self._rest(bundle)
        return best is not None

    def _rest(self, bundle: int) -> tuple[int, int]:
        """What the limits leave when a bundle stops on its way."""
        problem = self._problem
        return self._limits[0] - int(problem.bundle_sizes[bundle]), self._limits[1] - int(problem.bundle_mib[bundle])

    def _evict(self, coming: int) -> list[tuple[int, int]] | None:
        """Stops that let a bundle come to its target; None where no few do. The state is left as it is."""
        state, node, limits = self._state, self._target[coming], self._limits
        moves: list[tuple[int, int]] = []
        homes: list[tuple[int, int]] = []
        for bundle in sorted(self._in_the_way(coming), key=lambda b: (int(self._effort.bypass[b]), b)):
            rest = self._rest(bundle)
            stop = self._stop(bundle, node) if min(rest) >= 0 and len(moves) < EVICTED else None
            if stop is None:
                continue
            self._limits = rest
            homes.append((bundle, state.node(bundle)))
            moves.append((bundle, stop))
            state.migrate(bundle, stop)
            if state.may_go(coming, node):
                break
        possible = bool(moves) and state.may_go(coming, node)
        for bundle, home in reversed(homes):
            state.migrate(bundle, home)
        self._limits = limits
        return moves if possible else None

    def _in_the_way(self, coming: int) -> list[int]:
        """Pending bundles on the target of another, or kept apart from it, that have not stopped yet."""
        node = self._target[coming]
        apart = {int(b) for rule in self._problem.apart for b in self._problem.bundle_of[list(rule.guests)]
                 if coming in self._problem.bundle_of[list(rule.guests)]}  # fmt: skip
        free = self.pending - self.stopped - {coming} - set(self._barred)
        return [b for b in free if self._state.node(b) == node or b in apart]

    def _stop(self, bundle: int, leaving: int) -> int | None:
        """The node with most room that takes a bundle, which is neither its target nor the node that it leaves."""
        state, problem = self._state, self._problem
        legal = state.legal(bundle)
        legal[[leaving, self._target[bundle]]] = False
        nodes = np.flatnonzero(legal)
        wanted = {self._target[b] for b in self.pending}
        room = (problem.capacity - state.usage)[nodes, 0] if problem.capacity.shape[1] else np.zeros(len(nodes))
        order = sorted(range(len(nodes)), key=lambda i: (int(nodes[i]) in wanted, -int(room[i]), i))
        return int(nodes[order[0]]) if order else None
