"""Owns the check whether the loss of any one node is survived: its HA guests find a place on the others."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from solvers.possible import Clock, Oracle, Possibility
from solvers.problem import Apart, Bools, Ints, Problem
from solvers.requirement import Only, Requirement, Room, Together
from solvers.units import united

NOT_RESTARTED = ("", "ignored", "disabled", "stopped", "error")
"""States in the HA manager of guests that it does not start elsewhere when their node fails."""
NOT_RUNNING = ("stopped", "unknown")
ENDLESS = 2**40
"""More room than anything needs."""
PROOF = 5.0
"""Seconds, for all nodes of an assignment together, in which it is proven that guests find no place."""


def protected(guests: pd.DataFrame) -> Bools:
    """(g,) guests, a frame's rows, that the HA manager starts elsewhere when their node fails."""
    managed = ~guests["ha_state"].isin(NOT_RESTARTED) & ~guests["status"].isin(NOT_RUNNING)
    return managed.to_numpy(dtype=bool)


@dataclass(frozen=True, slots=True)
class Loss:
    """A node whose loss is not survived, as far as is known."""

    node: int
    guests: tuple[int, ...]
    """What is left over of its HA guests when the others have found a place."""
    proven: bool
    """That not all of them can find one."""
    ruled: tuple[int, ...] = ()
    """Of its HA guests those for which rules leave no place, however much room there were."""


class Failover:
    """What happens when a node of a problem fails, for any number of assignments.

    Its protected guests start on other nodes that take guests, and the other guests stay where they are. Where one
    arrives, everything that concerns it has to hold: where it may be, room for all that it takes, what it is kept apart
    from. Guests of a together-group that were on the node stay together.
    """

    def __init__(self, problem: Problem, protected: Bools, seed: int = 0) -> None:
        self.problem, self.protected, self.seed = problem, protected, seed
        self.rules_of: dict[int, list[int]] = {}
        for index, rule in enumerate(problem.apart):
            for guest in rule.guests:
                self.rules_of.setdefault(guest, []).append(index)
        self.domains = [rule.domain_of(problem.nodes) for rule in problem.apart]

    def losses(
        self, assignment: Ints, seconds: float = PROOF, nodes: Collection[int] | None = None
    ) -> tuple[Loss, ...]:
        """Nodes, or those of some, whose loss is not survived; what is not decided within the time is not proven."""
        clock = Clock(seconds)
        found = [outage.loss(clock) for outage in self._outages(assignment, nodes)]
        return tuple(self._with_rules(loss, assignment, clock) for loss in found if loss is not None)

    def _with_rules(self, loss: Loss, assignment: Ints, clock: Clock) -> Loss:
        endless = np.full_like(self.problem.capacity, ENDLESS)
        still = _Outage(self, assignment, loss.node, endless).loss(clock)
        return replace(loss, ruled=still.guests) if still and still.proven else loss

    def taken_over(self, assignment: Ints, *, wanted: bool = False) -> Ints:
        """(n, r) what each node has to have free, at most, for guests of one node that fails.

        `wanted`: also for those that find no place, where rules would allow it.
        """
        result = np.zeros_like(self.problem.capacity)
        for outage in self._outages(assignment):
            attempt = outage.attempt()
            np.maximum(result, attempt.taken + (attempt.wanted if wanted else 0), out=result)
        return result

    def missing(self, losses: Sequence[Loss]) -> int:
        """MiB of memory that guests without a place need, of all nodes together."""
        return sum(self.memory(loss) for loss in losses)

    def memory(self, loss: Loss) -> int:
        """MiB of memory that the guests without a place need; memory is the first capacity resource."""
        return int(self.problem.needs[list(loss.guests), 0].sum())

    def _outages(self, assignment: Ints, nodes: Collection[int] | None = None) -> "list[_Outage]":
        free = self.problem.capacity - self.problem.usage(assignment)
        there = np.unique(assignment[self.protected]).tolist()
        return [_Outage(self, assignment, node, free) for node in there if nodes is None or node in nodes]


def starts(problem: Problem, guests: Sequence[int], seed: int = 0, seconds: float = PROOF) -> tuple[Ints | None, bool]:
    """(g,) where all of some guests, which wait on nodes that take none, are on others; and whether that is decided.

    No other guests are on the nodes where these wait. None: they do not all find a place, or none was found in time.
    """
    waits = np.isin(np.arange(problem.guests), list(guests))
    home = int(problem.origin[guests[0]])
    outage = _Outage(
        Failover(problem, waits, seed), np.where(waits, home, problem.origin), home,
        problem.capacity - problem.usage(problem.origin),
    )  # fmt: skip
    answer, there = outage.decided(Clock(seconds))
    if there is None:
        return None, answer is not Possibility.UNKNOWN
    result = problem.origin.copy()
    result[outage.guests] = there
    return result, True


