"""Owns the question that every solver answers, and the only evaluator of loads, spread and migrations.

Indices: g guest, n node, r capacity resource, k balanced metric, e eligibility class. All arrays are
read-only int64 (or bool) and all quantities are integers: MiB, milli-CPU or any other unit per
resource, and ppm of a node for loads, so that every reader of a Problem gets the same last digit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from solvers.wellformed import check as check_fields

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Groups = tuple[tuple[int, ...], ...]

PPM = 1_000_000
"""Loads are whole ppm of what a node can give: 10_000 ppm are one percentage point."""


class Cost(StrEnum):
    """What of a plan's cost counts first; the other decides between plans that are equal in it."""

    MIB = "mib"
    MIGRATIONS = "migrations"


class Level(NamedTuple):
    """Metrics that are balanced at once: by the worst of their spreads or, with weights, by the weighted mean."""

    metrics: tuple[int, ...]
    weights: tuple[int, ...] = ()

    def value(self, spreads: Sequence[int] | Ints) -> int:
        """The level's value in ppm of the spreads of all metrics, (k,); a mean is rounded down."""
        chosen = [int(spreads[k]) for k in self.metrics]
        if not self.weights:
            return max(chosen)
        return sum(w * s for w, s in zip(self.weights, chosen, strict=True)) // sum(self.weights)


class Apart(NamedTuple):
    """Guests to keep apart: on the nodes of one domain at most `most` of the sides have a guest.

    Guests of one side may share a node. Sides of one guest each are plain anti-affinity; two sides keep one group of
    guests from another.
    """

    sides: Groups
    most: int = 1
    domains: tuple[int, ...] = ()
    """(n,) failure domain of each node; none: each node is one of its own."""

    @classmethod
    def of(cls, guests: Iterable[int]) -> "Apart":
        """Guests no two of which belong on one node."""
        return cls(tuple((guest,) for guest in guests))

    @property
    def guests(self) -> tuple[int, ...]:
        """Guests of all sides."""
        return tuple(guest for side in self.sides for guest in side)

    def domain(self, node: int) -> int:
        """The domain of one node, as it is written."""
        return self.domains[node] if self.domains else node

    def domain_of(self, nodes: int) -> Ints:
        """(n,) domain of each of so many nodes, numbered from 0 on."""
        return np.unique(self.domains, return_inverse=True)[1] if self.domains else np.arange(nodes)


