"""Owns the reference heuristic: the largest guest to the most free node, until the spread is tolerable.

Source: the recursion that ProxLB's documentation describes; ties go to the lower guest index
(vmid order) and to the lower node index (name order). With n nodes a decision takes O(log n) and what
the rules of the bundle add: a look at each node that they rule out before one that they allow, and,
where those are many or the bundle is pinned like few others, one pass over all nodes.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum

import numpy as np

from solvers.problem import PPM, Ints, Problem
from solvers.ranking import Ranking, Span
from solvers.result import Answer, Budget
from solvers.state import State

LOOKS = 12
"""Nodes that are looked at one by one before all are looked at together, which takes about as long."""


class Free(StrEnum):
    """How the most free node is found."""

    PERCENT = "percent"
    BYTES = "bytes"


def solve(problem: Problem, budget: Budget, start: Ints, *, free: Free = Free.PERCENT) -> Answer:
    """Repair in the manner of the recursion, then balance with it. The first metric decides."""
    state = State(problem, start)
    order = _Order(state, free)
    handled = _repair(order)
    for bundle in _largest_first(problem, np.arange(len(problem.bundles))):
        if order.spread() <= problem.tolerance or _exhausted(state):
            break
        if bundle in handled:
            continue
        target = order.freer(bundle)
        if target is not None:
            order.migrate(bundle, target)
    return Answer(state.assignment)


def repair(state: State, free: Free = Free.PERCENT) -> set[int]:
    """Mend what is in violation, largest offender first, each to the most free node that mends most.

    Returns the bundles that were migrated.
    """
    return _repair(_Order(state, free))


class _Order:
    """A state and its nodes in order, by the first metric: the most free first.

    There is a ranking for each eligibility class of many guests, so that no node is looked at in vain because of one.
    """

    def __init__(self, state: State, free: Free) -> None:
        self.state = state
        self._free = free
        problem = state.problem
        self._taken = np.array([self._measure(node) for node in range(problem.nodes)], dtype=np.int64)
        taken, loads = self._taken.tolist(), state.loads.tolist()
        counted = np.flatnonzero(problem.balanced).tolist()
        self._spans = [Span({node: row[node] for node in counted}) for row in loads]
        self._rankings = {
            eligible: Ranking({node: taken[node] for node in np.flatnonzero(problem.eligibility[eligible]).tolist()})
            for eligible in _common(problem)
        }

    def spread(self) -> int:
        """Spread now, in ppm, without a look at all nodes."""
        return self.state.problem.aims[0].value([int(span.highest - span.lowest) for span in self._spans])

    def place(self, node: int) -> tuple[int, int]:
        """The lower, the more free; ties to the lower index."""
        return int(self._taken[node]), node

    def freer(self, bundle: int) -> int | None:
        """The most free node that a bundle may go to, if it is more free than the bundle's own."""
        own = self.place(self.state.node(bundle))
        # Where the own node would come up, the search has failed.
        found = self._first(bundle, lambda node: self.place(node) >= own or self.state.may_go(bundle, node))
        return found if found is not None and self.place(found) < own else None

    def freest(self, bundle: int) -> int | None:
        """The most free node that a bundle may go to."""
        return self._first(bundle, lambda node: self.state.may_go(bundle, node))

    def migrate(self, bundle: int, node: int) -> None:
        """Put a bundle on a node."""
        now = self.state.node(bundle)
        self.state.migrate(bundle, node)
        for at in (now, node):
            taken = self._measure(at)
            self._taken[at] = taken
            for ranking in self._rankings.values():
                ranking.put(at, taken)
            for span, load in zip(self._spans, self.state.loads[:, at].tolist(), strict=True):
                span.put(at, load)

    def _first(self, bundle: int, suits: Callable[[int], bool]) -> int | None:
        problem = self.state.problem
        if self.state.held(bundle):
            home = int(problem.homes[bundle])
            return home if suits(home) else None
        ranking = self._rankings.get(int(problem.eligible[problem.leads[bundle]]))
        found = ranking.first(suits, LOOKS) if ranking else None
        if found is None:  # a class of few guests, or the rules forbid the first nodes
            legal = np.flatnonzero(self.state.legal(bundle))
            found = int(legal[np.argmin(self._taken[legal])]) if len(legal) else None
        return found

    def _measure(self, node: int) -> int:
        """What is free on a node, negative: in ppm or in the unit of the metric."""
        amount = PPM - int(self.state.loads[0, node])
        if self._free is Free.BYTES:  # not rounded down: rounding must not undo a tie
            amount = (amount * int(self.state.problem.ability[0, node]) + PPM // 2) // PPM
        return -amount


def _repair(order: _Order) -> set[int]:
    """Migrate what offends, again while that makes room for more; then relieve nodes of which several have to go."""
    state, handled = order.state, set[int]()
    while mended := _mend(order, handled):
        handled |= mended
    for node in np.flatnonzero((state.usage > state.problem.capacity).any(axis=1)).tolist():
        handled |= _relieve(order, node)
    return handled


def _mend(order: _Order, handled: set[int]) -> set[int]:
    """Each bundle that offends to the most free of the nodes that mend most, once."""
    state, mended = order.state, set[int]()
    for bundle in _largest_first(state.problem, state.suspects()):
        if bundle in handled or not state.offends(bundle):
            continue
        options = _options(order, bundle)
        gains = {node: state.mended(bundle, node) for node in options}
        most = max(gains.values(), default=0)
        if most > 0:
            order.migrate(bundle, min((node for node in options if gains[node] == most), key=order.place))
            mended.add(bundle)
    return mended


def _relieve(order: _Order, node: int) -> set[int]:
    """Take off a node what is too much for it, largest guests first; nothing if not all of it can go."""
    state, gone = order.state, list[int]()
    for bundle in _largest_first(state.problem, state.on(node)):
        over = state.usage[node] > state.problem.capacity[node]
        if not over.any():
            return set(gone)
        target = order.freest(bundle) if (over & (state.problem.bundle_needs[bundle] > 0)).any() else None
        if target is not None:
            order.migrate(bundle, target)
            gone.append(bundle)
    if (state.usage[node] <= state.problem.capacity[node]).all():
        return set(gone)
    for bundle in reversed(gone):
        order.migrate(bundle, node)
    return set()


def _options(order: _Order, bundle: int) -> set[int]:
    """Nodes to which a bundle may go, among them the most free of those that mend most."""
    state = order.state
    if state.shares_domains(bundle):  # another node of its domain mends less than one beyond it
        return set(np.flatnonzero(state.legal(bundle)).tolist())
    # Nodes that hold guests the bundle belongs together with may mend more than others, which are all alike.
    options = {node for node in state.mates(bundle) if state.may_go(bundle, node)}
    freest = order.freest(bundle)
    return options if freest is None else options | {freest}


def _largest_first(problem: Problem, bundles: Ints) -> Iterator[int]:
    """Bundles by demand of the first metric, largest first; ties to the lowest guest index."""
    size = problem.by_bundle(problem.demand[0])
    yield from bundles[np.lexsort((problem.leads[bundles], -size[bundles]))].tolist()


def _common(problem: Problem) -> list[int]:
    """Eligibility classes of more bundles than two nodes hold on average: to look for each would cost more."""
    users = np.bincount(problem.eligible[problem.leads], minlength=len(problem.eligibility))
    found: list[int] = np.flatnonzero(users * problem.nodes > 2 * len(problem.bundles)).tolist()
    return found


def _exhausted(state: State) -> bool:
    limit = state.problem.max_migrations
    return limit is not None and state.migrations >= limit
