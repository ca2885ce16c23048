"""Owns the baseline `proxlb`: what ProxLB 2.3.0 would do with a cluster, quirk for quirk.

Written from a description of its behaviour and held to it by a differential test; it shares no code with ProxLB.
Loads are percent as floats, in ProxLB's order of operations.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from solvers.proxlb_input import (
    Affinity,
    GuestType,
    Method,
    Mode,
    ProxlbGuest,
    ProxlbInput,
    ProxlbNode,
    ProxlbPool,
    ProxlbPressure,
    ProxlbResource,
    ProxlbRule,
)


@dataclass(slots=True)
class NodeValue:
    """ProxLB's books of one resource on one node, in the units of ProxlbResource and in percent."""

    total: int
    used: float
    free: float
    used_percent: float
    assigned: int = 0
    assigned_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run leaves behind."""

    migrations: tuple[tuple[int, str], ...]
    """(vmid, target) of what ProxLB would start, in its order of guests."""
    targets: tuple[tuple[int, str], ...]
    """(vmid, target) of every guest that ProxLB knows, in its order."""
    values: dict[tuple[str, Method], NodeValue]
    """The books at the end, per node and resource."""


@dataclass(slots=True, eq=False)
class _Node:
    name: str
    maintenance: bool
    values: dict[Method, NodeValue]
    spikes: float

    def load(self, method: Method, mode: Mode) -> float:
        if mode is Mode.PSI:
            return self.spikes
        value = self.values[method]
        return value.assigned_percent if mode is Mode.ASSIGNED else value.used_percent


@dataclass(slots=True, eq=False)
class _Guest:
    record: ProxlbGuest
    source: _Node
    target: _Node
    together: tuple[str, ...]
    apart: tuple[str, ...]
    pins: tuple[str, ...]
    strict: bool
    ignored: bool
    groups: list["_Apart"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Apart:
    """An anti-affinity group; a guest that names it twice is a member twice."""

    guests: list[_Guest] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _State:
    """One run in progress."""

    view: ProxlbInput
    nodes: tuple[_Node, ...]
    guests: tuple[_Guest, ...]
    together: tuple[list[_Guest], ...]
    apart: tuple[_Apart, ...]
    hot: bool
    """Whether there is pressure somewhere; it never changes during a run."""
    next: _Node | None = None
    """The node that the next migration goes to."""
    current: _Guest | None = None
    """The guest that the next migration takes; in psi mode it may be a left-over."""


def migrations(view: ProxlbInput) -> list[tuple[int, str]]:
    """(vmid, target node) of the migrations ProxLB 2.3.0 would start, in its order of guests."""
    return list(run(view).migrations)


def run(view: ProxlbInput) -> Outcome:
    """Plan as ProxLB 2.3.0 does; the migrations and the node values it ends with."""
    nodes = tuple(_open(node, view) for node in view.nodes)
    guests = _read(view, {node.name: node for node in nodes})
    state = _State(view, nodes, guests, _group_together(guests), _group_apart(guests), _any_hot(view, guests))
    _assign(guests)
    state.next = _freest(state)
    if state.next is not None:
        enforced = view.enforce_pinning or _affinity_enforced(state)
        _evacuate(state)
        _balance(state, enforced)
    return _outcome(state)


def _outcome(state: _State) -> Outcome:
    types = state.view.balance_types
    leaving = (g for g in state.guests if g.target is not g.source and not g.ignored and g.record.type in types)
    return Outcome(
        migrations=tuple((guest.record.vmid, guest.target.name) for guest in leaving),
        targets=tuple((guest.record.vmid, guest.target.name) for guest in state.guests),
        values={(node.name, method): value for node in state.nodes for method, value in node.values.items()},
    )


# What ProxLB makes of the records.


def _open(node: ProxlbNode, view: ProxlbInput) -> _Node:
    reserve = node.memory_reserve if node.memory_reserve <= node.memory.total else 0
    values = {method: _first_value(_resource(node, method)) for method in Method}
    values[Method.MEMORY].total -= reserve  # after the fact: free and percent at the start know of no reserve
    return _Node(node.name, node.maintenance, values, _pressure(node, view.method).spikes)


def _first_value(resource: ProxlbResource) -> NodeValue:
    total, used = resource.total, float(resource.used)
    return NodeValue(total=total, used=used, free=total - used, used_percent=_percent(used, total))


def _percent(part: float, total: int) -> float:
    """0 of nothing: the one difference, ProxLB crashes on a node without memory (all of it reserved) or disk."""
    return part / total * 100 if total else 0.0


def _resource(owner: ProxlbNode | ProxlbGuest, method: Method) -> ProxlbResource:
    return {Method.CPU: owner.cpu, Method.MEMORY: owner.memory, Method.DISK: owner.disk}[method]


def _pressure(owner: ProxlbNode | ProxlbGuest, method: Method) -> ProxlbPressure:
    pressure = _resource(owner, method).pressure
    if method is Method.CPU and isinstance(owner, ProxlbNode):
        return ProxlbPressure(some=pressure.some)
    return pressure


def _read(view: ProxlbInput, nodes: dict[str, _Node]) -> tuple[_Guest, ...]:
    """Guests by name, node by node, VMs before containers; the last of a name takes the first one's place."""
    place = {name: index for index, name in enumerate(nodes)}
    known = (guest for guest in view.guests if guest.node in nodes)
    ordered = sorted(known, key=lambda guest: (place[guest.node], guest.type is GuestType.CT))
    by_name = {guest.name: guest for guest in ordered}
    return tuple(_interpret(guest, nodes, view) for guest in by_name.values())


