"""Owns what a front is: the best that is known within each of some limits, and what is proven of it."""

from collections.abc import Callable
from dataclasses import dataclass

from solvers.problem import Ints, Score


@dataclass(frozen=True, eq=False)
class Point:
    """The best that is known within a limit."""

    limit: int
    """Migrations or MiB."""
    assignment: Ints
    score: Score
    """Violations come first: of two points with different numbers of them the spreads cannot be compared."""
    bound: int
    """ppm: no acceptable assignment within the limit that has as few violations has a smaller spread."""
    exact: bool
    """Proven: no acceptable assignment within the limit has fewer violations, or as few and a smaller spread."""

    @property
    def spread(self) -> int:
        """ppm, value of the first level."""
        return self.score.spread


@dataclass(frozen=True, eq=False)
class Front:
    """What is known of all limits."""

    points: tuple[Point, ...]
    """By rising limit. Of limits of MiB each is as tight as its point allows, and no point is as good as one below."""
    complete: bool
    """Whether no limit lies between two points, or beyond the last, at which there could be another one, if all of them
    are exact."""
    spent: float
    """Seconds, or work where that is what was limited."""
    searches: int
    """How often the exact search was started."""


Told = Callable[[Front], None]
"""Is told what is known after every step."""
