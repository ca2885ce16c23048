"""Owns what speaks for and against one node for one guest, where the rest of a plan is carried out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from planner import capacity, explain
from planner.capacity import GIB
from planner.question import SAME, Question
from planner.rule import Kind
from planner.rules import NodeState
from solvers import check
from solvers.check import Rule, Violation
from solvers.problem import PPM, Ints
from solvers.requirement import Only, holds

SHOWN = 4
"""Guests that are named before the rest is counted."""


class Ground(StrEnum):
    """What decides about a node; the first that applies."""

    PLANNED = "planned"
    STATE = "state"
    REFUSED = "refused"
    RULE = "rule"
    ROOM = "room"
    FIXED = "fixed"
    LIMIT = "limit"
    UNREPAIRED = "unrepaired"
    POSSIBLE = "possible"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One node for one guest."""

    node: str
    ground: Ground
    here: bool
    """Whether the guest is there now."""
    says: str
    rules: tuple[str, ...] = ()
    """Names of rules that would be broken there: newly (ground rule), or still."""
    load_before: float | None = None
    """Percent of the first resource today; None for a node that is not planned with."""
    load_after: float | None = None
    """Percent as the plan has it."""
    spread: float | None = None
    """Percentage points if the guest, with those that go along, were there; None where it cannot be."""


def judge(question: Question, name: str) -> Verdict:
    """What is to be said of a node."""
    formulation = question.formulation
    if name not in formulation.nodes:
        state = formulation.rules.states[name]
        says = "offline" if state is NodeState.OFFLINE else "its figures are not known"
        return Verdict(name, Ground.STATE, here=False, says=says)
    node = formulation.nodes.index(name)
    verdict = _planned(question, node) if node == question.target else _elsewhere(question, node)
    before, after = (round(float(table[0, node]) * 100 / PPM, 4) for table in question.tables)
    here = node == question.home
    says = f"here now; {verdict.says}" if here and node != question.target else verdict.says
    return replace(verdict, here=here, says=says, load_before=before, load_after=after)


def _planned(question: Question, node: int) -> Verdict:
    """The node where the plan has the guest, and what is wrong with that."""
    says = "here now, and stays" if node == question.home else "goes here"
    bundle = set(map(int, question.bundle))
    here = [item for item in question.left_broken if item.node == node]
    wrong = [item for item in here if not item.guests or bundle & {*item.guests}]
    says = "; still broken: ".join([says, *(explain.violation(question.formulation, item) for item in wrong)])
    return Verdict(question.formulation.nodes[node], Ground.PLANNED, False, says, spread=question.planned_spread)


def _elsewhere(question: Question, node: int) -> Verdict:
    """Another node: the first ground on which the guest is not there."""
    formulation = question.formulation
    name, there = formulation.nodes[node], question.on(node)
    if formulation.rules.states[name] is not NodeState.BALANCED and node != question.home:
        state = formulation.rules.states[name]
        return Verdict(name, Ground.STATE, False, f"in {state}" if state is NodeState.MAINTENANCE else state.value)
    broken = check.broken(formulation.problem, there)
    new = set(broken) - question.not_kept
    reasons = [*_refused(question, node, new), *_rules(question, node, there, new), *_room(question, node, broken)]
    if reasons:
        rules = tuple(dict.fromkeys(rule for _, _, rule in reasons if rule))
        return Verdict(name, reasons[0][0], False, "; ".join(says for _, says, _ in reasons), rules)
    return replace(_open(question, node, there, new), node=name, spread=question.spread(node))


Reason = tuple[Ground, str, str]
"""A ground, its words, and the name of the rule if it is one."""


def _refused(question: Question, node: int, new: set[Violation]) -> Iterator[Reason]:
    """Where Proxmox VE would not let the guest, or one that goes along, run."""
    formulation = question.formulation
    for guest in (guest for item in new if item.rule is Rule.ELIGIBLE for guest in item.guests):
        reason = formulation.barred.get(formulation.vmid(guest), {}).get(formulation.nodes[node])
        if reason:
            whom = "" if guest == question.guest else f" {question.called(guest)}"
            yield Ground.REFUSED, f"Proxmox VE refuses{whom}: {reason}", ""


def _rules(question: Question, node: int, there: Ints, new: set[Violation]) -> Iterator[Reason]:
    """Rules that would newly be broken: pins by what they demand, the others by who is in the way."""
    problem = question.formulation.problem
    barred = {guest for item in new if item.rule is Rule.ELIGIBLE for guest in item.guests}
    for demand in question.demands:
        asks = demand.requirement
        if demand.rule and isinstance(asks, Only) and barred & {*asks.guests} and not holds(problem, asks, there):
            yield Ground.RULE, f"would break {demand.says}", demand.rule.name
    for index in sorted({item.index for item in new if item.rule is Rule.APART}):
        name = question.formulation.apart[index]
        yield Ground.RULE, f"would break {name}: {_in_the_way(question, index, node)}", name


def _in_the_way(question: Question, index: int, node: int) -> str:
    """Which guests of an apart-rule are on a node, or in its failure domain, already."""
    formulation = question.formulation
    item, bundle = formulation.problem.apart[index], set(map(int, question.bundle))
    domain = item.domain_of(formulation.problem.nodes)
    others = [guest for side in item.sides if not bundle & {*side} for guest in side if guest not in bundle]
    there = [guest for guest in others if domain[question.reached[guest]] == domain[node]]
    named = [question.called(guest) for guest in there[:SHOWN]]
    named += [f"{len(there) - SHOWN} more"] if len(there) > SHOWN else []
    on = {int(question.reached[guest]) for guest in there}
    where = "there" if on <= {node} else f"in the same {_domain(question, index)}"
    most = f", at most {item.most} may be" if item.most > 1 else ""
    return f"{' and '.join(named) or 'guests that go along'} {'is' if len(there) == 1 else 'are'} {where}{most}"


