"""What tests of looks share: looks as they come of scheduled runs."""

from typing import Any

from planner.choices import Resource, RunMode
from planner.look import GateName, Load, Look, Outcome, Refusal


def a_look(at: float = 1000.0, outcome: Outcome = Outcome.BALANCED, **more: Any) -> Look:
    """A look; without more one that found nothing to do."""
    return Look(**({"at": at, "cluster": "c", "mode": RunMode.AUTO, "outcome": outcome} | more))


def a_full_look(at: float = 1000.0, outcome: Outcome = Outcome.REFUSED, **more: Any) -> Look:
    """A look that knows everything, and to which two gates said no."""
    given: dict[str, Any] = {
        "seconds": 12.5, "why": "no quorum", "above": True, "nodes": 3, "guests": 40, "spread_before": 31.5,
        "spread_after": 2.5, "bound": 2.0, "solver": "cpsat", "status": "feasible", "solver_seconds": 8.25,
        "migrations": 6, "gib": 1.5,
        "violations_before": ("web apart", "db together"), "violations_after": ("web apart",),
        "refusals": (Refusal(GateName.QUORUM, "no quorum"), Refusal(GateName.BACKUP, "a backup is running")),
        "loads": (Load("pve1", Resource.MEMORY, 80.0, 50.0), Load("pve2", Resource.MEMORY, 48.5, 49.0)),
    }  # fmt: skip
    return a_look(at, outcome, **(given | more))
