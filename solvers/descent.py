"""Owns steepest descent: the best single migration or swap, again and again.

Only a migration that touches the fullest or the emptiest node can lower the spread, so only those
are looked at. Ties in spread are broken by the sum of squared loads, which lets the search walk
over plateaus; what is returned is the best score seen on the way, not where the walk ended.
"""

import time
from dataclasses import dataclass

import numpy as np

from solvers import check, greedy
from solvers.problem import Bools, Ints, Problem
from solvers.result import Answer, Budget
from solvers.state import State

TRIES = 200
"""Candidates whose legality is checked in full before a step is given up."""
PLATEAU = 50
"""Steps without a better spread before the walk ends."""


@dataclass(frozen=True, slots=True)
class Step:
    """Bundles and the node each goes to: one migration, or two that swap."""

    bundles: tuple[int, ...]
    targets: tuple[int, ...]


def solve(problem: Problem, budget: Budget, start: Ints) -> Answer:
    """Repair, then descend until no step helps, the spread reaches the goal, or time is up."""
    deadline = time.monotonic() + budget.seconds
    state = State(problem, start)
    greedy.repair(state)
    best, best_score = state.assignment.copy(), check.score(problem, state.assignment)
    idle = 0
    while idle < PLATEAU and state.spread() > problem.goal and time.monotonic() < deadline:
        step = _best_migration(state) or _best_swap(state)
        if step is None:
            break
        _take(state, step)
        score = check.score(problem, state.assignment)
        idle += 1
        if score < best_score:
            idle = idle if score.spread == best_score.spread else 0
            best, best_score = state.assignment.copy(), score
    return Answer(best)


def _take(state: State, step: Step) -> None:
    for bundle, node in zip(step.bundles, step.targets, strict=True):
        state.migrate(bundle, node)


def _extremes(state: State) -> tuple[int, int]:
    """The fullest and the emptiest balanced node of the first level's metric with the largest spread."""
    counted = np.flatnonzero(state.problem.balanced)
    loads = state.loads[:, counted]
    worst = max(state.problem.aims[0].metrics, key=lambda k: int(loads[k].max() - loads[k].min()))
    return int(counted[loads[worst].argmax()]), int(counted[loads[worst].argmin()])


def _movable(problem: Problem) -> Bools:
    """(b,) bundles that may be migrated."""
    result = np.ones(len(problem.bundles), dtype=bool)
    result[problem.bundle_of[~problem.movable]] = False
    return result


def _weights_on(problem: Problem, where: Ints | int) -> Ints:
    """(k, b) what each bundle puts on one node, or on the node of each of its guests."""
    per_guest = problem.weights(np.arange(problem.guests), where)
    result = np.zeros((problem.metrics, len(problem.bundles)), dtype=np.int64)
    for k in range(problem.metrics):
        np.add.at(result[k], problem.bundle_of, per_guest[k])
    return result


def _places(state: State) -> Ints:
    """(b,) node of each bundle."""
    return state.assignment[[int(guests[0]) for guests in state.problem.bundles]]


def _best_migration(state: State) -> Step | None:
    """Best legal migration off the fullest node or onto the emptiest."""
    problem = state.problem
    hot, cold = _extremes(state)
    places, movable = _places(state), _movable(problem)
    leaving = np.flatnonzero((places == hot) & movable)
    coming = np.flatnonzero((places != cold) & (places != hot) & movable)
    here = _weights_on(problem, state.assignment)
    off = [problem.bundle_weights(problem.bundles[int(b)]) for b in leaving]
    there = np.concatenate([*(w for w in off), _weights_on(problem, cold)[:, coming]], axis=1)
    bundles = np.concatenate([np.repeat(leaving, problem.nodes), coming])
    targets = np.concatenate([np.tile(np.arange(problem.nodes), len(leaving)), np.full(len(coming), cold)])
    sources = places[bundles]
    keep = sources != targets
    bundles, targets, sources, there = bundles[keep], targets[keep], sources[keep], there[:, keep]
    ranked = _improving(state, sources, targets, -here[:, bundles], there)
    for index in ranked[:TRIES]:
        bundle, node = int(bundles[index]), int(targets[index])
        if state.legal(bundle)[node]:
            return Step((bundle,), (node,))
    return None


