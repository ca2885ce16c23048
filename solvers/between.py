"""Owns the choice of the number to decide next, between what is ruled out and what is reached."""


class Between:
    """Numbers on which no decision was reached, and which to decide next: beside them, where more is left."""

    def __init__(self, first: float) -> None:
        """`first`: how far up from what is ruled out to what is reached the first number is, as part of the way."""
        self._first = first
        self._low = self._high = -1

    def add(self, number: int) -> None:
        """No decision was reached on a number."""
        self._low, self._high = (number, number) if self._low < 0 else (min(self._low, number), max(self._high, number))

    def next(self, out: int, reached: int, least: int, *, above: bool = True) -> int | None:
        """A number between what is ruled out and what is reached; None if what is not open is less than `least`.

        `above`: numbers above those that are open are worth a try, too."""
        if not out < self._low <= self._high < reached:
            self._low = self._high = -1
            return min(out + max(1, int(self._first * (reached - out))), reached - 1) if reached - out > 1 else None
        lower, upper = self._low - out, above * (reached - self._high)
        if max(lower, upper) <= least:
            self._low = self._high = -1
            return None
        return out + lower // 2 if lower > upper else self._high + upper // 2
