"""Owns one measured run of one solver on one instance."""

import re
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

import planner
from planner.cluster import Cluster
from planner.collect import collect
from planner.planning import Case, prepare, solve
from planner.policy import Policy
from planner.schedule import schedule
from planner.simulate import Size
from solvers import Budget, Progress, Result, judge
from solvers.problem import PPM
from solvers.result import Answer
from tests.bench import hbal
from tests.bench.generate import generate, parse

NEAR = 0.1
"""Percentage points from the final spread at which a search has arrived."""
TIMEOUT = "timeout"
"""Status of a tool that does not know our time limit and was ended at it."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to measure."""

    instance: str
    """A demo cluster (small), a generated one (M@7), or a snapshot file."""
    solver: str
    limit: str
    """Migrations: a whole number, `none`, or a percentage of the guests such as `2%`."""
    seed: int = 0
    seconds: float = 20.0
    """Time limit."""

    @property
    def name(self) -> str:
        """The instance, without folder and extension."""
        return Path(self.instance).name.removesuffix(".json.gz").removesuffix(".json")


@dataclass(frozen=True, slots=True)
class Row:
    """One run: before, spread, bound and gap in percentage points, times in seconds, peak memory in MiB."""

    instance: str
    nodes: int
    guests: int
    limit: str
    """Migrations, with the percentage that was asked for: `none`, `20`, `30 (2%)`."""
    seed: int
    solver: str
    status: str
    before: float
    spread: float
    """Of the solver's answer, as the checker judges it."""
    bound: float | None
    gap: float | None
    reached: float
    """Spread where its migrations are carried out one at a time and those that never find room are left out."""
    violations: int
    """Broken rules left by the solver's answer."""
    migrations: int
    gib: float
    seconds: float
    settled: float
    """Seconds until the spread was and stayed within 0.1 points of the final one; all of them where no progress is
    reported."""
    peak_mib: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a solver or a tool has answered."""

    result: Result
    status: str
    reached: int
    """ppm."""
    peak_mib: int


@dataclass(slots=True)
class _Track:
    """When a search had which spread."""

    began: float = field(default_factory=time.monotonic)
    points: list[tuple[float, float]] = field(default_factory=list)

    def note(self, progress: Progress) -> None:
        """Our own clock: a search does not count what came before it, such as its warm start."""
        self.points.append((time.monotonic() - self.began, _points(progress.spread)))


def measure(task: Task) -> Row:
    """Run one solver, in this process."""
    cluster = cluster_of(task.instance)
    allowed = allowance(task.limit, len(cluster.guests))
    policy = Policy(max_migrations=allowed, balanciness=0, time_limit=task.seconds, seed=task.seed)
    case, track = prepare(cluster, policy), _Track()
    run = _by_hbal if task.solver == hbal.NAME else _by_solver
    outcome = run(case, task.solver, Budget(seconds=task.seconds, seed=task.seed, progress=track.note))
    return _row(task, _label(task.limit, allowed), case, outcome, track)


def _row(task: Task, limit: str, case: Case, outcome: _Outcome, track: _Track) -> Row:
    """The figures of one run, rounded to what they are good for: 4 digits are ppm."""
    problem, result = case.formulation.problem, outcome.result
    migrated = problem.migrated(result.assignment)
    spread, bound = _points(result.spread), None if result.bound is None else _points(result.bound)
    return Row(
        instance=task.name,
        nodes=len(case.cluster.nodes),
        guests=len(case.cluster.guests),
        limit=limit,
        seed=task.seed,
        solver=task.solver,
        status=outcome.status,
        before=_points(problem.spread(problem.origin)),
        spread=spread,
        bound=bound,
        gap=None if bound is None else round(spread - bound, 4),
        reached=_points(outcome.reached),
        violations=result.score.violations,
        migrations=len(migrated),
        gib=round(int(problem.copy_mib[migrated].sum()) / 1024, 1),
        seconds=round(result.seconds, 3),
        settled=round(settled(track.points, spread, result.seconds), 3),
        peak_mib=outcome.peak_mib,
    )


def is_limit(text: str) -> bool:
    """Whether a text is a limit that `allowance` understands."""
    return re.fullmatch(r"none|\d+|\d+(\.\d+)?%", text) is not None


def allowance(limit: str, guests: int) -> int | None:
    """Migrations that a limit allows on a cluster of so many guests; None: any number."""
    if limit == "none":
        return None
    return round(float(limit[:-1]) * guests / 100) if limit.endswith("%") else int(limit)


def settled(points: list[tuple[float, float]], final: float, seconds: float) -> float:
    """Seconds after which every spread reported, up to the last, is within NEAR of the final one."""
    result = seconds
    for second, spread in reversed(points):
        if spread > final + NEAR:
            break
        result = second
    return min(result, seconds)


def _label(limit: str, allowed: int | None) -> str:
    return f"{allowed} ({limit})" if limit.endswith("%") else limit


def cluster_of(instance: str) -> Cluster:
    if instance in list(Size):
        return planner.demo(instance)
    generated = parse(instance)
    return collect(generate(*generated)) if generated else planner.load(instance)


def _by_solver(case: Case, solver: str, budget: Budget) -> _Outcome:
    """One of the planner's solvers, asked as the planner asks."""
    problem = case.formulation.problem
    result = solve(case, problem, solver, budget)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    reached = result.assignment
    if solver != "proxlb":  # it migrates whether there is room or not
        reached = schedule(problem, result.assignment).assignment
    return _Outcome(result, result.status.value, problem.spread(reached), peak)


def _by_hbal(case: Case, solver: str, budget: Budget) -> _Outcome:
    """What hbal would do, judged as it is; every one of its moves finds room when its turn comes."""
    problem, began = case.formulation.problem, time.monotonic()
    moves = hbal.solve(problem, budget)
    result = judge(problem, solver, Answer(moves.assignment), time.monotonic() - began, faithful=True)
    return _Outcome(result, result.status.value if moves.complete else TIMEOUT, result.spread, moves.peak_mib)


def _points(ppm: int) -> float:
    """ppm as percentage points."""
    return round(ppm * 100 / PPM, 4)