@dataclass(frozen=True, eq=False)
class _Attempt:
    """Places that were found one after the other."""

    left: tuple[int, ...]
    """Units that found none."""
    taken: Ints
    """(n, r) what the others take of each node."""
    wanted: Ints
    """(n, r) what those that found none would take beside that."""


class _Outage:
    """One node has failed: what its protected guests need, and what the other nodes have left for them."""

    def __init__(self, of: Failover, assignment: Ints, node: int, free: Ints) -> None:
        problem = of.problem
        self.of, self.node, self.assignment = of, node, assignment
        self.guests: list[int] = np.flatnonzero(of.protected & (assignment == node)).tolist()
        self.units = united(problem, self.guests)
        self.free = np.maximum(0, free)
        self.needs = np.array([problem.needs[unit].sum(axis=0) for unit in self.units], dtype=np.int64)
        takes = problem.balanced & (np.arange(problem.nodes) != node)
        self.allowed = np.array([problem.allowed(np.array(unit)) & takes for unit in self.units], dtype=bool)
        self.rules = sorted({index for guest in self.guests for index in of.rules_of.get(guest, ())})
        self.present = {index: self._sides_there(index) for index in self.rules}

    def loss(self, clock: Clock) -> Loss | None:
        """None when all find a place."""
        attempt = self.attempt()
        if not attempt.left:
            return None
        answer, _ = self.decided(clock)
        if answer is Possibility.POSSIBLE:
            return None
        guests = sorted(guest for unit in attempt.left for guest in self.units[unit])
        return Loss(self.node, tuple(guests), answer is Possibility.IMPOSSIBLE)

    def attempt(self) -> _Attempt:
        """The best of some quick attempts: large units or those with little choice first, tight or roomy places."""
        whole = np.maximum(1, self.of.problem.capacity.sum(axis=0))
        size = (self.needs / whole).max(axis=1)
        orders = (np.argsort(-size, kind="stable"), np.lexsort((-size, self.allowed.sum(axis=1))))
        best: _Attempt | None = None
        for order in orders:
            for sign in (1, -1):
                attempt = self._placed(order.tolist(), sign)
                if best is None or self._weight(attempt) < self._weight(best):
                    best = attempt
                if not best.left:
                    return best
        assert best is not None
        return best

    def _weight(self, attempt: _Attempt) -> tuple[int, int]:
        left = list(attempt.left)
        return int(self.needs[left, 0].sum()), len(left)

    def _placed(self, order: list[int], sign: int) -> _Attempt:
        """`sign` 1: where least memory is left, -1: where most is."""
        room, left, wanted = self.free.copy(), [], np.zeros_like(self.free)
        present = {rule: {d: set(sides) for d, sides in there.items()} for rule, there in self.present.items()}
        for unit in order:
            by_rules = self.allowed[unit] & ~self._crowded(unit, present)
            open_ = np.flatnonzero(by_rules & (self.needs[unit] <= room).all(axis=1))
            if not len(open_):
                left.append(unit)
                open_ = np.flatnonzero(by_rules & (self.needs[unit] <= self.of.problem.capacity).all(axis=1))
                if len(open_):
                    wanted[open_[np.argmax((room - wanted)[open_, 0])]] += self.needs[unit]
                continue
            node = int(open_[np.argmin(sign * room[open_, 0])])
            room[node] -= self.needs[unit]
            for rule, sides in self._sides_of(self.units[unit]).items():
                present[rule].setdefault(int(self.of.domains[rule][node]), set()).update(sides)
        return _Attempt(tuple(left), self.free - room, wanted)

    def _crowded(self, unit: int, present: dict[int, dict[int, set[int]]]) -> Bools:
        """(n,) nodes where the unit would be with what it is kept apart from."""
        result = np.zeros(self.of.problem.nodes, dtype=bool)
        for rule, sides in self._sides_of(self.units[unit]).items():
            most = self.of.problem.apart[rule].most
            if len(sides) > most:
                result[:] = True
            full = [domain for domain, there in present[rule].items() if len(there | sides) > most]
            result |= np.isin(self.of.domains[rule], full)
        return result

    def _sides_of(self, unit: Sequence[int]) -> dict[int, set[int]]:
        """Rule to the sides that the guests of a unit are on."""
        result: dict[int, set[int]] = {}
        for guest in unit:
            for rule in self.of.rules_of.get(guest, ()):
                sides = self.of.problem.apart[rule].sides
                result.setdefault(rule, set()).update(i for i, side in enumerate(sides) if guest in side)
        return result

    def _sides_there(self, rule: int) -> dict[int, set[int]]:
        """Domain to the sides of a rule that stay there, on the nodes that have not failed."""
        result: dict[int, set[int]] = {}
        for side, guests in enumerate(self.of.problem.apart[rule].sides):
            for node in {int(self.assignment[guest]) for guest in guests} - {self.node}:
                result.setdefault(int(self.of.domains[rule][node]), set()).add(side)
        return result

    # --- proof ----------------------------------------------------------------------------------------

    def decided(self, clock: Clock) -> tuple[Possibility, Ints | None]:
        """Whether all can find a place, by counting or by CP-SAT within the time; and where, in the order of guests."""
        placeable = self.allowed & (self.needs[:, None, :] <= self.free).all(axis=2)
        if not placeable.any(axis=1).all():
            return Possibility.IMPOSSIBLE, None
        reach = self.allowed.any(axis=0)
        if (self.needs.sum(axis=0) > self.free[reach].sum(axis=0)).any():
            return Possibility.IMPOSSIBLE, None
        if clock.left() <= 0:
            return Possibility.UNKNOWN, None
        small, requirements = self._question()
        oracle, every = Oracle(small, requirements, clock, self.of.seed), range(len(requirements))
        try:
            answer = oracle.ask(every, 1.0)
        except ModuleNotFoundError:  # no OR-Tools
            return Possibility.UNKNOWN, None
        there = oracle.example(every) if answer is Possibility.POSSIBLE else None
        return answer, None if there is None else there[: len(self.guests)]

    def _question(self) -> tuple[Problem, list[Requirement]]:
        """The guests to be placed, and beside them those that what they are kept apart from is about."""
        rules = [self.of.problem.apart[rule] for rule in self.rules]
        others = sorted({g for rule in rules for g in rule.guests if self.assignment[g] != self.node})
        index = {guest: i for i, guest in enumerate([*self.guests, *others])}
        requirements: list[Requirement] = [
            Only((index[guest],), frozenset(np.flatnonzero(allowed).tolist()))
            for unit, allowed in zip(self.units, self.allowed, strict=True)
            for guest in unit
        ]
        requirements += [Only((index[guest],), frozenset([int(self.assignment[guest])])) for guest in others]
        requirements += [Together(tuple(index[guest] for guest in unit)) for unit in self.units if len(unit) > 1]
        for rule in self.rules:
            requirements += self._apart(rule, index)
        nodes = np.flatnonzero(self.allowed.any(axis=0)).tolist()
        requirements += [Room(node, r) for node in nodes for r in np.flatnonzero(self.needs.any(axis=0)).tolist()]
        return self._problem(others), requirements

    def _apart(self, index_of_rule: int, index: dict[int, int]) -> list[Requirement]:
        """The rule; nothing of it may come to a domain where it is broken, and what is there does not count."""
        rule, domain = self.of.problem.apart[index_of_rule], self.of.domains[index_of_rule]
        full = [d for d, sides in self.present[index_of_rule].items() if len(sides) > rule.most]
        crowded = np.isin(domain, full)
        sides = [
            tuple(index[g] for g in side if g in index and (g in self.guests or not crowded[self.assignment[g]]))
            for side in rule.sides
        ]
        coming = tuple(index[guest] for guest in rule.guests if guest in self.guests)
        away = Only(coming, frozenset(np.flatnonzero(~crowded).tolist()))
        return [Apart(tuple(side for side in sides if side), rule.most, rule.domains), *([away] if full else [])]

    def _problem(self, others: list[int]) -> Problem:
        problem, g, n = self.of.problem, len(self.guests) + len(others), self.of.problem.nodes
        needs = np.zeros((g, problem.needs.shape[1]), dtype=np.int64)
        needs[: len(self.guests)] = problem.needs[self.guests]
        return Problem(
            origin=self.assignment[[*self.guests, *others]], needs=needs, capacity=self.free,
            demand=np.zeros((1, g), dtype=np.int64), ability=np.ones((1, n), dtype=np.int64),
            base=np.zeros((1, n), dtype=np.int64), balanced=np.ones(n, dtype=bool),
            eligibility=np.ones((1, n), dtype=bool), eligible=np.zeros(g, dtype=np.int64),
            copy_mib=np.zeros(g, dtype=np.int64), movable=np.ones(g, dtype=bool),
        )  # fmt: skip
