"""Owns whether a plan would have been no worse under the loads of the last week, hour by hour."""

from dataclasses import replace

import numpy as np

from planner import collect, rrd
from planner.case import Case
from planner.choices import Lookback, Profile
from planner.cluster import Cluster
from planner.plan import Plan
from planner.planning import prepare
from planner.session import Session
from solvers.problem import PPM, Ints

SAME = 0.05
"""Points of spread that are no difference."""


def worse(session: Session, cluster: Cluster, plan: Plan) -> str:
    """Why it would have been worse, in one line; empty where it would not. A call for each guest and node.

    Two figures count, of the spread over the periods of the week: the worst, and the mean. ApiRefused where the cluster
    tells no history.
    """
    policy = replace(session.policy, window=Lookback.WEEK, profile=Profile.ROBUST, forecast=False)
    taken = cluster.snapshot
    for frame in rrd.timeframes(policy):
        taken = rrd.asked(taken, session.writable(), frame)
    known = replace(collect.collect(taken), moved=cluster.moved)
    case = prepare(known, policy, session.settings, session.apply)
    before, after = (_spreads(case, at) for at in (case.formulation.problem.origin, assigned(case, plan)))
    for what, figure in (("worst", max), ("mean", np.mean)):
        was, would_be = float(figure(before)), float(figure(after))
        if would_be > was + SAME:
            return (
                f"under the loads of the last week the {what} spread would have been {would_be:.2f} points "
                f"instead of {was:.2f} (run.last_week)"
            )
    return ""


def assigned(case: Case, plan: Plan) -> Ints:
    """(g,) node of each guest when the plan is carried out."""
    formulation = case.formulation
    guests = {int(vmid): i for i, vmid in enumerate(formulation.guests["vmid"])}
    nodes = {name: i for i, name in enumerate(formulation.nodes)}
    result = formulation.problem.origin.copy()
    for migration in plan.migrations:  # in their order: the last stop of a guest counts
        if migration.vmid in guests:
            result[guests[migration.vmid]] = nodes[migration.target]
    return result


def _spreads(case: Case, assignment: Ints) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """(k,) points between the fullest and the emptiest node in each period; where nodes are stuck over the others."""
    formulation = case.formulation
    changeable = formulation.changeable(assignment)
    spreads = formulation.problem.spreads(assignment) if changeable is None else changeable
    return np.asarray(spreads[: len(formulation.metrics)], dtype=np.float64) * 100 / PPM