def _domain(question: Question, index: int) -> str:
    """The kind of failure domain that an apart-rule is about."""
    formulation = question.formulation
    named = [rule for rule in formulation.rules.items if rule.name == formulation.apart[index]]
    return next((rule.per for rule in named if rule.kind is Kind.APART and rule.per), "failure domain")


def _room(question: Question, node: int, broken: Sequence[Violation]) -> Iterator[Reason]:
    """What the node has too little of, with numbers; what others do not find there either counts as well."""
    problem, names = question.formulation.problem, question.formulation.capacities
    needs = problem.needs[question.bundle].sum(axis=0)
    for item in broken:
        if item.rule is Rule.CAPACITY and item.node == node and needs[item.index] > 0:
            r = item.index
            others = np.setdiff1d(np.flatnonzero(question.reached == node), question.bundle)
            left = int(problem.capacity[node, r] - problem.needs[others, r].sum())
            yield Ground.ROOM, lacks(names[r], int(needs[r]), left), ""


def lacks(name: str, needs: int, left: int) -> str:
    """How much of a capacity is needed, and how much there is."""
    if name == capacity.GUESTS:
        return f"no room: it may hold {left} more guests, {needs} would come" if left > 0 else "no room for more guests"
    unit, per = ("vCPUs", capacity.MCPU) if name == capacity.VCPUS else ("GiB", GIB)
    of = f" on {name}" if name.startswith(capacity.STORAGE) else "" if name == capacity.VCPUS else " of memory"
    have = f"{left / per:.1f} {unit} left" if left >= 0 else f"already {-left / per:.1f} {unit} too full"
    return f"no room: needs {needs / per:.1f} {unit}{of}, {have}"


def _open(question: Question, node: int, there: Ints, new: set[Violation]) -> Verdict:
    """Of a node that could take the guest: why it is not there nevertheless."""
    problem, spread = question.formulation.problem, _spread(question, node, there)
    for guest in sorted({guest for item in new if item.rule is Rule.FIXED for guest in item.guests}):
        who = "" if guest == question.guest else f" ({question.called(guest)}, which goes along, is)"
        return Verdict("", Ground.FIXED, False, f"could take it, if it were not fixed{who}; {spread}")
    if any(item.rule is Rule.LIMIT for item in new):
        return Verdict("", Ground.LIMIT, False, f"beyond the limit: {_beyond(question, there)}; {spread}")
    left = question.left_broken
    worse = left if question.all_is_well else check.violations(problem, there)
    if len(worse) > len(left):
        items = [item for item in worse if item not in left] or worse
        says = f"would leave broken: {_words(question, items)}; {spread}"
        return Verdict("", Ground.UNREPAIRED, False, says, _names(question, items))
    repairs = f", and would repair: {_words(question, [i for i in left if i not in worse])}"
    return Verdict("", Ground.POSSIBLE, False, f"possible{repairs if len(worse) < len(left) else ''}; {spread}")


def _words(question: Question, items: Sequence[Violation]) -> str:
    return "; ".join(dict.fromkeys(explain.violation(question.formulation, item) for item in items))


def _names(question: Question, items: Sequence[Violation]) -> tuple[str, ...]:
    """Names of the rules about several guests among violations."""
    names = {Rule.TOGETHER: question.formulation.together, Rule.APART: question.formulation.apart}
    return tuple(dict.fromkeys(names[item.rule][item.index] for item in items if item.rule in names))


def _beyond(question: Question, there: Ints) -> str:
    """The limits that would be exceeded, with numbers."""
    problem = question.formulation.problem
    migrations, mib = len(problem.migrated(there)), problem.moved_mib(there)
    says = []
    if problem.max_migrations is not None and migrations > problem.max_migrations:
        says.append(f"{migrations} migrations, at most {problem.max_migrations} allowed")
    if problem.max_moved_mib is not None and mib > problem.max_moved_mib:
        says.append(f"{mib / GIB:.1f} GiB copied, at most {problem.max_moved_mib / GIB:g} allowed")
    return "; ".join(says)


def _spread(question: Question, node: int, there: Ints) -> str:
    """How good the balance would be; where it would be as good, what that costs."""
    problem = question.formulation.problem
    with_it, planned = question.spread(node), question.planned_spread
    if abs(with_it - planned) >= SAME:
        return f"the spread would be {with_it:.2f} instead of {planned:.2f}"
    more = len(problem.migrated(there)) - len(problem.migrated(question.reached))
    gib = (problem.moved_mib(there) - problem.moved_mib(question.reached)) / GIB
    migrations = f"{abs(more)} migration{'s' if abs(more) > 1 else ''}"
    cost = [f"{migrations} {'more' if more > 0 else 'less'}"] if more else []
    cost += [f"{abs(gib):.1f} GiB {'more' if gib > 0 else 'less'} to copy"] if abs(gib) >= 0.05 else []
    return f"the spread would be the same{', with ' if cost else ''}{' and '.join(cost)}"
