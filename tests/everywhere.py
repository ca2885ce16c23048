"""Owns the slow truth about scenarios: all placements of guests, by the rulebook alone."""

from collections.abc import Iterator
from math import prod

from tests.rulebook import Places, Rulebook


class TooMany(Exception):
    """There are more placements than anybody wants to look at."""


class Everywhere:
    """All placements that keep every must-rule, within the limits."""

    def __init__(self, book: Rulebook, most: int, steps: int) -> None:
        self.book, self.steps = book, steps
        self.home = {vmid: guest.on for vmid, guest in book.planned.items()}
        self.open = {vmid: self._where(vmid) for vmid in self.home}
        if prod(max(1, len(nodes)) for nodes in self.open.values()) > most:
            raise TooMany
        self.order = sorted(self.home, key=lambda vmid: (len(self.open[vmid]), vmid))

    def _where(self, vmid: int) -> list[str]:
        """Nodes where a guest breaks no rule by itself; today's first."""
        nodes = [self.home[vmid], *(n for n in self.book.scenario.nodes if n != self.home[vmid])]
        if vmid in self.book.fixed:
            nodes = nodes[:1]
        return [node for node in nodes if node == self.home[vmid] or node not in self.book.closed]

    def placements(self, price: float = float("inf")) -> Iterator[Places]:
        """Each of them; of should-rules those that do not hold cost at most so much."""
        yield from self._fill({}, 0, price)

    def cheapest(self) -> float | None:
        """The least price of should-rules that have to give way; None: the others cannot hold together."""
        best = None
        for places in self.placements():
            price = self.price(places)
            best = price if best is None else min(best, price)
            if not best:
                break
        return best

    def price(self, places: Places) -> float:
        """What the should-rules that do not hold cost."""
        return sum(rule.price for rule in self.book.given_up(places))

    def _fill(self, places: dict[int, str], index: int, price: float) -> Iterator[Places]:
        """Rules hold less and less the more guests there are, so that a broken one ends it."""
        self.steps -= 1
        if self.steps < 0:
            raise TooMany
        if self._beyond(places) or self.book.broken(places) or self.price(places) > price:
            return
        if index == len(self.order):
            yield dict(places)
            return
        vmid = self.order[index]
        for node in self.open[vmid]:
            yield from self._fill(places | {vmid: node}, index + 1, price)

    def _beyond(self, places: Places) -> bool:
        migrated = [self.book.planned[vmid] for vmid, node in places.items() if node != self.home[vmid]]
        most, gib = self.book.policy.get("max_migrations"), self.book.policy.get("max_gib")
        few = most is None or len(migrated) <= most
        return not few or (gib is not None and sum(map(self.book.copied, migrated)) > gib + 1e-6)
