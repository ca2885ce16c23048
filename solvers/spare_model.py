"""Owns the CP-SAT model of as many more guests of one kind as possible, for whom every loss of a node is survived."""

import time
from collections.abc import Iterable

import numpy as np
from ortools.sat.python import cp_model

from solvers.run import run
from solvers.spare import ENDLESS, Beside, Joins, Most, Spare, caps, left, present
from solvers.units import united

LARGEST = 60_000
"""Places of guests that start elsewhere; of more a model does not come to an end within a time that people wait."""
Var = cp_model.IntVar
Row = dict[int, Var]
"""Node to what is there."""


def search(spare: Spare, seconds: float, seed: int, known: Most) -> Most:
    """As many more guests as can be found within the time, and no fewer than are known."""
    began = time.monotonic()
    if known.counts.sum() >= known.bound or _size(spare) > LARGEST:
        return known
    model = _Model(spare)
    total = sum(model.counts.values())
    model.proto.maximize(total)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(0.01, seconds - (time.monotonic() - began))
    solver.parameters.random_seed = seed
    status = run(solver, model.proto)
    if status == cp_model.MODEL_INVALID:
        raise RuntimeError(f"a mistake in solvers.spare_model: {model.proto.validate()}")
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Most(known.counts, 0 if status == cp_model.INFEASIBLE else known.bound)
    counts = np.zeros_like(known.counts)
    for node, count in model.counts.items():
        counts[node] = solver.value(count)
    bound = min(known.bound, int(solver.best_objective_bound + 1e-6))
    return Most(counts if counts.sum() > known.counts.sum() else known.counts, bound)


def _size(spare: Spare) -> int:
    """How many places would have to be decided about."""
    return 0 if spare.protected is None else int(spare.protected.sum()) * spare.problem.nodes


class _Model:
    """One number of new guests per node, and per node that may fail one of those that start on each other node."""

    def __init__(self, spare: Spare) -> None:
        self.spare, self.proto = spare, cp_model.CpModel()
        self.caps = caps(spare)
        self.counts: Row = {n: self._number(int(cap)) for n, cap in enumerate(self.caps) if cap}
        if spare.united:
            self._add_one_node(self.counts, int(self.caps.max(initial=0)), 1)
        for rule in spare.rules:
            if rule.joins == Joins.EACH:
                self._add_most(rule)
        if spare.protected is not None:
            failing = set(self.counts) | set(spare.problem.origin[spare.protected].tolist())
            for node in sorted(failing):
                self._add_outage(node)

    def _number(self, most: int) -> Var:
        return self.proto.new_int_var(0, most, "")

    def _add_one_node(self, there: Row, most: int, nodes: int) -> Row:
        """New guests on so many nodes at most; whether a node is one of them."""
        chosen = {n: self.proto.new_bool_var("") for n in there}
        self.proto.add(sum(chosen.values()) <= nodes)
        for n, count in there.items():
            self.proto.add(count <= most * chosen[n])
        return chosen

    def _add_most(self, rule: Beside) -> None:
        """No more new guests in a domain than a rule lets in, each being a side of its own."""
        for d, most in enumerate(left(self.spare, rule).tolist()):
            here = [count for n, count in self.counts.items() if rule.domain[n] == d]
            if len(here) > 1 and most < ENDLESS:
                self.proto.add(sum(here) <= most)

    # --- a node that fails ----------------------------------------------------------------------------

    def _add_outage(self, failed: int) -> None:
        """The protected guests of a node, and the new ones there, find places on the others."""
        spare, problem = self.spare, self.spare.problem
        assert spare.protected is not None
        gone = np.flatnonzero(spare.protected & (problem.origin == failed)).tolist()
        units = united(problem, gone)
        takes = problem.balanced & (np.arange(problem.nodes) != failed)
        starts = [self._starts(unit, takes) for unit in units]
        most = int(self.caps[failed])
        fits = (spare.size <= spare.room).all(axis=1)
        arrive: Row = {}
        if most:
            arrive = {n: self._number(most) for n in np.flatnonzero(spare.starts & takes & fits).tolist()}
            self.proto.add(sum(arrive.values()) == self.counts[failed])
        if spare.united and arrive:
            self._add_one_node(arrive, most, 1)
            for unit, row in zip(units, starts, strict=True):
                if spare.mates & {*unit}:
                    self._add_with(arrive, row, most)
        self._add_room(failed, units, starts, arrive)
        for rule in spare.rules:
            self._add_apart(rule, failed, units, starts, arrive)

    def _starts(self, unit: list[int], takes: np.ndarray) -> Row:
        """Where a unit may start, by eligibility and room: on one of these nodes."""
        problem = self.spare.problem
        needs = problem.needs[unit].sum(axis=0)
        fits = (needs <= self.spare.room).all(axis=1)
        row = {n: self.proto.new_bool_var("") for n in np.flatnonzero(problem.allowed(np.array(unit)) & takes & fits)}
        self.proto.add_exactly_one(row.values())
        return {int(n): x for n, x in row.items()}

    def _add_with(self, arrive: Row, mates: Row, most: int) -> None:
        """New guests start where those start that they belong together with."""
        for n, count in arrive.items():
            self.proto.add(count <= most * mates[n] if n in mates else count == 0)

    def _add_room(self, failed: int, units: list[list[int]], starts: list[Row], arrive: Row) -> None:
        """On every node there is room for what is there and what starts there."""
        spare = self.spare
        needs = [spare.problem.needs[unit].sum(axis=0) for unit in units]
        for n in {*arrive, *(n for row in starts for n in row)}:
            new = [row[n] for row in (self.counts, arrive) if n in row]
            for r, room in enumerate(spare.room[n].tolist()):
                terms = [int(needs[u][r]) * row[n] for u, row in enumerate(starts) if n in row and needs[u][r]]
                terms += [int(spare.size[r]) * count for count in new if spare.size[r]]
                if terms:
                    self.proto.add(sum(terms) <= room)

    def _add_apart(
        self, rule: Beside, failed: int, units: list[list[int]], starts: list[Row], arrive: Row
    ) -> None:  # fmt: skip
        """In no domain where something of a rule starts are there too many sides of it."""
        of = [{s for s, side in enumerate(rule.sides) if {*side} & {*unit}} for unit in units]
        new = rule.joins != Joins.NOT
        if not any(of) and not (new and arrive):
            return
        for d, there in enumerate(present(self.spare, rule, failed)):
            nodes = [n for n in np.flatnonzero(rule.domain == d).tolist() if n != failed]
            bring = [
                (sides, row[n]) for sides, row in zip(of, starts, strict=True) for n in nodes if sides and n in row
            ]
            come = [row[n] for row in (self.counts, arrive) for n in nodes if n in row] if new else []
            if len(there) > rule.most:  # broken already: nothing more of it comes here
                self._add_none([*(x for _, x in bring), *come])
                continue
            has: Row = {}
            for brought, x in bring:
                for side in brought - there:
                    self.proto.add_implication(x, has.setdefault(side, self.proto.new_bool_var("")))
            more = sum(come) if rule.joins == Joins.EACH else 0
            if rule.joins >= 0 and rule.joins not in there and come:
                joined = has.setdefault(rule.joins, self.proto.new_bool_var(""))
                self.proto.add(sum(come) <= 2 * int(self.caps.sum()) * joined)
            if bring or come:
                self.proto.add(sum(has.values()) + more <= rule.most - len(there))

    def _add_none(self, counts: Iterable[Var]) -> None:
        for count in counts:
            self.proto.add(count == 0)
