"""Owns the way to hbal and back: a Problem as the text that Ganeti's htools read, the moves it prints as an assignment.

Formats and options: htools(1) and hbal(1), Debian package ganeti-htools, 3.0. hbal balances standard deviations; told
of nothing but the problem's first metric it balances that alone. It knows limits, guests that stay, nodes to be emptied
(offline), and apart-groups (exclusion tags). It does not know pins and together-groups: as an administrator would, we
have such guests stay, so that hbal breaks no rule that it cannot know.
"""

import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from solvers.problem import PPM, Apart, Ints, Problem
from solvers.result import Budget, Progress

NAME = "hbal"
OPTIONS = ("--min-gain=1e-7", "--ignore-dynu")
"""Go on while a move gains anything; hbal would also even out the number of guests per node otherwise."""
UUID = "all"
TAG = "apart"
POLICY = (
    "1,1,0,0,0,0|0,0,0,0,0,0;999999999,999999,999999999,99,99,99"
    "|diskless,file,sharedfile,plain,blockdev,drbd,rbd,ext,gluster|999999.0|999999.0"
)
"""Guests of any size are welcome: standard; smallest; largest guest; disk templates; ratios of CPUs and of spindles."""
MOVE = re.compile(r"\s*\d+\. g(\d+)\s+n\d+\s*=>\s*n(\d+)\s")
"""A line such as `  1. g24 n3    => n4      0.08600852 a=fa:n4`: number, guest, from, to, score, actions."""


@dataclass(frozen=True, eq=False)
class Moves:
    """What hbal has printed."""

    assignment: Ints
    """(g,) node of each guest."""
    complete: bool
    """False: ended at the time limit; the moves that it had printed by then count."""
    peak_mib: int
    """Peak memory of hbal's own process, as seen at its last move."""


def installed() -> bool:
    """Whether there is an hbal to ask."""
    return shutil.which(NAME) is not None


def solve(problem: Problem, budget: Budget) -> Moves:
    """Ask hbal; it has no seed. RuntimeError with its own words when it does not like the question."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cluster.data"
        file.write_text(text(problem))
        return _follow(problem, budget, [NAME, "-t", str(file), *OPTIONS, *_options(problem)])


def _options(problem: Problem) -> list[str]:
    """The limit, and the guests that stay where they are: fixed, pinned or in a together-group."""
    limit = [] if problem.max_migrations is None else [f"--max-length={problem.max_migrations}"]
    everywhere = np.asarray(problem.eligibility[:, problem.balanced].all(axis=1))
    free = problem.movable & everywhere[problem.eligible]
    free[[guest for group in problem.together for guest in group]] = False
    stay = ",".join(f"g{guest}" for guest in _told(problem) if not free[guest])
    return [*limit, f"--exclude-instances={stay}"] if stay else limit


def _follow(problem: Problem, budget: Budget, command: list[str]) -> Moves:
    """Read the moves as they are printed, until hbal is done or its time is over."""
    assignment, began, peak, expired = np.array(problem.origin), time.monotonic(), 0, threading.Event()
    words: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        clock = threading.Timer(budget.seconds, _end, (process, expired))
        clock.start()
        for line in process.stdout or ():
            words.append(line)
            if move := MOVE.match(line):
                assignment[int(move[1])] = int(move[2])
                peak = _peak_mib(process.pid) or peak
                if budget.progress:
                    budget.progress(Progress(time.monotonic() - began, problem.spread(assignment), 0))
        clock.cancel()
    if process.returncode and not expired.is_set():
        raise RuntimeError(f"hbal ended with {process.returncode}: {''.join(words).strip()}")
    return Moves(assignment, not expired.is_set(), peak)


def _end(process: subprocess.Popen[str], expired: threading.Event) -> None:
    expired.set()
    process.kill()


def _peak_mib(pid: int) -> int:
    """High-water mark of a process (that of getrusage is inherited from who started it); 0 when it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) // 1024 if found else 0


def text(problem: Problem) -> str:
    """Groups, nodes, guests, cluster tags and policies, with an empty line between the sections."""
    sections = (
        [f"{UUID}|{UUID}|preferred||"],
        list(_nodes(problem)),
        list(_guests(problem)),
        [f"htools:iextags:{TAG}"],
        [f"|{POLICY}", f"{UUID}|{POLICY}"],
    )
    return "\n".join("".join(f"{line}\n" for line in section) for section in sections)


def _nodes(problem: Problem) -> Iterator[str]:
    """name|memory|used by the node|free|disk|free disk|cores|offline|group|spindles.

    Disks, cores and spindles are the same everywhere and nobody uses them.
    """
    ability = problem.ability[0]
    own = np.maximum(0, (problem.base[0] * ability + PPM // 2) // PPM)
    free = ability - own - np.bincount(problem.origin, weights=problem.demand[0], minlength=problem.nodes).astype(int)
    for node in range(problem.nodes):
        offline = "N" if problem.balanced[node] else "Y"
        yield f"n{node}|{ability[node]}|{own[node]}|{free[node]}|1024|1024|1|{offline}|{UUID}|1"


def _guests(problem: Problem) -> Iterator[str]:
    """name|memory|disk|vcpus|status|auto balance|node|secondary node|disk template|tags|spindle use.

    `ext` is storage that every node reaches, so that a guest may go to any of them.
    """
    tags: dict[int, list[str]] = {}
    for index, rule in enumerate(problem.apart):
        for guest in rule.guests if rule == Apart.of(rule.guests) else ():
            tags.setdefault(guest, []).append(f"{TAG}:{index}")
    for guest in _told(problem):
        memory, node = problem.demand[0, guest], problem.origin[guest]
        yield f"g{guest}|{memory}|0|0|running|Y|n{node}||ext|{','.join(tags.get(guest, ()))}|0"


def _told(problem: Problem) -> list[int]:
    """Guests that hbal hears of: not those that stay on a node that is not balanced."""
    return [int(guest) for guest in np.flatnonzero(problem.movable | problem.balanced[problem.origin])]
