"""Owns what counting says of how many nodes can be empty: what the others can hold, and take over when one fails."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from solvers.problem import Bools, Ints, Problem


@dataclass(frozen=True, eq=False)
class Wish:
    """Nodes are to be emptied so that they can be switched off: as many as possible, with the fewest migrations.

    What is acceptable for the problem is acceptable here; its spread, goal and levels do not matter.
    """

    problem: Problem
    candidates: Bools
    """(n,) balanced nodes that may be switched off, if they are empty."""
    keep: int
    """So many balanced nodes stay on, at least."""
    protected: Bools
    """(g,) guests that start on other nodes when theirs fails, whichever single one of those that stay on that is;
    other guests stay where they are. None: no headroom is asked for."""
    starting: Problem
    """The same problem with the nodes on which guests may start."""

    @property
    def most(self) -> int:
        """Nodes that can be off at most, by what is asked for."""
        return max(0, min(int(self.candidates.sum()), int(self.problem.balanced.sum()) - self.keep))


class Limit(StrEnum):
    """Why no more nodes can be empty, where that is simple."""

    NONE = "none"
    """It is not: more than counting was needed."""
    CANDIDATES = "candidates"
    """All that may be switched off are."""
    KEEP = "keep"
    """As many stay on as have to."""
    ROOM = "room"
    """The others could not hold all guests."""
    HEADROOM = "headroom"
    """The others could not hold all guests and take over those of one of them."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Proven: so many nodes can be empty at most."""

    most: int
    limit: Limit
    resource: int = -1
    """The capacity resource of which there is too little, for room and headroom."""


def counted(wish: Wish) -> Counted:
    """The least of what candidates, those that have to stay on, and each capacity resource allow."""
    most, asked = int(wish.candidates.sum()), wish.most
    best = Counted(asked, Limit.KEEP if asked < most else Limit.CANDIDATES)
    for resource in range(wish.problem.capacity.shape[1]):
        for limit in (Limit.ROOM, Limit.HEADROOM) if wish.protected.any() else (Limit.ROOM,):
            room = _off(wish, resource, headroom=limit is Limit.HEADROOM)
            if room < best.most:
                best = Counted(room, limit, resource)
    return best


def room(problem: Problem) -> Ints:
    """(n, r) what each node can hold in an acceptable assignment: one that is overfull may stay so."""
    return np.maximum(problem.capacity, problem.usage(problem.origin))


def _off(wish: Wish, resource: int, *, headroom: bool) -> int:
    """Nodes that can be off by one resource, if those that have least of it are."""
    problem, space = wish.problem, room(wish.problem)[:, resource]
    needs = np.where(bound_to(problem), problem.needs[:, resource], 0)
    taken = int(needs.sum())
    again = int(needs[wish.protected].sum()) if headroom else 0
    always = problem.balanced & ~wish.candidates
    holds, nodes = int(space[always].sum()), int(always.sum())
    sizes = np.sort(space[wish.candidates])[::-1].tolist()
    for on, size in enumerate([0, *sizes]):
        holds += size
        # The guests of each node fit into what is free on the others: summed up over all nodes.
        if holds >= taken and (holds - taken) * max(0, nodes + on - 1) >= again:
            return len(sizes) - on
    return 0


def bound_to(problem: Problem) -> Bools:
    """(g,) guests that are on some balanced node, wherever they are."""
    may = problem.eligibility[problem.eligible] & problem.movable[:, None]
    return np.asarray(~(may & ~problem.balanced).any(axis=1) & problem.balanced[problem.origin], dtype=np.bool_)
