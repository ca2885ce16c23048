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
        self.bundles = self._bundles()
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

    def migrations(self, places: Places) -> dict[int, str]:
        """Where guests go that are elsewhere today."""
        return {vmid: node for vmid, node in places.items() if node != self.home[vmid]}

    def reachable(self, places: Places) -> bool:
        """Whether guests can get there one after the other, those that belong together side by side."""
        pending = {bundle for bundle in self.bundles if places[bundle[0]] != self.home[bundle[0]]}
        seen: set[frozenset[tuple[int, ...]]] = set()

        def go(now: dict[int, str], left: frozenset[tuple[int, ...]]) -> bool:
            if not left:
                return True
            if left in seen:
                return False
            seen.add(left)
            for bundle in left:
                then = now | {vmid: places[vmid] for vmid in bundle}
                if not self._clashes(then, bundle) and go(then, left - {bundle}):
                    return True
            return False

        return go(dict(self.home), frozenset(pending))

    def _clashes(self, places: Places, bundle: tuple[int, ...]) -> bool:
        """Whether guests that have just arrived find no room, or are where another rule wants them apart."""
        node = places[bundle[0]]
        room = self.book.room
        needed = {what for vmid in bundle for what, need in room.needs(vmid).items() if need}
        if needed & set(room.lacks(node, places)):
            return True
        rules = [rule for asks in self.book.everything() for rule in asks.apart]
        return any(
            len(rule.inside(places).get(rule.domain_of(node), ())) > rule.most
            for rule in rules
            if any(side & set(bundle) for side in rule.sides)
        )

    def _bundles(self) -> list[tuple[int, ...]]:
        """Guests that belong together and are on one node go together."""
        of = {vmid: {vmid} for vmid in self.home}
        groups = [members & set(self.home) for asks in self.book.everything() for _, members in asks.together]
        for one, other in ((a, b) for group in groups for a in group for b in group if self.home[a] == self.home[b]):
            if of[one] is not of[other]:
                of[one] |= of[other]
                for vmid in of[other]:
                    of[vmid] = of[one]
        return sorted({tuple(sorted(bundle)) for bundle in of.values()})

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
        return not few or (gib is not None and sum(map(self.book.room.copied, migrated)) > gib + 1e-6)
