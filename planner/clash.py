"""Owns what is said when not all rules can hold: which ones clash, what would help, and which rules give way."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from planner import demands
from planner.demands import Demand
from planner.formulate import Formulation
from planner.rule import Rule
from planner.rules import Rules
from solvers.cheapest import Relaxation, cheapest
from solvers.conflict import Conflict, conflict
from solvers.possible import Clock, Oracle, Possibility
from solvers.problem import Apart, Ints
from solvers.requirement import Requirement, Together, Within, guests_of, holds

MUST = 1 << 20
"""What a broken rule that must hold weighs beside prices, which are at most 1,000."""
PRICE = 100
"""Prices are told apart to a hundredth."""


@dataclass(frozen=True, slots=True)
class Clash:
    """Things that cannot hold together, in words."""

    proven: bool
    """That not all rules can hold."""
    core: tuple[str, ...] = ()
    """A set of them that cannot hold together."""
    minimal: bool = False
    """Proven: without any one of these the others can."""
    helps: tuple[str, ...] = ()
    """What to give up so that the rest can hold."""


NONE = Clash(proven=False)


def explain(formulation: Formulation, seconds: float, seed: int) -> Clash:
    """Why not all rules can hold together, if that is so and is found within some seconds."""
    began, found = time.monotonic(), demands.read(formulation)
    answer = conflict(formulation.problem, [d.requirement for d in found], [d.weight for d in found], seconds, seed)
    if answer.status is not Possibility.IMPOSSIBLE:
        return NONE
    left = seconds - (time.monotonic() - began)
    helps = _enough(formulation, found, answer, left, seed)
    return Clash(True, tuple(found[i].says for i in answer.core), answer.minimal, helps)


def _enough(
    formulation: Formulation, found: list[Demand], answer: Conflict, seconds: float, seed: int
) -> tuple[str, ...]:
    """What to give up, no more than it takes: one decision may be about much that is demanded."""
    clock = Clock(seconds)

    def suffices(advice: Collection[str]) -> bool:
        if clock.left() <= 0:  # counting, for one, is not stopped by it
            return False
        rest = [d.requirement for d in found if d.helps not in advice and not _gives_way(d)]
        return Oracle(formulation.problem, rest, clock, seed).decide(range(len(rest)), 1.0) is Possibility.POSSIBLE

    helps = _advice(found[i] for i in answer.relaxation)
    if len(helps) < 2:
        return tuple(helps)
    for single in _advice(found[i] for i in answer.core):
        if suffices({single}):
            return (single,)
    for each in reversed(list(helps)):
        if suffices([other for other in helps if other != each]):
            helps.remove(each)
    return tuple(helps)


def _advice(given_up: Iterable[Demand]) -> list[str]:
    """What giving up some demands would be, the easiest first, each once."""
    return list(dict.fromkeys(d.helps for d in sorted(given_up, key=lambda d: d.weight) if not _gives_way(d)))


def _gives_way(demand: Demand) -> bool:
    """Whether it is given up without being asked."""
    return demand.rule is not None and demand.rule.price > 0


@dataclass(frozen=True, slots=True)
class Yield:
    """Rules of which some have given way."""

    rules: Rules
    given_up: tuple[str, ...] = ()
    """What, in words."""
    proven: bool = True
    """That nothing of a lower price would do."""
    weight: int = 0
    """Of all that is given up, must-rules included."""


def give_way(formulation: Formulation, seconds: float, seed: int) -> Yield:
    """The rules less what has to give way so that as many as possible of the others hold, at the least price.

    Rules that must hold come first, whatever the price. A rule gives way for those guests for which it cannot hold, and
    stays in force for the others.
    """
    rules = formulation.rules
    if not any(rule.price for rule in rules.items):
        return Yield(rules)
    found = demands.read(formulation)
    weights = _weights(found)
    problem = formulation.problem
    if all(holds(problem, d.requirement, problem.origin) for d in found):
        return Yield(rules)
    answer = cheapest(problem, [d.requirement for d in found], weights, seconds, seed)
    if not answer.least and not all(_gives_way(found[i]) for i in answer.given_up):
        return give_way_today(formulation)  # what must hold might be possible, at the price of what should
    return _yielded(formulation, found, answer)


def give_way_today(formulation: Formulation) -> Yield:
    """The rules less all that should hold and does not today: then none that must hold stays broken for one of them."""
    found, problem = demands.read(formulation), formulation.problem
    lost = [i for i, d in enumerate(found) if not holds(problem, d.requirement, problem.origin)]
    weight = sum(weight for i, weight in enumerate(_weights(found)) if i in lost)
    return _yielded(formulation, found, Relaxation(tuple(lost), problem.origin, weight, least=False))


def _yielded(formulation: Formulation, found: list[Demand], answer: Relaxation) -> Yield:
    """The rules less what an answer gives up of those that should hold."""
    rules = formulation.rules
    yielding = [(found[i], rule) for i in answer.given_up if (rule := found[i].rule) and rule.price]
    says = tuple(f"{demand.says} (price {rule.price:g})" for demand, rule in yielding)
    items = (_relaxed(rule, [d for d, its in yielding if its is rule], formulation, answer) for rule in rules.items)
    kept = replace(rules, items=tuple(rule for rule in items if rule.vmids)) if yielding else rules
    return Yield(kept, says, answer.least, answer.weight)


def _weights(found: list[Demand]) -> list[int]:
    """What it weighs to give each demand up. Limits, which no plan can break, outweigh all the rest: else rules
    would be kept by migrations that there will not be."""
    plain = [round(d.rule.price * PRICE) if d.rule and d.rule.price else MUST * PRICE for d in found]
    return [1 + sum(plain) if isinstance(d.requirement, Within) else w for d, w in zip(found, plain, strict=True)]


def _relaxed(rule: Rule, broken: list[Demand], formulation: Formulation, answer: Relaxation) -> Rule:
    """What is left of a rule where some of what it demands is given up: it holds for all guests but a few."""
    free = {formulation.vmid(g) for item in broken for g in _freed(item.requirement, answer.assignment)}
    sides = (tuple(vmid for vmid in side if vmid not in free) for side in rule.sides)
    return replace(rule, sides=tuple(side for side in sides if side)) if free else rule


def _freed(requirement: Requirement, assignment: Ints) -> set[int]:
    """Guests without which an assignment keeps a requirement, as few as there can be on each node."""
    match requirement:
        case Together(guests):
            at = [int(assignment[guest]) for guest in guests]
            return {guest for guest, node in zip(guests, at, strict=True) if node != max(at, key=at.count)}
        case Apart():
            on: dict[int, dict[int, set[int]]] = {}
            for number, side in enumerate(requirement.sides):
                for guest in side:
                    domain = requirement.domain(int(assignment[guest]))
                    on.setdefault(domain, {}).setdefault(number, set()).add(guest)
            crowds = (sorted(sides.values(), key=len, reverse=True) for sides in on.values())
            return set[int]().union(*(guests for sides in crowds for guests in sides[requirement.most :]))
        case _:
            return set(guests_of(requirement))
