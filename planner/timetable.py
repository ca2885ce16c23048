"""Owns when each migration is expected to begin: as early as its limits let it, and how soon all of it could end."""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

WORTH = 0.95
"""How much shorter a schedule must be for an order that does not put first what is gained most by."""


MANY = 1000
"""Jobs from which it takes too long to look at what is left again and again."""


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
    """Milliseconds at which each job begins: of three list schedules the shortest, if that is worth it.

    The first keeps the order of the jobs where nothing stands against it. The others prefer, after the repairs, what
    has most work behind it, by what there was in the beginning or what is left (Graham 1966; Coffman, Garey, Johnson
    and LaPaugh 1985 for transfers between nodes).
    """
    one = _listed(jobs, limits, _Priority(jobs))
    ways = (False, True) if len(jobs) <= MANY else (False,)
    others = (_listed(jobs, limits, _Behind(jobs, limits, follow=follow)) for follow in ways)
    best = min(others, key=lambda plan: _end(jobs, plan))
    return best if _end(jobs, best) < WORTH * _end(jobs, one) else one


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


class _Priority:
    """Jobs in their order."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs

    def sort(self, waiting: list[int]) -> None:
        """Put first what is to begin first."""

    def ended(self, job: int) -> None:
        """A job has ended."""


class _Behind(_Priority):
    """Repairs, then what has most work behind it: the jobs that wait for it, or those of its busier node."""

    def __init__(self, jobs: Sequence[Job], limits: Limits, *, follow: bool) -> None:
        super().__init__(jobs)
        self._limits, self._follow, self._sorted = limits, follow, False
        self._chain = [job.ms for job in jobs]
        for i in range(len(jobs) - 1, -1, -1):
            for j in jobs[i].after:
                self._chain[j] = max(self._chain[j], jobs[j].ms + self._chain[i])
        self._left: dict[tuple[str, bool], int] = {}
        for i in range(len(jobs)):
            self._change(i, 1)

    def _ends(self, job: int) -> tuple[tuple[str, bool], tuple[str, bool]]:
        return (self._jobs[job].source, True), (self._jobs[job].target, False)

    def _change(self, job: int, sign: int) -> None:
        for end, share in zip(self._ends(job), (self._limits.per_source, self._limits.per_target), strict=True):
            self._left[end] = self._left.get(end, 0) + sign * (self._jobs[job].ms // share)

    def sort(self, waiting: list[int]) -> None:
        if self._follow or not self._sorted:
            waiting.sort(key=lambda i: (not self._jobs[i].repair, -self._behind(i), -self._jobs[i].ms, i))
            self._sorted = True

    def _behind(self, job: int) -> int:
        return max(self._chain[job], *(self._left[end] for end in self._ends(job)))

    def ended(self, job: int) -> None:
        if self._follow:
            self._change(job, -1)


def _listed(jobs: Sequence[Job], limits: Limits, priority: _Priority) -> list[int]:
    """List schedule: whenever a job ends, those that may begin do, the first ones first."""
    waiting, starts, under_way = list(range(len(jobs))), [0] * len(jobs), UnderWay(limits)
    running: list[tuple[int, int]] = []
    ended: set[int] = set()
    now = 0
    while waiting:
        priority.sort(waiting)
        left = []
        for i in waiting:
            if under_way.admits(jobs[i]) and ended.issuperset(jobs[i].after):
                starts[i] = now
                under_way.change(jobs[i], 1)
                heapq.heappush(running, (now + jobs[i].ms, i))
            else:
                left.append(i)
        if not running:
            raise ValueError(f"jobs {left} wait for what never ends")
        waiting, now = left, running[0][0]
        while running and running[0][0] == now:
            i = heapq.heappop(running)[1]
            under_way.change(jobs[i], -1)
            priority.ended(i)
            ended.add(i)
    return starts


class UnderWay:
    """How many jobs are under way, in all, by node, and over the network."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._jobs = limits, 0
        self._out: dict[str, tuple[int, float]] = {}
        self._in: dict[str, tuple[int, float]] = {}

    def admits(self, job: Job) -> bool:
        """Whether the limits allow one more."""
        most = self._limits
        if self._jobs >= most.parallel:
            return False
        ends = ((self._out.get(job.source, (0, 0.0)), most.per_source),
                (self._in.get(job.target, (0, 0.0)), most.per_target))  # fmt: skip
        # What is wider than a link takes all of it.
        wide = most.bandwidth is None or all(not n or carried + job.rate <= most.bandwidth for (n, carried), _ in ends)
        return wide and all(n < limit for (n, _), limit in ends)

    def change(self, job: Job, by: int) -> None:
        """One more job (1), or one less (-1)."""
        self._jobs += by
        for table, node in ((self._out, job.source), (self._in, job.target)):
            n, carried = table.get(node, (0, 0.0))
            table[node] = (n + by, carried + by * job.rate if n + by else 0.0)
