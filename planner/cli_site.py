"""Owns what the commands around runs share: the cluster, the runs of this machine, the question, the carrying out."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from planner.errors import Exit, PlannerError, UsageError

if TYPE_CHECKING:
    from planner.conduct import Ended, Site, Work
    from planner.options import Choice
    from planner.plan import Plan
    from planner.policy import Apply
    from planner.run import RunRecord
    from planner.runs import Runs
    from planner.session import Session

FIGURES = 12.0
"""Seconds after which Proxmox VE's figures (a cycle of 10 s) show where the guests are now."""


def of_runs(config: Path | None) -> "Apply":
    """Section apply, for commands that need no cluster."""
    from planner.config import load

    return load(str(config) if config else None).apply


@contextmanager
def opened(choice: "Choice", yes: bool) -> "Iterator[tuple[Session, Runs]]":
    """The session of a command that changes something, and the runs of this machine. Asks no cluster."""
    from planner import runs
    from planner.session import open_session

    with closing(open_session(*choice)) as session:
        session.writable()
        if not yes and not sys.stdin.isatty():
            raise UsageError("nobody is there to answer: use --yes to go on without asking")
        with runs.in_memory() if session.connected is None else runs.opened(session.apply) as there:
            yield session, there


@contextmanager
def on_site(choice: "Choice", yes: bool) -> "Iterator[Site]":
    """The cluster that is to be changed, and the runs of this machine."""
    from planner.conduct import Site, wall
    from planner.state import cluster_name

    with opened(choice, yes) as (session, there):
        yield Site(session, there, cluster_name(session.writable()), wall(session.clock))


def check_kept(choice: "Choice", command: str) -> None:
    if choice.demo is not None:
        raise UsageError(f"a run of the demo is forgotten when it ends: {command} needs the cluster itself")


def agreed(yes: bool, question: str) -> bool:
    if yes or typer.confirm(question, err=True):
        return True
    print("nothing was done", file=sys.stderr)
    return False


def counted(many: int) -> str:
    return f"{many} migration{'s' if many != 1 else ''}"


def carry_out(site: "Site", work: "Work", run: int, then: "Callable[[Ended], None] | None" = None) -> None:
    """Carry a run out, and say what has become of it, however that ends; `then` is told of it too."""
    try:
        ended = work.carry_out(run)
    except BaseException:
        with contextlib.suppress(PlannerError):
            _report(site, work.journal.run(run))
        raise
    _report(site, ended.record)
    if then is not None:
        then(ended)
    if ended.exit_code == Exit.OK:
        _after(site.session, ended.record.plan)
    raise typer.Exit(ended.exit_code)


def _report(site: "Site", record: "RunRecord") -> None:
    from planner import report, report_run

    report_run.report(record, report.console(), kept=site.runs.directory is not None)


def _after(session: "Session", chosen: "Plan") -> None:
    """Say what spread was really reached, by fresh figures."""
    from planner.planning import prepare

    now = session.judging(chosen)
    try:
        session.clock.sleep(FIGURES)
        problem = prepare(now.cluster(), now.policy, now.settings).formulation.problem
    except PlannerError as error:
        print(f"note: the spread that was reached is not known: {error}", file=sys.stderr)
        return
    reached = problem.spread(problem.origin) / 1e4
    print(f"spread now {reached:.2f} points (before {chosen.spread.before:.2f}, planned {chosen.spread.after:.2f})")