def _interpret(guest: ProxlbGuest, nodes: dict[str, _Node], view: ProxlbInput) -> _Guest:
    pools = [pool for pool in view.pools if guest.name in pool.members]
    rules = [rule for rule in view.rules if guest.vmid in rule.members]
    bound: list[ProxlbPool | ProxlbRule] = [*pools, *rules]
    together = [tag for tag in guest.tags if tag.startswith("plb_affinity")]
    apart = [tag for tag in guest.tags if tag.startswith("plb_anti_affinity")]
    return _Guest(
        record=guest,
        source=nodes[guest.node],
        target=nodes[guest.node],
        together=(*together, *(source.name for source in bound if source.affinity is Affinity.POSITIVE)),
        apart=(*apart, *(source.name for source in bound if source.affinity is Affinity.NEGATIVE)),
        pins=_pins(guest.tags, pools, rules, nodes),
        strict=pools[-1].strict if pools else True,
        ignored=guest.name in view.ignore_guests or any(tag.startswith("plb_ignore") for tag in guest.tags),
    )


def _pins(
    tags: Iterable[str], pools: Iterable[ProxlbPool], rules: Iterable[ProxlbRule], nodes: Iterable[str]
) -> tuple[str, ...]:
    """Node names a guest is pinned to, as ProxLB writes them down: not all of them name a node.

    Pins of tags and pools must name a node in any case of letters. A tag's pin takes the node's spelling, a pool's
    keeps its own and may match no node later. Entries of HA rules are taken raw, so that "n1:2" matches no node.
    """
    spelling: dict[str, str] = {}
    for name in nodes:
        spelling.setdefault(name.lower(), name)
    tagged = [tag.replace("plb_pin_", "").lower() for tag in tags if tag.startswith("plb_pin")]
    pooled = [pin for pool in pools for pin in pool.pins]
    positive = [rule for rule in rules if rule.affinity is Affinity.POSITIVE]
    return (
        *(spelling[pin] for pin in tagged if pin in spelling),
        *(pin for pin in pooled if pin.lower() in spelling),
        *(entry for rule in positive for entry in rule.nodes.split(",") if entry),
    )


def _group_together(guests: Iterable[_Guest]) -> tuple[list[_Guest], ...]:
    """Affinity groups; a guest joins only the last one it names, or is alone."""
    groups: dict[str | int, list[_Guest]] = {}
    for index, guest in enumerate(guests):
        groups.setdefault(guest.together[-1] if guest.together else index, []).append(guest)
    return tuple(groups.values())


def _group_apart(guests: Iterable[_Guest]) -> tuple[_Apart, ...]:
    """Anti-affinity groups in order of appearance, and the same order in each guest that is in several."""
    groups: dict[str, _Apart] = {}
    for guest in guests:
        for name in guest.apart:
            groups.setdefault(name, _Apart()).guests.append(guest)
    for group in groups.values():
        for guest in dict.fromkeys(group.guests):
            guest.groups.append(group)
    return tuple(groups.values())


# The books.


def _assign(guests: Iterable[_Guest]) -> None:
    for guest in guests:
        for method, value in guest.source.values.items():
            value.assigned += _resource(guest.record, method).total
            value.assigned_percent = _percent(value.assigned, value.total)


def _migrate(state: _State) -> None:
    """Book the current guest from where it runs (even if planned away already) to the next node."""
    guest, target = state.current, state.next
    if guest is None or target is None:
        return
    _book(target, guest.record, +1)
    _book(guest.source, guest.record, -1)
    if not guest.ignored:
        guest.target = target


def _book(node: _Node, guest: ProxlbGuest, sign: int) -> None:
    for method, value in node.values.items():
        resource = _resource(guest, method)
        value.assigned += sign * resource.total
        value.used += sign * resource.used
        value.free = max(0.0, value.total - value.used)
        value.used_percent = _percent(value.used, value.total)
        value.assigned_percent = _percent(value.assigned, value.total)


def _freest(state: _State, only: Sequence[str] = ()) -> _Node | None:
    """The first of the least loaded nodes that are not in maintenance, among `only` if that names any."""
    method, mode = state.view.method, state.view.mode
    open_nodes = (node for node in state.nodes if not node.maintenance and (not only or node.name in only))
    return min(open_nodes, key=lambda node: node.load(method, mode), default=None)


