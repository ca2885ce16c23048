"""Owns the explanation of one guest: what it needs, which rules it is in, and why a plan has it where it does."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from planner import demands, verdict
from planner.case import Case
from planner.cluster import Cluster
from planner.errors import InputError
from planner.plan import Plan, PlanStatus
from planner.policy import Unless
from planner.question import SAME, Question, about
from planner.rule import Kind, Rule
from planner.rules import NodeState, Rules
from planner.verdict import Ground, Verdict
from solvers.problem import Ints
from solvers.requirement import guests_of

MCPU = 1000
"""Milli-CPU of a vCPU."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One guest under one plan; its JSON is described by `planner/schemas/explanation.json`."""

    vmid: int
    name: str
    type: str
    status: str
    node: str
    """Where it is now."""
    target: str
    """Where the plan has it."""
    memory_mib: int
    """Configured."""
    memory_used_mib: int
    vcpus: float
    local_disk_mib: int
    """Disks that a migration would copy."""
    along: tuple[str, ...] = ()
    """Guests that travel with it, and are counted with it in all that follows."""
    rules: tuple[str, ...] = ()
    """Rules that it is in, with the guests and nodes they are about."""
    fixed: str = ""
    """Why it is not migrated, whatever a plan would gain; empty when it may be."""
    why: str = ""
    """Why it goes, or stays."""
    solver: str = ""
    spread: float | None = None
    """Percentage points that the plan reaches, over the nodes whose load something can change; None for a guest that
    is not planned with."""
    spread_without: float | None = None
    """Percentage points if it, with those that go along, were left where it is; None when it stays."""
    verdicts: tuple[Verdict, ...] = ()
    """One per node."""

    def _repr_html_(self) -> str:
        from planner import display, report_why

        return display.printed(lambda out: report_why.explanation(self, out))

    def to_json(self) -> str:
        """All of it, as JSON."""
        return json.dumps(asdict(self), indent=2)


def explain_guest(case: Case, plan: Plan, vmid: int) -> Explanation:
    """Why a plan has a guest where it does, and why not elsewhere: judged where the rest of the plan is carried out.

    InputError when there is no such guest, or the plan is of another cluster.
    """
    said = _facts(case, vmid)
    if said.why:
        return said
    formulation = case.formulation
    guest = [int(v) for v in formulation.guests["vmid"]].index(vmid)
    question = Question(about(formulation, guest), guest, reached(case, plan), demands.read(formulation))
    verdicts = tuple(verdict.judge(question, str(name)) for name in case.cluster.nodes["node"])
    stays = question.target == question.home
    without = None if stays else question.spread(question.home)
    return replace(
        said,
        target=formulation.nodes[question.target],
        local_disk_mib=int(formulation.guests["disk_mib"].iloc[guest]),
        along=tuple(question.called(mate) for mate in map(int, question.bundle) if mate != guest),
        rules=tuple(_rules(case, guest)),
        fixed=formulation.fixed.get(vmid, ""),
        why=_why_stays(question, plan, verdicts) if stays else _why_goes(question, plan, without or 0.0),
        solver=plan.solver,
        spread=question.planned_spread,
        spread_without=without,
        verdicts=verdicts,
    )


def reached(case: Case, plan: Plan) -> Ints:
    """(g,) where all guests are once a plan is carried out. InputError for a plan of another cluster."""
    formulation = case.formulation
    index = {int(vmid): guest for guest, vmid in enumerate(formulation.guests["vmid"])}
    result = np.array(formulation.problem.origin)
    for migration in plan.migrations:
        if migration.vmid not in index or migration.target not in formulation.nodes:
            raise InputError(
                f"the plan migrates guest {migration.vmid} to {migration.target}, and one of the two is not there or "
                "not planned with: make a new plan"
            )
        result[index[migration.vmid]] = formulation.nodes.index(migration.target)
    return result


def check_vmid(cluster: Cluster, vmid: int | str) -> int:
    """The vmid, which may be given as text. InputError when there is no such guest."""
    text = str(vmid)
    if text.isdecimal() and int(text) in set(cluster.guests["vmid"]):
        return int(text)
    raise InputError(f"there is no guest {vmid} in {cluster.snapshot.origin} (or the token may not see it)")


