"""Owns the halves of sets of few migrations: which there are, and what they add to the loads.

A migration here is a bundle and another node where it is allowed. All are ranked by how much they even out the loads
of today. The first half of a set are the first of its migrations in this order, as many as half of the limit allows: so
there are few ways to split a set, and as those that follow even out less, few first halves can still become good.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from solvers.problem import Bools, Ints, Problem

Small = npt.NDArray[np.int16 | np.int32]
"""Whole numbers of which there are many."""
EXACT, MOST = 1 << 62, 1 << 15
"""Whole numbers below these fit: what halves even out, and ranks."""


class Migrations:
    """Every migration of one bundle within a limit, by rank, and behind them one that does nothing.

    Loads are differences to the first balanced node, metric by metric of the first level: c of them.
    """

    def __init__(self, problem: Problem, limit: int) -> None:
        self.problem, self.limit = problem, limit
        metrics, on = list(problem.aims[0].metrics), np.flatnonzero(problem.balanced)
        pairs = [(b, int(n)) for b in range(len(problem.bundles)) for n in problem.targets(b)]
        pairs = [(b, n) for b, n in pairs if len(problem.bundles[b]) <= limit]
        changes = self._changes(pairs)[:, metrics][:, :, on]
        loads = problem.loads(problem.origin)[metrics][:, on]
        self.widest = int(np.argmax(np.ptp(loads, axis=1)))
        wide = loads[self.widest]
        wish = wide.sum() - len(wide) * wide  # sums up to 0: so a load that all nodes have in common does not count
        pull = changes[:-1, self.widest] @ wish
        order = np.append(np.argsort(-pull, kind="stable"), len(pairs))
        self.pull = pull[order[:-1]]
        self.wished, self.scale = -int(wish @ wide), int(np.maximum(wish, 0).sum())
        self.bundle, self.node = np.array([*pairs, (-1, -1)], dtype=np.int64)[order].T
        self.guests = np.array([*map(len, problem.bundles), 0], dtype=np.int64)[self.bundle]
        self.today = (loads[:, 1:] - loads[:, :1]).reshape(-1)
        """(c,) today's differences."""
        self.change = (changes[order, :, 1:] - changes[order, :, :1]).reshape(len(order), -1)
        """(migrations + 1, c) what each adds to them."""
        most = limit * int(np.abs(changes).max()) + int(np.abs(loads).max())
        self.exact = (2 * most * len(on)) ** 2 < EXACT and len(pairs) < MOST

    def _changes(self, pairs: list[tuple[int, int]]) -> Ints:
        """(migrations + 1, k, n) what each adds to the loads in ppm."""
        problem = self.problem
        result = np.zeros((len(pairs) + 1, problem.metrics, problem.nodes), dtype=np.int64)
        for row, (bundle, node) in enumerate(pairs):
            weights, home = problem.bundle_weights(problem.bundles[bundle]), int(problem.homes[bundle])
            result[row, :, node] = weights[:, node]
            result[row, :, home] = -weights[:, home]
        return result

    def changes(self, ranks: Small) -> Small:
        """(h, c) what halves (h, most) add to the differences."""
        change = self.change.astype(np.int32)
        result: Small = change[ranks[:, 0]]
        for column in ranks.T[1:]:
            result += change[column]
        return result

    def after(self, ranks: Small) -> Ints:
        """The assignment of a set of migrations."""
        result = self.problem.origin.copy()
        for rank in ranks.tolist():
            if self.bundle[rank] >= 0:
                result[self.problem.bundles[self.bundle[rank]]] = self.node[rank]
        return result

    def fit(self, first: Small, second: Small) -> Bools:
        """(p,) whether halves (p, ranks) make a set: each bundle is there once, and the limit is kept."""
        guests = self.guests[first].sum(axis=1) + self.guests[second].sum(axis=1)
        result = guests <= self.limit
        for one in self.bundle[first].T:
            for other in self.bundle[second].T:
                result &= (one != other) | (one < 0)
        return np.asarray(result, dtype=np.bool_)


