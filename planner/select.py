"""Owns selectors: which guests an operator means by `@pool-x`, `@tag-y`, `100:107`, `web*` or `-200`.

The grammar is the one of the cv4pve tools, so that lists which administrators have already can be used here.
"""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from planner.errors import ConfigError

GRAMMAR = "use @all, @pool-NAME, @tag-NAME, @node-NAME, 100, 100:107, a name such as web*, or one of these after a -"


def select(words: Iterable[str], guests: pd.DataFrame, where: str) -> tuple[int, ...]:
    """vmids of the guests that are meant, in order: all that a word names less those that a word after a - names.

    Words may hold several, separated by commas; with nothing but exclusions all other guests are meant. ConfigError for
    a word that is not part of the grammar; `where` says where it was written.
    """
    parts = _parts(words)
    named = [_test(part, where) for part in parts if not part.startswith("-")]
    excluded = [_test(part[1:].strip(), where) for part in parts if part.startswith("-")]
    if not named and excluded:
        named = [lambda _: True]
    rows: list[Any] = list(guests.itertuples())
    return tuple(
        int(guest.vmid)
        for guest in rows
        if any(test(guest) for test in named) and not any(test(guest) for test in excluded)
    )


def idle(words: Iterable[str], guests: pd.DataFrame, where: str) -> list[str]:
    """Those of some words that mean no guest, whatever the others do."""
    tests = {part: _test(part.removeprefix("-").strip(), where) for part in _parts(words)}
    rows: list[Any] = list(guests.itertuples())
    return [part for part, test in tests.items() if not any(map(test, rows))]


def pools(words: Iterable[str]) -> list[str]:
    """Names of the pools that selectors speak of."""
    parts = [part.strip().removeprefix("-") for word in words for part in str(word).split(",")]
    return [part.removeprefix("@pool-") for part in parts if part.startswith("@pool-")]


def in_pool(pool: str, name: str) -> bool:
    """Whether a pool is `name` or one nested in it."""
    return pool == name or pool.startswith(f"{name}/")


def _parts(words: Iterable[str]) -> list[str]:
    return [part.strip() for word in words for part in str(word).split(",") if part.strip()]


def _test(word: str, where: str) -> Callable[[Any], bool]:
    """What a guest's row must be to be meant by a word."""
    name = word.partition("-")[2]
    if word == "@all":
        return lambda guest: True
    if word.startswith("@pool-") and name:
        return lambda guest: in_pool(str(guest.pool), name)
    if word.startswith("@tag-") and name:
        return lambda guest: name.casefold() in str(guest.tags).casefold().split(";")
    if word.startswith(("@node-", "@all-")) and name:
        return lambda guest: str(guest.node) == name
    first, colon, last = word.partition(":")
    if colon and first.isdecimal() and last.isdecimal() and int(first) <= int(last):
        return lambda guest: int(first) <= guest.vmid <= int(last)
    if word.isdecimal():
        return lambda guest: guest.vmid == int(word)
    if not word or word.startswith(("@", "-")) or colon:
        raise ConfigError(f"{where}: {word!r} names no guests: {GRAMMAR}")
    return lambda guest: fnmatchcase(str(guest.name).casefold(), word.casefold())
