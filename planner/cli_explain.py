"""Owns the command explain: under which plan a guest is explained, and what is asked first."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.flags import option
from planner.options import SolverName, TableOrJson, with_session

if TYPE_CHECKING:
    from planner.cluster import Cluster
    from planner.plan import Plan
    from planner.session import Session

VmidArgument = Annotated[int, typer.Argument(metavar="VMID", help="The guest to explain.")]
PlanOption = Annotated[Path | None, option("--plan", "A plan written with --out.", "plan now")]
SolverOption = Annotated[SolverName, option("--solver", "Who plans, without --plan.", SolverName.CPSAT)]
OutputOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]


@with_session
def explain(
    session: Any,
    vmid: VmidArgument,
    plan_file: PlanOption = None,
    solver: SolverOption = SolverName.CPSAT,
    output: OutputOption = TableOrJson.TABLE,
) -> None:
    """Show why a guest goes where a plan has it, or stays, and what speaks against each other node. Changes nothing."""
    from planner import report, report_why
    from planner.planning import prepare
    from planner.why import check_vmid, explain_guest

    cluster = session.cluster()
    check_vmid(cluster, vmid)
    cluster = _informed(session, cluster, vmid)
    if plan_file is None:
        from planner import progress

        plan = progress.plan(session, cluster, solver)
    else:
        session, plan = _planned(session, cluster, plan_file)
    said = explain_guest(prepare(cluster, session.policy, session.settings, session.apply), plan, vmid)
    if output is TableOrJson.JSON:
        print(said.to_json())
    else:
        report_why.explanation(said, report.console(), of_file=plan_file is not None)


def _planned(session: "Session", cluster: "Cluster", file: Path) -> "tuple[Session, Plan]":
    """A plan from a file, and the session with what it was made for. StalePlan when that is so no longer."""
    from planner.assumptions import check_assumptions
    from planner.plan import load

    plan = load(file)
    check_assumptions(plan, cluster, session.settings)
    return session.judging(plan), plan


def _informed(session: "Session", cluster: "Cluster", vmid: int) -> "Cluster":
    """The cluster with what Proxmox VE says about migrating this guest and those that belong with it."""
    from dataclasses import replace

    from planner import preconditions
    from planner.rule import Kind
    from planner.rules import read

    if session.source is None:
        return cluster
    together = (rule.vmids for rule in read(cluster, session.settings).items if rule.kind is Kind.TOGETHER)
    wanted = {vmid}.union(*(vmids for vmids in together if vmid in vmids))
    guests = preconditions.askable(cluster)
    answers = preconditions.ask(session.source, guests[guests["vmid"].isin(wanted)], cluster.snapshot.answers)
    return replace(cluster, snapshot=preconditions.with_answers(cluster.snapshot, answers))
