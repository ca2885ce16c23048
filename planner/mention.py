"""Owns how steps of what-ifs name nodes and guests, and the check that there are such nodes."""

from collections.abc import Collection, Iterable

import pandas as pd

from planner.cluster import Cluster
from planner.errors import UsageError

SHOWN = 8
"""Guests that are named before the rest is counted."""


def check_nodes(cluster: Cluster, nodes: Collection[str]) -> None:
    """UsageError where none is named, or one that there is not."""
    known = [str(node) for node in cluster.nodes["node"]]
    if not nodes:
        raise UsageError("name at least one node")
    for node in nodes:
        if node not in known:
            raise UsageError(f"there is no node {node}: there are {', '.join(known)}")


def listed(names: Iterable[str]) -> str:
    """Names in one line."""
    return ", ".join(names)


def counted(count: int, what: str) -> str:
    """1 guest, 2 guests."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def labels(guests: pd.DataFrame) -> dict[int, str]:
    """vmid to a guest of a frame as people call it."""
    both = zip(map(int, guests["vmid"]), guests["name"], strict=True)
    return {vmid: f"{vmid} ({name})" if name else str(vmid) for vmid, name in both}


def shortened(words: Collection[str], joined: str = ", ") -> str:
    """Some of them where they are many."""
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return f"{joined.join(list(words)[:SHOWN])}{more}"


def some(what: str, words: Collection[str]) -> list[str]:
    """What is said of some guests; nothing where there are none."""
    return [f"{what}: {shortened(words)}"] if words else []
