"""Owns the making of a plan: cluster, policy and a solver's name in, a Plan out."""

import time
from dataclasses import dataclass, replace
from functools import partial

from planner import explain, plan, schedule
from planner.baseline import Proxlb
from planner.capacity import GIB
from planner.cluster import Cluster
from planner.errors import MissingDependency, UsageError
from planner.formulate import Formulation, formulate
from planner.plan import Assumes, Change, Migration, NodeLoad, Plan, PlanStatus, Spread, Stranded, Stuck
from planner.policy import Cheapest, Policy, Resource
from planner.policy import Cluster as ClusterPolicy
from planner.rules import NodeState, read
from planner.schedule import Reach
from solvers import SOLVERS, Budget, Result, Solver, Status, bounds, check, greedy, judge, with_bound
from solvers.problem import PPM, Ints, Problem

NAMES = ("greedy", "proxlb", "descent", "cpsat")
"""Solvers that a person can ask for."""


@dataclass(frozen=True, eq=False)
class Case:
    """One cluster under one policy, ready for any number of solvers."""

    cluster: Cluster
    policy: Policy
    settings: ClusterPolicy
    formulation: Formulation


def prepare(cluster: Cluster, policy: Policy, settings: ClusterPolicy | None = None) -> Case:
    """Read the rules and formulate the problem, once for all solvers."""
    settings = settings or ClusterPolicy()
    return Case(cluster, policy, settings, formulate(cluster, read(cluster, settings), policy))


def make_plan(case: Case, solver: str = "cpsat", budget: Budget | None = None) -> Plan:
    """Plan with one solver. Within balanciness and without a broken rule there is nothing to do."""
    problem = case.formulation.problem
    quiet = _is_quiet(case.formulation)
    if quiet and not check.violations(problem, problem.origin):
        score = check.score(problem, problem.origin)
        bound, spread = bounds.spread_bound(problem), problem.spread(problem.origin)
        idle = Result(solver, Status.FEASIBLE, problem.origin, score, spread, bound, 0.0, 0)
        return _write(case, idle, PlanStatus.NO_ACTION, Reach(problem.origin, (), ()))
    if quiet:  # the balance is good enough: repair, as cheaply as it stays so
        problem = problem.replace(goal=problem.tolerance)
    result = solve(case, problem, solver, budget)
    if solver == "proxlb":  # shown as ProxLB would do it, whatever it breaks
        migrated = tuple(int(guest) for guest in problem.migrated(result.assignment))
        reach = Reach(result.assignment, migrated, ())
    else:
        reach = schedule.one_at_a_time(problem, result.assignment)
    if reach.stranded:  # what was proven is of assignments with as few violations, and of their cost
        least = None if result.bound is None else bounds.spread_bound(problem)
        result = replace(result, bound=least, cost_bound=None)
    return _write(case, result, _status(case, result, reach), reach)


def _is_quiet(formulation: Formulation) -> bool:
    """Whether every level is within what is tolerated, where nodes are stuck over the others."""
    problem, origin = formulation.problem, formulation.problem.origin
    changeable = formulation.changeable(origin)
    spreads = problem.spreads(origin) if changeable is None else changeable
    return max(level.value(spreads) for level in problem.aims) <= problem.tolerance


def _status(case: Case, result: Result, reach: Reach) -> PlanStatus:
    """What is known of a plan. Optimal: nothing is stranded, and no plan is cheaper, or, unless that was asked and
    balanciness is reached, no spread smaller: a solver stops at its goal."""
    status, problem = PlanStatus(result.status.value), case.formulation.problem
    cheapest = result.cost_bound is not None and result.score.cost[0] <= result.cost_bound
    smallest = result.bound is not None and result.spread <= result.bound
    reached = max(result.score.spread, *result.score.later, 0) <= problem.tolerance
    asked = cheapest if case.policy.until_balanced and reached else smallest
    if status is PlanStatus.OPTIMAL and (reach.stranded or not asked):
        return PlanStatus.FEASIBLE
    return status


def solve(case: Case, problem: Problem, solver: str, budget: Budget | None = None) -> Result:
    """Run one solver by name. UsageError or MissingDependency when it cannot be."""
    budget = budget or Budget(seconds=case.policy.time_limit, seed=case.policy.seed)
    began = time.monotonic()
    try:
        answer = _solver(case, solver)(problem, budget, problem.origin)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] != "ortools":
            raise
        raise MissingDependency(
            f"solver {solver} needs OR-Tools: pip install 'ortools>=9.14,<10' (greedy, descent and proxlb do without)"
        ) from None
    seconds = time.monotonic() - began
    return judge(problem, solver, with_bound(problem, solver, answer, budget), seconds, faithful=solver == "proxlb")


def _solver(case: Case, name: str) -> Solver:
    if name == "proxlb":
        return Proxlb(case.cluster, case.formulation, case.policy)
    if name == "greedy":
        return partial(greedy.solve, free=greedy.Free(case.policy.free.value))
    if name not in SOLVERS:
        raise UsageError(f"there is no solver {name}: choose from {', '.join(NAMES)}")
    return SOLVERS[name]


