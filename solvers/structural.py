"""Owns conflicts that counting shows, without a solver: each is a set of requirements that cannot hold together.

Such a set is sure to be impossible, but it may hold more requirements than the conflict needs.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from solvers.kin import Kin, tie
from solvers.problem import Apart, Bools, Ints, Problem
from solvers.requirement import Only, Requirement, Room, Together, Within

Some = Mapping[int, Requirement]
"""Requirements under their indices."""


def find(problem: Problem, some: Some) -> tuple[int, ...] | None:
    """A conflict that counting shows: among rules alone if possible, of few requirements; None: it shows none."""
    kin = tie(problem, some.values())
    for kind in KINDS:
        found = sorted((sorted(set(each)) for each in kind(kin, some)), key=len)
        if found:
            return tuple(found[0])
    return None


def _tying(kin: Kin, some: Some, kins: set[int]) -> list[int]:
    """What ties these kins and says where their guests may be."""
    return [
        index
        for index, each in some.items()
        if isinstance(each, Only | Together) and any(int(kin.of[guest]) in kins for guest in each.guests)
    ]


def _nowhere_alone(kin: Kin, some: Some) -> Iterator[list[int]]:
    """A guest that may be nowhere."""
    only = {index: each for index, each in some.items() if isinstance(each, Only)}
    alone = tie(kin.problem, only.values())
    for guest in np.flatnonzero(~alone.allowed.any(axis=1)).tolist():
        yield [index for index, each in only.items() if guest in each.guests]


def _nowhere(kin: Kin, some: Some) -> Iterator[list[int]]:
    """Guests to be together that have no node in common."""
    for each in np.flatnonzero(~kin.allowed.any(axis=1)).tolist():
        yield _tying(kin, some, {each})


def _crowded(kin: Kin, some: Some) -> Iterator[list[int]]:
    """More sides of an Apart than may share a domain are to be together."""
    for index, each in some.items():
        if isinstance(each, Apart):
            sides: dict[int, int] = {}
            for side in each.sides:
                for one in kin.named(side):
                    sides[one] = sides.get(one, 0) + 1
            for one, count in sides.items():
                if count > each.most:
                    yield [index, *_tying(kin, some, {one})]


def _too_few_domains(kin: Kin, some: Some) -> Iterator[list[int]]:
    """Sides of an Apart that all have to be in a few domains, more than these may hold (Hall's theorem)."""
    for index, each in some.items():
        if isinstance(each, Apart):
            chosen, reach = [], []
            for side in each.sides:
                options = [(_reach(kin, each, one), one) for one in kin.named(side)]
                if options:
                    domains, one = min(options, key=lambda option: (len(option[0]), option[1]))
                    chosen.append(one)
                    reach.append(domains)
            stuck = _unmatched(reach, each.most)
            if stuck:
                yield [index, *_tying(kin, some, {chosen[side] for side in stuck})]


def _reach(kin: Kin, apart: Apart, one: int) -> list[int]:
    return sorted({apart.domain(node) for node in np.flatnonzero(kin.allowed[one]).tolist()})


def _unmatched(reach: list[list[int]], most: int) -> set[int]:
    """Sides that cannot all have a domain of those they reach, `most` to each; none: all can (augmenting paths)."""
    holders: dict[int, list[int]] = {domain: [] for domains in reach for domain in domains}
    for start in range(len(reach)):
        wants: dict[int, tuple[int, int]] = {}  # side -> the domain it would give up, the side that wants that
        queue, tried = [start], set[int]()
        while queue:
            side = queue.pop(0)
            fresh = [domain for domain in reach[side] if domain not in tried]
            free = next((domain for domain in fresh if len(holders[domain]) < most), None)
            if free is not None:
                _shift(holders, wants, side, free)
                break
            tried.update(fresh)
            for domain in fresh:
                for other in holders[domain]:
                    if other not in wants:
                        wants[other] = (domain, side)
                        queue.append(other)
        else:
            return {start, *wants}
    return set()


def _shift(holders: dict[int, list[int]], wants: dict[int, tuple[int, int]], side: int, free: int) -> None:
    """Give a side a domain, and the one it had to the side that wants it, and so on."""
    holders[free].append(side)
    while side in wants:
        domain, other = wants[side]
        holders[domain].remove(side)
        holders[domain].append(other)
        side = other


def _rooms(kin: Kin, some: Some) -> tuple[dict[tuple[int, int], int], Ints]:
    """(node, resource) -> index of its Room; (n, r) what nodes have, very much where no Room asks."""
    index = {(each.node, each.resource): i for i, each in some.items() if isinstance(each, Room)}
    has = np.full(kin.problem.capacity.shape, np.iinfo(np.int64).max)
    for node, resource in index:
        has[node, resource] = kin.problem.capacity[node, resource]
    return index, has


def _no_node(kin: Kin, some: Some) -> Iterator[list[int]]:
    """A node that has less than nothing, or kin that no node has room for where it may be."""
    index, has = _rooms(kin, some)
    yield from ([index[int(node), int(r)]] for node, r in np.argwhere(has < 0))
    if not index:
        return
    fits = (kin.needs[:, None, :] <= has).all(axis=2)
    for one in np.flatnonzero(~(fits & kin.allowed).any(axis=1)).tolist():
        nodes = np.flatnonzero(kin.allowed[one])
        lacks = kin.needs[one] > has[nodes]
        rooms = [index[int(node), int(row.argmax())] for node, row in zip(nodes, lacks, strict=True)]
        yield [*rooms, *_tying(kin, some, {one})]


def _too_full(kin: Kin, some: Some) -> Iterator[list[int]]:
    """Nodes that have less than those kins need that may be nowhere else."""
    index, has = _rooms(kin, some)
    if not index:
        return
    areas, of, needs = _areas(kin)
    for area in areas:
        inside = ~(areas & ~area).any(axis=1)
        for r in range(has.shape[1]):
            nodes = np.flatnonzero(area).tolist()
            bound = all((node, r) in index for node in nodes)
            if bound and int(needs[inside, r].sum()) > int(kin.problem.capacity[area, r].sum()):
                kins = set(np.flatnonzero(inside[of] & (kin.needs[:, r] > 0)).tolist())
                yield [*(index[node, r] for node in nodes), *_tying(kin, some, kins)]


def _areas(kin: Kin) -> tuple[Bools, Ints, Ints]:
    """(a, n) the sets of nodes where kins may be, and all nodes; which is each kin's; (a, r) their needs."""
    everywhere = np.ones((1, kin.problem.nodes), dtype=bool)
    packed = np.ascontiguousarray(np.packbits(np.vstack([kin.allowed, everywhere]), axis=1))
    rows = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()  # as whole rows they are sorted fast
    _, first, of = np.unique(rows, return_index=True, return_inverse=True)
    needs = np.zeros((len(first), kin.needs.shape[1]), dtype=np.int64)
    np.add.at(needs, of[:-1], kin.needs)
    return np.vstack([kin.allowed, everywhere])[first], of[:-1].astype(np.int64), needs


def _too_far(kin: Kin, some: Some) -> Iterator[list[int]]:
    """More migrations, or MiB, than a limit allows are needed to have every kin where it may be."""
    for index, each in some.items():
        if isinstance(each, Within):
            for limit, cost in ((each.migrations, kin.away), (each.mib, kin.mib)):
                least = np.where(kin.allowed, cost, np.iinfo(np.int64).max).min(axis=1, initial=np.iinfo(np.int64).max)
                if limit is not None and int(least.sum()) > limit:
                    yield [index, *_tying(kin, some, set(np.flatnonzero(least).tolist()))]


KINDS: tuple[Callable[[Kin, Some], Iterator[list[int]]], ...] = (
    _nowhere_alone, _nowhere, _crowded, _too_few_domains, _no_node, _too_full, _too_far,
)  # fmt: skip
"""Kinds of conflicts, those among rules alone first."""
