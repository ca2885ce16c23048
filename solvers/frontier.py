"""Owns the search for the narrowest window of loads that the linear relaxation cannot rule out.

A window [low, high] needs no fewer migrations than a wider one, so highest(low), the lowest top that the
relaxation allows above a bottom, never falls when the bottom rises. Intervals of bottoms are halved where
their windows may still be narrowest (best first), as far as they can be narrower than what is known.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from solvers.relax import Relaxation

PRECISION = 100
"""ppm to which bottoms and tops are told apart at the finest."""


@dataclass(frozen=True, slots=True)
class Window:
    """Loads in ppm that balanced nodes should have."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Frontier:
    """What is proven of all windows."""

    bound: int
    """ppm: no assignment within the limits has a smaller spread of this metric."""
    window: Window
    """The narrowest window not ruled out."""


@dataclass(frozen=True, slots=True, order=True)
class _Interval:
    width: int
    """No window that starts in the interval is narrower."""
    low: int
    end: int
    high: int
    """No window that starts at or above `low` ends below."""


def narrowest(
    relaxation: Relaxation, known: int, stop: Callable[[], bool] = lambda: False, precision: int = PRECISION
) -> Frontier:
    """The narrowest window not ruled out; `known` is a spread in ppm that is reached already.

    Stopped early or with a coarse precision (ppm), the bound holds all the same: it is only lower."""
    loads = relaxation.load[relaxation.balanced]
    least, end = relaxation.least, relaxation.mean
    first = _raise(relaxation, least, least, int(loads.max()), precision, stop)
    heap = [_Interval(max(0, first - end), first - known, end, first)]
    while not stop():
        item = heap[0]
        if item.width >= known or item.end - item.low <= precision:
            break
        heapq.heappop(heap)
        for part in _halves(relaxation, item, known, precision, stop):
            heapq.heappush(heap, part)
    best = heap[0]
    return Frontier(max(0, min(best.width, known)), Window(best.low, max(best.low, best.high)))


def _halves(
    relaxation: Relaxation, item: _Interval, known: int, precision: int, stop: Callable[[], bool]
) -> list[_Interval]:
    middle = (item.low + item.end) // 2
    high = _raise(relaxation, middle, item.high, item.end + known, precision, stop)
    return [
        _Interval(max(0, item.high - middle), item.low, middle, item.high),
        _Interval(max(0, high - item.end), middle, item.end, high),
    ]


def _raise(relaxation: Relaxation, low: int, below: int, above: int, precision: int, stop: Callable[[], bool]) -> int:
    """A top below which no window that starts at `low` fits, between `below`, which is one, and `above`."""
    if not relaxation.fits(low, above):
        return above
    while above - below > precision // 2 and not stop():
        middle = (above + below) // 2
        if relaxation.fits(low, middle):
            above = middle
        else:
            below = middle
    return below
