"""Owns what-ifs: a cluster in, the cluster that would be out; the one that came in is never changed."""

import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from numbers import Integral
from typing import Literal

import numpy as np
import pandas as pd

from planner.again import again, assuming, scaled
from planner.cluster import Cluster
from planner.complaint import nearest
from planner.config import Config
from planner.errors import ConfigError, UsageError
from planner.newguest import MOST, NewGuest, memory_of, number, whole_of
from planner.policy import Resource, RuleSetting
from planner.rules import read
from planner.select import select
from planner.sheet import Sheet, check_figures
from planner.survive import NOT_RUNNING, protected
from planner.waiting import by_room, case_of, one_by_one, waiting
from solvers.problem import Bools

GIB = 2**30
SHOWN = 8
"""Guests that are named before the rest is counted."""
FACTORS = 0.001, 1000.0
"""What somebody may use times as much as today."""
Restart = Literal["ha", "all"]
Selector = str | int | Iterable[str | int]


# --- nodes --------------------------------------------------------------------------------------------


def drain(cluster: Cluster, *nodes: str) -> Cluster:
    """Some nodes are in maintenance: a plan empties them. UsageError for one that there is not."""
    _check_nodes(cluster, nodes)
    return assuming(cluster, cluster.assumed.also(f"{_listed(nodes)} in maintenance", drained=nodes))


def fail(cluster: Cluster, *nodes: str, restart: Restart = "ha") -> Cluster:
    """Some nodes are offline; their HA guests, or all that ran, start on others, under all rules.

    The largest chooses first, the node on which most memory is free. UsageError for a node that there is not.
    """
    _check_nodes(cluster, nodes)
    if restart not in ("ha", "all"):
        raise UsageError(f"restart is {restart}: choose ha or all")
    for node in nodes:
        check_figures(Sheet(cluster.snapshot).node(node))
    here = cluster.guests[cluster.guests["node"].isin(nodes) & ~cluster.guests["template"]]
    ran: Bools = ~here["status"].isin(NOT_RUNNING).to_numpy(dtype=bool)
    starts = ran & (protected(here) if restart == "ha" else True)
    found = _places(cluster, nodes, here[starts])
    sheet = Sheet(cluster.snapshot)
    for vmid, node in found.items():
        sheet.relocate(vmid, node)
    for node in nodes:
        sheet.switch_off(node)
    lost, down = here[starts & ~here["vmid"].isin(found).to_numpy()], here[ran & ~starts]
    said = [f"{_listed(nodes)} {'fails' if len(nodes) == 1 else 'fail'}"]
    said += [f"{_counted(len(found), 'guest')} restarted elsewhere"] if found else []
    said += _replicated(here[here["vmid"].isin(found)])
    said += [*_some("without a place, and down", lost), *_some("not restarted, and down", down)]
    return again(cluster, sheet, cluster.assumed.also("; ".join(said)))


def add_node(cluster: Cluster, name: str | None = None, *, like: str) -> Cluster:
    """One node more, empty, with the hardware, storages and own use of another. UsageError for a name that is taken."""
    _check_nodes(cluster, [like])
    known = [str(node) for node in cluster.nodes["node"]]
    name = name or _next_name(like, known)
    if name in known:
        raise UsageError(f"there is a node {name} already: give the new one another name")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise UsageError(f"{name!a} is no name for a node: letters, digits and - make one")
    sheet = Sheet(cluster.snapshot)
    check_figures(sheet.node(like))
    sheet.copy(like, name)
    assumed = replace(cluster.assumed, gone=tuple(node for node in cluster.assumed.gone if node != name))
    return again(cluster, sheet, assumed.also(f"{name} is added, like {like}"))


