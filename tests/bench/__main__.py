"""Measures solvers on demo clusters, generated ones or snapshots: quality, proof, time and memory, one row per run.

make bench ARGS="--limit 2% --limit none --time-limit 60 --csv out.csv M M@7 cluster.json.gz"
make bench ARGS="--limit 2% --limit none --time-limit 60 --against out.csv M M@7 cluster.json.gz"
"""

import argparse
import itertools
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from planner.planning import NAMES
from planner.simulate import Size
from tests.bench import hbal, table
from tests.bench.against import Comparison
from tests.bench.generate import SIZES, parse
from tests.bench.machine import provenance
from tests.bench.measure import Row, Task, is_limit, measure

SOLVERS = (*NAMES, hbal.NAME)
WORSE = 1
"""Exit code when something is worse than in the earlier run, or a run has failed."""


def arguments(texts: list[str]) -> argparse.Namespace:
    """What is asked for; exits with code 2 when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = f"snapshot files, {', '.join(Size)} (demo clusters), {', '.join(SIZES)} (generated; another one: M@7)"
    limits = "migrations: a whole number, none, or a percentage of the guests such as 2%%; repeatable; default 20"
    parser.add_argument("instances", nargs="*", type=_instance, default=list(Size), help=known)
    parser.add_argument("--limit", type=_limit, action="append", help=limits)
    parser.add_argument("--solver", type=_solvers, default=SOLVERS, help=f"default: {','.join(SOLVERS)}")
    parser.add_argument("--seed", type=int, action="append", help="repeatable; default 0")
    parser.add_argument("--time-limit", type=float, default=20.0, help="seconds for each run; default 20")
    parser.add_argument("--csv", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--against", type=_earlier, metavar="FILE", help="compare with the CSV file of an earlier run")
    parser.add_argument("--tolerance", type=float, default=0.05, help="points that count as the same; default 0.05")
    return parser.parse_args(texts)


def _instance(text: str) -> str:
    if text not in list(Size) and not parse(text) and not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no instance and no snapshot file {text}")
    return text


def _limit(text: str) -> str:
    if not is_limit(text):
        raise argparse.ArgumentTypeError(f"{text} is no limit: a whole number, none, or a percentage such as 2%")
    return text


def _solvers(text: str) -> tuple[str, ...]:
    for name in text.split(","):
        if name not in SOLVERS:
            raise argparse.ArgumentTypeError(f"there is no solver {name}: choose from {', '.join(SOLVERS)}")
    return tuple(text.split(","))


def _earlier(text: str) -> list[Row]:
    try:
        return table.read_csv(Path(text))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def tasks(args: argparse.Namespace) -> Iterator[Task]:
    """Every instance, limit, seed and solver; what cannot be run is left out, with a line that says so."""
    solvers = args.solver
    if hbal.NAME in solvers and not hbal.installed():
        print(f"# {hbal.NAME} is not installed (Debian package ganeti-htools): left out")
        solvers = [name for name in solvers if name != hbal.NAME]
    for instance, limit, seed, solver in itertools.product(
        args.instances, args.limit or ["20"], args.seed or [0], solvers
    ):
        yield Task(instance, solver, limit, seed, args.time_limit)


def run(task: Task) -> Row | None:
    """Measure in a fresh process, so that peak memory is its own; None, with a line, when it does not survive."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(measure, task).result()
    except Exception as error:  # out of memory, a mistake: the other runs are still worth their hours
        print(f"# failed: {task.name} {task.limit} {task.seed} {task.solver}: {type(error).__name__}: {error}")
        return None


def main(texts: list[str]) -> int:
    """Print a row per run as soon as it is there; the same as CSV and as Markdown if wanted; compare if wanted."""
    args = arguments(texts)
    notes, todo = provenance(texts), list(tasks(args))
    comparison = None if args.against is None else Comparison(args.against, args.tolerance)
    names, instances = [*table.NAMES, *(table.CHANGES if comparison else ())], [task.name for task in todo]
    print(*(f"# {note}" for note in notes), table.line(names, names, instances), sep="\n", flush=True)
    shown, failed = [], False
    with ExitStack() as stack:
        csv = args.csv and table.CsvFile(stack.enter_context(args.csv.open("w", newline="")), notes)
        for row in map(run, todo):
            failed |= row is None
            if row is None:
                continue
            shown.append([*table.cells(row), *(table.changes(comparison.add(row)) if comparison else ())])
            print(table.line(shown[-1], names, instances), flush=True)
            if csv:
                csv.add(row)
            if args.markdown:
                table.write_markdown(args.markdown, notes, names, shown)
    if comparison:
        print(f"# against the earlier run, tolerance {args.tolerance}", *comparison.summary(), sep="\n")
    return WORSE if failed or (comparison and comparison.worse()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
