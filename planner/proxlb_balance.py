"""Owns what ProxLB's keys about balancing become: what is balanced and when, who is migrated, how many at once."""

from collections.abc import Iterator
from typing import Final

from planner.choices import GuestType, RunMode
from planner.proxlb_values import Document, Kept, Outcome, Remark

ENABLE, TYPES, METHOD, MODE = (f"balancing.{name}" for name in ("enable", "balance_types", "method", "mode"))
PARALLEL, JOBS = (f"balancing.{name}" for name in ("parallel", "parallel_jobs"))
OVERCOMMIT, INFLOW = (f"balancing.{name}" for name in ("cpu_overcommit", "max_node_inflow"))
CONNTRACK: Final = "balancing.with_conntrack_state"
PRESSURES: Final = ("balancing.psi.nodes", "balancing.psi.guests")
PSI: Final = "psi"
WAITS: Final = {"memory": "memory-pressure", "cpu": "cpu-pressure", "disk": "io-pressure"}
LIMITS: Final = ("some", "full", "spikes")
RESOURCES: Final = ("memory", "cpu", "disk")
JOBS_AT_ONCE, VCPUS_PER_THREAD = 5, 2.0
REPAIRED: Final = "broken rules are repaired first in every plan"
WIDEST: Final = 100
"""Percentage points: no spread is larger."""
CPU_OF_NODES: Final = (
    "makes nodes hot by pressure_some of their CPU alone, as Proxmox VE tells no pressure_full of it; in ProxLB no "
    "node is ever hot by its CPU"
)


def mode(found: Document) -> Iterator[Outcome]:
    """Whether something is migrated, and which guests: without a type ProxLB migrates none."""
    types = found.get(TYPES, [])
    moves = found.get(ENABLE, False) and bool(types)
    yield found.taken("run.mode", (RunMode.AUTO if moves else RunMode.OBSERVE).value, ENABLE, TYPES)
    yield found.taken("run.looks", 1, ENABLE)
    if types:
        only = GuestType.ALL if len(set(types)) == 2 else GuestType(types[0])
        yield found.taken("policy.guests", only.value, TYPES)
    elif found.get(ENABLE, False):
        yield Remark(TYPES, "is empty, and ProxLB migrates nothing then: run only observes", idle=False)


def parallel(found: Document) -> Iterator[Outcome]:
    """How many migrations run at once; fewer than one count as one."""
    if found.get(PARALLEL, False):
        yield found.taken("apply.parallel", max(1, found.get(JOBS, JOBS_AT_ONCE)), PARALLEL, JOBS)
        return
    yield found.taken("apply.parallel", 1, PARALLEL)
    if found.has(JOBS):
        yield Remark(JOBS, f"{PARALLEL} is off: one migration at a time")


def balanced(found: Document) -> Iterator[Outcome]:
    """What is balanced by which figure."""
    method, how = found.get(METHOD, "memory"), found.get(MODE, "used")
    if how != PSI:
        yield found.taken("policy.resource", method, METHOD)
        yield found.taken("policy.mode", how, MODE)
        yield from (Remark(key, f"{MODE} is {how}, not {PSI}") for key in PRESSURES if found.has(key))
        return
    yield found.taken("policy.resource", WAITS[method], METHOD, MODE)
    both = [found.get(key, {}).get(method) for key in PRESSURES]
    given = [limits for limits in both if limits is not None]
    if not given:
        yield found.taken("policy.repair_only", True, MODE)
        yield Remark(MODE, f"is {PSI} without thresholds of {method}, and nothing is ever hot: rules are repaired, and "
                     "nothing is balanced", idle=False)  # fmt: skip
    else:
        least = {name: min(limits.get(f"pressure_{name}", 100.0) for limits in given) for name in LIMITS}
        yield found.taken("policy.pressure", {WAITS[method]: least}, *PRESSURES)
        if method == "cpu":
            yield Remark(next(filter(found.has, PRESSURES)), CPU_OF_NODES, idle=False)
    if given and both[0] != both[1]:
        for key in filter(found.has, PRESSURES):
            yield Remark(key, "counts for nodes and guests alike, the lower one of each", idle=False)
    for key in PRESSURES:
        others = [name for name in found.get(key, {}) if name != method]
        if others or (found.has(key) and not given):
            yield Remark(key, f"for {', '.join(others) or 'nothing'}: as in ProxLB only {METHOD} counts, {method}")


def threshold(found: Document) -> Iterator[Outcome]:
    """From which load of a node on something is balanced."""
    method, how = found.get(METHOD, "memory"), found.get(MODE, "used")
    for name in RESOURCES:
        key = f"balancing.{name}_threshold"
        if not found.has(key):
            continue
        if how == PSI or name != method:
            yield Remark(key, f"as in ProxLB, {METHOD} is {method} and {MODE} {how}")
        elif found.get(key) == 0:
            yield Remark(key, "0 is no threshold")
        else:
            yield found.taken("policy.threshold", {name: found.get(key)}, key)
            yield Remark(key, "keeps anything from being balanced below it; ProxLB 2.3 balances there too, where the "
                         "spread is above balanciness", idle=False)  # fmt: skip


def tolerated(found: Document, key: str) -> Iterator[Outcome]:
    """The spread that is tolerated: ProxLB takes any number."""
    if not found.has(key):
        return
    given = found.get(key)
    read = min(max(given, 0), WIDEST)
    yield found.taken("policy.balanciness", read, key)
    if read != given:
        yield Remark(key, f"counts as {read}: spreads are from 0 to {WIDEST}", idle=False)


def _solves(found: Document) -> bool:
    """Whether ProxLB's own solver makes its plans."""
    return bool(found.get("solver.enable", False)) and found.get("solver.mode", "shadow") == "active"


def inflow(found: Document) -> Iterator[Outcome]:
    """Migrations to a node at once, which ProxLB's solver alone counts."""
    if found.has(INFLOW) and _solves(found):
        yield found.taken("apply.per_target", found.get(INFLOW), INFLOW)
    elif found.has(INFLOW):
        yield Remark(INFLOW, "ProxLB looks at it in solver.mode active alone; apply.per_target would limit them")


def overcommit(found: Document) -> Iterator[Outcome]:
    """vCPUs per thread, at which ProxLB's solver alone looks."""
    if _solves(found):
        factor = found.get(OVERCOMMIT, VCPUS_PER_THREAD)
        yield found.taken("policy.overcommit", {"default": {"cpu": factor}}, OVERCOMMIT)
    elif found.has(OVERCOMMIT):
        yield Remark(OVERCOMMIT, "ProxLB looks at it in solver.mode active alone; policy.overcommit would limit vCPUs")


def conntrack(found: Document) -> Iterator[Outcome]:
    """ProxLB hands connections over unless it is told not to, and not on Proxmox VE 8, which cannot."""
    if found.get(CONNTRACK, True):
        yield found.taken("apply.conntrack", "auto", CONNTRACK)
    else:
        yield Kept(CONNTRACK)
