"""What the page on the model says is what the code does: its formulas, reckoned once more, agree with it.

`tests/reckon.py` has the formulas; here are those that are only true of what the code finds.
"""

import contextlib
import io
import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import floor
from pathlib import Path

import numpy as np
import pytest

import planner
import tests.packaged  # noqa: F401
from planner.case import prepare
from planner.collect import collect
from planner.history import History
from planner.knee import knee
from planner.policy import Lookback, Policy, Resource
from planner.survive import Failover
from solvers import bounds, check, pareto
from solvers.band import Band
from solvers.frontier import relaxed_bound
from solvers.problem import PPM, Apart, Level, Problem
from solvers.relax import Relaxation
from solvers.result import Budget
from solvers.stuck import beside_stuck, find_stuck
from tests.problems import random_problem
from tests.reckon import (
    RECKONED,
    Assignment,
    acceptable,
    come,
    counted_bound,
    crowded,
    elsewhere,
    leave,
    load,
    mean,
    migrated,
    mobile,
    on_page,
    overfull,
    score,
    spread,
    survived,
    torn,
    weight,
)  # fmt: skip
from tests.rows import node, snapshot, vm

PAGE = (Path(__file__).parents[1] / "docs" / "model.md").read_text()
FORMULAS = [formula.strip() for formula in re.findall(r"^```math\n(.*?)^```", PAGE, re.S | re.M)]
CODE = re.findall(r"^```python\n(.*?)^```.*?^```text\n(.*?)^```", PAGE, re.S | re.M)


def cluster(**changes: object) -> Problem:
    """The example of the page."""
    names: dict[str, object] = {}
    exec(CODE[0][0].split("apart =")[0], names)
    example = names["example"]
    assert isinstance(example, Problem)
    return example.replace(**changes)


def assignments(p: Problem) -> list[Assignment]:
    return [*product(range(p.nodes), repeat=p.guests)]


def test_each_formula_of_the_page_is_reckoned_here_and_no_other() -> None:
    assert Counter(FORMULAS) == Counter(RECKONED)


def test_the_example_prints_what_stands_below_it() -> None:
    ((code, expected),) = CODE
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == expected


