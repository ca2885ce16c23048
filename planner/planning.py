"""Owns the making of a plan: cluster, policy and a solver's name in, a Plan out."""

import time
from collections.abc import Collection
from dataclasses import replace
from functools import partial

import numpy as np

from planner import agenda, candidates, clash, headroom, missing, outlook, pace, reachable, schedule
from planner.baseline import Proxlb
from planner.case import Case, prepare
from planner.choices import SolverName
from planner.cluster import Cluster
from planner.draft import draw_up
from planner.errors import MissingDependency, UsageError
from planner.formulate import Formulation
from planner.plan import Plan, PlanStatus
from planner.policy import Apply, Policy
from planner.policy import Cluster as ClusterPolicy
from planner.schedule import Reach
from planner.snapshot import Snapshot, Source
from solvers import SOLVERS, Budget, Result, Solver, Status, bounds, check, greedy, judge, with_bound
from solvers.problem import PPM, Cost, Problem
from solvers.result import Answer

__all__ = ["NAMES", "Case", "checked_plan", "make_plan", "prepare", "solve"]

NAMES = tuple(name.value for name in SolverName)
"""Solvers that a person can ask for."""
ANY_SPREAD = 100 * PPM
"""ppm, more than any spread: a goal for those who want rules repaired and nothing else."""
SCOUTED = 5.0
"""Seconds of a time limit from which a quick solver finds the guests to ask Proxmox VE about."""


def checked_plan(
    cluster: Cluster, policy: Policy, settings: ClusterPolicy, solver: str, budget: Budget, source: Source | None,
    drained: Collection[str] = (), apply: Apply | None = None,
) -> Plan:  # fmt: skip
    """Plan, asking Proxmox VE about the guests that would be migrated, until it would admit all of the migrations.

    With `drained` nodes only their guests are migrated, if that is enough to empty them.
    """
    measured = pace.finder(cluster.snapshot, source, apply or Apply())

    def plan_with(solver: str, policy: Policy, snapshot: Snapshot) -> Plan:
        case = prepare(replace(cluster, snapshot=snapshot), policy, settings, apply, measured)
        return make_plan(emptying(case, drained), solver, budget, drained)

    slow = solver == "cpsat" and policy.time_limit >= SCOUTED
    movable = [int(vmid) for vmid in cluster.guests["vmid"][~cluster.guests["template"]]]
    scout = partial(plan_with, "descent", replace(policy, survive=0)) if slow else None  # headroom takes its time
    return candidates.checked(cluster, movable, partial(plan_with, solver, policy), source, scout=scout).plan


def emptying(case: Case, nodes: Collection[str]) -> Case:
    """The case that tells guests that leave some nodes in maintenance from broken rules, if the nodes are in none today
    and the guests may be there."""
    now, rules = case.cluster.nodes, case.formulation.rules
    names, pins = {*nodes} - {*map(str, now["node"][now["maintenance"].astype(bool)])}, rules.pins()
    at = zip(map(int, case.formulation.guests["vmid"]), map(str, case.formulation.guests["node"]), strict=True)
    leaving = {vmid: node for vmid, node in at if node in names and node in pins.get(vmid, names)}
    return replace(case, formulation=replace(case.formulation, rules=replace(rules, leaving=leaving)))


def make_plan(case: Case, solver: str = "cpsat", budget: Budget | None = None, drained: Collection[str] = ()) -> Plan:
    """Plan with one solver. Within balanciness and without a broken rule there is nothing to do."""
    budget = budget or Budget(seconds=case.policy.time_limit, seed=case.policy.seed)
    problem = _aimed(case)
    broken = check.violations(problem, problem.origin)
    failover = outlook.failover(case)
    quiet = case.policy.repair_only or is_quiet(case.formulation)
    if quiet and not broken and not (failover and failover.losses(problem.origin)):
        score = check.score(problem, problem.origin)
        bound, spread = bounds.spread_bound(problem), problem.spread(problem.origin)
        idle = Result(solver, Status.FEASIBLE, problem.origin, score, spread, bound, 0.0, 0)
        plan = draw_up(case, idle, PlanStatus.NO_ACTION, Reach(problem.origin, (), ()), clash.NONE)
        return outlook.told(plan, case.formulation, failover, problem.origin, problem.origin)
    asked = _only_from(case.formulation, problem, drained)
    result, reach = _solved(case, asked, solver, budget)
    if drained and _is_left(case.formulation, reach, drained):  # others may have to make room
        asked, drained = problem, ()
        result, reach = _solved(case, asked, solver, budget)
    if case.policy.repair_only and solver != "proxlb":
        result, reach = _evenly(case, asked, (result, reach), budget)
    return _finished(case, asked, (result, reach), budget, drained)


