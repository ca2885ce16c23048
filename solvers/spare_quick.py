"""Owns quick answers to how many more guests there can be where every loss of a node is survived.

With places fixed for the guests that are there and start elsewhere, each loss leaves each node so many places for new
ones, and the most is counted; what counting rules out, whatever those places are, is the bound.
"""

from collections.abc import Callable

import numpy as np

from solvers.problem import Bools, Ints
from solvers.spare import ENDLESS, Joins, Most, Spare, caps, left, present
from solvers.units import united

Choice = Callable[[Ints, Ints], int]
"""Which of some nodes takes a unit, by the places for new guests that this costs there, and the memory left."""
CHOICES: tuple[Choice, ...] = (
    lambda cost, memory: int(np.lexsort((memory, cost))[0]),
    lambda cost, memory: 0,
    lambda cost, memory: int(np.argmax(memory)),
)
"""The tightest; always the same ones, so that few nodes are kept free for all losses; the roomiest."""


def quick(spare: Spare) -> Most:
    """As many as can be counted for places that are found one after the other, and a bound."""
    best, failing = np.zeros(len(spare.open), dtype=np.int64), _failing(spare)
    bound = _bound(spare, failing)
    by_domain = (rule.joins == Joins.EACH and len(set(rule.domain)) < len(rule.domain) for rule in spare.rules)
    if spare.united or any(by_domain) or any(rule.joins >= 0 for rule in spare.rules):
        return Most(best, bound)  # places are not independent of each other
    for choice in CHOICES:
        places = {node: _places(spare, node, choice) for node in failing}
        if all(row is not None for row in places.values()):
            counts = _counted(spare, {node: row for node, row in places.items() if row is not None})
            best = counts if counts.sum() > best.sum() else best
    return Most(best, bound)


def _failing(spare: Spare) -> list[int]:
    """Nodes whose failure matters: with guests that start elsewhere, or room for new ones."""
    assert spare.protected is not None
    there = set(spare.problem.origin[spare.protected].tolist())
    return sorted(there | set(np.flatnonzero(caps(spare)).tolist()))


def _units(spare: Spare, failed: int) -> list[list[int]]:
    """Guests that start elsewhere, as one where they belong together; the largest first."""
    assert spare.protected is not None
    units = united(spare.problem, np.flatnonzero(spare.protected & (spare.problem.origin == failed)).tolist())
    return sorted(units, key=lambda unit: -int(spare.problem.needs[unit, 0].sum()))


def _slots(spare: Spare, room: Ints) -> Ints:
    """(n,) how many new guests so much room is enough for, where they start."""
    takes = spare.size > 0
    each = np.asarray((room[:, takes] // spare.size[takes]).min(axis=1), dtype=np.int64)
    for rule in spare.rules:
        if rule.joins == Joins.EACH:
            each = np.minimum(each, left(spare, rule)[rule.domain])
    return np.where(spare.starts & spare.problem.balanced, each, 0)


def _places(spare: Spare, failed: int, choice: Choice) -> Ints | None:
    """(n,) places for new guests that a loss leaves; None where not all that start elsewhere find one so simply."""
    problem, room = spare.problem, spare.room.copy()
    takes = problem.balanced & (np.arange(problem.nodes) != failed)
    there = [present(spare, rule, failed) for rule in spare.rules]
    for unit in _units(spare, failed):
        needs = problem.needs[unit].sum(axis=0)
        fits = problem.allowed(np.array(unit)) & takes & (needs <= room).all(axis=1)
        sides = [{s for s, side in enumerate(rule.sides) if {*unit} & {*side}} for rule in spare.rules]
        nodes = np.flatnonzero(fits & _apart(spare, sides, there))
        if not len(nodes):
            return None
        cost = (_slots(spare, room) - _slots(spare, np.maximum(0, room - needs)))[nodes]
        node = int(nodes[choice(cost, room[nodes, 0])])
        room[node] -= needs
        for rule, own, present_ in zip(spare.rules, sides, there, strict=True):
            present_[rule.domain[node]] |= own
    return np.where(takes, _slots(spare, room), 0)


def _apart(spare: Spare, sides: list[set[int]], there: list[list[set[int]]]) -> Bools:
    """(n,) nodes where sides of rules are not too many together with those that are there."""
    result = np.ones(spare.problem.nodes, dtype=bool)
    for rule, own, domains in zip(spare.rules, sides, there, strict=True):
        if own:
            result &= np.array([len(sides_ | own) <= rule.most for sides_ in domains], dtype=bool)[rule.domain]
    return result


def _counted(spare: Spare, places: dict[int, Ints]) -> Ints:
    """(n,) the most for these places: where new guests may be lost, all of them must fit on the other nodes."""
    most, lasts = np.where(spare.starts, caps(spare), 0), np.zeros(len(spare.open), dtype=np.int64)
    for node, row in places.items():
        most = np.where(np.arange(len(row)) == node, most, np.minimum(most, row))
        lasts[node] = row.sum()
    order = [n for n in np.argsort(-lasts, kind="stable").tolist() if most[n]]
    best, total, used = 0, 0, order[:0]
    for i, node in enumerate(order):  # the more nodes have some, the fewer there may be
        total += int(most[node])
        if min(total, int(lasts[node])) > best:
            best, used = min(total, int(lasts[node])), order[: i + 1]
    counts = np.zeros(len(spare.open), dtype=np.int64)
    for node in used:
        counts[node] = min(int(most[node]), best - int(counts.sum()))
    return counts


def _bound(spare: Spare, failing: list[int]) -> int:
    """No more than this, by room alone."""
    problem, slots, takes = spare.problem, _slots(spare, spare.room), spare.size > 0
    bound = int(caps(spare).sum())
    for node in failing:
        others = problem.balanced & (np.arange(problem.nodes) != node)
        needs = problem.needs[[guest for unit in _units(spare, node) for guest in unit]].sum(axis=0)
        left_over = np.minimum(ENDLESS, spare.room[others].sum(axis=0) - needs)
        by_room = int((left_over[takes] // spare.size[takes]).min())
        # Where the node has new guests they all fit on the others; where it has none they are there anyway.
        bound = min(bound, max(0, by_room), max(int(slots[others].sum()), int(caps(spare)[others].sum())))
    return bound