def test_the_tables_of_the_example_are_right() -> None:
    example, today = cluster(), (0, 0, 0, 1, 1, 2)
    assert [load(example, today, 0, n) for n in range(3)] == [800_000, 450_000, 300_000]
    rows = re.findall(
        r"\*([abc])\* to pve3\S* \| \S*?(\d+)\S* \| \S*?(\d+)\S* \| \S*?(\d+)\S* \| \S*?(\d+)\S* \|", PAGE
    )
    assert [row[0] for row in rows] == ["a", "b", "c"]
    for name, *numbers in rows:
        after = tuple(2 if g == "abc".index(name) else at for g, at in enumerate(today))
        loads = [load(example, after, 0, n) for n in range(3)]
        assert [*loads, spread(example, after, 0)] == [int(number) * 10_000 for number in numbers]
    three = (0, 2, 1, 1, 0, 2)
    assert [load(example, three, 0, n) // 10_000 for n in range(3)] == [55, 50, 50]


def test_no_assignment_of_the_example_is_better_than_what_is_printed() -> None:
    for line in CODE[0][1].splitlines():
        most, _, plain, apart = line.split()
        for rules, said in ((), plain), ((Apart.of([1, 5]),), apart):
            limited = cluster(max_migrations=int(most), apart=rules)
            best = min(spread(limited, a, 0) for a in assignments(limited) if acceptable(limited, a))
            assert best == float(said) * 10_000


def test_loads_rules_limits_and_score_are_what_the_page_says() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(24):
        p = random_problem(seed, nodes=3, guests=4)
        p = p.replace(balanced=p.balanced | (np.arange(3) == 0))
        for a in assignments(p):
            at = np.array(a)
            assert p.loads(at).tolist() == [[load(p, a, k, n) for n in range(3)] for k in range(p.metrics)]
            assert p.spreads(at).tolist() == [spread(p, a, k) for k in range(p.metrics)]
            assert check.score(p, at) == score(p, a)
            assert (not check.broken(p, at)) == acceptable(p, a), (seed, a)
            broken = (count for count in (elsewhere, torn, crowded, overfull, acceptable) if count(p, a))
            kinds.update(count.__name__ for count in broken)
    assert len(kinds) == 5 and min(kinds.values()) > 50, kinds


def test_a_node_that_is_too_full_takes_nothing_even_where_more_leaves_it() -> None:
    p, outcomes = cluster(capacity=np.array([[50], [200], [200]])), set()
    for a in product(range(3), [0], [0], [1], range(3), range(3)):
        outcomes.add(acceptable(p, a))
        assert (not check.broken(p, np.array(a))) == acceptable(p, a), a
    assert outcomes == {True, False}


@on_page(
    r"b_{k,n} = \left\lfloor \frac{10^6 \, \left( \text{own}_{k,n} + \sum_{g : o(g) = n} d_{k,g} \right) "
    r"+ \lfloor A_{k,n} / 2 \rfloor}{A_{k,n}} \right\rfloor - \sum_{g : o(g) = n} w_{k,g,n}"
)
def test_the_base_makes_the_loads_of_today_exact() -> None:
    case = prepare(planner.demo(), Policy())
    p, nodes = case.formulation.problem, case.cluster.nodes.set_index("node")
    for n, name in enumerate(case.formulation.nodes):
        there, able = [g for g in range(p.guests) if p.origin[g] == n], int(p.ability[0, n])
        guests = sum(int(p.demand[0, g]) for g in there)
        own = max(0, int(nodes.loc[name, "memory_used_mib"]) - guests)
        whole = floor(Fraction(PPM * (own + guests) + able // 2, able))
        assert int(p.base[0, n]) == whole - sum(weight(p, 0, g, n) for g in there)
        assert int(p.loads(p.origin)[0, n]) == whole


@on_page(r"d_{k,g} = \text{round} \left( \frac{1}{|T_k|} \sum_{t \in T_k} \text{use}_g(t) \right)")
def test_a_period_is_the_mean_of_its_steps() -> None:
    used = [[(7 * g + t * t) % 400 for t in range(48)] for g in (1, 2, 3)]  # milli-CPU in each half hour of a day
    history = History(0.0, 1800, (1, 2, 3), (), {Resource.CPU: np.array(used, dtype=float)}, {})
    rows = [node("a"), node("b"), *(vm(i, "a", gib=1) for i in (1, 2, 3))]
    case = prepare(replace(collect(snapshot(*rows)), history=history), Policy((Resource.CPU,), window=Lookback.DAY))
    p = case.formulation.problem
    assert p.metrics == 24 and p.aims == (Level(tuple(range(24))),)
    for k, g in product(range(24), range(3)):
        assert int(p.demand[k, g]) == round(Fraction(used[g][2 * k] + used[g][2 * k + 1], 2))


@pytest.mark.parametrize("most", [0, 1, 2, 3, None])
def test_the_bound_by_counting_is_what_the_page_says_and_is_one(most: int | None) -> None:
    p = cluster(max_migrations=most, ability=np.array([[100, 80, 125]]))
    reached = min(spread(p, a, 0) for a in assignments(p) if acceptable(p, a))
    assert counted_bound(p) == bounds.spread_bound(p) <= reached


def test_the_bound_by_counting_knows_ignored_nodes_pins_and_guests_that_stay() -> None:
    ignored, fixed, proven = 0, 0, 0
    for seed in range(160):
        p = random_problem(seed, nodes=3, guests=4)
        p = p.replace(demand=p.demand[:1], ability=p.ability[:1], base=p.base[:1], levels=(), max_moved_mib=None)
        if p.balanced.sum() < 2:
            continue
        found = bounds.spread_bound(p)
        assert p.mean(0) == mean(p) and found == counted_bound(p), seed
        assert found <= min(spread(p, a, 0) for a in assignments(p) if acceptable(p, a)), seed
        ignored, fixed, proven = ignored + (not p.balanced.all()), fixed + (len(mobile(p)) < 4), proven + (found > 0)
    assert min(ignored, fixed, proven) > 10, (ignored, fixed, proven)


def test_counting_proves_of_the_example_what_the_page_says() -> None:
    one, heights = cluster(max_migrations=1), range(300_000, 800_001, 1_000)
    assert min(h for h in heights if leave(one, h) <= 1) == 450_000 == max(h for h in heights if come(one, h) <= 1)
    assert bounds.spread_bound(one) == 0
    assert bounds.spread_bound(cluster(max_migrations=0)) == 500_000


@on_page(
    r"\min \sum_{g} x_g",
    r"\sum_{g : o(g) = n} w_g x_g - \sum_{c} \text{light}_{c,n} \, y_{c,n} \geq \ell(n) - \text{high}",
    r"\sum_{c} \text{heavy}_{c,n} \, y_{c,n} - \sum_{g : o(g) = n} w_g x_g \geq \text{low} - \ell(n)",
    r"\sum_{g \in c} x_g = \sum_{n} y_{c,n}",
)
def test_the_relaxation_of_a_window_never_asks_for_more_migrations_than_it_takes() -> None:
    p = cluster()
    relaxation = Relaxation(p, 0)
    needed: dict[tuple[int, int], int] = {}
    for a in assignments(p):
        loads = [load(p, a, 0, n) for n in range(3)]
        window = min(loads), max(loads)
        needed[window] = min(needed.get(window, p.guests), len(migrated(p, a)))
    for window, migrations in [*needed.items()][::9]:
        assert relaxation.fewest(*window).toll <= migrations + 1e-6
    one = relaxed_bound(cluster(max_migrations=1), 5.0)
    assert f"proves {one / 10_000:.3f} of the 15" in " ".join(PAGE.split()) and one <= 150_000


@on_page(
    r"\Phi = \sum_{k} \sum_{n \in B} \max \left( \ell_k(n) - \text{high}_k, \; \text{low}_k - \ell_k(n), \; 0 \right)^2"
)
def test_the_potential_is_the_squares_of_what_loads_are_beyond_the_band() -> None:
    p, low, high = random_problem(8, nodes=3, guests=4), 100_000, 300_000
    loads = p.loads(p.origin)[:, p.balanced]
    band = Band(np.full(p.metrics, float(low)), np.full(p.metrics, float(high)))
    expected = sum(max(x - high, low - x, 0) ** 2 for row in loads.tolist() for x in row)
    assert float(band.beyond(loads.astype(float)).sum()) == expected > 0


@on_page(
    r"b^{*}_{k,n} = b_{k,n} + \mu_k - \ell_k(n) \quad (n \in S)",
    r"\mu_k = \left\lfloor \frac{\sum_{n \in B, \, n \notin S} A_{k,n} \, \ell_k(n)}"
    r"{\sum_{n \in B, \, n \notin S} A_{k,n}} \right\rfloor",
)
def test_the_load_of_a_stuck_node_is_shifted_to_the_mean_of_the_others() -> None:
    p = cluster(movable=np.array([False, False, False, True, True, True]), ability=np.array([[100, 80, 125]]))
    p = p.replace(eligibility=np.array([[False, True, True]]), capacity=np.full((3, 1), 200))
    (stuck,) = find_stuck(p).values()
    assert stuck.tolist() == [True, False, False]
    loads = [load(p, (0, 0, 0, 1, 1, 2), 0, n) for n in range(3)]
    middle = floor(Fraction(80 * loads[1] + 125 * loads[2], 205))
    beside = beside_stuck(p)
    assert beside.base[1].tolist() == [int(p.base[0, 0]) + middle - loads[0], *p.base[0, 1:].tolist()]
    for a in product([0], [0], [0], [1, 2], [1, 2], [1, 2]):
        others = [load(p, a, 0, n) for n in (1, 2)]
        within = min(others) <= middle <= max(others)
        assert not within or int(beside.spreads(np.array(a))[1]) == max(others) - min(others)


@on_page(
    r"\forall f \; \exists a_f : \quad a_f(g) = a(g) \; (g \notin P(f)), \quad a_f(g) \in B, \; a_f(g) \neq f, "
    r"\; E_{g,a_f(g)} = 1 \; (g \in P(f))"
)
def test_headroom_is_a_place_for_every_ha_guest_of_every_node() -> None:
    protected = np.array([True, True, False, True, False, True])
    found = set()
    for room in (70, 75, 80, 95, 100):
        p = cluster(capacity=np.full((3, 1), room), apart=(Apart.of([1, 5]),))
        for a in ((0, 0, 0, 1, 1, 2), (0, 2, 1, 1, 0, 2), (0, 1, 2, 1, 2, 2)):
            lost = {loss.node for loss in Failover(p, protected).losses(np.array(a))}
            assert lost == {f for f in range(3) if not survived(p, protected.tolist(), a, f)}
            found |= {len(lost)}
    assert len(found) > 1


@on_page(
    r"s^*(K + 1) \leq s^*(K)",
    r"\text{below}_i = 1 - \frac{s_i - s_{\text{last}}}{s_0 - s_{\text{last}}} "
    r"- \frac{K_i - K_0}{K_{\text{last}} - K_0}",
)
def test_a_larger_limit_is_never_worse_and_the_knee_is_furthest_below_the_line() -> None:
    example = cluster()
    front = pareto.by_migrations(example, 6, Budget(seconds=20))
    best = [point.spread for point in front.points]
    assert best == sorted(best, reverse=True) == [500_000, 150_000, 150_000, 50_000, 50_000, 50_000, 50_000]
    assert all(point.exact for point in front.points)
    falls = best[:4]  # the last point that still falls is the fourth
    below = [1 - Fraction(s - falls[-1], falls[0] - falls[-1]) - Fraction(i, 3) for i, s in enumerate(falls)]
    assert knee([*enumerate(best)]) == below.index(max(below)) == 1


def test_every_formula_becomes_mathml_with_nothing_left_over() -> None:
    from mathml import fence

    for formula in FORMULAS:
        shown = fence(formula, "math", "math", {}, None)
        assert shown.startswith('<p class="math"><math') and "\\" not in shown and "&<" not in shown, formula
