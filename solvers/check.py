"""Owns the verdict on an assignment: violations, limits, score; knows no solver."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from solvers.problem import Apart, Groups, Ints, Problem, Score


class Rule(StrEnum):
    """Kinds of rules an assignment can break."""

    ELIGIBLE = "eligible"
    TOGETHER = "together"
    APART = "apart"
    CAPACITY = "capacity"
    FIXED = "fixed"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: the guests and the node it concerns, the group or resource it is about."""

    rule: Rule
    guests: tuple[int, ...] = ()
    node: int = -1
    index: int = -1


def violations(problem: Problem, assignment: Ints) -> list[Violation]:
    """Rules broken by an assignment; their number is the first part of the score.

    Counted: each guest on a node it is not allowed on; each side of an apart-rule in a domain beyond those that
    may be there; each node of a together-group beyond the first; each overfull (node, resource).
    """
    return [*_ineligible(problem, assignment), *_split(problem.together, assignment),
            *_crowded(problem, assignment), *_overfull(problem, assignment)]  # fmt: skip


def broken(problem: Problem, assignment: Ints) -> list[Violation]:
    """What makes an assignment unacceptable: rules that held at the origin and do not any more, and limits.

    A rule that is in violation today may stay so; none gets worse. Sides that share a domain today may share one.
    """
    return [*_newly_ineligible(problem, assignment), *_newly_split(problem, assignment),
            *_newly_crowded(problem, assignment), *_newly_overfull(problem, assignment),
            *_beyond_limits(problem, assignment)]  # fmt: skip


def score(problem: Problem, assignment: Ints) -> Score:
    """(violations, value of the first level, of the others, cost): smaller is better."""
    first, *later = (max(value, problem.goal) for value in problem.values(assignment))
    return Score(len(violations(problem, assignment)), first, tuple(later), problem.cost(assignment))


def leavers(problem: Problem, item: Violation) -> list[int]:
    """Guests whose migration can mend a violation of today."""
    match item.rule:
        case Rule.APART:
            rule = problem.apart[item.index]
            domain = rule.domain_of(problem.nodes)
            return [g for g in rule.guests if domain[problem.origin[g]] == domain[item.node]]
        case Rule.TOGETHER:
            return list(problem.together[item.index])
        case Rule.CAPACITY:
            return [int(g) for g in (problem.origin == item.node).nonzero()[0]]
        case _:
            return list(item.guests)


def _ineligible(problem: Problem, assignment: Ints) -> Iterator[Violation]:
    allowed = problem.eligibility[problem.eligible, assignment]
    for guest in np.flatnonzero(~allowed):
        yield Violation(Rule.ELIGIBLE, (int(guest),), int(assignment[guest]))


def _split(groups: Groups, assignment: Ints) -> Iterator[Violation]:
    for index, group in enumerate(groups):
        on = _by_node(group, assignment)
        for node in sorted(on, key=lambda node: (-len(on[node]), node))[1:]:
            yield Violation(Rule.TOGETHER, tuple(on[node]), node, index)


def _crowded(problem: Problem, assignment: Ints) -> Iterator[Violation]:
    for index, rule in enumerate(problem.apart):
        for sides in _by_domain(problem, rule, assignment):
            yield from _beyond(index, rule, sides, assignment)


def _beyond(index: int, rule: Apart, sides: list[list[int]], assignment: Ints) -> Iterator[Violation]:
    """One for each side of a domain beyond those that may be there, with one guest of each of the latter."""
    allowed = tuple(guests[0] for guests in sides[: rule.most])
    for guests in sides[rule.most :]:
        yield Violation(Rule.APART, (*allowed, guests[0]), int(assignment[guests[0]]), index)


def _overfull(problem: Problem, assignment: Ints) -> Iterator[Violation]:
    for node, resource in np.argwhere(problem.usage(assignment) > problem.capacity):
        yield Violation(Rule.CAPACITY, (), int(node), int(resource))


def _newly_ineligible(problem: Problem, assignment: Ints) -> Iterator[Violation]:
    for item in _ineligible(problem, assignment):
        if item.node != problem.origin[item.guests[0]]:
            yield item
    for guest in problem.migrated(assignment):
        if not problem.movable[guest]:
            yield Violation(Rule.FIXED, (int(guest),), int(assignment[guest]))


def _newly_split(problem: Problem, assignment: Ints) -> Iterator[Violation]:
    for index, group in enumerate(problem.together):
        for guests in _by_node(group, problem.origin).values():
            for one, other in pairwise(guests):
                if assignment[one] != assignment[other]:
                    yield Violation(Rule.TOGETHER, (one, other), int(assignment[other]), index)


def _newly_crowded(problem: Problem, assignment: Ints) -> Iterator[Violation]:
    for index, rule in enumerate(problem.apart):
        domain = rule.domain_of(problem.nodes)
        for sides in _by_domain(problem, rule, assignment):
            if len({int(domain[problem.origin[guest]]) for guests in sides for guest in guests}) > 1:
                yield from _beyond(index, rule, sides, assignment)


def _newly_overfull(problem: Problem, assignment: Ints) -> Iterator[Violation]:
    """A node that receives a guest must hold everything on it; another may not take more than it did."""
    usage, before = problem.usage(assignment), problem.usage(problem.origin)
    arrives = np.zeros_like(usage)
    guests = problem.migrated(assignment)
    np.add.at(arrives, assignment[guests], problem.needs[guests])
    worse = (usage > problem.capacity) & ((arrives > 0) | (usage > before))
    for node, resource in np.argwhere(worse):
        yield Violation(Rule.CAPACITY, (), int(node), int(resource))


def _beyond_limits(problem: Problem, assignment: Ints) -> Iterator[Violation]:
    if problem.max_migrations is not None and len(problem.migrated(assignment)) > problem.max_migrations:
        yield Violation(Rule.LIMIT)
    if problem.max_moved_mib is not None and problem.moved_mib(assignment) > problem.max_moved_mib:
        yield Violation(Rule.LIMIT)


def _by_node(group: tuple[int, ...], assignment: Ints) -> dict[int, list[int]]:
    result: dict[int, list[int]] = {}
    for guest in group:
        result.setdefault(int(assignment[guest]), []).append(guest)
    return result


def _by_domain(problem: Problem, rule: Apart, assignment: Ints) -> list[list[list[int]]]:
    """For each domain that has some, guests of the sides that are present in it, side by side."""
    at = iter(rule.domain_of(problem.nodes)[assignment[list(rule.guests)]].tolist())
    result: dict[int, dict[int, list[int]]] = {}
    for side, guests in enumerate(rule.sides):
        for guest in guests:
            result.setdefault(next(at), {}).setdefault(side, []).append(guest)
    return [list(present.values()) for present in result.values()]
