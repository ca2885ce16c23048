"""Owns what few sizes of guests forbid: where all demands are multiples of one, so are the differences of loads.

Then no spread lies between two multiples, and a bound that does is as good as the next one.
"""

import numpy as np

from solvers.problem import PPM, Problem

SHARE = 0.1
"""Part of the step that roundings may add up to; beyond it nothing is said."""


def lifted(problem: Problem, k: int, bound: int, reached: int) -> int:
    """The bound on the spread of metric `k` (ppm), lifted to the next spread that sizes allow; `reached` is a spread
    that is reached, beyond which nothing is asked."""
    on = np.flatnonzero(problem.balanced)
    ability, demand = np.unique(problem.ability[k, on]), problem.demand[k]
    unit = int(np.gcd.reduce(demand)) if len(demand) else 0
    if len(ability) != 1 or unit == 0:
        return bound
    step = unit * PPM / int(ability[0])
    # Each guest with a demand is rounded by half a ppm at most; so many can be on a node that is not too full.
    base = problem.base[k, on]
    guests = (problem.mean(k) + reached - min(0, int(base.min()))) / step + 1
    error = guests + int(np.ptp(base)) + 1
    if error > SHARE * step:
        return bound
    multiple = np.ceil((bound - error) / step)
    return max(bound, int(np.floor(multiple * step - error)))
