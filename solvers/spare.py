"""Owns how many more guests of one kind find room while the others stay: counted, or by CP-SAT where that takes it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from solvers.problem import Bools, Groups, Ints, Problem

ENDLESS = 2**40
"""More than anything needs."""


class Joins(IntEnum):
    """What new guests are to a rule that keeps guests apart; from 0 on: they all join that side of it."""

    NOT = -1
    EACH = -2
    """Each of them is a side of its own."""


class Beside(NamedTuple):
    """A rule that keeps guests apart, with the new ones."""

    sides: Groups
    """Of guests that are there."""
    most: int
    domain: Ints
    """(n,) domain of each node, numbered from 0 on."""
    joins: int = Joins.NOT


@dataclass(frozen=True, eq=False)
class Spare:
    """What new guests of one kind need, and what nodes have left."""

    problem: Problem
    """Of the guests that are there; new ones that it may have are on a node that is not for them."""
    size: Ints
    """(r,) what each new guest takes."""
    room: Ints
    """(n, r) what nodes have left, not below 0."""
    open: Bools
    """(n,) nodes where new guests may be..."""
    starts: Bools
    """...and where they may start when theirs fails."""
    rules: tuple[Beside, ...] = ()
    united: bool = False
    """Whether they belong on one node."""
    mates: frozenset[int] = frozenset()
    """Guests that they belong together with."""
    protected: Bools | None = None
    """(g,) guests that start elsewhere when their node fails, as the new ones do; None: losses are no matter."""


@dataclass(frozen=True, eq=False)
class Most:
    """How many more guests there can be, and where."""

    counts: Ints
    """(n,)"""
    bound: int
    """Proven: there cannot be more."""


def most(spare: Spare, seconds: float, seed: int = 0) -> Most:
    """As many more guests as possible. Exact unless the time runs out, which the bound tells.

    Raises ModuleNotFoundError where it takes OR-Tools and there is none.
    """
    by_domain = [rule for rule in spare.rules if rule.joins == Joins.EACH and len(set(rule.domain)) < len(rule.domain)]
    if spare.protected is not None or len(by_domain) > 1:
        from solvers.spare_model import search

        return search(spare, seconds, seed, _known(spare))
    counts = caps(spare)
    if spare.united:
        counts = np.where(np.arange(len(counts)) == np.argmax(counts), counts, 0)
    for rule in by_domain:
        counts = _within(counts, rule, left(spare, rule))
    return Most(counts, int(counts.sum()))


def _known(spare: Spare) -> Most:
    """What is known before a search."""
    if spare.protected is not None:
        from solvers.spare_quick import quick

        return quick(spare)
    return Most(np.zeros_like(caps(spare)), int(caps(spare).sum()))


def caps(spare: Spare) -> Ints:
    """(n,) how many each node would take if there were no others."""
    takes = spare.size > 0
    each = np.asarray((spare.room[:, takes] // spare.size[takes]).min(axis=1), dtype=np.int64)
    each = np.where(spare.open, each, 0)
    for rule in spare.rules:
        if rule.joins != Joins.NOT:
            each = np.minimum(each, left(spare, rule)[rule.domain])
    return each


def left(spare: Spare, rule: Beside) -> Ints:
    """(d,) how many new guests a rule lets into each domain."""
    there = present(spare, rule)
    if rule.joins == Joins.EACH:
        return np.array([max(0, rule.most - len(sides)) for sides in there], dtype=np.int64)
    return np.array([ENDLESS * (len(sides | {rule.joins}) <= rule.most) for sides in there], dtype=np.int64)


def present(spare: Spare, rule: Beside, failed: int = -1) -> list[set[int]]:
    """The sides that have a guest in each domain, but for those on a node that has failed."""
    result: list[set[int]] = [set() for _ in range(int(rule.domain.max()) + 1)]
    for side, guests in enumerate(rule.sides):
        for node in set(spare.problem.origin[list(guests)].tolist()) - {failed}:
            result[rule.domain[node]].add(side)
    return result


def _within(counts: Ints, rule: Beside, most: Ints) -> Ints:
    """Counts that are cut to what each domain may have, the nodes in order, one by one."""
    result = np.zeros_like(counts)
    for d, limit in enumerate(most.tolist()):
        nodes = np.flatnonzero(rule.domain == d)
        target = min(limit, int(counts[nodes].sum()))
        while result[nodes].sum() < target:
            open_ = nodes[result[nodes] < counts[nodes]]
            result[open_[np.argmax((counts - result)[open_])]] += 1
    return result
