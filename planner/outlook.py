"""Owns what a plan says of the loss of nodes: which ones are not survived, before and after, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from planner import explain, headroom
from planner.capacity import GIB
from planner.case import Case
from planner.cpu import only_while_running
from planner.formulate import Formulation
from planner.plan import Lost, Migration, Plan, PlanStatus, Survival
from planner.survive import Failover, Loss, protected
from solvers.check import violations
from solvers.problem import Ints, Problem

SHOWN = 4
"""Guests that are named before the rest is counted."""
NONE = "no running guest is managed by HA: the loss of a node starts none elsewhere, and --survive changes nothing"


def failover(case: Case) -> Failover | None:
    """What checks whether losses are survived, where that is asked for."""
    if not case.policy.survive:
        return None
    return Failover(_started(case.anywhere), protected(case.formulation.guests), case.policy.seed)


def _started(formulation: Formulation) -> Problem:
    """The problem where a guest may also be on nodes to which it cannot go while it runs: it would start there."""
    problem, pins = formulation.problem, formulation.rules.pins()
    rows, eligible = list(problem.eligibility), problem.eligible.copy()
    for guest, vmid in enumerate(map(int, formulation.guests["vmid"])):
        barred = formulation.barred.get(vmid, {})
        more = {node for node, why in barred.items() if only_while_running(why)} & pins.get(vmid, set(barred))
        if more:
            rows.append(rows[eligible[guest]] | np.isin(formulation.nodes, list(more)))
            eligible[guest] = len(rows) - 1
    return problem.replace(eligibility=np.array(rows, dtype=bool).reshape(-1, problem.nodes), eligible=eligible)


def told(plan: Plan, formulation: Formulation, check: Failover | None, assignment: Ints, plain: Ints) -> Plan:
    """The plan of an assignment with what it says of the loss of nodes; as it is where that was not asked for.

    `plain`: what would have been planned without headroom.
    """
    if check is None:
        return plan
    problem = formulation.problem
    before, after = check.losses(problem.origin), check.losses(assignment)
    cured = _cured(plan, formulation, check, assignment, {loss.node for loss in before} - {loss.node for loss in after})
    waves = tuple(tuple(_because(m, cured) for m in wave) for wave in plan.waves)
    survival = Survival(
        _named(formulation, check, before), _named(formulation, check, after), _impossible(formulation, check)
    )
    status = PlanStatus.FEASIBLE if after and plan.status is PlanStatus.OPTIMAL else plan.status
    notes = (*plan.notes, *_notes(formulation, check), *_price(formulation, assignment, plain))
    return replace(plan, status=status, waves=waves, survival=survival, notes=notes)


def _because(migration: Migration, reasons: Mapping[int, str]) -> Migration:
    """The migration with a reason of its guest; a stop on the way has its own."""
    return migration if migration.bypass else replace(migration, reason=reasons.get(migration.vmid, migration.reason))


def _cured(plan: Plan, formulation: Formulation, check: Failover, assignment: Ints, gained: set[int]) -> dict[int, str]:
    """vmid to why a guest is migrated that repairs no rule, where losses are survived that were not."""
    if not gained:
        return {}
    result = {}
    if plan.spread.after >= plan.spread.before:  # nothing is for the balance
        names = " or ".join(formulation.nodes[node] for node in sorted(gained))
        result = {m.vmid: f"headroom: so that the loss of {names} is survived" for m in plan.migrations}
    for guest, node in headroom.cured(formulation.problem, check, assignment, gained).items():
        result[formulation.vmid(guest)] = f"headroom: without it the loss of {formulation.nodes[node]} is not survived"
    repairs = {m.vmid for m in plan.migrations if not m.bypass and not m.reason.startswith("balance")}
    return {vmid: reason for vmid, reason in result.items() if vmid not in repairs}


def words(plan: Plan) -> list[str]:
    """What a person should know of it, in lines; none where it was not asked for."""
    survival = plan.survival
    if survival is None:
        return []
    if NONE in plan.notes:
        return ["no loss of a node has to be survived: no running guest is managed by HA"]
    before, after = ({lost.node: lost for lost in losses} for losses in (survival.before, survival.after))
    gained = [node for node in before if node not in after]
    more = f" (before the plan not the loss of {', '.join(gained)})" if gained else ""
    if not after:
        return [f"survives the loss of any one node{more}"]
    lines = [_line(lost, lost.node in before) for lost in after.values()]
    return [*lines, f"survives the loss of any other node{more}", *survival.impossible]


def _line(lost: Lost, already: bool) -> str:
    shown = [f"{vmid} ({name})" if name else str(vmid) for vmid, name in list(lost.guests.items())[:SHOWN]]
    more = f" and {len(lost.guests) - SHOWN} more" if len(lost.guests) > SHOWN else ""
    since = "; it is not today" if already else ""
    ruled = f" (rules leave none for {', '.join(map(str, lost.by_rules[:SHOWN]))})" if lost.by_rules else ""
    if not lost.proven:
        return f"whether the loss of {lost.node} is survived is not known{since}: no place was found for HA guests " + (
            f"{', '.join(shown)}{more}, which need {lost.missing_mib / GIB:.1f} GiB"
        )
    return (
        f"the loss of {lost.node} is not survived{since}: HA guests {', '.join(shown)}{more} find no place for "
        f"{lost.missing_mib / GIB:.1f} GiB{ruled}"
    )


def _named(formulation: Formulation, check: Failover, losses: Sequence[Loss]) -> tuple[Lost, ...]:
    return tuple(
        Lost(
            node=formulation.nodes[loss.node],
            guests={formulation.vmid(g): str(formulation.guests["name"].iloc[g]) for g in loss.guests},
            missing_mib=check.memory(loss),
            proven=loss.proven,
            by_rules=tuple(formulation.vmid(g) for g in loss.ruled),
        )
        for loss in losses
    )


def _impossible(formulation: Formulation, check: Failover) -> tuple[str, ...]:
    """Why no plan survives every loss, where that is easy to show."""
    found = headroom.impossible(formulation.problem, check)
    result = []
    if found:
        free, needed, others = (amount / GIB for amount in found)
        result.append(
            f"proven: wherever guests are, not every loss is survived: {free:.1f} GiB are free on all nodes together, "
            f"so {needed:.1f} GiB on them would have to be taken by guests without HA, of which there are {others:.1f}"
        )
    for guest in headroom.lonely(check):
        where = " or ".join(formulation.nodes[n] for n in headroom.homes(check, guest)) or "no node"
        result.append(f"proven: {explain.guest(formulation, guest)} finds no other place: it may be on {where} only")
    return tuple(result)


def _price(formulation: Formulation, assignment: Ints, plain: Ints) -> tuple[str, ...]:
    """What headroom costs besides balance."""
    left, without = (len(violations(formulation.problem, at)) for at in (assignment, plain))
    if left <= without:
        return ()
    return (
        f"{left - without} broken rules are not repaired, because then a loss would not be survived that is today "
        "(without --survive they are)",
    )


def _notes(formulation: Formulation, check: Failover) -> tuple[str, ...]:
    if not check.protected.any():
        return (NONE,)
    local = int((formulation.guests["disk_mib"].to_numpy() > 0)[check.protected].sum())
    if not local:
        return ()
    return (
        f"{local} HA guests have local disks: they survive the loss of their node only where these are replicated, "
        "which is not looked at",
    )