def _write(case: Case, result: Result, status: PlanStatus, reach: Reach) -> Plan:
    """The plan of what is reached, in names and percent."""
    formulation, policy = case.formulation, case.policy
    problem = formulation.problem
    reasons = explain.reasons(formulation, reach.assignment)
    return Plan(
        format=plan.FORMAT,
        solver=result.solver,
        status=status,
        resources=policy.resource,
        combine=policy.combine,
        weights=dict(policy.weights),
        mode=policy.mode,
        taken_at=case.cluster.snapshot.taken_at,
        balanciness=policy.balanciness,
        max_migrations=policy.max_migrations,
        max_gib=policy.max_gib,
        cheapest=policy.cheapest if policy.until_balanced else None,
        cost_bound=_cost_bound(policy, result),
        seconds=round(result.seconds, 3),
        spread=_spread(formulation, result, reach.assignment),
        spreads=_spreads(formulation, reach.assignment),
        stuck=_stuck(formulation),
        violations_before=_violations(formulation, problem.origin),
        violations_after=_violations(formulation, reach.assignment),
        nodes=_node_loads(formulation, reach.assignment),
        waves=tuple(
            (_migration(formulation, guest, int(reach.assignment[guest]), reasons[guest]),) for guest in reach.order
        ),
        stranded=(*_blocked(formulation, reach), *_fixed(formulation)),
        notes=(*case.cluster.notes, *formulation.notes),
        assumes=_assumes(case),
    )


def _points(ppm: int) -> float:
    """ppm as percentage points."""
    return ppm * 100 / PPM


def _spread(formulation: Formulation, result: Result, assignment: Ints) -> Spread:
    """Resources combined as the first level does."""
    problem = formulation.problem
    changeable = [formulation.changeable(at) for at in (problem.origin, assignment)]
    return Spread(
        _points(problem.spread(problem.origin)),
        _points(problem.spread(assignment)),
        None if result.bound is None else _points(result.bound),
        *(None if spreads is None else _points(problem.aims[0].value(spreads)) for spreads in changeable),
    )


def _spreads(formulation: Formulation, assignment: Ints) -> dict[Resource, Change]:
    problem = formulation.problem
    before, after = (problem.spreads(at).tolist() for at in (problem.origin, assignment))
    return {r: Change(_points(before[k]), _points(after[k])) for k, r in enumerate(formulation.resources)}


def _node_loads(formulation: Formulation, assignment: Ints) -> tuple[NodeLoad, ...]:
    """Percent of each resource on each node."""
    problem, resources = formulation.problem, formulation.resources
    tables = [problem.loads(at) * 100 / PPM for at in (problem.origin, assignment)]
    before, after = (
        [{r: round(float(table[k, n]), 4) for k, r in enumerate(resources)} for n in range(problem.nodes)]
        for table in tables
    )
    return tuple(NodeLoad(*row) for row in zip(formulation.nodes, before, after, strict=True))


def _stuck(formulation: Formulation) -> tuple[Stuck, ...]:
    problem = formulation.problem
    loads = problem.loads(problem.origin) * 100 / PPM
    return tuple(
        Stuck(formulation.nodes[n], formulation.resources[k], round(float(loads[k, n]), 4))
        for k, nodes in formulation.stuck.items()
        for n in nodes
    )


def _cost_bound(policy: Policy, result: Result) -> float | None:
    """Migrations or GiB, by what the policy counts first."""
    counts = policy.until_balanced and policy.cheapest is Cheapest.MIGRATIONS
    return result.cost_bound if counts or result.cost_bound is None else result.cost_bound / GIB


def _violations(formulation: Formulation, assignment: Ints) -> tuple[str, ...]:
    return tuple(explain.violation(formulation, item) for item in check.violations(formulation.problem, assignment))


def _migration(formulation: Formulation, guest: int, target: int, reason: str) -> Migration:
    row = formulation.guests.iloc[guest]
    return Migration(
        vmid=int(row["vmid"]),
        name=str(row["name"]),
        type=row["type"],
        source=str(row["node"]),
        target=formulation.nodes[target],
        memory_mib=int(row["memory_used_mib"]) if row["status"] != "stopped" else 0,
        local_disk_mib=int(row["disk_mib"]),
        running=row["status"] != "stopped",
        reason=reason,
    )


def _blocked(formulation: Formulation, reach: Reach) -> list[Stranded]:
    """Guests that would have to go where there is no room for them on the way."""
    result = []
    for guest, target in reach.stranded:
        row = formulation.guests.iloc[guest]
        why = f"{formulation.nodes[target]} has no room for it, or a rule forbids it, until another guest has left"
        result.append(Stranded(int(row["vmid"]), str(row["name"]), str(row["node"]), why))
    return result


def _fixed(formulation: Formulation) -> list[Stranded]:
    """Guests that stay on a node in maintenance."""
    guests = formulation.guests
    result = []
    for vmid, name, node in zip(map(int, guests["vmid"]), guests["name"], map(str, guests["node"]), strict=True):
        reason = formulation.fixed.get(vmid)
        if reason and formulation.rules.states[node] is NodeState.MAINTENANCE:
            result.append(Stranded(vmid, str(name), node, f"stays in maintenance: {reason}"))
    return result


def _assumes(case: Case) -> Assumes:
    guests = case.formulation.guests
    return Assumes(
        guests={int(vmid): str(node) for vmid, node in zip(guests["vmid"], guests["node"], strict=True)},
        nodes={name: state.value for name, state in case.formulation.rules.states.items()},
        rules=case.formulation.rules.digest(),
        maintenance_nodes=tuple(case.settings.maintenance_nodes),
        ignore_nodes=tuple(case.settings.ignore_nodes),
    )
