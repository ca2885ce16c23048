"""Owns the steps of a what-if as a file writes them: which there are, what each takes, and the calls they are."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import TypeAdapter, ValidationError

from planner.cluster import Cluster
from planner.complaint import clearest, complaint, nearest
from planner.errors import ConfigError
from planner.policy import Count

Words = Annotated[tuple[str, ...], MinLen(1)]
Factor = Annotated[float, Gt(0), Le(1000)]
Amount = Annotated[float, Gt(0), Le(1e6)]
"""GiB."""
Share = Annotated[float, Ge(0), Le(1)]


class Restart(StrEnum):
    """Which guests of a node that fails start elsewhere."""

    HA = "ha"
    ALL = "all"


class _Strict:
    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class Drain(_Strict):
    """Nodes are emptied."""

    nodes: Words


@dataclass(frozen=True, slots=True)
class Fail(_Strict):
    """Nodes fail."""

    nodes: Words
    restart: Restart | None = None


@dataclass(frozen=True, slots=True)
class AddNode(_Strict):
    """A node comes that is like another."""

    like: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class RemoveNode(_Strict):
    """Nodes go."""

    nodes: Words


@dataclass(frozen=True, slots=True)
class Resize(_Strict):
    """A node, or the guest of a vmid, has other memory or cores."""

    of: str
    memory: Amount | None = None
    cores: Count | None = None


@dataclass(frozen=True, slots=True)
class Grow(_Strict):
    """Guests use so many times what they use."""

    select: str
    memory: Factor | None = None
    cpu: Factor | None = None
    disk: Factor | None = None


@dataclass(frozen=True, slots=True)
class AddGuest(_Strict):
    """Guests come."""

    memory: Amount
    cores: Count
    count: Count | None = None
    tags: Words | None = None
    pool: str | None = None
    name: str | None = None
    used: Share | None = None
    cpu: Share | None = None


@dataclass(frozen=True, slots=True)
class WithoutRule(_Strict):
    """Rules do not hold."""

    names: Words


@dataclass(frozen=True, slots=True)
class Pin(_Strict):
    """Guests may be on some nodes only."""

    select: str
    nodes: Words


STEPS: dict[str, type] = {
    "drain": Drain, "fail": Fail, "add_node": AddNode, "remove_node": RemoveNode, "resize": Resize, "grow": Grow,
    "add_guest": AddGuest, "without_rule": WithoutRule, "pin": Pin,
}  # fmt: skip
"""Method of `Cluster` to what it takes: no other is called."""
LISTS = ("nodes", "names", "tags")
PLACED = ("of", "select")
"""What a method takes in its first place, without a name..."""
SPREAD_OUT = ("nodes", "names")
"""...and what one by one after that."""
Steps = Sequence[Mapping[str, Any]]
"""Each with one key."""


def check(steps: Any, path: str, where: str) -> Steps:
    """Steps as a file has them, if they make sense; ConfigError says which one of `path` does not."""
    if not isinstance(steps, list | tuple):
        raise ConfigError(f"{path} {where} is not a list: write steps such as - fail: pve3")
    for index, step in enumerate(steps):
        here = f"{path}[{index}]"
        if not isinstance(step, Mapping) or len(step) != 1:
            raise ConfigError(f"{here} {where} is not one step: write one such as - fail: pve3")
        _read(step, here, where)
    return steps


def applied(cluster: Cluster, steps: Steps) -> Cluster:
    """The cluster that steps, which have been checked, make of a cluster; PlannerError where one cannot be done."""
    for index, step in enumerate(steps):
        name, read = _read(step, f"[{index}]", "among the steps")
        given = {item.name: getattr(read, item.name) for item in fields(read)}
        given = {key: value for key, value in given.items() if value is not None}
        first = [given.pop(key) for key in PLACED if key in given]
        rest = [word for key in SPREAD_OUT if key in given for word in given.pop(key)]
        cluster = getattr(cluster, name)(*first, *rest, **given)
    return cluster


def _read(step: Mapping[str, Any], path: str, where: str) -> tuple[str, Any]:
    """The method that a step is, and what it takes."""
    [(name, value)] = step.items()
    if name not in STEPS:
        raise ConfigError(f"unknown key {path}.{name} {where}: {nearest(str(name), list(STEPS))}")
    items = fields(STEPS[name])
    keys = [item.name for item in items]
    if value is not None and not isinstance(value, Mapping):  # what it cannot do without stands for all of it
        if [item.name for item in items if item.default is MISSING] != keys[:1]:
            raise ConfigError(f"{path}.{name} {where} is not a mapping of {', '.join(keys)}")
        value = {keys[0]: value}
    if isinstance(value, Mapping):
        value = {key: _list(part) if key in LISTS else part for key, part in value.items()}
    try:
        return name, _adapter(name).validate_python(value)
    except ValidationError as error:
        first = clearest(error.errors(include_url=False))
    raise ConfigError(complaint({**first, "loc": (f"{path}.{name}", *first["loc"])}, where, keys))


def _list(value: Any) -> Any:
    """One word is a list of one."""
    return [str(value)] if isinstance(value, str | int) else value


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(STEPS[name])
