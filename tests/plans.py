"""What tests of runs share: a plan as a planner writes it, made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.errors import InputError
from planner.plan import (
    FORMAT,
    Assumes,
    Change,
    Handling,
    Migration,
    NodeLoad,
    Plan,
    PlanStatus,
    Schedule,
    Spread,
    load,
    save,
)
from planner.policy import Combine, Mode, Resource


def migration(number: int, vmid: int, source: str, target: str, **facts: Any) -> Migration:
    """One migration of a virtual machine."""
    given: dict[str, Any] = {"memory_mib": 2048, "local_disk_mib": 0, "running": True, "spread_without": 12.5}
    reason = f"balance: from {source} to {target}"
    return Migration(vmid, f"g{vmid}", "vm", source, target, reason=reason, number=number, **given | facts)


def plan(*migrations: Migration, **facts: Any) -> Plan:
    """A plan of these migrations, in one wave."""
    nodes = sorted({node for m in migrations for node in (m.source, m.target)} | {"a", "b"})
    made = Plan(
        format=FORMAT, solver="greedy", status=PlanStatus.FEASIBLE, resources=(Resource.MEMORY,),
        combine=Combine.WORST, weights={}, mode=Mode.USED, taken_at="2026-01-01T00:00:00+00:00", balanciness=5.0,
        max_migrations=None, max_gib=None, cheapest=None, repair_only=False, drained=(), cost_bound=None, seconds=0.1,
        spread=Spread(20.0, 3.0, 0.1), spreads={Resource.MEMORY: Change(20.0, 3.0)}, stuck=(), violations_before=(),
        violations_after=(), nodes=tuple(NodeLoad(n, {Resource.MEMORY: 1 / 3}, {Resource.MEMORY: 0.2}) for n in nodes),
        waves=(migrations,) if migrations else (), schedule=Schedule(), rollback=(), handling=Handling(),
        stranded=(), gave_way=(), conflict=(), conflict_minimal=False, helps=(), notes=("ä note",),
        assumes=Assumes({m.vmid: m.source for m in migrations}, dict.fromkeys(nodes, "online"), "0" * 16),
    )  # fmt: skip
    return replace(made, **facts)


def not_read_again(plan: Plan, directory: Path) -> list[str]:
    """What is wrong with a plan that was saved and read."""
    path = directory / "saved.json"
    save(plan, path)
    try:
        return [] if load(path) == plan else ["it is another one when it is read again"]
    except InputError as error:
        return [str(error)]
