"""Owns how a consolidation looks on a terminal."""

from collections.abc import Iterator
from dataclasses import replace

from rich.console import Console

from planner import report, staying, why_on
from planner.amounts import gib
from planner.consolidate import Consolidation


def consolidation(item: Consolidation, out: Console) -> None:
    """The plan, and in lines what could be switched off, why not more, and what stays on."""
    if item.plan is not None:
        report.plan(replace(item.plan, survival=None), out)  # the last line tells of it
    for line in lines(item):
        out.print(line, soft_wrap=True, markup=False)


def lines(item: Consolidation) -> Iterator[str]:
    """What a person wants to know."""
    for node, why in item.stays.items():
        yield f"{node} is no candidate: {staying.shown(why)}"
    if item.nodes:
        memory, threads = item.freed
        yield (
            f"could be switched off: {', '.join(item.nodes)} ({len(item.nodes)} of {len(item.guests)} nodes, with "
            f"{gib(memory)} of memory and {threads} threads)"
        )
    else:
        yield "no node can be switched off"
    yield from item.why
    if item.nodes and item.survive:
        yield _survived(item)


def _survived(item: Consolidation) -> str:
    """What the loss of one node more means; it is survived where HA would start the guests."""
    whose = "HA guests" if item.restart == "ha" else "running guests"
    but = f", but for {why_on.named(item.exempt)}: they may be on no other node" if item.exempt else ""
    if item.quorum_after_loss and item.ha_starts:
        return f"then the loss of any one node more is survived: its {whose} find a place on those that stay on{but}"
    nobody = "" if item.ha_starts else ", but HA does not start them by itself"
    none = (
        f"; with {item.online - 1} of {len(item.guests)} nodes left there is no quorum then, and HA starts nothing (a"
    )
    none = "" if item.quorum_after_loss else f"{none} QDevice apart)"
    return f"if one node more is lost there is room for its {whose} on those that stay on{nobody}{but}{none}"
