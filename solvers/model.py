"""Owns the CP-SAT model of a problem: one `_add_<rule>` per rule, linear wherever possible."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from ortools.sat.python import cp_model

from solvers.hints import Facts, Hint, is_overfull, load_of, value_of
from solvers.problem import Apart, Cost, Ints, Level, Problem

Linear = cp_model.LinearExprT


class Model:
    """Booleans "bundle is on node" for the free bundles; every other bundle stays where `start` has it.

    With `nodes`, free bundles may go only there, or stay, or return to their origin.
    """

    def __init__(self, problem: Problem, free: Iterable[int], start: Ints, nodes: Ints | None = None) -> None:
        self.problem, self._start = problem, start
        self.proto = cp_model.CpModel()
        self.is_whole = nodes is None
        self._at: dict[int, dict[int, cp_model.IntVar]] = {}
        for bundle in free:
            self._add_bundle(bundle, nodes)
        self._fixed = np.ones(len(problem.bundles), dtype=bool)
        self._fixed[list(self._at)] = False
        self._hinted: list[tuple[cp_model.IntVar, Hint]] = []
        self._settle()
        self.violations: Linear = sum(
            [self._add_eligible(), self._add_capacity(), self._add_together(), self._add_apart()]
        )
        self._add_limits()
        self.values = self._add_values()
        self.spread = self.values[0]
        self.cost, self.scale = self._add_cost()

    # --- variables ---------------------------------------------------------------------------------

    def _add_bundle(self, bundle: int, nodes: Ints | None) -> None:
        problem = self.problem
        guests = problem.bundles[bundle]
        targets = problem.targets(bundle)
        if nodes is not None:
            targets = targets[np.isin(targets, nodes)]
        places = {*map(int, targets), int(self._start[guests[0]]), int(problem.origin[guests[0]])}
        if len(places) > 1:
            self._at[bundle] = {node: self.proto.new_bool_var("") for node in sorted(places)}
            self.proto.add_exactly_one(self._at[bundle].values())

    def _node(self, bundle: int, assignment: Ints) -> int:
        return int(assignment[self.problem.bundles[bundle][0]])

    def start_from(self, assignment: Ints) -> None:
        """Hint every variable with an assignment that keeps to what is fixed."""
        self.proto.clear_hints()  # type: ignore[no-untyped-call]
        for bundle, places in self._at.items():
            for node, variable in places.items():
                self.proto.add_hint(variable, int(self._node(bundle, assignment) == node))
        facts = Facts(assignment, self.problem.loads(assignment), self.problem.usage(assignment))
        for variable, value in self._hinted:
            self.proto.add_hint(variable, value(facts))

    def assignment(self, value: Callable[[cp_model.IntVar], int]) -> Ints:
        """The assignment that a solution stands for."""
        result = self._start.copy()
        for bundle, places in self._at.items():
            for node, variable in places.items():
                if value(variable):
                    result[self.problem.bundles[bundle]] = node
        return result

    # --- rules -------------------------------------------------------------------------------------

    def _add_eligible(self) -> Linear:
        """Eligibility is in the variables; what is left is the price of staying where one may not be."""
        problem = self.problem
        banned = ~problem.eligibility[problem.eligible, problem.origin]
        terms: list[Linear] = []
        for guest in np.flatnonzero(banned):
            bundle, home = int(problem.bundle_of[guest]), int(problem.origin[guest])
            if bundle in self._at:
                terms.append(self._at[bundle][home])
            else:
                terms.append(int(self._start[guest] == home))
        return sum(terms)

    def _add_capacity(self) -> Linear:
        """A node that receives a guest holds everything on it; one that is overfull takes no more.

        Returns the number of (node, resource) left overfull.
        """
        problem = self.problem
        fixed = problem.usage(self._start)
        before = problem.usage(problem.origin)
        needs = {bundle: problem.needs[problem.bundles[bundle]].sum(axis=0) for bundle in self._at}
        for bundle in self._at:
            fixed[self._node(bundle, self._start)] -= needs[bundle]
        arrived = self._arrived()
        terms: list[Linear] = []
        for node, on in self._on.items():
            for r in range(problem.capacity.shape[1]):
                literals = [(x, int(needs[bundle][r])) for bundle, x in on if needs[bundle][r]]
                used = int(fixed[node, r]) + _weighted(literals)
                excess = int(before[node, r] - problem.capacity[node, r])
                if excess <= 0:
                    self.proto.add(used <= int(problem.capacity[node, r]))
                    continue
                over = self._new_bool(partial(is_overfull, problem, node, r))
                terms.append(over)
                self.proto.add(used <= int(problem.capacity[node, r]) + excess * over)
                if arrived[node, r]:
                    self.proto.add(over == 0)
                for bundle, x in on:
                    if needs[bundle][r] and self._node(bundle, problem.origin) != node:
                        self.proto.add_implication(x, ~over)
        overfull = (problem.usage(self._start) > problem.capacity).sum(axis=1)
        terms += [int(overfull[node]) for node in range(problem.nodes) if node not in self._on]
        return sum(terms)

    def _arrived(self) -> Ints:
        """(n, r) what fixed bundles that are away from home take."""
        problem = self.problem
        result = np.zeros_like(problem.capacity)
        away = np.flatnonzero((self._start != problem.origin) & self._fixed[problem.bundle_of])
        np.add.at(result, self._start[away], problem.needs[away])
        return result

    def _on_node(self) -> dict[int, list[tuple[int, cp_model.IntVar]]]:
        """node -> (bundle, variable) of the free bundles that may be there."""
        result: dict[int, list[tuple[int, cp_model.IntVar]]] = {}
        for bundle, places in self._at.items():
            for node, variable in places.items():
                result.setdefault(node, []).append((bundle, variable))
        return result

    def _add_together(self) -> Linear:
        """Number of nodes of each group beyond the first; bundles see to it that what is together stays so."""
        terms: list[Linear] = []
        for group in self.problem.together:
            bundles = self._bundles(group)
            if len(bundles) > 1:
                terms += [self._presence(bundles, [node]) for node in self._places(bundles)] + [-1]
        return sum(terms)

    def _add_apart(self) -> Linear:
        """Number of sides in each domain beyond those that may be there: none, unless all share a domain today."""
        terms: list[Linear] = []
        for rule in self.problem.apart:
            domain, sides = rule.domain_of(self.problem.nodes), [self._bundles(side) for side in rule.sides]
            crowds = self._crowds(rule, domain)
            domains: dict[int, list[int]] = {}
            for node in self._places(self._bundles(rule.guests)):
                domains.setdefault(int(domain[node]), []).append(node)
            for nodes in domains.values():
                terms.append(self._add_domain(rule.most, sides, crowds, nodes))
        return sum(terms)

    def _crowds(self, rule: Apart, domain: Ints) -> list[set[int]]:
        """Bundles of the rule in each domain that has too many sides today."""
        sides: dict[int, set[int]] = {}
        bundles: dict[int, set[int]] = {}
        for side, guests in enumerate(rule.sides):
            for guest in guests:
                home = int(domain[self.problem.origin[guest]])
                sides.setdefault(home, set()).add(side)
                bundles.setdefault(home, set()).add(int(self.problem.bundle_of[guest]))
        return [bundles[home] for home, present in sides.items() if len(present) > rule.most]

    def _add_domain(self, most: int, sides: list[set[int]], crowds: list[set[int]], nodes: list[int]) -> Linear:
        """At most so many sides on the nodes of a domain, or a crowd of today alone; returns those beyond."""
        present = [self._presence(side, nodes) for side in sides]
        total = sum(present)
        if len(sides) <= most or (isinstance(total, int) and total <= most):
            return 0  # whoever comes, no side does
        if not crowds:
            self.proto.add(total <= most)
            return 0
        excess = partial(self._excess, most, sides, nodes)
        beyond = self._new_int(0, len(sides) - most, excess)
        self.proto.add_max_equality(beyond, [total - most, 0])
        alone = [self._new_bool(partial(self._is_alone, crowd, nodes, excess)) for crowd in crowds]
        more = [sum(not side.isdisjoint(crowd) for side in sides) - most for crowd in crowds]
        self.proto.add(cp_model.LinearExpr.sum(alone) <= 1)
        self.proto.add(beyond <= _weighted(list(zip(alone, more, strict=True))))
        for crowd, only in zip(crowds, alone, strict=True):
            others = [there for side, there in zip(sides, present, strict=True) if side.isdisjoint(crowd)]
            others += [x * (most if x is only else -each) for x, each in zip(alone, more, strict=True)]
            self.proto.add(sum(others) <= most)
            for bundle in {b for side in sides if not side.isdisjoint(crowd) for b in side - crowd}:
                self.proto.add(sum([self._presence({bundle}, nodes), only]) <= 1)
        return beyond

    def _excess(self, most: int, sides: list[set[int]], nodes: list[int], facts: Facts) -> int:
        return max(0, sum(self._is_there(side, nodes, facts) for side in sides) - most)

    def _is_alone(self, crowd: set[int], nodes: list[int], excess: Hint, facts: Facts) -> int:
        return min(1, excess(facts), self._is_there(crowd, nodes, facts))

    def _bundles(self, guests: Iterable[int]) -> set[int]:
        return {int(self.problem.bundle_of[guest]) for guest in guests}

    def _is_there(self, bundles: set[int], nodes: list[int], facts: Facts) -> int:
        return int(any(self._node(bundle, facts.assignment) in nodes for bundle in bundles))

    def _presence(self, bundles: set[int], nodes: list[int]) -> Linear:
        """1 if any of some bundles is on one of some nodes."""
        literals = [self._is_at(bundle, node) for bundle in sorted(bundles) for node in nodes]
        free = [x for x in literals if not isinstance(x, int)]
        if any(isinstance(x, int) and x for x in literals):
            return 1
        if len(free) < 2:
            return free[0] if free else 0
        if len(bundles) == 1:
            return sum(free)
        present = self._new_bool(partial(self._is_there, bundles, nodes))
        self.proto.add_max_equality(present, free)
        return present

    def _is_at(self, bundle: int, node: int) -> Linear:
        if bundle in self._at:
            return self._at[bundle].get(node, 0)
        return int(self._node(bundle, self._start) == node)

    def _places(self, bundles: Iterable[int]) -> list[int]:
        return sorted({n for b in bundles for n in self._at.get(b, {self._node(b, self._start): None})})

    def _add_limits(self) -> None:
        problem = self.problem
        mib, migrations = self._fixed_away()
        if problem.max_migrations is not None and problem.max_migrations < problem.guests:
            self.proto.add(_weighted(self._away()) <= problem.max_migrations - migrations)
        if problem.max_moved_mib is not None and problem.max_moved_mib < problem.copy_mib.sum():
            self.proto.add(_weighted(self._copied()) <= problem.max_moved_mib - mib)

    def _away(self) -> list[tuple[cp_model.IntVar, int]]:
        """Literals that migrate free bundles, with the number of guests."""
        problem = self.problem
        return [(x, len(problem.bundles[b])) for b, n, x in self._literals() if n != self._node(b, problem.origin)]

    def _copied(self) -> list[tuple[cp_model.IntVar, int]]:
        """Literals that migrate free bundles, with the MiB that this copies."""
        problem = self.problem
        mib = {b: int(problem.copy_mib[problem.bundles[b]].sum()) for b in self._at}
        return [(x, mib[b]) for b, n, x in self._literals() if n != self._node(b, problem.origin)]

    # --- objectives --------------------------------------------------------------------------------

    def _add_values(self) -> tuple[cp_model.IntVar, ...]:
        """Value of each level in ppm, not below the goal."""
        problem = self.problem
        ranges = [self._add_range(k) for k in range(problem.metrics)] if problem.balanced.any() else []
        return tuple(self._add_value(level, ranges) for level in problem.aims)

    def _add_range(self, k: int) -> Linear:
        """At least the spread of a metric in ppm."""
        problem = self.problem
        top = max(self._top, problem.goal)
        settled = self._settled[k, problem.balanced & ~self._touched]
        high = self._new_int(int(settled.max(initial=-top)), top, partial(load_of, problem, k, np.max))
        low = self._new_int(-top, int(settled.min(initial=top)), partial(load_of, problem, k, np.min))
        for node in map(int, np.flatnonzero(problem.balanced & self._touched)):
            load = self._load(k, node)
            self.proto.add(load <= high)
            self.proto.add(load >= low)
        return high - low

    def _add_value(self, level: Level, ranges: list[Linear]) -> cp_model.IntVar:
        """At least a level's value; the weighted mean is rounded down, as in the score."""
        problem = self.problem
        value = self._new_int(problem.goal, 2 * max(self._top, problem.goal), partial(value_of, problem, level))
        chosen = [ranges[k] for k in level.metrics] if ranges else []
        if chosen and level.weights:
            whole = sum(level.weights)
            total = sum(weight * spread for weight, spread in zip(level.weights, chosen, strict=True))
            self.proto.add(whole * value + (whole - 1) >= total)
        else:
            for spread in chosen:
                self.proto.add(value >= spread)
        return value

    def _load(self, k: int, node: int) -> Linear:
        on = [(x, int(self._weights[bundle][k, node])) for bundle, x in self._on.get(node, [])]
        return int(self._settled[k, node]) + _weighted(on)

    def _settle(self) -> None:
        """Loads without the free bundles, what free bundles add, and which nodes they can touch."""
        problem = self.problem
        self._weights = {bundle: problem.bundle_weights(problem.bundles[bundle]) for bundle in self._at}
        self._settled = problem.loads(self._start)
        for bundle, weight in self._weights.items():
            node = self._node(bundle, self._start)
            self._settled[:, node] -= weight[:, node]
        self._on = self._on_node()
        self._touched = np.zeros(problem.nodes, dtype=bool)
        self._touched[list(self._on)] = True
        self._top = int(np.abs(self._settled).max(initial=0) + sum(int(w.max()) for w in self._weights.values()))

    def _add_cost(self) -> tuple[Linear, int]:
        """The preferred cost first, the other second: exact, as the second never outweighs one unit of the first.

        Returns it with what one unit of the first counts.
        """
        problem = self.problem
        first, second, scale = self._copied(), self._away(), problem.guests + 1
        if problem.prefer is Cost.MIGRATIONS:
            first, second, scale = second, first, int(problem.copy_mib.sum()) + 1
        terms = [(x, one * scale + other) for (x, one), (_, other) in zip(first, second, strict=True)]
        return _weighted(terms), scale

    def _fixed_away(self) -> tuple[int, int]:
        """MiB and number of the migrations of fixed bundles."""
        settled = np.where(self._fixed[self.problem.bundle_of], self._start, self.problem.origin)
        return self.problem.moved_mib(settled), len(self.problem.migrated(settled))

    def _literals(self) -> Iterable[tuple[int, int, cp_model.IntVar]]:
        for bundle, places in self._at.items():
            for node, variable in places.items():
                yield bundle, node, variable

    def _new_bool(self, hint: Hint) -> cp_model.IntVar:
        return self._new_int(0, 1, hint)

    def _new_int(self, low: int, high: int, hint: Hint) -> cp_model.IntVar:
        variable = self.proto.new_int_var(low, high, "")
        self._hinted.append((variable, hint))
        return variable


def _weighted(terms: list[tuple[cp_model.IntVar, int]]) -> Linear:
    return cp_model.LinearExpr.weighted_sum([x for x, _ in terms], [w for _, w in terms]) if terms else 0
