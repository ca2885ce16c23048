"""Owns what a sweep is about: the file that says so, and the scenarios that it is the product of."""

import glob
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt, Le, MinLen
from pydantic import TypeAdapter, ValidationError

from planner import __version__, rrd, snapshot, whatif_steps, yamlfile
from planner.clock import FastClock
from planner.complaint import clearest, complaint, nearest
from planner.config import chosen
from planner.errors import ConfigError, InputError
from planner.simulate import Size, demo
from planner.snapshot import Snapshot

DEMO = "demo:"
"""What a snapshot begins with that is a built-in cluster."""
TAKEN = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""When that is looked at, so that it is the same at all times."""
WORK = 3.0
"""Units of work (`Budget.work`) for one scenario, if the file does not say."""
Limit = Annotated[float, Gt(0), Le(1e6)]
AS_IT_IS, DEFAULTS = "as it is", "defaults"
"""The what-if and the policy where the file has none."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One plan that is made, as text and numbers: any process can make it from that."""

    id: str
    """Of everything below: what has the same id has the same result."""
    snapshot: str
    """As the file names it, relative to itself."""
    source: str
    """Path of its file, or demo:SIZE."""
    digest: str
    """Of what is in it."""
    whatif: str
    steps: str
    """JSON."""
    policy: str
    settings: str
    """JSON."""
    solver: str
    work: float | None
    time_limit: float | None
    version: str
    """Of the planner and of OR-Tools."""


@dataclass(frozen=True, slots=True)
class Scenarios:
    """Snapshots x what-ifs x policies x solvers, in this order; each within so much work, or so many seconds."""

    snapshots: Annotated[tuple[str, ...], MinLen(1)]
    """Files, patterns such as more/*.json.gz, or demo:SIZE."""
    solvers: Annotated[tuple[str, ...], MinLen(1)] = ("cpsat",)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name to settings, those of the sections policy, cluster and apply side by side."""
    whatif: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    """Name to steps, see `planner.whatif_steps`."""
    work: Limit | None = None
    time_limit: Limit | None = None
    base: Path = Path()
    """What paths of snapshots are relative to."""

    def scenarios(self) -> list[Scenario]:
        """All of them, in order. ConfigError for a file that is not there, InputError for one that cannot be read."""
        whatif = {name: _text(steps) for name, steps in self.whatif.items()} or {AS_IT_IS: "[]"}
        policies = {name: _text(settings) for name, settings in self.policies.items()} or {DEFAULTS: "{}"}
        return [
            self._scenario(name, source, digest, (what, whatif[what]), (policy, policies[policy]), solver)
            for name, source, digest in self._sources()
            for what in whatif
            for policy in policies
            for solver in dict.fromkeys(self.solvers)
        ]

    def _scenario(
        self, name: str, source: str, digest: str, whatif: tuple[str, str], policy: tuple[str, str], solver: str
    ) -> Scenario:
        known = version()
        identity = _text([name, digest, *whatif, *policy, solver, self.work, self.time_limit, known])
        key = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return Scenario(key, name, source, digest, *whatif, *policy, solver, self.work, self.time_limit, known)

    def _sources(self) -> list[tuple[str, str, str]]:
        """Name, source and digest of each snapshot; one that is named twice counts once."""
        found: dict[str, tuple[str, str, str]] = {}
        for name in self.snapshots:
            if name.startswith(DEMO):
                found.setdefault(name, (name, name, digest(name)))
            for path in [] if name.startswith(DEMO) else self._paths(name):
                found.setdefault(str(path), (_relative(path, self.base), str(path), digest(str(path))))
        return list(found.values())

    def _paths(self, name: str) -> list[Path]:
        path = self.base / name
        if path.exists():  # whatever signs of a pattern are in its name
            return [path.resolve()]
        paths = sorted(Path(found).resolve() for found in glob.glob(str(path), recursive=True))  # noqa: PTH207 - it may be absolute
        if not paths:
            raise ConfigError(f"snapshots: there is no file {path}: paths are relative to the file that names them")
        return paths


def read(path: Path) -> Scenarios:
    """The scenarios that a file describes; ConfigError says what is wrong with which key of it."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"scenarios {path} cannot be read: {reason}") from None
    return parse(yamlfile.parse(content, str(path)), f"in {path}", path.parent)


