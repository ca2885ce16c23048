"""Owns what a rule is, wherever it was written: its name, what it asks of which guests, and what it is worth."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from planner.policy import Unless


class Kind(StrEnum):
    """What a rule asks for."""

    TOGETHER = "together"
    APART = "apart"
    PIN = "pin"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, by the name that the operator gave it."""

    name: str
    kind: Kind
    sides: tuple[tuple[int, ...], ...]
    """vmids. Sides are kept apart, guests of one side need not be; rules that keep nothing apart have one side."""
    nodes: frozenset[str] = frozenset()
    """Where guests that are pinned may be."""
    most: int = 1
    """How many sides may share a node or domain."""
    per: str = ""
    """Which failure domains count, by their name in `cluster.domains`; empty: every node is one of its own."""
    price: float = 0.0
    """What it costs that a rule gives way to a more important one; 0: it must hold."""
    unless: Unless = Unless.NEVER
    """When guests that are ignored may be migrated nevertheless."""

    @property
    def vmids(self) -> tuple[int, ...]:
        """All guests it is about."""
        return tuple(vmid for side in self.sides for vmid in side)

    def rows(self) -> Iterator[dict[str, Any]]:
        """As in `planner.frames.RULES`."""
        for index, side in enumerate(self.sides):
            for vmid in side:
                yield {
                    "rule": self.name, "kind": self.kind.value, "vmid": vmid, "nodes": ",".join(sorted(self.nodes)),
                    "side": index, "most": self.most, "per": self.per, "price": self.price,
                    "unless": self.unless.value if self.kind is Kind.IGNORE else "",
                }  # fmt: skip


def together(name: str, vmids: Iterable[int], price: float = 0.0) -> Rule:
    """These guests on one node."""
    return Rule(name, Kind.TOGETHER, (_sorted(vmids),), price=price)


def apart(name: str, vmids: Iterable[int], most: int = 1, per: str = "", price: float = 0.0) -> Rule:
    """At most so many of these guests on a node or domain."""
    return Rule(name, Kind.APART, tuple((vmid,) for vmid in _sorted(vmids)), most=most, per=per, price=price)


def pin(name: str, vmids: Iterable[int], nodes: Iterable[str], price: float = 0.0) -> Rule:
    """Each of these guests on one of these nodes."""
    return Rule(name, Kind.PIN, (_sorted(vmids),), frozenset(nodes), price=price)


def ignore(name: str, vmids: Iterable[int], unless: Unless = Unless.NEVER) -> Rule:
    """These guests stay where they are."""
    return Rule(name, Kind.IGNORE, (_sorted(vmids),), unless=unless)


def _sorted(vmids: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(vmids)))
