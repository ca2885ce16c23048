"""Owns the commands around a run: apply, resume, abort, status, history, rollback; in which order things are asked."""

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli_site import agreed, carry_out, check_kept, counted, of_runs, on_site, opened
from planner.errors import Exit, UsageError
from planner.flags import SCHEDULE, ConfigOption, option
from planner.options import SolverName, TableOrJson, with_apply, with_json, with_run

if TYPE_CHECKING:
    from planner.options import Choice
    from planner.run import RunRecord
    from planner.runs import Runs

LARGEST = 2**63 - 1
"""No run has a larger number."""
OutputOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]


def _run(text: str) -> Any:
    """The argument that names a run."""
    return typer.Argument(metavar="[RUN]", help=text, min=1, max=LARGEST, show_default=False)


RunArgument = Annotated[int | None, _run("Number of the run. \\[default: the newest that is not over]")]
RevokedRun = Annotated[
    int, typer.Argument(metavar="RUN", help="Number of the run.", min=1, max=LARGEST, show_default=False)
]
AnyRun = Annotated[int | None, _run("Number of the run. \\[default: the newest]")]


SolverOption = Annotated[SolverName, option("--solver", "Who plans.", SolverName.CPSAT)]
YesOption = Annotated[bool, option("--yes", "Do not ask.", "no")]
DryOption = Annotated[bool, option("--dry-run -d", "Show what would be carried out, and end.", "no")]
ShownOption = Annotated[TableOrJson, option("--output", "How --dry-run shows it.", TableOrJson.TABLE)]
PlanArgument = Annotated[Path | None, typer.Argument(metavar="[PLAN]", help="A plan written with --out.")]


@with_apply
def apply(
    choice: Any, plan_file: PlanArgument = None, solver: SolverOption = SolverName.CPSAT, yes: YesOption = False,
    dry_run: DryOption = False, output: ShownOption = TableOrJson.TABLE,
) -> None:  # fmt: skip
    """Carry out a plan, side by side as far as it allows; without a file: plan, show, ask."""
    from planner import conduct, progress, report
    from planner.assumptions import check_real
    from planner.plan import load

    _check_limits(choice, plan_file)
    if dry_run:
        return _show(choice, plan_file, solver, output)
    if output is TableOrJson.JSON:
        raise UsageError("--output json shows what would be carried out: say --dry-run as well, or ask `history`")
    with on_site(choice, yes) as site:
        with site.runs.lock(site.cluster):  # who is at work is known before anybody plans
            pass
        session = site.session
        chosen = load(plan_file) if plan_file else progress.plan(session, session.cluster(), solver)
        check_real(chosen)
        report.plan(chosen, report.console())
        if not chosen.migrations:
            raise typer.Exit(Exit.INFEASIBLE if chosen.status.value == "infeasible" else Exit.OK)
        if agreed(yes, f"Carry out {counted(len(chosen.migrations))}?"):
            with conduct.at_work(site) as work:
                carry_out(site, work, work.begin(chosen))


def _show(choice: "Choice", plan_file: Path | None, solver: SolverName, output: TableOrJson) -> None:
    """What would be carried out. StalePlan where a file no longer holds."""
    from planner import progress, report
    from planner.assumptions import check_assumptions, check_real
    from planner.plan import load
    from planner.session import open_session

    with closing(open_session(*choice)) as session:
        session.writable()
        cluster = session.cluster()
        plan = load(plan_file) if plan_file else progress.plan(session, cluster, solver)
        check_real(plan)
        check_assumptions(plan, cluster, session.settings)
    if output is TableOrJson.JSON:
        print(plan.to_json())
    else:
        report.plan(plan, report.console())
    if plan.status.value == "infeasible":
        raise typer.Exit(Exit.INFEASIBLE)


@with_run
def resume(choice: Any, run: RunArgument = None, yes: YesOption = False) -> None:
    """Go on with a run that was stopped or interrupted, once it is found out what became of what was under way."""
    from planner import conduct, report, report_run, runs, scheduled
    from planner.config import load

    check_kept(choice, "resume")
    settings = load(choice.config, choice.flags).run
    with on_site(choice, yes) as site:
        item = site.runs.chosen(run, site.cluster)
        runs.check_resumable(site.runs, item)
        planned = item.kind == "scheduled"  # and is bound as scheduled looks are
        site = scheduled.bound(settings, site) if planned else site
        with scheduled.at_work(settings, site) if planned else conduct.at_work(site) as work:
            item = work.settle(work.take_up(item.id))
            work.check_open(item.id)  # it may have been told to end meanwhile
            report_run.steps(item, report.console())
            if agreed(yes, f"Go on with run {item.id}?"):
                if planned:
                    scheduled.check_closed(settings, site, item)
                carry_out(site, work, work.reopen(item))


