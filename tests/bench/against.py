"""Owns the comparison of a run with an earlier one: what has changed, and whether that is better or worse."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.bench.measure import Row

DIRECTIONS = {"violations": -1, "spread": -1, "bound": 1, "gap": -1, "seconds": -1}
"""What is compared, and whether less (-1) or more (1) is better."""
DECISIVE = ("violations", "spread", "bound")
"""What must not get worse. A gap is made of two of them, and seconds depend on the machine."""
UNITS = {"violations": "rules", "seconds": "s"}
"""Percentage points otherwise."""
SLACK = {"violations": 0.0, "seconds": 1.0}
"""How much counts as the same; the tolerance that is asked for otherwise."""

Key = tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class Change:
    """Now less earlier; None where one of the two is not known."""

    spread: float | None
    bound: float | None
    gap: float | None
    seconds: float | None


@dataclass(slots=True)
class Comparison:
    """Rows of now beside those of an earlier run, and the verdict on all of them."""

    earlier: Sequence[Row]
    tolerance: float
    """Percentage points that count as the same."""
    pairs: list[tuple[Row, Row]] = field(default_factory=list)
    """Earlier, now."""
    new: int = 0
    """Rows that the earlier run does not have."""

    def add(self, row: Row) -> Change | None:
        """Compare one more row; None when the earlier run does not have it."""
        found = {key(old): old for old in self.earlier}.get(key(row))
        if found is None:
            self.new += 1
            return None
        self.pairs.append((found, row))
        return Change(*(_difference(found, row, name) for name in ("spread", "bound", "gap", "seconds")))

    def worse(self) -> list[str]:
        """What must not get worse and has, a line each."""
        return [
            f"worse: {' '.join(map(str, key(now)))}: {name} {getattr(old, name)} -> {getattr(now, name)}"
            for old, now in self.pairs
            for name in DECISIVE
            if _compared(old, now, name) and _gain(old, now, name) < -self._slack(name)
        ]

    def summary(self) -> list[str]:
        """A line for everything that is compared, the rows without a partner, and what is worse."""
        lines = [self._count(name) for name in DIRECTIONS]
        missing = len({key(old) for old in self.earlier} - {key(now) for _, now in self.pairs})
        return [*lines, f"{self.new} rows are new, {missing} of the earlier rows were not run again", *self.worse()]

    def _count(self, name: str) -> str:
        gains = [_gain(old, now, name) for old, now in self.pairs if _compared(old, now, name)]
        better = [gain for gain in gains if gain > self._slack(name)]
        worse = [-gain for gain in gains if gain < -self._slack(name)]
        same = len(gains) - len(better) - len(worse)
        return f"{name:10}  {_sum('better', better, name)}, {_sum('worse', worse, name)}, {same} same"

    def _slack(self, name: str) -> float:
        return SLACK.get(name, self.tolerance)


def key(row: Row) -> Key:
    """What makes two rows the same question; `30 (2%)` and `30` are."""
    return row.instance, row.limit.split()[0], row.seed, row.solver


def _difference(old: Row, now: Row, name: str) -> float | None:
    before, after = getattr(old, name), getattr(now, name)
    return None if before is None or after is None else round(after - before, 4)


def _compared(old: Row, now: Row, name: str) -> bool:
    """Whether a figure says which of two rows is better: with fewer violations any spread is."""
    if name == "violations":
        return True
    return old.violations == now.violations and getattr(old, name) is not None


def _gain(old: Row, now: Row, name: str) -> float:
    """How much better it is now; a figure that is not known any more is as bad as can be."""
    difference = _difference(old, now, name)
    return float("-inf") if difference is None else difference * DIRECTIONS[name]


def _sum(word: str, gains: Iterable[float], name: str) -> str:
    gains = list(gains)
    return f"{len(gains)} {word}" + (f" by {sum(gains):.4g} {UNITS.get(name, 'points')} in all" if gains else "")
