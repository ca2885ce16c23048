"""Owns the columns of every frame: name, dtype, unit, meaning; and the making of frames that conform to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from planner.plain import plain


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a frame."""

    name: str
    dtype: str
    unit: str
    meaning: str


NODES = (
    Column("node", "str", "", "name"),
    Column("status", "str", "", "online, offline or unknown, as Proxmox VE says"),
    Column("maintenance", "bool", "", "in maintenance according to Proxmox VE's HA manager"),
    Column("memory_mib", "int64", "MiB", "memory of the node; 0 when not known"),
    Column("memory_used_mib", "int64", "MiB", "memory in use, guests included"),
    Column("arc_mib", "int64", "MiB", "of it the ZFS cache (ARC), which gives way to guests; -1 when not known"),
    Column("cpu_mcpu", "int64", "milli-CPU", "threads of the node"),
    Column("cpu_used_mcpu", "int64", "milli-CPU", "CPU in use, guests included"),
    Column("disk_mib", "int64", "MiB", "local storage for guests; the root file system where there is none"),
    Column("disk_used_mib", "int64", "MiB", "of it in use"),
)
"""One row per node, in name order."""

GUESTS = (
    Column("vmid", "int64", "", "identity of the guest"),
    Column("name", "str", "", "name; may be empty, need not be unique"),
    Column("type", "str", "", "vm or ct"),
    Column("node", "str", "", "node it is on"),
    Column("status", "str", "", "running, stopped, paused, prelaunch, io-error or unknown"),
    Column("template", "bool", "", "a template: never migrated, no load"),
    Column("tags", "str", "", "tags in the order of the API, joined by ;"),
    Column("pool", "str", "", "pool, or empty"),
    Column("lock", "str", "", "what it is locked for, or empty"),
    Column("ha_state", "str", "", "state in the HA manager; empty when HA does not manage it"),
    Column("memory_mib", "int64", "MiB", "configured memory"),
    Column("memory_used_mib", "int64", "MiB", "what it costs the node (memhost where there is one, else mem)"),
    Column("memory_guest_mib", "int64", "MiB", "what it uses by its own account (mem)"),
    Column("cpu_mcpu", "int64", "milli-CPU", "vCPUs"),
    Column("cpu_used_mcpu", "int64", "milli-CPU", "CPU in use"),
    Column("disk_mib", "int64", "MiB", "size of its volumes on local storage"),
    Column("disk_used_mib", "int64", "MiB", "of it in use; the size where the storage does not tell"),
)
"""One row per guest, in vmid order."""

STORAGES = (
    Column("node", "str", "", "node it belongs to"),
    Column("storage", "str", "", "name, which several nodes may use for storages of their own"),
    Column("total_mib", "int64", "MiB", "size"),
    Column("used_mib", "int64", "MiB", "of it in use, whatever by"),
)
"""One row per available local storage for guests, in node and storage order."""

VOLUMES = (
    Column("vmid", "int64", "", "guest it belongs to"),
    Column("storage", "str", "", "local storage of the guest's node"),
    Column("size_mib", "int64", "MiB", "size, rounded up"),
    Column("used_mib", "int64", "MiB", "of it in use; the size where the storage does not tell"),
)
"""One row per volume of a guest on local storage, in vmid order."""

RULES = (
    Column("rule", "str", "", "name as the operator wrote it"),
    Column("kind", "str", "", "together, apart, pin or ignore"),
    Column("vmid", "int64", "", "guest it is about"),
    Column("nodes", "str", "", "nodes it is about, joined by a comma; pins only"),
    Column("side", "int64", "", "which of the sides that are kept apart the guest is on; 0 where nothing is"),
    Column("most", "int64", "", "how many sides may share a node or failure domain"),
    Column("per", "str", "", "kind of failure domain that counts; empty: nodes"),
    Column("price", "float64", "", "what it costs that the rule gives way; 0: it must hold"),
    Column("unless", "str", "", "when guests that stay may be migrated: never, repair or daily; ignore only"),
)
"""One row per rule and guest."""


def conform(rows: Iterable[Mapping[str, Any]], columns: Sequence[Column], key: str) -> pd.DataFrame:
    """A frame with exactly these columns and dtypes, in order of one column; missing values are a mistake."""
    rows = sorted(rows, key=lambda row: row[key])
    return pd.DataFrame({column.name: _filled(rows, column) for column in columns})


def _filled(rows: Iterable[Mapping[str, Any]], column: Column) -> pd.Series:
    values = (row[column.name] for row in rows)
    safe = (plain(value) if isinstance(value, str) else value for value in values)  # it will be shown
    return pd.Series(list(safe), dtype=column.dtype)
