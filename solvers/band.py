"""Owns the band of loads that a search aims at, and how far loads are beyond it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solvers.problem import Ints, Problem

Floats = npt.NDArray[np.float64]

CENTRED, AS_REACHED = 0.25, 0.5
"""Parts of the bands that lie about the mean of the loads and in the middle of the loads that are reached; the others
lie about the mean by chance.

Migrations keep the mean where it is, weighted with what nodes can give. In the end every load is near it; on the
way there the best band may lie to one side.
"""


@dataclass(frozen=True, slots=True)
class Band:
    """Lowest and highest load that are aimed at, in ppm: (k,)."""

    low: Floats
    high: Floats

    def beyond(self, loads: Floats) -> Floats:
        """Squares of what loads (k, ...) are beyond the band, summed over the metrics: (...)."""
        shape = (-1,) + (1,) * (loads.ndim - 1)
        result = np.maximum(loads - self.high.reshape(shape), self.low.reshape(shape) - loads)
        np.maximum(result, 0, out=result)
        result *= result
        return np.asarray(result.sum(axis=0) if len(result) > 1 else result[0], dtype=np.float64)


def narrower(problem: Problem, best: Ints, aim: int, part: float, rng: np.random.Generator) -> Band:
    """A band in which the level `aim` is at most `part` of what it is in `best`, and no level before it is larger.

    Metrics of later levels may be anywhere.
    """
    loads = problem.loads(best)
    spreads = problem.spreads_of(loads)
    on = problem.balanced
    low, high = loads[:, on].min(axis=1), loads[:, on].max(axis=1)
    width, middle = np.full(problem.metrics, np.inf), (low + high) / 2
    for level in problem.aims[:aim]:  # kept as they are
        for k in level.metrics:
            width[k] = min(width[k], spreads[k] if level.weights else max(level.value(spreads), problem.goal))
    level = problem.aims[aim]
    mean = _means(problem, loads)
    drawn, side = rng.random(), rng.random() - 0.5
    for k in level.metrics:
        reached = int(spreads[k]) if level.weights else level.value(spreads)
        mine = max(min(reached * part, reached - 1), 0)
        if mine < width[k]:
            width[k] = mine
            if drawn >= AS_REACHED:
                middle[k] = mean[k] + (side * mine if drawn >= AS_REACHED + CENTRED else 0)
    return Band(middle - width / 2, middle + width / 2)


def _means(problem: Problem, loads: Ints) -> Floats:
    """(k,) mean load of the balanced nodes, weighted with what they can give."""
    ability = problem.ability[:, problem.balanced].astype(np.float64)
    return np.asarray((loads[:, problem.balanced] * ability).sum(axis=1) / ability.sum(axis=1), dtype=np.float64)
