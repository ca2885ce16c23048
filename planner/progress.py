"""Owns what a person sees on stderr while a plan is made: how far it is, and the notes."""

import contextlib
import sys
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.cluster import Cluster
    from planner.plan import Plan
    from planner.policy import Policy
    from planner.session import Session
    from solvers import Budget
    from solvers.front import Front, Told


def plan(session: "Session", cluster: "Cluster", solver: str, drained: Collection[str] = ()) -> "Plan":
    """A plan that Proxmox VE admits as far as it says; what a person should know is said."""
    from planner.planning import checked_plan

    with budget(session.policy, solver) as limits:
        result = checked_plan(
            cluster, session.policy, session.settings, str(solver), limits, session.source, drained, session.apply
        )
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr, flush=True)
    return result


@contextlib.contextmanager
def budget(policy: "Policy", solver: str) -> "Iterator[Budget]":
    """A budget whose progress shows, when stderr is a terminal."""
    from rich.console import Console

    from solvers import Budget, Progress

    console = Console(stderr=True)
    with console.status(f"{solver}: planning, at most {policy.time_limit:g} s") as status:

        def show(step: Progress) -> None:
            spread, bound = step.spread / 1e4, step.bound / 1e4
            status.update(f"{solver}: {step.seconds:.0f} s, spread {spread:.2f}, bound {bound:.2f}")

        yield Budget(seconds=policy.time_limit, seed=policy.seed, progress=show)


@contextlib.contextmanager
def front(seconds: float) -> "Iterator[Told]":
    """Who is told how far a frontier is, which shows when stderr is a terminal."""
    from rich.console import Console

    console, began = Console(stderr=True), time.monotonic()
    with console.status(f"frontier: at most {seconds:g} s") as status:

        def show(now: "Front") -> None:
            proven, widest = sum(point.exact for point in now.points), max(p.spread - p.bound for p in now.points)
            so_far = f"{proven} of {len(now.points)} points proven, largest gap {widest / 1e4:.2f}"
            status.update(f"frontier: {time.monotonic() - began:.0f} of at most {seconds:g} s, {so_far}")

        yield show
