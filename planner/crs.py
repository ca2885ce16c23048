"""Owns the balancer of Proxmox VE 9.2's HA manager (crs), as a baseline: one migration at a time, where loads are very
uneven for a while. It looks at the running guests that the HA manager has, and keeps the HA manager's own rules alone.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from planner.ha import HaRule
from planner.measure import AWAY, Floats, Places

ROUND = 10.0
"""Seconds between two rounds of the HA manager."""
DIGITS = 12
"""To which imbalances are compared: what differs by less is a tie."""
AT_ONCE = 256
"""Bundles that are looked at together: more would take more memory and no less time."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the datacentre's options set it; the defaults are Proxmox VE's."""

    threshold: float = 0.3
    """Imbalance above which something is done..."""
    hold: int = 3
    """...after so many rounds on end..."""
    margin: float = 0.1
    """...if it gets less by this part at least."""


@dataclass(frozen=True, eq=False)
class View:
    """What it looks at in a round."""

    sids: tuple[str, ...]
    """(g,) names of guests such as vm:100, which ties go by."""
    names: tuple[str, ...]
    """(n,) of nodes."""
    homes: Places
    """(g,) node of each guest; AWAY for one that is not there."""
    cpu: Floats
    """(g,) milli-CPU in use."""
    memory: Floats
    """(g,) MiB in use."""
    own: Floats
    """(n,) load of the nodes beside these guests."""
    cpus: Floats
    """(n,) milli-CPU of the nodes."""
    mib: Floats
    """(n,) MiB of the nodes."""
    open: Collection[int]
    """Nodes that are online and not in maintenance; the others are not looked at."""
    started: Collection[int]
    """Guests that run, and that the HA manager has, in state started."""
    rules: Sequence[HaRule] = ()

    @cached_property
    def vmids(self) -> tuple[int, ...]:
        """(g,)"""
        return tuple(int(sid.partition(":")[2]) for sid in self.sids)

    @cached_property
    def index(self) -> Mapping[int, int]:
        """vmid to index, of the guests that are there."""
        return {vmid: g for g, vmid in enumerate(self.vmids) if self.homes[g] != AWAY}


class Chosen(NamedTuple):
    """Guests that go to another node, and the imbalance then."""

    guests: tuple[int, ...]
    target: int
    imbalance: float


