"""Owns the slow truth about ways: whether guests can get somewhere one after the other, by trying every order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from tests.asks import Places
from tests.instants import Ground, Instant
from tests.rulebook import Rulebook
from tests.scenario import Scenario

At = tuple[str, ...]
"""Where each bundle is."""


class Ways:
    """All ways from today's places to others, safe at every instant; guests that belong together travel as one."""

    def __init__(self, scenario: Scenario, target: Places) -> None:
        self.ground = Ground(Rulebook(scenario))
        self.bundles = self._bundles()
        self.home: At = tuple(self.ground.today[bundle[0]] for bundle in self.bundles)
        self.target: At = tuple(target[bundle[0]] for bundle in self.bundles)
        self.nodes = sorted(set(scenario.nodes) - self.ground.book.closed)

    def leads_there(self, legs: Iterable[tuple[tuple[int, ...], str]]) -> bool:
        """Whether these, guests with the node they go to, one after the other are a way."""
        now = self.home
        for vmids, node in legs:
            bundle = self.bundles.index(tuple(sorted(vmids)))
            if not self._may_go(now, bundle, node):
                return False
            now = (*now[:bundle], node, *now[bundle + 1 :])
        return now == self.target

    def direct(self) -> bool:
        """Each goes straight to its target."""
        return self._search(lambda at, bundle: [self.target[bundle]] if at == self.home[bundle] else [])

    def with_stops(self) -> bool:
        """Each that has another target may stop on one node on its way."""

        def onward(at: str, bundle: int) -> Iterable[str]:
            if self.home[bundle] == self.target[bundle]:
                return []
            return [self.target[bundle], *self.nodes] if at == self.home[bundle] else [self.target[bundle]]

        return self._search(onward)

    def anyhow(self) -> bool:
        """Every guest may go anywhere, as often as it likes."""
        return self._search(lambda at, bundle: [self.target[bundle], *self.nodes])

    def _search(self, onward: Callable[[str, int], Iterable[str]]) -> bool:
        return any(at == self.target for at in self._reached(onward))

    def straight(self) -> Iterator[Places]:
        """Everything in reach where each guest goes to one node, if it goes; today, and after one migration, first."""
        for at in self._reached(lambda now, bundle: self.nodes if now == self.home[bundle] else []):
            yield {vmid: node for vmids, node in zip(self.bundles, at, strict=True) for vmid in vmids}

    def may_go(self, places: Places, vmid: int, node: str) -> bool:
        """Whether a guest, with those that it goes with, may set out for a node."""
        bundle = next(number for number, vmids in enumerate(self.bundles) if vmid in vmids)
        return self._may_go(tuple(places[vmids[0]] for vmids in self.bundles), bundle, node)

    def _reached(self, onward: Callable[[str, int], Iterable[str]]) -> Iterator[At]:
        """Wherever bundles can get, nearest first."""
        seen, left = {self.home}, deque([self.home])
        while left:
            now = left.popleft()
            yield now
            for bundle, at in enumerate(now):
                for node in onward(at, bundle):
                    then = (*now[:bundle], node, *now[bundle + 1 :])
                    if then not in seen and self._may_go(now, bundle, node):
                        seen.add(then)
                        left.append(then)

    def _may_go(self, now: At, bundle: int, node: str) -> bool:
        """Whether the guests of a bundle may set out for a node, all at once."""
        places = {vmid: at for vmids, at in zip(self.bundles, now, strict=True) for vmid in vmids}
        instant = Instant(self.ground, places, self.ground.room)
        return not any(instant.start(vmid, now[bundle], node) for vmid in self.bundles[bundle])

    def _bundles(self) -> list[tuple[int, ...]]:
        """Guests on one node that belong together, and those that they belong together with."""
        of = {vmid: frozenset({vmid}) for vmid in self.ground.today}
        for _, members in self.ground.book.must.together:
            for node in set(self.ground.today.values()):
                here = [vmid for vmid in members if self.ground.today.get(vmid) == node]
                for vmid in (together := frozenset().union(*(of[vmid] for vmid in here))):
                    of[vmid] = together
        return sorted(tuple(sorted(bundle)) for bundle in set(of.values()))
