"""Owns the question where a guest could be: it, those that travel with it, and where a plan has all others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from planner import explain
from planner.demands import Demand
from planner.formulate import Formulation
from solvers import check
from solvers.check import Violation
from solvers.problem import PPM, Ints, Score

SAME = 0.005
"""Points of spread that cannot be seen."""


@dataclass(frozen=True, eq=False)
class Question:
    """A guest, and where a plan has all guests."""

    formulation: Formulation
    guest: int
    reached: Ints
    demands: Sequence[Demand] = ()

    @cached_property
    def bundle(self) -> Ints:
        """The guest and those that travel with it."""
        problem = self.formulation.problem
        return problem.bundles[int(problem.bundle_of[self.guest])]

    @property
    def home(self) -> int:
        """Where the guest is now."""
        return int(self.formulation.problem.origin[self.guest])

    @property
    def target(self) -> int:
        """Where the plan has it."""
        return int(self.reached[self.guest])

    def on(self, node: int) -> Ints:
        """The plan with the guest, and those that go along, on a node; itself where it has the guest there."""
        if node == self.target:
            return self.reached
        result = self.reached.copy()
        result[self.bundle] = node
        return result

    def spread(self, node: int) -> float:
        """Percentage points with the guest on a node; where nothing can change the load of some, over the others."""
        problem, there = self.formulation.problem, self.on(node)
        changeable = self.formulation.changeable(there)
        if changeable is not None:
            return problem.aims[0].value(changeable) * 100 / PPM
        loads, bundle = self.tables[1].copy(), self.bundle
        for sign, at in ((-1, self.reached[bundle]), (1, there[bundle])):
            for k, weights in enumerate(problem.weights(bundle, at)):
                np.add.at(loads[k], at, sign * weights)
        return problem.spread_of(loads) * 100 / PPM

    @cached_property
    def planned_spread(self) -> float:
        """Percentage points that the plan reaches."""
        return self.spread(self.target)

    @cached_property
    def tables(self) -> tuple[Ints, Ints]:
        """Load of each node per metric, in ppm, today and as the plan has it: (k, n) each."""
        problem = self.formulation.problem
        return problem.loads(problem.origin), problem.loads(self.reached)

    @cached_property
    def not_kept(self) -> frozenset[Violation]:
        """Rules that the plan itself newly breaks."""
        return frozenset(check.broken(self.formulation.problem, self.reached))

    @cached_property
    def left_broken(self) -> list[Violation]:
        """What the plan leaves broken."""
        return check.violations(self.formulation.problem, self.reached)

    @cached_property
    def all_is_well(self) -> bool:
        """Whether no rule is broken today: then what breaks none newly breaks none."""
        return not check.violations(self.formulation.problem, self.formulation.problem.origin)

    @cached_property
    def score(self) -> Score:
        """How good the plan is."""
        return check.score(self.formulation.problem, self.reached)

    def is_better_on(self, node: int) -> bool:
        """Whether a solver would prefer the plan with the guest on that node."""
        if self.spread(node) >= self.planned_spread + SAME and not self.left_broken:
            return False
        return check.score(self.formulation.problem, self.on(node)) < self.score

    def called(self, guest: int) -> str:
        """A guest as people call it."""
        return explain.guest(self.formulation, guest)


def about(formulation: Formulation, guest: int) -> Formulation:
    """The formulation less the rules about other guests: nothing that is asked here can change them."""
    problem = formulation.problem
    bundle = set(map(int, problem.bundles[int(problem.bundle_of[guest])]))
    together = [i for i, group in enumerate(problem.together) if bundle & {*group}]
    apart = [i for i, rule in enumerate(problem.apart) if bundle & {*rule.guests}]
    return replace(
        formulation,
        problem=problem.replace(
            together=tuple(problem.together[i] for i in together), apart=tuple(problem.apart[i] for i in apart)
        ),
        together=tuple(formulation.together[i] for i in together),
        apart=tuple(formulation.apart[i] for i in apart),
    )
