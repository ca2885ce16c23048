"""Owns exchanges between two nodes: up to two bundles each way, of all such the one that gains most.

There are about a million for two nodes of fifty bundles, so that loads can be met to a few ppm. They are not
enumerated: the sets that may come are sorted by weight, and for each set that may go the best is looked up.
"""

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from solvers.band import Floats
from solvers.gains import NEVER, Gains
from solvers.place import Move
from solvers.problem import Bools, Ints

Number = TypeVar("Number", np.int64, np.float64)

MOST = 60
"""Bundles of one node that are looked at."""
AROUND = (-1, 0, 1)
"""Which sets are tried for each set that goes, counted from where the ideal one would be in the order."""


class Sets(NamedTuple):
    """Sets of at most two bundles (rows; -1: none) that may go from one node to another."""

    rows: Ints
    """(s, 2)"""
    off: Floats
    """(k, s) what they are on the node they leave."""
    onto: Floats
    """(k, s) what they are on the node they come to."""
    guests: Ints
    """(s,) migrations more that there are then."""
    mib: Ints
    """(s,) MiB more that are copied then."""
    needs: Ints
    """(s, r)"""

    def take(self, chosen: Ints) -> "Sets":
        """Some of the sets."""
        return Sets(
            self.rows[chosen], self.off[:, chosen], self.onto[:, chosen], self.guests[chosen], self.mib[chosen],
            self.needs[chosen],
        )  # fmt: skip


def exchange(
    gains: Gains, one: int, other: int, slack: tuple[float, float], free: Bools, rng: np.random.Generator
) -> tuple[float, tuple[Move, ...]] | None:
    """The exchange between two nodes (columns) that gains most, or None if there is none."""
    if not len(gains.bundles):  # of a large cluster the tables hold some nodes, and those perhaps nothing to migrate
        return None
    go, come = (_sets(gains, a, b, free, rng) for a, b in ((one, other), (other, one)))
    found: list[tuple[float, Ints]] = []
    # Under a limit, sets that cost different numbers of migrations are not in each other's way.
    kinds = come.guests if np.isfinite(slack[0]) else np.zeros_like(come.guests)
    for kind in np.unique(kinds):
        coming = come.take(np.flatnonzero(kinds == kind))
        going = go.take(np.flatnonzero(go.guests + coming.guests.max() <= slack[0]))
        best = _match(gains, (one, other), going, coming, slack[1]) if len(going.rows) else None
        if best is not None:
            found.append(best)
    if not found:
        return None
    gain, rows = min(found, key=lambda item: item[0])
    targets = gains.nodes[[other, other, one, one]]
    return gain, tuple(
        (int(gains.bundles[row]), int(node)) for row, node in zip(rows, targets, strict=True) if row >= 0
    )


def _match(gains: Gains, nodes: tuple[int, int], go: Sets, come: Sets, mib: float) -> tuple[float, Ints] | None:
    """Gain and bundles (two that go, two that come) of the best pair of sets that has room and copies at most `mib`."""
    one, other = nodes
    left, right = _near(gains, one, go, come)
    here = gains.loads[:, one, None] - go.off[:, left] + come.onto[:, right]
    there = gains.loads[:, other, None] + go.onto[:, left] - come.off[:, right]
    gain = gains.band.beyond(here) * gains.counted[one] + gains.band.beyond(there) * gains.counted[other]
    more = come.needs[right] - go.needs[left]
    fits = go.mib[left] + come.mib[right] <= mib
    for node, change in ((one, more), (other, -more)):
        most = np.maximum(gains.capacity[node], gains.usage[node])
        fits &= (gains.usage[node] + change <= most).all(axis=1)
    gain[~fits] = NEVER
    best = int(gain.argmin())
    before = gains.excess()[[one, other]].sum()
    rows = np.concatenate([go.rows[left[best]], come.rows[right[best]]])
    return (float(gain[best] - before), rows) if np.isfinite(gain[best]) else None


def _near(gains: Gains, one: int, go: Sets, come: Sets) -> tuple[Ints, Ints]:
    """Pairs of sets that bring the first node close to the middle of the band, in the metric where it is furthest."""
    band, loads = gains.band, gains.loads[:, one]
    k = int(np.maximum(loads - band.high, band.low - loads).argmax())
    order = np.argsort(come.onto[k], kind="stable")
    ideal = (band.low[k] + band.high[k]) / 2 - loads[k] + go.off[k]
    place = np.searchsorted(come.onto[k, order], ideal)[:, None] + np.array(AROUND)
    return np.repeat(np.arange(len(go.rows)), len(AROUND)), order[np.clip(place, 0, len(order) - 1).ravel()]


def _sets(gains: Gains, source: int, target: int, free: Bools, rng: np.random.Generator) -> Sets:
    """No bundle, each alone and each two of a node, as far as the other node is allowed for them."""
    rows = np.flatnonzero((gains.at == source) & free & np.isfinite(gains.barred[:, target]))
    if len(rows) > MOST:
        rows = np.sort(rng.permutation(rows)[:MOST])
    first, second = np.triu_indices(len(rows) + 1)
    rows = np.append(rows, -1)
    keep = (first < second) | (first == len(rows) - 1)
    pairs = np.stack([rows[first[keep]], rows[second[keep]]], axis=1)
    none = pairs < 0
    change = (gains.home != target).astype(np.int64) - (gains.home != source)
    onto = np.rint(gains.demand * gains.inverse[:, [target]])

    def total(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
        return np.asarray(np.where(none, 0, values[..., pairs]).sum(axis=-1), dtype=values.dtype)

    needs = total(gains.needs.T).T
    return Sets(pairs, total(gains.weight), total(onto), total(change * gains.size), total(change * gains.mib), needs)