class Halves(NamedTuple):
    """Sets of migrations, each as ascending ranks (h, most); where there are fewer, the rank behind all follows."""

    ranks: Small
    pull: Ints


class _Grown(NamedTuple):
    """Halves of one size: with how many guests each may still grow, and how much it evens out."""

    ranks: Small
    pull: Ints
    room: Ints


def list_halves(migrations: Migrations, first_most: int, span: int, most: int) -> tuple[Halves, Halves] | None:
    """First halves, of `first_most` guests, and second ones of all sets that bring the widest metric into a span in
    ppm; None: more than `most`.

    Such sets even out what is wished for, up to span x scale. In a set at most as much as the last of its first half
    does each guest that follows; and second halves make up for what the best of the first halves leaves.
    """
    need, rest = max(-EXACT // 2, migrations.wished - span * migrations.scale), migrations.limit - first_most
    first = _list(migrations, _Grown(*_NONE, np.array([first_most])), need, rest, migrations.guests, most)
    if first is None:
        return None
    # The migration for which the first half had no room may be of any size: as the first of the second it counts as 1.
    tolls = np.minimum(migrations.guests, 1)
    need -= int(first.pull.max())
    second = _list(migrations, _Grown(*_NONE, np.array([rest])), need, 0, tolls, most)
    return None if second is None else (first, second)


_NONE = np.empty((1, 0), dtype=np.int16), np.zeros(1, dtype=np.int64)


def _list(migrations: Migrations, grown: _Grown, need: int, beyond: int, tolls: Ints, most: int) -> Halves | None:
    """Sets grown from the empty one that can even out what is needed with so many guests `beyond`; None: too many.

    `tolls` is the number of guests by which the first migration counts.
    """
    sizes: list[_Grown] = []
    total = 0
    while len(grown.ranks):
        sizes.append(grown)
        ends = _ends(migrations, need - grown.pull, grown.room + beyond, grown.room)
        last = grown.ranks[:, -1].astype(np.int64) if grown.ranks.shape[1] else np.full(1, -1)
        counts = np.maximum(ends - last - 1, 0)
        total += int(counts.sum())
        if total > most:
            return None
        grown = _grow(migrations, grown, last, counts, tolls)
        tolls = migrations.guests
    return _joined(sizes, len(migrations.pull))


def _ends(migrations: Migrations, lack: Ints, left: Ints, room: Ints) -> Ints:
    """The rank behind the last migration with which so many guests, all of them like it, make up for a lack."""
    each = np.where(lack > 0, -(-lack // np.maximum(left, 1)), lack)
    ends = np.searchsorted(-migrations.pull, -each, side="right")
    return np.where(room > 0, ends, 0)


def _grow(migrations: Migrations, grown: _Grown, last: Ints, counts: Ints, tolls: Ints) -> _Grown:
    """Every set with one migration more, of the `counts` that follow its last."""
    parent = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(len(parent)) - np.repeat(np.cumsum(counts) - counts - last - 1, counts)
    fits = tolls[rank] <= grown.room[parent]
    for column in grown.ranks.T:
        fits &= migrations.bundle[column[parent]] != migrations.bundle[rank]
    parent, rank = parent[fits], rank[fits]
    return _Grown(
        np.column_stack([grown.ranks[parent], rank.astype(np.int16)]),
        grown.pull[parent] + migrations.pull[rank],
        grown.room[parent] - tolls[rank],
    )


def _joined(sizes: list[_Grown], behind: int) -> Halves:
    most = max(1, sizes[-1].ranks.shape[1])
    padded = [
        np.pad(grown.ranks, ((0, 0), (0, most - grown.ranks.shape[1])), constant_values=behind) for grown in sizes
    ]
    return Halves(np.concatenate(padded), np.concatenate([grown.pull for grown in sizes]))
