"""Owns the search among windows of loads: the narrowest that a relaxation cannot rule out, the cheapest of a width.

A window [low, high] needs no less migrating than a wider one, so highest(low), the lowest top that the
relaxation allows above a bottom, never falls when the bottom rises. Intervals of bottoms are halved where
their windows may still be best (best first), as far as they can be better than what is known.
"""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from solvers.problem import Ints, Problem
from solvers.relax import Fit, Relaxation, columns

PRECISION = 100
"""ppm to which bottoms and tops are told apart at the finest."""

PARTS = 300
"""Parts of today's spread to which the quick bound is told apart."""
COLUMNS = 30_000
"""Columns of the relaxation up to which there is a quick bound."""

Fits = Callable[[int, int], bool]
"""Says False of a window [low, high] in ppm when it is proven that nothing within the limits keeps it."""


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
    relaxation: Relaxation,
    known: int,
    stop: Callable[[], bool] = lambda: False,
    precision: int = PRECISION,
) -> Frontier:
    """The narrowest window not ruled out; `known` is a spread in ppm that is reached already.

    Stopped early or with a coarse precision (ppm), the bound holds all the same: it is only lower."""
    loads = relaxation.load[relaxation.balanced]
    least, end = relaxation.least, relaxation.mean
    first = _raise(relaxation.fits, least, least, int(loads.max()), precision, stop)
    heap = [_Interval(max(0, first - end), first - known, end, first)]
    while not stop():
        item = heap[0]
        if item.width >= known or item.end - item.low <= precision:
            break
        heapq.heappop(heap)
        for part in _halves(relaxation.fits, item, known, precision, stop):
            heapq.heappush(heap, part)
    best = heap[0]
    return Frontier(max(0, min(best.width, known)), Window(best.low, max(best.low, best.high)))


def _halves(fits: Fits, item: _Interval, known: int, precision: int, stop: Callable[[], bool]) -> list[_Interval]:
    middle = (item.low + item.end) // 2
    high = _raise(fits, middle, item.high, item.end + known, precision, stop)
    return [
        _Interval(max(0, item.high - middle), item.low, middle, item.high),
        _Interval(max(0, high - item.end), middle, item.end, high),
    ]


def _raise(fits: Fits, low: int, below: int, above: int, precision: int, stop: Callable[[], bool]) -> int:
    """A top below which no window that starts at `low` fits, between `below`, which is one, and `above`."""
    if not fits(low, above):
        return above
    while above - below > precision // 2 and not stop():
        middle = (above + below) // 2
        if fits(low, middle):
            above = middle
        else:
            below = middle
    return below


@dataclass(frozen=True, slots=True)
class Offer:
    """The cheapest window of a width, as far as it was looked for."""

    bound: float
    """No assignment within any window of the width costs less, in the relaxation's toll."""
    window: Window
    fit: Fit
    """What the relaxation says of the window."""


def cheapest(relaxation: Relaxation, width: int, stop: Callable[[], bool] = lambda: False, parts: int = 64) -> Offer:
    """The window [low, low + width] (ppm) into which migrating costs least; bottoms to 1/parts of the width."""
    first, end = relaxation.least, max(relaxation.least + 1, relaxation.mean)
    at = (first + end) // 2
    best = relaxation.fewest(at, at + width)
    heap = [(relaxation.fewest(first, end + width).toll, first, end)]
    while heap[0][0] < best.toll - 1e-6 and heap[0][2] - heap[0][1] > max(1, width // parts) and not stop():
        bound, low, end = heapq.heappop(heap)
        middle = (low + end) // 2
        for part in ((low, middle), (middle, end)):
            heapq.heappush(heap, (max(bound, relaxation.fewest(part[0], part[1] + width).toll), *part))
            place = sum(part) // 2
            fit = relaxation.fewest(place, place + width)
            if fit.toll < best.toll:
                at, best = place, fit
    return Offer(min(heap[0][0], best.toll), Window(at, at + width), best)


def undecided(relaxation: Relaxation, width: int, step: int, stop: Callable[[], bool]) -> list[Window] | None:
    """Windows that together hold every window of a width (ppm) that the relaxation cannot rule out, wider than it by at
    most `step`; the likeliest to be possible first. None when stopped."""
    found: list[tuple[float, Window]] = []
    parts = [(relaxation.least, max(relaxation.least + 1, relaxation.mean))]
    while parts:
        if stop():
            return None
        low, end = parts.pop()
        toll = relaxation.fewest(low, end + width).toll
        if relaxation.exceeds(toll):
            continue
        if end - low <= step:
            found.append((toll, Window(low, end + width)))
        else:
            middle = (low + end) // 2
            parts += [(low, middle), (middle, end)]
    return [window for _, window in sorted(found, key=lambda item: (item[0], item[1].low))]


def relaxed_bound(problem: Problem, seconds: float, at: Ints | None = None) -> int:
    """ppm below which no acceptable assignment brings the value of the first level, as far as that is found in time;
    0 for problems of which a single window takes too long. The better the assignment `at`, which is acceptable, the
    finer the bound is told (default: origin)."""
    level, began = problem.aims[0], time.monotonic()
    if not problem.balanced.any() or columns(problem) > COLUMNS:
        return 0
    reached = problem.spreads(problem.origin if at is None else at)
    bounds = np.zeros(problem.metrics, dtype=np.int64)
    widest_first = sorted(level.metrics, key=lambda k: -int(reached[k]))  # of many the first say the most
    for index, k in enumerate(widest_first):
        if index and _is_past(began + seconds):
            break
        until = began + seconds * (index + 1) / len(level.metrics)
        known = max(int(reached[k]), problem.goal)
        stop = partial(_is_past, until)
        bounds[k] = narrowest(Relaxation(problem, k), known, stop, max(PRECISION, known // PARTS)).bound
    return level.value(bounds)


def _is_past(moment: float) -> bool:
    return time.monotonic() > moment
