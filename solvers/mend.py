"""Owns the repair of large clusters: nodes that are in violation and some others at a time, with everything on them."""

import numpy as np

from solvers import check
from solvers.model import Model
from solvers.problem import Ints, Problem
from solvers.search import Search, minimise

BOOLEANS = 2_500
"""Of one neighbourhood."""
NODES = 16
"""Of one neighbourhood, at most."""
SECONDS = 2.0
"""Most that is spent on one neighbourhood."""


def mend(search: Search, mark: float, turn: int = 0) -> None:
    """Fewer violations in the incumbent, until there are none or a point on the clock."""
    problem, rng = search.problem, np.random.default_rng((search.budget.seed, turn))
    while search.score.violations and search.left(mark) > 0:
        found = [node for item in check.violations(problem, search.best) for node in _where(problem, search.best, item)]
        wrong = rng.permutation(found)[: NODES // 2]
        others = rng.permutation(problem.nodes)[: NODES // 2]
        nodes = np.unique(np.concatenate([wrong, others])).astype(np.int64)
        model = Model(problem, _bundles(problem, search.best, nodes, wrong, rng), search.best, nodes)
        model.proto.add(model.violations <= search.score.violations)
        minimise(search, model, model.violations, search.best, min(SECONDS, search.left(mark)))


def _where(problem: Problem, now: Ints, item: check.Violation) -> list[int]:
    """Nodes of a violation: of a failure domain all on which guests of the rule are."""
    rule = problem.apart[item.index] if item.rule is check.Rule.APART else None
    if rule is None or not rule.domains:
        return [item.node]
    at, domain = np.unique(now[list(rule.guests)]), rule.domain_of(problem.nodes)
    return [node for node in at.tolist() if domain[node] == domain[item.node]]


def _bundles(problem: Problem, now: Ints, nodes: Ints, wrong: Ints, rng: np.random.Generator) -> list[int]:
    """Bundles of the nodes in violation first, then those that have been migrated, then others by chance."""
    at = now[problem.leads]
    here = np.flatnonzero(np.isin(at, nodes) | ((at != problem.homes) & np.isin(problem.homes, nodes)))
    rank = np.where(np.isin(at[here], wrong), 0.0, np.where(at[here] != problem.homes[here], 1.0, 2.0))
    drawn = here[np.argsort(rank + rng.random(len(here)), kind="stable")]
    return sorted(map(int, drawn[: BOOLEANS // len(nodes)]))
