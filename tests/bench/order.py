"""Measures schedules: `python -m tests.bench.order [--limit N] INSTANCE...`, planned with descent.

Prints instance, limit, seed, migrations, stops on third nodes, migrations that wait for others, stranded guests, waves,
the seconds that the schedule takes and its proven bound, one by one, and the seconds it took to find.
"""

import argparse
import time

from planner import agenda
from planner.planning import prepare, solve
from planner.policy import Policy
from planner.simulate import Size
from solvers import Budget
from tests.bench.measure import cluster_of

HEAD = ("instance", "limit", "seed", "migrations", "stops", "waiting", "stranded", "waves", "seconds", "bound",
        "one by one", "found in")  # fmt: skip
USUAL = (*Size, "tests/data/instances/S-1.json.gz", "tests/data/instances/M-1.json.gz")


def row(instance: str, limit: int | None, seed: int) -> tuple[str, ...]:
    """One line of the table."""
    policy = Policy(balanciness=0, max_migrations=limit, time_limit=5, seed=seed, allow_partial=True)
    case = prepare(cluster_of(instance), policy)
    problem = case.formulation.problem
    result = solve(case, problem, "descent", Budget(seconds=policy.time_limit, seed=seed))
    began = time.perf_counter()
    found = agenda.reach(case, problem, result.assignment)
    there, schedule, _ = agenda.agenda(case, found)
    took = time.perf_counter() - began
    migrations = [migration for wave in there for migration in wave]
    name = instance.rsplit("/", 1)[-1].removesuffix(".json.gz")
    figures = (len(migrations), sum(m.bypass for m in migrations), sum(bool(m.after) for m in migrations),
               len(found.stranded), len(there))  # fmt: skip
    seconds = (schedule.seconds, schedule.bound, schedule.one_by_one)
    return (name, "none" if limit is None else str(limit), str(seed), *map(str, figures),
            *(f"{s:.0f}" for s in seconds), f"{took:.2f} s")  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, help="at most so many migrations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("instances", nargs="*", default=USUAL)
    given = parser.parse_args()
    rows = [HEAD, *(row(instance, given.limit, given.seed) for instance in given.instances)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        print(
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
        )


if __name__ == "__main__":
    main()