class Score(NamedTuple):
    """What solvers minimise, compared from left to right."""

    violations: int
    """Broken rules left."""
    spread: int
    """ppm, value of the first level; at or below the problem's goal it counts as the goal."""
    later: tuple[int, ...]
    """ppm, values of the other levels, likewise."""
    cost: tuple[int, int]
    """MiB that the migrations copy and number of migrations, the preferred one first."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A cluster to be balanced, as integers.

    A guest's load on a node is `demand / ability` of the metric, rounded to ppm; a node's load is
    the sum over its guests plus `base`. Factors are kept, not their product: memory stays linear in
    guests and nodes.
    """

    origin: Ints
    """(g,) node on which each guest is now."""
    needs: Ints
    """(g, r) what each guest takes of each capacity resource."""
    capacity: Ints
    """(n, r) what each node has for guests of each capacity resource."""
    demand: Ints
    """(k, g) what each guest adds to each metric."""
    ability: Ints
    """(k, n) what 100 % of each metric is on each node; at least 1."""
    base: Ints
    """(k, n) ppm that no migration changes."""
    balanced: Bools
    """(n,) nodes whose load counts for the spread."""
    eligibility: Bools
    """(e, n) where the guests of a class are allowed."""
    eligible: Ints
    """(g,) eligibility class of each guest."""
    copy_mib: Ints
    """(g,) MiB that migrating the guest copies."""
    movable: Bools
    """(g,) guests that may be migrated at all."""
    together: Groups = ()
    """Groups of guests that belong on one node."""
    apart: tuple[Apart, ...] = ()
    """Guests to keep apart."""
    max_migrations: int | None = None
    tolerance: int = 0
    """ppm of spread at which a heuristic may stop."""
    goal: int = 0
    """ppm of the value of a level below which nothing more is gained."""
    max_moved_mib: int | None = None
    """MiB that all migrations together may copy."""
    levels: tuple[Level, ...] = ()
    """What is balanced, the most important first; none: the worst spread of all metrics (see `aims`)."""
    prefer: Cost = Cost.MIB

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                value = np.array(value, dtype=bool if value.dtype == bool else np.int64)
                value.setflags(write=False)
                object.__setattr__(self, item.name, value)
        check_fields(self)
        # Limits beyond what there is are as good as none, and small enough for any solver.
        for name, most in (("max_migrations", self.guests), ("max_moved_mib", int(self.copy_mib.sum()))):
            limit = getattr(self, name)
            object.__setattr__(self, name, None if limit is None else min(int(limit), most))

    @property
    def guests(self) -> int:
        """Number of guests."""
        return len(self.origin)

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.capacity)

    @property
    def metrics(self) -> int:
        """Number of balanced metrics."""
        return len(self.demand)

    @cached_property
    def aims(self) -> tuple[Level, ...]:
        """The levels that hold."""
        return self.levels or (Level(tuple(range(self.metrics))),)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return replace(self, **changes)

    # --- evaluation: the one home of loads, usage, spread and score -------------------------------

    def weights(self, guests: Ints, node: Ints | int) -> Ints:
        """ppm that `guests` put on `node` (an index, or one index per guest): (k, len(guests))."""
        ability = self.ability[:, np.broadcast_to(node, np.shape(guests))]
        return (self.demand[:, guests] * PPM + ability // 2) // ability

    def bundle_weights(self, guests: Ints) -> Ints:
        """ppm that `guests` as a bundle would put on each node: (k, n)."""
        demand = self.demand[:, guests, None] * PPM
        each: Ints = (demand + self.ability[:, None, :] // 2) // self.ability[:, None, :]
        return np.asarray(each.sum(axis=1), dtype=np.int64)

    def loads(self, assignment: Ints) -> Ints:
        """Load of each node per metric, in ppm: (k, n)."""
        result = self.base.copy()
        for k, row in enumerate(self.weights(np.arange(self.guests), assignment)):
            np.add.at(result[k], assignment, row)
        return result

    def mean(self, k: int) -> int:
        """ppm that the emptiest balanced node never exceeds: all guests that can be on one, spread evenly over them."""
        on = np.flatnonzero(self.balanced)
        may_come = np.asarray(self.eligibility[:, on].any(axis=1))[self.eligible] & self.movable
        demand: list[int] = self.demand[k, may_come | self.balanced[self.origin]].tolist()
        ability: list[int] = self.ability[k, on].tolist()
        base = sum(b * a for b, a in zip(self.base[k, on].tolist(), ability, strict=True))
        # Rounding adds at most half a ppm per guest to a node.
        return int(sum(demand) * PPM + base + len(demand) * max(ability)) // sum(ability) + 1

    def usage(self, assignment: Ints) -> Ints:
        """What the guests on each node take of each capacity resource: (n, r)."""
        result = np.zeros_like(self.capacity)
        np.add.at(result, assignment, self.needs)
        return result

    def spreads_of(self, loads: Ints) -> Ints:
        """(k,) difference between the fullest and the emptiest balanced node, in ppm."""
        if not self.balanced.any():
            return np.zeros(self.metrics, dtype=np.int64)
        counted = loads[:, self.balanced]
        return np.asarray(counted.max(axis=1) - counted.min(axis=1), dtype=np.int64)

    def spread_of(self, loads: Ints) -> int:
        """Value of the first level, in ppm."""
        return self.aims[0].value(self.spreads_of(loads))

    def spreads(self, assignment: Ints) -> Ints:
        """(k,) spread of each metric, in ppm."""
        return self.spreads_of(self.loads(assignment))

    def values(self, assignment: Ints) -> tuple[int, ...]:
        """Value of each level, in ppm."""
        spreads = self.spreads(assignment)
        return tuple(level.value(spreads) for level in self.aims)

    def spread(self, assignment: Ints) -> int:
        """Spread of an assignment, in ppm: the value of the first level."""
        return self.spread_of(self.loads(assignment))

    def migrated(self, assignment: Ints) -> Ints:
        """Indices of the guests that an assignment migrates."""
        return np.flatnonzero(assignment != self.origin)

    def moved_mib(self, assignment: Ints) -> int:
        """MiB that the migrations of an assignment copy."""
        return int(self.copy_mib[self.migrated(assignment)].sum())

    def cost(self, assignment: Ints) -> tuple[int, int]:
        """MiB copied and number of migrations, the preferred one first."""
        mib, migrations = self.moved_mib(assignment), len(self.migrated(assignment))
        return (mib, migrations) if self.prefer is Cost.MIB else (migrations, mib)

    # --- bundles: guests of a group that are together now travel together --------------------------

    @cached_property
    def bundles(self) -> tuple[Ints, ...]:
        """Guests that travel as one, each an array of guest indices; every guest is in exactly one.

        Members of a together-group that share a node today form a bundle: a rule that holds is
        then never broken, and a broken one is mended by uniting bundles.
        """
        leader = list(range(self.guests))

        def find(guest: int) -> int:
            while leader[guest] != guest:
                leader[guest] = leader[leader[guest]]
                guest = leader[guest]
            return guest

        for group in self.together:
            first: dict[int, int] = {}
            for guest in group:
                mate = first.setdefault(int(self.origin[guest]), guest)
                a, b = sorted((find(mate), find(guest)))
                leader[b] = a
        members: dict[int, list[int]] = {}
        for guest in range(self.guests):
            members.setdefault(find(guest), []).append(guest)
        return tuple(_frozen(guests) for guests in members.values())

    @cached_property
    def bundle_of(self) -> Ints:
        """(g,) the bundle of each guest."""
        result = np.empty(self.guests, dtype=np.int64)
        for index, guests in enumerate(self.bundles):
            result[guests] = index
        return result

    @cached_property
    def homes(self) -> Ints:
        """(bundles,) the node on which each bundle is today."""
        return np.asarray(self.origin[self.leads], dtype=np.int64)

    @cached_property
    def leads(self) -> Ints:
        """(bundles,) one guest of each bundle, to look up where the bundle is."""
        return _frozen([guests[0] for guests in self.bundles])

    def by_bundle(self, amounts: Ints | Bools) -> Ints:
        """(bundles,) sums of amounts (g,) over the guests of each bundle."""
        return np.bincount(self.bundle_of, amounts, len(self.bundles)).astype(np.int64)

    @cached_property
    def bundle_sizes(self) -> Ints:
        """(bundles,) number of guests."""
        return self.by_bundle(np.ones(self.guests, dtype=np.int64))

    @cached_property
    def bundle_mib(self) -> Ints:
        """(bundles,) MiB that migrating each copies."""
        return self.by_bundle(self.copy_mib)

    @cached_property
    def bundle_needs(self) -> Ints:
        """(bundles, r) what each takes of each capacity resource."""
        result = np.zeros((len(self.bundles), self.needs.shape[1]), dtype=np.int64)
        np.add.at(result, self.bundle_of, self.needs)
        return result

    @cached_property
    def bundle_movable(self) -> Bools:
        """(bundles,) bundles that may be migrated at all."""
        return np.asarray(self.by_bundle(~self.movable) == 0, dtype=np.bool_)

    def allowed(self, guests: Ints) -> Bools:
        """(n,) nodes that every one of `guests` may be on."""
        return np.asarray(self.eligibility[np.unique(self.eligible[guests])].all(axis=0), dtype=np.bool_)

    def targets(self, bundle: int) -> Ints:
        """Nodes to which a bundle may be migrated, by eligibility alone."""
        guests = self.bundles[bundle]
        if not self.movable[guests].all():
            return _frozen([])
        nodes = np.flatnonzero(self.allowed(guests))
        return np.asarray(nodes[nodes != self.origin[guests[0]]], dtype=np.int64)


def _frozen(values: Iterable[int] | Sequence[int]) -> Ints:
    result = np.array(list(values), dtype=np.int64)
    result.setflags(write=False)
    return result
