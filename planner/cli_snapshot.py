"""Owns the command snapshot: recording the API's answers, and comparing two records."""

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.errors import Exit, UsageError
from planner.flags import SHARED, option
from planner.options import TableOrJson, with_choice

if TYPE_CHECKING:
    from planner.cluster import Cluster
    from planner.session import Session

app = typer.Typer(invoke_without_command=True)

SnapshotOut = Annotated[Path | None, option("-o --out", "File to write; .gz compresses.", "required")]
AnonymiseOption = Annotated[bool, option("--anonymise", "Replace names of nodes, guests, pools and tags.", "no")]
PreconditionsOption = Annotated[bool, option("--preconditions", "Also what each guest's migration needs.", "no")]
FirstArgument = Annotated[Path, typer.Argument(metavar="BEFORE", help="A snapshot.")]
SecondArgument = Annotated[Path, typer.Argument(metavar="AFTER", help="A snapshot that was taken later.")]
OutputOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]
ExitcodeOption = Annotated[bool, option("--detailed-exitcode", "Exit 2 when more changed than loads.", "no")]
MEASURING = {name: SHARED[name] for name in ("config", "resource", "mode", "guest_memory", "reclaim_arc", "reserve")}
"""Options that matter for loads."""


@app.callback()
@with_choice
def snapshot(
    context: typer.Context,
    choice: Any,
    out: SnapshotOut = None,
    anonymise: AnonymiseOption = False,
    preconditions: PreconditionsOption = False,
) -> None:
    """Record the API's answers, to plan from them later or elsewhere; or compare two such records."""
    from planner.session import open_session

    if context.invoked_subcommand is not None:
        if out is not None:
            raise UsageError(f"snapshot {context.invoked_subcommand} records nothing: leave out --out")
        return
    if out is None:
        raise UsageError("Missing option '-o' / '--out'. (see proxlb-plan --help)")
    with closing(open_session(*choice)) as session:
        _record(session, out, anonymise, preconditions)


def _record(session: "Session", out: Path, anonymise: bool, preconditions: bool) -> None:
    from planner.anonymise import anonymised
    from planner.collect import collect
    from planner.past import asked
    from planner.preconditions import completed
    from planner.snapshot import save

    source = session.source
    if preconditions and source is None:
        raise UsageError("a snapshot answers no questions: --preconditions needs the cluster itself, or --demo")
    taken = session.snapshot()
    cluster = collect(taken)
    if preconditions and source is not None:
        taken, notes = completed(cluster, source)
        for note in notes:
            _say(f"note: {note}")
    if source is not None:
        taken = asked(taken, source)
    save(anonymised(taken) if anonymise else taken, out)
    _say(f"wrote {out}: {len(cluster.nodes)} nodes, {len(cluster.guests)} guests")


def diff(
    choice: Any,
    before: FirstArgument,
    after: SecondArgument,
    output: OutputOption = TableOrJson.TABLE,
    detailed_exitcode: ExitcodeOption = False,
) -> None:
    """Show what changed between two snapshots: nodes, guests, rules, loads. Changes nothing."""
    from planner import report, report_diff
    from planner.config import load
    from planner.differ import compare

    policy = load(choice.config, choice.flags).policy
    found = compare(_read(before), _read(after), policy)
    for note in found.notes:
        _say(f"note: {note}")
    if output is TableOrJson.JSON:
        print(found.to_json())
    else:
        report_diff.difference(found, report.console())
    if detailed_exitcode and not found.is_empty:
        raise typer.Exit(Exit.CHANGES)


app.command()(with_choice(diff, MEASURING))


def _read(file: Path) -> "Cluster":
    from planner.collect import collect
    from planner.snapshot import load

    return collect(load(file))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
