"""Owns the emptying of nodes that were chosen: what headroom is then, and the plan that gets there."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from planner import agenda, clash, headroom, missing, outlook, planning
from planner.case import Case, prepare
from planner.draft import draw_up
from planner.errors import MissingDependency
from planner.plan import Plan, PlanStatus
from planner.planning import make_plan
from planner.schedule import Reach
from planner.survive import PROOF, Failover
from solvers import Budget, Result, Status, bounds, check
from solvers.possible import Clock
from solvers.problem import Bools, Ints, Problem

if TYPE_CHECKING:
    from solvers.vacate_bound import Counted

SEARCH = 0.5
"""Part of the time limit in which nodes are chosen; the rest is for the plan."""
AGAIN = 3
"""Choices of nodes, at most, where the plans for the first ones do not get there."""
LEAST = 0.01
"""Seconds for a plan."""
LOOK = 1.0
"""Seconds in which it is decided of an assignment whether it has headroom."""


@dataclass(frozen=True, eq=False)
class Guarded:
    """What has to find a place when one more node fails."""

    starting: Problem
    """The problem with the nodes where guests may start."""
    guests: Bools
    """(g,) those that have to find a place."""
    exempt: tuple[int, ...]
    """Those that may be on no other node at all, so that they find none whatever is on or off."""
    seed: int
    today: tuple[int, ...] = ()
    """Nodes whose loss is not survived today, with all nodes on; without those."""
    by_ha: bool = False
    """Whether they are those that the HA manager starts elsewhere."""

    def has_headroom(self, assignment: Ints, off: Bools, seconds: float = LOOK) -> bool:
        """Whether the loss of any one node is survived when some are off."""
        return not self.failover(off).losses(assignment, seconds)

    def wanted(self, assignment: Ints, off: Bools) -> Ints:
        """(n, r) what each node should have free for the guests of one that fails."""
        return self.failover(off).taken_over(assignment, wanted=True)

    def failover(self, off: Bools) -> Failover:
        """What happens when one more node fails."""
        problem = self.starting.replace(balanced=self.starting.balanced & ~off)
        return Failover(problem, self.guests, self.seed)


def guarded(case: Case, guests: Bools) -> Guarded:
    """What guests need; nothing where no loss has to be survived."""
    asked = outlook.failover(replace(case, policy=replace(case.policy, survive=1)))
    assert asked is not None
    seed = case.policy.seed
    if not case.policy.survive:
        return Guarded(asked.problem, np.zeros(len(guests), dtype=bool), (), seed)
    exempt = headroom.tied(Failover(asked.problem, guests, seed))
    counted = guests.copy()
    counted[exempt] = False
    losses = Failover(asked.problem, counted, seed).losses(asked.problem.origin, LOOK)
    by_ha = bool(guests.any()) and bool((guests == asked.protected).all())
    return Guarded(
        asked.problem, counted, tuple(exempt), seed, tuple(loss.node for loss in losses if loss.proven), by_ha
    )


@dataclass(frozen=True, eq=False)
class Emptying:
    """Nodes that are to be switched off, and the case with them in maintenance."""

    case: Case
    guarded: Guarded
    off: Bools
    names: tuple[str, ...]

    @cached_property
    def problem(self) -> Problem:
        """Of the case with the nodes in maintenance."""
        return self.case.formulation.problem

    def left(self, plan: Plan) -> set[int]:
        """Nodes that a plan leaves with guests on them."""
        at = self.case.formulation.after(plan.migrations)
        return set(at[self.off[at]].tolist())

    def keeps_headroom(self, plan: Plan) -> bool:
        """Whether what a plan leads to has the headroom."""
        at = self.case.formulation.after(plan.migrations)
        return not self.guarded.guests.any() or self.guarded.has_headroom(at, self.off, PROOF)

    def ordinary(self, solver: str, budget: Budget) -> Plan:
        """The plan that `drain` would make: guests of the nodes alone, if that is enough, and the rest balanced."""
        return make_plan(self.case, solver, budget, self.names)

    def direct(self, assignment: Ints, solver: str, seconds: float) -> Plan:
        """The plan that leads to an assignment."""
        reach = agenda.reach(self.case, self.problem, assignment)
        return self._drawn_up(reach, solver, seconds)

    def _drawn_up(self, reach: Reach, solver: str, seconds: float) -> Plan:
        problem, at = self.problem, reach.assignment
        score, spread = check.score(problem, at), problem.spread(at)
        result = Result(solver, Status.FEASIBLE, at, score, spread, bounds.spread_bound(problem), seconds)
        return draw_up(self.case, result, PlanStatus.FEASIBLE, reach, clash.NONE, self.names)

    def told(self, plan: Plan) -> Plan:
        """The plan with what it says of the loss of nodes."""
        asked = outlook.failover(replace(self.case, policy=replace(self.case.policy, survive=1)))
        at = self.case.formulation.after(plan.migrations)
        return outlook.told(plan, self.case.formulation, asked, at, at)


def emptying(case: Case, guarded: Guarded, off: Bools) -> Emptying:
    """The case with some nodes in maintenance."""
    names = tuple(case.formulation.nodes[n] for n in np.flatnonzero(off))
    settings = replace(case.settings, maintenance_nodes=(*case.settings.maintenance_nodes, *names))
    policy = replace(case.policy, survive=0)  # the headroom is that of the choice
    drained = prepare(case.cluster, policy, settings, case.apply, case.measured)
    return Emptying(planning.emptying(drained, names), guarded, off, names)


def planned(item: Emptying, assignment: Ints, solver: str, budget: Budget) -> tuple[Plan, set[int]]:
    """The better of two plans, and nodes to do without: where it leaves guests, or one if it loses headroom.

    That of `drain` balances the rest as well; where it needs more migrations than the choice of nodes does, or loses
    the headroom, there is one that leads to just what was chosen.
    """
    plans = [item.ordinary(solver, budget)]
    fewest = len(item.problem.migrated(assignment))
    if item.left(plans[0]) or len(plans[0].migrations) > fewest or not item.keeps_headroom(plans[0]):
        plans.insert(0, item.direct(assignment, solver, plans[0].seconds))
    for plan in plans:
        if not item.left(plan) and item.keeps_headroom(plan):
            return plan, set()
    sizes = np.bincount(item.problem.origin, minlength=item.problem.nodes)
    largest = max(np.flatnonzero(item.off).tolist(), key=lambda node: int(sizes[node]))
    return plans[0], item.left(plans[0]) or {largest}


@dataclass(frozen=True, eq=False)
class Found:
    """Nodes that can be switched off, with what is proven of their number."""

    off: Bools
    """(n,)."""
    plan: Plan | None
    bound: int
    """Proven: so many at most."""
    counted: "Counted"
    """Of them counting alone."""
    blocked: tuple[int, ...] = ()
    """Nodes that could be emptied if there were a way to it."""


def chosen(case: Case, guarded: Guarded, candidates: Bools, keep: int, solver: str, budget: Budget) -> Found:
    """As many candidates as possible, and the plan that empties them; without those to which no plan gets."""
    try:
        from solvers.vacate import Wish, vacate
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] != "ortools":
            raise
        raise MissingDependency(missing.ortools("consolidate")) from None
    clock = Clock(budget.seconds, budget.stop)
    rest = replace(budget, stop=lambda: clock.left() <= 0)
    first: Counted | None = None
    bound, blocked = 0, set[int]()
    for _ in range(AGAIN):
        if first is not None and clock.left() <= 0:
            break
        possible = candidates.copy()
        possible[list(blocked)] = False
        wish = Wish(case.formulation.problem, possible, keep, guarded.guests, guarded.starting)
        vacated = vacate(wish, replace(rest, seconds=SEARCH * clock.left(), progress=None), guarded)
        if first is None:  # all candidates
            first, bound = vacated.counted, vacated.bound
        if not vacated.number:
            break
        item = emptying(case, guarded, vacated.off)
        plan, left = planned(item, vacated.assignment, solver, replace(rest, seconds=max(LEAST, clock.left())))
        if not left:
            plan = item.told(plan) if guarded.by_ha else plan
            return Found(vacated.off, plan, bound, first, tuple(sorted(blocked)))
        blocked |= left
    assert first is not None
    return Found(np.zeros(len(candidates), dtype=bool), None, bound, first, tuple(sorted(blocked)))
