"""Owns a second opinion on plans: what none may do, whatever was asked for; knows no problem, no frame, no solver."""

from typing import Any

from tests.rulebook import Places, Rulebook
from tests.scenario import Scenario


def objections(scenario: Scenario, plan: Any) -> list[str]:
    """What no plan may do, whatever was expected of it."""
    book = Rulebook(scenario)
    before = {vmid: guest.on for vmid, guest in book.planned.items()}
    places, found = dict(before), list[str]()
    held = book.broken(before)
    for migration in plan.migrations:
        vmid = migration.vmid
        if vmid not in places or places[vmid] != migration.source or migration.target == migration.source:
            return [*found, f"guest {vmid} is not on {migration.source}, or goes nowhere"]
        if vmid in book.fixed:
            found.append(f"guest {vmid} has to stay")
        if migration.target in book.closed:
            found.append(f"{migration.target} takes no guests, but gets {vmid}")
        places[vmid] = migration.target
        takes = {what for what, need in book.room.needs(vmid).items() if need}
        if short := takes & set(book.room.lacks(migration.target, places)):
            found.append(f"{migration.target} has no room for {vmid} at that moment: {', '.join(short)}")
        now = {fact for fact in book.broken(places) - held if fact[0] in ("apart", "home")}
        found += [f"broken on the way, by {vmid}: {fact}" for fact in now]
    after = book.broken(places)
    found += [f"broken in the end: {fact}" for fact in after - held]
    if after and not plan.violations_after:
        found.append(f"the plan says that all rules hold: {after}")
    return found + _beyond_limits(book, plan) + _wrong_figures(book, plan, places)


def _beyond_limits(book: Rulebook, plan: Any) -> list[str]:
    most, gib = book.policy.get("max_migrations"), book.policy.get("max_gib")
    copied = sum(book.room.copied(book.planned[migration.vmid]) for migration in plan.migrations)
    found = ["a guest is migrated twice"] if _twice(plan) else []
    if most is not None and len(plan.migrations) > most:
        found.append(f"{len(plan.migrations)} migrations, at most {most}")
    return found + ([f"{copied} GiB, at most {gib}"] if gib is not None and copied > gib + 1e-6 else [])


def _twice(plan: Any) -> bool:
    """Whether a guest is migrated more often than to one stop on its way and on to another node."""
    for vmid in {migration.vmid for migration in plan.migrations}:
        *stops, last = [migration for migration in plan.migrations if migration.vmid == vmid]
        back = any(last.target == stop.source for stop in stops)
        if len(stops) > 1 or back or last.bypass or not all(stop.bypass for stop in stops):
            return True
    return False


def _wrong_figures(book: Rulebook, plan: Any, places: Places) -> list[str]:
    found = []
    for node in plan.nodes:
        for resource, shown in node.load_after.items():
            if resource in ("memory", "cpu"):
                load = book.room.load(node.node, places, resource)
                if abs(load - shown) > 0.01:
                    found.append(f"{resource} of {node.node} will be {load:.3f} %, not {shown:.3f}")
    for resource in plan.resources:
        loads = [node.load_after[resource] for node in plan.nodes if node.node not in book.closed]
        if abs(max(loads) - min(loads) - plan.spreads[resource].after) > 0.01:
            found.append(f"spread of {resource} is {max(loads) - min(loads)}, not {plan.spreads[resource].after}")
    return found
