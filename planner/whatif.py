"""Owns what-ifs: a cluster in, the cluster that would be out; the one that came in is never changed."""

import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from numbers import Integral

from planner.again import again, assuming, scaled
from planner.cluster import Cluster
from planner.complaint import nearest
from planner.config import Config
from planner.errors import ConfigError, UsageError
from planner.mention import SHOWN, check_nodes, counted, listed
from planner.newguest import MOST, NewGuest, memory_of, number, whole_of
from planner.policy import Resource, RuleSetting
from planner.rules import read
from planner.select import select
from planner.sheet import Sheet, check_figures

GIB = 2**30
FACTORS = 0.001, 1000.0
"""What somebody may use times as much as today."""
Selector = str | int | Iterable[str | int]


# --- nodes --------------------------------------------------------------------------------------------


def drain(cluster: Cluster, *nodes: str) -> Cluster:
    """Some nodes are in maintenance: a plan empties them. UsageError for one that there is not."""
    check_nodes(cluster, nodes)
    return assuming(cluster, cluster.assumed.also(f"{listed(nodes)} in maintenance", drained=nodes))


def add_node(cluster: Cluster, name: str | None = None, *, like: str) -> Cluster:
    """One node more, empty, with the hardware, storages and own use of another. UsageError for a name that is taken."""
    check_nodes(cluster, [like])
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
    step = f"{_words(selector)} ({counted(len(vmids), 'guest')}): {said}"
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
    step = f"{counted(count, 'guest')} more of {new}: {on}{more}"
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
    return assuming(cluster, cluster.assumed.also(f"without rule {listed(names)}", lifted=names))


def pin(cluster: Cluster, selector: Selector, *nodes: str) -> Cluster:
    """Some guests are on some nodes only."""
    check_nodes(cluster, nodes)
    vmids, number = _selected(cluster, selector, "pin"), len(cluster.assumed.rules) + 1
    rule = RuleSetting(f"what if {number}", pin=tuple(map(str, vmids)), nodes=tuple(nodes))
    step = f"{_words(selector)} ({counted(len(vmids), 'guest')}) on {' or '.join(nodes)} only"
    return assuming(cluster, cluster.assumed.also(step, rules=(rule,)))


# --- words --------------------------------------------------------------------------------------------


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
    return listed(_words_of(selector))


def _words_of(selector: Selector) -> list[str]:
    return [str(selector)] if isinstance(selector, str | int | Integral) else list(map(str, selector))


def _next_name(like: str, known: Collection[str]) -> str:
    """The next number after a name: pve6 where there are pve1 to pve5."""
    stem, digits = re.fullmatch(r"(.*?)(\d*)", like).groups()  # type: ignore[union-attr]
    numbers = (f"{stem}{number:0{len(digits)}d}" for number in range(int(digits or 1) + 1, 10**9))
    return next(name for name in numbers if name not in known)