def _best_swap(state: State) -> Step | None:
    """Best legal exchange of a bundle on the fullest (or emptiest) node with one elsewhere."""
    for extreme in _extremes(state):
        step = _best_swap_with(state, extreme)
        if step is not None:
            return step
    return None


def _best_swap_with(state: State, extreme: int) -> Step | None:
    problem = state.problem
    places, movable = _places(state), _movable(problem)
    ours = np.flatnonzero((places == extreme) & movable)
    theirs = np.flatnonzero((places != extreme) & movable)
    if not len(ours) or not len(theirs):
        return None
    a, b = (grid.ravel() for grid in np.meshgrid(ours, theirs, indexing="ij"))
    away = {int(bundle): problem.bundle_weights(problem.bundles[int(bundle)]) for bundle in ours}
    gone = np.stack([away[int(bundle)][:, places[theirs]] for bundle in ours], axis=1).reshape(problem.metrics, -1)
    here, arriving = _weights_on(problem, state.assignment), _weights_on(problem, extreme)
    change_ours, change_theirs = arriving[:, b] - here[:, a], gone - here[:, b]
    ranked = _improving(state, np.full(len(a), extreme), places[b], change_ours, change_theirs)
    for index in ranked[:TRIES]:
        step = Step((int(a[index]), int(b[index])), (int(places[b[index]]), extreme))
        if _swap_is_legal(state, step):
            return step
    return None


def _swap_is_legal(state: State, step: Step) -> bool:
    """Each direction is checked with the other bundle already gone; the state is left as it was."""
    (one, other), (far, near) = step.bundles, step.targets
    state.migrate(other, near)
    fits = bool(state.legal(one)[far])
    state.migrate(one, far)
    state.migrate(other, far)
    fits = fits and bool(state.legal(other)[near])
    state.migrate(one, near)
    return fits


def _improving(state: State, sources: Ints, targets: Ints, at_source: Ints, at_target: Ints) -> Ints:
    """Candidates that lower (spread, sum of squares), best first; changes are (k, candidates) in ppm."""
    problem, loads = state.problem, state.loads
    spreads: list[Ints] = []
    square = np.zeros(len(sources), dtype=np.int64)
    for k in problem.aims[0].metrics:
        after_s, after_t = loads[k, sources] + at_source[k], loads[k, targets] + at_target[k]
        high, low = _others(loads[k], problem.balanced, sources, targets)
        for node, after in ((sources, after_s), (targets, after_t)):
            counted = problem.balanced[node]
            high = np.where(counted, np.maximum(high, after), high)
            low = np.where(counted, np.minimum(low, after), low)
            square += np.where(counted, after**2 - loads[k, node] ** 2, 0)
        spreads.append(high - low)
    weights = problem.aims[0].weights
    spread = np.tensordot(weights, spreads, 1) // sum(weights) if weights else np.max(spreads, axis=0)
    now = state.spread()
    good = np.flatnonzero((spread < now) | ((spread == now) & (square < 0)))
    return good[np.lexsort((square[good], spread[good]))]


def _others(load: Ints, balanced: Bools, one: Ints, other: Ints) -> tuple[Ints, Ints]:
    """Highest and lowest load among the balanced nodes, leaving out two nodes per candidate."""
    counted = np.flatnonzero(balanced)
    order = counted[np.argsort(load[counted], kind="stable")]
    far = np.iinfo(np.int64).max // 4

    def first(nodes: Ints, empty: int) -> Ints:
        result = np.full(len(one), empty, dtype=np.int64)
        for node in nodes[:3][::-1]:
            result = np.where((one != node) & (other != node), load[node], result)
        return result

    return first(order[::-1], -far), first(order, far)
