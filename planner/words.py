"""Owns what may stand for a list of words in settings: a single word, and vmids as numbers."""

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral
from typing import Any, get_origin


def with_lists(value: Any, kind: Any) -> Any:
    """A single word is a list of one wherever a mapping of this kind has a list, and a vmid is a word."""
    if isinstance(value, list | tuple):
        return [with_lists(part, kind) for part in words(value)]
    if not isinstance(value, Mapping):
        return value
    lists = {item.name for item in fields(kind) if get_origin(item.type) is tuple}
    return {
        key: [str(part)] if key in lists and isinstance(part, str | Integral) else with_lists(part, kind)
        for key, part in value.items()
    }


def words(value: Any) -> Any:
    """A list in which vmids are words, those of a frame too; a vmid alone is a list of one."""
    if isinstance(value, list | tuple):
        return [str(part) if _is_vmid(part) else part for part in value]
    return [str(value)] if _is_vmid(value) else value


def _is_vmid(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
