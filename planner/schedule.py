"""Owns what can be got of an assignment on a way that is safe at every moment: who goes when, and via which node."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner import order, precedence
from planner.order import Effort, Hop, Order
from planner.untangle import untangled
from solvers import check
from solvers.problem import Ints, Problem, Score

STOPS = 3
"""Stops on third nodes with which every order is looked at; with more only some are."""


@dataclass(frozen=True, slots=True)
class Leg:
    """Guests that travel as one from one node to another, as indices."""

    guests: tuple[int, ...]
    source: int
    target: int
    after: tuple[int, ...] = ()
    """Indices of the legs that must have ended before this one begins."""
    bypass: bool = False
    """Whether they stop there and go on later."""


@dataclass(frozen=True, eq=False)
class Reach:
    """What can be got of an assignment."""

    assignment: Ints
    """(g,) where the guests are in the end."""
    legs: tuple[Leg, ...]
    """In an order that is safe one after the other; side by side each waits for those in its `after` only."""
    stranded: tuple[tuple[int, int], ...]
    """Guests that cannot be migrated, with the node they should have got to."""
    beyond: Score | None = None
    """Of a better assignment that was found, but no way to it."""

    def first(self, count: int, origin: Ints) -> "Reach":
        """So many of its first legs alone; whoever has stopped on the way by then stays there."""
        assignment = origin.copy()
        for leg in self.legs[:count]:
            assignment[list(leg.guests)] = leg.target
        gone = {guest for leg in self.legs[count:] for guest in leg.guests}
        legs = (replace(leg, bypass=leg.bypass and gone.isdisjoint(leg.guests)) for leg in self.legs[:count])
        return Reach(assignment, tuple(legs), self.stranded)


def schedule(
    problem: Problem, assignment: Ints, way: Problem | None = None, effort: Effort | None = None, *, bypass: bool = True
) -> Reach:
    """Put the migrations of an assignment in order; `way` has the rules that hold at every moment, if not all do.

    Repairs come first, then what evens out most per second. A bundle goes only when its target has room and no rule is
    broken by its arrival, guests under way counting on both ends. Bundles that block each other stop on third nodes,
    where that is allowed (`bypass`), within the limits, and better than to leave them; otherwise they are stranded.
    When what is left is no better than today, or breaks a rule that held, nothing is migrated at all.
    """
    way = (way or problem).replace(max_migrations=None, max_moved_mib=None)
    effort = effort or by_size(way)
    best = order.direct(way, assignment, effort)
    reached = _reached(way, assignment, best)
    if best.blocked:
        other = _untangled(way, assignment, effort, _left(problem, assignment), best, bypass=bypass)
        better = _reached(way, assignment, other)
        if check.score(problem, better)[:3] < check.score(problem, reached)[:3]:
            best, reached = other, better
    worse = check.score(problem, reached) >= check.score(problem, problem.origin)
    stranded = _wanted(assignment, np.flatnonzero(reached != assignment))
    if best.blocked and (worse or check.broken(way, reached)):
        return Reach(problem.origin, (), stranded)
    return Reach(reached, _legs(way, best.hops), stranded)


def _untangled(
    way: Problem, assignment: Ints, effort: Effort, limits: tuple[int, int], first: Order, *, bypass: bool
) -> Order:
    """An order that blocks nothing, if one is found, or else one with stops that blocks less than the first."""
    hops = untangled(way, assignment, effort, limits, STOPS if bypass else 0)
    if hops is not None:
        return Order(hops, ())
    return order.with_stops(way, assignment, effort, limits, first) if bypass else first


def followed(way: Problem, hops: Sequence[Hop]) -> Reach:
    """What hops lead to that are possible one after the other."""
    assignment = way.origin.copy()
    for hop in hops:
        assignment[way.bundles[hop.bundle]] = hop.target
    return Reach(assignment, _legs(way, hops), ())


def one_by_one(problem: Problem, assignment: Ints) -> Reach:
    """All migrations of an assignment one after the other, whatever they break."""
    guests = [int(guest) for guest in problem.migrated(assignment)]
    legs = (
        Leg((guest,), int(problem.origin[guest]), int(assignment[guest]), (index - 1,) if index else ())
        for index, guest in enumerate(guests)
    )
    return Reach(assignment, tuple(legs), ())


def by_size(problem: Problem) -> Effort:
    """Effort where no speed is known: what is copied, and as if nothing restarted."""
    return Effort(problem.bundle_mib, np.zeros(len(problem.bundles), dtype=np.int64))


def by_guest(problem: Problem, seconds: Ints, restarts: Ints) -> Effort:
    """Effort from the seconds that migrating each guest takes, (g,), and whether it restarts, (g,)."""
    return Effort(problem.by_bundle(seconds), problem.by_bundle(restarts))


def _legs(way: Problem, hops: Sequence[Hop]) -> tuple[Leg, ...]:
    waits = precedence.waits(way, hops)
    return tuple(
        Leg(tuple(int(g) for g in way.bundles[hop.bundle]), hop.source, hop.target, after, hop.bypass)
        for hop, after in zip(hops, waits, strict=True)
    )


def _reached(way: Problem, assignment: Ints, found: Order) -> Ints:
    """Where the guests are in the end."""
    result = assignment.copy()
    for bundle in found.blocked:
        result[way.bundles[bundle]] = way.origin[way.bundles[bundle]]
    return result


def _left(problem: Problem, assignment: Ints) -> tuple[int, int]:
    """Migrations and MiB that the limits leave beside those of an assignment."""
    most = (math.inf if problem.max_migrations is None else problem.max_migrations,
            math.inf if problem.max_moved_mib is None else problem.max_moved_mib)  # fmt: skip
    used = (len(problem.migrated(assignment)), problem.moved_mib(assignment))
    return tuple(int(min(limit - taken, 1 << 60)) for limit, taken in zip(most, used, strict=True))  # type: ignore[return-value]


def _wanted(assignment: Ints, guests: Ints) -> tuple[tuple[int, int], ...]:
    return tuple((int(guest), int(assignment[guest])) for guest in guests)
