"""Owns the agenda of a plan: the legs of what is reached as migrations with times, in waves, with the way back."""

from collections.abc import Iterator, Sequence

import numpy as np

from planner import explain, waves
from planner.case import Case
from planner.formulate import Formulation
from planner.order import Effort
from planner.plan import Checkpoint, Migration, Schedule
from planner.policy import Apply
from planner.schedule import Reach, by_guest, schedule
from planner.timetable import Limits
from planner.waves import Waves
from solvers import check
from solvers.problem import PPM, Ints, Problem

STOPOVER = "makes room: stops here on its way to {target}"
BACK = "back to where it was"


def reach(case: Case, problem: Problem, assignment: Ints) -> Reach:
    """What can be got of an assignment for a problem of the case."""
    if not len(problem.migrated(assignment)):
        return Reach(assignment, (), ())
    return schedule(problem, assignment, case.way, _effort(case, assignment), bypass=case.apply.bypass)


def _effort(case: Case, assignment: Ints) -> Effort:
    """What the migrations of an assignment take, by the case's pace."""
    formulation = case.formulation
    seconds, restarts = (np.zeros(case.way.guests, dtype=np.int64) for _ in range(2))
    for guest in map(int, formulation.problem.migrated(assignment)):
        size = _size(formulation, guest)
        seconds[guest] = max(1, round(case.pace.seconds(*size)))
        restarts[guest] = size[0] == "ct" and size[1]
    return by_guest(case.way, seconds, restarts)


def limits(settings: Apply) -> Limits:
    """What may be under way at once."""
    return Limits(settings.parallel, settings.per_source, settings.per_target, settings.bandwidth)


def agenda(case: Case, found: Reach) -> tuple[Waves, Schedule, Waves]:
    """Waves, how long they take, and the waves that lead back."""
    most = limits(case.apply)
    migrations = waves.timed(_migrations(case, found), most) if found.legs else ()
    there = waves.cut(migrations, most, lambda first: _no_worse(case.formulation, first))
    pace = case.pace.says if migrations else ""
    return there, figures(case.formulation, there, most, pace), waves.way_back(migrations, most, BACK)


def _migrations(case: Case, found: Reach) -> list[Migration]:
    """One per guest and leg, not timed yet: each ends when it has taken what it takes."""
    formulation, problem = case.formulation, case.formulation.problem
    reasons = explain.reasons(formulation, found.assignment)
    without = explain.without(problem, found.assignment)
    numbers: list[tuple[int, ...]] = []
    result: list[Migration] = []
    for leg in found.legs:
        after = tuple(number for before in leg.after for number in numbers[before])
        numbers.append(tuple(range(len(result) + 1, len(result) + 1 + len(leg.guests))))
        for number, guest in zip(numbers[-1], leg.guests, strict=True):
            row, size = formulation.guests.iloc[guest], _size(formulation, guest)
            stop = STOPOVER.format(target=formulation.nodes[int(found.assignment[guest])])
            result.append(Migration(
                vmid=int(row["vmid"]), name=str(row["name"]), type=row["type"],
                source=formulation.nodes[leg.source], target=formulation.nodes[leg.target],
                memory_mib=size[2], local_disk_mib=size[3], running=size[1],
                reason=stop if leg.bypass else reasons[guest],
                spread_without=without[guest] * 100 / PPM, number=number, after=after, bundle=1 + min(leg.guests),
                end=case.pace.seconds(*size), downtime=case.pace.downtime(*size), bypass=leg.bypass,
            ))  # fmt: skip
    return result


def _size(formulation: Formulation, guest: int) -> tuple[str, bool, int, int]:
    """Type, whether it runs, MiB of memory that it uses, and of local disks."""
    row = formulation.guests.iloc[guest]
    running = row["status"] != "stopped"
    return str(row["type"]), bool(running), int(row["memory_used_mib"]) if running else 0, int(row["disk_mib"])


def _no_worse(formulation: Formulation, done: Sequence[Migration]) -> bool:
    """Whether fewer rules are broken when some migrations have ended, or no more and the spread is no larger."""
    problem = formulation.problem
    before, now = (check.score(problem, at) for at in (problem.origin, formulation.after(done)))
    tolerated = max(before.spread, problem.tolerance)
    return now.violations < before.violations or (now.violations == before.violations and now.spread <= tolerated)


def figures(formulation: Formulation, there: Waves, most: Limits, pace: str) -> Schedule:
    """How long waves take, and what has been reached after each."""
    migrations = [migration for wave in there for migration in wave]
    return Schedule(
        seconds=max((m.end for m in migrations), default=0.0),
        bound=waves.least(migrations, most),
        one_by_one=sum(m.end - m.begin for m in migrations),
        parallel=most.parallel,
        per_source=most.per_source,
        per_target=most.per_target,
        bandwidth=most.bandwidth,
        pace=pace,
        checkpoints=tuple(_checkpoints(formulation, there)),
    )


def _checkpoints(formulation: Formulation, there: Waves) -> Iterator[Checkpoint]:
    problem = formulation.problem
    done: list[Migration] = []
    for wave in there:
        done += wave
        at = formulation.after(done)
        spread = problem.spread(at) * 100 / PPM
        yield Checkpoint(spread, len(check.violations(problem, at)), max(m.end for m in done))
