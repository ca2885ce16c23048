"""Owns the verdict on an assignment: violations, limits, score; knows no solver."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, pairwise

import numpy as np

from solvers.problem import Groups, Ints, Problem, Score


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

    Counted: each guest on a node it is not allowed on; each guest of an apart-group beyond the first
    on a node; each node of a together-group beyond the first; each overfull (node, resource).
    """
    return [*_ineligible(problem, assignment), *_split(problem.together, assignment),
            *_crowded(problem.apart, assignment), *_overfull(problem, assignment)]  # fmt: skip


def broken(problem: Problem, assignment: Ints) -> list[Violation]:
    """What makes an assignment unacceptable: rules that held at the origin and do not any more, and limits.

    A rule that is in violation today may stay so; none gets worse.
    """
    return [*_newly_ineligible(problem, assignment), *_newly_split(problem, assignment),
            *_newly_crowded(problem, assignment), *_newly_overfull(problem, assignment),
            *_beyond_limits(problem, assignment)]  # fmt: skip


def score(problem: Problem, assignment: Ints) -> Score:
    """(violations, value of the first level, of the others, cost): smaller is better."""
    first, *later = (max(value, problem.goal) for value in problem.values(assignment))
    return Score(len(violations(problem, assignment)), first, tuple(later), problem.cost(assignment))


def _ineligible(problem: Problem, assignment: Ints) -> Iterator[Violation]:
    allowed = problem.eligibility[problem.eligible, assignment]
    for guest in np.flatnonzero(~allowed):
        yield Violation(Rule.ELIGIBLE, (int(guest),), int(assignment[guest]))


def _split(groups: Groups, assignment: Ints) -> Iterator[Violation]:
    for index, group in enumerate(groups):
        on = _by_node(group, assignment)
        for node in sorted(on, key=lambda node: (-len(on[node]), node))[1:]:
            yield Violation(Rule.TOGETHER, tuple(on[node]), node, index)


def _crowded(groups: Groups, assignment: Ints) -> Iterator[Violation]:
    for index, group in enumerate(groups):
        for node, guests in _by_node(group, assignment).items():
            for guest in guests[1:]:
                yield Violation(Rule.APART, (guests[0], guest), node, index)


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
    for index, group in enumerate(problem.apart):
        for node, guests in _by_node(group, assignment).items():
            for one, other in combinations(guests, 2):
                if problem.origin[one] != problem.origin[other]:
                    yield Violation(Rule.APART, (one, other), node, index)


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
