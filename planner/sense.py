"""Owns whether the migrations of a plan make sense: in an order that can be, each from where its guest then is."""

from collections.abc import Iterable

from planner.errors import InputError
from planner.plan import Migration, Plan


def check_order(plan: Plan, what: str) -> None:
    """InputError when numbers do not count up, one waits for what comes later, or a guest goes twice without a stop."""
    at: dict[int, Migration] = {}
    for number, migration in enumerate(plan.migrations, 1):
        if migration.number != number or any(not 0 < before < number for before in migration.after):
            raise InputError(f"{what} is damaged at migration {number}: its order makes no sense; make a new one")
        before = at.get(migration.vmid)
        if before and (not before.bypass or before.target != migration.source or before.number not in migration.after):
            raise InputError(f"{what} migrates guest {migration.vmid} twice: make a new one")
        at[migration.vmid] = migration


def check_sense(plan: Plan, what: str) -> None:
    """InputError says of which migration, on the way there or back, something is wrong."""
    places, nodes = dict(plan.assumes.guests), plan.assumes.nodes
    for migrations, way in ((plan.migrations, "migration"), (_flat(plan.rollback), "rollback")):
        for migration in migrations:
            if wrong := _wrong(migration, places.get(migration.vmid), nodes):
                raise InputError(f"{what} is damaged at {way} {migration.number}: {wrong}; make a new one")
            places[migration.vmid] = migration.target


def _flat(waves: Iterable[Iterable[Migration]]) -> Iterable[Migration]:
    return (migration for wave in waves for migration in wave)


def _wrong(migration: Migration, place: str | None, nodes: Iterable[str]) -> str:
    guest = f"guest {migration.vmid}"
    if place is None:
        return f"it says nowhere on which node {guest} is"
    if migration.source != place:
        return f"{guest} is on {place} then, not on {migration.source}"
    if migration.target == migration.source:
        return f"{guest} is on {migration.target} already"
    if migration.target not in nodes:
        return f"{guest} cannot go to {migration.target}, which is none of its nodes"
    return ""
