"""Owns the shape of made-up clusters, and its defaults."""

from dataclasses import dataclass

from planner.errors import InputError


@dataclass(frozen=True, slots=True)
class Shape:
    """The cluster that traces are mapped onto."""

    nodes: int = 16
    guests: int = 400
    seed: int = 0
    load: float = 0.6
    """Mean CPU load of all nodes over the time that is played."""
    skew: float = 0.3
    """How unevenly guests begin: 0: every node has as much memory in use; 1: down to nothing on one node."""
    begin_on: int | None = None
    """On how many nodes guests begin, the others being new and empty; None: on all."""
    follows: bool = False
    """Whether the memory that a guest uses follows its CPU, or is constant."""
    ha: float = 1.0
    """Part of the guests that the HA manager manages, so that it may balance them."""

    def __post_init__(self) -> None:
        within = {"load": (0.01, 10), "skew": (0, 1), "ha": (0, 1)}
        for name, (low, high) in within.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"a cluster with {name} {getattr(self, name):g}: it must be from {low:g} to {high:g}")
        if not 2 <= self.nodes <= 1000:
            raise InputError(f"a cluster with {self.nodes} nodes: from 2 to 1000 make sense")
        if self.guests < 1:
            raise InputError(f"a cluster with {self.guests} guests: it takes 1 at least")
        if self.begin_on is not None and not 1 <= self.begin_on <= self.nodes:
            raise InputError(f"guests that begin on {self.begin_on} of {self.nodes} nodes: from 1 to all make sense")
