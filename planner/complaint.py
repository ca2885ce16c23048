"""Owns what is said about settings that make no sense: which one, where it was written, and what would do."""

import contextlib
import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from pydantic_core import ErrorDetails

from planner.errors import ConfigError

SAYS = {
    "enum": "is not one of {expected}",
    "too_short": "is empty: name at least {min_length}",
    "string_too_short": "is empty",
    "greater_than": "is not more than {gt:g}",
    "greater_than_equal": "is less than {ge:g}, the lowest value allowed",
    "less_than_equal": "is more than {le:g}, the highest value allowed",
    "int": "is not a whole number",
    "float": "is not a number",
    "datetime": "is not a time such as 2026-12-01T22:00",
    "bool": "is not true or false",
    "string": "is not text",
    "tuple": "is not a list",
    "dict": "is not a mapping",
}
"""What is wrong with a value, by pydantic's error type or the part of it before the first `_`."""


SECRET = (("api",), ("notify", "webhooks"), ("notify", "apprise"), ("notify", "command"))
"""Where values stand that are not shown."""
Refuse = Callable[[str], None]
"""What is done with a complaint: whoever wants to hear all of them does not raise."""
UNKNOWN_KEY = "unexpected_keyword_argument"
"""pydantic's error type for a key that a mapping does not have."""


def stop(complaint: str) -> NoReturn:
    """The first complaint is the last."""
    raise ConfigError(complaint)


def complaint(error: ErrorDetails, where: str, keys: Sequence[str]) -> str:
    """One line for pydantic's error about a setting; `keys` are those of the mappings that it consists of."""
    place, value, kind = _without_choice(error["loc"]), error["input"], error["type"]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)[1:]
    if kind == UNKNOWN_KEY:
        return f"unknown key {path} {where}: {nearest(str(place[-1]), keys)}"
    if kind == "missing":
        return f"{path} {where} is missing: it must be given"
    if value is None:
        return f"{path} {where} is empty: quote it if it is a name"
    says = SAYS.get(kind, SAYS.get(kind.split("_")[0], "is not possible")).format(**error.get("ctx", {}))
    if kind.startswith("dataclass"):
        says = f"is not a mapping of {', '.join(keys)}"
    says = says.replace("'", "")
    hidden = place[:1] in SECRET or place[:2] in SECRET
    shown = json.dumps(value) if not hidden and isinstance(value, str | int | float) else "the value"
    return f"{path} {where}: {shown} {says}"


def clearest(errors: Sequence[ErrorDetails]) -> ErrorDetails:
    """The first of what `clear` says."""
    return _misspelt(errors[0], errors)


def clear(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Each once, and for a key that is missing the unknown one beside it: that is the same, misspelt."""
    found = [_misspelt(error, errors) for error in errors]
    return [error for i, error in enumerate(found) if error not in found[:i]]


def _misspelt(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> ErrorDetails:
    unknown = (e for e in errors if e["type"] == UNKNOWN_KEY and e["loc"][:-1] == error["loc"][:-1])
    return next(unknown, error) if error["type"] == "missing" else error


def _without_choice(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where it is, without the type that was tried, of several."""
    return place[:-1] if len(place) > 2 and place[-1] == "bool" else place


def nearest(word: str, known: Sequence[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """What was meant: a key of this place, or else one that stands elsewhere (key to its path)."""
    if match := difflib.get_close_matches(word, known, 1):
        return f"did you mean {match[0]}?"
    if match := difflib.get_close_matches(word, elsewhere or {}, 1):
        return f"did you mean {(elsewhere or {})[match[0]]}?"
    return f"known here are {', '.join(known)}"


def refuse_infinite(value: Any, path: str, where: str) -> None:
    """ConfigError for a number that is infinite or none, at any depth of mappings."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            refuse_infinite(part, f"{path}.{key}", where)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        if not math.isfinite(float(value)):
            raise ConfigError(f"{path} {where} is not a finite number")
