"""Owns what nothing can change: nodes whose load stays the fullest or the emptiest whatever is migrated.

Such a node makes all plans tie in the spread. So the spread over the other nodes is balanced after it.
"""

import numpy as np

from solvers.problem import PPM, Bools, Ints, Level, Problem


def beside_stuck(problem: Problem) -> Problem:
    """The problem with a further metric and a last level for each metric of the first level with a stuck extreme.

    The further metric is a copy in which today's load of the stuck nodes is the mean of the others, so that its
    spread is that of the others. Without a stuck extreme the problem is returned as it is.
    """
    found = find_stuck(problem)
    if not found:
        return problem
    loads = problem.loads(problem.origin)
    shifted = [
        problem.base[k] + np.where(nodes, _mean(problem, k, loads[k], problem.balanced & ~nodes) - loads[k], 0)
        for k, nodes in found.items()
    ]
    copied = list(found)
    return problem.replace(
        demand=np.concatenate([problem.demand, problem.demand[copied]]),
        ability=np.concatenate([problem.ability, problem.ability[copied]]),
        base=np.concatenate([problem.base, shifted]),
        levels=(*problem.aims, *(Level((problem.metrics + i,)) for i in range(len(found)))),
    )


def find_stuck(problem: Problem) -> dict[int, Bools]:
    """Metrics of the first level with a stuck extreme, in the order of their copies, and the stuck nodes (n,)."""
    return {k: nodes for k in problem.aims[0].metrics if (nodes := stuck_nodes(problem, k)).any()}


def stuck_nodes(problem: Problem, k: int) -> Bools:
    """(n,) nodes above the mean that nothing can leave and nodes below it that nothing can come to.

    The mean is that of the other nodes. None, unless one of them is the fullest or the emptiest today and there
    are others.
    """
    load, balanced = problem.loads(problem.origin)[k], problem.balanced
    can_lose, can_gain = _can_change(problem, k)
    none = np.zeros(problem.nodes, dtype=bool)
    stuck = none
    for _ in range(problem.nodes + 1):
        if not (balanced & ~stuck).any():
            return none
        mean = _mean(problem, k, load, balanced & ~stuck)
        before, stuck = stuck, balanced & ((~can_lose & (load > mean)) | (~can_gain & (load < mean)))
        if (stuck == before).all():
            extreme = np.isin(load[stuck], [load[balanced].max(), load[balanced].min()])
            return stuck if extreme.any() else none
    return none  # who is stuck depends on who else is: nothing is certain


def _mean(problem: Problem, k: int, load: Ints, nodes: Bools) -> int:
    """ppm on some nodes if all on them, and all that must come from nodes that do not count, were spread evenly."""
    there = problem.movable & ~problem.balanced[problem.origin]
    there &= ~problem.eligibility[problem.eligible, problem.origin]
    coming = sum(problem.demand[k, there].tolist()) * PPM
    ability: list[int] = problem.ability[k, nodes].tolist()
    whole = sum(x * a for x, a in zip(load[nodes].tolist(), ability, strict=True))
    return int(whole + coming) // sum(ability)


def _can_change(problem: Problem, k: int) -> tuple[Bools, Bools]:
    """(n,) nodes that a bundle with demand can leave, and nodes that one can come to."""
    lose, gain = (np.zeros(problem.nodes, dtype=bool) for _ in range(2))
    for allowed, homes in _movers(problem, k):
        lose[homes] |= int(allowed.sum()) > allowed[homes]
        gain |= allowed if len(homes) > 1 else allowed & (np.arange(problem.nodes) != homes[0])
    return lose, gain


def _movers(problem: Problem, k: int) -> list[tuple[Bools, Ints]]:
    """Kinds of bundles that may be migrated and have demand: where each is allowed, and the nodes it is on."""
    active = (problem.by_bundle(problem.demand[k]) > 0) & problem.bundle_movable
    alone = problem.bundle_sizes == 1
    bundles = np.flatnonzero(active & alone)
    kinds = problem.eligible[problem.leads[bundles]]
    order = np.argsort(kinds, kind="stable")
    parts = np.split(bundles[order], np.flatnonzero(np.diff(kinds[order])) + 1)
    result = [
        (problem.eligibility[problem.eligible[problem.leads[part[0]]]], np.unique(problem.homes[part]))
        for part in parts
        if len(part)
    ]
    together = np.flatnonzero(active & ~alone)
    return result + [(problem.allowed(problem.bundles[b]), problem.homes[[b]]) for b in together]
