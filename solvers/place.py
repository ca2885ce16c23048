"""Owns where a search stands: an assignment in the making and its violations, and several migrations done as one."""

from collections.abc import Iterable

from solvers import check
from solvers.state import State

Move = tuple[int, int]
"""A bundle and the node it goes to."""


class Place:
    """A state from which no violation is added."""

    def __init__(self, state: State, violations: int) -> None:
        self.state, self.violations = state, violations

    def rank(self) -> tuple[int, ...]:
        """Violations and the values of all levels: smaller is better."""
        return (self.violations, *values(self.state))

    def attempt(self, moves: tuple[Move, ...]) -> bool:
        """Make migrations if the rules allow them, one after the other or all at once; otherwise none of them."""
        return self._in_turn(moves) or (len(moves) > 1 and self._at_once(moves))

    def _in_turn(self, moves: tuple[Move, ...]) -> bool:
        state, done, mended = self.state, list[Move](), 0
        for bundle, node in moves:
            if not state.may_go(bundle, node):
                self._go(done[::-1])
                return False
            done.append((bundle, state.node(bundle)))
            mended += state.mended(bundle, node) if self.violations else 0
            state.migrate(bundle, node)
        self.violations -= mended
        return True

    def _at_once(self, moves: tuple[Move, ...]) -> bool:
        """Each must be allowed when the others are done: bundles may change places that have room for one."""
        state = self.state
        before = [(bundle, state.node(bundle)) for bundle, _ in moves]
        self._go(moves)
        allowed = True
        for (bundle, node), (_, back) in zip(moves, before, strict=True):
            state.migrate(bundle, back)
            allowed = allowed and state.may_go(bundle, node)
            state.migrate(bundle, node)
        violations = len(check.violations(state.problem, state.assignment)) if allowed else 0
        if not allowed or violations > self.violations:
            self._go(before)
            return False
        self.violations = violations
        return True

    def _go(self, moves: Iterable[Move]) -> None:
        for bundle, node in moves:
            self.state.migrate(bundle, node)


def values(state: State) -> tuple[int, ...]:
    """Values of all levels, in ppm, the goal where they are below it."""
    spreads = state.problem.spreads_of(state.loads)
    return tuple(max(level.value(spreads), state.problem.goal) for level in state.problem.aims)
