"""Owns the proof in whole numbers that no window of a width is possible, window by window and side by side."""

from functools import partial

from solvers.frontier import Window, undecided
from solvers.relax import Relaxation
from solvers.run import in_threads
from solvers.search import Search

SECONDS = 6.0
"""Most that the decision on one window is worth."""
CHARGE = 2.0
"""Work that it counts as."""
TREE = 100_000
"""Nodes of its search tree."""


class Exact:
    """What is proven of the windows of one metric; a window inside one that is ruled out is ruled out as well."""

    def __init__(self, coarse: Relaxation, fine: Relaxation, search: Search) -> None:
        self._coarse, self._fine, self._search = coarse, fine, search
        self._out: list[Window] = []

    def rules_out(self, width: int, step: int, mark: float) -> bool:
        """Whether every window of a width (ppm) is ruled out; windows up to `step` wider are looked at for that."""
        windows = undecided(self._coarse, width, step, lambda: self._search.left(mark) <= 0)
        if windows is None:
            return False
        left = [window for window in windows if not self._is_out(window)]
        workers = self._search.workers
        for first in range(0, len(left), workers):
            some = left[first : first + workers]
            seconds = min(SECONDS, self._search.left(mark))
            if seconds <= 0:
                return False
            self._search.charge(CHARGE * len(some))
            possible = in_threads([partial(self._possible, window, seconds) for window in some])
            self._out += [window for window, may in zip(some, possible, strict=True) if not may]
            if any(possible):
                return False
        return True

    def _is_out(self, window: Window) -> bool:
        return any(out.low <= window.low and window.high <= out.high for out in self._out)

    def _possible(self, window: Window, seconds: float) -> bool:
        if not self._fine.fits(window.low, window.high):
            return False
        search = self._search
        return self._fine.decide(
            window.low, window.high, search.seconds(seconds), search.budget.seed, search.tree(TREE)
        )[0]
