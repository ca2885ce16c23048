"""Owns the command report: which plan is shown on a page, and where that is written."""

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.errors import Exit, InputError
from planner.flags import option
from planner.options import SolverName, with_choice

if TYPE_CHECKING:
    from planner.cluster import Cluster
    from planner.frontier import Frontier
    from planner.html import Background
    from planner.options import Choice
    from planner.plan import Plan
    from planner.session import Session

STDOUT = Path("-")

HtmlOption = Annotated[Path, option("--html", "Page to write; - is stdout.", "required", metavar="FILE")]
PlanOption = Annotated[Path | None, option("--plan", "A plan written with --out.", "plan now")]
SolverOption = Annotated[SolverName, option("--solver", "Who plans, without --plan.", SolverName.CPSAT)]
FrontierOption = Annotated[
    int | None, option("--frontier", "Also what each limit up to N migrations buys.", "no", metavar="N", min=1)
]


@with_choice
def report(
    choice: Any,
    html: HtmlOption,
    plan_file: PlanOption = None,
    solver: SolverOption = SolverName.CPSAT,
    frontier: FrontierOption = None,
) -> None:
    """Write a plan as one page for people: loads, migrations, timeline, rules. Changes nothing."""
    from planner.html import Background, render
    from planner.plan import load

    _check_place(html)
    if plan_file is not None and frontier is None and choice.file is None and choice.demo is None:
        plan, curve, about = load(plan_file), None, Background()
    else:
        plan, curve, about = _with_cluster(choice, plan_file, solver, frontier)
    _put(render(plan, curve, about), html)
    if plan.status.value == "infeasible":
        raise typer.Exit(Exit.INFEASIBLE)


def _with_cluster(
    choice: "Choice", plan_file: Path | None, solver: SolverName, most: int | None
) -> "tuple[Plan, Frontier | None, Background]":
    """A plan of a file that still holds, or one that is made now; what limits buy; what is known of the cluster."""
    from planner import progress
    from planner.html import background
    from planner.session import open_session

    with closing(open_session(*choice)) as session:
        cluster = session.cluster()
        if plan_file is None:
            plan, about = progress.plan(session, cluster, solver), background(cluster, session.policy)
        else:
            plan, about = _saved(session, cluster, plan_file), background(cluster)
            session = session.judging(plan)
        return plan, None if most is None else _frontier(session, cluster, most), about


def _frontier(session: "Session", cluster: "Cluster", most: int) -> "Frontier":
    """What each limit up to so many migrations buys, whatever the plan's own limit is."""
    from dataclasses import replace

    from planner import progress
    from planner.frontier import TIMES, make_frontier
    from planner.planning import prepare

    policy = replace(session.policy, max_migrations=most)
    with progress.front(TIMES * policy.time_limit) as told:
        return make_frontier(prepare(cluster, policy, session.settings, session.apply), told=told)


def _saved(session: "Session", cluster: "Cluster", file: Path) -> "Plan":
    """A plan from a file. StalePlan when it does not hold for the cluster, which the page would be about."""
    from planner.assumptions import check_assumptions
    from planner.plan import load

    plan = load(file)
    check_assumptions(plan, cluster, session.settings)
    return plan


def _check_place(path: Path) -> None:
    """InputError before anything is planned that could not be written then."""
    if path == STDOUT:
        return
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a directory; name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no directory {path.parent}; make it first")


def _put(page: str, path: Path) -> None:
    from planner.snapshot import write

    if path == STDOUT:
        sys.stdout.buffer.write(page.encode())  # the page says that it is UTF-8, whatever the terminal is
        return
    write(path, page.encode())
    print(f"wrote {path}: {len(page.encode()) / 1000:.0f} kB", file=sys.stderr, flush=True)
