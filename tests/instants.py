"""Owns what may be at one instant of a scenario, with a guest that is under way on both its nodes."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations

from tests.asks import Apart, Places
from tests.rulebook import Rulebook

Capacities = Mapping[str, Mapping[str, float]]
"""Node to what to how much of it."""


class Ground:
    """What a scenario's rules say, looked up by guest."""

    def __init__(self, book: Rulebook) -> None:
        self.book = book
        self.today: Places = {vmid: guest.on for vmid, guest in book.planned.items()}
        self.needs = {v: {what: need for what, need in book.room.needs(v).items() if need} for v in book.planned}
        nodes = [name for name in book.scenario.nodes if name not in book.offline]
        self.room: Capacities = {name: book.room.has(name) for name in nodes}
        taken = {name: book.room.usage(name, self.today) for name in nodes}
        self.room_back: Capacities = {
            node: {what: max(most, taken[node].get(what, 0)) for what, most in has.items()}
            for node, has in self.room.items()
        }
        """The way back may fill a node as much as it is filled today."""
        self.held = book.broken(self.today)
        self.sides: dict[int, list[tuple[int, int]]] = {}
        for number, rule in enumerate(book.must.apart):
            for side, vmids in enumerate(rule.sides):
                for vmid in vmids:
                    self.sides.setdefault(vmid, []).append((number, side))
        self.shared = [list(map(frozenset, rule.inside(self.today).values())) for rule in book.must.apart]
        """For each rule, what is together in a domain today, and may be as long as it likes."""
        self.barred = {vmid: self._barred(vmid) for vmid in self.today}

    def _barred(self, vmid: int) -> dict[str, str]:
        """Node to why a guest may not get there; where it is today it may."""
        if vmid in self.book.fixed:
            return dict.fromkeys(self.book.scenario.nodes, "has to stay")
        barred = dict.fromkeys(self.book.closed, "takes no guests")
        for name, members, nodes in self.book.must.homes:
            others = set(self.book.scenario.nodes) - nodes if vmid in members - self.book.left_alone else ()
            barred |= dict.fromkeys(others, f"is not a home by {name}")
        return {node: why for node, why in barred.items() if node != self.today[vmid]}


class Instant:
    """Where guests are; one that is under way is on both its nodes."""

    def __init__(self, ground: Ground, places: Places, room: Capacities) -> None:
        self.ground, self.room = ground, room
        self.places, self.toward = dict(places), dict[int, str]()
        self.taken: dict[str, Counter[str]] = {name: Counter() for name in ground.book.scenario.nodes}
        self.present: list[dict[str, Counter[int]]] = [{} for _ in ground.book.must.apart]
        for vmid, node in places.items():
            self._put(vmid, node, 1)

    def start(self, vmid: int, source: str, target: str) -> list[str]:
        """A guest sets out; what is wrong with that, and from now on."""
        if self.places.get(vmid) != source or vmid in self.toward or source == target:
            return [f"guest {vmid} is not on {source}, or goes nowhere"]
        self.toward[vmid] = target
        wrong = [f"{target} {why}: {vmid}" for node, why in self.ground.barred[vmid].items() if node == target]
        news = self._put(vmid, target, 1)
        has, taken = self.room.get(target, {}), self.taken[target]
        short = [what for what in self.ground.needs[vmid] if taken[what] > has.get(what, math.inf) + 1e-6]
        wrong += [f"{target} is overfull: {vmid} comes, {what} is short" for what in short]
        return wrong + [f"apart no more because of {vmid}: {name}" for name in news]

    def end(self, vmid: int) -> None:
        """A guest has got where it was going."""
        self._put(vmid, self.places[vmid], -1)
        self.places[vmid] = self.toward.pop(vmid)

    def _put(self, vmid: int, node: str, sign: int) -> list[str]:
        """One more or less of a guest on a node; the rules that this breaks."""
        broken = []
        for what, need in self.ground.needs[vmid].items():
            self.taken[node][what] += sign * need  # type: ignore[assignment]
        for number, side in self.ground.sides.get(vmid, ()):
            rule = self.ground.book.must.apart[number]
            there = self.present[number].setdefault(rule.domain_of(node), Counter())
            there[side] += sign
            if not there[side]:
                del there[side]
            elif there[side] == sign == 1 and self._crowded(number, rule, there):
                broken.append(rule.name)
        return broken

    def _crowded(self, number: int, rule: Apart, sides: Iterable[int]) -> bool:
        """Whether too many sides are in a domain that are not in one today."""
        here, shared = set(sides), self.ground.shared[number]
        if len(here) <= rule.most or any(here <= old for old in shared):
            return False
        return any(not any(set(some) <= old for old in shared) for some in combinations(here, rule.most + 1))
