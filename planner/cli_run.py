"""Owns the commands of scheduled looks: run, approve, looks."""

import json
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli_apply import LARGEST, LimitOption, OutputOption, YesOption
from planner.cli_site import agreed, carry_out, check_kept, counted, of_runs, on_site
from planner.errors import Exit, UsageError
from planner.flags import ConfigOption, option
from planner.options import TableOrJson, with_json, with_run, with_service

if TYPE_CHECKING:
    from planner.conduct import Ended, Site
    from planner.config import Config
    from planner.look import Look
    from planner.options import Choice
    from planner.plan import Plan
    from planner.runs import Runs
    from planner.session import Session

OnceOption = Annotated[bool, option("--once", "Take one look and end: for timers.", "look again and again")]
DryOption = Annotated[bool, option("--dry-run -d", "Same as --mode observe.", "as configured")]


@with_service
def run(choice: Any, once: OnceOption = False, dry_run: DryOption = False) -> None:
    """Look, plan, ask the gates, and by --mode observe, propose or carry out; again and again, or --once."""
    from planner import runs
    from planner.config import load
    from planner.daemon import Daemon

    if dry_run:
        choice.flags["run"]["mode"] = "observe"
    if choice.file is not None:
        raise UsageError("--snapshot does not change: run needs the cluster itself, or --demo")

    def opened() -> "tuple[Config, Session]":
        return load(choice.config, choice.flags), _opened(choice)

    with ExitStack() as stack:
        settings = load(choice.config, choice.flags).apply
        there = stack.enter_context(runs.in_memory() if choice.demo is not None else runs.opened(settings))
        daemon = stack.enter_context(Daemon(opened, there))
        if once:
            raise typer.Exit(_once(daemon.once))
        daemon.serve()


def _opened(choice: "Choice") -> "Session":
    from planner.session import open_session

    return open_session(*choice)


def _once(look: Any) -> int:
    """The exit code of one look; being told to end before anything was done is not an error."""
    from planner.lookout import ToldToEnd

    try:
        return int(look())
    except ToldToEnd:
        return Exit.INTERRUPTED


RunArgument = Annotated[
    int, typer.Argument(metavar="RUN", help="Number of the run.", min=1, max=LARGEST, show_default=False)
]


@with_run
def approve(choice: Any, run: RunArgument, yes: YesOption = False) -> None:
    """Carry out a run that a scheduled look has proposed, when looks may: show it, ask, go on as `apply` does."""
    from planner import report, runs, scheduled
    from planner.config import load

    check_kept(choice, "approve")
    config = load(choice.config, choice.flags)
    with on_site(choice, yes) as plain:
        there = scheduled.bound(config.run, plain)
        item = there.runs.chosen(run, there.cluster)
        runs.check_proposed(item)
        scheduled.check_valid(config.run, item, there.now())
        report.plan(item.plan, report.console())
        if agreed(yes, f"Carry out {counted(item.size)}?"):
            with scheduled.at_work(config.run, there) as work:
                scheduled.check_closed(config.run, there, item)
                carry_out(there, work, work.approve(item.id), lambda ended: _tell(config, there, ended))


def _tell(config: "Config", site: "Site", ended: "Ended") -> None:
    """What became of an approved run is a look as well, and whoever is told of those is told of it."""
    from planner.herald import Herald
    from planner.metrics import Exporter
    from planner.seen import of_approved
    from planner.service import Metrics

    journal = site.runs.journal
    herald = Herald(Exporter(Metrics(), journal), journal)
    herald.use(config)
    look = of_approved(ended.record, ended.error, site.now())
    herald.look(replace(look, number=journal.looks.add(look, ended.record.plan)))


LookArgument = Annotated[
    int | None,
    typer.Argument(metavar="[LOOK]", help="One look, with its plan.", min=1, max=LARGEST, show_default=False),
]


@with_json
def looks(
    number: LookArgument = None, config: ConfigOption = None, limit: LimitOption = 20,
    output: OutputOption = TableOrJson.TABLE,
) -> None:  # fmt: skip
    """List what scheduled looks saw and did, the newest first, or show one of them. Asks no cluster."""
    from planner import report, report_looks, runs

    with runs.reading(of_runs(config)) as there:
        items, plan = _found(there, number, limit)
    if output is TableOrJson.JSON:
        shown = [json.loads(item.to_json()) for item in items]
        print(json.dumps(shown if number is None else shown[0], indent=2))
    elif number is None:
        report_looks.table(items, report.console())
    else:
        report_looks.one(items[0], report.console())
        if plan is not None:
            report.plan(plan, report.console())


def _found(there: "Runs | None", number: int | None, limit: int) -> "tuple[tuple[Look, ...], Plan | None]":
    """One look with its plan, or the last of them."""
    if there is None and number is not None:
        raise UsageError(f"there is no look {number}: none was ever taken on this machine")
    if there is None:
        return (), None
    looks = there.journal.looks
    return (looks.last(limit=limit), None) if number is None else ((looks.look(number),), looks.plan(number))
