"""Owns looking up which of many vectors lie within a box: vectors sorted by cells as wide as the box."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from solvers.halves import Small
from solvers.problem import Ints

MOST = 4
"""Coordinates by which vectors are looked up: all but the last by cells."""
FINEST = 1 << 10
"""Cells of a coordinate: so many, three times, and the values of the last fit into one number."""


class Places(NamedTuple):
    """For each of `box`, an index of a box: the vectors in `order[start:end]` of the cells may be in it."""

    box: Ints
    start: Ints
    end: Ints


class Cells:
    """Vectors (h, c) of whole numbers in reach of boxes with half the width `span` (c,)."""

    def __init__(self, vectors: Small, span: Ints) -> None:
        low, width = vectors.min(axis=0).astype(np.int64), np.ptp(vectors, axis=0).astype(np.int64)
        self._chosen = np.argsort(width / (span + 1), kind="stable")[-MOST:]
        self._low, self._width, self._span = low[self._chosen], width[self._chosen], span[self._chosen]
        self._side = np.maximum(2 * self._span + 1, self._width // FINEST + 1)
        self._side[-1] = 1
        self._counts = self._width // self._side + 1
        self._strides = np.append(np.cumprod(self._counts[:0:-1])[::-1], 1)
        self.corners = 1 << (len(self._chosen) - 1)
        keys = np.zeros(len(vectors), dtype=np.int64)
        for i, k in enumerate(self._chosen):
            keys += (vectors[:, k] - self._low[i]) // self._side[i] * self._strides[i]
        self.order = np.argsort(keys, kind="stable")
        self._keys = keys[self.order]

    def near(self, centres: Ints) -> Places:
        """Where the vectors are that may be in the boxes around centres (q, c), none of them twice."""
        low = centres[:, self._chosen] - self._span - self._low
        high = centres[:, self._chosen] + self._span - self._low
        within = np.flatnonzero(((high >= 0) & (low <= self._width)).all(axis=1))
        ends = [np.clip(x[within] // self._side, 0, self._counts - 1) for x in (low, high)]
        found = []
        for corner in product((0, 1), repeat=len(self._chosen) - 1):
            new = np.ones(len(within), dtype=bool)
            key = np.zeros(len(within), dtype=np.int64)
            for i, upper in enumerate(corner):
                key += ends[upper][:, i] * self._strides[i]
                if upper:
                    new &= ends[1][:, i] != ends[0][:, i]
            found.append((within[new], key[new] + ends[0][new, -1], key[new] + ends[1][new, -1]))
        box, first, last = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.argsort(first)  # the search is quicker in the order of the keys
        start = np.searchsorted(self._keys, first[order], side="left")
        return Places(box[order], start, np.searchsorted(self._keys, last[order], side="right"))

    def pairs(self, places: Places, most: int) -> Iterator[tuple[Ints, Ints]]:
        """Boxes and the vectors that may be in them, about `most` at once."""
        counts = places.end - places.start
        for a, b in _parts(np.cumsum(counts), most):
            count = counts[a:b]
            place = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count - places.start[a:b], count)
            yield np.repeat(places.box[a:b], count), self.order[place]


def _parts(ends: Ints, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of items whose numbers up to each are `ends`, of about `most` together."""
    start, done = 0, 0
    while start < len(ends):
        end = max(start + 1, int(np.searchsorted(ends, done + most, side="right")))
        yield start, end
        start, done = end, int(ends[end - 1])