def _hottest(state: _State) -> _Node:
    """The first of the nodes with the highest use, whatever the mode, maintenance included."""
    return max(state.nodes, key=lambda node: node.values[state.view.method].used_percent)


def _unbalanced(state: _State) -> bool:
    """Whether the loads of all nodes, maintenance included, call for balancing; hot spots instead in psi mode."""
    view = state.view
    if view.mode is Mode.PSI:
        return state.hot
    loads = [node.load(view.method, view.mode) for node in state.nodes]
    return bool(view.threshold and max(loads) >= view.threshold) or max(loads) - min(loads) > view.balanciness


def _any_hot(view: ProxlbInput, guests: Iterable[_Guest]) -> bool:
    """Whether a node or guest is under pressure; nodes in maintenance and ignored guests never are."""
    nodes = (node for node in view.nodes if not node.maintenance)
    kept = (guest.record for guest in guests if not guest.ignored)
    return _any_reaches(nodes, view.method, view.node_limit) or _any_reaches(kept, view.method, view.guest_limit)


def _any_reaches(owners: Iterable[ProxlbNode | ProxlbGuest], method: Method, limit: ProxlbPressure | None) -> bool:
    return limit is not None and any(_pressure(owner, method).reaches(limit) for owner in owners)


# The run.


def _affinity_enforced(state: _State) -> bool:
    """ProxLB notices an invalid guest when it looks at the next one: of an invalid last guest it takes no notice."""
    broken = _broken(state)
    if not broken:
        return False
    return True if any(guest in broken for guest in state.guests[:-1]) else state.view.enforce_affinity


def _broken(state: _State) -> set[_Guest]:
    """Members of affinity groups on several nodes, of anti-affinity groups that share one, of any on maintenance."""
    groups = [(group, len({guest.source.name for guest in group}) == 1) for group in state.together]
    for apart in state.apart:
        groups.append((apart.guests, len({guest.source.name for guest in apart.guests}) == len(apart.guests)))
    return {
        guest
        for group, holds in groups
        if not holds or any(member.source.maintenance for member in group)
        for guest in group
    }


def _evacuate(state: _State) -> None:
    """Send what runs on nodes in maintenance to the freest node, without a look at rules, sizes or ignored guests."""
    for guest in state.guests:
        if guest.source.maintenance:
            state.current = guest
            state.next = _freest(state)
            _migrate(state)


def _balance(state: _State, enforced: bool) -> None:
    # Loads change with a migration only, pressures never: what depends on them is looked up when they did change.
    suspects = _by_pressure(state)
    stale = True
    for group in _sorted(state):
        if stale:
            unbalanced, freest, hottest, stale = _unbalanced(state), _freest(state), _hottest(state), False
        if not (unbalanced or enforced):
            return
        state.next = freest
        for guest in group:
            if stale:
                hottest = _hottest(state)
            if guest.source is not hottest:
                break
            stale = _relocate(state, guest, suspects) or stale


def _sorted(state: _State) -> list[list[_Guest]]:
    """Affinity groups, fewest members first, then by memory used in the order that was asked for."""
    sign = -1 if state.view.larger_first else 1
    return sorted(state.together, key=lambda group: (len(group), sign * sum(g.record.memory.used for g in group)))


def _by_pressure(state: _State) -> list[_Guest]:
    """Guests by falling pressure, the end of the list first: those that psi mode has not yet dealt with."""
    guests = sorted(state.guests, key=lambda guest: -_pressure(guest.record, state.view.method).spikes)
    return guests[::-1]


def _relocate(state: _State, guest: _Guest, suspects: list[_Guest]) -> bool:
    """Migrate the guest if the next node has the memory for it; whether anything was booked."""
    if state.next is None or not guest.record.memory.used < state.next.values[Method.MEMORY].free:
        return False
    if state.view.mode is not Mode.PSI:
        state.current = guest
    elif suspects[-1] is guest:
        state.current = suspects.pop()
    _keep_apart(state, guest)
    _pin(state, guest)
    _migrate(state)
    return True


def _keep_apart(state: _State, guest: _Guest) -> None:
    """Let each anti-affinity group hand out its next unused node, full or not; the last group has its way."""
    for group in guest.groups:
        if len(group.guests) < 2:
            continue
        unused = (node for node in state.nodes if node.name not in group.taken and not node.maintenance)
        node = next(unused, None)
        if node is not None:
            state.next = node
            group.taken.add(node.name)


def _pin(state: _State, guest: _Guest) -> None:
    """Replace the next node by the freest one the guest is pinned to, or by none; the freest of all may join in."""
    if not guest.pins:
        return
    freest = None if guest.strict else _freest(state)
    state.next = _freest(state, guest.pins if freest is None else (*guest.pins, freest.name))
