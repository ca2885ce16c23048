"""Owns the sweep: many scenarios planned by any executor, one frame out, the same whoever planned what when.

Each scenario is planned from text and numbers alone, with one worker and limited by work, so that the frame depends
neither on the machine nor on the order in which plans are ready. What a process has read it keeps for the next one.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from planner import collect, crew, results, rrd, scenarios, whatif_steps
from planner.case import Case, prepare
from planner.config import Config, chosen
from planner.errors import InputError, PlannerError
from planner.plain import plain
from planner.plan import Plan
from planner.planning import make_plan
from planner.results import COLUMNS, FAILED, Row, frame
from planner.scenarios import Scenario, Scenarios
from planner.snapshot import Snapshot
from solvers import Budget

__all__ = ["COLUMNS", "sweep"]

ROOM = 600.0
"""Seconds for one scenario that is limited by work: far more than that takes."""
SNAPSHOTS, CASES = 2, 2
"""So many a process keeps: scenarios come ordered by them."""
Told = Callable[[Row, int, int], object]
"""Is told each row that is new, how many there are by then, and how many there will be."""


def sweep(
    asked: Scenarios | Mapping[str, Any] | str | Path, executor: Executor | None = None, *, jobs: int | None = None,
    out: str | Path | None = None, told: Told = lambda row, count, total: None,
) -> pd.DataFrame:  # fmt: skip
    """Plan all scenarios: one row each, columns as in COLUMNS, in the order of the file.

    `asked` is a file of scenarios, or what would be in it. Without an executor so many processes are started (None:
    one for each core); any other will do, such as that of a Dask cluster. What is in `out` (.csv or .jsonl) already is
    not planned again, unless it had failed; each row is written there at once. A scenario that cannot be planned is a
    row with its error. Raises ConfigError for scenarios that make no sense, InputError, Locked or UsageError for `out`,
    PlannerError when processes die.
    """
    found = _read(asked).scenarios()
    wanted = {item.id for item in found}
    with results.kept(Path(out) if out is not None else None) as book:
        known = {key for key, row in book.rows.items() if row.status != FAILED}
        todo = [item for item in found if item.id not in known]
        crowd = crew.processes(jobs) if executor is None and todo else nullcontext(executor)
        with crowd as pool:
            for row in _planned(pool, todo) if pool is not None else ():
                book.add(row)
                known.add(row.id)
                told(row, len(known & wanted), len(found))
        rows = [book.rows[item.id] for item in found]
        book.finish(rows)
    return frame(rows)


def _read(asked: Scenarios | Mapping[str, Any] | str | Path) -> Scenarios:
    if isinstance(asked, Scenarios):
        return asked
    return scenarios.read(Path(asked)) if isinstance(asked, str | Path) else scenarios.parse(asked, "given")


def _planned(pool: Executor, todo: Sequence[Scenario]) -> Iterator[Row]:
    """Rows in the order in which they are ready; what has not begun is given up when nobody wants more."""
    with crew.undisturbed():
        futures: dict[Future[Row], Scenario] = {pool.submit(planned, item): item for item in todo}
    try:
        for future in as_completed(futures):
            yield _result(future, futures.pop(future))
    finally:
        for future in futures:
            future.cancel()


def _result(future: "Future[Row]", item: Scenario) -> Row:
    try:
        return future.result()
    except BrokenExecutor:
        raise PlannerError(
            "a process of the sweep died, perhaps for want of memory: what is in --out is kept, try fewer --jobs"
        ) from None
    except (Exception, CancelledError) as error:  # of the executor: a scenario's own are in its row
        return _row(item, FAILED, error=f"lost: {type(error).__name__}: {error}")


def planned(item: Scenario) -> Row:
    """Plan one scenario, in whatever process."""
    try:
        plan = _plan(item)
    except PlannerError as error:
        return _row(item, FAILED, error=str(error))
    except Exception as error:
        return _row(item, FAILED, error=f"internal error: {type(error).__name__}: {error}; please report it")
    return _row(
        item, plan.status.value,
        before=plan.spread.before, after=plan.spread.after, bound=plan.spread.bound,
        gap=None if plan.gap is None else round(plan.gap, 4),
        migrations=len(plan.migrations), gib=round(plan.moved_gib, 3),
        violations_before=len(plan.violations_before), violations_after=len(plan.violations_after),
        stranded=len(plan.stranded), seconds=round(plan.seconds, 3),
    )  # fmt: skip


def _row(item: Scenario, status: str, error: str = "", **figures: Any) -> Row:
    row = Row(item.id, plain(item.snapshot), plain(item.whatif), plain(item.policy), item.solver, status, **figures)
    return replace(row, error=plain(" ".join(error.split())))


def _plan(item: Scenario) -> Plan:
    if item.version != scenarios.version():
        raise InputError(f"the worker has version {scenarios.version()}, the sweep {item.version}: install the same")
    case = _case(item.source, item.digest, item.settings, item.steps, item.time_limit)
    budget = Budget(item.time_limit or ROOM, case.policy.seed, workers=1, work=item.work)
    return make_plan(case, item.solver, budget)


@lru_cache(CASES)
def _case(source: str, digest: str, settings: str, steps: str, time_limit: float | None) -> Case:
    """What all solvers plan for: the snapshot under settings, and what a what-if makes of it."""
    config = chosen(json.loads(settings))
    config = replace(config, policy=replace(config.policy, time_limit=time_limit or ROOM))
    taken = _taken(source, digest, _timeframes(source, config))
    cluster = whatif_steps.applied(replace(collect.collect(taken), config=config), json.loads(steps))
    case = prepare(cluster, config.policy, config.cluster, config.apply)
    return case if time_limit else replace(case, clash_seconds=ROOM)


def _timeframes(source: str, config: Config) -> tuple[str, ...]:
    """What of the past a built-in cluster is asked for; a file has what was recorded."""
    return rrd.timeframes(config.policy) if source.startswith(scenarios.DEMO) else ()


@lru_cache(SNAPSHOTS)
def _taken(source: str, digest: str, timeframes: tuple[str, ...]) -> Snapshot:
    if scenarios.digest(source) != digest:
        raise InputError(f"snapshot {source} is another one than when the sweep began: run it again")
    return scenarios.taken(source, timeframes)
