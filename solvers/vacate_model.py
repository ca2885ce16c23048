"""Owns the CP-SAT model of nodes that can be switched off: the model of the problem, and who stays on.

Headroom is in it in one of two ways. On a small cluster exactly: for each node that may fail there is a place for each
of the guests that start elsewhere. On a large one by what follows from it for sums: whoever is on a node fits into what
is free on all others together; then it has to be looked at whether an assignment really has it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations

import numpy as np
from ortools.sat.python import cp_model

from solvers.hints import Facts
from solvers.model import Linear, Model
from solvers.problem import Bools, Cost, Ints
from solvers.units import united
from solvers.vacate_bound import Wish, room

EXACT = 20_000
"""Places of guests that start elsewhere, up to which headroom is exact."""


@dataclass(frozen=True, eq=False)
class _Unit:
    """Guests of a bundle that start as one."""

    bundle: int
    guests: list[int]
    homes: list[int]
    """Nodes on which they may be."""
    there: list[int]
    """Nodes on which they may start."""
    places: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    """(node that fails, node on which they start then)."""

    def pairs(self) -> list[tuple[int, int]]:
        """All that there can be of these."""
        return [(home, node) for home in self.homes for node in self.there if node != home]

    def places_if(self, failed: int) -> list[tuple[int, cp_model.IntVar]]:
        """Where they may start when a node has failed."""
        return [(node, literal) for (home, node), literal in self.places.items() if home == failed]


class VacateModel(Model):
    """`off`: number of candidates that are switched off; `exact`: whether every solution has the headroom."""

    def __init__(self, wish: Wish) -> None:
        problem = wish.problem.replace(
            balanced=np.zeros(wish.problem.nodes, dtype=bool), goal=0, prefer=Cost.MIGRATIONS
        )
        free = [bundle for bundle in range(len(problem.bundles)) if problem.bundle_movable[bundle]]
        super().__init__(problem, free, problem.origin)
        self._wish, self._hinted_off = wish, np.zeros(problem.nodes, dtype=bool)
        self._stays: dict[int, cp_model.IntVar] = {}
        self._add_stays()
        self._add_empty()
        self._add_keep()
        self.off: Linear = len(self._stays) - sum(self._stays.values())
        self.exact = not wish.protected.any()
        if not self.exact:
            self._usage = self._add_usage()
            self._add_taken_over_in_all()
            units = list(self._units())
            self.exact = sum(len(unit.pairs()) for unit in units) <= EXACT
            if self.exact:
                self._add_taken_over(units)

    def start_off(self, assignment: Ints, off: Bools) -> None:
        """Hint an assignment and the nodes that are switched off with it."""
        self._hinted_off = off
        self.start_from(assignment)

    # --- who stays on ------------------------------------------------------------------------------

    def _add_stays(self) -> None:
        for node in np.flatnonzero(self._wish.candidates).tolist():
            self._stays[node] = self._new_bool(partial(self._hint_stays, node))

    def _hint_stays(self, node: int, facts: Facts) -> int:
        return int(not self._hinted_off[node])

    def _add_empty(self) -> None:
        """Whatever is on a node keeps it on; said once more of the sums, which a relaxation heeds."""
        settled = np.unique(self._start[self._fixed[self.problem.bundle_of]])
        space = room(self.problem)
        for node, stays in self._stays.items():
            if node in settled:
                self.proto.add(stays == 1)
            on = self._on.get(node, [])
            for _, literal in on:
                self.proto.add_implication(literal, stays)
            for r in range(space.shape[1]):
                used = [(x, int(self.problem.bundle_needs[bundle, r])) for bundle, x in on]
                self.proto.add(_weighted([(x, need) for x, need in used if need]) <= int(space[node, r]) * stays)

    def _add_keep(self) -> None:
        always = int((self._wish.problem.balanced & ~self._wish.candidates).sum())
        if self._stays:
            self.proto.add(sum(self._stays.values()) >= self._wish.keep - always)

    def stays(self, node: int) -> Linear:
        """1 if a node stays on."""
        return self._stays.get(node, 1)

    def nodes_off(self, value: Callable[[cp_model.IntVar], int]) -> Bools:
        """The nodes that a solution switches off."""
        result = np.zeros(self.problem.nodes, dtype=bool)
        result[[node for node, stays in self._stays.items() if not value(stays)]] = True
        return result

    def add_few(self, few: Iterable[tuple[tuple[int, ...], int]]) -> None:
        """Of some nodes so many stay on; it follows from the rest, but a relaxation does not see it."""
        for nodes, least in few:
            self.proto.add(sum([self.stays(node) for node in nodes if self._wish.problem.balanced[node]]) >= least)

    def without(self, off: Bools) -> None:
        """From now on one of these nodes stays on."""
        self.proto.add_bool_or([self._stays[node] for node in np.flatnonzero(off).tolist()])

    # --- headroom ----------------------------------------------------------------------------------

    def _add_usage(self) -> list[list[cp_model.IntVar]]:
        """[n][r] what the guests on each node take."""
        problem, space = self.problem, room(self.problem)
        settled = problem.usage(self._start)
        for bundle in self._at:
            settled[self._node(bundle, self._start)] -= problem.bundle_needs[bundle]
        result = []
        for node in range(problem.nodes):
            row = []
            for r in range(space.shape[1]):
                hint = partial(self._hint_usage, node, r)
                used = self._new_int(0, max(0, int(space[node, r])), hint)
                on = [(x, int(problem.bundle_needs[bundle, r])) for bundle, x in self._on.get(node, [])]
                self.proto.add(used == int(settled[node, r]) + _weighted([(x, need) for x, need in on if need]))
                row.append(used)
            result.append(row)
        return result

    def _hint_usage(self, node: int, resource: int, facts: Facts) -> int:
        return int(facts.usage[node, resource])

    def _add_taken_over_in_all(self) -> None:
        """What has to be taken over of a node is at most what is free on all others together."""
        wish, problem, space = self._wish, self.problem, room(self.problem)
        takers = np.flatnonzero(wish.problem.balanced).tolist()
        needs = np.zeros_like(problem.bundle_needs)
        np.add.at(needs, problem.bundle_of[wish.protected], problem.needs[wish.protected])
        for r in np.flatnonzero(needs.any(axis=0)).tolist():
            for failed in range(problem.nodes):
                settled = int(needs[self._fixed_on(failed), r].sum())
                lost = [(x, int(needs[b, r])) for b, x in self._on.get(failed, []) if needs[b, r]]
                if not lost and not settled:
                    continue
                others = [node for node in takers if node != failed]
                holds = sum(int(space[node, r]) for node in others if node not in self._stays)
                holding = [(self._stays[node], -int(space[node, r])) for node in others if node in self._stays]
                used = [(self._usage[node][r], 1) for node in others]
                self.proto.add(_weighted([*lost, *used, *holding]) <= holds - settled)

    def _fixed_on(self, node: int) -> list[int]:
        here = np.unique(self.problem.bundle_of[self._start == node])
        return [bundle for bundle in here.tolist() if bundle not in self._at]

    def _units(self) -> Iterator[_Unit]:
        """Guests that start as one, of each bundle."""
        wish = self._wish
        for bundle in np.unique(self.problem.bundle_of[wish.protected]).tolist():
            guests = [guest for guest in self.problem.bundles[bundle].tolist() if wish.protected[guest]]
            homes = sorted(self._at.get(bundle, {self._node(bundle, self._start): None}))
            for unit in united(self.problem, guests):
                there = np.flatnonzero(wish.starting.allowed(np.array(unit)) & wish.problem.balanced).tolist()
                yield _Unit(bundle, unit, homes, there)

    def _add_taken_over(self, units: list[_Unit]) -> None:
        for unit in units:
            unit.places.update({pair: self.proto.new_bool_var("") for pair in unit.pairs()})
            for failed in unit.homes:
                places = [x for node, x in unit.places_if(failed)]
                self.proto.add(sum(places) == self._is_at(unit.bundle, failed))
        for failed in range(self.problem.nodes):
            here = [unit for unit in units if failed in unit.homes]
            for node in range(self.problem.nodes):
                arriving = [(unit, unit.places[failed, node]) for unit in here if (failed, node) in unit.places]
                if arriving:
                    self._add_arriving(node, arriving)
            if here:
                self._add_still_together(failed, here)
                self._add_still_apart(failed, here)

    def _add_arriving(self, node: int, arriving: list[tuple[_Unit, cp_model.IntVar]]) -> None:
        """A node that stays on has room for whoever starts there."""
        problem = self.problem
        before = problem.usage(problem.origin)[node]
        for _, literal in arriving:
            if node in self._stays:
                self.proto.add_implication(literal, self._stays[node])
        for r in range(problem.capacity.shape[1]):
            taken = [(x, int(problem.needs[unit.guests, r].sum())) for unit, x in arriving]
            taken = [(x, need) for x, need in taken if need]
            room_left = int(problem.capacity[node, r])
            excess = max(0, int(before[r]) - room_left)
            if not taken:
                continue
            if not excess:
                self.proto.add(_weighted([(self._usage[node][r], 1), *taken]) <= room_left)
                continue
            some = self.proto.new_bool_var("")
            for literal, _ in taken:
                self.proto.add_implication(literal, some)
            self.proto.add(_weighted([(self._usage[node][r], 1), *taken]) <= room_left).only_enforce_if(some)

    def _add_still_together(self, failed: int, units: list[_Unit]) -> None:
        """Guests of a group that were on the node start on one."""
        for group in self.problem.together:
            some = [unit for unit in units if not set(unit.guests).isdisjoint(group)]
            for first, other in combinations(some, 2):
                both = [self._is_at(unit.bundle, failed) for unit in (first, other)]
                for node in {n for unit in (first, other) for n, _ in unit.places_if(failed)}:
                    one, two = (unit.places.get((failed, node), 0) for unit in (first, other))
                    self.proto.add(one - two <= 2 - sum(both))
                    self.proto.add(two - one <= 2 - sum(both))

    def _add_still_apart(self, failed: int, units: list[_Unit]) -> None:
        """In a domain in which something of a rule arrives there are no more sides than may be."""
        for rule in self.problem.apart:
            coming = [unit for unit in units if not set(unit.guests).isdisjoint(rule.guests)]
            domain = rule.domain_of(self.problem.nodes)
            for one in np.unique(domain).tolist():
                nodes = [node for node in np.flatnonzero(domain == one).tolist() if node != failed]
                arriving = [x for unit in coming for n, x in unit.places_if(failed) if n in nodes]
                if not arriving:
                    continue
                present = [self._is_present(side, nodes, coming, failed) for side in rule.sides]
                for literal in arriving:
                    self.proto.add(sum(present) <= rule.most).only_enforce_if(literal)

    def _is_present(self, side: Iterable[int], nodes: list[int], coming: list[_Unit], failed: int) -> cp_model.IntVar:
        """At least 1 if a guest of a side is on some nodes after a node has failed."""
        present = self.proto.new_bool_var("")
        for bundle in self._bundles(side):
            for node in nodes:
                self.proto.add(present >= self._is_at(bundle, node))
        for unit in coming:
            if not set(unit.guests).isdisjoint(side):
                for node, literal in unit.places_if(failed):
                    if node in nodes:
                        self.proto.add(present >= literal)
        return present


def _weighted(terms: list[tuple[cp_model.IntVar, int]]) -> Linear:
    return cp_model.LinearExpr.weighted_sum([x for x, _ in terms], [w for _, w in terms]) if terms else 0
