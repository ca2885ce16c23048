"""Owns the reading of tags: what ProxLB's tags on guests ask for."""

from collections.abc import Callable, Iterator, Mapping

import pandas as pd

from planner.rule import Kind, Rule, apart, ignore, pin, together

PIN_TAG = "plb_pin_"
TAGS: tuple[tuple[str, Kind], ...] = (
    ("plb_affinity_", Kind.TOGETHER),
    ("plb_anti_affinity_", Kind.APART),
    (PIN_TAG, Kind.PIN),
    ("plb_ignore", Kind.IGNORE),
)
"""Prefixes of the tags that ProxLB understands."""
MAKE: dict[Kind, Callable[[str, list[int]], Rule]] = {Kind.TOGETHER: together, Kind.APART: apart, Kind.IGNORE: ignore}


def kind_of(tag: str) -> Kind | None:
    """What a tag, in lower case, asks for."""
    return next((kind for prefix, kind in TAGS if tag.startswith(prefix)), None)


def read(guests: pd.DataFrame, names: Mapping[str, str], note: Callable[[str], None]) -> Iterator[Rule]:
    """Rules of the tags on guests; `names` are those of the nodes by their lower case."""
    groups: dict[tuple[Kind, str], list[int]] = {}
    pins: dict[tuple[str, ...], list[int]] = {}
    for vmid, tags in zip(map(int, guests["vmid"]), guests["tags"], strict=True):
        known = {tag: kind_of(tag) for tag in str(tags).casefold().split(";")}
        for tag, kind in known.items():
            if kind is not None and kind is not Kind.PIN:
                groups.setdefault((kind, tag), []).append(vmid)
        pinned = [tag for tag, kind in known.items() if kind is Kind.PIN]
        for tag in pinned:
            if tag.removeprefix(PIN_TAG) not in names:
                note(f"tag {tag} of guest {vmid} names no node of this cluster: it has no effect")
        there = sorted(tag for tag in pinned if tag.removeprefix(PIN_TAG) in names)
        if there:
            pins.setdefault(tuple(there), []).append(vmid)
    for (kind, tag), vmids in groups.items():
        yield MAKE[kind](tag, vmids)
    for tags, vmids in pins.items():  # several mean any of the nodes
        yield pin(" or ".join(tags), vmids, (names[tag.removeprefix(PIN_TAG)] for tag in tags))