def _facts(case: Case, vmid: int) -> Explanation:
    """What is known of a guest without a plan; `why` where nothing can be planned with it."""
    vmid = check_vmid(case.cluster, vmid)
    row: Any = next(case.cluster.guests[case.cluster.guests["vmid"] == vmid].itertuples())
    used = 0 if row.status == "stopped" else int(row.memory_used_mib)
    return Explanation(
        vmid, str(row.name), str(row.type), str(row.status), str(row.node), str(row.node),
        memory_mib=int(row.memory_mib), memory_used_mib=used, vcpus=int(row.cpu_mcpu) / MCPU,
        local_disk_mib=int(row.disk_mib), why=_left_out(case, bool(row.template), str(row.node)),
    )  # fmt: skip


def _left_out(case: Case, template: bool, node: str) -> str:
    """Why a guest is no part of what is planned; empty when it is."""
    if template:
        return "it is a template, which is never migrated and causes no load"
    if case.rules.states[node] is NodeState.OFFLINE:
        return f"its node {node} is offline: it and its guests are left alone"
    return "" if node in case.formulation.nodes else f"the figures of its node {node} are not known"


def _rules(case: Case, guest: int) -> Iterable[str]:
    """The rules that a guest is in, as they are written, and those that have no effect on it today."""
    formulation = case.formulation
    vmid = formulation.vmid(guest)
    asked = case.rules.also(case.ledger, ())
    found = [d for d in demands.read(replace(formulation, rules=asked)) if d.rule]
    for demand in found:
        if demand.rule and guest in guests_of(demand.requirement):
            gave_way = "" if demand.rule in formulation.rules.items else " (gave way, wholly or in part)"
            yield f"{demand.says}{gave_way}"
    spoken = {id(demand.rule) for demand in found if guest in guests_of(demand.requirement)}
    for rule in asked.items:
        if vmid in rule.vmids and id(rule) not in spoken:
            yield f"{rule.name}: {_without_effect(asked, rule, formulation.fixed.get(vmid, ''))}"


def _without_effect(rules: Rules, rule: Rule, fixed: str) -> str:
    if rule.kind is Kind.IGNORE:
        unless = "" if rule.unless is Unless.NEVER else f" (unless: {rule.unless})"
        return f"it stays where it is{unless}"
    if rule.kind is Kind.PIN:
        return f"on {' or '.join(sorted(rule.nodes)) or 'no node'}; without effect while it is fixed ({fixed})"
    return "without effect: there are no other guests that it is about"


def _why_goes(question: Question, plan: Plan, without: float) -> str:
    """The reason of its migration, and what that gains."""
    vmid = question.formulation.vmid(question.guest)
    reason = next(m.reason for m in reversed(plan.migrations) if m.vmid == vmid)
    gain = f"without it the spread would be {without:.2f} instead of {question.planned_spread:.2f}"
    return f"{reason}; {gain if abs(without - question.planned_spread) >= SAME else 'no gain in spread by itself'}"


def _why_stays(question: Question, plan: Plan, verdicts: Iterable[Verdict]) -> str:
    """The first thing that keeps a guest where it is."""
    formulation = question.formulation
    vmid = formulation.vmid(question.guest)
    for stranded in plan.stranded:
        if stranded.vmid == vmid:
            return f"it should go, but {stranded.reason}"
    for mate in (question.guest, *map(int, question.bundle)):
        if reason := formulation.fixed.get(formulation.vmid(mate)):
            who = "it" if mate == question.guest else f"{question.called(mate)}, which goes along,"
            return f"{who} is fixed: {reason}"
    open_nodes = [item for item in verdicts if item.ground in (Ground.POSSIBLE, Ground.UNREPAIRED, Ground.LIMIT)]
    if not open_nodes:
        return "no other node can take it"
    better = [item for item in open_nodes if question.is_better_on(formulation.nodes.index(item.node))]
    if not better:
        return "the plan would be no better with it on another node"
    why = _why_not_better(plan, better)
    return f"the plan would be better with it on {better[0].node}, but {why}"


def _why_not_better(plan: Plan, better: Iterable[Verdict]) -> str:
    """Why a plan leaves out what would make it better."""
    if plan.repair_only:
        return "only rules were to be repaired"
    if plan.drained:
        return f"only guests of {', '.join(plan.drained)} were to be migrated"
    if plan.status is PlanStatus.NO_ACTION or plan.balanced:
        return f"the spread is within the tolerated {plan.balanciness:g} points"
    if all(item.ground is Ground.LIMIT for item in better):
        return "no more migrations or GiB are allowed"
    if plan.survival is not None:
        return "that the loss of a node is survived comes before the spread"
    return f"{plan.solver} did not find that"
