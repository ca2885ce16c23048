"""Owns the waves of a plan: legs as migrations with their times, where the plan may be cut off, and the way back."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from planner.plan import NEEDED, Migration, Schedule
from planner.timetable import Job, Limits, begins, bound

Waves = tuple[tuple[Migration, ...], ...]


def timed(migrations: Sequence[Migration], limits: Limits) -> tuple[Migration, ...]:
    """Migrations whose `number` counts from 1 and `end` is what they take, in the order in which they will begin."""
    jobs = _jobs(migrations)
    starts = begins(jobs, limits)
    order = sorted(range(len(jobs)), key=lambda i: (starts[i], i))
    number = {migrations[i].number: n for n, i in enumerate(order, 1)}
    return tuple(
        replace(
            migrations[i], number=n, after=tuple(sorted(number[before] for before in migrations[i].after)),
            begin=starts[i] / 1000, end=(starts[i] + jobs[i].ms) / 1000,
        )
        for n, i in enumerate(order, 1)
    )  # fmt: skip


def least(migrations: Sequence[Migration], limits: Limits) -> float:
    """Seconds below which no schedule of these migrations ends."""
    return bound(_jobs(migrations), limits) / 1000


def job(migration: Migration, after: Iterable[int] = (), elapsed: float = 0.0) -> Job:
    """A migration as far as its time is concerned, less the seconds that it has taken already."""
    seconds = migration.end - migration.begin
    left, repair = round(1000 * max(0.0, seconds - elapsed)), migration.reason.startswith(NEEDED)
    return Job(migration.source, migration.target, left, migration.rate, tuple(after), repair)


def limits(schedule: Schedule) -> Limits:
    """Those that a plan was made for."""
    return Limits(schedule.parallel, schedule.per_source, schedule.per_target, schedule.bandwidth)


def _jobs(migrations: Sequence[Migration]) -> list[Job]:
    return [job(m, (number - 1 for number in m.after)) for m in migrations]


def cut(migrations: Sequence[Migration], limits: Limits, may_end: Callable[[int, int], bool]) -> Waves:
    """Waves of migrations that run side by side; larger ones where a plan that ended there would be worse than none.

    `may_end`: whether the plan may be cut off when so many of its first migrations have ended, having been cut before
    after so many.
    """
    waves: list[tuple[Migration, ...]] = []
    begun = 0
    for index, migration in enumerate(migrations):
        wave = migrations[begun:index]
        full = wave and not _side_by_side(migration, wave, limits)
        if full and _whole(migrations, index) and may_end(index, begun):
            waves.append(tuple(wave))
            begun = index
    return (*waves, tuple(migrations[begun:])) if migrations else ()


def _side_by_side(migration: Migration, wave: Sequence[Migration], limits: Limits) -> bool:
    """Whether one more migration may be under way together with all of a wave."""
    return (
        len(wave) < limits.parallel
        and sum(m.source == migration.source for m in wave) < limits.per_source
        and sum(m.target == migration.target for m in wave) < limits.per_target
        and not {m.number for m in wave} & set(migration.after)
    )


def _whole(migrations: Sequence[Migration], index: int) -> bool:
    """Whether no guests that travel as one are on both sides of a cut; one that stops on its way may be there then."""
    return {(m.bundle, m.target) for m in migrations[:index]}.isdisjoint(
        (m.bundle, m.target) for m in migrations[index:]
    )


def alone(migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    """Some migrations of a plan as a plan of their own: numbered from 1, waiting for none that is not among them."""
    number = {m.number: n for n, m in enumerate(migrations, 1)}
    return tuple(
        replace(m, number=number[m.number], after=tuple(number[before] for before in m.after if before in number))
        for m in migrations
    )


def way_back(migrations: Sequence[Migration], limits: Limits, reason: str) -> Waves:
    """What brings the guests of these migrations, which have all ended, back: each turned round, and each wait too.

    Safe for the same reason as the way there: it passes through the same states.
    """
    migrations = alone(migrations)
    count = len(migrations)
    number = {m.number: count - index for index, m in enumerate(migrations)}
    waiting: dict[int, list[int]] = {}
    for m in migrations:
        for before in m.after:
            waiting.setdefault(before, []).append(number[m.number])
    ahead: set[int] = set()
    back = []
    for m in migrations:  # the first comes back last
        turned = replace(
            m, source=m.target, target=m.source, number=number[m.number], after=tuple(waiting.get(m.number, ())),
            reason=reason, bypass=m.vmid in ahead,
        )  # fmt: skip
        ahead.add(m.vmid)
        back.append(turned)
    return cut(timed(back[::-1], limits), limits, lambda *_: True)
