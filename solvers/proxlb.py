"""Owns the baseline `proxlb`: what ProxLB 2.3.0 would do with a cluster, quirk for quirk.

Written from a description of its behaviour and held to it by a differential test; it shares no code with ProxLB.
Loads are percent as floats, in ProxLB's order of operations.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from solvers.proxlb_books import Books, Node, NodeValue, pressure_of, read_nodes
from solvers.proxlb_guests import Apart, Guest, group_apart, group_together, read_guests
from solvers.proxlb_input import Method, Mode, ProxlbGuest, ProxlbInput, ProxlbNode, ProxlbPressure


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
class _State:
    """One run in progress."""

    view: ProxlbInput
    nodes: tuple[Node, ...]
    books: Books
    guests: tuple[Guest, ...]
    together: tuple[list[Guest], ...]
    apart: tuple[Apart, ...]
    hot: bool
    """Whether there is pressure somewhere; it never changes during a run."""
    next: Node | None = None
    """The node that the next migration goes to."""
    current: Guest | None = None
    """The guest that the next migration takes; in psi mode it may be a left-over."""


def migrations(view: ProxlbInput) -> list[tuple[int, str]]:
    """(vmid, target node) of the migrations ProxLB 2.3.0 would start, in its order of guests."""
    return list(run(view).migrations)


def run(view: ProxlbInput) -> Outcome:
    """Plan as ProxLB 2.3.0 does; the migrations and the node values it ends with."""
    nodes = read_nodes(view)
    guests = read_guests(view, nodes)
    books = Books(view, nodes, ((guest.record, guest.source) for guest in guests))
    state = _State(view, nodes, books, guests, group_together(guests), group_apart(guests), _any_hot(view, guests))
    state.next = books.freest()
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


def _unbalanced(state: _State) -> bool:
    """Whether the loads of all nodes, maintenance included, call for balancing; hot spots instead in psi mode."""
    view = state.view
    if view.mode is Mode.PSI:
        return state.hot
    highest, lowest = state.books.loads.highest, state.books.loads.lowest
    return bool(view.threshold and highest >= view.threshold) or highest - lowest > view.balanciness


def _any_hot(view: ProxlbInput, guests: Iterable[Guest]) -> bool:
    """Whether a node or guest is under pressure; nodes in maintenance and ignored guests never are."""
    nodes = (node for node in view.nodes if not node.maintenance)
    kept = (guest.record for guest in guests if not guest.ignored)
    return _any_reaches(nodes, view.method, view.node_limit) or _any_reaches(kept, view.method, view.guest_limit)


def _any_reaches(owners: Iterable[ProxlbNode | ProxlbGuest], method: Method, limit: ProxlbPressure | None) -> bool:
    return limit is not None and any(pressure_of(owner, method).reaches(limit) for owner in owners)


def _affinity_enforced(state: _State) -> bool:
    """ProxLB notices an invalid guest when it looks at the next one: of an invalid last guest it takes no notice."""
    broken = _broken(state)
    if not broken:
        return False
    return True if any(guest in broken for guest in state.guests[:-1]) else state.view.enforce_affinity


def _broken(state: _State) -> set[Guest]:
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
            state.next = state.books.freest()
            _migrate(state)


def _balance(state: _State, enforced: bool) -> None:
    suspects = _by_pressure(state)
    for group in _sorted(state):
        if not (enforced or _unbalanced(state)):
            return
        state.next = state.books.freest()
        for guest in group:
            if guest.source is not state.books.hottest():
                break
            _relocate(state, guest, suspects)


def _migrate(state: _State) -> None:
    """Book the current guest from where it runs (even if planned away already) to the next node."""
    guest, target = state.current, state.next
    if guest is None or target is None:
        return
    state.books.migrate(guest.record, guest.source, target)
    if not guest.ignored:
        guest.target = target


def _sorted(state: _State) -> list[list[Guest]]:
    """Affinity groups, fewest members first, then by memory used in the order that was asked for."""
    sign = -1 if state.view.larger_first else 1
    return sorted(state.together, key=lambda group: (len(group), sign * sum(g.record.memory.used for g in group)))


def _by_pressure(state: _State) -> list[Guest]:
    """Guests by falling pressure, the end of the list first: those that psi mode has not yet dealt with."""
    if state.view.mode is not Mode.PSI:
        return []
    guests = sorted(state.guests, key=lambda guest: -pressure_of(guest.record, state.view.method).spikes)
    return guests[::-1]


def _relocate(state: _State, guest: Guest, suspects: list[Guest]) -> None:
    """Migrate the guest if the next node has the memory for it."""
    if state.next is None or not guest.record.memory.used < state.next.values[Method.MEMORY].free:
        return
    if state.view.mode is not Mode.PSI:
        state.current = guest
    elif suspects[-1] is guest:
        state.current = suspects.pop()
    _keep_apart(state, guest)
    _pin(state, guest)
    _migrate(state)


def _keep_apart(state: _State, guest: Guest) -> None:
    """Let each anti-affinity group hand out its next unused node, full or not; the last group has its way."""
    for group in guest.groups:
        if len(group.guests) > 1 and group.taken < len(state.books.open):
            state.next = state.books.open[group.taken]
            group.taken += 1


def _pin(state: _State, guest: Guest) -> None:
    """Replace the next node by the freest one the guest is pinned to, or by none; the freest of all may join in."""
    if not guest.pins:
        return
    freest = None if guest.strict else state.books.freest()
    state.next = state.books.freest(guest.pins if freest is None else (*guest.pins, freest.name))
