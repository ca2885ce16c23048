"""Owns the command line: parse, call, render, exit code; no decisions."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from planner.errors import Exit, PlannerError, UsageError
from planner.policy import Free, GuestType, Mode, Policy, Resource

if TYPE_CHECKING:
    from planner.apply import Run
    from planner.plan import Plan
    from planner.planning import Case
    from planner.session import Session
    from solvers import Budget

GROUP_OPTIONS = ("--help", "--install-completion", "--show-completion")
SIZES = ("small", "medium", "large")


class Output(StrEnum):
    """How a plan is printed."""

    TABLE = "table"
    JSON = "json"
    COMMANDS = "commands"


class TableOrJson(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    JSON = "json"


class SolverName(StrEnum):
    """Solvers to choose from."""

    GREEDY = "greedy"
    PROXLB = "proxlb"
    DESCENT = "descent"
    CPSAT = "cpsat"


class PlanByDefault(TyperGroup):
    """Bare options mean `plan`; a bare `--demo` means its smallest size."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in GROUP_OPTIONS):
            args = ["plan", *args]
        following = [*args[1:], ""]
        args = [f"{word}=small" if word == "--demo" and then not in SIZES else word
                for word, then in zip(args, following, strict=True)]  # fmt: skip
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=PlanByDefault,
    help="Plan and carry out migrations that balance a Proxmox VE cluster. Without a command: plan.",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _default(name: str) -> str:
    value = getattr(Policy(), name)
    return f"[default: {'none' if value is None else value}]"


def _flag(names: str, text: str, field: str, **more: Any) -> Any:
    return typer.Option(names, help=f"{text} {_default(field)}", **more)


ConfigOption = Annotated[Path | None, typer.Option("--config", help="Configuration file.")]
SnapshotOption = Annotated[Path | None, typer.Option("--snapshot", help="Plan from this file instead of the API.")]
DemoOption = Annotated[
    str | None, typer.Option("--demo", metavar="[SIZE]", help="A built-in cluster: small, medium or large.")
]
ResourceOption = Annotated[Resource | None, _flag("--resource", "What is balanced.", "resource")]
ModeOption = Annotated[Mode | None, _flag("--mode", "Figures that count.", "mode")]
BalancinessOption = Annotated[
    float | None, _flag("--balanciness", "Tolerated spread in percentage points.", "balanciness")
]
LimitOption = Annotated[int | None, _flag("--max-migrations", "Hard limit.", "max_migrations")]
GuestsOption = Annotated[GuestType | None, _flag("--guests", "Which guests may be migrated.", "guests")]
FitOption = Annotated[Mode | None, _flag("--fit", "A target must hold the memory used, or configured.", "fit")]
FreeOption = Annotated[Free | None, _flag("--free", "How greedy finds the most free node.", "free")]
ReserveOption = Annotated[
    list[str] | None,
    typer.Option("--reserve", metavar="[NODE:]RESOURCE=AMOUNT", help="Kept for the node: memory=8 (GiB), pve1:cpu=2."),
]
DisksOption = Annotated[bool | None, typer.Option("--with-local-disks", help="Also migrate guests with local disks.")]
PartialOption = Annotated[bool | None, typer.Option("--allow-partial", help="Plan on the part that the token sees.")]
TimeOption = Annotated[float | None, _flag("--time-limit", "Seconds per solver.", "time_limit")]
SeedOption = Annotated[int | None, _flag("--seed", "Seed of the search.", "seed")]
MaintenanceOption = Annotated[
    list[str] | None, typer.Option("--maintenance-nodes", help="Empty this node. Repeatable.")
]
IgnoreOption = Annotated[list[str] | None, typer.Option("--ignore-nodes", help="Leave this node alone. Repeatable.")]


