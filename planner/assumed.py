"""Owns what a what-if assumes of rules and nodes that no answer of the API could say."""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Self

from planner.policy import Cluster as ClusterPolicy
from planner.policy import RuleSetting


@dataclass(frozen=True, slots=True)
class Assumed:
    """Beside the settings of the operator. Nothing of it: a cluster as it is."""

    drained: tuple[str, ...] = ()
    """Nodes in maintenance."""
    rules: tuple[RuleSetting, ...] = ()
    lifted: tuple[str, ...] = ()
    """Names, or patterns, of rules that do not hold."""
    steps: tuple[str, ...] = ()
    """What was assumed, in the words of the operator and in that order."""

    def to(self, settings: ClusterPolicy) -> ClusterPolicy:
        """The settings with what is assumed."""
        if not self.drained and not self.rules:
            return settings
        nodes = tuple(dict.fromkeys((*settings.maintenance_nodes, *self.drained)))
        return replace(settings, maintenance_nodes=nodes, rules=(*settings.rules, *self.rules))

    def lifts(self, rule: str) -> bool:
        """Whether a rule of that name does not hold."""
        return any(fnmatchcase(rule, pattern) for pattern in self.lifted)

    def also(
        self, step: str, *, drained: tuple[str, ...] = (), rules: tuple[RuleSetting, ...] = (),
        lifted: tuple[str, ...] = (),
    ) -> Self:  # fmt: skip
        """The same and one step more."""
        return replace(
            self, drained=(*self.drained, *drained), rules=(*self.rules, *rules), lifted=(*self.lifted, *lifted),
            steps=(*self.steps, step),
        )  # fmt: skip
