"""Owns what rules ask of guests' places, by names, and what of it is broken; knows no problem, no frame, no solver."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

Places = Mapping[int, str]
Fact = tuple[Any, ...]
"""Something that is broken: kind, rule, what it is about."""


@dataclass(frozen=True)
class Apart:
    """On the nodes of one domain at most `most` of the sides have a guest."""

    name: str
    sides: tuple[frozenset[int], ...]
    most: int = 1
    domain: Mapping[str, str] = field(default_factory=dict)

    def inside(self, places: Places) -> dict[str, set[int]]:
        """Domain to the numbers of the sides that are there."""
        result: dict[str, set[int]] = {}
        for number, side in enumerate(self.sides):
            for vmid in side & set(places):
                result.setdefault(self.domain_of(places[vmid]), set()).add(number)
        return result

    def domain_of(self, node: str) -> str:
        """A node without a label is a domain of its own, which no label can name."""
        return self.domain.get(node, f"node {node}")


@dataclass
class Asks:
    """Rules of every kind."""

    together: list[tuple[str, frozenset[int]]] = field(default_factory=list)
    apart: list[Apart] = field(default_factory=list)
    homes: list[tuple[str, frozenset[int], frozenset[str]]] = field(default_factory=list)

    def add(self, other: "Asks") -> None:
        """These as well."""
        self.together += other.together
        self.apart += other.apart
        self.homes += other.homes

    def broken(self, places: Places, left_alone: Collection[int]) -> set[Fact]:
        """Every rule that does not hold, guest by guest or pair by pair; guests left alone may be anywhere."""
        return {*self._split(places), *self._crowded(places), *self._astray(places, left_alone)}

    def _split(self, places: Places) -> Iterable[Fact]:
        for name, members in self.together:
            for pair in combinations(sorted(members & set(places)), 2):
                if places[pair[0]] != places[pair[1]]:
                    yield ("together", name, pair)

    def _crowded(self, places: Places) -> Iterable[Fact]:
        """Sides that are too many, as small sets: what is worse has more of them."""
        for rule in self.apart:
            for sides in rule.inside(places).values():
                yield from (("apart", rule.name, some) for some in combinations(sorted(sides), rule.most + 1))

    def _astray(self, places: Places, left_alone: Collection[int]) -> Iterable[Fact]:
        for name, members, nodes in self.homes:
            for vmid in members & set(places):
                if vmid not in left_alone and places[vmid] not in nodes:
                    yield ("home", name, vmid, places[vmid])

    def involved(self, places: Places, left_alone: Collection[int]) -> set[int]:
        """Guests whose migration could mend a rule."""
        result = {fact[2] for fact in self._astray(places, left_alone)}
        split = {fact[1] for fact in self._split(places)}
        result |= {vmid for name, members in self.together if name in split for vmid in members}
        for rule in self.apart:
            crowded = {domain for domain, sides in rule.inside(places).items() if len(sides) > rule.most}
            there = {vmid for side in rule.sides for vmid in side & set(places)}
            result |= {vmid for vmid in there if rule.domain_of(places[vmid]) in crowded}
        return result


def together(name: str, vmids: Iterable[int]) -> Asks:
    """All these guests on one node."""
    return Asks(together=[(name, frozenset(vmids))])


def apart(name: str, vmids: Iterable[int]) -> Asks:
    """No two of these guests on one node."""
    return Asks(apart=[Apart(name, tuple(frozenset({vmid}) for vmid in vmids))])


def home(name: str, vmids: Iterable[int], nodes: Iterable[str]) -> Asks:
    """Each of these guests on one of these nodes."""
    return Asks(homes=[(name, frozenset(vmids), frozenset(nodes))])
