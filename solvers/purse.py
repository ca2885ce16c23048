"""Owns what several searches spend of one budget: seconds, or work where that is what is limited."""

import time

from solvers.result import Budget


class Purse:
    """A budget that several searches share, one after the other."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._began, self._work = time.monotonic(), 0.0

    @property
    def total(self) -> float:
        """The whole budget."""
        return self.budget.seconds if self.budget.work is None else self.budget.work

    def spent(self) -> float:
        """What has been spent of it."""
        return time.monotonic() - self._began if self.budget.work is None else self._work

    def charge(self, work: float) -> None:
        """Count work that has been done."""
        self._work += work

    def ended(self) -> bool:
        """Whether time is up, however little work was done, or someone says stop."""
        stop = self.budget.stop
        return time.monotonic() - self._began >= self.budget.seconds or (stop is not None and stop())

    def left(self, share: float = 1.0) -> float:
        """What is left until a part of the budget is spent; nothing when it has ended."""
        return 0.0 if self.ended() else share * self.total - self.spent()

    def seconds(self, amount: float) -> float:
        """Seconds for something that is worth so much: all there are, where work is what is limited."""
        rest = self.budget.seconds - (time.monotonic() - self._began)
        return max(0.0, min(amount, rest) if self.budget.work is None else rest)
