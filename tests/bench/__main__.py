"""Measures solvers on snapshots or on demo clusters: quality, proof, seconds and peak memory, one row per run.

make bench ARGS="--limit 8 --limit 20 --time-limit 60 --csv out.csv cluster.json.gz"
"""

import argparse
import csv
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path

from planner.planning import NAMES
from planner.policy import Policy
from tests.bench.measure import Row, measure


def runs(args: argparse.Namespace) -> Iterator[Row]:
    """Each run in a fresh process, so that peak memory is its own."""
    context = multiprocessing.get_context("spawn")
    for instance in args.instances or ["small", "medium", "large"]:
        for limit in args.limit or [20]:
            for solver in args.solver.split(","):
                policy = Policy(max_migrations=limit or None, balanciness=0, time_limit=args.time_limit, seed=args.seed)
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    yield pool.submit(measure, instance, solver, policy).result()


def main() -> None:
    """Print a row per run as soon as it is there; the same as CSV with --csv."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "instances",
        nargs="*",
        help="snapshot files, small, medium, large (demo clusters), or S, M, L, XL, XXL (generated; with a seed: M@7)",
    )
    parser.add_argument("--limit", type=int, action="append", help="migrations; 0: no limit; repeatable; default 20")
    parser.add_argument("--solver", default=",".join(NAMES))
    parser.add_argument("--time-limit", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    names = [field.name for field in fields(Row)]
    print("  ".join(f"{name:>10}" for name in names))
    rows = []
    for row in runs(args):
        rows.append(asdict(row))
        print("  ".join(f"{'-' if value is None else value!s:>10}" for value in rows[-1].values()), flush=True)
    if args.csv:
        with args.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
