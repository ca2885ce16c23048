"""Owns what Proxmox VE itself says about migrating guests: which call tells, asking in parallel, refusals."""

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pandas as pd

from planner import cpu
from planner.admission import Admission, Answer, Storages, flag, of_ct, of_vm, record, text
from planner.cluster import Cluster
from planner.cpu import Cpu
from planner.errors import ApiRefused, BadAnswer, Forbidden, InputError, Unreachable
from planner.snapshot import RESOURCES, Snapshot, Source, key, rows

WORKERS = 16
"""Calls at a time: pveproxy has three processes per node, and each passes calls on to other nodes."""
ERROR = "error"
"""Key under which a refusal is recorded where the answer would be: {"error": "VM is locked (backup)"}."""
DENIED, SILENT, FOREIGN = "permission denied", "no answer", "not an answer of Proxmox VE"
SENSELESS = "an answer that makes no sense"
LOCKED = re.compile(r"\b(VM|CT) is locked\b")

HA_RULES = "/cluster/ha/rules"


def path(kind: str, node: str, vmid: int) -> str:
    """The one call that tells. A container's own preconditions say nothing of its mounts: its configuration does."""
    return f"/nodes/{node}/qemu/{vmid}/migrate" if kind == "vm" else f"/nodes/{node}/lxc/{vmid}/config"


def status_path(node: str) -> str:
    """What tells the CPU of a node."""
    return f"/nodes/{node}/status"


def config_path(node: str, vmid: int) -> str:
    """What tells the CPU type that a running virtual machine has; by default it would be the one after a restart."""
    return key(f"/nodes/{node}/qemu/{vmid}/config", {"current": 1})


def paths(guests: pd.DataFrame) -> dict[int, str]:
    """vmid to the path to ask for, of rows of the guests frame."""
    columns = (guests["type"], guests["node"], guests["vmid"])
    return {int(vmid): path(str(kind), str(node), int(vmid)) for kind, node, vmid in zip(*columns, strict=True)}


def askable(cluster: Cluster) -> pd.DataFrame:
    """The guests that could be migrated at all: no templates, none on a node that would not answer."""
    online = cluster.nodes.loc[cluster.nodes["status"] == "online", "node"]
    guests = cluster.guests
    return guests[~guests["template"] & guests["node"].isin(online)]


def ask(source: Source, guests: pd.DataFrame, known: Collection[str]) -> dict[str, Any]:
    """Path to answer, for rows of the guests frame whose path is not known yet; refusals are values (see ERROR).

    In parallel, each once. Of a node that does not answer nothing more is asked.
    """
    return ask_all(source, dict(zip(paths(guests).values(), map(str, guests["node"]), strict=True)), known)


def ask_cpus(source: Source, cluster: Cluster, guests: pd.DataFrame, known: Mapping[str, Any]) -> dict[str, Any]:
    """The same of what tells which nodes fit the CPU types of guests, rows of the guests frame.

    The CPUs of all nodes that are online, if a virtual machine runs, and only if they differ the types of those.
    """
    running = _live(guests)
    online = cluster.nodes.loc[cluster.nodes["status"] == "online", "node"]
    if running.empty or len(online) < 2:
        return {}
    told = ask_all(source, {status_path(node): str(node) for node in online}, known)
    if not cpu.are_different(_cpus({**known, **told}, online).values()):
        return told
    columns = zip(running["node"], running["vmid"], strict=True)
    return told | ask_all(source, {config_path(node, int(vmid)): str(node) for node, vmid in columns}, known)


def ask_all(source: Source, places: Mapping[str, str], known: Collection[str]) -> dict[str, Any]:
    """Path to answer, of those that are not known, in parallel; refusals are values (see ERROR).

    `places`: path to the node that answers; of one that does not nothing more is asked.
    """
    wanted = {where: node for where, node in places.items() if where not in known}
    if not wanted:
        return {}
    pool = ThreadPoolExecutor(min(WORKERS, len(wanted)), "preconditions")
    try:
        return dict(zip(wanted, pool.map(_asking(source), wanted.items()), strict=True))
    finally:
        pool.shutdown(cancel_futures=True)  # after a Ctrl-C what has not begun never does


def _asking(source: Source) -> Callable[[tuple[str, str]], Any]:
    away: set[str] = set()

    def one(place: tuple[str, str]) -> Any:
        asked, node = place
        if node in away:
            return {ERROR: SILENT}
        try:
            where, _, query = asked.partition("?")
            answer = source.get(where, **dict(parse_qsl(query)))
        except ApiRefused as error:
            return {ERROR: " ".join(error.reason.split())}
        except Forbidden:
            return {ERROR: DENIED}
        except BadAnswer:
            return {ERROR: FOREIGN}
        except Unreachable:
            away.add(node)
            return {ERROR: SILENT}
        return {ERROR: FOREIGN} if answer is None else answer

    return one


