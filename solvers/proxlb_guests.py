"""Owns what ProxLB makes of the records of guests: their order, groups and pins."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from solvers.proxlb_books import Node
from solvers.proxlb_input import Affinity, GuestType, ProxlbGuest, ProxlbInput, ProxlbPool, ProxlbRule


@dataclass(slots=True, eq=False)
class Guest:
    """A guest of the run: where it runs, where it is planned to run, and what binds it."""

    record: ProxlbGuest
    source: Node
    target: Node
    together: tuple[str, ...]
    apart: tuple[str, ...]
    pins: tuple[str, ...]
    strict: bool
    ignored: bool
    groups: list["Apart"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Apart:
    """An anti-affinity group; a guest that names it twice is a member twice."""

    guests: list[Guest] = field(default_factory=list)
    taken: int = 0
    """How many of the nodes that are not in maintenance it has handed out, in their order."""


def read_guests(view: ProxlbInput, nodes: Iterable[Node]) -> tuple[Guest, ...]:
    """Guests by name, node by node, VMs before containers; the last of a name takes the first one's place."""
    by_node = {node.name: node for node in nodes}
    known = (guest for guest in view.guests if guest.node in by_node)
    ordered = sorted(known, key=lambda guest: (by_node[guest.node].index, guest.type is GuestType.CT))
    by_name = {guest.name: guest for guest in ordered}
    bonds = _Bonds(view, by_node)
    return tuple(bonds.read(guest, by_node[guest.node]) for guest in by_name.values())


def group_together(guests: Iterable[Guest]) -> tuple[list[Guest], ...]:
    """Affinity groups; a guest joins only the last one it names, or is alone."""
    groups: dict[str | int, list[Guest]] = {}
    for index, guest in enumerate(guests):
        groups.setdefault(guest.together[-1] if guest.together else index, []).append(guest)
    return tuple(groups.values())


def group_apart(guests: Iterable[Guest]) -> tuple[Apart, ...]:
    """Anti-affinity groups in order of appearance, and the same order in each guest that is in several."""
    groups: dict[str, Apart] = {}
    for guest in guests:
        for name in guest.apart:
            groups.setdefault(name, Apart()).guests.append(guest)
    for group in groups.values():
        for guest in dict.fromkeys(group.guests):
            guest.groups.append(group)
    return tuple(groups.values())


class _Bonds:
    """Pools and rules by guest, and node names by their small letters, so that a guest is read without a search."""

    def __init__(self, view: ProxlbInput, nodes: Iterable[str]) -> None:
        self._ignored = view.ignore_guests
        self._pools = defaultdict[str, list[ProxlbPool]](list)
        self._rules = defaultdict[int, list[ProxlbRule]](list)
        self._spelling: dict[str, str] = {}
        for pool in view.pools:
            for name in pool.members:
                self._pools[name].append(pool)
        for rule in view.rules:
            for vmid in rule.members:
                self._rules[vmid].append(rule)
        for name in nodes:
            self._spelling.setdefault(name.lower(), name)

    def read(self, guest: ProxlbGuest, node: Node) -> Guest:
        """A guest that runs on a node, and what binds it."""
        pools, rules = self._pools.get(guest.name, []), self._rules.get(guest.vmid, [])
        bound: list[ProxlbPool | ProxlbRule] = [*pools, *rules]
        together = [tag for tag in guest.tags if tag.startswith("plb_affinity")]
        apart = [tag for tag in guest.tags if tag.startswith("plb_anti_affinity")]
        return Guest(
            record=guest,
            source=node,
            target=node,
            together=(*together, *(source.name for source in bound if source.affinity is Affinity.POSITIVE)),
            apart=(*apart, *(source.name for source in bound if source.affinity is Affinity.NEGATIVE)),
            pins=self._pins(guest.tags, pools, rules),
            strict=pools[-1].strict if pools else True,
            ignored=guest.name in self._ignored or any(tag.startswith("plb_ignore") for tag in guest.tags),
        )

    def _pins(self, tags: Iterable[str], pools: Iterable[ProxlbPool], rules: Iterable[ProxlbRule]) -> tuple[str, ...]:
        """Node names a guest is pinned to, as ProxLB writes them down: not all of them name a node.

        Pins of tags and pools must name a node in any case of letters. A tag's pin takes the node's spelling, a
        pool's keeps its own and may match no node later. Entries of HA rules are taken raw: "n1:2" matches no node.
        """
        tagged = [tag.replace("plb_pin_", "").lower() for tag in tags if tag.startswith("plb_pin")]
        pooled = [pin for pool in pools for pin in pool.pins]
        positive = [rule for rule in rules if rule.affinity is Affinity.POSITIVE]
        return (
            *(self._spelling[pin] for pin in tagged if pin in self._spelling),
            *(pin for pin in pooled if pin.lower() in self._spelling),
            *(entry for rule in positive for entry in rule.nodes.split(",") if entry),
        )
