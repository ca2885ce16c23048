"""Owns the frontier: what each migration more, or each GiB more, buys; in names and percent, with a plan for each."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import pandas as pd

from planner import agenda, missing
from planner.capacity import GIB
from planner.case import SHARE, Case
from planner.errors import MissingDependency, UsageError
from planner.frames import Column
from planner.knee import knee
from planner.plan import Plan
from planner.planning import plan_of
from planner.policy import Against, Policy, Resource
from planner.stages import LIMITS, notes, search, stages
from solvers import Budget, Cost, Problem, Result, Status, bounds, judge
from solvers.front import Front, Point, Told
from solvers.problem import PPM
from solvers.result import Answer

FORMAT: Final = "proxlb-plan-frontier/1"
MOST = 30
"""Migrations up to which limits are looked at, if the policy sets no limit."""
POINTS = 30
"""Points of the front against GiB beyond which it is not looked at one by one."""
TIMES = 4
"""Time limits of a solver that all limits together may take."""
ROUNDED = 1e-4
"""Points of spread that are one ppm: less is no difference."""
COLUMNS = (
    Column("limit", "float64", "migrations or GiB", "at most so many migrations, or so many GiB copied"),
    Column("migrations", "int64", "", "of the best that was found within the limit"),
    Column("gib", "float64", "GiB", "that these copy"),
    Column("spread", "float64", "percentage points", "that they reach"),
    Column("bound", "float64", "percentage points", "proven: with as few violations no spread is smaller"),
    Column("gap", "float64", "percentage points", "between the two"),
    Column("exact", "bool", "", "proven: nothing has fewer violations, or as few and a smaller spread"),
    Column("gain", "float64", "percentage points", "less spread than within the limit before; empty: not comparable"),
    Column("knee", "bool", "", "the limit up to which much is gained for little (see planner.knee)"),
    Column("violations", "int64", "", "broken rules left; fewer come before a smaller spread"),
    Column("gave_way", "int64", "", "should-rules, or parts of them, that give way so that the others can hold"),
    Column("changeable", "float64", "percentage points", "spread over nodes that something can change; empty: all can"),
    Column("reachable", "bool", "", "all of its migrations can be put in an order that is safe at every moment"),
)  # fmt: skip
"""One row per limit, rising."""


@dataclass(frozen=True, eq=False)
class Frontier:
    """The smallest spread within every limit, as far as it is known, and what is proven of it."""

    case: Case
    against: Against
    front: Front
    cases: tuple[Case, ...]
    """Of each point the case that it is of: which should-rules give way depends on the limit."""
    reachable: tuple[bool, ...]
    """Of each point whether its migrations can all be put in a safe order."""
    notes: tuple[str, ...] = ()

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per limit, columns as in COLUMNS."""
        frame = pd.DataFrame(self._rows(), columns=[column.name for column in COLUMNS])
        return frame.astype({column.name: column.dtype for column in COLUMNS})

    @property
    def knee(self) -> float | None:
        """The limit up to which much is gained for little, of the points that compare with the last; None: none."""
        last = self.front.points[-1]
        points = [point for point in self.front.points if self._are_alike(point, last)]
        index = knee([(self._limit(point), point.spread) for point in points])
        return None if index is None else self._limit(points[index])

    @property
    def _default(self) -> float:
        """The limit that is meant where none is named."""
        last, marked = self.front.points[-1], self.knee
        best = (p for p in self.front.points if self._are_alike(p, last) and p.spread == last.spread)
        return self._limit(next(best)) if marked is None else marked

    @property
    def problem(self) -> Problem:
        """What was asked, but for the limit, with the rules that hold within the last one."""
        return self.cases[-1].formulation.problem

    @property
    def before(self) -> float:
        """Percentage points today."""
        return _points(self.problem.spread(self.problem.origin))

    @property
    def exact(self) -> bool:
        """Whether all points are proven, and no others lie between or beyond them."""
        return self.front.complete and all(self._exact(point) for point in self.front.points)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What is balanced."""
        return self.case.policy.resource

    def plan(self, limit: float | None = None) -> Plan:
        """The plan for a limit, no worse than its point, unless a note says why.

        Default: the knee, or where there is none the smallest limit that is as good as the last. UsageError for a limit
        beyond what was asked about.
        """
        point = self._within(self._default if limit is None else limit)
        bounded: dict[str, Any] = (
            {"max_gib": self._limit(point)} if self.against is Against.GIB else {"max_migrations": point.limit}
        )
        limits = self._own_limit(point)
        prefer = Cost.MIB if self.against is Against.GIB else Cost.MIGRATIONS
        own = self._case(point)
        problem = own.formulation.problem.replace(goal=0, prefer=prefer, **limits)
        formulation = replace(own.formulation, problem=problem)
        case = replace(own, policy=replace(own.policy, **bounded), formulation=formulation)
        budget = Budget(seconds=case.policy.time_limit, seed=case.policy.seed)
        made = plan_of(case, self._result(problem, point), budget)
        return replace(made, notes=(*made.notes, *self._worse(point, made)))

    def _repr_html_(self) -> str:
        from planner import display, report_frontier

        return display.printed(lambda out: report_frontier.frontier(self, out))

    def to_json(self) -> str:
        """As JSON, as described by `planner/schemas/frontier.json`."""
        rows = [{key: _plain(value) for key, value in row.items()} for row in self.frame.to_dict("records")]
        document = {
            "format": FORMAT, "against": self.against, "resources": list(self.resources),
            "combine": self.case.policy.combine, "mode": self.case.policy.mode,
            "taken_at": self.case.cluster.snapshot.taken_at, "before": self.before, "knee": self.knee,
            "complete": self.front.complete, "exact": self.exact, "seconds": round(self.front.spent, 3),
            "points": rows, "notes": list(self.notes),
        }  # fmt: skip
        return json.dumps(document, indent=2)

    # --- points -----------------------------------------------------------------------------------------

    def _rows(self) -> list[dict[str, Any]]:
        marked, result = self.knee, list[dict[str, Any]]()
        before: Point | None = None
        for point, reachable in zip(self.front.points, self.reachable, strict=True):
            alike = before is not None and self._are_alike(before, point)
            limit, bound = self._limit(point), _points(self._bound(point))
            result.append({
                "limit": limit, "migrations": len(self.problem.migrated(point.assignment)),
                "gib": self.problem.moved_mib(point.assignment) / GIB, "spread": _points(point.spread), "bound": bound,
                "gap": _points(max(0, point.spread - self._bound(point))), "exact": self._exact(point),
                "gain": _points(before.spread - point.spread) if before is not None and alike else math.nan,
                "knee": limit == marked, "violations": point.score.violations,
                "gave_way": len(self._case(point).gave_way), "changeable": self._changeable(point),
                "reachable": reachable,
            })  # fmt: skip
            before = point
        return result

    def _changeable(self, point: Point) -> float:
        formulation = self._case(point).formulation
        spreads = formulation.changeable(point.assignment)
        return math.nan if spreads is None else _points(formulation.problem.aims[0].value(spreads))

    def _case(self, point: Point) -> Case:
        return self.cases[self.front.points.index(point)]

    def _are_alike(self, one: Point, other: Point) -> bool:
        """Whether spreads can be compared: as many rules are broken, and the same have given way."""
        return one.score.violations == other.score.violations and self._case(one) is self._case(other)

    def _limit(self, point: Point) -> float:
        return point.limit / GIB if self.against is Against.GIB else float(point.limit)

    def _bound(self, point: Point) -> int:
        """ppm; where should-rules gave way others might have instead, and only what holds without any is proven."""
        case = self._case(point)
        if not case.gave_way and case.least:
            return point.bound
        return min(point.bound, bounds.spread_bound(case.way.replace(**self._own_limit(point))))

    def _own_limit(self, point: Point) -> dict[str, int]:
        return {LIMITS[self.against]: point.limit}

    def _exact(self, point: Point) -> bool:
        return point.exact and not self._case(point).gave_way and self._case(point).least

    def _within(self, limit: float) -> Point:
        """The best point within a limit. UsageError where none was looked at."""
        most = self._most()
        unit = "GiB" if self.against is Against.GIB else "migration" if most == 1 else "migrations"
        if not 0 <= limit <= most:
            raise UsageError(f"the frontier has limits from 0 to {most:g} {unit}, and {limit:g} is none of them")
        return [point for point in self.front.points if self._limit(point) <= limit][-1]

    def _most(self) -> float:
        """The largest limit that was asked about: any, where there was none; perhaps more migrations than guests."""
        if self.against is Against.MIGRATIONS:
            return float(_asked(self.case.policy))
        most = self.problem.max_moved_mib
        return math.inf if most is None else most / GIB

    def _result(self, problem: Problem, point: Point) -> Result:
        """A point as what a solver has found."""
        status = Status.INFEASIBLE if self._exact(point) and point.score.violations else Status.FEASIBLE
        return judge(problem, "cpsat", Answer(point.assignment, self._bound(point), status), 0.0)

    def _worse(self, point: Point, made: Plan) -> tuple[str, ...]:
        """What is to be said where a plan does not get to its point."""
        spread, left = _points(point.spread), point.score.violations
        if (len(made.violations_after), made.spread.after) <= (left, spread + ROUNDED / 2):
            return ()
        why = "the loss of a node has to be survived" if made.survival is not None else "no safe way to it was found"
        broken = f" and {left} broken rules" if left else ""
        return (f"the frontier has a spread of {spread:.2f} points{broken} within this limit, but {why}",)


def axis(name: str) -> Against:
    """What a frontier can be against, by its name. UsageError for one that there is not."""
    if name not in list(Against):
        raise UsageError(f"there is no frontier against {name}: choose from {', '.join(Against)}")
    return Against(name)


def make_frontier(
    case: Case, against: Against = Against.MIGRATIONS, budget: Budget | None = None, told: Told | None = None
) -> Frontier:
    """The smallest spread within every limit up to that of the case's policy, in at most four times its time limit.

    MissingDependency without OR-Tools. Against GiB without a limit: up to what the smallest spread takes.
    """
    began, policy, problem = time.monotonic(), case.policy, case.formulation.problem
    budget = budget or Budget(seconds=TIMES * policy.time_limit, seed=policy.seed)
    most = _asked(policy)
    if against is Against.GIB:
        most = int(problem.copy_mib.sum()) if problem.max_moved_mib is None else problem.max_moved_mib
    try:
        steps = stages(case, against, most, SHARE * budget.seconds)
        left = budget.seconds - (time.monotonic() - began)
        front, cases = search(steps, against, POINTS, replace(budget, seconds=left), told)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] != "ortools":
            raise
        raise MissingDependency(missing.ortools("a frontier")) from None
    reachable = _reachable(cases, front.points, LIMITS[against])
    return Frontier(case, against, front, cases, reachable, (*_notes(case, policy), *notes(steps, against)))


def _asked(policy: Policy) -> int:
    """The largest number of migrations that is asked about."""
    return MOST if policy.max_migrations is None else policy.max_migrations


def _reachable(cases: Sequence[Case], points: Sequence[Point], limit: str) -> tuple[bool, ...]:
    """Of each point whether all its migrations find a safe order; stops on the way count against its limit."""
    known, result = set[tuple[int, bytes]](), list[bool]()
    for case, point in zip(cases, points, strict=True):
        key = id(case), point.assignment.tobytes()
        if key not in known:
            problem = case.formulation.problem.replace(**{limit: point.limit})
            if not agenda.reach(case, problem, point.assignment).stranded:
                known.add(key)
        result.append(key in known)
    return tuple(result)


def _notes(case: Case, policy: Policy) -> list[str]:
    """What a person should know of it."""
    formulation, result = case.formulation, []
    if formulation.stuck:
        names = sorted({formulation.nodes[node] for nodes in formulation.stuck.values() for node in nodes})
        result.append(f"nothing can change the load of {', '.join(names)}, which counts for the spread all the same")
    if policy.until_balanced or policy.repair_only:
        name = "until_balanced" if policy.until_balanced else "repair_only"
        result.append(f"{name} has no effect: a frontier shows the smallest spread within each limit")
    if policy.survive:
        result.append("headroom is not looked at before a plan is made: with survive plans may keep more spread")
    return result


def _points(ppm: int) -> float:
    """ppm as percentage points."""
    return ppm * 100 / PPM


def _plain(value: Any) -> Any:
    """A cell as JSON takes it: nothing where there is no number."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return round(value, 6) if isinstance(value, float) else value