def _evenly(case: Case, asked: Problem, found: tuple[Result, Reach], budget: Budget) -> tuple[Result, Reach]:
    """Of the repairs with as few migrations one that leaves a smaller spread, where there is one: searched for within
    half of the time again."""
    result, _ = found
    many = result.score.cost[0]
    if not many or result.spread <= case.formulation.problem.tolerance:
        return found
    closer = asked.replace(max_migrations=many, goal=0, tolerance=0)
    other, way = _solved(case, closer, result.solver, replace(budget, seconds=budget.seconds / 2))
    same = other.score.violations == result.score.violations and other.score.cost[0] <= many
    if not same or other.spread >= result.spread or len(way.stranded) > len(found[1].stranded):
        return found
    return replace(other, status=result.status, bound=result.bound, cost_bound=result.cost_bound), way


def plan_of(case: Case, result: Result, budget: Budget) -> Plan:
    """The plan of what a solver has found for the case's problem, balanced as it may be today."""
    problem = case.formulation.problem
    return _finished(case, problem, _got(case, problem, result, budget), budget, ())


def _finished(
    case: Case, asked: Problem, found: tuple[Result, Reach], budget: Budget, drained: Collection[str]
) -> Plan:
    """The plan of what is reached, with headroom where that is asked for."""
    problem, failover = case.formulation.problem, outlook.failover(case)
    (result, reach), solver = found, found[0].solver
    plain = reach.assignment
    if failover and solver != "proxlb":
        in_order = partial(agenda.reach, case, asked)
        result, reach = headroom.kept(asked, failover, (result, reach), partial(solve, case), in_order, solver, budget)
    status, why = _status(case, result, reach), clash.NONE
    if solver != "proxlb" and check.violations(problem, reach.assignment):
        why = case.clash
        status = PlanStatus.INFEASIBLE if why.proven else status
    plan = draw_up(case, result, status, reach, why, drained)
    return outlook.told(plan, case.formulation, failover, reach.assignment, plain)


def _aimed(case: Case) -> Problem:
    """The problem, or where the balance is good enough its repair, as cheaply as it stays so."""
    problem = case.formulation.problem
    if case.policy.repair_only:
        return problem.replace(goal=ANY_SPREAD, tolerance=ANY_SPREAD, prefer=Cost.MIGRATIONS)
    if case.formulation.is_cool:  # a repair shall not make it more uneven than it is, nor anything even
        present = problem.spreads(problem.origin)
        as_it_is = max(problem.tolerance, *(level.value(present) for level in problem.aims))
        return problem.replace(goal=as_it_is, tolerance=as_it_is)
    return problem.replace(goal=problem.tolerance) if is_quiet(case.formulation) else problem


def _only_from(formulation: Formulation, problem: Problem, nodes: Collection[str]) -> Problem:
    """The problem in which only guests of these nodes are migrated; all where none is named."""
    if not nodes:
        return problem
    there = [name in nodes for name in formulation.nodes]
    return problem.replace(movable=problem.movable & np.array(there, dtype=bool)[problem.origin])


def _is_left(formulation: Formulation, reach: Reach, nodes: Collection[str]) -> bool:
    """Whether a guest that could be migrated is still on one of some nodes where it may not be."""
    problem, at = formulation.problem, reach.assignment
    there = np.array([name in nodes for name in formulation.nodes], dtype=bool)[at]
    return bool((there & problem.movable & ~problem.eligibility[problem.eligible, at]).any())


