"""Owns the linear model of a neighbourhood: the fewest migrations that bring some nodes into windows of loads.

At a fixed window its relaxation is nearly whole, so a mixed-integer solver decides it quickly where the spread
itself as the objective would have to be searched. What lies beyond a window is bought at a price, so every
assignment is a solution and the search goes through worse windows to fewer migrations and back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from solvers.linear import INFINITE, Floats, Program
from solvers.problem import Bools, Ints, Problem
from solvers.relax import UNIT, counts_mib

Windows = dict[int, tuple[int, int]]
"""Metric -> lowest and highest load in ppm that balanced nodes should have."""


@dataclass(frozen=True, slots=True)
class Target:
    """Windows, and what one migration and one point (percentage) beyond a window cost."""

    windows: Windows
    toll: Ints
    """(bundles,) cost of migrating each bundle."""
    price: float

    def beyond(self, problem: Problem, assignment: Ints) -> Ints:
        """(n,) ppm by which balanced nodes are beyond the windows, summed over the metrics."""
        loads, result = problem.loads(assignment), np.zeros(problem.nodes, dtype=np.int64)
        for k, (low, high) in self.windows.items():
            result += np.maximum(0, np.maximum(loads[k] - high, low - loads[k]))
        return np.where(problem.balanced, result, 0)

    def paid(self, problem: Problem, assignment: Ints) -> int:
        """Toll of an assignment."""
        away = assignment[problem.leads] != problem.homes
        return int(self.toll[away].sum())

    def value(self, problem: Problem, assignment: Ints) -> float:
        """What is minimised."""
        beyond = int(self.beyond(problem, assignment).sum())
        return self.price * beyond / UNIT + self.paid(problem, assignment)


class Table:
    """What windows need to know of groups: who may move, and who may not meet."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.toll = problem.bundle_mib if counts_mib(problem) else problem.bundle_sizes
        """What is to be as little as possible, of each bundle."""
        self.sides: list[list[list[int]]] = []
        """Bundles of each side of each rule that keeps guests apart; sides of the same bundles count as one."""
        self.apart: dict[int, list[int]] = {}
        """bundle -> rules that keep it apart from others."""
        for index, rule in enumerate(problem.apart):
            sides = {tuple(sorted(set(problem.bundle_of[list(side)].tolist()))) for side in rule.sides}
            self.sides.append([list(side) for side in sorted(sides)])
            for bundle in {bundle for side in sides for bundle in side}:
                self.apart.setdefault(bundle, []).append(index)
        self.free = problem.bundle_movable.copy()
        for mates in problem.together:  # bundles of a group that is split stay: uniting them is repair
            bundles = np.unique(problem.bundle_of[list(mates)])
            if len(bundles) > 1:
                self.free[bundles] = False


