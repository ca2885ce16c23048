"""Owns the guard against sending guests to and fro: what earlier runs have migrated, and what a plan would."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from planner.errors import StalePlan
from planner.plan import NEEDED, Migration, Plan
from planner.policy import Apply
from planner.run import Moved

HOUR = 3600.0
DAY = 24 * HOUR


def memory(settings: Apply) -> float:
    """Seconds for which it matters what was migrated."""
    return max(settings.no_return * HOUR, DAY if settings.max_per_day is not None else 0.0)


def check(plan: Plan, moved: Iterable[Moved], now: float, settings: Apply) -> None:
    """StalePlan when a guest would be sent back too soon, or be migrated too often; not where that repairs a rule, its
    own or, as rules could not hold otherwise, that of another guest.

    `moved`: what was carried out within the last while (see `memory`); `now` in unix seconds.
    """
    made = trips(moved)
    for migration in _judged(plan):
        own = [trip for trip in made if trip.vmid == migration.vmid]
        back = [trip for trip in own if trip.source == migration.target and now - trip.at < settings.no_return * HOUR]
        guest = f"guest {migration.vmid} ({migration.name})" if migration.name else f"guest {migration.vmid}"
        if back:
            when = _said(max(trip.at for trip in back))
            raise StalePlan(
                f"{guest} was taken away from {migration.target} on {when}, and the plan sends it back within "
                f"{settings.no_return:g} hours (apply.no_return): make a new plan later, or lower that"
            )
        today = [trip for trip in own if now - trip.at < DAY]
        if settings.max_per_day is not None and len(today) >= settings.max_per_day:
            when = _said(max(trip.at for trip in today))
            raise StalePlan(
                f"{guest} was migrated {len(today)} times within a day, last on {when}, which is as often as it may be "
                f"(apply.max_per_day: {settings.max_per_day}): make a new plan later, or raise that"
            )


def _judged(plan: Plan) -> Iterator[Migration]:
    """Where guests end, but for those that go to repair a rule, or along with one that does."""
    final = [migration for migration in plan.migrations if not migration.bypass]
    repairing = [migration for migration in final if migration.reason.startswith(NEEDED)]
    bundles = {migration.bundle for migration in repairing if migration.bundle}
    vmids = {migration.vmid for migration in repairing}
    return (m for m in final if m.vmid not in vmids and m.bundle not in bundles)


def trips(moved: Iterable[Moved]) -> Sequence[Moved]:
    """One for each guest and run: where it stopped on its way is no place that it was sent to."""
    result: dict[tuple[int, int], Moved] = {}
    for step in sorted(moved, key=lambda step: step.at):
        first = result.get((step.run, step.vmid), step)
        result[step.run, step.vmid] = Moved(step.vmid, first.source, step.target, step.at, step.run)
    return [trip for trip in result.values() if trip.source != trip.target]


def _said(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