def _solved(case: Case, problem: Problem, solver: str, budget: Budget) -> tuple[Result, Reach]:
    """What a solver finds, and what can be got of it."""
    result = solve(case, problem, solver, budget)
    if solver == "proxlb":  # shown as ProxLB would do it, whatever it breaks
        return result, schedule.one_by_one(problem, result.assignment)
    return _got(case, problem, result, budget)


def _got(case: Case, problem: Problem, result: Result, budget: Budget) -> tuple[Result, Reach]:
    """What can be got of what a solver has found."""
    reach = agenda.reach(case, problem, result.assignment)
    if reach.stranded:  # the best is no use where the way is blocked
        result, reach = reachable.best_reachable(case, problem, (result, reach), partial(_unbounded, case), budget)
    if reach.stranded:  # what was proven is of assignments with as few violations, and of their cost
        least = None if result.bound is None else bounds.spread_bound(problem)
        result = replace(result, bound=least, cost_bound=None)
    if case.gave_way and result.bound is not None:  # others might have given way
        result = replace(result, bound=min(result.bound, bounds.spread_bound(case.way)), cost_bound=None)
    return result, reach


def is_quiet(formulation: Formulation) -> bool:
    """Whether thresholds say so, or where none tells of pressure every level is within what is tolerated, where nodes
    are stuck over the others."""
    if formulation.is_cool or formulation.hot:
        return formulation.is_cool
    problem, origin = formulation.problem, formulation.problem.origin
    changeable = formulation.changeable(origin)
    spreads = problem.spreads(origin) if changeable is None else changeable
    return max(level.value(spreads) for level in problem.aims) <= problem.tolerance


def _status(case: Case, result: Result, reach: Reach) -> PlanStatus:
    """What is known of a plan. Optimal: nothing is stranded, and no plan is cheaper, or, unless that was asked and
    balanciness is reached, no spread smaller: a solver stops at its goal."""
    status, problem = PlanStatus(result.status.value), case.formulation.problem
    stops = any(leg.bypass for leg in reach.legs)  # which no solver has counted
    cheapest = result.cost_bound is not None and result.score.cost[0] <= result.cost_bound and not stops
    smallest = result.bound is not None and result.spread <= result.bound
    reached = max(result.score.spread, *result.score.later, 0) <= problem.tolerance
    asked = cheapest if case.policy.repair_only or (case.policy.until_balanced and reached) else smallest
    if status is PlanStatus.OPTIMAL and (reach.stranded or not asked or case.gave_way):
        return PlanStatus.FEASIBLE
    return status


def solve(case: Case, problem: Problem, solver: str, budget: Budget | None = None) -> Result:
    """Run one solver by name. UsageError or MissingDependency when it cannot be."""
    budget = budget or Budget(seconds=case.policy.time_limit, seed=case.policy.seed)
    began = time.monotonic()
    answer = _answer(case, problem, solver, budget)
    seconds = time.monotonic() - began  # a bound that is not its own is none of its work
    return judge(problem, solver, with_bound(problem, solver, answer, budget), seconds, faithful=solver == "proxlb")


def _unbounded(case: Case, problem: Problem, solver: str, budget: Budget) -> Result:
    """The same without the time that a bound takes, where none is asked for."""
    began = time.monotonic()
    answer = _answer(case, problem, solver, budget)
    return judge(problem, solver, answer, time.monotonic() - began)


def _answer(case: Case, problem: Problem, solver: str, budget: Budget) -> Answer:
    try:
        return _solver(case, solver)(problem, budget, problem.origin)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] != "ortools":
            raise
        raise MissingDependency(missing.ortools(f"solver {solver}", "--solver descent")) from None


def _solver(case: Case, name: str) -> Solver:
    if name == "proxlb":
        return Proxlb(case.cluster, case.formulation, case.policy)
    if name == "greedy":
        return partial(greedy.solve, free=greedy.Free(case.policy.free.value))
    if name not in SOLVERS:
        raise UsageError(f"there is no solver {name}: choose from {', '.join(NAMES)}")
    return SOLVERS[name]
