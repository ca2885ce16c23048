"""Owns random requirements for small clusters, and what holds of all assignments at once, without the search."""

from random import Random

import numpy as np
import numpy.typing as npt

from solvers.problem import Apart, Problem
from solvers.requirement import Only, Requirement, Room, Together, Within
from tests.problems import random_problem

Table = npt.NDArray[np.bool_]


def draw(seed: int) -> tuple[Problem, list[Requirement], list[int]]:
    """A small cluster, 2 to 12 requirements of every kind and their weights."""
    rng = Random(seed)
    problem = random_problem(seed, nodes=rng.choice([2, 3, 3, 4]), guests=rng.choice([3, 4, 5, 5, 6, 7]))
    mix = rng.choice(["rules", "rules", "all", "all", "all", "room"])
    kinds = {"rules": "ootaa", "all": "oottaarrrw", "room": "ooarrrrw"}[mix]
    requirements = [_one(rng, problem, rng.choice(kinds)) for _ in range(rng.randint(3, 14))]
    if rng.random() < 0.3:
        requirements += [Room(node, 0) for node in range(problem.nodes)]
    heavy = rng.choice([1, 9, 9, 2**40])
    weights = [rng.choice([1, rng.randint(1, 9), rng.randint(1, heavy)]) for _ in requirements]
    return problem, requirements, weights


def _one(rng: Random, problem: Problem, kind: str) -> Requirement:
    def some(most: int) -> tuple[int, ...]:
        return tuple(rng.sample(range(problem.guests), rng.randint(1, min(most, problem.guests))))

    if kind == "o":
        return Only(
            some(3),
            frozenset(rng.sample(range(problem.nodes), rng.choice([1, 2, problem.nodes - 1, problem.nodes - 1]))),
        )
    if kind == "t":
        return Together(some(3))
    if kind == "a":
        domains = tuple(rng.randrange(2) for _ in range(problem.nodes)) if rng.random() < 0.3 else ()
        if rng.random() < 0.6:
            return Apart(tuple((guest,) for guest in some(problem.nodes)), rng.choice([1, 1, 1, 2]), domains)
        guests = list(some(7))
        if rng.random() < 0.1:  # a guest on two sides
            return Apart(tuple(some(2) for _ in range(rng.randint(2, 3))), rng.choice([1, 1, 2]), domains)
        cut = rng.randint(0, len(guests))
        return Apart((tuple(guests[:cut]), tuple(guests[cut:])), 1, domains)
    if kind == "r":
        return Room(rng.randrange(problem.nodes), rng.randrange(problem.capacity.shape[1]))
    migrations = rng.choice([None, 0, 1, 2, 3])
    return Within(migrations, rng.choice([None, None, rng.randint(0, int(problem.copy_mib.sum()))]))


def every_assignment(problem: Problem) -> "npt.NDArray[np.int64]":
    """(n^g, g) all assignments."""
    return np.indices([problem.nodes] * problem.guests).reshape(problem.guests, -1).T


def table(problem: Problem, requirements: list[Requirement], every: "npt.NDArray[np.int64]") -> Table:
    """(assignments, requirements) what keeps what."""
    columns = [_keeps(problem, each, every) for each in requirements]
    return np.array(columns, dtype=bool).reshape(len(requirements), len(every)).T


def _keeps(problem: Problem, each: Requirement, every: "npt.NDArray[np.int64]") -> Table:
    if isinstance(each, Only):
        return np.isin(every[:, list(each.guests)], list(each.nodes)).all(axis=1)
    if isinstance(each, Together):
        there = every[:, list(each.guests)]
        return np.asarray(there.min(axis=1) == there.max(axis=1))
    if isinstance(each, Apart):
        domains = np.array(each.domains or range(problem.nodes))[every]
        sides = [[(domains[:, list(side)] == d).any(axis=1) for side in each.sides] for d in range(problem.nodes)]
        return np.asarray((np.array(sides).sum(axis=1) <= each.most).all(axis=0))
    if isinstance(each, Room):
        used = (every == each.node) @ problem.needs[:, each.resource]
        return np.asarray(used <= problem.capacity[each.node, each.resource])
    gone = every != problem.origin
    few = np.ones(len(every), dtype=bool) if each.migrations is None else gone.sum(axis=1) <= each.migrations
    return few if each.mib is None else few & (gone @ problem.copy_mib <= each.mib)
