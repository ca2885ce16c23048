"""Owns one cluster under one policy, ready for any number of solvers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from planner import clash, ledger
from planner.clash import Clash
from planner.cluster import Cluster
from planner.formulate import Formulation, formulate
from planner.pace import Pace
from planner.pace import read as read_pace
from planner.policy import Apply, Policy
from planner.policy import Cluster as ClusterPolicy
from planner.rule import Rule
from planner.rules import Rules, read
from solvers.problem import Problem

SHARE = 0.25
"""Part of a solver's time limit in which rules give way to others, once for all solvers..."""
CLASH_SECONDS = 10.0
"""...and seconds, unless a case says otherwise, in which it is found out why not all can hold."""


@dataclass(frozen=True, eq=False)
class Case:
    """What is planned for."""

    cluster: Cluster
    policy: Policy
    settings: ClusterPolicy
    rules: Rules
    """As they are written; those of the formulation are these, and those of the ledger, less what has given way."""
    formulation: Formulation
    gave_way: tuple[str, ...] = ()
    """Should-rules, or what of them, that cannot hold beside the others."""
    least: bool = True
    """Proven: nothing of a lower price could give way instead."""
    apply: Apply = field(default_factory=Apply)
    """How what is planned will be carried out."""
    ledger: tuple[Rule, ...] = ()
    """What is asked of guests that were migrated lately."""
    measured: Callable[[], Pace] | None = None
    """Finds out how fast migrations are; None: by what was recorded."""
    clash_seconds: float = CLASH_SECONDS
    """In which it is found out why not all rules can hold, at most."""

    @cached_property
    def pace(self) -> Pace:
        """How long migrations take; asked for only when something is migrated."""
        return self.measured() if self.measured else read_pace(self.cluster.snapshot, self.apply)

    @property
    def asked(self) -> Rules:
        """The rules before any gave way: as they are written, and those of the ledger."""
        return _asked(self.rules, self.ledger)

    @cached_property
    def way(self) -> Problem:
        """What has to hold at every moment of a plan: without should-rules, which hold in the end."""
        should = [rule.name for rule in self.rules.items if rule.price]
        if not should and not self.ledger:
            return self.formulation.problem
        problem = formulate(self.cluster, self.rules.without(should), self.policy).problem
        return problem.replace(movable=np.ones(problem.guests, dtype=bool))

    @cached_property
    def anywhere(self) -> Formulation:
        """The formulation for guests that do not migrate but start: where they were before is no matter."""
        if not self.ledger:
            return self.formulation
        rules = self.formulation.rules.without(rule.name for rule in self.ledger)
        return formulate(self.cluster, rules, self.policy)

    def exemption(self, vmid: int, target: str) -> str:
        """The rule of the ledger that gave way so that a guest may go to a node; empty where none had to."""
        gone = (rule for rule in self.ledger if rule not in self.formulation.rules.items)
        return next((rule.name for rule in gone if vmid in rule.vmids and target not in rule.nodes), "")

    @cached_property
    def clash(self) -> Clash:
        """Why not all rules can hold, if that can be found."""
        seconds = min(self.clash_seconds, self.policy.time_limit)
        return clash.explain(self.formulation, seconds, self.policy.seed)


def prepare(
    cluster: Cluster, policy: Policy, settings: ClusterPolicy | None = None, apply: Apply | None = None,
    measured: Callable[[], Pace] | None = None,
) -> Case:  # fmt: skip
    """Read the rules and formulate the problem, once for all solvers."""
    settings = settings or ClusterPolicy()
    rules = read(cluster, settings)
    lately = ledger.rules(cluster, apply or Apply())
    asked = _asked(rules, lately)
    formulation = formulate(cluster, asked, policy)
    outcome = clash.give_way(formulation, policy.time_limit * SHARE, policy.seed)
    if outcome.rules is not asked:
        formulation = formulate(cluster, outcome.rules, policy)
    gave = outcome.given_up, outcome.proven
    return Case(cluster, policy, settings, rules, formulation, *gave, apply or Apply(), lately, measured)


def _asked(rules: Rules, lately: tuple[Rule, ...]) -> Rules:
    return rules.also(lately, ledger.notes(lately))