def remove_node(cluster: Cluster, *nodes: str) -> Cluster:
    """Some nodes are no more; all their guests are on others, under all rules, and those without a place are gone."""
    _check_nodes(cluster, nodes)
    others = [str(node) for node in cluster.nodes["node"] if node not in nodes]
    if not others:
        raise UsageError(f"{_listed(nodes)}: these are all nodes, and one at least has to stay")
    here = cluster.guests[cluster.guests["node"].isin(nodes)]
    guests, templates = here[~here["template"]], here[here["template"]]
    for node in sorted(set(guests["node"])):
        check_figures(Sheet(cluster.snapshot).node(node))
    found, sheet = _places(cluster, nodes, guests), Sheet(cluster.snapshot)
    for vmid, node in (found | dict.fromkeys(map(int, templates["vmid"]), others[0])).items():
        sheet.relocate(vmid, node)
    for node in nodes:
        sheet.remove(node)
    lost = guests[~guests["vmid"].isin(found)]
    said = [f"{_listed(nodes)} removed, {_counted(len(found), 'guest')} placed elsewhere",
            *_some("without a place, and gone", lost)]  # fmt: skip
    assumed = replace(cluster.assumed, drained=tuple(node for node in cluster.assumed.drained if node not in nodes))
    return again(cluster, sheet, assumed.also("; ".join(said), gone=nodes))


def _places(cluster: Cluster, nodes: Collection[str], guests: pd.DataFrame) -> dict[int, str]:
    """vmid to node, for those of some guests of nodes that find a place when these no longer take any."""
    if guests.empty:
        return {}
    sheet, stay = Sheet(cluster.snapshot), set(map(int, guests["vmid"]))
    for vmid in [int(row["vmid"]) for node in nodes for row in sheet.guests(node)]:
        if vmid not in stay:
            sheet.drop(vmid)
    assumed = replace(cluster.assumed, drained=(*cluster.assumed.drained, *nodes))
    wait = waiting(case_of(again(cluster, sheet, assumed)), sorted(stay))
    largest = sorted(wait.bundles, key=lambda bundle: -int(wait.problem.bundle_needs[bundle, 0]))
    return wait.places(one_by_one(wait, largest, by_room))


# --- guests -------------------------------------------------------------------------------------------


def resize(
    cluster: Cluster, what: str | int, *, memory: float | str | None = None, cores: int | str | None = None
) -> Cluster:  # fmt: skip
    """A node or guest has so many GiB and cores; what it uses stays, as far as that is possible."""
    if memory is None and cores is None:
        raise UsageError(f"resize {what}: say memory (GiB), cores or both")
    memory = None if memory is None else memory_of(memory, f"resize {what}: memory")
    cores = None if cores is None else whole_of(cores, f"resize {what}: cores")
    given = {"memory": memory, "cores": cores}
    for name, value in given.items():
        if value is not None and not 0 < value <= MOST[name]:
            raise UsageError(f"resize {what}: {name} cannot be {value:g}")
    sheet, text, size = Sheet(cluster.snapshot), str(what), None if memory is None else memory * GIB
    said = ", ".join(f"{value:g} {name}" for name, value in (("GiB", memory), ("cores", cores)) if value is not None)
    if text in set(cluster.nodes["node"]):
        check_figures(sheet.node(text))
        sheet.equip(text, size, cores)
        return again(cluster, sheet, cluster.assumed.also(f"{text} has {said}"))
    (vmid,) = _selected(cluster, text, "resize") if text.isdecimal() else (None,)
    if vmid is None:
        raise UsageError(f"resize {what}: there is no such node: {nearest(text, list(cluster.nodes['node']))}")
    sheet.resize(vmid, size, cores)
    return again(cluster, sheet, cluster.assumed.also(f"guest {vmid} has {said}"))


def grow(
    cluster: Cluster, selector: Selector, *, memory: float = 1.0, cpu: float = 1.0, disk: float = 1.0
) -> Cluster:  # fmt: skip
    """Some guests have and use so many times what they did, and their nodes with them; the past likewise."""
    given = {"memory": memory, "cpu": cpu, "disk": disk}
    factors = {name: number(factor, f"grow: {name}") for name, factor in given.items()}
    for name, factor in factors.items():
        if not FACTORS[0] <= factor <= FACTORS[1]:
            raise UsageError(f"grow: {name} cannot become {factor:g} times as much")
    vmids, sheet = _selected(cluster, selector, "grow"), Sheet(cluster.snapshot)
    for vmid in vmids:
        sheet.scale(vmid, **factors)
    said = ", ".join(f"{name} x {factor:g}" for name, factor in factors.items() if factor != 1) or "as today"
    step = f"{_words(selector)} ({_counted(len(vmids), 'guest')}): {said}"
    past = {Resource(name): factor for name, factor in factors.items()}
    chosen = cluster.guests[cluster.guests["vmid"].isin(vmids)]
    history = cluster.history and scaled(cluster.history, chosen, past)
    return again(replace(cluster, history=history), sheet, cluster.assumed.also(step))


