"""Owns ProxLB's books of what each node has and uses, and its nodes in the order of their load.

Loads are percent as floats, in ProxLB's order of operations.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from solvers.proxlb_input import Method, Mode, ProxlbGuest, ProxlbInput, ProxlbNode, ProxlbPressure, ProxlbResource
from solvers.ranking import Ranking, Span


@dataclass(slots=True)
class NodeValue:
    """ProxLB's books of one resource on one node, in the units of ProxlbResource and in percent."""

    total: int
    used: float
    free: float
    used_percent: float
    assigned: int = 0
    assigned_percent: float = 0.0


@dataclass(slots=True, eq=False)
class Node:
    """A node of the run; `index` is its place in the order of nodes."""

    index: int
    name: str
    maintenance: bool
    values: dict[Method, NodeValue]
    spikes: float

    def load(self, method: Method, mode: Mode) -> float:
        """Percent: what ProxLB goes by in this mode."""
        if mode is Mode.PSI:
            return self.spikes
        value = self.values[method]
        return value.assigned_percent if mode is Mode.ASSIGNED else value.used_percent


class Books:
    """What is on the nodes while guests are planned away; opened with all guests where they run."""

    def __init__(self, view: ProxlbInput, nodes: tuple[Node, ...], guests: Iterable[tuple[ProxlbGuest, Node]]) -> None:
        self._method, self._mode = view.method, view.mode
        self._nodes = nodes
        _assign(nodes, guests)
        loads = {node.index: self._load(node) for node in nodes}
        self.open = tuple(node for node in nodes if not node.maintenance)
        self._open = {node.name: node.index for node in self.open}
        self._freest = Ranking({node.index: loads[node.index] for node in self.open})
        self._hottest = Ranking({node.index: -self._heat(node) for node in nodes})
        self.loads = Span(loads)
        """Of all nodes, maintenance included."""

    def migrate(self, guest: ProxlbGuest, source: Node, target: Node) -> None:
        """Book a guest from where it runs to another node."""
        for node, sign in ((target, +1), (source, -1)):
            _book(node, guest, sign)
            self._freest.put(node.index, self._load(node))
            self._hottest.put(node.index, -self._heat(node))
            self.loads.put(node.index, self._load(node))

    def freest(self, only: Iterable[str] = ()) -> Node | None:
        """The first of the least loaded nodes that are not in maintenance, among `only` if that names any."""
        names = tuple(only)
        if names:
            among = (self._open[name] for name in names if name in self._open)
            found = min(among, key=self._freest.place, default=None)
        else:
            found = self._freest.first()
        return None if found is None else self._nodes[found]

    def hottest(self) -> Node | None:
        """The first of the nodes with the highest use, whatever the mode, maintenance included."""
        found = self._hottest.first()
        return None if found is None else self._nodes[found]

    def _load(self, node: Node) -> float:
        return node.load(self._method, self._mode)

    def _heat(self, node: Node) -> float:
        return node.values[self._method].used_percent


def read_nodes(view: ProxlbInput) -> tuple[Node, ...]:
    """The nodes as ProxLB reads them, without what is assigned to guests."""
    return tuple(_read(index, node, view) for index, node in enumerate(view.nodes))


def pressure_of(owner: ProxlbNode | ProxlbGuest, method: Method) -> ProxlbPressure:
    """Pressure as ProxLB reads it."""
    pressure = _resource(owner, method).pressure
    if method is Method.CPU and isinstance(owner, ProxlbNode):
        return ProxlbPressure(some=pressure.some)
    return pressure


def _read(index: int, node: ProxlbNode, view: ProxlbInput) -> Node:
    reserve = node.memory_reserve if node.memory_reserve <= node.memory.total else 0
    values = {method: _first_value(_resource(node, method)) for method in Method}
    values[Method.MEMORY].total -= reserve  # after the fact: free and percent at the start know of no reserve
    return Node(index, node.name, node.maintenance, values, pressure_of(node, view.method).spikes)


def _first_value(resource: ProxlbResource) -> NodeValue:
    total, used = resource.total, float(resource.used)
    return NodeValue(total=total, used=used, free=total - used, used_percent=_percent(used, total))


def _percent(part: float, total: int) -> float:
    """0 of nothing: the one difference, ProxLB crashes on a node without memory (all of it reserved) or disk."""
    return part / total * 100 if total else 0.0


def _resource(owner: ProxlbNode | ProxlbGuest, method: Method) -> ProxlbResource:
    resource: ProxlbResource = getattr(owner, method)
    return resource


def _assign(nodes: Iterable[Node], guests: Iterable[tuple[ProxlbGuest, Node]]) -> None:
    for guest, node in guests:
        for method, value in node.values.items():
            value.assigned += _resource(guest, method).total
    for node in nodes:
        for value in node.values.values():
            value.assigned_percent = _percent(value.assigned, value.total)


def _book(node: Node, guest: ProxlbGuest, sign: int) -> None:
    for method, value in node.values.items():
        resource = _resource(guest, method)
        value.assigned += sign * resource.total
        value.used += sign * resource.used
        value.free = max(0.0, value.total - value.used)
        value.used_percent = _percent(value.used, value.total)
        value.assigned_percent = _percent(value.assigned, value.total)
