"""Owns the command consolidate: what is asked, and what is done with the answer."""

import sys
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.errors import Exit
from planner.flags import SCHEDULE, SHARED, option
from planner.options import SolverName, TableOrJson, with_choice

if TYPE_CHECKING:
    from planner.consolidate import Consolidation
    from planner.session import Session


class Solver(StrEnum):
    """Solvers that empty nodes."""

    GREEDY = SolverName.GREEDY.value
    DESCENT = SolverName.DESCENT.value
    CPSAT = SolverName.CPSAT.value


class Restart(StrEnum):
    """Guests that start elsewhere when a node fails."""

    HA = "ha"
    ALL = "all"


KeepOption = Annotated[
    int | None, option("--keep", "At least so many nodes that take guests stay on.", "what the quorum needs", min=0)
]
RestartOption = Annotated[
    Restart | None,
    option("--restart", "Which guests of a node that fails need a place.", "ha; all where HA manages none"),
]
SolverOption = Annotated[Solver, option("--solver", "Who plans.", Solver.CPSAT)]
OutputOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]
OutOption = Annotated[Path | None, option("--out", "Also write the plan to this file.", "none")]
ExitcodeOption = Annotated[bool, option("--detailed-exitcode", "Exit 2 when nodes can be switched off.", "no")]
SURVIVE = Annotated[
    int | None, option("--survive", "Keep room for the guests of any 1 node more that fails.", "1", min=0, max=1)
]
OPTIONS = SHARED | {"survive": SURVIVE} | SCHEDULE


def consolidate(
    choice: Any,
    keep: KeepOption = None,
    restart: RestartOption = None,
    solver: SolverOption = Solver.CPSAT,
    output: OutputOption = TableOrJson.TABLE,
    out: OutOption = None,
    detailed_exitcode: ExitcodeOption = False,
) -> None:
    """Show how many nodes could be emptied and switched off, and how. Changes nothing; apply takes its --out."""
    from planner import report, report_consolidate
    from planner.plan import save
    from planner.session import open_session

    with closing(open_session(*choice)) as session:
        found = _found(session, keep, restart and restart.value, solver.value)
    if out is not None and found.plan is not None:
        save(found.plan, out)
    elif out is not None:
        _say(f"note: no plan was written to {out}: there is nothing to do")
    if output is TableOrJson.JSON:
        print(found.to_json())
    else:
        report_consolidate.consolidation(found, report.console())
    if detailed_exitcode and found.nodes:
        raise typer.Exit(Exit.CHANGES)


consolidate = with_choice(consolidate, OPTIONS)


def _found(session: "Session", keep: int | None, restart: Any, solver: str) -> "Consolidation":
    """A consolidation of which Proxmox VE admits all migrations, as far as it says."""
    from planner import progress
    from planner.consolidate import checked_consolidation

    with progress.budget(session.policy, "consolidate") as budget:
        found = checked_consolidation(session, keep, restart, solver, budget)
    for note in dict.fromkeys((*found.notes, *(found.plan.notes if found.plan else ()))):
        _say(f"note: {note}")
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