def add_guest(cluster: Cluster, new: NewGuest, count: int = 1) -> Cluster:
    """Some guests more, each on the best node. NoPlace says why no node takes them."""
    from planner.place import place

    placement = place(cluster, new, count)
    placement.check()
    count = len(placement.nodes)
    sheet = Sheet(cluster.snapshot)
    for vmid, node in placement.nodes.items():
        sheet.add(new.row(vmid, str(node)))
    on = ", ".join(f"{vmid} on {node}" for vmid, node in list(placement.nodes.items())[:SHOWN])
    more = f" and {count - SHOWN} more" if count > SHOWN else ""
    step = f"{_counted(count, 'guest')} more of {new}: {on}{more}"
    return again(cluster, sheet, cluster.assumed.also(step))


# --- rules --------------------------------------------------------------------------------------------


def without_rule(cluster: Cluster, *names: str) -> Cluster:
    """Rules of these names, or patterns, do not hold. UsageError for one that names none."""
    if not names:
        raise UsageError("name at least one rule, or pattern of rules")
    known = list(dict.fromkeys(rule.name for rule in read(cluster, (cluster.config or Config()).cluster).items))
    for name in names:
        if not any(fnmatchcase(rule, name) for rule in known):
            raise UsageError(f"there is no rule {name}: {nearest(name, known) if known else 'this cluster has none'}")
    return assuming(cluster, cluster.assumed.also(f"without rule {_listed(names)}", lifted=names))


def pin(cluster: Cluster, selector: Selector, *nodes: str) -> Cluster:
    """Some guests are on some nodes only."""
    _check_nodes(cluster, nodes)
    vmids, number = _selected(cluster, selector, "pin"), len(cluster.assumed.rules) + 1
    rule = RuleSetting(f"what if {number}", pin=tuple(map(str, vmids)), nodes=tuple(nodes))
    step = f"{_words(selector)} ({_counted(len(vmids), 'guest')}) on {' or '.join(nodes)} only"
    return assuming(cluster, cluster.assumed.also(step, rules=(rule,)))


# --- words --------------------------------------------------------------------------------------------


def _check_nodes(cluster: Cluster, nodes: Collection[str]) -> None:
    known = [str(node) for node in cluster.nodes["node"]]
    if not nodes:
        raise UsageError("name at least one node")
    for node in nodes:
        if node not in known:
            raise UsageError(f"there is no node {node}: there are {', '.join(known)}")


def _selected(cluster: Cluster, selector: Selector, where: str) -> tuple[int, ...]:
    """vmids of the guests that are meant, templates apart. UsageError where there is none."""
    if not isinstance(selector, Integral | Iterable):
        raise UsageError(f"{where}: {selector!r} is no selector: write a vmid, a text such as @tag-web, or a list")
    try:
        vmids = select(_words_of(selector), cluster.guests[~cluster.guests["template"]], where)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    if not vmids:
        raise UsageError(f"{where}: {_words(selector)} means no guest of this cluster")
    return vmids


def _words(selector: Selector) -> str:
    return _listed(_words_of(selector))


def _words_of(selector: Selector) -> list[str]:
    return [str(selector)] if isinstance(selector, str | Integral) else list(map(str, selector))


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _some(what: str, guests: pd.DataFrame) -> list[str]:
    """Guests by number and name, some of them where they are many."""
    both = zip(guests["vmid"], guests["name"], strict=True)
    named = [f"{vmid} ({name})" if name else str(vmid) for vmid, name in both]
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return [f"{what}: {', '.join(named[:SHOWN])}{more}"] if named else []


def _replicated(guests: pd.DataFrame) -> list[str]:
    """What is not looked at."""
    local = int(np.count_nonzero(guests["disk_mib"]))
    return [f"{_counted(local, 'guest')} of them with local disks, taken to be replicated"] if local else []


def _next_name(like: str, known: Collection[str]) -> str:
    """The next number after a name: pve6 where there are pve1 to pve5."""
    stem, digits = re.fullmatch(r"(.*?)(\d*)", like).groups()  # type: ignore[union-attr]
    numbers = (f"{stem}{number:0{len(digits)}d}" for number in range(int(digits or 1) + 1, 10**9))
    return next(name for name in numbers if name not in known)
