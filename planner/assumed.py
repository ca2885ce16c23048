"""Owns what a what-if assumes of rules and nodes that no answer of the API could say."""

from collections.abc import Iterable
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
    gone: tuple[str, ...] = ()
    """Nodes that are no more, or are about to go: what rules and settings say of them has no effect."""
    steps: tuple[str, ...] = ()
    """What was assumed, in the words of the operator and in that order."""

    def to(self, settings: ClusterPolicy) -> ClusterPolicy:
        """The settings with what is assumed."""
        if not self.drained and not self.rules and not self.gone:
            return settings
        left = self._without_gone(replace(settings, rules=(*settings.rules, *self.rules)))
        return replace(left, maintenance_nodes=tuple(dict.fromkeys((*left.maintenance_nodes, *self.drained))))

    def _without_gone(self, settings: ClusterPolicy) -> ClusterPolicy:
        """The settings without the nodes that are gone; a pin that names no other has no effect."""

        def left(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(name for name in names if name not in self.gone)

        return replace(
            settings,
            maintenance_nodes=left(settings.maintenance_nodes),
            scheduled_maintenance=tuple(w for w in settings.scheduled_maintenance if w.node not in self.gone),
            ignore_nodes=left(settings.ignore_nodes),
            domains={kind: {n: label[n] for n in left(label)} for kind, label in settings.domains.items()},
            pools={name: replace(pool, pin=left(pool.pin)) for name, pool in settings.pools.items()
                   if pool.type or left(pool.pin) or not pool.pin},
            rules=tuple(replace(r, nodes=left(r.nodes)) for r in settings.rules if left(r.nodes) or not r.nodes),
        )  # fmt: skip

    def lifts(self, rule: str) -> bool:
        """Whether a rule of that name does not hold."""
        return any(fnmatchcase(rule, pattern) for pattern in self.lifted)

    def also(
        self, step: str, *, drained: tuple[str, ...] = (), rules: tuple[RuleSetting, ...] = (),
        lifted: tuple[str, ...] = (), gone: tuple[str, ...] = (),
    ) -> Self:  # fmt: skip
        """The same and one step more."""
        return replace(
            self, drained=(*self.drained, *drained), rules=(*self.rules, *rules), lifted=(*self.lifted, *lifted),
            gone=(*self.gone, *gone), steps=(*self.steps, step),
        )  # fmt: skip