def parse(document: Any, where: str, base: Path = Path()) -> Scenarios:
    """The same from what is in such a file."""
    keys = [item.name for item in fields(Scenarios) if item.name != "base"]
    if not isinstance(document, Mapping):
        raise ConfigError(f"what is {where} is not a mapping: it has {', '.join(keys)}")
    for key in document:
        if key not in keys:
            raise ConfigError(f"unknown key {key} {where}: {nearest(str(key), keys)}")
    lists = {key: [document[key]] for key in ("snapshots", "solvers") if isinstance(document.get(key), str)}
    try:
        result = _adapter().validate_python({**document, **lists, "base": base})
    except ValidationError as error:
        first = clearest(error.errors(include_url=False))
    else:
        _check(result, where)
        return result if result.work or result.time_limit else replace(result, work=WORK)
    raise ConfigError(complaint(first, where, keys))


def _check(scenarios: Scenarios, where: str) -> None:
    """ConfigError for what makes no sense in them."""
    from planner.planning import NAMES

    if scenarios.work and scenarios.time_limit:
        raise ConfigError(f"work and time_limit {where} are both set: keep work for results that are always the same")
    for index, solver in enumerate(scenarios.solvers):
        if solver not in NAMES:
            raise ConfigError(f"solvers[{index}] {where}: there is no solver {solver}: {nearest(solver, NAMES)}")
    for name in scenarios.snapshots:
        if name.startswith(DEMO) and name.removeprefix(DEMO) not in list(Size):
            raise ConfigError(f"snapshots {where}: {name}: there are {', '.join(DEMO + size for size in Size)}")
    for name, settings in scenarios.policies.items():
        _check_policy(name, settings, where)
    for name, steps in scenarios.whatif.items():
        whatif_steps.check(steps, f"whatif.{name}", where)


def _check_policy(name: str, settings: Mapping[str, Any], where: str) -> None:
    if "time_limit" in settings:
        raise ConfigError(f"policies.{name}.time_limit {where}: all have the same: set work or time_limit for the file")
    place = f"in policies.{name} of {where.removeprefix('in ')}"
    try:
        chosen(settings, where=place)
    except ConfigError as error:
        said = str(error)
        raise ConfigError(said if place in said else f"policies.{name} {where}: {said}") from None


@cache
def _adapter() -> TypeAdapter[Scenarios]:
    return TypeAdapter(Scenarios)


def taken(source: str, timeframes: Iterable[str] = ()) -> Snapshot:
    """The snapshot of a scenario, a built-in cluster with so much of its past."""
    if not source.startswith(DEMO):
        return snapshot.load(Path(source))
    cluster = demo(Size(source.removeprefix(DEMO)), FastClock(), epoch=TAKEN.timestamp())
    found = snapshot.take(cluster, now=TAKEN)
    for timeframe in timeframes:
        found = rrd.asked(found, cluster, timeframe)
    return found


def digest(source: str) -> str:
    """A fingerprint of what a snapshot has in it."""
    if source.startswith(DEMO):
        return hashlib.sha256(_text(taken(source).answers).encode()).hexdigest()[:16]
    try:
        with Path(source).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"cannot read snapshot {source}: {error.strerror}") from None


def version() -> str:
    """What plans: the same version gives the same plans."""
    try:
        return f"{__version__} {version_of('ortools')}"
    except PackageNotFoundError:
        return __version__


def _text(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _relative(path: Path, base: Path) -> str:
    try:
        return path.relative_to(base.resolve()).as_posix()
    except ValueError:
        return str(path)