def _policy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say what is planned for and how; they arrive as one Session."""
    import functools
    import inspect

    options: dict[str, Any] = {
        "config": ConfigOption, "snapshot_file": SnapshotOption, "demo": DemoOption, "resource": ResourceOption,
        "mode": ModeOption, "balanciness": BalancinessOption, "max_migrations": LimitOption, "guests": GuestsOption,
        "fit": FitOption, "free": FreeOption, "reserve": ReserveOption, "with_local_disks": DisksOption,
        "allow_partial": PartialOption, "time_limit": TimeOption, "seed": SeedOption,
        "maintenance_nodes": MaintenanceOption, "ignore_nodes": IgnoreOption,
    }  # fmt: skip

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in options}
        command(session=_session(chosen), **values)

    own = [p for p in inspect.signature(command).parameters.values() if p.name != "session"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in options.items()
    ]
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    wrapper.__signature__ = inspect.Signature([*keyword, *shared])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in [*keyword, *shared]}
    return wrapper


def _session(chosen: dict[str, Any]) -> "Session":
    from planner.session import open_session

    config, file, demo = (chosen.pop(name) for name in ("config", "snapshot_file", "demo"))
    cluster = {name: chosen.pop(name) or None for name in ("maintenance_nodes", "ignore_nodes")}
    chosen["reserve"] = _reserve(chosen["reserve"] or [])
    return open_session(str(config) if config else None, {"policy": chosen, "cluster": cluster}, file, demo)


def _reserve(items: list[str]) -> dict[str, dict[str, str]] | None:
    """`pve1:memory=8` or `memory=8` as the configuration file would have it."""
    result: dict[str, dict[str, str]] = {}
    for item in items:
        where, _, amount = item.partition("=")
        node, _, resource = where.rpartition(":")
        if not amount or not resource:
            raise UsageError(f"--reserve {item}: write RESOURCE=AMOUNT or NODE:RESOURCE=AMOUNT, such as memory=8")
        result.setdefault(node or "default", {})[resource] = amount
    return result or None


SolverOption = Annotated[SolverName, typer.Option("--solver", help="Who plans.")]
OutputOption = Annotated[Output, typer.Option("--output", help="table, json, or commands for a shell on a node.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Also write the plan to this file.")]
ExitcodeOption = Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 2 when migrations are planned.")]


@app.command()
@_policy_options
def plan(
    session: Any,
    solver: SolverOption = SolverName.CPSAT,
    output: OutputOption = Output.TABLE,
    out: OutOption = None,
    detailed_exitcode: ExitcodeOption = False,
) -> None:
    """Show which migrations would balance the cluster. Changes nothing."""
    from planner import apply, report
    from planner import plan as plans

    result = _plan(session, solver)
    if out is not None:
        plans.save(result, out)
    if output is Output.TABLE:
        report.plan(result, report.console())
    elif output is Output.JSON:
        print(result.to_json())
    else:
        for migration in result.migrations:
            print(apply.command(migration))
    _leave(result, detailed_exitcode)


def _leave(result: "Plan", detailed: bool) -> None:
    if result.status.value == "infeasible":
        raise typer.Exit(Exit.INFEASIBLE)
    if detailed and result.migrations:
        raise typer.Exit(Exit.CHANGES)


def _plan(session: "Session", solver: str) -> "Plan":
    from planner.planning import make_plan

    case = _prepare(session)
    with _progress(session.policy, solver) as budget:
        return make_plan(case, str(solver), budget)


def _prepare(session: "Session") -> "Case":
    from planner.planning import prepare

    cluster = session.cluster()
    case = prepare(cluster, session.policy, session.settings)
    for note in (*cluster.notes, *case.formulation.rules.notes):
        _say(f"note: {note}")
    return case


@contextlib.contextmanager
def _progress(policy: Policy, solver: str) -> "Iterator[Budget]":
    """A budget whose progress shows on stderr, when that is a terminal."""
    from rich.console import Console
    from solvers import Budget, Progress

    console = Console(stderr=True)
    with console.status(f"{solver}: planning, at most {policy.time_limit:g} s") as status:

        def show(step: Progress) -> None:
            status.update(f"{solver}: {step.seconds:.0f} s, spread {step.spread / 1e4:.2f}, bound {step.bound / 1e4:.2f}")

        yield Budget(seconds=policy.time_limit, seed=policy.seed, progress=show)


SolversOption = Annotated[str, typer.Option("--solver", help="Names, separated by commas.")]


@app.command()
@_policy_options
def compare(
    session: Any,
    solver: SolversOption = "greedy,proxlb,descent,cpsat",
    output: Annotated[TableOrJson, typer.Option("--output", help="table or json.")] = TableOrJson.TABLE,
) -> None:
    """Plan with several solvers under the same rules and limits: one row each. Changes nothing."""
    from planner import report
    from planner.compare import compare as compare_solvers
    from planner.planning import NAMES

    names = [name.strip() for name in solver.split(",") if name.strip()]
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        raise UsageError(f"there is no solver {', '.join(unknown) or 'named'}: choose from {', '.join(NAMES)}")
    case = _prepare(session)
    with _progress(session.policy, solver) as budget:
        frame = compare_solvers(case, names, budget)
    if output is TableOrJson.JSON:
        rows = [{k: None if v != v else v for k, v in row.items()} for row in frame.to_dict("records")]
        print(json.dumps(rows, indent=2))
    else:
        report.comparison(frame, report.console())


@app.command()
@_policy_options
def apply(
    session: Any,
    plan_file: Annotated[Path | None, typer.Argument(metavar="[PLAN]", help="A plan written with --out.")] = None,
    solver: SolverOption = SolverName.CPSAT,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Carry out a plan, one migration at a time; without a file: plan, show, ask."""
    from planner import plan as plans
    from planner import report
    from planner.apply import Applier, Run, check_assumptions

    source = session.writable()
    chosen = plans.load(plan_file) if plan_file else _plan(session, solver)
    report.plan(chosen, report.console())
    if not chosen.migrations:
        return
    if not yes:
        _ask(len(chosen.migrations))
    check_assumptions(chosen, session.cluster())
    run = Run(chosen)
    try:
        Applier(source, session.clock, session.policy.migration_timeout, _say).carry_out(run)
    finally:
        report.run(run, report.console())
    if run.failed is None:
        _after(session, chosen)
    raise typer.Exit(_exit_code(run))


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to answer: use --yes to carry the plan out without asking")
    if not typer.confirm(f"Carry out {count} migrations?", err=True):
        raise typer.Exit(Exit.OK)


