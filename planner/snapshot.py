"""Owns recorded API answers: asking for them, saving and loading them."""

import contextlib
import gzip
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import urlencode

from planner.errors import ApiRefused, Forbidden, InputError, Unreachable

FORMAT = "proxlb-plan-snapshot/1"
RESOURCES = "/cluster/resources"
RULES, GROUPS = "/cluster/ha/rules", "/cluster/ha/groups"
"""Of Proxmox VE 9, and what Proxmox VE 8 has instead."""
OPTIONAL = (
    "/version",
    "/cluster/status",
    "/cluster/options",
    "/access/permissions",
    RULES,
    "/cluster/ha/resources",
    "/cluster/ha/status/current",
    "/cluster/tasks",
    "/pools",
)
"""Asked for besides the resources; whatever is not answered is not known."""


class Source(Protocol):
    """Whatever answers like the Proxmox VE API: a cluster, or one in memory."""

    def get(self, path: str, /, **params: Any) -> Any: ...

    def post(self, path: str, /, **data: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Answers of the API under their path (with its sorted query), as Proxmox VE gave them."""

    answers: Mapping[str, Any]
    taken_at: str
    origin: str = field(default="")
    """Where it comes from, for messages."""

    def get(self, path: str, default: Any = None) -> Any:
        """One answer; the default when it is not known."""
        return self.answers.get(path, default)


def key(path: str, params: Mapping[str, Any]) -> str:
    """Name of an answer: the path with its sorted query."""
    return f"{path}?{urlencode(sorted(params.items()))}" if params else path


def take(source: Source, *, now: datetime | None = None) -> Snapshot:
    """Ask for everything a plan needs.

    The number of calls does not depend on the number of guests: ten, and one per local storage of a
    node, as a guest with volumes there cannot simply be migrated.
    """
    answers: dict[str, Any] = {RESOURCES: source.get(RESOURCES)}
    for path in OPTIONAL:
        with contextlib.suppress(ApiRefused, Forbidden):  # not known; collect says so once
            answers[path] = source.get(path)
    if RULES not in answers:
        with contextlib.suppress(ApiRefused, Forbidden):
            answers[GROUPS] = source.get(GROUPS)
    for node, name in local_storages(answers[RESOURCES]):
        # A node that has gone since does not spoil the rest.
        with contextlib.suppress(ApiRefused, Forbidden, Unreachable):
            answers[content_path(node, name)] = source.get(content_path(node, name))
    taken_at = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    return Snapshot(answers, taken_at, "the API")


HOUR = {"timeframe": "hour"}
"""The shortest history that Proxmox VE keeps: a point per minute."""


def with_last_hour(snapshot: Snapshot, source: Source) -> Snapshot:
    """The same and what each node that is online used during the last hour: one call more per node."""
    answers = dict(snapshot.answers)
    for row in rows(answers[RESOURCES], RESOURCES):
        if row.get("type") == "node" and row.get("status") == "online":
            node = str(row.get("node"))
            with contextlib.suppress(ApiRefused, Forbidden, Unreachable):  # not known; who needs it says so
                answers[hour_path(node)] = source.get(f"/nodes/{node}/rrddata", **HOUR)
    return replace(snapshot, answers=answers)


def hour_path(node: str) -> str:
    """Where the last hour of a node is recorded."""
    return key(f"/nodes/{node}/rrddata", HOUR)


def content_path(node: str, storage: str) -> str:
    """Where the volumes of a storage are listed."""
    return f"/nodes/{node}/storage/{storage}/content"


def local_storages(resources: Any) -> list[tuple[str, str]]:
    """(node, storage) of the available storages that hold guests' volumes and belong to one node."""
    result = set()
    for row in resources if isinstance(resources, list) else []:
        if not isinstance(row, dict) or row.get("type") != "storage" or row.get("shared") in (1, "1", True):
            continue
        content = set(str(row.get("content", "")).split(","))
        if content & {"images", "rootdir"} and row.get("status") == "available":
            result.add((str(row.get("node")), str(row.get("storage"))))
    return sorted(result)


def save(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot, compressed when the name ends in .gz; all of it or nothing."""
    document = {"format": FORMAT, "taken_at": snapshot.taken_at, "answers": snapshot.answers}
    text = json.dumps(document, indent=1, sort_keys=True).encode()
    write(path, gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def write(path: Path, content: bytes) -> None:
    """Replace a file in one step, so that a reader never sees half of it."""
    real = path.resolve()  # a link stays a link
    partial = real.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe, /dev/stdout
            path.write_bytes(content)
            return
        partial.write_bytes(content)
        partial.replace(real)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def load(path: Path) -> Snapshot:
    """Read a snapshot; InputError says what is wrong with it."""
    document = read_json(path, "snapshot")
    if document.get("format") != FORMAT:
        raise InputError(f"{path} is not a snapshot: its format is {document.get('format')!r}, not {FORMAT!r}")
    answers = document.get("answers")
    if not isinstance(answers, dict) or RESOURCES not in answers:
        raise InputError(f"snapshot {path} has no answer for {RESOURCES}: take a new one")
    return Snapshot(answers, str(document.get("taken_at", "")), str(path))


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """The JSON object in a file, compressed or not."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        document = json.loads(raw, parse_constant=_no_such_number)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{kind} {path} is cut off or damaged: its compression is broken") from None
    except OSError as error:
        raise InputError(f"cannot read {kind} {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{kind} {path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{kind} {path} holds {type(document).__name__}, not an object")
    return document


def _no_such_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def rows(answer: Any, what: str) -> Iterable[dict[str, Any]]:
    """The rows of a list answer; InputError when it is not a list of objects."""
    if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
        raise InputError(f"the answer for {what} is not a list of objects: is this the Proxmox VE API?")
    return answer
