"""Owns the formulas of docs/model.md as plain Python with fractions, which share nothing with what they are about.

A formula and the function that reckons it are held together by the formula's text: see `tests/test_model_page.py`.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import product
from math import floor, inf
from typing import TypeVar

from solvers.problem import Apart, Cost, Level, Problem

PPM = 10**6
RECKONED: list[str] = []
"""Formulas of the page that are reckoned, here or in a test."""
Assignment = tuple[int, ...]
Reckon = TypeVar("Reckon", bound=Callable[..., object])


def on_page(*formulas: str) -> Callable[[Reckon], Reckon]:
    """Marks what reckons formulas of the page, or compares them with the code."""

    def mark(function: Reckon) -> Reckon:
        RECKONED.extend(formulas)
        return function

    return mark


@on_page(r"w_{k,g,n} = \left\lfloor \frac{10^6 \, d_{k,g} + \lfloor A_{k,n} / 2 \rfloor}{A_{k,n}} \right\rfloor")
def weight(p: Problem, k: int, g: int, n: int) -> int:
    able = int(p.ability[k, n])
    return floor(Fraction(PPM * int(p.demand[k, g]) + floor(Fraction(able, 2)), able))


@on_page(r"\ell_k(n) = b_{k,n} + \sum_{g : a(g) = n} w_{k,g,n}")
def load(p: Problem, a: Assignment, k: int, n: int) -> int:
    return int(p.base[k, n]) + sum(weight(p, k, g, n) for g, at in enumerate(a) if at == n)


def counted(p: Problem) -> list[int]:
    return [n for n in range(p.nodes) if p.balanced[n]]


@on_page(r"s_k = \max_{n \in B} \ell_k(n) - \min_{n \in B} \ell_k(n)")
def spread(p: Problem, a: Assignment, k: int) -> int:
    loads = [load(p, a, k, n) for n in counted(p)]
    return max(loads) - min(loads)


@on_page(
    r"v_L = \max_{k \in L} s_k",
    r"v_L = \left\lfloor \frac{\sum_{k \in L} \omega_k \, s_k}{\sum_{k \in L} \omega_k} \right\rfloor",
)
def value(p: Problem, a: Assignment, level: Level) -> int:
    spreads = [spread(p, a, k) for k in level.metrics]
    if not level.weights:
        return max(spreads)
    return floor(Fraction(sum(w * s for w, s in zip(level.weights, spreads, strict=True)), sum(level.weights)))


@on_page(r"V_1 = \left| \left\{ g : E_{g,a(g)} = 0 \right\} \right|")
def elsewhere(p: Problem, a: Assignment) -> int:
    return sum(not p.eligibility[p.eligible[g], at] for g, at in enumerate(a))


@on_page(r"V_2 = \sum_{G} \left( \left| \left\{ a(g) : g \in G \right\} \right| - 1 \right)")
def torn(p: Problem, a: Assignment) -> int:
    return sum(len({a[g] for g in group}) - 1 for group in p.together if group)


def domains(p: Problem, rule: Apart) -> list[set[int]]:
    names = rule.domains or tuple(range(p.nodes))
    return [{n for n in range(p.nodes) if names[n] == name} for name in sorted(set(names))]


@on_page(
    r"V_3 = \sum_{R} \sum_{D} \max \left( 0, \left| \left\{ S \in R : a(S) \cap D \neq \emptyset \right\} \right| "
    r"- \text{most}_R \right)"
)
def crowded(p: Problem, a: Assignment) -> int:
    return sum(
        max(0, sum(bool({a[g] for g in side} & domain) for side in rule.sides) - rule.most)
        for rule in p.apart
        for domain in domains(p, rule)
    )


def taken(p: Problem, a: Assignment, n: int, r: int) -> int:
    return sum(int(p.needs[g, r]) for g, at in enumerate(a) if at == n)


def pairs(p: Problem) -> Iterator[tuple[int, int]]:
    return product(range(p.nodes), range(p.capacity.shape[1]))


@on_page(r"V_4 = \left| \left\{ (n, r) : \sum_{g : a(g) = n} q_{g,r} > C_{n,r} \right\} \right|")
def overfull(p: Problem, a: Assignment) -> int:
    return sum(taken(p, a, n, r) > p.capacity[n, r] for n, r in pairs(p))


def migrated(p: Problem, a: Assignment) -> list[int]:
    return [g for g, at in enumerate(a) if at != p.origin[g]]


@on_page(r"\left| \left\{ g : a(g) \neq o(g) \right\} \right| \leq K", r"\sum_{g : a(g) \neq o(g)} c_g \leq Q")
def within_limits(p: Problem, a: Assignment) -> bool:
    most, mib = (inf if limit is None else limit for limit in (p.max_migrations, p.max_moved_mib))
    return len(migrated(p, a)) <= most and sum(int(p.copy_mib[g]) for g in migrated(p, a)) <= mib


def acceptable(p: Problem, a: Assignment) -> bool:
    """The five constraints of the page."""
    today = tuple(map(int, p.origin))
    places = all(p.movable[g] and p.eligibility[p.eligible[g], a[g]] for g in migrated(p, a))
    together = all(a[g] == a[h] for group in p.together for g in group for h in group if today[g] == today[h])
    room = all(
        taken(p, a, n, r) <= p.capacity[n, r]
        or (taken(p, a, n, r) <= taken(p, today, n, r) and not any(p.needs[g, r] for g in migrated(p, a) if a[g] == n))
        for n, r in pairs(p)
    )
    return places and together and room and all(_may_crowd(p, a, rule) for rule in p.apart) and within_limits(p, a)


def _may_crowd(p: Problem, a: Assignment, rule: Apart) -> bool:
    """Constraint 3: too many sides in a domain come from one domain today."""
    all_domains = domains(p, rule)
    for domain in all_domains:
        there = [g for g in rule.guests if a[g] in domain]
        sides = sum(any(g in there for g in side) for side in rule.sides)
        if sides > rule.most and sum(any(p.origin[g] in home for g in there) for home in all_domains) > 1:
            return False
    return True


@on_page(
    r"\text{score} = \left( V, \; \max(v_1, \text{goal}), \; \max(v_2, \text{goal}), \; \ldots, \; \text{cost} \right)"
)
def score(p: Problem, a: Assignment) -> tuple[int, int, tuple[int, ...], tuple[int, int]]:
    first, *later = (max(value(p, a, level), p.goal) for level in p.aims)
    cost = (sum(int(p.copy_mib[g]) for g in migrated(p, a)), len(migrated(p, a)))
    violations = elsewhere(p, a) + torn(p, a) + crowded(p, a) + overfull(p, a)
    return violations, first, tuple(later), cost if p.prefer is Cost.MIB else (cost[1], cost[0])


@on_page(r"\text{mobile} = \left\{ g : m_g = 1, \; \exists n \neq o(g) : E_{g,n} = 1 \right\}")
def mobile(p: Problem) -> list[int]:
    return [g for g in range(p.guests) if p.movable[g] and any(may_be(p, g, n) for n in others(p, g))]


def may_be(p: Problem, g: int, n: int) -> bool:
    return bool(p.eligibility[p.eligible[g], n])


def others(p: Problem, g: int) -> list[int]:
    return [n for n in range(p.nodes) if n != p.origin[g]]


def fewest(sizes: Iterable[int], amount: int) -> float:
    """The smallest number of sizes, the largest first, that come to an amount."""
    total = 0
    for j, size in enumerate(sorted(sizes, reverse=True), 1):
        total += size
        if total >= amount:
            return j
    return inf


@on_page(
    r"\text{leave}(h) = \sum_{n \in B, \; \ell(n) > h} \min \left\{ j : \text{the } j "
    r"\text{ largest mobile weights on } n \text{ are at least } \ell(n) - h \right\}"
)
def leave(p: Problem, h: int) -> float:
    today = tuple(map(int, p.origin))
    over = [n for n in counted(p) if load(p, today, 0, n) > h]
    return sum(fewest([weight(p, 0, g, n) for g in mobile(p) if today[g] == n], load(p, today, 0, n) - h) for n in over)


@on_page(
    r"\text{come}(h) = \sum_{n \in B, \; \ell(n) < h} \min \left\{ j : \text{the } j \text{ largest arrivals on } n "
    r"\text{ are at least } h - \ell(n) \right\}"
)
def come(p: Problem, h: int) -> float:
    today = tuple(map(int, p.origin))
    under = [n for n in counted(p) if load(p, today, 0, n) < h]
    may_come = {n: [g for g in mobile(p) if today[g] != n and may_be(p, g, n)] for n in under}
    each = sum(fewest([weight(p, 0, g, n) for g in may_come[n]], h - load(p, today, 0, n)) for n in under)
    able = [int(p.ability[0, n]) for n in counted(p)]
    lack = sum(2 * int(p.ability[0, n]) * (h - load(p, today, 0, n)) for n in under)
    demands = [int(p.demand[0, g]) for g in mobile(p)]
    return max(each, fewest([2 * PPM * d + max(able) for d in demands if d], lack) if under else 0)


@on_page(
    r"G_B = \left\{ g : o(g) \in B \right\} \cup \left\{ g : m_g = 1, \; \exists n \in B : E_{g,n} = 1 \right\}",
    r"\text{mean} = \left\lfloor \frac{10^6 \sum_{g \in G_B} d_g + \sum_{n \in B} A_n \, b_n "
    r"+ |G_B| \, \max_{n \in B} A_n}{\sum_{n \in B} A_n} \right\rfloor + 1",
)
def mean(p: Problem) -> int:
    on = counted(p)
    may = [g for g in range(p.guests) if p.origin[g] in on or (p.movable[g] and any(may_be(p, g, n) for n in on))]
    able, base = ([int(row[0, n]) for n in on] for row in (p.ability, p.base))
    whole = PPM * sum(int(p.demand[0, g]) for g in may) + sum(a * b for a, b in zip(able, base, strict=True))
    return floor(Fraction(whole + len(may) * max(able), sum(able))) + 1


@on_page(
    r"\text{bound} = \max \left( 0, \; \min \left\{ h : \text{leave}(h) \leq K \right\} "
    r"- \max \left\{ h \leq \text{mean} : \text{come}(h) \leq K \right\} \right)"
)
def counted_bound(p: Problem) -> int:
    most = p.guests if p.max_migrations is None else p.max_migrations
    loads = [load(p, tuple(map(int, p.origin)), 0, n) for n in counted(p)]
    # The higher a load, the less has to leave and the more has to come: so halving finds the last that is allowed.
    down, up = range(int(p.base[0].min()), max(loads) + 1), range(min(loads), max(*loads, mean(p)) + 1)
    lowest = down[bisect_left(down, True, key=lambda h: leave(p, h) <= most)]
    highest = up[bisect_left(up, True, key=lambda h: h > mean(p) or come(p, h) > most) - 1]
    return max(0, lowest - highest)


def survived(p: Problem, protected: list[bool], a: Assignment, f: int) -> bool:
    homeless = [g for g, at in enumerate(a) if at == f and protected[g]]
    for places in product([n for n in counted(p) if n != f], repeat=len(homeless)):
        there = {g: at for g, at in enumerate(a) if at != f} | dict(zip(homeless, places, strict=True))
        used = [sum(int(p.needs[g, 0]) for g, at in there.items() if at == n) for n in range(p.nodes)]
        apart = all(there[g] != there[h] for rule in p.apart for g in rule.guests for h in rule.guests
                    if g < h and {g, h} <= {*there} and {g, h} & {*homeless})  # fmt: skip
        if apart and all(used[n] <= p.capacity[n, 0] for n in set(places)):
            return True
    return False
