"""Owns the way back of a run: what it really did, each migration turned round, by the cluster as it is now."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from planner import agenda, clash, explain, ha, waves
from planner.case import Case
from planner.draft import draw_up
from planner.errors import StalePlan, UsageError
from planner.formulate import Formulation
from planner.plan import ROLLBACK, Migration, Plan, PlanStatus
from planner.rule import Kind
from planner.rules import NodeState
from planner.run import RunRecord, Step
from planner.schedule import Reach
from planner.timetable import Limits
from solvers import Result, Status, check
from solvers.check import Violation
from solvers.problem import Ints

UNSETTLED = (Step.CHECKED, Step.STARTED, Step.UNKNOWN)


def plan_back(record: RunRecord, case: Case, earlier: Iterable[RunRecord] = ()) -> Plan:
    """The plan that takes back what a run has done and `earlier` ways back have not, of a case with today's cluster.

    It passes through the states of the cluster that the run has passed through, and may break again what that has
    repaired, which its `lifted` names. UsageError when there is nothing to take back, or it is not known what became of
    a migration; StalePlan when a guest is no longer where the run has brought it, or may not go back.
    """
    open_ones = [entry.migration for entry in record.entries if entry.step in UNSETTLED]
    if open_ones:
        raise UsageError(
            f"what became of guest {open_ones[0].vmid} in run {record.id} is not known: "
            f"`proxlb-plan resume {record.id}` or `proxlb-plan abort {record.id}` finds out"
        )
    done = _still_done(record, earlier)
    if not done:
        raise UsageError(f"run {record.id} has migrated nothing that is not taken back: there is nothing to do")
    _check_places(record, case, done)
    limits = waves.limits(record.plan.schedule)
    back = waves.way_back(done, limits, f"takes back run {record.id}")
    return _drawn_up(case, back, done, limits)


def _still_done(record: RunRecord, earlier: Iterable[RunRecord]) -> list[Migration]:
    """What a run has done, less what ways back of it have undone: the last trip of a guest first."""
    done = [entry.migration for entry in record.entries if entry.step is Step.DONE]
    for entry in (entry for back in earlier for entry in back.entries if entry.step is Step.DONE):
        trip = (entry.migration.vmid, entry.migration.target, entry.migration.source)
        undone = [m for m in done if (m.vmid, m.source, m.target) == trip]
        done = [m for m in done if m is not (undone[-1] if undone else None)]
    return done


def _check_places(record: RunRecord, case: Case, done: Sequence[Migration]) -> None:
    guests = case.cluster.guests
    places = dict(zip(map(int, guests["vmid"]), map(str, guests["node"]), strict=True))
    planned = set(map(int, case.formulation.guests["vmid"]))
    for vmid, node in {m.vmid: m.target for m in done}.items():
        if vmid not in places:
            raise StalePlan(f"guest {vmid} is gone: run {record.id} cannot be taken back")
        if places[vmid] != node:
            raise StalePlan(
                f"guest {vmid} is on {places[vmid]}, run {record.id} left it on {node}: it cannot be taken back"
            )
        if vmid not in planned:
            raise StalePlan(f"guest {vmid} is on a node that is ignored or away: run {record.id} cannot be taken back")


def _drawn_up(case: Case, back: waves.Waves, done: Sequence[Migration], limits: Limits) -> Plan:
    """The plan with its figures, by today's loads."""
    problem, migrations = case.formulation.problem, tuple(migration for wave in back for migration in wave)
    assignment = case.formulation.after(migrations)
    spread, score = problem.spread(assignment), check.score(problem, assignment)
    result = Result(ROLLBACK, Status.FEASIBLE, assignment, score, spread, None, 0.0, 0)
    plan = draw_up(case, result, PlanStatus.FEASIBLE, Reach(assignment, (), ()), clash.NONE)
    lifted = _lifted(case, assignment)
    schedule = agenda.figures(case.formulation, back, limits, "as planned for the way there")
    there = waves.cut(waves.timed(waves.alone(done), limits), limits, lambda *_: True)
    return replace(
        plan,
        waves=back,
        schedule=schedule,
        rollback=there,
        stranded=(),
        cost_bound=None,
        cheapest=None,
        lifted=lifted,
        max_migrations=None,
        max_gib=None,
    )


def _lifted(case: Case, assignment: Ints) -> tuple[str, ...]:
    """Names of rules that hold now and will not. StalePlan for what neither Proxmox VE nor a node stands."""
    formulation, names = case.formulation, set[str]()
    of_ha = {rule.name for rule in ha.read(case.cluster.snapshot, lambda note: None)}
    for item in check.broken(formulation.problem, assignment):
        broken = set(_names(formulation, item))
        if not broken or broken & of_ha:
            raise StalePlan(f"it cannot be taken back: {explain.violation(formulation, item)}; make a new plan")
        names |= broken
    return tuple(sorted(names))


def _names(formulation: Formulation, item: Violation) -> Iterator[str]:
    """Rules of which a violation is one; none where it is about room, or a node that takes no guests."""
    match item.rule:
        case check.Rule.APART:
            yield formulation.apart[item.index]
        case check.Rule.TOGETHER:
            yield formulation.together[item.index]
        case check.Rule.ELIGIBLE if formulation.rules.states[formulation.nodes[item.node]] is NodeState.BALANCED:
            vmid = formulation.vmid(item.guests[0])
            yield from (rule.name for rule in formulation.rules.items if rule.kind is Kind.PIN and vmid in rule.vmids)
