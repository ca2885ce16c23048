"""Owns the knee of a curve that falls: the point up to which much is gained for little."""

from collections.abc import Sequence

LEAST = 1e-9
"""Distance from the chord below which a curve has no knee."""


def knee(points: Sequence[tuple[float, float]]) -> int | None:
    """Index of the point furthest below the chord from the first to the last that still falls; where a single one falls
    it is that one. None for a curve without one, such as a straight line.

    Both axes count from 0 to 1, so that units do not matter (V. Satopaa, J. Albrecht, D. Irwin, B. Raghavan: Finding a
    "Kneedle" in a haystack, 2011; here the curve is known as a whole, so that neither smoothing nor sensitivity is
    needed). Beyond the last point that falls nothing is gained: how much of that is looked at does not matter.
    """
    falls = [i for i in range(1, len(points)) if points[i][1] < points[i - 1][1]]
    if len(falls) == 1:
        return falls[0]
    last = max(falls, default=0)
    (left, top), (right, bottom) = points[0] if points else (0.0, 0.0), points[last] if points else (0.0, 0.0)
    if right <= left or bottom >= top:
        return None
    below = [1 - (y - bottom) / (top - bottom) - (x - left) / (right - left) for x, y in points[: last + 1]]
    index = max(range(last + 1), key=lambda i: (below[i], -i))
    return index if below[index] > LEAST else None
