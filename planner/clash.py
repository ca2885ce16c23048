"""Owns what is said when not all rules can hold: which ones clash, what would help, and which rules give way."""

from dataclasses import dataclass, replace

from planner import demands
from planner.demands import Demand
from planner.formulate import Formulation
from planner.rule import Kind, Rule
from planner.rules import Rules
from solvers.cheapest import Relaxation, cheapest
from solvers.conflict import conflict
from solvers.possible import Possibility
from solvers.problem import Apart, Ints
from solvers.requirement import Requirement, domain_of, guests_of, holds

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
    least: bool = False
    """Proven: nothing less would do."""


NONE = Clash(proven=False)


def explain(formulation: Formulation, seconds: float, seed: int) -> Clash:
    """Why not all rules can hold together, if that is so and is found within some seconds."""
    found = demands.read(formulation)
    answer = conflict(formulation.problem, [d.requirement for d in found], [d.weight for d in found], seconds, seed)
    if answer.status is not Possibility.IMPOSSIBLE:
        return NONE
    return Clash(
        True,
        tuple(found[i].says for i in answer.core),
        answer.minimal,
        tuple(dict.fromkeys(found[i].helps for i in answer.relaxation if not _gives_way(found[i]))),
        answer.least,
    )


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


def give_way(formulation: Formulation, seconds: float, seed: int) -> Yield:
    """The rules less what has to give way so that as many as possible of the others hold, at the least price.

    Rules that must hold come first, whatever the price. Of a pin those guests are released for which it cannot hold;
    where too many guests share a node, as many more may do so as are needed.
    """
    rules = formulation.rules
    if not any(rule.price for rule in rules.items):
        return Yield(rules)
    found = demands.read(formulation)
    weights = [round(d.rule.price * PRICE) if d.rule and d.rule.price else MUST * PRICE for d in found]
    problem = formulation.problem
    if all(holds(problem, d.requirement, problem.origin) for d in found):
        return Yield(rules)
    answer = cheapest(problem, [d.requirement for d in found], weights, seconds, seed)
    yielding = [(found[i], rule) for i in answer.given_up if (rule := found[i].rule) and rule.price]
    says = tuple(f"{demand.says} (price {rule.price:g})" for demand, rule in yielding)
    items = (_relaxed(rule, [d for d, its in yielding if its is rule], formulation, answer) for rule in rules.items)
    return Yield(replace(rules, items=tuple(rule for rule in items if rule.vmids)), says, answer.least)


def _relaxed(rule: Rule, broken: list[Demand], formulation: Formulation, answer: Relaxation) -> Rule:
    """What is left of a rule where some of what it demands is given up."""
    if not broken:
        return rule
    if rule.kind is Kind.TOGETHER:
        return replace(rule, sides=())
    if rule.kind is Kind.APART:
        most = max(_present(item.requirement, answer.assignment) for item in broken)
        return replace(rule, most=most) if len(rule.sides) > 2 else replace(rule, sides=())
    free = {formulation.vmid(guest) for item in broken for guest in guests_of(item.requirement)}
    return replace(rule, sides=(tuple(vmid for vmid in rule.vmids if vmid not in free),))


def _present(requirement: Requirement, assignment: Ints) -> int:
    """The most sides that share a domain."""
    if not isinstance(requirement, Apart):
        return 1
    on = [{domain_of(requirement, int(assignment[guest])) for guest in side} for side in requirement.sides]
    return max(sum(domain in some for some in on) for domain in set().union(*on))
