"""Owns what to give up when requirements cannot all hold: as little as possible by weight, then with few migrations.

Conflicts are collected until the lightest set that takes something from each of them makes the rest possible: then
nothing lighter does (implicit hitting sets; Davies and Bacchus, CP 2011).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from solvers.hitting import Tier, lightest
from solvers.possible import Clock, Oracle, Possibility
from solvers.problem import Ints, Problem
from solvers.requirement import Requirement, broken, check

HEAVIEST = 2**62
"""Weights sum up to less: beyond that 64 bits overflow."""
COLLECT, ACCEPT, NAMED = 0.65, 0.8, 0.9
"""Up to which part of the time conflicts are collected, requirements are taken one by one, and those are weighed that
were in a conflict."""
SEPARATE = 4
"""Turns after which conflicts are no longer ended one by one."""
Cores = list[tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """What is given up, and an assignment that keeps everything else."""

    given_up: tuple[int, ...]
    """Indices of the requirements that the assignment does not keep."""
    assignment: Ints
    weight: int
    """Their total weight."""
    least: bool
    """Proven: every assignment breaks requirements of at least that weight."""
    fewest: bool = False
    """Proven: no assignment that breaks requirements of that weight needs fewer migrations."""


def check_weights(requirements: Sequence[Requirement], weights: Sequence[int] | None) -> list[int]:
    """The weights as Python integers, by default one each; ValueError if they make no sense."""
    prices = [1] * len(requirements) if weights is None else [int(weight) for weight in weights]
    if len(prices) != len(requirements):
        raise ValueError(f"{len(prices)} weights for {len(requirements)} requirements")
    if min(prices, default=0) < 0 or sum(prices) >= HEAVIEST:
        raise ValueError("weights must not be negative, and sum up to less than 2**62")
    return prices


def cheapest(
    problem: Problem,
    requirements: Sequence[Requirement],
    weights: Sequence[int] | None = None,
    seconds: float = 10.0,
    seed: int = 0,
    known: Iterable[Ints] = (),
) -> Relaxation:
    """Least total weight of requirements that do not hold, then fewest migrations, within some seconds.

    `known` are assignments to start from, besides the origin. Raises ValueError for requirements or weights that make
    no sense, ModuleNotFoundError without OR-Tools where counting is not enough.
    """
    check(problem, requirements)
    prices = check_weights(requirements, weights)
    oracle = Oracle(problem, requirements, Clock(seconds), seed)
    for assignment in known:
        oracle.learn(assignment)
    cores: Cores = []
    relaxation = relax(oracle, prices, cores)
    return _fewest(oracle, prices, cores) if relaxation.least else relaxation


def relax(oracle: Oracle, weights: list[int], cores: Cores) -> Relaxation:
    """Least total weight to give up, from conflicts known so far; those found are added to them."""
    priced = [index for index, weight in enumerate(weights) if weight]
    turn = 0
    while (given_up := _proposal(oracle, weights, cores, turn)) is not None:
        turn += 1
        rest = [index for index in priced if index not in given_up]
        answer = oracle.decide(rest, COLLECT)
        if answer is Possibility.POSSIBLE:  # nothing lighter takes something from each conflict that was found
            return replace(_best(oracle, weights), least=True)
        if answer is Possibility.UNKNOWN:
            break
        while answer is Possibility.IMPOSSIBLE:  # conflicts that share nothing, until the rest is possible
            cores.append(oracle.shrink(COLLECT)[0])
            rest = [index for index in rest if index not in cores[-1]]
            answer = oracle.decide(rest, COLLECT)
    return _try(oracle, weights, cores)


def _proposal(oracle: Oracle, weights: list[int], cores: Cores, turn: int) -> set[int] | None:
    """What weighs least of all that makes an end of the conflicts found so far; None: nothing is proven to.

    After some turns all conflicts among the requirements of those that were found are ended, not these alone.
    """
    if turn < SEPARATE:
        rank = {index: oracle.rank(index) for each in cores for index in each}
        return lightest(cores, tiers(weights), rank, oracle.clock.left(COLLECT), oracle.seed)
    named = sorted({index for each in cores for index in each if weights[index]})
    part = Oracle(oracle.problem, [oracle.requirements[index] for index in named], oracle.clock, oracle.seed)
    prices = [weights[index] for index in named]
    for assignment in oracle.examples[-1:]:
        part.learn(assignment)
    if not _descend(part, prices, list(range(len(named))), COLLECT):
        return None
    return {named[index] for index in _best(part, prices).given_up}


def _descend(oracle: Oracle, weights: list[int], soft: list[int], share: float) -> bool:
    """Minimise all tiers one after the other, where what is not soft holds; says whether that is proven."""
    settled: list[Tier] = []
    for tier in tiers(weights):
        if not _minimise(oracle, weights, soft, settled, tier, share):
            return False
        settled.append(tier)
    return True


def _try(oracle: Oracle, weights: list[int], cores: Cores) -> Relaxation:
    """Whatever is found in the time that is left: heavy before light, then among what was in a conflict, then all."""
    priced = [index for index, weight in enumerate(weights) if weight]
    _accept(oracle, sorted(priced, key=lambda index: -weights[index]))
    named = {index for each in cores for index in each}
    if named:
        _descend(oracle, weights, [index for index in priced if index in named], NAMED)
    least = _descend(oracle, weights, priced, 1.0)
    cores.append(tuple(priced))  # what was collected is not all that may have to be given up
    best = _best(oracle, weights)
    return replace(best, least=least or best.least)


def _accept(oracle: Oracle, order: list[int]) -> None:
    """Take requirements in this order, each if it can hold with those before: many at once where that goes well."""
    taken: list[int] = []
    parts = [order]
    while parts and oracle.clock.left(ACCEPT) > 0:
        part = parts.pop(0)
        if oracle.ask([*taken, *part], ACCEPT) is Possibility.POSSIBLE:
            taken += part
        elif len(part) > 1:
            parts[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]


def _best(oracle: Oracle, weights: list[int]) -> Relaxation:
    """The lightest that is known, of those with the fewest migrations."""
    known = []
    for assignment in oracle.examples:
        lost = broken(oracle.problem, oracle.requirements, assignment)
        weight = sum(weights[index] for index in lost)
        known.append((weight, len(oracle.problem.migrated(assignment)), lost, assignment))
    weight, _, lost, assignment = min(known, key=lambda each: each[:2])
    return Relaxation(lost, assignment, weight, least=weight == 0)


def _fewest(oracle: Oracle, weights: list[int], cores: Cores) -> Relaxation:
    """The fewest migrations at the least weight: where that is reached, what is in no conflict found holds."""
    soft = sorted({index for core in cores for index in core if weights[index]})
    proven = not len(oracle.problem.migrated(_best(oracle, weights).assignment))
    proven = proven or _minimise(oracle, weights, soft, tiers(weights), None, 1.0)
    return replace(_best(oracle, weights), least=True, fewest=proven)


def _minimise(
    oracle: Oracle, weights: list[int], soft: list[int], settled: list[Tier], tier: Tier | None, share: float
) -> bool:
    """Minimise a tier, or the migrations, where settled tiers stay as light as is known; says whether it is proven.

    All that is priced and not soft holds.
    """
    if oracle.clock.left(share) <= 0:
        return False
    from ortools.sat.python import cp_model

    from solvers.requirement_model import RequirementModel, ask

    requirements = oracle.requirements
    hard = [requirements[index] for index, weight in enumerate(weights) if weight and index not in soft]
    model = RequirementModel(oracle.problem, hard, [requirements[index] for index in soft], counted=True)
    holds = dict(zip(soft, model.literals, strict=True))
    best = _best(oracle, weights)

    def lost(each: Tier) -> cp_model.LinearExprT:
        return sum(weight * (1 - holds[index]) for index, weight in each.items() if index in holds)

    for each in settled:
        model.proto.add_linear_constraint(lost(each), 0, sum(each.get(index, 0) for index in best.given_up))
    left = oracle.clock.left(share)
    if left <= 0:
        return False
    status, assignment = ask(
        model, best.assignment, left, oracle.seed, model.migrations if tier is None else lost(tier)
    )
    if assignment is not None:
        oracle.learn(assignment)
    return status == cp_model.OPTIMAL


def tiers(weights: Sequence[int]) -> list[Tier]:
    """Weights as objectives to be minimised one after the other: the same order in small numbers.

    A tier ends where all that is lighter sums up to less than one step of what is heavier.
    """
    result: list[Tier] = []
    group: list[int] = []
    step, rest = 0, sum(weights)
    for index in sorted((i for i, weight in enumerate(weights) if weight), key=lambda i: (-weights[i], i)):
        group.append(index)
        step, rest = math.gcd(step, weights[index]), rest - weights[index]
        if rest < step:
            result.append({i: weights[i] // step for i in group})
            group, step = [], 0
    return result
