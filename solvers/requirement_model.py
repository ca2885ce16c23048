"""Owns the CP-SAT model of requirements: some that hold, and some with a literal that says whether they do."""

from __future__ import annotations  # OR-Tools 9.14 has no CpSolverStatus

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ortools.sat.python import cp_model

from solvers.kin import tie
from solvers.problem import Apart, Bools, Ints, Problem
from solvers.requirement import Only, Requirement, Room, Together, Within, guests_of, holds
from solvers.run import run

Linear = cp_model.LinearExprT
Literal = cp_model.IntVar | None
"""None: the requirement holds."""


@dataclass
class _Lot:
    """Kins that are alike for the model: how many of them are on which node."""

    kins: list[int]
    at: dict[int, cp_model.IntVar] = field(default_factory=dict)


class RequirementModel:
    """`hard` requirements hold; those in `soft` have a literal each. Whether migrations count changes who is alike."""

    def __init__(
        self, problem: Problem, hard: Sequence[Requirement], soft: Sequence[Requirement] = (), *, counted: bool = False
    ) -> None:
        self.problem, self._kin = problem, tie(problem, hard)
        self.proto = cp_model.CpModel()
        self._soft = list(soft)
        self.literals = [self.proto.new_bool_var("") for _ in soft]
        self._every = [*hard, *soft]
        limits = [each for each in self._every if isinstance(each, Within)]
        self._counted = counted or bool(limits)
        self._copied = any(each.mib is not None for each in limits)
        self._lots: list[_Lot] = []
        self._lot_of: dict[int, _Lot] = {}
        self._seen: list[tuple[cp_model.IntVar, list[int], list[int]]] = []
        self._add_kins()
        for each, literal in [*((each, None) for each in hard), *zip(soft, self.literals, strict=True)]:
            self._add(each, literal)

    # --- variables ---------------------------------------------------------------------------------

    def _add_kins(self) -> None:
        """Variables for kins that are named, or have no node where they trouble nobody; those stay out."""
        kin = self._kin
        named = {
            one for each in self._soft if isinstance(each, Only | Together) for one in kin.named(guests_of(each))
        } | {one for each in self._every if isinstance(each, Apart) for one in kin.named(guests_of(each))}
        asked = np.zeros(self.problem.capacity.shape, dtype=bool)
        for each in self._every:
            if isinstance(each, Room):
                asked[each.node, each.resource] = True
        weighs = np.einsum("kr,nr->kn", kin.needs > 0, asked) > 0
        quiet = kin.allowed & ~weighs & ((kin.away == 0) | (not self._counted))
        nearest = np.where(quiet, kin.away, np.iinfo(np.int64).max).argmin(axis=1)
        self._settled = np.where(quiet.any(axis=1), nearest, -1)
        self._settled[list(named)] = -1
        lots: dict[tuple[object, ...], _Lot] = {}
        for one in np.flatnonzero(self._settled < 0).tolist():
            lots.setdefault((one,) if one in named else self._likeness(one, asked), _Lot([])).kins.append(one)
        for lot in lots.values():
            self._add_lot(lot)

    def _likeness(self, one: int, asked: Bools) -> tuple[object, ...]:
        kin = self._kin
        key: list[object] = [kin.allowed[one].tobytes(), kin.needs[one, asked.any(axis=0)].tobytes()]
        if self._counted:
            key.append(kin.away[one].tobytes())
        if self._copied:
            key.append(kin.mib[one].tobytes())
        return tuple(key)

    def _add_lot(self, lot: _Lot) -> None:
        count = len(lot.kins)
        for node in np.flatnonzero(self._kin.allowed[lot.kins[0]]).tolist():
            lot.at[node] = self.proto.new_int_var(0, count, "")
        if not lot.at:
            self.proto.add_bool_or([])
        elif count == 1:
            self.proto.add_exactly_one(lot.at.values())
        else:
            self.proto.add(cp_model.LinearExpr.sum(list(lot.at.values())) == count)
        self._lots.append(lot)
        self._lot_of.update(dict.fromkeys(lot.kins, lot))

    # --- requirements ------------------------------------------------------------------------------

    def _add(self, each: Requirement, literal: Literal) -> None:
        match each:
            case Only() if literal is not None:
                self._add_only(each, literal)
            case Together() if literal is not None:
                self._add_together(each, literal)
            case Apart():
                self._add_apart(each, literal)
            case Room():
                self._add_room(each, literal)
            case Within():
                self._add_within(each, literal)
            case _:
                pass  # it is in the kins

    def _add_only(self, only: Only, literal: cp_model.IntVar) -> None:
        for one in self._kin.named(only.guests):
            at = self._lot_of[one].at
            self.proto.add_bool_or([*(x for node, x in at.items() if node in only.nodes), ~literal])

    def _add_together(self, together: Together, literal: cp_model.IntVar) -> None:
        kins = self._kin.named(together.guests)
        for one in kins[1:]:
            first, other = self._lot_of[kins[0]].at, self._lot_of[one].at
            for node, x in first.items():
                self.proto.add_bool_or([~literal, ~x, *([other[node]] if node in other else [])])

    def _add_apart(self, apart: Apart, literal: Literal) -> None:
        nodes_of: dict[int, list[int]] = {}
        for node in range(self.problem.nodes):
            nodes_of.setdefault(apart.domain(node), []).append(node)
        sides = [self._kin.named(side) for side in apart.sides if side]
        for nodes in nodes_of.values():
            present = [x for side in sides for x in self._presence(side, nodes)]
            if len(sides) > apart.most:
                self._limit(cp_model.LinearExpr.sum(present) if present else 0, apart.most, literal)

    def _presence(self, side: list[int], nodes: list[int]) -> list[cp_model.IntVar]:
        """What sums up to 1 or more if a side is on any of some nodes, and may be 0 if it is not."""
        on = [x for one in side for node, x in self._lot_of[one].at.items() if node in nodes]
        if len(side) == 1 or len(on) < 2:
            return on
        present = self.proto.new_bool_var("")
        for x in on:
            self.proto.add_implication(x, present)
        self._seen.append((present, side, nodes))
        return [present]

    def _add_room(self, room: Room, literal: Literal) -> None:
        weights = [(lot, int(self._kin.needs[lot.kins[0], room.resource])) for lot in self._lots]
        on = [(lot.at[room.node], weight) for lot, weight in weights if weight and room.node in lot.at]
        self._limit(_weighted(on), int(self.problem.capacity[room.node, room.resource]), literal)

    def _add_within(self, within: Within, literal: Literal) -> None:
        if within.migrations is not None:
            self._limit(self.migrations, within.migrations, literal)
        if within.mib is not None:
            self._limit(self._cost(self._kin.mib), within.mib, literal)

    def _limit(self, used: Linear, most: int, literal: Literal) -> None:
        if isinstance(used, int):
            if used > most:
                self.proto.add_bool_or([] if literal is None else [~literal])
            return
        constraint = self.proto.add(used <= most)
        if literal is not None:
            constraint.only_enforce_if(literal)

    @property
    def migrations(self) -> Linear:
        """Number of migrations; what is not in the model stays, if they count."""
        return self._cost(self._kin.away)

    def _cost(self, cost: Ints) -> Linear:
        terms = [(x, int(cost[lot.kins[0], node])) for lot in self._lots for node, x in lot.at.items()]
        return _weighted([(x, amount) for x, amount in terms if amount])

    # --- assignments -------------------------------------------------------------------------------

    def start_from(self, assignment: Ints) -> None:
        """Hint every variable; a hint need not keep the requirements."""
        self.proto.clear_hints()  # type: ignore[no-untyped-call]
        for lot in self._lots:
            nodes = [int(assignment[self._kin.members[one][0]]) for one in lot.kins]
            for node, x in lot.at.items():
                self.proto.add_hint(x, nodes.count(node))
        for present, side, nodes in self._seen:
            guests = [guest for one in side for guest in self._kin.members[one].tolist()]
            self.proto.add_hint(present, int(any(int(assignment[guest]) in nodes for guest in guests)))
        for literal, each in zip(self.literals, self._soft, strict=True):
            self.proto.add_hint(literal, int(holds(self.problem, each, assignment)))

    def assignment(self, solver: cp_model.CpSolver) -> Ints:
        """The assignment that a solution stands for."""
        node_of = self._settled.copy()
        for lot in self._lots:
            node_of[lot.kins] = np.repeat(list(lot.at), [solver.value(x) for x in lot.at.values()])
        return np.asarray(node_of[self._kin.of], dtype=np.int64)


def ask(
    model: RequirementModel, hint: Ints, seconds: float, seed: int, objective: Linear | None = None
) -> tuple[cp_model.CpSolverStatus, Ints | None]:
    """What CP-SAT says of a model within a time, and the assignment that it found; one worker, so that it repeats."""
    model.start_from(hint)
    if objective is not None:
        model.proto.minimize(objective)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.random_seed = seed
    solver.parameters.num_workers = 1
    status = run(solver, model.proto)
    if status == cp_model.MODEL_INVALID:
        raise RuntimeError(f"a mistake in solvers.requirement_model: {model.proto.validate()}")
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return status, model.assignment(solver) if found else None


def _weighted(terms: list[tuple[cp_model.IntVar, int]]) -> Linear:
    return cp_model.LinearExpr.weighted_sum([x for x, _ in terms], [w for _, w in terms]) if terms else 0
