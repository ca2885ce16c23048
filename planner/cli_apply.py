"""Owns the commands around a run: apply, resume, abort, status, history, rollback; in which order things are asked."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.errors import UsageError
from planner.options import TableOrJson, option

if TYPE_CHECKING:
    from planner.policy import Apply

LARGEST = 2**63 - 1
"""No run has a larger number."""
ConfigOption = Annotated[Path | None, option("--config", "Configuration file.", "./proxlb-plan.yaml, ...")]
OutputOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]


def _run(text: str) -> Any:
    """The argument that names a run."""
    return typer.Argument(metavar="[RUN]", help=text, min=1, max=LARGEST, show_default=False)


RunArgument = Annotated[int | None, _run("Number of the run. \\[default: the newest that is not over]")]
AnyRun = Annotated[int | None, _run("Number of the run. \\[default: the newest]")]


def status(run: AnyRun = None, config: ConfigOption = None, output: OutputOption = TableOrJson.TABLE) -> None:
    """Show a run: how far each migration is, whether its process is alive, what to do next. Asks no cluster."""
    from planner import report, report_run, runs

    with runs.reading(_settings(config)) as there:
        if there is None:
            raise UsageError(runs.NO_RUN)
        item = there.newest() if run is None else there.journal.run(run)
        alive = there.is_alive(item)
    if output is TableOrJson.JSON:
        print(json.dumps(report_run.status_json(item, alive=alive), indent=2))
    else:
        report_run.status(item, report.console(), alive=alive)


LimitOption = Annotated[int, option("--limit", "The newest so many.", "20", min=1, max=LARGEST)]


def history(config: ConfigOption = None, limit: LimitOption = 20, output: OutputOption = TableOrJson.TABLE) -> None:
    """List the runs of this machine, the newest first. Asks no cluster."""
    from planner import report, report_run, runs

    with runs.reading(_settings(config)) as there:
        items = there.journal.runs(limit=limit) if there else ()
        alive = there.alive(items) if there else []
    if output is TableOrJson.JSON:
        rows = [report_run.summary_json(item, alive=item.id in alive) for item in items]
        print(json.dumps(rows, indent=2))
    else:
        report_run.history(items, alive, report.console())


def _settings(config: Path | None) -> "Apply":
    """Section apply, for commands that need no cluster."""
    from planner.config import load

    return load(str(config) if config else None).apply
