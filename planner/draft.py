"""Owns the drawing up of a plan: what a solver found, in names and percent."""

from collections.abc import Iterable

from planner import agenda, explain, plan
from planner.capacity import GIB
from planner.case import Case
from planner.clash import Clash
from planner.errors import ConfigError
from planner.formulate import Formulation
from planner.plan import Assumes, Change, Handling, Looks, NodeLoad, Plan, PlanStatus, Spread, Stranded, Stuck
from planner.policy import Cheapest, Policy, Resource
from planner.rules import NodeState
from planner.schedule import Reach
from solvers import Result
from solvers.problem import PPM, Ints
from solvers.state import State

CONNTRACK = 9
"""Release of Proxmox VE from which connections can be handed over."""
NOT_LEAST = "that as few should-rules as possible give way is not proven: with a longer time limit more may hold"


def draw_up(
    case: Case, result: Result, status: PlanStatus, reach: Reach, clash: Clash, drained: Iterable[str] = ()
) -> Plan:
    """The plan of what is reached, in names and percent."""
    formulation, policy = case.formulation, case.policy
    problem = formulation.problem
    there, times, back = agenda.agenda(case, reach)
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
        repair_only=policy.repair_only,
        drained=tuple(drained),
        cost_bound=_cost_bound(policy, result),
        seconds=round(result.seconds, 3),
        spread=_spread(formulation, result, reach.assignment),
        spreads=_spreads(formulation, reach.assignment),
        stuck=_stuck(formulation),
        violations_before=explain.broken(formulation, problem.origin),
        violations_after=explain.broken(formulation, reach.assignment),
        nodes=_node_loads(formulation, reach.assignment),
        waves=there,
        schedule=times,
        rollback=back,
        handling=_handling(case),
        stranded=(*_blocked(case, reach), *_fixed(formulation)),
        notes=(*case.cluster.notes, *formulation.notes, *(() if case.least else (NOT_LEAST,)), *_beyond(reach)),
        gave_way=case.gave_way,
        conflict=clash.core,
        conflict_minimal=clash.minimal,
        helps=clash.helps,
        assumes=_assumes(case),
        looks=_looks(case),
        what_if=case.cluster.assumed.steps,
    )


def _looks(case: Case) -> Looks:
    """Over which time the figures are."""
    policy, formulation = case.policy, case.formulation
    labels = {r: [formulation.metrics[k].period for k in formulation.periods(r)] for r in formulation.resources}
    periods = max(map(len, labels.values()))
    return Looks(policy.window, policy.profile, policy.forecast, periods)


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
    """Of each resource, by the worst of its periods."""
    problem = formulation.problem
    before, after = (problem.spreads(at) for at in (problem.origin, assignment))
    of = {resource: list(formulation.periods(resource)) for resource in formulation.resources}
    return {r: Change(_points(int(before[ks].max())), _points(int(after[ks].max()))) for r, ks in of.items()}


def _node_loads(formulation: Formulation, assignment: Ints) -> tuple[NodeLoad, ...]:
    """Percent of each resource on each node, in the period in which its spread is the largest."""
    problem = formulation.problem
    before, after = (_percent(formulation, at) for at in (problem.origin, assignment))
    return tuple(NodeLoad(*row) for row in zip(formulation.nodes, before, after, strict=True))


def _percent(formulation: Formulation, assignment: Ints) -> list[dict[Resource, float]]:
    problem, loads = formulation.problem, formulation.problem.loads(assignment)
    spreads = problem.spreads_of(loads)
    worst = {r: max(formulation.periods(r), key=lambda k: int(spreads[k])) for r in formulation.resources}
    return [{r: round(float(loads[k, n]) * 100 / PPM, 4) for r, k in worst.items()} for n in range(problem.nodes)]


def _stuck(formulation: Formulation) -> tuple[Stuck, ...]:
    problem = formulation.problem
    loads = problem.loads(problem.origin) * 100 / PPM
    return tuple(
        Stuck(formulation.nodes[n], formulation.metrics[k].resource, round(float(loads[k, n]), 4))
        for k, nodes in formulation.stuck.items()
        for n in nodes
    )


def _cost_bound(policy: Policy, result: Result) -> float | None:
    """Migrations or GiB, by what the policy counts first."""
    counts = policy.until_balanced and policy.cheapest is Cheapest.MIGRATIONS
    return result.cost_bound if counts or result.cost_bound is None else result.cost_bound / GIB


def _blocked(case: Case, reach: Reach) -> list[Stranded]:
    """Guests that should go where they cannot in the end; not those that only make no sense without others."""
    formulation, result = case.formulation, []
    state = State(case.way.replace(max_migrations=None, max_moved_mib=None), reach.assignment)
    for guest, target in reach.stranded:
        if state.may_go(int(case.way.bundle_of[guest]), target):
            continue
        row = formulation.guests.iloc[guest]
        why = f"{formulation.nodes[target]} has no room for it, or a rule forbids it, until another guest has left"
        result.append(Stranded(int(row["vmid"]), str(row["name"]), str(row["node"]), why))
    return result


def _beyond(reach: Reach) -> tuple[str, ...]:
    """What would be better, if there were a way to it."""
    if reach.beyond is None:
        return ()
    spread, left = _points(reach.beyond.spread), reach.beyond.violations
    rules = f" and {left} broken rules" if left else ""
    return (f"a better assignment is known, with a spread of {spread:.2f} points{rules}, but no way to it was found",)


def _fixed(formulation: Formulation) -> list[Stranded]:
    """Guests that stay on a node in maintenance."""
    guests = formulation.guests
    result = []
    for vmid, name, node in zip(map(int, guests["vmid"]), guests["name"], map(str, guests["node"]), strict=True):
        reason = formulation.fixed.get(vmid)
        if reason and formulation.rules.states[node] is NodeState.MAINTENANCE:
            result.append(Stranded(vmid, str(name), node, f"stays in maintenance: {reason}"))
    return result


def _handling(case: Case) -> Handling:
    """What Proxmox VE is told with every migration. ConfigError where it would not understand."""
    settings, release = case.apply, str((case.cluster.snapshot.get("/version") or {}).get("version", ""))
    major = release.partition(".")[0]
    is_older = major.isdecimal() and int(major) < CONNTRACK
    if settings.conntrack is True and is_older:
        raise ConfigError(f"apply.conntrack needs Proxmox VE {CONNTRACK}, and this is {release}: leave it out")
    conntrack = bool(settings.conntrack) and not is_older
    return Handling(settings.bwlimit, dict(settings.target_storage), conntrack, settings.restart_timeout)


def _assumes(case: Case) -> Assumes:
    guests = case.formulation.guests
    return Assumes(
        guests={int(vmid): str(node) for vmid, node in zip(guests["vmid"], guests["node"], strict=True)},
        nodes={name: state.value for name, state in case.formulation.rules.states.items()},
        rules=case.rules.digest(),
        maintenance_nodes=tuple(case.settings.maintenance_nodes),
        ignore_nodes=tuple(case.settings.ignore_nodes),
    )
