"""Owns the command sweep: who plans the scenarios, and how the frame is shown."""

import json
from collections.abc import Hashable
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.errors import PlannerError, UsageError
from planner.flags import option
from planner.options import TableOrJson, with_json

if TYPE_CHECKING:
    import pandas as pd


class Planners(StrEnum):
    """Who plans."""

    PROCESS = "process"
    DASK = "dask"


FileArgument = Annotated[Path, typer.Argument(metavar="SCENARIOS", help="YAML: snapshots, solvers, policies, whatif.")]
JobsOption = Annotated[
    int | None, option("--jobs", "Scenarios planned at once here.", "one for each core", min=1, max=10_000)
]
ExecutorOption = Annotated[Planners, option("--executor", "Processes of this machine, or Dask.", Planners.PROCESS)]
SchedulerOption = Annotated[
    str | None,
    option("--scheduler", "Address of a Dask scheduler.", "a Dask cluster is started here", metavar="ADDRESS"),
]
OutOption = Annotated[
    Path | None, option("--out", "Rows go there at once (.csv, .jsonl); what is there is not planned again.", "none")
]
OutputOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]


@with_json
def sweep(
    scenarios: FileArgument,
    jobs: JobsOption = None,
    executor: ExecutorOption = Planners.PROCESS,
    scheduler: SchedulerOption = None,
    out: OutOption = None,
    output: OutputOption = TableOrJson.TABLE,
) -> None:
    """Plan many scenarios with many solvers on many snapshots: one row each. Changes nothing."""
    from planner import crew, report_sweep
    from planner.report import console
    from planner.results import FAILED
    from planner.scenarios import read
    from planner.sweeping import sweep as run

    if scheduler is not None and executor is not Planners.DASK:
        raise UsageError("--scheduler is the address of a Dask scheduler: give --executor dask with it")
    if scheduler is not None and jobs is not None:
        raise UsageError("--jobs is for workers that are started here: leave it out with --scheduler")
    asked = read(scenarios)
    workers = crew.dask(scheduler, jobs) if executor is Planners.DASK else nullcontext()
    with report_sweep.progress() as told, workers as pool:
        frame = run(asked, pool, jobs=jobs, out=out, told=told)
    if output is TableOrJson.JSON:
        print(json.dumps(_plain(frame), indent=2))
    else:
        report_sweep.table(frame, console())
    if failed := int((frame["status"] == FAILED).sum()):
        raise PlannerError(f"{failed} of {len(frame)} scenarios could not be planned: see the column error")


def _plain(frame: "pd.DataFrame") -> "list[dict[Hashable, object]]":
    """Rows with null for what there is not."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")
