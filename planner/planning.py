"""Owns the making of a plan: cluster, policy and a solver's name in, a Plan out."""

import time
from dataclasses import dataclass
from functools import partial

from planner import explain, plan, schedule
from planner.baseline import Proxlb
from planner.cluster import Cluster
from planner.errors import MissingDependency, UsageError
from planner.formulate import Formulation, formulate
from planner.plan import Assumes, Migration, NodeLoad, Plan, PlanStatus, Spread, Stranded
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy
from planner.rules import NodeState, read
from planner.schedule import Reach
from solvers import SOLVERS, Budget, Result, Solver, Status, bounds, check, greedy, judge
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
    quiet = problem.spread(problem.origin) <= problem.tolerance
    if quiet and not check.violations(problem, problem.origin):
        score = check.score(problem, problem.origin)
        bound = bounds.spread_bound(problem)
        idle = Result(solver, Status.FEASIBLE, problem.origin, score, score.spread, bound, 0.0)
        return _write(case, idle, PlanStatus.NO_ACTION, Reach(problem.origin, (), ()))
    if quiet:  # the balance is good enough: repair, as cheaply as it stays so
        problem = problem.replace(goal=problem.tolerance)
    result = solve(case, problem, solver, budget)
    if solver == "proxlb":  # shown as ProxLB would do it, whatever it breaks
        migrated = tuple(int(guest) for guest in problem.migrated(result.assignment))
        reach = Reach(result.assignment, migrated, ())
    else:
        reach = schedule.one_at_a_time(problem, result.assignment)
    status = PlanStatus(result.status.value)
    if reach.stranded and status is PlanStatus.OPTIMAL:
        status = PlanStatus.FEASIBLE
    return _write(case, result, status, reach)


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
    return judge(problem, solver, answer, time.monotonic() - began, faithful=solver == "proxlb")


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
    before, after = (problem.loads(a) * 100 / PPM for a in (problem.origin, reach.assignment))
    reasons = explain.reasons(formulation, reach.assignment)
    return Plan(
        format=plan.FORMAT,
        solver=result.solver,
        status=status,
        resource=policy.resource,
        mode=policy.mode,
        taken_at=case.cluster.snapshot.taken_at,
        balanciness=policy.balanciness,
        max_migrations=policy.max_migrations,
        seconds=round(result.seconds, 3),
        spread=Spread(
            _points(problem.spread(problem.origin)),
            _points(problem.spread(reach.assignment)),
            None if result.bound is None else _points(result.bound),
        ),
        violations_before=_violations(formulation, problem.origin),
        violations_after=_violations(formulation, reach.assignment),
        nodes=tuple(
            NodeLoad(name, round(float(before[0, n]), 4), round(float(after[0, n]), 4))
            for n, name in enumerate(formulation.nodes)
        ),
        waves=tuple(
            (_migration(formulation, guest, int(reach.assignment[guest]), reasons[guest]),) for guest in reach.order
        ),
        stranded=(*_stuck(formulation, reach), *_fixed(formulation)),
        notes=(*case.cluster.notes, *formulation.notes),
        assumes=_assumes(case),
    )


def _points(ppm: int) -> float:
    """ppm as percentage points."""
    return ppm * 100 / PPM


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


def _stuck(formulation: Formulation, reach: Reach) -> list[Stranded]:
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
