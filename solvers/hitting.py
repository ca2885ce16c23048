"""Owns the lightest set that takes something from each of some sets: a hitting set."""

from collections.abc import Mapping, Sequence

Tier = dict[int, int]
"""Element -> weight; tiers are compared from left to right, and every element is in exactly one."""


def lightest(
    sets: Sequence[tuple[int, ...]], tiers: Sequence[Tier], rank: Mapping[int, int], seconds: float, seed: int
) -> set[int] | None:
    """A lightest hitting set; elements in no tier weigh nothing. None: none was proven to be lightest in time.

    If the sets share nothing, the element of the lowest rank is taken of those that weigh the same.
    """
    weight = {element: (-rank, tier[element]) for rank, tier in enumerate(tiers) for element in tier}
    priced = [each for each in sets if all(element in weight for element in each)]
    if len({element for each in priced for element in each}) == sum(map(len, priced)):
        # Of equals the last one goes: what was required first stays.
        return {min(each, key=lambda element: (*weight[element], rank[element], -element)) for each in priced}
    return _solve(priced, tiers, seconds, seed)


def _solve(sets: Sequence[tuple[int, ...]], tiers: Sequence[Tier], seconds: float, seed: int) -> set[int] | None:
    from ortools.sat.python import cp_model

    from solvers.run import run

    model = cp_model.CpModel()
    taken = {element: model.new_bool_var("") for element in sorted({element for each in sets for element in each})}
    for each in sets:
        model.add_bool_or([taken[element] for element in each])
    solver = cp_model.CpSolver()
    solver.parameters.random_seed, solver.parameters.num_workers = seed, 1
    for tier in tiers:
        terms = [(taken[element], weight) for element, weight in tier.items() if element in taken]
        if terms:
            total = cp_model.LinearExpr.weighted_sum([x for x, _ in terms], [weight for _, weight in terms])
            model.minimize(total)
            solver.parameters.max_time_in_seconds = max(0.01, seconds)
            if run(solver, model) != cp_model.OPTIMAL:
                return None
            model.add(total <= solver.value(total))
    return {element for element, x in taken.items() if solver.value(x)}
