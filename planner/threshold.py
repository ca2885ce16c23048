"""Owns whether the nodes are loaded enough for anything to be balanced, where the operator says from when on."""

from collections.abc import Sequence

import numpy as np

from planner.errors import ConfigError
from planner.periods import Metric
from planner.policy import Policy, Resource
from solvers.problem import Problem

PERCENT = 10_000
"""ppm."""


def check_names(policy: Policy) -> None:
    """ConfigError for a threshold of what has no load."""
    for name in policy.threshold:
        if name not in list(Resource):
            raise ConfigError(f"policy.threshold names {name}, which is no resource: there are {', '.join(Resource)}")


def remarks(policy: Policy) -> tuple[str, ...]:
    """Thresholds without effect."""
    idle = [name for name in policy.threshold if name not in policy.resource]
    return (f"policy.threshold has no effect for {', '.join(idle)}: that is not balanced",) if idle else ()


def below(problem: Problem, nodes: Sequence[str], metrics: Sequence[Metric], policy: Policy) -> str:
    """Why nothing is balanced, in words; empty where a node is at a threshold, or none is set for what is balanced."""
    limits = {name: limit for name, limit in policy.threshold.items() if name in policy.resource}
    if not limits:
        return ""
    loads, on = problem.loads(problem.origin)[: len(metrics)], np.flatnonzero(problem.balanced)
    said = []
    for name, limit in limits.items():
        of = [metric.resource == name for metric in metrics]
        worst = loads[of][:, on].max(axis=0)
        if worst.max() >= limit * PERCENT:
            return ""
        said.append(f"{name} {limit:g} % (the most is {worst.max() / PERCENT:.1f} %, on {nodes[on[worst.argmax()]]})")
    return f"nothing is balanced: every node is below its threshold: {', '.join(said)}"