class Neighbourhood:
    """Free bundles and where each may go: columns of a program; every other bundle stays where it is now."""

    def __init__(self, table: Table, target: Target, now: Ints, bundles: Ints, allowed: Bools) -> None:
        """`allowed` (len(bundles), n): where each may go besides staying where it is or returning home."""
        self.table, self.target, self.now = table, target, now
        problem = self.problem = table.problem
        self.bundles, self._at = bundles, now[problem.leads[bundles]]
        self._full: Bools = np.any(problem.usage(now) > problem.capacity, axis=1)
        self.row, self.node = np.nonzero(self._places(allowed))
        self._settled = np.ones(len(problem.bundles), dtype=bool)
        self._settled[bundles] = False

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self.row)

    def _places(self, allowed: Bools) -> Bools:
        """(len(bundles), n) where each may be; nothing comes to a node that is overfull."""
        rows, homes = np.arange(len(self.bundles)), self.problem.homes[self.bundles]
        may = allowed & ~self._full
        may[rows, np.where(self._full[homes], self._at, homes)] = True
        may[rows, self._at] = True
        return may

    def solve(
        self, seconds: float, seed: int, nodes: int = 0, *, firm: bool = False, limit: int | None = None
    ) -> tuple[Ints | None, bool]:
        """The best assignment found within the time and the size of the search tree; whether there is no better.

        `firm`: nothing beyond a window is bought. With a `limit` on the toll any that keeps it will do."""
        found = self.program(0.0 if firm else INFINITE).whole(seconds, seed, nodes=nodes, limit=limit)
        return None if found.values is None else self.assignment(found.values), found.proven

    def program(self, most: float) -> Program:
        """The least toll and price; at most so many points beyond the windows are bought on each node."""
        program, problem = Program(), self.problem
        away = self.node != problem.homes[self.bundles[self.row]]
        program.add_columns(self.size, 1.0, np.where(away, self.target.toll[self.bundles[self.row]], 0.0))
        self._add_places(program)
        for k, window in self.target.windows.items():
            self._add_windows(program, k, *window, most)
        self._add_rules(program)
        self._add_limits(program, away)
        return program

    def assignment(self, values: Floats) -> Ints:
        """What values of the program's columns say."""
        result = self.now.copy()
        for column in np.flatnonzero(values[: self.size] > 0.5).tolist():
            result[self.problem.bundles[int(self.bundles[self.row[column]])]] = self.node[column]
        return result

    @cached_property
    def _on(self) -> list[tuple[int, Ints]]:
        """Columns of each node that has some."""
        order = np.argsort(self.node, kind="stable")
        nodes, starts = np.unique(self.node[order], return_index=True)
        return list(zip(nodes.tolist(), np.split(order, starts[1:]), strict=True))

    def _add_places(self, program: Program) -> None:
        """Every free bundle is on one node."""
        for columns in np.split(np.arange(self.size), np.flatnonzero(np.diff(self.row)) + 1):
            program.add_row(columns, 1.0, 1.0)
            program.add_row(columns, -1.0, -1.0)

    def _add_windows(self, program: Program, k: int, low: int, high: int, most: float) -> None:
        """Load of each node within the window, or bought; and as many departures or arrivals as that takes."""
        problem = self.problem
        weights: Ints = np.stack([problem.bundle_weights(problem.bundles[b])[k] for b in self.bundles.tolist()])
        each, settled = weights[self.row, self.node], problem.loads(self.now)[k]
        np.subtract.at(settled, self._at, weights[np.arange(len(weights)), self._at])
        for node, columns in self._on:
            if not problem.balanced[node]:
                continue
            beyond = program.add_columns(2, most, self.target.price, slack=True)
            values = each[columns] / UNIT
            over, under = np.append(columns, beyond[0]), np.append(columns, beyond[1])
            program.add_row(over, np.append(-values, 1.0), (int(settled[node]) - high) / UNIT)
            program.add_row(under, np.append(values, 1.0), (low - int(settled[node])) / UNIT)
            self._add_counts(
                program, node, columns, each[columns], (low - int(settled[node]), high - int(settled[node])), beyond
            )

    def _add_counts(
        self, program: Program, node: int, columns: Ints, each: Ints, room: tuple[int, int], beyond: Ints
    ) -> None:
        """Whole numbers of those that must go (so many of the largest are too much) and of those that must come;
        `room` is the window less what is settled on the node."""
        homes = self.problem.homes[self.bundles[self.row[columns]]] == node
        stay, come = columns[homes], columns[~homes]
        over, lack = int(each[homes].sum()) - room[1], room[0] - int(each[homes].sum())
        if over > 0 and len(stay):
            gone = int(np.searchsorted(np.cumsum(np.sort(each[homes])[::-1]), over)) + 1
            if gone <= len(stay):  # in whole points: a node that is beyond by one may keep one more
                program.add_row(np.append(stay, beyond[0]), np.append(-np.ones(len(stay)), 1.0), gone - len(stay))
        if lack > 0 and len(come):
            needed = int(np.searchsorted(np.cumsum(np.sort(each[~homes])[::-1]), lack)) + 1
            if needed <= len(come):
                program.add_row(np.append(come, beyond[1]), np.ones(len(come) + 1), needed)

    def _add_rules(self, program: Program) -> None:
        """What the rules and the room on nodes leave."""
        self._add_capacity(program)
        self._add_apart(program)

    def _add_capacity(self, program: Program) -> None:
        """A node holds what is on it; one that is overfull takes nothing, see `_places`."""
        problem, needs = self.problem, self.problem.bundle_needs[self.bundles]
        settled, free = problem.usage(self.now), np.flatnonzero(~self._settled)
        np.subtract.at(settled, self.now[problem.leads[free]], problem.bundle_needs[free])
        for node, columns in self._on:
            room = problem.capacity[node] - settled[node]
            for r in np.flatnonzero(np.greater(needs[self.row[columns]].sum(axis=0), room)).tolist():
                if not self._full[node]:
                    scale = max(1, int(problem.capacity[node, r]))
                    program.add_row(columns, -needs[self.row[columns], r] / scale, -int(room[r]) / scale)

    def _add_apart(self, program: Program) -> None:
        """At most so many sides in a domain as may be there, or as many as are there now."""
        rules = {rule for bundle in self.bundles.tolist() for rule in self.table.apart.get(bundle, ())}
        starts = np.searchsorted(self.row, np.arange(len(self.bundles) + 1)).tolist() if rules else []
        columns = {b: range(*starts[i : i + 2]) for i, b in enumerate(self.bundles.tolist()) if rules}
        for index in sorted(rules):
            domain = self.problem.apart[index].domain_of(self.problem.nodes)
            most = np.full(self.problem.nodes, self.problem.apart[index].most)
            here = np.zeros(self.problem.nodes, dtype=np.int64)
            coming: dict[int, list[list[list[int]]]] = {}
            for side in self.table.sides[index]:
                at = {bundle: int(domain[self.now[self.problem.leads[bundle]]]) for bundle in side}
                settled = {at[bundle] for bundle in side if self._settled[bundle]}
                most[list(settled)] -= 1
                here[list({at[bundle] for bundle in side if bundle in columns} - settled)] += 1
                for to, those in _by_domain([columns[b] for b in side if b in columns], domain[self.node]).items():
                    if to not in settled:
                        coming.setdefault(to, []).append(those)
            for to, sides in coming.items():
                _add_most(program, sides, max(int(most[to]), int(here[to])))

    def _add_limits(self, program: Program, away: Bools) -> None:
        """MiB copied; the number of migrations is what is minimised, unless the toll counts something else."""
        problem = self.problem
        fixed = self._settled & (self.now[problem.leads] != problem.homes)
        columns = np.flatnonzero(away)
        for limit, each in (
            (problem.max_moved_mib, problem.bundle_mib),
            (problem.max_migrations, problem.bundle_sizes),
        ):
            if limit is None or each is self.target.toll:
                continue
            room = limit - int(each[fixed].sum())
            scale = max(1, limit)
            program.add_row(columns, -each[self.bundles[self.row[columns]]] / scale, -room / scale - 1e-9)


