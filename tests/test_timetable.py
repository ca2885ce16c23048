"""Claims about timetables: limits hold at every moment, nothing ends sooner than is possible, waves can be cut off."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from planner import waves
from planner.plan import Migration
from planner.timetable import Job, Limits, begins, bound, length


def jobs_of(rng: random.Random, count: int, nodes: int) -> list[Job]:
    """Jobs between random nodes, some waiting for earlier ones."""
    result = []
    for index in range(count):
        source, target = rng.sample(range(nodes), 2)
        after = tuple(sorted(rng.sample(range(index), rng.choice((0, 0, 1, 2)) if index > 1 else 0)))
        result.append(Job(f"n{source}", f"n{target}", rng.randint(1, 9), rng.choice((0.0, 5.0, 10.0)), after))
    return result


def limits_of(rng: random.Random) -> Limits:
    return Limits(rng.randint(1, 4), rng.randint(1, 2), rng.randint(1, 2), rng.choice((None, 10.0, 12.0)))


def kept(jobs: Sequence[Job], starts: Sequence[int], limits: Limits) -> bool:
    """Whether limits and waits hold at every whole millisecond."""
    ends = [start + job.ms for start, job in zip(starts, jobs, strict=True)]
    if any(ends[before] > starts[i] for i, job in enumerate(jobs) for before in job.after):
        return False
    for now in range(max(ends)):
        running = [job for job, start, end in zip(jobs, starts, ends, strict=True) if start <= now < end]
        sources, targets = ([getattr(job, side) for job in running] for side in ("source", "target"))
        wide = limits.bandwidth is not None and any(
            len(rates) > 1 and sum(rates) > limits.bandwidth
            for side in ("source", "target")
            for node in {getattr(job, side) for job in running}
            for rates in [[job.rate for job in running if getattr(job, side) == node]]
        )
        full = len(running) > limits.parallel or any(sources.count(n) > limits.per_source for n in sources)
        if wide or full or any(targets.count(n) > limits.per_target for n in targets):
            return False
    return True


@pytest.mark.parametrize("seed", range(150))
def test_limits_hold_at_every_moment_and_no_bound_is_beaten(seed: int) -> None:
    rng = random.Random(seed)
    jobs, limits = jobs_of(rng, rng.randint(1, 14), rng.randint(2, 5)), limits_of(rng)
    starts = begins(jobs, limits)
    assert kept(jobs, starts, limits)
    assert bound(jobs, limits) <= length(jobs, starts) <= sum(job.ms for job in jobs)


def shortest(jobs: Sequence[Job], limits: Limits) -> int:
    """The least that any order takes: every list schedule of every permissible order, which is known to be enough."""
    best = sum(job.ms for job in jobs)
    for order in itertools.permutations(range(len(jobs))):
        place = {job: at for at, job in enumerate(order)}
        if all(place[before] < place[i] for i in order for before in jobs[i].after):
            best = min(best, serial(jobs, order, limits))
    return best


def serial(jobs: Sequence[Job], order: Sequence[int], limits: Limits) -> int:
    """Each job as early as it fits beside those before it in the order."""
    starts: dict[int, int] = {}
    for i in order:
        ready = max((starts[before] + jobs[before].ms for before in jobs[i].after), default=0)
        for now in itertools.count(ready):
            trial = starts | {i: now}
            placed = [replace(jobs[j], after=()) for j in trial]
            if kept(placed, list(trial.values()), limits):
                starts[i] = now
                break
    return max(start + jobs[i].ms for i, start in starts.items())


@pytest.mark.parametrize("seed", range(40))
def test_no_schedule_of_a_few_jobs_ends_before_the_bound(seed: int) -> None:
    rng = random.Random(f"few-{seed}")
    jobs, limits = jobs_of(rng, 4, 3), limits_of(rng)
    assert bound(jobs, limits) <= shortest(jobs, limits) <= length(jobs, begins(jobs, limits))


def test_schedules_are_near_the_bound() -> None:
    worse = []
    for seed in range(60):
        rng = random.Random(f"near-{seed}")
        jobs = [replace(job, after=(), rate=0.0) for job in jobs_of(rng, 40, 8)]
        limits = Limits(4, 1, 1)
        worse.append(length(jobs, begins(jobs, limits)) / bound(jobs, limits))
    assert sum(worse) / len(worse) < 1.08 and max(worse) < 1.3


def test_what_waits_for_nothing_runs_side_by_side() -> None:
    jobs = [Job("a", "b", 10), Job("c", "d", 10), Job("e", "f", 10)]
    assert begins(jobs, Limits(4, 1, 1)) == [0, 0, 0]
    assert begins(jobs, Limits(2, 1, 1)) == [0, 0, 10]
    assert begins([Job("a", "b", 10), Job("a", "c", 10)], Limits(4, 1, 1)) == [0, 10]
    assert begins([Job("b", "a", 10), Job("c", "a", 10)], Limits(4, 1, 1)) == [0, 10]
    assert begins([Job("a", "b", 10), Job("a", "c", 10)], Limits(4, 2, 1)) == [0, 0]


def test_a_network_carries_no_more_than_it_can() -> None:
    jobs = [Job("a", "b", 10, 60.0), Job("a", "c", 10, 60.0), Job("a", "d", 10, 40.0)]
    assert begins(jobs, Limits(4, 4, 4, 100.0)) == [0, 10, 0]
    assert begins([Job("a", "b", 10, 500.0)], Limits(4, 4, 4, 100.0)) == [0]  # alone it takes what there is


# --- waves ---------------------------------------------------------------------------------------------


def migration(
    number: int, vmid: int, source: str, target: str, *after: int, seconds: float = 10.0, **more: object
) -> Migration:
    base = Migration(vmid, f"g{vmid}", "vm", source, target, 1024, 0, True, "balance", 0.0)
    return replace(base, number=number, after=after, bundle=vmid, end=10.0, **more)  # type: ignore[arg-type]


USUAL = Limits(4, 1, 1)


def test_a_wave_holds_what_runs_side_by_side() -> None:
    there = waves.timed([migration(1, 1, "a", "b"), migration(2, 2, "c", "d"), migration(3, 3, "a", "d", 2)], USUAL)
    cut = waves.cut(there, USUAL, lambda *_: True)
    assert [[m.vmid for m in wave] for wave in cut] == [[1, 2], [3]]


def test_a_wave_goes_on_while_a_cut_would_leave_things_worse() -> None:
    there = waves.timed([migration(n, n, "a", "b") for n in (1, 2, 3)], USUAL)
    cut = waves.cut(there, USUAL, lambda count, before: count == 2)
    assert [[m.vmid for m in wave] for wave in cut] == [[1, 2], [3]]


def test_no_wave_ends_between_guests_that_travel_as_one() -> None:
    pair = [replace(migration(n, n, "a", "b"), bundle=7) for n in (1, 2)]
    there = waves.timed([*pair, migration(3, 3, "a", "b")], USUAL)
    assert [[m.vmid for m in wave] for wave in waves.cut(there, USUAL, lambda *_: True)] == [[1, 2], [3]]


def test_the_way_back_turns_every_migration_and_every_wait_round() -> None:
    there = waves.timed([migration(1, 1, "a", "b"), migration(2, 2, "b", "c", 1), migration(3, 3, "c", "a", 2)], USUAL)
    back = [m for wave in waves.way_back(there, USUAL, "back") for m in wave]
    assert [(m.number, m.vmid, m.source, m.target, m.after) for m in back] == [
        (1, 3, "a", "c", ()), (2, 2, "c", "b", (1,)), (3, 1, "b", "a", (2,)),
    ]  # fmt: skip
    assert {m.reason for m in back} == {"back"}


def test_a_guest_that_stopped_on_its_way_stops_there_on_the_way_back() -> None:
    there = waves.timed(
        [migration(1, 1, "a", "c", bypass=True), migration(2, 2, "b", "a", 1), migration(3, 1, "c", "b", 2, 1)],
        USUAL,
    )
    back = [m for wave in waves.way_back(there, USUAL, "back") for m in wave]
    assert [(m.vmid, m.source, m.target, m.bypass) for m in back] == [
        (1, "b", "c", True), (2, "a", "b", False), (1, "c", "a", False),
    ]  # fmt: skip


def test_only_what_was_done_is_taken_back() -> None:
    there = waves.timed([migration(1, 1, "a", "b"), migration(2, 2, "b", "c", 1), migration(3, 3, "c", "a", 2)], USUAL)
    back = [m for wave in waves.way_back(there[:2], USUAL, "back") for m in wave]
    assert [(m.number, m.vmid, m.after) for m in back] == [(1, 2, ()), (2, 1, (1,))]