@with_run
def abort(choice: Any, run: RunArgument = None) -> None:
    """End a run for good: one that is alive starts no more, of one that is not it is found out how far it is."""
    from planner import conduct, report, report_run, runs
    from planner.run import RunState
    from planner.state import cluster_name

    check_kept(choice, "abort")
    with opened(choice, yes=True) as (session, there):
        # A run that is alive is reached by the journal alone: the cluster may be what is in trouble.
        item = there.chosen(None, cluster_name(session.writable())) if run is None else there.journal.run(run)
        runs.check_abortable(item)
        if item.state is RunState.PROPOSED:
            _refuse(there, item, conduct.wall(session.clock)())
            return
        item = conduct.stopped(there, item, session.clock)
        if item.state in runs.OPEN:
            there.chosen(item.id, cluster_name(session.writable()))
        with conduct.ending(conduct.Site(session, there, item.cluster, conduct.wall(session.clock)), item) as work:
            ended = work.abort(item.id)
    report_run.report(ended.record, report.console())
    raise typer.Exit(ended.exit_code)


def _refuse(there: "Runs", item: "RunRecord", at: float) -> None:
    """A run that was proposed is not carried out, unless it is already."""
    try:
        there.journal.withdraw(item.id, at, "refused")
    except ValueError:
        raise UsageError(f"run {item.id} is no longer proposed: see `proxlb-plan status {item.id}`") from None
    print(f"run {item.id} is withdrawn")


@with_run
def rollback(choice: Any, run: RevokedRun, yes: YesOption = False) -> None:
    """Take back what a run has really done: show the way back, ask, carry it out."""
    from dataclasses import replace

    from planner import conduct, report, runs
    from planner.planning import prepare
    from planner.rollback import plan_back

    check_kept(choice, "rollback")
    with on_site(choice, yes) as site:
        item = site.runs.chosen(run, site.cluster)
        runs.check_revocable(site.runs, item)
        now = site.session.judging(item.plan)
        cluster = replace(now.cluster(), moved=())  # what was just migrated is to go back
        # Nodes are as they are said to be today: whatever was drained may take its guests again.
        case = prepare(cluster, now.policy, site.session.settings, now.apply)
        back = plan_back(item, case, site.runs.journal.ways_back(item.id))
        report.plan(back, report.console())
        if agreed(yes, f"Take back run {item.id} with {counted(len(back.migrations))}?"):
            with conduct.at_work(site) as work:
                work.check_unchanged(item)
                carry_out(site, work, work.begin(back, "rollback", item.id))


@with_json
def status(run: AnyRun = None, config: ConfigOption = None, output: OutputOption = TableOrJson.TABLE) -> None:
    """Show a run: how far each migration is, whether its process is alive, what to do next. Asks no cluster."""
    from planner import report, report_run, runs

    with runs.reading(of_runs(config)) as there:
        if there is None:
            raise UsageError(runs.NO_RUN)
        item = there.newest() if run is None else there.journal.run(run)
        alive = there.is_alive(item)
    if output is TableOrJson.JSON:
        print(json.dumps(report_run.status_json(item, alive=alive), indent=2))
    else:
        report_run.status(item, report.console(), alive=alive)


LimitOption = Annotated[int, option("--limit", "The newest so many.", "20", min=1, max=LARGEST)]


@with_json
def history(config: ConfigOption = None, limit: LimitOption = 20, output: OutputOption = TableOrJson.TABLE) -> None:
    """List the runs of this machine, the newest first. Asks no cluster."""
    from planner import report, report_run, runs

    with runs.reading(of_runs(config)) as there:
        items = there.journal.runs(limit=limit) if there else ()
        alive = there.alive(items) if there else []
    if output is TableOrJson.JSON:
        rows = [report_run.summary_json(item, alive=item.id in alive) for item in items]
        print(json.dumps(rows, indent=2))
    else:
        report_run.history(items, alive, report.console())


def _check_limits(choice: "Choice", plan_file: Path | None) -> None:
    """A plan has its limits: others would be silently left out."""
    given = {name: value for name, value in choice.flags["apply"].items() if name in SCHEDULE and value is not None}
    if plan_file and given:
        name, value = next(iter(given.items()))
        flag = ("no-" if value is False else "") + name.replace("_", "-")
        raise UsageError(f"--{flag} is for making a plan, and {plan_file} is made: leave it out, or make a new plan")
