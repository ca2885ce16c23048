"""Owns which guests of a scenario a selector means, read anew."""

from fnmatch import fnmatchcase
from typing import Any

from tests.scenario import Guest, Scenario


def select(scenario: Scenario, selector: Any) -> set[int]:
    """The guests that a selector means; `-` in front excludes."""
    given = [selector] if isinstance(selector, str) else selector
    words = [word.strip() for part in given for word in str(part).split(",")]
    plus, minus = set[int](), set[int]()
    for word in words:
        chosen = {vmid for vmid, guest in scenario.guests.items() if _means(word.removeprefix("-"), guest)}
        (minus if word.startswith("-") else plus).update(chosen)
    only_excluded = words and all(word.startswith("-") for word in words)
    return (set(scenario.guests) if only_excluded else plus) - minus


def _means(word: str, guest: Guest) -> bool:
    kind, _, value = word.partition("-")
    match kind:
        case "@all":
            return True
        case "@pool":
            return guest.pool == value or guest.pool.startswith(f"{value}/")
        case "@tag":
            return value.casefold() in {tag.casefold() for tag in guest.tags}
        case "@node":
            return guest.on == value
    first, _, last = word.partition(":")
    if first.isdecimal():
        return int(first) <= guest.vmid <= int(last or first)
    return fnmatchcase((guest.name or f"g{guest.vmid}").casefold(), word.casefold())
