"""Claims about targets that are hard to get to: held against a search of every order, with and without stops."""

from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest

from planner.errors import InputError
from planner.schedule import schedule
from solvers import check
from solvers.check import Rule
from solvers.problem import PPM, Ints, Level, Problem
from tests.draw_full import jammed
from tests.scenario import parse
from tests.test_schedule_random import case_of
from tests.ways import Ways

STOPS = 0.95
"""Part of the targets in reach with a stop each that are reached: with more than three not all orders are tried."""


def _target(problem: Problem, rng: Random) -> Ints:
    """Any that breaks nothing."""
    now = problem.origin.copy()
    for _ in range(30):
        then = now.copy()
        some = rng.sample(range(len(problem.bundles)), min(len(problem.bundles), rng.choice([1, 2, 2, 3])))
        nodes = [now[problem.bundles[bundle][0]] for bundle in some]
        for bundle, node in zip(some, nodes[1:] + nodes[:1], strict=True):
            then[problem.bundles[bundle]] = node if len(some) > 1 else rng.randrange(problem.nodes)
        now = now if check.broken(problem, then) else then
    return now


def _wanted(problem: Problem, target: Ints) -> Problem:
    """The problem in which every guest that gets to its target is a gain."""
    guests = problem.migrated(target)
    demand, ability = np.zeros((len(guests), problem.guests)), np.ones((len(guests), problem.nodes))
    demand[range(len(guests)), guests], ability[range(len(guests)), target[guests]] = 1, PPM * PPM
    level = Level(tuple(range(len(guests))), (1,) * len(guests))
    return problem.replace(
        demand=demand.astype(np.int64), ability=ability.astype(np.int64),
        base=np.zeros(ability.shape, dtype=np.int64), levels=(level,), balanced=np.ones(problem.nodes, dtype=bool),
    )  # fmt: skip


def compared(seed: int, directory: Path, shown: Counter[str]) -> list[str]:
    """What is wrong with how a random target on a small full cluster is reached."""
    rng, scenario = Random(f"ways {seed}"), jammed(seed)
    try:
        formulation = case_of(scenario, directory).formulation
    except InputError:
        return []
    target = _target(formulation.problem, rng)
    crowded = any(item.rule is Rule.APART for item in check.violations(formulation.problem, target))
    if crowded or not len(formulation.problem.migrated(target)):  # no guest is migrated to where it breaks a rule
        return []
    reach = schedule(_wanted(formulation.problem, target), target)
    vmids = [int(vmid) for vmid in formulation.guests["vmid"]]
    wanted = {vmid: formulation.nodes[node] for vmid, node in zip(vmids, target, strict=True)}
    ways = Ways(scenario, wanted)
    stops = any(leg.bypass for leg in reach.legs)
    legs = [(tuple(vmids[g] for g in leg.guests), formulation.nodes[leg.target]) for leg in reach.legs]
    shown["targets"] += 1
    led = ways.leads_there(legs)
    if led != (not reach.stranded):
        return [f"{seed}: {legs} does not lead there"]
    if led and not stops:
        shown["straight"] += 1
        shown["reached straight"] += 1
    elif ways.direct():
        shown["straight"] += 1
        shown["reached straight"] += led
        shown["needless stops"] += led
    elif ways.with_stops():
        shown["with a stop each"] += 1
        shown["reached with stops"] += led
    else:
        shown["in some other way"] += ways.anyhow()
        return [f"{seed}: there is no way, but {legs}"] if led else []
    return []


@pytest.mark.parametrize(
    ("first", "cases"), [(0, 120), pytest.param(0, 3000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_targets_in_reach_are_reached_and_no_others(first: int, cases: int, tmp_path: Path) -> None:
    shown = Counter[str]()
    assert [line for seed in range(first, first + cases) for line in compared(seed, tmp_path, shown)] == []
    print(dict(shown))
    assert shown["reached straight"] == shown["straight"] > 0 and not shown["needless stops"]
    assert shown["reached with stops"] >= STOPS * shown["with a stop each"] > 0


# The judge


CYCLE = """
behaviour: a cycle
nodes: {a: 10, b: 10, c: 10}
guests:
  1: {on: a, memory: 8}
  2: {on: b, memory: 8}
  3: {on: c, memory: 2}
expect: {status: no_action}
"""
FULL = CYCLE.replace("c: 10", "c: 9")
ASTRAY = CYCLE.replace("expect", "settings: {cluster: {rules: [{name: r, avoid: ['1', '2'], nodes: [c]}]}}\nexpect")


@pytest.mark.parametrize(
    ("text", "target", "direct", "with_stops", "anyhow"),
    [
        (CYCLE, {1: "b", 2: "a", 3: "c"}, False, True, True),
        (CYCLE, {1: "a", 2: "b", 3: "a"}, True, True, True),
        (FULL, {1: "b", 2: "a", 3: "c"}, False, False, True),
        (ASTRAY, {1: "b", 2: "a", 3: "c"}, False, False, False),
    ],
)
def test_every_order_is_tried(text: str, target: dict[int, str], direct: bool, with_stops: bool, anyhow: bool) -> None:
    ways = Ways(parse(text), target)
    assert (ways.direct(), ways.with_stops(), ways.anyhow()) == (direct, with_stops, anyhow)


@pytest.mark.parametrize(
    ("legs", "leads"),
    [
        ([((1,), "c"), ((2,), "a"), ((1,), "b")], True),
        ([((1,), "b"), ((2,), "a")], False),
        ([((1,), "c"), ((2,), "a")], False),
    ],
)
def test_a_way_is_followed(legs: list[tuple[tuple[int, ...], str]], leads: bool) -> None:
    assert Ways(parse(CYCLE), {1: "b", 2: "a", 3: "c"}).leads_there(legs) is leads
