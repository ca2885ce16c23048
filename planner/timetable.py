"""Owns when each migration is expected to begin: as early as its limits let it, and how soon all of it could end."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

WORTH = 0.95
"""How much shorter a schedule must be for an order that does not put first what is gained most by."""


@dataclass(frozen=True, slots=True)
class Job:
    """One guest's migration, as far as its time is concerned."""

    source: str
    target: str
    ms: int
    """Milliseconds that it takes."""
    rate: float = 0.0
    """MiB/s that it takes of the network of both nodes."""
    after: tuple[int, ...] = ()
    """Indices of jobs, all smaller than its own, that must have ended."""
    repair: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be under way at once."""

    parallel: int
    per_source: int
    per_target: int
    bandwidth: float | None = None
    """MiB/s of each node in each direction."""


def begins(jobs: Sequence[Job], limits: Limits) -> list[int]:
    """Milliseconds at which each job begins: of two list schedules the shorter, if that is worth it.

    One keeps the order of the jobs where nothing stands against it; the other prefers, after the repairs, what has most
    work behind it (Graham 1966; Coffman, Garey, Johnson and LaPaugh 1985 for transfers between nodes).
    """
    work = _work_behind(jobs, limits)
    one = _listed(jobs, limits, range(len(jobs)))
    other = _listed(jobs, limits, sorted(range(len(jobs)), key=lambda i: (not jobs[i].repair, -work[i], i)))
    return other if _end(jobs, other) < WORTH * _end(jobs, one) else one


def length(jobs: Sequence[Job], starts: Sequence[int]) -> int:
    """Milliseconds from the first start to the last end."""
    return _end(jobs, starts)


def bound(jobs: Sequence[Job], limits: Limits) -> int:
    """Milliseconds below which no schedule of these jobs ends.

    The largest of: a chain of jobs that wait for each other; all work, shared by as many as may be under way at once;
    the work of one node, likewise; what goes over the network of one node.
    """
    chain = [0] * len(jobs)
    for i, job in enumerate(jobs):
        chain[i] = job.ms + max((chain[j] for j in job.after), default=0)
    amounts = [*chain, -(-sum(job.ms for job in jobs) // limits.parallel)]
    amounts += [-(-ms // limits.per_source) for ms in _by(jobs, lambda j: j.source)]
    amounts += [-(-ms // limits.per_target) for ms in _by(jobs, lambda j: j.target)]
    if limits.bandwidth:
        for end in (lambda j: j.source, lambda j: j.target):
            amounts += [int(mib / limits.bandwidth) for mib in _carried(jobs, end, limits.bandwidth)]
    return max(amounts, default=0)


def _end(jobs: Sequence[Job], starts: Sequence[int]) -> int:
    return max((start + job.ms for start, job in zip(starts, jobs, strict=True)), default=0)


def _by(jobs: Iterable[Job], end: Callable[[Job], str]) -> list[int]:
    """Milliseconds of the jobs of each node."""
    result: dict[str, int] = {}
    for job in jobs:
        result[end(job)] = result.get(end(job), 0) + job.ms
    return list(result.values())


def _carried(jobs: Iterable[Job], end: Callable[[Job], str], most: float) -> list[float]:
    """MiB * 1000 that the network of each node carries."""
    result: dict[str, float] = {}
    for job in jobs:
        result[end(job)] = result.get(end(job), 0.0) + job.ms * min(job.rate, most)
    return list(result.values())


def _work_behind(jobs: Sequence[Job], limits: Limits) -> list[int]:
    """Milliseconds from the start of each job on that the jobs waiting for it need, or its busier node."""
    behind = [job.ms for job in jobs]
    for i in range(len(jobs) - 1, -1, -1):
        for j in jobs[i].after:
            behind[j] = max(behind[j], jobs[j].ms + behind[i])
    busy: dict[tuple[str, bool], int] = {}
    for job in jobs:
        for key, share in (((job.source, True), limits.per_source), ((job.target, False), limits.per_target)):
            busy[key] = busy.get(key, 0) + job.ms // share
    return [max(b, busy[job.source, True], busy[job.target, False]) for b, job in zip(behind, jobs, strict=True)]


def _listed(jobs: Sequence[Job], limits: Limits, order: Iterable[int]) -> list[int]:
    """List schedule: whenever a job ends, those that may begin do, in an order."""
    waiting, starts, under_way = list(order), [0] * len(jobs), _UnderWay(limits)
    running: list[tuple[int, int]] = []
    ended: set[int] = set()
    now = 0
    while waiting:
        left = []
        for i in waiting:
            if ended.issuperset(jobs[i].after) and under_way.admits(jobs[i]):
                starts[i] = now
                under_way.change(jobs[i], 1)
                heapq.heappush(running, (now + jobs[i].ms, i))
            else:
                left.append(i)
        waiting = left
        now = running[0][0] if running else now
        while running and running[0][0] == now:
            i = heapq.heappop(running)[1]
            under_way.change(jobs[i], -1)
            ended.add(i)
    return starts


class _UnderWay:
    """How many jobs are under way, in all, by node, and over the network."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._jobs = limits, 0
        self._out: dict[str, tuple[int, float]] = {}
        self._in: dict[str, tuple[int, float]] = {}

    def admits(self, job: Job) -> bool:
        most = self._limits
        if self._jobs >= most.parallel:
            return False
        ends = ((self._out.get(job.source, (0, 0.0)), most.per_source),
                (self._in.get(job.target, (0, 0.0)), most.per_target))  # fmt: skip
        # What is wider than a link takes all of it.
        wide = most.bandwidth is None or all(not n or carried + job.rate <= most.bandwidth for (n, carried), _ in ends)
        return wide and all(n < limit for (n, _), limit in ends)

    def change(self, job: Job, by: int) -> None:
        self._jobs += by
        for table, node in ((self._out, job.source), (self._in, job.target)):
            n, carried = table.get(node, (0, 0.0))
            table[node] = (n + by, carried + by * job.rate if n + by else 0.0)