class Balancer:
    """What it remembers from round to round."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rounds = 0
        self._last: tuple[View, float] | None = None
        self._best: tuple[View, Chosen | None] | None = None

    def round(self, view: View, *, moving: bool) -> Chosen | None:
        """What is migrated now. Rounds in which something moves count too, but nothing is begun in them; when something
        is begun, or would be and nothing gains enough, counting begins anew."""
        if self._imbalance(view) <= self._settings.threshold:
            self._rounds = 0
            return None
        self._rounds += 1
        if self._rounds < self._settings.hold or moving:
            return None
        self._rounds = 0
        if self._best is None or self._best[0] is not view:
            self._best = view, best(view, self._settings.margin)
        return self._best[1]

    def _imbalance(self, view: View) -> float:
        """Looked at anew only where something has changed, as `best` is: the same object is the same view."""
        if self._last is None or self._last[0] is not view:
            self._last = view, imbalance(loads(view)[sorted(view.open)])
        return self._last[1]


def loads(view: View) -> Floats:
    """(n,) the mean of the parts of CPU and memory in use."""
    there = view.homes != AWAY
    at = view.homes[there]
    count = len(view.names)
    cpu = np.bincount(at, weights=view.cpu[there], minlength=count) / view.cpus
    memory = np.bincount(at, weights=view.memory[there], minlength=count) / view.mib
    result: Floats = view.own + (cpu + memory) / 2
    return result


def imbalance(values: Floats) -> float:
    """Standard deviation by mean, such that 1 is the most: all on one node."""
    if len(values) < 2 or not values.any():
        return 0.0
    return float(values.std() / values.mean() / np.sqrt(len(values) - 1))


def best(view: View, margin: float) -> Chosen | None:
    """The single migration, of guests that have to go along with it, that leaves the least imbalance; None where that
    is not less by the margin. Ties go by the name of the guest, of the source, of the target."""
    nodes = np.array(sorted(view.open), dtype=np.int64)
    now = loads(view)[nodes]
    groups = [group for group in bundles(view) if view.homes[group[0]] in nodes]
    least: tuple[float, str, str, Chosen] | None = None
    for first in range(0, len(groups), AT_ONCE):
        some = groups[first : first + AT_ONCE]
        table = _after(view, now, nodes, some)
        for i, target in np.argwhere(table <= table.min()).tolist() if np.isfinite(table).any() else ():
            chosen = Chosen(some[i], int(nodes[target]), float(table[i, target]))
            found = (chosen.imbalance, view.sids[some[i][0]], view.names[chosen.target], chosen)
            least = found if least is None else min(least, found, key=lambda item: item[:3])
    before = imbalance(now)
    return least[3] if least and before - least[0] >= margin * before else None


def _after(view: View, now: Floats, nodes: Places, groups: Sequence[tuple[int, ...]]) -> Floats:
    """(b, n) imbalance with each bundle on each node, to DIGITS; infinite where it may not be, or is."""
    cpu, memory = (np.array([what[list(group)].sum() for group in groups]) for what in (view.cpu, view.memory))
    weights = (cpu[:, None] / view.cpus[nodes] + memory[:, None] / view.mib[nodes]) / 2
    sources = np.searchsorted(nodes, view.homes[[group[0] for group in groups]])
    rows = np.arange(len(groups))
    without = np.repeat(now[None, :], len(groups), axis=0)
    without[rows, sources] -= weights[rows, sources]
    table = without[:, None, :] + np.eye(len(nodes))[None] * weights[:, None, :]
    means = table.mean(axis=2)
    result: Floats = table.std(axis=2) / np.where(means > 0, means, 1) / np.sqrt(max(1, len(nodes) - 1))
    result = np.round(result, DIGITS)
    result[rows, sources] = np.inf
    ruled = {vmid for rule in view.rules for vmid in rule.vmids}
    for i, group in enumerate(groups):
        if any(view.vmids[guest] in ruled for guest in group):
            result[i, [not allowed(view, group, int(node)) for node in nodes]] = np.inf
    return result


def bundles(view: View) -> list[tuple[int, ...]]:
    """Guests that may be migrated, with those that belong on their node; the first is the one with the lowest name.

    A bundle that is not on one node, or of which the HA manager could not migrate all, stays.
    """
    index = view.index
    parent = {guest: guest for guest in index.values()}
    for rule in _affinity(view, negative=False):
        members = [index[vmid] for vmid in rule.vmids if vmid in index]
        for guest in members[1:]:
            parent[_root(parent, guest)] = _root(parent, members[0])
    groups: dict[int, list[int]] = {}
    for guest in index.values():
        groups.setdefault(_root(parent, guest), []).append(guest)
    started = set(view.started)
    whole = (sorted(group, key=lambda guest: view.sids[guest]) for group in groups.values())
    return [
        tuple(group)
        for group in whole
        if started.issuperset(group) and len({int(view.homes[guest]) for guest in group}) == 1
    ]


def allowed(view: View, guests: Iterable[int], target: int) -> bool:
    """Whether the rules of the HA manager let guests go to a node."""
    vmids = {view.vmids[guest] for guest in guests}
    index = view.index
    available = {view.names[n] for n in view.open}
    for rule in view.rules:
        concerned = vmids.intersection(rule.vmids)
        if rule.kind == "node-affinity":
            for vmid in concerned:
                nodes = rule.allowed(vmid, available, set(view.names))
                if nodes is not None and view.names[target] not in nodes:
                    return False
        elif rule.negative and concerned:
            others = (index[vmid] for vmid in rule.vmids if vmid in index and vmid not in concerned)
            if len(concerned) > 1 or any(int(view.homes[guest]) == target for guest in others):
                return False
    return True


def _affinity(view: View, *, negative: bool) -> Iterable[HaRule]:
    return (rule for rule in view.rules if rule.kind != "node-affinity" and rule.negative is negative)


def _root(parent: Mapping[int, int], guest: int) -> int:
    while parent[guest] != guest:
        guest = parent[guest]
    return guest
