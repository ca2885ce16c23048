"""Owns the command line: parse, call, render, exit code; no decisions."""

import contextlib
import errno
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand
from typer.exceptions import Abort, TyperException

from planner.cli_apply import abort, apply, history, resume, rollback, status
from planner.cli_backtest import backtest
from planner.cli_check import Checking, check
from planner.cli_config import app as config
from planner.cli_consolidate import consolidate
from planner.cli_doctor import doctor
from planner.cli_explain import explain
from planner.cli_frontier import frontier
from planner.cli_report import report
from planner.cli_run import approve, looks, run
from planner.cli_snapshot import app as snapshot
from planner.cli_sweep import sweep
from planner.cli_whatif import InOrder, PlaceOutput, best_node, capacity, place, whatif
from planner.errors import Exit, NotConfigured, PlannerError, UsageError, internal
from planner.flags import option
from planner.missing import interrupted
from planner.options import Output, PlanByDefault, SolverName, TableOrJson, with_session
from planner.plain import plain

if TYPE_CHECKING:
    from planner.drain import Left
    from planner.plan import Plan
    from planner.planning import Case
    from planner.session import Session

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Why nothing more can be written to a disk."""

app = typer.Typer(
    cls=PlanByDefault,
    help="Plan and carry out migrations that balance a Proxmox VE cluster. Without a command: plan.",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SolverOption = Annotated[SolverName, option("--solver", "Who plans.", SolverName.CPSAT)]
OutputOption = Annotated[Output, option("--output", "commands: for a shell on a node.", Output.TABLE)]
OutOption = Annotated[Path | None, option("--out", "Also write the plan to this file.", "none")]
ExplainOption = Annotated[bool, option("--explain", "In the table, also what each migration gains.", "no")]
ExitcodeOption = Annotated[bool, option("--detailed-exitcode", "Exit 2 when migrations are planned.", "no")]
BestOption = Annotated[bool, option("--best-node -b", "Plan nothing: print the best node for a small new guest.", "no")]
DryOption = Annotated[bool, option("--dry-run -d", "Change nothing, which is so without it as well.", "no")]


@with_session
def plan(
    session: Any,
    solver: SolverOption = SolverName.CPSAT,
    output: OutputOption = Output.TABLE,
    out: OutOption = None,
    explained: ExplainOption = False,
    detailed_exitcode: ExitcodeOption = False,
    best: BestOption = False,
    dry_run: DryOption = False,
) -> None:
    """Show which migrations would balance the cluster. Changes nothing."""
    if best and (out is not None or output is Output.COMMANDS):
        raise UsageError("--best-node plans nothing: leave out --out and --output commands")
    if best:
        return best_node(session, PlaceOutput.JSON if output is Output.JSON else PlaceOutput.NAME)
    _show(_plan(session, solver), output, out, explained, detailed_exitcode)


@with_session
def drain(
    session: Any,
    nodes: Annotated[list[str], typer.Argument(metavar="NODE...", help="Nodes to empty.")],
    solver: SolverOption = SolverName.CPSAT,
    output: OutputOption = Output.TABLE,
    out: OutOption = None,
    explained: ExplainOption = False,
    detailed_exitcode: ExitcodeOption = False,
) -> None:
    """Show how to empty nodes under all rules, with the rest balanced. Changes nothing; apply takes its --out."""
    from planner import drain, progress

    cluster, nodes = session.cluster(), list(dict.fromkeys(nodes))
    drain.check(cluster, nodes, session.settings.ignore_nodes)
    result = progress.plan(session.draining(nodes), cluster, solver, nodes)
    left = drain.left(cluster, result, nodes)
    _show(result, output, out, explained, detailed_exitcode, left)


def _show(
    result: "Plan", output: Output, out: Path | None, explained: bool, detailed_exitcode: bool,
    left: "Sequence[Left]" = (),
) -> None:  # fmt: skip
    """Print and save a plan, say what it leaves on drained nodes, and end with the exit code that all this means."""
    from planner import report
    from planner.plan import save
    from planner.request import script

    if out is not None:
        save(result, out)
    if output is Output.TABLE:
        report.plan(result, report.console(), explained=explained)
    elif output is Output.JSON:
        print(result.to_json())
    else:
        for line in script(result):
            print(line)
    for line in (line for item in left for line in item.lines()):
        _say(line)
    if result.status.value == "infeasible" or any(item.guests for item in left):
        raise typer.Exit(Exit.INFEASIBLE)
    if detailed_exitcode and result.migrations:
        raise typer.Exit(Exit.CHANGES)


def _plan(session: "Session", solver: str) -> "Plan":
    from planner import progress

    return progress.plan(session, session.cluster(), solver)


def _prepare(session: "Session") -> "Case":
    from planner.planning import prepare

    cluster = session.cluster()
    case = prepare(cluster, session.policy, session.settings, session.apply)
    for note in (*cluster.notes, *case.formulation.notes):
        _say(f"note: {note}")
    return case


ALL_SOLVERS = ",".join(SolverName)
SolversOption = Annotated[
    str,
    option(
        "--solver",
        "Names, separated by commas.",
        ALL_SOLVERS,
        metavar="NAME[,NAME]",
        autocompletion=lambda: [*SolverName],
    ),
]
TableOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]


@with_session
def compare(session: Any, solver: SolversOption = ALL_SOLVERS, output: TableOption = TableOrJson.TABLE) -> None:
    """Plan with several solvers under the same rules and limits: one row each. Changes nothing."""
    from planner import progress, report
    from planner.compare import compare as compare_solvers

    names = [name.strip() for name in solver.split(",") if name.strip()]
    unknown = [name for name in names if name not in list(SolverName)]
    if unknown or not names:
        raise UsageError(f"there is no solver {', '.join(unknown) or 'named'}: choose from {', '.join(SolverName)}")
    case = _prepare(session)
    with progress.budget(session.policy, solver) as budget:
        frame = compare_solvers(case, names, budget)
    if output is TableOrJson.JSON:
        rows = [{k: None if v != v else v for k, v in row.items()} for row in frame.to_dict("records")]
        print(json.dumps(rows, indent=2))
    else:
        report.comparison(frame, report.console())


def version() -> None:
    """Print the version; so does -v or --version alone."""
    from planner import __version__

    print(__version__)


GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "Plans": (plan, drain, consolidate, explain, report),
    "Questions": (whatif, place, capacity, compare, frontier, sweep, backtest),
    "Carrying out": (apply, resume, abort, rollback, status, history),
    "Scheduled runs": (run, approve, looks, check),
    "Cluster and settings": (doctor, version),
}
"""As people look for them."""
CLASSES: dict[Callable[..., None], type[TyperCommand]] = {whatif: InOrder, check: Checking}

for group, commands in GROUPS.items():
    for command in commands:
        app.command(cls=CLASSES.get(command), rich_help_panel=group)(command)
for name, commands_of in {"snapshot": snapshot, "config": config}.items():
    app.add_typer(commands_of, name=name, rich_help_panel=[*GROUPS][-1])


def _say(line: str) -> None:
    print(plain(line), file=sys.stderr, flush=True)


def _fail(message: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):  # the same disk may be full
        _say(f"proxlb-plan: {' '.join(message.split())}")
    sys.exit(code)


def _begin(words: list[str], error: NotConfigured) -> NoReturn:
    """Whoever has typed no more than the name of the program may have no more than that."""
    from planner.firstfile import needed

    if words:
        _fail(str(error), error.exit_code)
    for line in f"proxlb-plan: {needed()}".splitlines():
        _say(line)
    sys.exit(error.exit_code)


def _give_up_output() -> None:
    """What has not been written never will be: at the exit of Python it is not tried again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line; every error becomes one line and an exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shall not end a run
    command = typer.main.get_command(app)
    try:
        code = command.main(args, prog_name="proxlb-plan", standalone_mode=False) or 0
        if code == Exit.INTERRUPTED:  # how typer passes on a Ctrl-C
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code)
    except NotConfigured as error:
        _begin(sys.argv[1:] if args is None else args, error)
    except PlannerError as error:
        _fail(str(error), error.exit_code)
    except TyperException as error:
        said = error.format_message().replace("Value error, ", "")  # how pydantic begins
        _fail(f"{said} (see proxlb-plan --help)", Exit.USAGE)
    except (KeyboardInterrupt, Abort):
        _fail("interrupted", Exit.INTERRUPTED)
    except BrokenPipeError:
        _give_up_output()
        sys.exit(Exit.ERROR)  # as typer and rich do
    except Exception as error:
        if interrupted(error):
            _fail("interrupted", Exit.INTERRUPTED)
        if isinstance(error, OSError) and error.errno in FULL:
            _give_up_output()
            _fail(f"cannot write: {error.strerror}", Exit.ERROR)
        _fail(internal(error), Exit.ERROR)
