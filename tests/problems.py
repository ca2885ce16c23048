"""Owns the small random problems that the solvers are tested on: every feature, in every combination."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from solvers.problem import Apart, Cost, Level, Problem

MAX_NODES = 4
MAX_GUESTS = 7


def random_problem(seed: int, nodes: int | None = None, guests: int | None = None) -> Problem:
    """A problem drawn from a seed: today's rules may be broken, nodes overfull, groups contradictory."""
    rng = Random(seed)
    n = nodes if nodes is not None else rng.choice([1, 2, 3, 3, 3, 3, 4, 4, 4])
    g = guests if guests is not None else rng.choice([0, 2, 3, 4, 4, 5, 5, 6, 6, 7])
    k, r = rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 2])
    origin = [rng.randrange(n) for _ in range(g)]
    needs = [[rng.choice([0, rng.randint(1, 9), rng.randint(1, 20)]) for _ in range(r)] for _ in range(g)]
    step = rng.choice([1, 1, 10])  # coarse demands make ties
    eligibility, eligible = _classes(rng, n, g)
    copy_mib = [rng.choice([0, 1, rng.randint(1, 90)]) for _ in range(g)]
    return Problem(
        origin=np.array(origin, dtype=np.int64),
        needs=np.array(needs, dtype=np.int64).reshape(g, r),
        capacity=np.array(_capacity(rng, n, r, origin, needs), dtype=np.int64).reshape(n, r),
        demand=np.array([[step * rng.randint(0, 40 // step) for _ in range(g)] for _ in range(k)]).reshape(k, g),
        ability=_ability(rng, k, n),
        base=np.array([[rng.choice([0, 0, rng.randint(-9_000, 400_000)]) for _ in range(n)] for _ in range(k)]),
        balanced=np.array([rng.random() > rng.choice([0, 0, 0.3]) for _ in range(n)]),
        eligibility=eligibility,
        eligible=eligible,
        copy_mib=np.array(copy_mib, dtype=np.int64),
        movable=np.array([rng.random() > 0.1 for _ in range(g)], dtype=bool),
        together=_groups(rng, g),
        apart=tuple(_apart(Random(f"{seed} {i}"), group, n, g) for i, group in enumerate(_groups(rng, g))),
        max_migrations=rng.choice([None, None, None, None, 0, 1, 2, 3, 4, g]),
        tolerance=rng.choice([0, 0, rng.randint(0, 300_000)]),
        goal=rng.choice([0, 0, 0, rng.randint(1, 300_000)]),
        max_moved_mib=rng.choice([None, None, None, 0, rng.randint(0, sum(copy_mib)), rng.randint(0, sum(copy_mib))]),
        levels=_levels(rng, k),
        prefer=rng.choice(list(Cost)),
    )


def problems(nodes: int = MAX_NODES, guests: int = MAX_GUESTS) -> st.SearchStrategy[Problem]:
    """Random problems of at most so many nodes and guests; hypothesis shrinks the numbers of both."""
    seeds = st.integers(0, 10**6)
    return st.builds(random_problem, seeds, nodes=st.integers(1, nodes), guests=st.integers(0, guests))


def cluster(seed: int, nodes: int, guests: int, limit: int | None) -> Problem:
    """A mid-size cluster that keeps its rules today: unequal nodes, pins, groups, one node to be drained."""
    rng = np.random.default_rng(seed)
    ability = rng.choice([256, 384, 512], size=nodes) * 1024
    memory = (2 ** rng.integers(1, 6, size=guests)) * 512 + rng.integers(0, 512, size=guests)
    origin = rng.choice(nodes, size=guests, p=ability / ability.sum())
    eligibility = np.ones((3, nodes), dtype=bool)
    eligibility[0, -1] = False
    eligibility[1, nodes // 2 :] = False
    eligibility[2, : nodes // 2] = eligibility[2, -1] = False
    eligible = np.where(rng.random(guests) < 0.8, 0, np.where(origin < nodes // 2, 1, 2))
    picked = iter(rng.permutation(guests).tolist())
    groups = [tuple(sorted(next(picked) for _ in range(3))) for _ in range(10)]
    return Problem(
        origin=origin, needs=memory[:, None], capacity=ability[:, None], demand=memory[None], ability=ability[None],
        base=np.zeros((1, nodes), dtype=np.int64), balanced=np.arange(nodes) < nodes - 1, eligibility=eligibility,
        eligible=eligible, copy_mib=memory, movable=rng.random(guests) > 0.05, together=tuple(groups[:4]),
        apart=tuple(map(Apart.of, groups[4:])), max_migrations=limit,
    )  # fmt: skip


def by_node(memory: Sequence[Sequence[int]], **changes: Any) -> Problem:
    """A cluster to follow by hand: nodes of 100 with room for all, the sizes of the guests on each, and no rules."""
    sizes, n = np.array([size for row in memory for size in row], dtype=np.int64), len(memory)
    g = len(sizes)
    fields: dict[str, Any] = {
        "origin": np.repeat(np.arange(n), [len(row) for row in memory]), "needs": sizes[:, None],
        "capacity": np.full((n, 1), 1_000), "demand": sizes[None], "ability": np.full((1, n), 100),
        "base": np.zeros((1, n)), "balanced": np.ones(n, dtype=bool), "eligibility": np.ones((1, n), dtype=bool),
        "eligible": np.zeros(g), "copy_mib": sizes, "movable": np.ones(g, dtype=bool),
    }  # fmt: skip
    return Problem(**(fields | changes))


def _capacity(rng: Random, n: int, r: int, origin: list[int], needs: list[list[int]]) -> list[list[int]]:
    """What each node holds: mostly more than it has today, sometimes less, exactly as much, or nothing."""
    used = [[sum(need[i] for need, at in zip(needs, origin, strict=True) if at == node) for i in range(r)]
            for node in range(n)]  # fmt: skip
    slack, tight = rng.choice([10, 30, 60, 200]), rng.choice([0, 0, 0, 20])
    return [[max(0, amount + rng.choice([slack, rng.randint(0, slack), rng.randint(-tight, 5)])) for amount in row]
            for row in used]  # fmt: skip


def _ability(rng: Random, k: int, n: int) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    same = rng.random() < 0.4
    row = [100 if same else rng.randint(60, 200) for _ in range(n)]
    return np.array([row if same else [max(1, x + rng.randint(-20, 20)) for x in row] for _ in range(k)])


def _classes(
    rng: Random, n: int, g: int
) -> tuple["np.ndarray[tuple[int, int], np.dtype[np.bool_]]", "np.ndarray[tuple[int], np.dtype[np.int64]]"]:
    """Eligibility classes: free, pinned to some nodes, nowhere; under maintenance a node is nobody's."""
    table = np.ones((rng.choice([1, 2, 3]), n), dtype=bool)
    for row in table[1:]:
        row[:] = [rng.random() < 0.7 for _ in range(n)]
    if rng.random() < 0.2:
        table[:, rng.randrange(n)] = False
    return table, np.array([rng.choice([0, 0, 0, rng.randrange(len(table))]) for _ in range(g)], dtype=np.int64)


def _groups(rng: Random, g: int) -> tuple[tuple[int, ...], ...]:
    """Groups, overlapping as it happens."""
    count = rng.choice([0, 0, 0, 1, 1, 2])
    return tuple(tuple(rng.sample(range(g), rng.randint(min(g, 1), min(g, 4)))) for _ in range(count))


def _apart(rng: Random, group: tuple[int, ...], n: int, g: int) -> Apart:
    """No two of the group on a node, or a rule of any kind: sides of several guests, two of them at most, racks."""
    if rng.random() < 0.4:
        return Apart.of(group)
    sides = tuple((guest,) for guest in group)
    if rng.random() < 0.6:
        guests = rng.sample(range(g), g)
        cuts = sorted(rng.sample(range(1, g), min(g - 1, rng.randint(1, 3)))) if g else []
        sides = tuple(tuple(guests[a:b]) for a, b in pairwise([0, *cuts]))
    domains = tuple(rng.choice([3, 7]) for _ in range(n)) if rng.random() < 0.4 else ()
    return Apart(sides, rng.choice([1, 1, 2]), domains)


def _levels(rng: Random, k: int) -> tuple[Level, ...]:
    """No levels, or every metric in one or two of them, weighted or not, some named again later."""
    if rng.random() < 0.4:
        return ()
    metrics = rng.sample(range(k), k)
    cut = rng.randint(1, k)
    parts = [metrics[:cut], metrics[cut:], rng.sample(metrics, rng.randint(0, k))]
    weights = [tuple(rng.randint(1, 9) for _ in part) if rng.random() < 0.5 else () for part in parts]
    return tuple(Level(tuple(part), given) for part, given in zip(parts, weights, strict=True) if part)
