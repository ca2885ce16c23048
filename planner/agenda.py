"""Owns the agenda of a plan: the legs of what is reached as migrations with times, in waves, with the way back."""

from collections.abc import Iterator, Sequence

import numpy as np

from planner import explain, waves
from planner.case import Case
from planner.formulate import Formulation
from planner.order import Effort
from planner.plan import NEEDED, REPAIRS, Checkpoint, Migration, Schedule
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
    there = waves.cut(migrations, most, Course(case.formulation, migrations).no_worse)
    pace = case.pace.says if migrations else ""
    return there, figures(case.formulation, there, most, pace), waves.way_back(migrations, most, BACK)


def _migrations(case: Case, found: Reach) -> list[Migration]:
    """One per guest and leg, not timed yet: each ends when it has taken what it takes."""
    formulation, problem = case.formulation, case.formulation.problem
    reasons = _reasons(case, found.assignment)
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
                end=case.pace.seconds(*size), downtime=case.pace.downtime(*size), rate=case.pace.rate(*size),
                bypass=leg.bypass,
            ))  # fmt: skip
    return result


def _reasons(case: Case, assignment: Ints) -> dict[int, str]:
    """Guest index to why it is migrated; the repair of others where it would not be for balance so soon again."""
    formulation = case.formulation
    result = explain.reasons(formulation, assignment)
    for guest, reason in result.items():
        lately = case.exemption(formulation.vmid(guest), formulation.nodes[int(assignment[guest])])
        if lately and not reason.startswith(NEEDED):
            result[guest] = f"{REPAIRS}: rules could not hold otherwise; it was {lately}"
    return result


def _size(formulation: Formulation, guest: int) -> tuple[str, bool, int, int]:
    """Type, whether it runs, MiB of memory that it uses, and of local disks."""
    row = formulation.guests.iloc[guest]
    running = row["status"] != "stopped"
    return str(row["type"]), bool(running), int(row["memory_used_mib"]) if running else 0, int(row["disk_mib"])


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
        checkpoints=tuple(_checkpoints(Course(formulation, migrations), there)),
    )


class Course:
    """Spread and broken rules when so many of some migrations have ended, in their order."""

    def __init__(self, formulation: Formulation, migrations: Sequence[Migration]) -> None:
        self._formulation, self._migrations = formulation, migrations
        problem = formulation.problem
        moved = set(np.flatnonzero(formulation.after(migrations) != problem.origin).tolist())
        moved |= {formulation.index[m.vmid] for m in migrations}
        # Only rules about these guests can be broken or repaired by them.
        self._part = problem.replace(
            apart=tuple(rule for rule in problem.apart if not moved.isdisjoint(rule.guests)),
            together=tuple(group for group in problem.together if not moved.isdisjoint(group)),
        )
        broken = len(check.violations(problem, problem.origin))
        self._others = broken - len(check.violations(self._part, problem.origin))
        self._spreads = list(self._all_spreads())
        self._tolerated = max(self._spreads[0], problem.tolerance)
        self._counts = {0: broken}

    def _all_spreads(self) -> Iterator[int]:
        problem, formulation = self._part, self._formulation
        loads = problem.loads(problem.origin)
        yield problem.spread_of(loads)
        for m in self._migrations:
            guest, ends = (
                formulation.index[m.vmid],
                [formulation.node_index[m.source], formulation.node_index[m.target]],
            )
            weights = problem.weights(np.array([guest, guest]), np.array(ends))
            loads[:, ends[0]] -= weights[:, 0]
            loads[:, ends[1]] += weights[:, 1]
            yield problem.spread_of(loads)

    def spread(self, count: int) -> float:
        """Percentage points."""
        return self._spreads[count] * 100 / PPM

    def broken(self, count: int) -> int:
        """Broken rules."""
        if count not in self._counts:
            at = self._formulation.after(self._migrations[:count])
            self._counts[count] = self._others + len(check.violations(self._part, at))
        return self._counts[count]

    def leaving(self, count: int) -> int:
        """Those of them that are only that guests have not left a node yet which is to be emptied."""
        if not self._formulation.rules.leaving:
            return 0
        found = check.violations(self._part, self._formulation.after(self._migrations[:count]))
        return sum(explain.leaves(self._formulation, item) for item in found)

    def no_worse(self, count: int, before: int) -> bool:
        """Whether rules are repaired since a cut before, or none is broken and the spread is no larger than there, or
        today."""
        fine = self._spreads[count] <= max(self._tolerated, self._spreads[before])
        return (fine or self.broken(before) > 0) and self.broken(count) <= self.broken(before) - (not fine)


def _checkpoints(course: Course, there: Waves) -> Iterator[Checkpoint]:
    count, seconds = 0, 0.0
    for wave in there:
        count, seconds = count + len(wave), max(seconds, *(m.end for m in wave))
        yield Checkpoint(course.spread(count), course.broken(count) - course.leaving(count), seconds)
