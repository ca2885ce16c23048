"""Owns the steps a search may take: a migration, or the undoing of one and a migration instead; with their gains."""

import numpy as np

from solvers.band import Floats
from solvers.gains import NEVER, Gains
from solvers.place import Move
from solvers.problem import Bools, Ints

CELLS = 20_000
"""Pairs of an undone migration and a bundle that are looked at in one step: a few milliseconds."""
HARMLESS = 4
"""One part in so many of the undone migrations are those that do the least harm; the others touch loads beyond the
band."""


class Steps:
    """All steps from where `gains` stands; `free` says which bundles (rows) may be touched.

    `slack` is what the limits leave: migrations and MiB.
    """

    def __init__(self, gains: Gains, slack: tuple[float, float], free: Bools, rng: np.random.Generator) -> None:
        self._gains, self._slack, self.free = gains, slack, free
        self.first, self._gain, self.second, self._other = gains.best_two()
        away = gains.at != gains.home
        self._guests, self._mib = np.where(away, 0, gains.size), np.where(away, 0, gains.mib)
        self._undone = np.empty(0, dtype=np.int64)
        single = gains.leaving + self._gain
        single[(self._guests > slack[0]) | (self._mib > slack[1])] = NEVER
        self.values = single
        if not np.isinf(slack).all():
            self._undone = self._choose(rng)
            self.values = np.concatenate([single, *(part.ravel() for part in self._replacing(self._undone))])

    def _choose(self, rng: np.random.Generator) -> Ints:
        """Migrated bundles (rows) whose undoing is looked at."""
        gains = self._gains
        rows = np.flatnonzero((gains.at != gains.home) & (gains.home >= 0) & self.free)
        harm = gains.leaving[rows] + gains.coming[rows, gains.home[rows]]
        rows, harm = rows[np.isfinite(harm)], harm[np.isfinite(harm)]
        most = max(2 * HARMLESS, CELLS // len(gains.bundles))
        if len(rows) <= most:
            return np.asarray(rows, dtype=np.int64)
        beyond = gains.excess() > 0
        wrong = beyond[gains.at[rows]] | beyond[gains.home[rows]]
        order = np.lexsort((np.where(wrong, rng.random(len(rows)), harm), ~wrong))
        few, number = most // HARMLESS, int(wrong.sum())
        return np.sort(rows[np.concatenate([order[: min(number, most - few)], order[number : number + few]])])

    def _replacing(self, undone: Ints) -> tuple[Floats, Floats, Floats]:
        """(undone, rows) gains when one is undone and another bundle goes: to where the undone was at home, to where
        it had gone, to its best node otherwise."""
        gains = self._gains
        home, at = gains.home[undone], gains.at[undone]
        fuller = gains.loads[:, home] + np.rint(gains.demand[:, undone] * gains.inverse[:, home])
        emptier = gains.loads[:, at] - gains.weight[:, undone]
        at_home, at_target = gains.at == home[:, None], gains.at == at[:, None]
        leaving = np.repeat(gains.leaving[None], len(undone), axis=0)
        one, row = np.nonzero(at_home | at_target)
        leaving[one, row] = gains.leave(row, np.where(at_home[one, row], fuller[:, one], emptier[:, one]))
        leaving[self._guests > self._slack[0] + gains.size[undone][:, None]] = NEVER
        leaving[self._mib > self._slack[1] + gains.mib[undone][:, None]] = NEVER
        leaving[np.arange(len(undone)), undone] = NEVER
        leaving += (gains.leaving[undone] + gains.coming[undone, home])[:, None]
        to_home = gains.come(home, fuller, gains.usage[home] + gains.needs[undone])
        to_target = gains.come(at, emptier, gains.usage[at] - gains.needs[undone])
        to_home[at_home] = to_target[at_target] = NEVER
        elsewhere = np.where(self._changed(self.first), self._other, self._gain)
        elsewhere[self._changed(self.first) & self._changed(self.second)] = NEVER
        return leaving + to_home, leaving + to_target, leaving + elsewhere

    def _changed(self, columns: Ints) -> Bools:
        """(undone, rows) whether the column of a row is one that the undoing changes."""
        gains, undone = self._gains, self._undone
        return np.asarray((columns == gains.home[undone][:, None]) | (columns == gains.at[undone][:, None]))

    def untouchable(self) -> Bools:
        """(values,) steps that migrate a bundle that is not free."""
        rows = len(self.free)
        return np.tile(~self.free, len(self.values) // rows if rows else 1)

    def moves(self, index: int) -> tuple[Move, ...]:
        """What a step does, in this order."""
        gains, rows = self._gains, len(self.free)
        if index < rows:
            return (self._move(index, int(self.first[index])),)
        kind, rest = divmod(index - rows, rows * len(self._undone))
        which, row = divmod(rest, rows)
        undone = int(self._undone[which])
        home, at = int(gains.home[undone]), int(gains.at[undone])
        best = int(self.first[row]) if self.first[row] not in (home, at) else int(self.second[row])
        return self._move(undone, home), self._move(row, (home, at, best)[kind])

    def _move(self, row: int, column: int) -> Move:
        return int(self._gains.bundles[row]), int(self._gains.nodes[column])
