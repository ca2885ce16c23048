"""Owns what a look says of a cluster, of a plan for it, and of the run that carried that out."""

from collections.abc import Mapping
from dataclasses import replace

from planner.choices import Resource, RunMode
from planner.errors import Locked, NoQuorum, PlannerError
from planner.gates import Scene
from planner.look import GateName, Load, Look, Outcome, Refusal
from planner.plan import Plan, PlanStatus
from planner.run import RunRecord, Step

NOTHING = "no plan within the rules and limits is better than what is"
NONE_FOUND = "no plan was found in time (policy.time_limit)"
HOLDS = ("stay where they are", "may not go everywhere", "left alone", "no way to it")
"""Words of a plan's notes that say what keeps guests where they are; others are about settings without effect."""


def seen(scene: Scene, name: str) -> Look:
    """A look at a cluster of some name, of which nothing has come yet."""
    plan = scene.plan
    look = Look(
        at=scene.at, cluster=name, mode=scene.settings.mode, outcome=Outcome.BALANCED, above=scene.above > 0,
        nodes=len(scene.cluster.nodes), guests=len(scene.cluster.guests), spread_before=plan.spread.before,
        violations_before=plan.violations_before, loads=_loads(plan, {}),
    )  # fmt: skip
    return with_plan(look, plan)


def with_plan(look: Look, plan: Plan) -> Look:
    """The look with what a plan would reach, which may be one that was made before."""
    now = {(load.node, load.resource): load.before for load in look.loads}
    return replace(
        look, spread_after=plan.spread.after, bound=plan.spread.bound, solver=plan.solver, status=plan.status.value,
        solver_seconds=plan.seconds, migrations=len(plan.migrations), gib=plan.moved_gib,
        violations_after=plan.violations_after, loads=_loads(plan, now),
    )  # fmt: skip


def _loads(plan: Plan, now: Mapping[tuple[str, Resource], float]) -> tuple[Load, ...]:
    return tuple(
        Load(node.node, resource, now.get((node.node, resource), node.load_before[resource]), node.load_after[resource])
        for node in plan.nodes
        for resource in plan.resources
    )


def nothing(plan: Plan) -> tuple[Refusal, ...]:
    """A refusal where there is nothing to carry out."""
    return () if plan.migrations else (Refusal(GateName.PLAN, "; ".join([_none_better(plan), *_causes(plan)[:1]])),)


def _none_better(plan: Plan) -> str:
    if plan.status is PlanStatus.UNKNOWN:
        return NONE_FOUND
    return NOTHING + ("" if plan.spread.bound is None else f" (bound {plan.spread.bound:.2f} points)")


def _causes(plan: Plan) -> list[str]:
    """What keeps the loads as they are, what weighs most first."""
    nodes = dict.fromkeys(each.node for each in plan.stuck)
    stuck = [f"nothing can change the load of {', '.join(nodes)}"] if nodes else []
    return stuck + [note for note in plan.notes if any(words in note for words in HOLDS)]


def refused(look: Look, refusals: tuple[Refusal, ...]) -> Look:
    """The look where gates say no."""
    return replace(look, outcome=Outcome.REFUSED, why=refusals[0].why, refusals=refusals)


def of_run(look: Look, record: RunRecord, error: PlannerError | None) -> Look:
    """The look whose plan was carried out; `error` is what ended the run, or the first thing that was wrong in it."""
    told = _told(look, record)
    if told.left + told.failed == 0:
        return replace(told, outcome=Outcome.DONE)
    if told.failed or (error is not None and not isinstance(error, (Locked, NoQuorum))):
        return replace(told, outcome=Outcome.PARTLY if told.done else Outcome.FAILED)
    if told.done:
        return replace(told, outcome=Outcome.CUT)
    return refused(told, (Refusal(GateName.PLAN, record.why),))


def of_approved(record: RunRecord, error: PlannerError | None, now: float) -> Look:
    """The look of a run that a person has approved of, and that has ended."""
    plan = record.plan
    look = Look(
        at=record.began_at, seconds=now - record.began_at, cluster=record.cluster, mode=RunMode.APPROVE,
        outcome=Outcome.DONE, above=True, nodes=len(plan.nodes), guests=len(plan.assumes.guests),
        spread_before=plan.spread.before, violations_before=plan.violations_before,
    )  # fmt: skip
    return of_run(with_plan(look, plan), record, error)


def settled(look: Look, record: RunRecord) -> Look:
    """The look of a run that nobody looked after until now, and that is over."""
    told = _told(look, record)
    many = f"{told.done} of {record.size} migrations are done"
    why = f"run {record.id} was interrupted, and is over now: {many}"
    return replace(told, outcome=Outcome.PARTLY if told.failed else Outcome.CUT, why=why)


def left(look: Look, record: RunRecord, why: str) -> Look:
    """The look whose run is left to the cluster."""
    return replace(_told(look, record), outcome=Outcome.CUT, why=why)


def _told(look: Look, record: RunRecord) -> Look:
    counts = record.counts
    unsure = sum(counts.get(step, 0) for step in (Step.FAILED, Step.UNKNOWN, Step.CHECKED, Step.STARTED))
    skipped = counts.get(Step.PLANNED, 0) + counts.get(Step.SKIPPED, 0)
    done = counts.get(Step.DONE, 0)
    return replace(look, run=record.id, done=done, failed=unsure, left=skipped, why=record.why)
