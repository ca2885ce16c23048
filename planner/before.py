"""Owns what of earlier looks tells whether what a look means is new."""

from dataclasses import dataclass, replace
from typing import Final

from planner.look import GateName, Look, Outcome
from planner.looks import BLIND, SEEN, Looks
from planner.plan import PlanStatus
from planner.state import UNNAMED

SOUND: Final = (PlanStatus.OPTIMAL, PlanStatus.FEASIBLE, PlanStatus.NO_ACTION)
"""Plans under which all rules hold that must."""
KNOWN: Final = (*SOUND, PlanStatus.INFEASIBLE)
"""Plans of which it is known whether they can."""


@dataclass(frozen=True, slots=True)
class Before:
    """What was so before a look, however long ago it began."""

    refused: frozenset[GateName] | None = None
    """Gates that held back what the last look that saw the cluster had planned; None: nothing was held back."""
    status: str = ""
    """Of the last plan of which it is known whether all rules can hold."""
    proposed: int | None = None
    """The last run that was to be approved."""
    errors: int = 0
    """Looks just before it that came to nothing..."""
    why: str = ""
    """...and what the last of them says."""

    def then(self, look: Look) -> "Before":
        """What is so after the look."""
        failed = look.outcome is Outcome.ERROR
        return replace(
            self,
            refused=self.refused if look.outcome in BLIND else _refused(look),
            status=look.status if look.status in KNOWN else self.status,
            proposed=look.run if look.outcome is Outcome.PROPOSED else self.proposed,
            errors=self.errors + 1 if failed else 0,
            why=look.why if failed else "",
        )


def of(looks: Looks, look: Look) -> Before:
    """What was so before a look, by the journal, in which it may be already. JournalError."""
    cluster, until = look.cluster, look.number or None
    seen = looks.newest(cluster, *SEEN, before=until)
    proposed = looks.newest(cluster, Outcome.PROPOSED, before=until)
    errors = looks.errors(cluster, UNNAMED, before=until)  # one that never said its name may have been this one
    return Before(
        refused=_refused(seen) if seen else None,
        status=looks.status(cluster, *KNOWN, before=until),
        proposed=proposed.run if proposed else None,
        errors=len(errors),
        why=looks.look(errors[-1]).why if errors else "",
    )


def _refused(look: Look) -> frozenset[GateName] | None:
    return frozenset(each.gate for each in look.refusals) if look.outcome is Outcome.REFUSED else None
