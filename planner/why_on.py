"""Owns the sentences of a consolidation: why no more nodes can be switched off, and what should be known before."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner import explain, staying
from planner.case import Case

if TYPE_CHECKING:
    from planner.emptying import Found, Guarded

SHOWN = 4
"""Guests that are named before the rest is counted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for."""

    keep: int
    """So many nodes that take guests stay on..."""
    given: bool
    """...because somebody said so; otherwise for the quorum."""
    survive: int
    restart: str

    @property
    def lost(self) -> str:
        """Guests that have to find a place when one more node fails."""
        return "HA guests" if self.restart == "ha" else "running guests"


def sentences(case: Case, asked: Asked, found: "Found", guarded: "Guarded") -> Iterator[str]:
    """Why not more."""
    number = int(found.off.sum())
    if found.blocked:
        names = ", ".join(case.formulation.nodes[n] for n in found.blocked)
        yield (
            f"for {names} no plan was found that empties them step by step, with rules kept at every moment and "
            "headroom in the end"
        )
    if number < found.bound:
        more, why = "more" if number else "any", "" if found.blocked else "none were found in the time; "
        yield f"whether {more} nodes can be switched off is not known: {why}proven is that {found.bound} can be at most"
    else:
        yield f"{'no more nodes' if number else 'none'} can be switched off, proven: {_because(case, asked, found)}"
    if not number and guarded.today:
        names = ", ".join(case.formulation.nodes[n] for n in guarded.today)
        yield f"today the loss of {names} is not survived, with all nodes on (--survive 0 does not ask for it)"


def _because(case: Case, asked: Asked, found: "Found") -> str:
    counted = found.counted
    over = f" and take over the {asked.lost} of any one of them that fails" if asked.survive else ""
    if found.bound < counted.most or counted.limit.value == "none":
        return (
            f"{found.bound + 1} cannot be empty under all rules{_limits(case)} so that the others hold all guests{over}"
        )
    match counted.limit.value:
        case "keep" if asked.given:
            return f"{asked.keep} have to stay on, as was asked for"
        case "keep":
            return _quorum(case, asked.survive)
        case "candidates":
            return f"something stays on {'all others' if found.off.any() else 'every node'}"
    if counted.limit == "headroom" and int(case.formulation.problem.balanced.sum()) - found.bound <= 2:
        return "after the loss of one more no node would be left to take over its guests"
    what = case.formulation.capacities[counted.resource]
    return f"the others could not hold what all guests need ({what}){over if counted.limit == 'headroom' else ''}"


def _quorum(case: Case, survive: int) -> str:
    total = len(case.cluster.nodes)
    fails = " even when one more fails" if survive else ""
    return (
        f"{staying.quorum(case.cluster, survive)} of {total} nodes have to be online so that the cluster has a quorum"
        f"{fails} (--keep N, where it has more votes than nodes)"
    )


def _limits(case: Case) -> str:
    policy = case.policy
    limits = [] if policy.max_migrations is None else [f"{policy.max_migrations} migrations"]
    limits += [] if policy.max_gib is None else [f"{policy.max_gib:g} GiB"]
    return f" and within {' and '.join(limits)}" if limits else ""


def notes(case: Case, asked: Asked, found: "Found", guarded: "Guarded") -> Iterator[str]:
    """What a person should know before switching anything off."""
    online = staying.online(case.cluster) - int(found.off.sum())
    needed = staying.quorum(case.cluster, 0)
    if found.off.any() and online < needed:
        yield (
            f"with {online} of {len(case.cluster.nodes)} nodes online the cluster has no quorum, unless it has more "
            f"votes than nodes (a QDevice): it needs {needed}"
        )
    elif found.off.any() and asked.survive and online - 1 < needed:
        yield (
            f"with {online} of {len(case.cluster.nodes)} nodes online the cluster has no quorum when one more fails, "
            "unless it has more votes than nodes (a QDevice): then HA starts nothing"
        )
    if guarded.exempt:
        names = named(explain.guest(case.formulation, guest) for guest in guarded.exempt)
        yield f"{names} would find no place if their node failed, whatever is on or off: they may be on no other"


def named(guests: Iterable[str]) -> str:
    """The first of some guests."""
    names = list(guests)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