def _after(session: "Session", chosen: "Plan") -> None:
    """Say what spread was really reached, by fresh figures."""
    from dataclasses import replace

    from planner.planning import prepare

    policy = replace(session.policy, resource=chosen.resource, mode=chosen.mode)
    problem = prepare(session.cluster(), policy, session.settings).formulation.problem
    reached = problem.spread(problem.origin) / 1e4
    print(f"spread now {reached:.2f} points (before {chosen.spread.before:.2f}, planned {chosen.spread.after:.2f})")


def _exit_code(run: "Run") -> int:
    if run.failed is None:
        return Exit.OK
    if run.done or run.current:
        return Exit.PARTLY_APPLIED
    return run.failed[1].exit_code


@app.command()
@_policy_options
def snapshot(
    session: Any,
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write; .gz compresses.")],
    anonymise: Annotated[bool, typer.Option("--anonymise", help="Replace names of nodes, guests, pools, tags.")] = False,
) -> None:
    """Record the API's answers, to plan from them later or elsewhere."""
    from planner import snapshot as snapshots
    from planner.anonymise import anonymised
    from planner.collect import collect

    taken = session.snapshot()
    cluster = collect(taken)
    snapshots.save(anonymised(taken) if anonymise else taken, out)
    _say(f"wrote {out}: {len(cluster.nodes)} nodes, {len(cluster.guests)} guests")


@app.command()
def version() -> None:
    """Print the version."""
    from planner import __version__

    print(__version__)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _fail(message: str, code: int) -> NoReturn:
    _say(f"proxlb-plan: {message}")
    sys.exit(code)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line; every error becomes one line and an exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    command = typer.main.get_command(app)
    try:
        sys.exit(command.main(args, prog_name="proxlb-plan", standalone_mode=False) or 0)
    except PlannerError as error:
        _fail(" ".join(str(error).split("\n")), error.exit_code)
    except TyperException as error:
        _fail(f"{error.format_message()} (see proxlb-plan --help)", Exit.USAGE)
    except (KeyboardInterrupt, Abort):
        _fail("interrupted", Exit.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)
    except Exception as error:
        frame = error.__traceback__
        while frame and frame.tb_next:
            frame = frame.tb_next
        place = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else "?"
        _fail(f"internal error at {place}: {type(error).__name__}: {error}; please report it", Exit.ERROR)