def may_go(problem: Problem, bundles: Iterable[int]) -> Bools:
    """(bundles, n) where eligibility and movability let some bundles go."""
    rows = [problem.allowed(problem.bundles[b]) for b in bundles]
    return np.array(rows, dtype=bool).reshape(len(rows), problem.nodes)


def _by_domain(bundles: list[range], domain: Ints) -> dict[int, list[list[int]]]:
    """domain -> for each bundle that may be there, its columns; `domain` is that of each column."""
    result: dict[int, list[list[int]]] = {}
    for columns in bundles:
        of: dict[int, list[int]] = {}
        for column in columns:
            of.setdefault(int(domain[column]), []).append(column)
        for to, those in of.items():
            result.setdefault(to, []).append(those)
    return result


def _add_most(program: Program, sides: list[list[list[int]]], most: int) -> None:
    """At most so many sides of which a bundle is there; each bundle is there with one of its columns or not at all."""
    if len(sides) <= most:
        return
    columns: list[int] = []
    for bundles in sides:
        if len(bundles) == 1:
            columns += bundles[0]
            continue
        present = program.add_columns(1, 1.0, 0.0)
        columns += present.tolist()
        for those in bundles:
            program.add_row(np.append(those, present), np.append(-np.ones(len(those)), 1.0), 0.0)
    program.add_row(np.array(columns, dtype=np.int64), -1.0, -most)
