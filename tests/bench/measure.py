"""One measured run of one solver."""

import resource
from dataclasses import dataclass
from pathlib import Path

import planner
from planner.cluster import Cluster
from planner.collect import collect
from planner.planning import make_plan, prepare
from planner.policy import Policy
from tests.bench.generate import generate, parse


@dataclass(frozen=True, slots=True)
class Row:
    """One run: spread, bound and gap in percentage points, peak memory in MiB."""

    instance: str
    nodes: int
    guests: int
    limit: str
    seed: int
    solver: str
    status: str
    before: float
    spread: float
    bound: float | None
    gap: float | None
    migrations: int
    gib: float
    seconds: float
    peak_mib: int


def _cluster(instance: str) -> Cluster:
    """A demo cluster, a generated one, or a snapshot file."""
    if instance in ("small", "medium", "large"):
        return planner.demo(instance)
    generated = parse(instance)
    return collect(generate(*generated)) if generated else planner.load(instance)


def measure(instance: str, solver: str, policy: Policy) -> Row:
    """Plan once, in this process."""
    cluster = _cluster(instance)
    plan = make_plan(prepare(cluster, policy), solver)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Row(
        Path(instance).name.removesuffix(".json.gz"),
        len(cluster.nodes),
        len(cluster.guests),
        "none" if policy.max_migrations is None else str(policy.max_migrations),
        policy.seed,
        solver,
        plan.status.value,
        round(plan.spread.before, 4),
        round(plan.spread.after, 4),
        None if plan.spread.bound is None else round(plan.spread.bound, 4),
        None if plan.gap is None else round(plan.gap, 4),
        len(plan.migrations),
        round(plan.moved_gib, 1),
        plan.seconds,
        peak,
    )