def with_answers(snapshot: Snapshot, answers: Mapping[str, Any]) -> Snapshot:
    """The snapshot and what has been asked since."""
    return replace(snapshot, answers={**snapshot.answers, **answers})


def completed(cluster: Cluster, source: Source) -> tuple[Snapshot, tuple[str, ...]]:
    """The cluster's snapshot with the answers about all guests, and what to say of those that are not known."""
    guests = askable(cluster)
    taken = with_answers(cluster.snapshot, ask(source, guests, cluster.snapshot.answers))
    taken = with_answers(taken, ask_cpus(source, cluster, guests, taken.answers))
    return taken, notes(read(taken, guests, cluster.nodes["node"]))


def read(snapshot: Snapshot, guests: pd.DataFrame, nodes: Iterable[str]) -> dict[int, Admission]:
    """vmid to what is said of it, for those rows of the guests frame whose answer the snapshot has."""
    nodes, storages = sorted(nodes), _storages(snapshot)
    ha_known = snapshot.get(HA_RULES) is not None
    result = {}
    where, by_cpu = paths(guests), _cpu_bars(snapshot, guests, nodes)
    for vmid, kind, node in zip(where, guests["type"], guests["node"], strict=True):
        answer = snapshot.get(where[vmid])
        if answer is None:
            continue
        others = [name for name in nodes if name != node]
        try:
            admission = _refusal(record(answer))
            if admission is None:
                admission = of_vm(answer, others, ha_known) if kind == "vm" else of_ct(answer, others, storages)
        except InputError:
            admission = Admission(unknown=SENSELESS)
        result[vmid] = _joined(admission, by_cpu.get(vmid, {}))
    return result


def _live(guests: pd.DataFrame) -> pd.DataFrame:
    """The virtual machines that run: one that is stopped starts on any CPU that can give its type."""
    return guests[(guests["type"] == "vm") & ~guests["status"].isin(("stopped", "unknown"))]


def _cpus(answers: Mapping[str, Any], nodes: Iterable[str]) -> dict[str, Cpu]:
    """Node to its CPU, where that is known."""
    result = {}
    for node in nodes:
        with contextlib.suppress(InputError):  # not known
            found = cpu.of_node(record(answers.get(status_path(node))))
            if found is not None:
                result[node] = found
    return result


def _cpu_bars(snapshot: Snapshot, guests: pd.DataFrame, nodes: Iterable[str]) -> dict[int, dict[str, str]]:
    """vmid to the nodes that do not fit its CPU type while it runs, and why."""
    cpus = _cpus(snapshot.answers, nodes)
    if not cpu.are_different(cpus.values()):
        return {}
    result = {}
    live = _live(guests)
    for vmid, node in zip(map(int, live["vmid"]), live["node"], strict=True):
        answer = snapshot.get(config_path(node, vmid))
        with contextlib.suppress(InputError):  # not known
            config = record(answer)
            if config and set(config) != {ERROR} and node in cpus:
                others = {name: found for name, found in cpus.items() if name != node}
                result[vmid] = cpu.barred(cpu.type_of(config), cpus[node], others)
    return result


def _joined(admission: Admission, more: Mapping[str, str]) -> Admission:
    """With more nodes that are barred."""
    if not more:
        return admission
    old = admission.barred
    both = {node: "; ".join(bars[node] for bars in (old, more) if node in bars) for node in (*old, *more)}
    return replace(admission, barred=both)


def notes(admissions: Mapping[int, Admission]) -> tuple[str, ...]:
    """One line about the guests of which nothing is known, whatever their number."""
    reasons = Counter(admission.unknown for admission in admissions.values() if admission.unknown)
    if not reasons:
        return ()
    most = [f"{reason}: {count}" for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))]
    shown = ", ".join(most[:3]) + (", and others" if len(most) > 3 else "")
    count = sum(reasons.values())
    return (f"whether Proxmox VE would migrate {count} guests is not known ({shown}): it may refuse",)


def _refusal(answer: Answer) -> Admission | None:
    if set(answer) != {ERROR}:
        return None
    words = text(answer[ERROR])
    return Admission(fixed=words) if LOCKED.search(words) else Admission(unknown=words or FOREIGN)


def _storages(snapshot: Snapshot) -> Storages:
    result: dict[str, tuple[frozenset[str], bool]] = {}
    for row in rows(snapshot.get(RESOURCES), RESOURCES):
        if row.get("type") == "storage":
            name = str(row.get("storage"))
            on, shared = result.get(name, (frozenset(), False))
            result[name] = (on | {str(row.get("node"))}, shared or flag(row.get("shared")))
    return result
