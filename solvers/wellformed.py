"""Owns what the fields of a Problem have to be: a mistake in them is the caller's, not a person's."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solvers.problem import Problem


def check(problem: "Problem") -> None:
    """Raise ValueError for fields that do not fit together."""
    _check_shapes(problem)
    _check_levels(problem)


def _check_shapes(p: "Problem") -> None:
    g, n = len(p.origin), len(p.capacity)
    r, k, e = p.capacity.shape[1], len(p.demand), len(p.eligibility)
    shapes = {
        "needs": (g, r), "demand": (k, g), "ability": (k, n), "base": (k, n), "balanced": (n,),
        "eligibility": (e, n), "eligible": (g,), "copy_mib": (g,), "movable": (g,),
    }  # fmt: skip
    for name, shape in shapes.items():
        if getattr(p, name).shape != shape:
            raise ValueError(f"{name} has shape {getattr(p, name).shape}, not {shape}")
    if g and (p.origin.min() < 0 or p.origin.max() >= n):
        raise ValueError("origin names a node that does not exist")
    if not k:
        raise ValueError("nothing to balance: demand has no metric")
    for group in (*p.together, *(rule.guests for rule in p.apart)):
        if len(set(group)) < len(group) or not all(0 <= guest < g for guest in group):
            raise ValueError(f"group {group} names a guest twice or one that does not exist")
    for rule in p.apart:
        if rule.most < 1 or len(rule.domains) not in (0, n) or not all(rule.sides):
            raise ValueError(f"{rule} needs at least one side in a domain, guests on each side, a domain for each node")
    if min(p.max_migrations or 0, p.max_moved_mib or 0, p.tolerance, p.goal) < 0:
        raise ValueError("max_migrations, max_moved_mib, tolerance and goal must not be negative")
    if (p.ability < 1).any() or (p.demand < 0).any() or (p.needs < 0).any():
        raise ValueError("ability must be positive, demand and needs not negative")


def _check_levels(p: "Problem") -> None:
    """Raise ValueError for levels that do not say what every metric is there for."""
    for level in p.levels:
        if not level.metrics or not set(level.metrics) <= set(range(p.metrics)):
            raise ValueError(f"{level} names no metric or one that does not exist")
        if len(set(level.metrics)) < len(level.metrics):
            raise ValueError(f"{level} names a metric twice")
        if level.weights and (len(level.weights) != len(level.metrics) or min(level.weights) < 1):
            raise ValueError(f"{level} needs a positive weight for each of its metrics")
    named = {k for level in p.aims for k in level.metrics}
    if len(named) < p.metrics:
        raise ValueError(f"no level names metric {min(set(range(p.metrics)) - named)}")
